"""Who may ask a web server of a node, and for what a browser takes what it says.

Responsible for: the Host check, the origin and the token of who acts, the headers of every answer.
Must not know: what is asked for.
Invariant: a page of another origin reads nothing and does nothing here: not by a name that leads to this address
(rebinding), not by a form or a script of its own; nothing of what is shown is run.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final

from twisted.web.http import Request

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

TOKEN: Final = "X-Gossiplog-Token"
"""In a header, which no form can send, and no script of another origin without being asked for it first."""


class Guard:
    """I decide; ``hosts`` are names by which the page may be reached, beside addresses and ``localhost``."""

    def __init__(self, token: str, hosts: Collection[str] = ()) -> None:
        self._token = token.encode()
        self._hosts = frozenset(["localhost", *(host.lower() for host in hosts)])

    def knows(self, request: Request) -> bool:
        """Whether who asks means us: a name of somebody else may lead here, an address is nobody's."""
        said = request.requestHeaders.getRawHeaders("host") or []
        return len(said) == 1 and self._is_ours(said[0])

    def _is_ours(self, host: str) -> bool:
        name = host.strip().lower()
        if not name.isascii():
            return False
        if name.startswith("["):
            name, closed, port = name[1:].partition("]")
            name, port = (name if closed else ""), port.removeprefix(":")
        elif name.count(":") <= 1:
            name, _, port = name.partition(":")
        else:
            return False
        if port and not port.isdecimal():
            return False
        return name in self._hosts or _is_address(name)

    def why_not(self, request: Request) -> str | None:
        """Why who asks may not act; None if it may."""
        said = {
            name: request.requestHeaders.getRawHeaders(name) for name in ("host", "origin", "sec-fetch-site")
        }
        for origin in said["origin"] or ():
            if origin.partition("://")[2] != (said["host"] or [""])[0]:
                return "another page may not act here"
        if any(site not in ("same-origin", "none") for site in said["sec-fetch-site"] or ()):
            return "another page may not act here"
        kinds = request.requestHeaders.getRawHeaders("content-type") or []
        if [kind.partition(";")[0].strip() for kind in kinds] != ["application/json"]:
            return "an action is said in JSON"
        tokens = request.requestHeaders.getRawHeaders(TOKEN) or []
        if len(tokens) != 1 or not hmac.compare_digest(tokens[0].encode(), self._token):
            return "that is not the token; it is in the file web.token of the store"
        return None


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False

"""Whether two endpoints listen at one place.

Responsible for: :func:`overlap`.
Must not know: who listens there.
Invariant: what may be another place counts as one: a port that the system chooses, another address, another kind.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from gossiplog.net.endpoints import parts

_PORT_AT: Final = {"tcp": 0, "tcp6": 0, "ssl": 0, "tls": 1}
_EVERYWHERE: Final = {"", "0.0.0.0", "::"}


class Place(NamedTuple):
    """Where an endpoint listens: a host and a port, or another name alone."""

    name: str
    port: int | None


def place_of(endpoint: str) -> Place | None:
    """Return where an endpoint listens; None if that is free in any case."""
    found = parts(endpoint)
    if found.kind in _PORT_AT:
        text = found.get("port", _PORT_AT[found.kind]) or ""
        port = int(text) if text.isascii() and text.isdigit() else None
        host = (found.get("interface", _PORT_AT[found.kind] + 1) or "").strip("[]")
        if found.kind == "tcp6":
            host = host or "::"
        return None if port == 0 else Place(host if port is not None else endpoint, port)
    if found.kind == "unix":
        return Place(os.path.realpath(found.get("address", 0) or ""), None)
    return Place(endpoint, None)


def overlap(one: Place, other: Place) -> bool:
    """Whether only one of both can be listened at."""
    if one.port != other.port:
        return False
    if one.port is None or one.name == other.name:
        return one.name == other.name
    hosts = {one.name, other.name}
    if hosts & {"", "0.0.0.0"}:  # every address of IPv4, which "::" has too
        return not any(":" in host and host != "::" for host in hosts)
    return bool(hosts & _EVERYWHERE)

"""The web page of a node, begun and ended.

Responsible for: putting its parts together, and the token of who may act.
Must not know: what the parts do.
Invariant: the token is in a file that nobody else may read, and nowhere else: in no log and on no terminal.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any, Final

from gossiplog.app.http import BoundedSite, listen
from gossiplog.app.keyfile import MARK, said
from gossiplog.app.web.acts import acts
from gossiplog.app.web.guard import Guard
from gossiplog.app.web.hub import Hub
from gossiplog.app.web.site import Pages
from gossiplog.live.logger import NodeLog
from gossiplog.net.endpoints import describe, parts
from gossiplog.node import Node

_log = NodeLog()

TOKEN_FILE: Final = "web.token"

_TOKEN_BYTES: Final = 32


async def begin(
    reactor: Any, node: Node, endpoint: str, hosts: Collection[str], opened: AsyncExitStack
) -> str:
    """Show ``node`` until ``opened`` is closed; return the address of the page, or where it listens."""
    hub, pages = parts_of(reactor, node, hosts)
    opened.callback(hub.stop)
    site = BoundedSite(pages, reactor)
    port = await listen(reactor, endpoint, site)
    opened.push_async_callback(site.close, port)
    hub.start()
    where = url(describe(port.getHost()))
    words = "the node is shown at {where}; the token of who may act there is in {file}"
    _log.info(words, event="web_up", where=where, file=_token_file(node))
    return where


def parts_of(reactor: Any, node: Node, hosts: Collection[str], below: str = "") -> tuple[Hub, Pages]:
    """Return who looks at ``node``, to be started and stopped, and the pages that show it, at paths ``below``."""
    directory = node.store._core.directory
    token = fresh_token() if directory is None else token_of(_token_file(node))  # a fresh one nobody knows
    hub = Hub(reactor, node)
    return hub, Pages(Guard(token, hosts), {"/logs": hub.logs}, acts(node), hub.feed.add, below)


def _token_file(node: Node) -> str:
    return os.path.join(node.store._core.directory or node.store.path, TOKEN_FILE)


def token_of(path: str) -> str:
    """Return the token that a file holds, made if there is none."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return said(f"{MARK}{path}")
    try:
        with open(fd, "w") as file:
            file.write(f"{fresh_token()}\n")
    except BaseException:
        os.unlink(path)  # or the next start finds half of it
        raise
    return said(f"{MARK}{path}")


def fresh_token() -> str:
    """Return a token that nobody has."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def url(endpoint: str) -> str:
    """Return what a browser opens for an endpoint of TCP; another one as it is."""
    found = parts(endpoint)
    if found.kind != "tcp" or len(found.values) != 2:
        return endpoint
    host, port = found.values
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

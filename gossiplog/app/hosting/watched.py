"""Metrics and a web page of many networks.

Responsible for: one server each for all of them; the page that lists them, and which path is whose.
Must not know: what is shown of one node.
Invariant: a network that nobody looks at costs nothing; each has a token of its own, and the list nothing to act on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from html import escape
from importlib import import_module
from importlib.resources import files
from typing import Any, TypeAlias

from twisted.web.resource import Resource
from twisted.web.server import Request

from gossiplog.app import web
from gossiplog.app.http import BoundedSite, listen
from gossiplog.app.watching import Watching
from gossiplog.app.web.begin import parts_of, url
from gossiplog.app.web.guard import HEADERS, Guard
from gossiplog.app.web.hub import Hub
from gossiplog.net.endpoints import describe
from gossiplog.node import Node

LABEL = "network"


Line: TypeAlias = tuple[str, str, Node | None]
"""Of one network: its state, why it did not run the last time, and its node while it runs."""


class Watched:
    """I let the networks of a host be watched; ``lines`` says how they are."""

    def __init__(self, reactor: Any, lines: Callable[[], Mapping[str, Line]]) -> None:
        self._reactor = reactor
        self._lines = lines
        self._nodes: dict[str, Node] = {}
        self._figures: Any = None
        self._pages: HostPages | None = None
        self._open = AsyncExitStack()

    async def begin(self, watching: Watching) -> dict[str, str]:
        """Listen as this says; return where.  Raises EndpointError, and nothing is open then."""
        bound: dict[str, str] = {}
        async with AsyncExitStack() as opened:
            if watching.metrics:
                metrics = import_module("gossiplog.app.metrics")  # which needs what need not be installed
                self._figures = metrics.Figures(LABEL)
                opened.callback(self._forget_figures)
                page = metrics.MetricsPage(self._figures, self._reactor)
                bound["metrics"] = await metrics.answer(self._reactor, page, watching.metrics, opened)
            if watching.web:
                pages = self._pages = HostPages(
                    self._reactor, self._lines, Guard("", watching.web_host), watching
                )
                opened.callback(pages.stop)
                site = BoundedSite(pages, self._reactor)
                port = await listen(self._reactor, watching.web, site)
                opened.push_async_callback(site.close, port)
                bound["web"] = url(describe(port.getHost()))
            self._open = opened.pop_all()
        return bound

    async def end(self) -> None:
        """Listen no more."""
        await self._open.aclose()

    def begun(self, name: str, node: Node) -> None:
        """This one runs."""
        self._nodes[name] = node
        if self._figures is not None:
            self._figures.add(node, name)

    def ended(self, name: str) -> None:
        """It does not any more."""
        if self._nodes.pop(name, None) is not None:
            if self._figures is not None:
                self._figures.remove(name)
            if self._pages is not None:
                self._pages.forget(name)

    def _forget_figures(self) -> None:
        for name in self._nodes:
            self._figures.remove(name)
        self._figures = None


class HostPages(Resource):
    """I am the list at ``/``, and the page of each network below its name."""

    isLeaf = True

    def __init__(
        self, reactor: Any, lines: Callable[[], Mapping[str, Line]], guard: Guard, watching: Watching
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._lines = lines
        self._guard = guard
        self._watching = watching
        self._shown: dict[str, tuple[Hub, Resource]] = {}

    def render(self, request: Request) -> Any:
        """Answer, or let a network's page do so, which looks itself at who asks."""
        path = request.path.decode("ascii", "replace")
        name, slash, _ = path[1:].partition("/")
        line = self._lines().get(name)
        if slash and line is not None and line[2] is not None:
            return self._page(name, line[2]).render(request)
        for header, value in HEADERS.items():
            request.setHeader(header, value)
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        if not self._guard.knows(request):
            request.setResponseCode(421)
            return b"ask by the address of this machine, localhost, or a name of web-host\n"
        if request.method != b"GET":
            request.setResponseCode(405)
            request.setHeader("Allow", "GET")
            return b"this can be looked at only\n"
        if path == "/page.css":
            request.setHeader("Content-Type", "text/css; charset=utf-8")
            return (files(web) / "static" / "page.css").read_bytes()
        if path != "/":
            request.setResponseCode(503 if line is not None and slash else 404)
            return (
                b"this network does not run\n" if line is not None and slash else b"there is nothing here\n"
            )
        return self._list().encode()

    def stop(self) -> None:
        """Let all who watch go."""
        for name in tuple(self._shown):
            self.forget(name)

    def forget(self, name: str) -> None:
        """A network does not run any more."""
        shown = self._shown.pop(name, None)
        if shown is not None:
            shown[0].stop()

    def _page(self, name: str, node: Node) -> Resource:
        if name not in self._shown:  # from now on it is looked at
            hub, pages = parts_of(self._reactor, node, self._watching.web_host, f"/{name}")
            hub.start()
            self._shown[name] = hub, pages
        return self._shown[name][1]

    def _list(self) -> str:
        rows = "".join(_row(name, line) for name, line in sorted(self._lines().items()))
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark"><title>gossiplog networks</title>'
            '<link rel="stylesheet" href="page.css"></head><body><header><h1>gossiplog networks</h1></header><main>'
            '<table><thead><tr><th scope="col">Network</th><th scope="col">State</th><th scope="col">Peers</th>'
            f'<th scope="col">Logs</th></tr></thead><tbody>{rows}</tbody></table></main></body></html>\n'
        )


def _row(name: str, line: Line) -> str:
    state, why, node = line
    name, state = escape(name), escape(f"{state}: {why}" if why else state)
    if node is None:
        return f'<tr><th scope="row">{name}</th><td colspan="3">{state}</td></tr>'
    return (
        f'<tr><th scope="row"><a href="{name}/">{name}</a></th><td>{state}</td><td>{len(node.peers)}</td>'
        f"<td>{len(node.store._core.clock)}</td></tr>"
    )

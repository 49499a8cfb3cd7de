"""The paths of the web page.

Responsible for: which path is what.
Must not know: what a node does; who may ask (``guard``).
Invariant: every answer has the guard's headers; what fails says no more than that it failed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from gossiplog.app.printing import as_json
from gossiplog.app.web.guard import HEADERS, Guard
from gossiplog.errors import GossiplogError
from gossiplog.live.logger import NodeLog

_log = NodeLog()

Ask = Callable[[Mapping[str, str]], Any]
"""What answers a question: its words in, a value for JSON out."""

Act = Callable[[Mapping[str, Any]], Deferred[str]]
"""What does something, and says what it did."""

STATIC: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/uplot.js": ("uplot.js", "text/javascript; charset=utf-8"),
    "/uplot.css": ("uplot.css", "text/css; charset=utf-8"),
    "/uplot.LICENSE": ("uplot.LICENSE", "text/plain; charset=utf-8"),
}

JSON: Final = "application/json"


class Pages(Resource):
    """I am all that is there: static files, ``asks`` by GET, ``acts`` by POST below ``/act/``, and the feed."""

    isLeaf = True

    def __init__(
        self,
        guard: Guard,
        asks: Mapping[str, Ask],
        acts: Mapping[str, Act],
        feed: Callable[[Request], bool],
        below: str = "",
    ) -> None:
        """``below``: what stands in front of every path, where there are several nodes."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._below = below
        self._guard = guard
        self._asks = asks
        self._acts = acts
        self._feed = feed

    def render(self, request: Request) -> bytes | int:
        """Answer."""
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        path = request.path.decode("ascii", "replace").removeprefix(self._below)
        if not self._guard.knows(request):
            return _words(
                request, 421, "ask by the address of this machine, localhost, or a name of --web-host"
            )
        if request.method == b"POST" and path.startswith("/act/"):
            return self._act(request, path.removeprefix("/act/"))
        if request.method != b"GET":
            request.setHeader("Allow", "GET")
            return _words(request, 405, "this can be looked at only")
        if path in STATIC:
            name, kind = STATIC[path]
            request.setHeader("Content-Type", kind)
            return (files(__package__) / "static" / name).read_bytes()
        if path == "/feed":
            return NOT_DONE_YET if self._feed(request) else _words(request, 503, "too many watch already")
        ask = self._asks.get(path)
        if ask is None:
            return _words(request, 404, "there is nothing here")
        try:
            return _json(request, 200, ask(_asked(request)))
        except GossiplogError as error:
            return _json(request, 400, {"error": str(error)})

    def _act(self, request: Request, name: str) -> bytes | int:
        why_not = self._guard.why_not(request)
        if why_not is not None:
            return _json(request, 403, {"error": why_not})
        act = self._acts.get(name)
        if act is None:
            return _json(request, 404, {"error": "there is no such action"})
        try:
            what = json.loads(request.content.read() if request.content is not None else b"")
            if not isinstance(what, dict):
                raise ValueError
        except (ValueError, RecursionError):
            return _json(request, 400, {"error": "an action is an object of JSON"})
        gone: list[Failure] = []
        request.notifyFinish().addErrback(lambda failure: gone.append(failure))

        def say(status: int, value: dict[str, str]) -> None:
            if not gone:
                request.write(_json(request, status, value))
                request.finish()

        def failed(failure: Failure) -> None:
            if failure.check(GossiplogError):
                say(400, {"error": failure.getErrorMessage()})
            else:
                _log.failure("an action of the web page failed", failure, event="web_failed")
                say(500, {"error": "internal error; the log says more"})

        done: Deferred[str] = Deferred()
        done.addCallback(lambda _: act(what))
        done.addCallbacks(lambda words: say(200, {"done": words}), failed)
        done.callback("")
        return NOT_DONE_YET


def _asked(request: Request) -> dict[str, str]:
    """What stands behind the question mark, the first of each name."""
    return {
        name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
        for name, values in request.args.items()
    }


def _json(request: Request, status: int, value: Any) -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", JSON)
    return as_json(value).encode()


def _words(request: Request, status: int, words: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    return f"{words}\n".encode()

"""How a program is told to let others watch its node: metrics, and a web page.

Responsible for: the options about that, for argparse and for twistd alike, and beginning what they say.
Must not know: what is shown.
Invariant: what is wrong with an option, or not installed, is said before anything starts; nothing of it is imported,
and nothing is counted, unless it is asked for.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gossiplog.app import log_options
from gossiplog.app.options import Option, add_all
from gossiplog.errors import InvalidValueError

if TYPE_CHECKING:
    from gossiplog.node import Node

_NAME: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE)


def read_endpoint(text: str) -> str:
    """Return where a web server is to listen; raises EndpointError."""
    from gossiplog.app.http import near

    return near(text)


def read_hosts(text: str) -> tuple[str, ...]:
    """Return names of hosts; raises InvalidValueError."""
    names = tuple(text.split(","))
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidValueError(f"{name!r:.80} is no name of a host")
    return names


def _within(text: str, directory: str) -> str:
    from gossiplog.net.endpoints import within

    return within(text, directory)


OPTIONS: Final = (
    Option(
        *(
            "--metrics",
            "ENDPOINT",
            "answer Prometheus at this endpoint, such as tcp:9100; without interface= this machine alone",
            read_endpoint,
        ),
        within=_within,
    ),
    Option(
        *(
            "--web",
            "ENDPOINT",
            "show the node on a web page at this endpoint, such as tcp:8080; without interface= to this machine alone",
            read_endpoint,
        ),
        within=_within,
    ),
    Option(
        *(
            "--web-host",
            "NAME",
            "a name by which browsers may reach that page, beside addresses and localhost; several with commas",
            read_hosts,
        ),
    ),
)


@dataclass(frozen=True)
class Watching:
    """Where a node may be watched; "" is nowhere."""

    metrics: str = ""
    web: str = ""
    web_host: tuple[str, ...] = ()

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Watching:
        """What these options say; raises InvalidValueError for what does not work here."""
        if said.get("web_host") and not said.get("web"):
            raise InvalidValueError("web-host is a name of the page, and there is none without web")
        if said.get("metrics"):
            from gossiplog.app.metrics import client

            client()
        return cls(said.get("metrics") or "", said.get("web") or "", said.get("web_host") or ())

    async def begin(self, reactor: Any, node: Node, opened: AsyncExitStack) -> dict[str, str]:
        """Let ``node`` be watched until ``opened`` is closed; return what listens where.  Raises EndpointError."""
        bound = {}
        if self.metrics:
            from gossiplog.app.metrics import begin as begin_metrics

            bound["metrics"] = await begin_metrics(reactor, node, self.metrics, opened)
        if self.web:
            from gossiplog.app.web.begin import begin as begin_web

            bound["web"] = await begin_web(reactor, node, self.web, self.web_host, opened)
        return bound


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options, those of the log too; :func:`watching_of` takes what was said."""
    log_options.add_arguments(parser)
    parser.set_defaults(watching=None)
    add_all(parser, OPTIONS)


def watching_of(arguments: Namespace) -> Watching:
    """What a command line says."""
    return Watching.of(vars(arguments))

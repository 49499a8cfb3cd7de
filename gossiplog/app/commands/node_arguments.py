"""The arguments of verbs that run a node: its network, where it listens, whom it dials, how it finds others.

Responsible for: what they are called, and reading each.
Must not know: what a node does.
Invariant: importing this module costs no more than argparse; what checks a value is imported with the first one.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from gossiplog.app import keyfile
from gossiplog.app.commands.arguments import checked, seconds
from gossiplog.app.finding import add_options
from gossiplog.log.network import Network

if TYPE_CHECKING:
    from gossiplog.ticket import Ticket


def timeout(parser: ArgumentParser) -> None:
    """How long to wait."""
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="give up when nothing moves for so long (default: 30)",
    )


def network(parser: ArgumentParser, required: bool = True) -> None:
    """Whose nodes are met."""
    known = os.environ.get("GOSSIPLOG_NETWORK")
    parser.add_argument(
        "--network",
        type=_network_of,
        metavar="NETWORK",
        default=known,
        required=required and not known,
        help="a name, a key (network_... or 64 hex digits), an author's id, a ticket, or @FILE that holds one "
        "(default: $GOSSIPLOG_NETWORK)",
    )


def addresses(parser: ArgumentParser) -> None:
    """Where it listens, whom it dials, and how it finds others."""
    parser.add_argument(
        "--listen",
        type=_listen,
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="accept peers here, such as tcp:4000; may be repeated",
    )
    parser.add_argument(
        "--peer",
        type=peer,
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="keep a connection to this peer, such as tcp:HOST:PORT; may be repeated",
    )
    add_options(parser)


@checked
def _network_of(text: str) -> Network | Ticket:
    return keyfile.network(text)


@checked
def ticket(text: str) -> Ticket:
    """The type of a ticket, or @FILE with one."""
    from gossiplog.ticket import Ticket

    return Ticket.parse(keyfile.said(text))


@checked
def _listen(text: str) -> str:
    from gossiplog.net.endpoints import check_server

    return check_server(text)


@checked
def peer(text: str) -> str:
    """The type of an endpoint to dial."""
    from gossiplog.net.endpoints import check_client

    return check_client(text)

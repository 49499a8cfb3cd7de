"""The arguments of verbs that meet peers, beside those of ``run_options``: a network, a peer, a time.

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
from gossiplog.app.run_options import read_peer
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


@checked
def _network_of(text: str) -> Network | Ticket:
    return keyfile.network(text)


@checked
def ticket(text: str) -> Ticket:
    """The type of a ticket, or @FILE with one."""
    from gossiplog.ticket import Ticket

    return Ticket.parse(keyfile.said(text))


peer = checked(read_peer)
"""The type of an endpoint to dial."""

"""The verb invite: a ticket for who is to join a network.

Responsible for: printing one, as text, and as a code that a camera reads.
Must not know: how a ticket is made or used.
Invariant: the text alone is on a line of its own, whoever reads it.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from itertools import zip_longest
from typing import Any, Final

from gossiplog.app.printing import say
from gossiplog.errors import InvalidValueError
from gossiplog.log.network import Network
from gossiplog.ticket import Ticket

_HALVES: Final = {(0, 0): "\u2588", (0, 1): "\u2580", (1, 0): "\u2584", (1, 1): " "}


def invite(arguments: Namespace) -> int:
    """Print a ticket for a network, a new private one if none is named."""
    network = arguments.network
    addresses = [*(network.addresses if isinstance(network, Ticket) else ()), *arguments.address]
    if isinstance(network, Ticket):
        network = network.network
    ticket = Ticket(network or Network.random(), addresses)
    if arguments.qr or sys.stdout.isatty():
        try:
            for line in _code(ticket.text):
                say(line)
        except ImportError:
            if arguments.qr:
                raise InvalidValueError("a QR code needs segno: pip install 'gossiplog[qr]'") from None
    say(ticket.text)
    return 0


def _code(text: str) -> Iterator[str]:
    """Two rows of the QR code in a line; what is light in it is ink here, as on a dark terminal.

    In capitals a code is smaller, and the text is as good.
    """
    segno: Any = import_module("segno")
    rows = [list(row) for row in segno.make(text.upper(), error="l", micro=False).matrix_iter(border=2)]
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=[1] * len(rows[0])):
        yield "".join(_HALVES[dark] for dark in zip(upper, lower, strict=True))

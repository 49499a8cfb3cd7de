"""Rings 1 and 9: every message has a row in the table and in the codec, a part that takes it, and a place in the
specification; whoever adds one and forgets something finds out.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import NamedTuple, get_args
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip import events, message_table, messages
from gossiplog.gossip.allowance import MESSAGE_POINTS
from gossiplog.gossip.message_table import BY_KIND, ROWS, price, work
from gossiplog.gossip.messages import Message, Unknown
from gossiplog.gossip.sender import Sender
from gossiplog.gossip.session import Phase
from gossiplog.wire import codec
from tests.test_replica_session import ONE_OF_EACH, replica_in

WIRE = Path(__file__).resolve().parent.parent / "docs" / "protocol" / "wire.rst"


class Gossip(NamedTuple):
    """A message that somebody adds."""


class ForgettingTests(SynchronousTestCase):
    """Each of these would be found out only by the first peer that says it."""

    def test_no_row(self) -> None:
        """Neither module can be imported when a message is not in it."""
        for module in (message_table, codec):
            runpy.run_path(module.__file__)
            with patch.object(messages, "Message", Message | Gossip):
                self.assertRaises(TypeError, runpy.run_path, module.__file__)

    def test_nobody_takes_it(self) -> None:
        """The table cannot be imported when a part lacks what a row names."""
        want = Sender.want
        del Sender.want
        try:
            self.assertRaises(AttributeError, runpy.run_path, message_table.__file__)
        finally:
            Sender.want = want  # type: ignore[method-assign]

    def test_not_specified(self) -> None:
        """The table of the specification names the messages of the codec, with their numbers and least lengths."""
        said = [line.split() for line in WIRE.read_text().splitlines() if line[:1].isupper()]
        said = [words for words in said if len(words) > 2 and words[0].isupper() and words[1].isdigit()]
        rows = {(row.kind.__name__.upper(), row.number, row.elements) for row in codec._ROWS}
        specified = {(words[0], int(words[1]), int(words[-1])) for words in said if words[-1].isdigit()}
        self.assertEqual({row for row in specified if row[0] in {name for name, _, _ in rows}}, rows)


class RowTests(SynchronousTestCase):
    """What a row says is what happens."""

    def test_one_each(self) -> None:
        """In the order of their numbers, and then what is unknown."""
        self.assertEqual([row.kind for row in ROWS], [*(row.kind for row in codec._ROWS), Unknown])
        self.assertEqual({row.kind for row in ROWS}, set(get_args(Message)))

    def test_who_takes_it(self) -> None:
        """The part of the row, with what came."""
        for kind, message in ONE_OF_EACH.items():
            replica = replica_in(next(iter(BY_KIND[kind].phases - {Phase.ENDED})))
            session = replica.core.sessions[0]
            taken: list[Message] = []
            replica._on_message[kind] = lambda of, what, taken=taken: taken.append(what)  # type: ignore[misc]
            replica.handle(events.Received(0, message), 2.0)
            self.assertEqual((taken, replica.core.sessions.get(0)), ([message], session), kind)

    def test_what_it_costs(self) -> None:
        """Something, each; and its work is not more than that by far."""
        for message in ONE_OF_EACH.values():
            self.assertGreaterEqual(price(message), MESSAGE_POINTS)
            self.assertLess(work(message), price(message) + 1)

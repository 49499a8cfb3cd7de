"""Ring 6: what a node that serves says, and how often."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.service import Serving
from gossiplog.notices import DialFailed, Peer, PeerUp
from tests.netcase import NETWORK


class SaidTests(SynchronousTestCase):
    """An address that does not answer is dialled again and again."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.serving = Serving(None, "store", NETWORK, [], [], self.said.append, init=False)

    def told(self, *notices: DialFailed | PeerUp) -> list[str]:
        """What is said of these."""
        self.said.clear()
        for notice in notices:
            self.serving._told(notice)
        return [words for words in self.said if words.startswith("no connection")]

    def test_once(self) -> None:
        refused, gone = DialFailed("tcp:a:1", "refused"), DialFailed("tcp:a:1", "no route")
        self.assertEqual(self.told(refused, refused, refused), ["no connection to tcp:a:1: refused"])
        self.assertEqual(len(self.told(gone, gone, refused)), 2)

    def test_again_after_that_one_was_up(self) -> None:
        """And not because another one is."""
        refused = DialFailed("tcp:a:1", "refused")
        self.told(refused)
        for number in range(3):
            self.assertEqual(self.told(PeerUp(Peer(bytes([number]) * 32, "tcp:b:1", "x", True)), refused), [])
        self.assertEqual(len(self.told(PeerUp(Peer(bytes(32), "tcp:a:1", "x", True)), refused)), 1)

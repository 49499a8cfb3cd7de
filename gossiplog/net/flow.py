"""What moves between us and one other node.

Responsible for: counting entries in both directions, over all connections with that node; whether they move at all.
Must not know: why they are to move; others, who may bring as much at the same moment.
Invariant: an entry counts once, when it is on our disk, or was given to the connection.
"""

from __future__ import annotations

from math import inf

from gossiplog.gossip.session import Session
from gossiplog.net.driver import Driver
from gossiplog.net.link import Link


class Flow:
    """I count what moves with one node from now on: what was ``received`` and is on our disk, what was ``sent``."""

    def __init__(self, driver: Driver, *, also_before: bool = False) -> None:
        """``also_before``: count all that came and went over the connections that are open now, too."""
        self._driver = driver
        self._known: dict[int, tuple[Session, Link, int, int]] = {}
        self._least_ahead, self._heard_at, self._owed = inf, -inf, 0
        self.received = self.sent = 0
        for number in () if also_before else driver.peers:
            session, link = driver.replica.core.sessions[number], driver.links[number]
            self._known[number] = session, link, session.entries_in, link.entries_out

    def look(self, node: bytes) -> bool:
        """Count anew what moved with ``node``; whether it takes part.

        It does if it brought something, if less than ever is to come, and if it is sent something and that is a part of
        what it lacked before, or it said something meanwhile: what others bring just now, and goes to it as to
        everybody, says nothing of it.
        """
        driver, ahead, owed = self._driver, inf, 0
        for number, peer in driver.peers.items():
            if peer.id == node:
                session = driver.replica.core.sessions[number]
                self._known.setdefault(number, (session, driver.links[number], 0, 0))
                ahead = min(ahead, driver.replica.pulls.schedule.sources[number].entries_ahead)
                owed += session.outbox.entries_owed(driver.replica.core.heads.clock.seq)
        theirs = [each for each in self._known.values() if each[0].peer == node]
        received = sum([session.entries_in - count for session, _, count, _ in theirs])
        sent = sum([link.entries_out - count for _, link, _, count in theirs])
        heard_at = max([session.heard_at for session, *_ in theirs], default=-inf)
        is_less, is_heard = ahead < self._least_ahead < inf, heard_at > self._heard_at
        takes = sent != self.sent and (is_heard or self._owed > 0)
        moves = is_less or takes or received != self.received
        self.received, self.sent, self._owed = received, sent, owed
        self._least_ahead = min(ahead, self._least_ahead)
        self._heard_at = heard_at
        return moves

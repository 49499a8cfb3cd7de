"""From which peers is read, and from which not for a while.

Responsible for: the reasons for which nothing more is read from a peer, and letting one wait that cost too much.
Must not know: what costs how much; how a connection stops reading.
Invariant: whoever is not read from is, as soon as none of the reasons holds any more.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.gossip import events
from gossiplog.gossip.core import Core
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.session import Pause, Phase, Session


class Pacing:
    """I let the peers of one replica wait."""

    def __init__(self, core: Core, liveness: Liveness) -> None:
        self._core = core
        self._liveness = liveness

    def pause(self, session: Session, why: Pause) -> None:
        """Read nothing more from the peer."""
        if session.is_read:
            self._core.emit(events.Reading(session.number, False))
        session.pauses.add(why)

    def read_on(self, session: Session, why: Pause) -> None:
        """That is no reason any more to read nothing."""
        if why in session.pauses:
            session.pauses.remove(why)
            if session.is_read:
                self._liveness.heard(session)
                self._core.emit(events.Reading(session.number, True))

    def may_cost(self, session: Session) -> bool:
        """Whether there is anything left of what the peer may cost; if not, let it wait for some."""
        if session.allowance.leaves(0, self._core.now):
            return True
        if Pause.COST not in session.pauses and session.phase is Phase.OPEN:
            self.pause(session, Pause.COST)
            self._wait_for_points(session)
        return False

    def _wait_for_points(self, session: Session) -> None:
        points = limits.PAUSE_SECONDS * limits.ALLOWANCE_POINTS_PER_SECOND
        seconds = session.allowance.seconds_to(points, self._core.now)
        self._core.at(self._core.now + max(limits.PAUSE_SECONDS, seconds), self._look_for_points, session)

    def _look_for_points(self, session: Session) -> None:
        if session.phase is Phase.ENDED:
            return
        if session.allowance.leaves(0, self._core.now):
            self.read_on(session, Pause.COST)
            self._core.send_waiting(session)
        else:
            self._wait_for_points(session)

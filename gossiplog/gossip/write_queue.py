"""What the store was given and has not done yet.

Responsible for: how much that is, and reading nothing more from peers that bring entries while it is too much.
Must not know: what is written; how the store does it.
Invariant: at most ``PENDING_WRITE_BYTES`` and what one event brings are on their way to the disk.
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.gossip.core import Core
from gossiplog.gossip.pacing import Pacing
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import Pause, Session


class WriteQueue:
    """I let the peers of one replica bring no more than its store can take."""

    def __init__(self, core: Core, pulls: Pulls, pacing: Pacing) -> None:
        self._core = core
        self._pulls = pulls
        self._pacing = pacing
        self.pending_bytes = 0
        self._bringing: dict[int, None] = {}
        self.is_full = False

    def add(self, session: Session | None, size: int) -> None:
        """The store is given so many bytes, because of what came from ``session``."""
        self.pending_bytes += size
        if session is not None:
            self._bringing[session.number] = None
        self._pace()

    def done(self, size: int) -> None:
        """So many bytes are dealt with, whatever became of them."""
        self.pending_bytes -= size
        self._pace()

    def _pace(self) -> None:
        """Stop reading from peers that bring entries while the store is behind; the others need not wait for that."""
        if self.pending_bytes > limits.PENDING_WRITE_BYTES:
            self.is_full = True
            self._pulls.pause()
            for number in self._bringing:
                session = self._core.sessions.get(number)
                if session is not None:
                    self._pacing.pause(session, Pause.STORE)
        elif self.pending_bytes <= limits.PENDING_WRITE_LOW_BYTES:
            self._bringing.clear()
            if self.is_full:
                self.is_full = False
                self._pulls.resume()
                for session in self._core.sessions.values():
                    self._pacing.read_on(session, Pause.STORE)

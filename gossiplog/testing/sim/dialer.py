"""Keeping a connection to one other party, in virtual time.

Responsible for: dialling again and again with back-off and jitter, as :mod:`gossiplog.net.dialer` does.
Must not know: what is said on the connection.
Invariant: at most one attempt or connection at a time, and none while the peer is connected another way.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from gossiplog import limits
from gossiplog.back_off import back_off
from gossiplog.testing.sim.pipes import Party, PipeEnd
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import Timer


class SimDialer:
    """I keep trying to have a connection from ``caller`` to ``target``."""

    def __init__(
        self, net: Net, caller: Party, target: Party, random: Random, connected: Callable[[bytes], bool]
    ) -> None:
        self.net = net
        self.caller = caller
        self.target = target
        self.dials = 0
        self._connected = connected
        self._random = random
        self._end: PipeEnd | None = None
        self._failures = 0
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Dial now."""
        self.end()
        self._dial()

    def end(self) -> None:
        """Dial no more, until told to begin."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._end = None
        self._failures = 0

    def lost(self, end: PipeEnd) -> None:
        """``end`` is gone: if it was mine, dial again after a while."""
        if end is self._end:
            self._end = None
            self.resume()

    def resume(self) -> None:
        """Dial after a while, unless there is a connection, or one is being made."""
        if self._end is None and self._timer is None and not self._connected(self.target.id):
            first, most = limits.RECONNECT_FIRST_SECONDS, limits.RECONNECT_MOST_SECONDS
            delay = back_off(self._failures, first, most, self._random.random)
            self._failures += 1
            self._timer = self.net.world.after(delay, self._dial)

    def succeeded(self, end: PipeEnd) -> None:
        """The session on ``end`` is open: if it is mine, back-off starts over."""
        if end is self._end:
            self._failures = 0

    def _dial(self) -> None:
        self._timer = None
        if self._end is None and not self._connected(self.target.id):
            self.dials += 1
            self._end = self.net.dial(self.caller, self.target)
            self.resume()

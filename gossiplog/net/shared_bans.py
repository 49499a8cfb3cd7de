"""Bans of all relays that share a store: who is kept out by one is kept out by all.

Responsible for: writing down the bans that begin and end here, and doing what others wrote.
Must not know: why anybody is banned.
Invariant: of two relays that ban at the same moment neither writes over what the other one did; a store that is ours
alone keeps no bans: they end with the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Any, Final

import msgpack

from gossiplog.errors import ByeCode, StoreError
from gossiplog.live.core import StoreCore
from gossiplog.net.driver import Driver
from gossiplog.net.hanging_up import hang_up
from gossiplog.store.requests import Delivery, Moved, SetMeta

KEPT_AS: Final = "bans"

MOST: Final = 512
"""Bans that are shared, those that last longest: some 60 KB, written anew with each that begins."""

_REASON_CHARS: Final = 100

SKEW_SECONDS: Final = 3600.0
"""That a ban is written on after it is over here: a relay whose clock is so far ahead ends nobody's
bans but its own."""

_Bans = dict[bytes, tuple[float, str, float]]
"""Until when, as seconds of the wall clock of who wrote it, why, and for how long at most, wherever that clock is."""


def share_bans(core: StoreCore, driver: Driver, wall: Callable[[], float] = time.time) -> Callable[[], None]:
    """Do so, if others share the store; returns how to end that."""
    if not core.is_shared:
        return lambda: None
    return _SharedBans(core, driver, wall).end


class _SharedBans:
    """I am between one node's bans and those of all."""

    def __init__(self, core: StoreCore, driver: Driver, wall: Callable[[], float]) -> None:
        self._core = core
        self._driver = driver
        self._bans = driver.admission.bans
        self._wall = wall
        self._kept: bytes | None = None
        self._owed: dict[bytes, None] = {}
        self._writing: list[bytes] = []
        self._is_taking = False
        self._stop = core.listen(self._delivered)
        self._bans.changed = self._changed
        core.run(lambda logs: logs.meta(KEPT_AS)).addCallbacks(self._take, lambda _: None)

    def end(self) -> None:
        """Share nothing any more."""
        self._stop()
        self._bans.changed = lambda peer: None

    def _changed(self, peer: bytes) -> None:
        if not self._is_taking:
            self._owed[peer] = None
            if not self._writing:
                self._write()

    def _delivered(self, delivery: Delivery) -> None:
        if delivery.report is None:
            return
        if KEPT_AS in delivery.report.values:
            self._take(delivery.report.values[KEPT_AS])
        if self._owed and not self._writing:  # it takes writes again
            self._write()

    def _take(self, kept: bytes | None) -> None:
        """Do what others wrote, but for what is about to be written here."""
        before, self._kept = _load(self._kept, self._wall()), kept
        bans, now = _load(kept, self._wall()), self._driver.reactor.seconds()
        begun: list[tuple[bytes, str]] = []
        self._is_taking = True
        lifted = [self._bans.lift(peer) for peer in before.keys() - bans.keys() - self._owed.keys()]
        for peer, (until, reason, most) in bans.items():
            known, seconds = self._bans.banned(peer, now), min(until - self._wall(), most)
            is_new = peer not in self._owed and before.get(peer) != bans[peer]
            if is_new and (known is None or known.seconds < seconds - 1):
                self._bans.keep_out(peer, reason, seconds, now)
                begun.append((peer, reason))
        self._is_taking = False
        if any(lifted):
            self._driver.dialers.forgiven()
        for peer, reason in begun:  # whoever is told of a session's end may ban and lift what it likes
            hang_up(self._driver, peer, ByeCode.REFUSED, reason)

    def _write(self) -> None:
        bans, now = _load(self._kept, self._wall() - SKEW_SECONDS), self._driver.reactor.seconds()
        self._writing = [*self._owed]
        for peer in self._writing:
            ban = self._bans.banned(peer, now)
            bans.pop(peer, None)
            if ban is not None:
                bans[peer] = self._wall() + ban.seconds, ban.reason[:_REASON_CHARS], ban.seconds
        value = _dump(bans)
        try:
            self._core.thread.write(
                SetMeta(KEPT_AS, value, (self._kept,)), lambda reply: self._written(value, reply)
            )
        except StoreError as error:  # it is closed
            self._written(value, error)

    def _written(self, value: bytes, reply: Any) -> None:
        written, self._writing = self._writing, []
        if isinstance(reply, Moved):
            self._take(reply.value)
            self._write()
        elif not isinstance(reply, BaseException):  # else when it takes writes again
            self._kept = value
            for peer in written:
                del self._owed[peer]
            if self._owed:
                self._write()


def _dump(bans: _Bans) -> bytes:
    longest = sorted(bans.items(), key=lambda item: -item[1][0])[:MOST]
    dumped: bytes = msgpack.packb([(peer, *ban) for peer, ban in sorted(longest)])
    return dumped


def _load(kept: bytes | None, now: float) -> _Bans:
    """Return the bans that are not over; none of a value that is something else."""
    try:
        rows = [] if kept is None else msgpack.unpackb(kept)
        return {
            bytes(peer): (float(until), str(reason), float(seconds))
            for peer, until, reason, seconds in rows
            if float(until) > now or until == inf
        }
    except (ValueError, TypeError, msgpack.UnpackException):
        return {}

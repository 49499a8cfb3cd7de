"""What a room carries from one member to another.

Responsible for: tickets, the two connections of each pair, how fast and how long their bytes go on, how many pairs
there may be.
Must not know: who the members are, what they say: not a byte of it is looked at.
Invariant: a ticket is good once, for the pair that it was made for; of one pair no more waits than what a transport
holds in each direction; a pair that says nothing, or is too old, is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from gossiplog import limits
from gossiplog.discovery.room.bounds import RoomBounds
from gossiplog.discovery.room.messages import TICKET_BYTES
from gossiplog.discovery.room.rates import Days, Rate
from gossiplog.net.places import is_local

GO: Final = b"\x01"
"""What both sides get once both are there; behind it each hears the other."""


class Carried(Protocol):
    """One connection of a pair."""

    transport: Any

    def hang_up(self) -> None:
        """Close once everything written is out, or soon."""


@implementer(IPushProducer)
class Side:
    """I am one of the two connections of a pair, for the transport of the other one that writes what this one says."""

    def __init__(
        self, connection: Carried, received: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        self.connection = connection
        self.received = received
        """Takes what the connection says."""
        self.lost = lost
        """The connection is gone."""
        self.is_waiting = True
        self.is_full = False
        self.rest: Any = None

    def read(self) -> None:
        """Read on, unless the other one is not there, takes nothing, or too much came."""
        reads = not (self.is_waiting or self.is_full or self.rest)
        transport = self.connection.transport
        transport.resumeProducing() if reads else transport.pauseProducing()

    def pauseProducing(self) -> None:
        """The other transport holds as much as it should."""
        self.is_full = True
        self.read()

    def resumeProducing(self) -> None:
        """The other transport is empty."""
        self.is_full = False
        self.read()

    def stopProducing(self) -> None:
        """The other transport takes nothing more."""
        self.pauseProducing()


class Pair:
    """I am two members of ``tag`` that want to hear each other, at these seats and places."""

    def __init__(self, tag: bytes, seats: tuple[bytes, bytes], places: tuple[str, str], rate: Rate) -> None:
        self.tag = tag
        self.places = places
        self.counted: tuple[Hashable, ...] = (*seats, *dict.fromkeys(places))
        self.rate = rate
        self.tickets: tuple[bytes, bytes] = (b"", b"")
        self.sides: dict[int, Side] = {}
        self.began = self.moved = 0.0
        self.timer: Any = None


class Pairs:
    """I am all pairs of a room; ``entropy`` makes their tickets."""

    def __init__(self, reactor: Any, bounds: RoomBounds, entropy: Callable[[int], bytes]) -> None:
        self._reactor = reactor
        self._bounds = bounds
        self._entropy = entropy
        self._pairs: dict[Pair, None] = {}
        self._tickets: dict[bytes, tuple[Pair, int]] = {}
        self._counts: Counter[Hashable] = Counter()
        self._rate = Rate(bounds.bytes_per_second, bounds.bytes_per_second, reactor.seconds())
        self._days = Days(bounds.day_bytes)
        self.carried = 0
        """Bytes, since the room began."""

    def __len__(self) -> int:
        return len(self._pairs)

    def is_room(self, seats: tuple[bytes, bytes], places: tuple[str, str]) -> bool:
        """Whether there may be one more pair, of these seats and from these places."""
        if any(self._counts[seat] >= self._bounds.pairs_per_seat for seat in seats):
            return False
        if any(self._counts[place] >= self._most_at(place) for place in places):
            return False
        return len(self._pairs) < self._bounds.pairs or self._crowded(places) is not None

    def is_spent(self, tag: bytes) -> bool:
        """Whether the network of this tag had its share of today."""
        return self._days.is_spent(tag, self._now)

    def make(self, tag: bytes, seats: tuple[bytes, bytes], places: tuple[str, str]) -> tuple[bytes, bytes]:
        """Make a pair; returns a ticket for each side.  When there are too many, one goes where there are most."""
        if len(self._pairs) >= self._bounds.pairs and (gone := self._crowded(places)) is not None:
            self._end(gone)
        rate = Rate(self._bounds.pair_burst_bytes, self._bounds.pair_bytes_per_second, self._now)
        pair = Pair(tag, seats, places, rate)
        pair.tickets = self._entropy(TICKET_BYTES), self._entropy(TICKET_BYTES)
        for index, ticket in enumerate(pair.tickets):
            self._tickets[ticket] = pair, index
        self._pairs[pair] = None
        self._counts.update(pair.counted)
        pair.timer = self._reactor.callLater(limits.ROOM_TICKET_SECONDS, self._end, pair)
        return pair.tickets

    def claim(self, ticket: bytes, connection: Carried) -> Side | None:
        """Somebody came with a ticket; None for one that is not good, or not any more."""
        found = self._tickets.pop(ticket, None)
        if found is None:
            return None
        pair, index = found
        side = Side(connection, lambda data: self._carry(pair, index, data), lambda: self._end(pair))
        pair.sides[index] = side
        side.read()
        if len(pair.sides) == 2:
            self._begin(pair)
        return side

    def stop(self) -> None:
        """End them all."""
        for pair in tuple(self._pairs):
            self._end(pair)

    # --

    @property
    def _now(self) -> float:
        return float(self._reactor.seconds())

    def _most_at(self, place: str) -> int:
        return self._bounds.pairs // 2 if is_local(place) else self._bounds.pairs_per_place

    def _crowded(self, places: tuple[str, str]) -> Pair | None:
        """The oldest pair of the place with the most, if that has more than these would have with one more."""
        most = max((self._counts[where], where) for pair in self._pairs for where in pair.places)
        if most[0] <= 1 + max(self._counts[place] for place in places):
            return None
        return next(pair for pair in self._pairs if most[1] in pair.places)

    def _begin(self, pair: Pair) -> None:
        pair.timer.cancel()
        pair.began = pair.moved = self._now
        pair.timer = self._reactor.callLater(self._bounds.idle_seconds, self._look, pair)
        for index, side in pair.sides.items():
            transport = side.connection.transport
            transport.registerProducer(pair.sides[1 - index], True)
            transport.write(GO)
        for side in pair.sides.values():
            side.is_waiting = False
            side.read()

    def _carry(self, pair: Pair, index: int, data: bytes) -> None:
        """Give on what one side said, and let it rest when that was much."""
        if pair not in self._pairs:
            return
        side, other = pair.sides[index], pair.sides.get(1 - index)
        if other is None or side.is_waiting:
            self._end(pair)  # it did not wait until it was told to go
            return
        now = pair.moved = self._now
        other.connection.transport.write(data)
        size = len(data)
        self.carried += size
        self._days.spend(pair.tag, size, now)
        rest = max(pair.rate.spend(size, now), self._rate.spend(size, now))
        if self._days.is_spent(pair.tag, now):
            self._end(pair)
        elif rest > 0.0 and side.rest is None:
            side.rest = self._reactor.callLater(rest, self._rested, side)
            side.read()

    def _rested(self, side: Side) -> None:
        side.rest = None
        side.read()

    def _look(self, pair: Pair) -> None:
        """Whether it is over."""
        now = self._now
        idle = pair.moved + self._bounds.idle_seconds - now
        rest = min(idle, pair.began + self._bounds.life_seconds - now)
        if rest <= 0.0:
            self._end(pair)
        else:
            pair.timer = self._reactor.callLater(rest, self._look, pair)

    def _end(self, pair: Pair) -> None:
        if pair not in self._pairs:
            return
        del self._pairs[pair]
        for ticket in pair.tickets:
            self._tickets.pop(ticket, None)
        for counted in pair.counted:
            self._counts[counted] -= 1
            if not self._counts[counted]:
                del self._counts[counted]
        for timer in (pair.timer, *[side.rest for side in pair.sides.values()]):
            if timer is not None and timer.active():
                timer.cancel()
        for side in pair.sides.values():
            side.connection.hang_up()

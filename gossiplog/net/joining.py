"""Finding the other nodes of a network.

Responsible for: :class:`Joined`, the ways at work, and when a first look is over.
Must not know: how a way finds anybody; which of those found are dialled.
Invariant: a way that fails, in whatever manner, stops nothing else; :meth:`Joined.flush` always fires.  A way is at
work for one node at a time, and starts once what it did before, and the ways that the node had before, have ended: else
a late goodbye, or a router that is asked to stop, would take back what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IProtocol

from gossiplog import limits, notices
from gossiplog.addresses import Address
from gossiplog.arguments import check_seconds
from gossiplog.errors import GossiplogError, InvalidValueError, NodeError
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog, Said
from gossiplog.live.results import Ending, Result, deliver
from gossiplog.log.network import Network
from gossiplog.net.peering import Peering
from gossiplog.net.ways import Way
from gossiplog.notices import Notice

_log = NodeLog()

QUIET_SECONDS = 0.5
"""Nothing was dialled and nothing came up for so long: the first look is over."""


class Flushed(NamedTuple):
    """What came of a first look: so many addresses ``found``, so many peers ``connected``.

    ``failed`` says of ways that do not work why; ``timed_out``: it was not over when the time was.
    """

    found: int
    connected: int
    failed: dict[str, str]
    timed_out: bool


class _Running:
    """I am a way at work."""

    def __init__(self, search: Search, way: Way) -> None:
        self._search = search
        self.way = way
        self.name = str(getattr(way, "name", type(way).__name__))
        self.is_looking = True
        self.is_over = self._is_begun = self._is_started = False
        self.why = ""
        self._said = Said()
        self.reactor = search.reactor
        self.network = search.network
        self.node = search.node

    def begin(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Start it, then look once."""
        if self.is_over:
            return
        self._is_begun = True
        self.announce(addresses)
        begun = maybeDeferred(self.way.start, self).addBoth(self._started)
        begun.addCallback(lambda _: None if self.is_over else maybeDeferred(self.way.look))
        begun.addErrback(self.broke)
        begun.addBoth(self._looked)

    def _started(self, result: Any) -> Any:
        self._is_started = True
        return result

    def again(self) -> None:
        """Look once more, unless the first look is yet to come."""
        if self._is_started and not self.is_over:
            self.is_looking = True
            maybeDeferred(self.way.look).addErrback(self.broke).addBoth(self._looked)

    def announce(self, addresses: Sequence[tuple[str, int]]) -> None:
        """Others may find us there."""
        if self._is_begun and not self.is_over:
            maybeDeferred(self.way.announce, addresses).addErrback(self.broke)

    def stop(self) -> Deferred[Any]:
        """Stop it, whatever it does then; fires after ``CLOSE_SECONDS`` at the latest."""
        self.is_over = True
        if not self._is_begun:
            return succeed(None)
        stopping = maybeDeferred(self.way.stop)
        return stopping.addTimeout(limits.CLOSE_SECONDS, self.reactor, _hangs).addErrback(self.broke)

    def broke(self, failure: Any) -> None:
        """It raised."""
        if pass_on(self.reactor, failure.value):
            return
        expected = isinstance(failure.value, GossiplogError | OSError)
        if not expected and self._said.is_new("way", failure.getErrorMessage()):
            _log.failure("{name} failed", failure, event="way_failed", name=self.name)
        self.failed(failure.getErrorMessage() or type(failure.value).__name__)

    def _looked(self, _: Any) -> None:
        self.is_looking = False
        self._search.peering.changed()

    def found(self, host: str, port: int, node: bytes | None = None, label: bytes = b"") -> None:
        """As :meth:`Finder.found`."""
        if not self.is_over:
            self._search.found_by(self.name, Address.of(host, port), node, label)

    def lost(self, host: str, port: int) -> None:
        """As :meth:`Finder.lost`."""
        if not self.is_over:
            self._search.lost_by(self.name, Address.of(host, port))

    def wants(self, node: bytes, pending: int = 0) -> bool:
        """As :meth:`Finder.wants`."""
        return not self.is_over and self._search.peering.wants(node, pending)

    def takes(self, node: bytes) -> bool:
        """As :meth:`Finder.takes`."""
        return not self.is_over and self._search.peering.takes(node)

    def may_dial(self, host: str, port: int, teller: str) -> bool:
        """As :meth:`Finder.may_dial`."""
        return not self.is_over and self._search.peering.may_dial(Address.of(host, port), teller)

    def carry(
        self, node: bytes, name: str, *, dials: bool, is_direct: bool, is_chosen: bool = False
    ) -> IProtocol | None:
        """As :meth:`Finder.carry`."""
        if self.is_over:
            return None
        return self._search.peering.carry(node, name, dials=dials, is_direct=is_direct, is_chosen=is_chosen)

    def reach(self, node: bytes) -> Any:
        """What leads to a node that this way knows; None for any other."""
        return None if self.is_over else getattr(self.way, "reach", lambda node: None)(node)

    def reachable(self, addresses: Sequence[tuple[str, int]]) -> None:
        """As :meth:`Finder.reachable`."""
        if not self.is_over:
            self._search.reached_at(self.name, [Address.of(*each) for each in addresses])

    def failed(self, reason: str) -> None:
        """As :meth:`Finder.failed`."""
        if reason != self.why:
            self.why = reason
            self._search.tell(notices.WayFailed(self.name, reason))


def _hangs(_: Any, seconds: float) -> None:
    raise NodeError(f"it did not end within {seconds:g} s")


class Search:
    """I am what a node does to find its peers; ``left`` is called when that is over."""

    def __init__(
        self,
        reactor: Any,
        peering: Peering,
        network: Network,
        node: bytes,
        tell: Callable[[Notice], None],
        left: Callable[[], None],
        ways: Sequence[Way],
        check: Callable[[], None],
    ) -> None:
        self.reactor = reactor
        self.peering = peering
        self.network = network
        self.node = node
        self.tell = tell
        self.check = check
        self._left = left
        self._is_over: bool = False
        self._ended = Ending(reactor)
        self._count = 0
        self._active_at = float(reactor.seconds())
        self._waiting: list[tuple[Result[Flushed], Any]] = []
        self._look_again: Any = None
        for way in ways:
            missing = [name for name in ("start", "announce", "look", "stop") if not hasattr(way, name)]
            if missing:
                raise InvalidValueError(f"ways are ways of finding peers; {way!r:.80} has no {missing[0]}()")
        self._before: list[Search] = [found for way in ways if (found := _at_work.get(id(way))) is not None]
        if len({id(way) for way in ways}) < len(ways) or not all(found._is_over for found in self._before):
            raise InvalidValueError("a way is at work for one node at a time: make one for each")
        _at_work.update({id(way): self for way in ways})
        self._running = [_Running(self, way) for way in ways]
        self._reachable: dict[str, list[Address]] = {}
        self.located: Callable[[], Sequence[tuple[str, int]]] = lambda: ()
        self._is_first = True

    def begin(self, before: Search | None) -> None:
        """Start all ways, once those that the node had ``before`` have ended."""
        former = self._before if before is None else [before, *self._before]
        self._before = []
        DeferredList([search._ended.wait() for search in former]).addCallback(self._begin)
        self.looked()

    def _begin(self, _: Any) -> None:
        here = self.located()
        for running in self._running:
            running.begin(here)

    @property
    def finding(self) -> bool:
        """Whether a first look is under way."""
        return self._is_first and not self._is_over

    def flush(self, timeout: float = 10.0) -> Result[Flushed]:
        """As :meth:`Joined.flush`."""
        check_seconds("timeout", timeout)
        result: Result[Flushed] = Result(lambda _: None, self.reactor)
        if not self.finding:
            deliver(result, self._flushed(timed_out=False))
            return result
        late = self.reactor.callLater(timeout, self._late, result)
        self._waiting.append((result, late))
        self.looked()
        return result

    def leave(self) -> Result[None]:
        """As :meth:`Joined.leave`."""
        if not self._is_over:
            self._is_over = True
            if self._look_again is not None:
                self._look_again.cancel()
                self._look_again = None
            self._settle(timed_out=False)
            self._left()
            stopping = DeferredList([running.stop() for running in self._running])
            stopping.addCallback(lambda _: self._ended.come())
        return self._ended.wait()

    def give_up(self) -> None:
        """In a child by fork: look for nobody; the ways are the parent's."""
        self._is_over = True
        for running in self._running:
            running.is_over = True
            _at_work.pop(id(running.way), None)
        for call in (self._look_again, *[late for _, late in self._waiting]):
            if call is not None and call.active():
                call.cancel()

    def reach(self, node: bytes) -> Any:
        """An endpoint that leads to a node, by a way that knows it; None if there is none."""
        return next((found for way in self._running if (found := way.reach(node)) is not None), None)

    # -- the node reports

    def found_by(self, way: str, address: Address, node: bytes | None, label: bytes) -> None:
        """Somebody is there."""
        if self.peering.topology.found(way, address, node, float(self.reactor.seconds()), label):
            self._count += 1
            self.tell(notices.PeerFound(way, address.endpoint, node))
            self.peering.step()

    def lost_by(self, way: str, address: Address) -> None:
        """They are there no longer."""
        self.peering.topology.lost(address)
        self.tell(notices.PeerLost(way, address.endpoint))

    def reached_at(self, way: str, addresses: list[Address]) -> None:
        """This way brings others to us there; all are to know."""
        if self._reachable.get(way, []) != addresses:
            self._reachable[way] = addresses
            here = self.located()
            for running in self._running:
                running.announce(here)

    @property
    def reachable(self) -> list[Address]:
        """Where others reach us by what the ways did."""
        return [address for each in self._reachable.values() for address in each]

    def heard_of(self, node: bytes, address: Address) -> None:
        """A peer says that ``node`` is there."""
        self._count += 1
        self.tell(notices.PeerFound("peers", address.endpoint, node))

    def moved(self, addresses: Sequence[tuple[str, int]]) -> None:
        """This machine is somewhere else now."""
        for running in self._running:
            running.announce(addresses)
            running.again()

    def active(self) -> None:
        """Something began or ended."""
        self._active_at = float(self.reactor.seconds())
        self.looked()

    def looked(self) -> None:
        """See whether the first look is over; if it may be soon, look again then."""
        if not self.finding or self._look_again is not None:
            return
        if any(running.is_looking for running in self._running) or self.peering.is_busy:
            return
        rest = self._active_at + QUIET_SECONDS - float(self.reactor.seconds())
        if rest > 0:
            self._look_again = self.reactor.callLater(rest, self._woken)
        else:
            self._is_first = False
            self._settle(timed_out=False)

    # --

    def _woken(self) -> None:
        self._look_again = None
        self.looked()

    def _late(self, result: Result[Flushed]) -> None:
        self._waiting = [each for each in self._waiting if each[0] is not result]
        if not result.called:
            deliver(result, self._flushed(timed_out=True))

    def _settle(self, *, timed_out: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for result, late in waiting:
            if late.active():
                late.cancel()
            if not result.called:
                deliver(result, self._flushed(timed_out=timed_out))

    def _flushed(self, *, timed_out: bool) -> Flushed:
        failed = {running.name: running.why for running in self._running if running.why}
        connected = len({each.node for each in self.peering.topology.neighbours})
        return Flushed(self._count, connected, failed, timed_out)


_at_work: WeakValueDictionary[int, Search] = WeakValueDictionary()
"""For whom a way is at work, or was last; ways are known by their identity."""


class Joined:
    """I am what a node does to find its peers, since :meth:`gossiplog.Node.join`."""

    def __init__(self, search: Search) -> None:
        self._search = search

    @property
    def finding(self) -> bool:
        """Whether a first look is under way."""
        return self._search.finding

    def flush(self, timeout: float = 10.0) -> Result[Flushed]:
        """Fire when the first look is over and who was found has been dialled; after ``timeout`` seconds at most."""
        self._search.check()
        return self._search.flush(timeout)

    def leave(self) -> Result[None]:
        """Look for nobody any more, and let nobody find us; sessions stay.  Fires when every way has ended."""
        self._search.check()
        return self._search.leave()

"""Keeping connections to addresses.

Responsible for: dialling each endpoint, again and again with back-off and jitter, until told to stop; rarely while the
node that answered there last is connected another way or banned.
Must not know: what is said on a connection.
Invariant: per address at most one attempt or connection at a time; of a stopped address no timer and no attempt; of
every other one a timer of at most ``RECHECK_SECONDS``, an attempt of at most ``DIAL_SECONDS``, or a connection.

Whoever is on the path can lead a connection elsewhere, also to ourselves.  So who answered at an address says nothing
for good about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.back_off import back_off
from gossiplog.errors import ByeCode, EndpointError
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog, Said
from gossiplog.net import endpoints
from gossiplog.net.endpoints import ClientEndpoint
from gossiplog.net.happy_eyeballs import reaching
from gossiplog.net.link import Link, Owner
from gossiplog.net.link_factory import LinkFactory
from gossiplog.store.owning_process import Home

STEADY_SECONDS = 5.0
"""A session that lasted so long starts the back-off over; one that ends at once, again and again, must not be dialled
four times a second."""


_REFUSALS: dict[int, str] = {
    ByeCode.LIMIT: "it has no room for another handshake now",
    ByeCode.STOPPING: "it is being stopped",
}
"""What a listener of our network says in the handshake, in words."""


_log = NodeLog()


class Dialer:
    """I keep trying to have a link to one endpoint."""

    def __init__(self, calls: Dialers, endpoint: ClientEndpoint) -> None:
        self.endpoint = endpoints.name(endpoint)
        self.stopped = False
        self.link: Link | None = None
        self.peer: bytes | None = None
        self._calls = calls
        self._factory: LinkFactory | None = None
        self._failures = 0
        self._looks = 0
        self._held_back = False
        self._up_at: float | None = None
        self._call: Any = None
        self._attempt: Deferred[Any] | None = None
        self._endpoint = endpoints.client(calls.reaching, endpoint)

    @property
    def looks_up(self) -> str:
        """The name that is being looked up for me, or "" when that is not what I wait for."""
        under_way = getattr(self._calls.reaching, "looking_up", ())
        return next((name for name in under_way if name in self.endpoint), "")

    def _reached(self, peer: bytes) -> bool:
        """The handshake on my link shows who is there; returns whether that was somebody else the last time."""
        changed = peer != self.peer
        if changed:
            self._looks = 0
        if self._held_back and self.link is not None and self._calls.connected(peer):
            self.link.say_bye(ByeCode.DUPLICATE, "already connected", by_peer=False)
        self.peer = peer
        return changed

    def _freed(self) -> None:
        """The session that held me back may be the one that ended."""
        if self._held_back and self.link is None:
            self._cancel()
        self._looks = 0
        self._later()

    def dial(self) -> None:
        """Try now, unless there is a link or an attempt, and soon again: the network may have changed."""
        self._calls.home.check()
        self._cancel()
        self._failures = self._looks = 0
        self._dial()

    def _dial(self) -> None:
        if self.stopped or self.link is not None or self._attempt is not None:
            return
        self._factory = LinkFactory(self._calls.owner, self.endpoint)
        self._attempt = maybeDeferred(
            self._endpoint.connect, self._factory
        )  # some refuse arguments only here
        self._attempt.addTimeout(limits.DIAL_SECONDS, self._calls.reactor, self._in_vain)
        self._attempt.addCallbacks(self._connected, self._failed)

    def stop(self) -> None:
        """Dial no more; a link that is up stays up."""
        self.stopped = True
        if not self._calls.home.is_here:
            return
        self._cancel()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._give_up()
            attempt.cancel()

    # -- the links report, through Dialers

    def _opened(self) -> None:
        """The session on my link is open."""
        self._up_at = self._calls.reactor.seconds()
        self._looks = 0

    def _lost(self) -> None:
        """My link is gone: dial again after a while."""
        link, self.link = self.link, None
        self._held_back = False
        up_at, self._up_at = self._up_at, None
        if up_at is not None and self._calls.reactor.seconds() - up_at >= STEADY_SECONDS:
            self._failures = 0
        if link is not None and up_at is None and not (link.offended or self.stopped):
            code, why = self._ended(link)
            if code != ByeCode.DUPLICATE:
                self._calls.failed(self.endpoint, why)
        self._later()

    def _later(self) -> None:
        """Dial after a while, unless that is under way or done."""
        if self.stopped or self.link is not None or self._attempt is not None or self._call is not None:
            return
        delay = self._delay(limits.RECONNECT_FIRST_SECONDS, limits.RECONNECT_MOST_SECONDS, self._failures)
        self._failures += 1
        self._call = self._calls.reactor.callLater(delay, self._again)

    def _forgiven(self) -> None:
        """A ban was lifted: it may have been this one that was waited for."""
        if self._call is not None:
            self._cancel()
            self._failures = self._looks = 0
            self._later()

    # --

    def _delay(self, first: float, most: float, times: int) -> float:
        return back_off(times, first, most, self._calls.chance)

    def _ended(self, link: Link) -> tuple[int, str]:
        """With which code, and why, a link ended on which no session opened."""
        if link.channel.established:
            return link.ended or (ByeCode.NORMAL, "the connection was lost before HELLO")
        if link.refusal is None:
            return ByeCode.NORMAL, "hung up in the handshake: not gossiplog, or of another network, or full"
        return link.refusal, _REFUSALS.get(
            link.refusal, f"turned away in the handshake, with code {link.refusal}"
        )

    def _banned_for(self) -> float:
        return 0.0 if self.peer is None else self._calls.banned_for(self.peer)

    def _again(self) -> None:
        self._call = None
        banned = self._banned_for()
        connected = self.peer is not None and self._calls.connected(self.peer)
        if self._held_back or not (banned or connected):
            self._dial()
            return
        self._held_back = (
            True  # freed() comes when that connection is gone; but who was here need not be here now
        )
        delay = self._delay(limits.RECHECK_FIRST_SECONDS, limits.RECHECK_SECONDS, self._looks)
        self._looks += 1
        if banned and not connected:
            delay = min(delay, banned)
        self._call = self._calls.reactor.callLater(delay, self._again)

    def _connected(self, link: Any) -> None:
        if not isinstance(link, Link):
            self._failed(f"its endpoint gave {type(link).__name__}, not the protocol that it was to connect")
            return
        self._attempt = None
        self.link = link
        if link.closing:
            self._lost()

    def _give_up(self) -> None:
        """An endpoint that does not know how to be cancelled may connect all the same."""
        if self._factory is not None:
            self._factory.given_up = True

    def _failed(self, reason: str | Failure) -> None:
        if isinstance(reason, Failure):
            pass_on(self._calls.reactor, reason.value)
        self._give_up()
        self._attempt = None
        self._held_back = False
        if not self.stopped:
            text = reason.getErrorMessage() if isinstance(reason, Failure) else reason
            self._calls.failed(self.endpoint, text)
            self._later()

    def _in_vain(self, _: Any, seconds: float) -> None:
        raise EndpointError(f"no connection within {seconds:g} s")

    def _abandon(self) -> None:
        """In a child by fork: dial no more; what is under way is the parent's."""
        self.stopped = True
        self._give_up()
        self._cancel()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._held_back = False


class Dialers:
    """I am the addresses of one node, at ``home`` in its process.

    ``random`` gives numbers in [0, 1), ``connected(peer)`` says whether there is an open session with a node,
    ``banned_for(peer)`` how many seconds it is no use to dial that, and ``failed(endpoint, reason)`` hears of every
    attempt in vain.
    """

    def __init__(
        self,
        reactor: Any,
        owner: Owner,
        random: Callable[[], float],
        connected: Callable[[bytes], bool],
        banned_for: Callable[[bytes], float],
        failed: Callable[[str, str], None],
        home: Home,
    ) -> None:
        self.reactor = reactor
        self.reaching = reaching(reactor)
        self.owner = owner
        self.random = random
        self.connected = connected
        self.banned_for = banned_for
        self.failed = failed
        self.home = home
        self._said = Said()
        self._dialers: list[Dialer] = []

    def chance(self) -> float:
        """A number from ``random``, an application's function; 0.5 if it gives none."""
        try:
            return min(max(0.0, float(self.random())), 1.0)
        except BaseException:
            if not pass_on(self.reactor) and self._said.is_new("random", "failed"):
                _log.failure("the source of randomness failed", event="random_failed")
            return 0.5

    def add(self, endpoint: ClientEndpoint) -> Dialer:
        """Keep a connection to ``endpoint`` from now on; :class:`EndpointError` when it is none."""
        dialer = Dialer(self, endpoint)
        self._dialers = [old for old in self._dialers if old.link is not None or not old.stopped]
        self._dialers.append(dialer)
        dialer.dial()
        return dialer

    @property
    def active(self) -> list[Dialer]:
        """Those that are dialled, or were and are up."""
        return [dialer for dialer in self._dialers if not dialer.stopped]

    def stop(self) -> None:
        """Dial none of them any more."""
        for dialer in self._dialers:
            dialer.stop()

    @property
    def sockets(self) -> Iterator[Any]:
        """What connections are being made of."""
        return getattr(self.reaching, "sockets", iter(()))

    def give_up(self) -> None:
        """In a child by fork: dial none of them any more, and go on with no attempt."""
        for dialer in self._dialers:
            dialer._abandon()
        getattr(self.reaching, "give_up", lambda: None)()

    def redial(self) -> None:
        """The network may be another one: try them all, and soon again."""
        for dialer in self._dialers:
            if not dialer.stopped:
                dialer.dial()

    def reached(self, link: Link, peer: bytes) -> bool:
        """The node ``peer`` is at the other end of ``link``; returns whether that was somebody else the last time."""
        changed = [dialer._reached(peer) for dialer in self._of(link)]
        return any(changed)

    def opened(self, link: Link) -> None:
        """The session on ``link`` is open."""
        for dialer in self._of(link):
            dialer._opened()

    def lost(self, link: Link) -> None:
        """``link`` is gone."""
        for dialer in self._of(link):
            dialer._lost()

    def freed(self, peer: bytes) -> None:
        """A session with ``peer`` ended: who was held back by it goes on."""
        for dialer in self._dialers:
            if dialer.peer == peer:
                dialer._freed()

    def forgiven(self) -> None:
        """A ban was lifted: dial who was kept out."""
        for dialer in self._dialers:
            dialer._forgiven()

    def _of(self, link: Link) -> list[Dialer]:
        return [dialer for dialer in self._dialers if dialer.link is link]

"""Connections to members that a room paired us with.

Responsible for: the direct way if there may be one, else the way through the room, and the link at its end.
Must not know: who is met, and why.
Invariant: nothing is dialled because a room says so beyond what the node's rules for that allow; when a direct way
fails, the room is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.discovery.room.messages import Paired
from gossiplog.discovery.room.passage import Passage, Passages
from gossiplog.discovery.room.punch import Punch, share_port
from gossiplog.errors import EndpointError
from gossiplog.live.interrupts import pass_on
from gossiplog.net import endpoints
from gossiplog.net.happy_eyeballs import reaching
from gossiplog.net.token_bucket import Bucket
from gossiplog.net.ways import Finder

IN_VAIN = 3
"""Direct ways that did not work, one after the other: from here none will until the network is another one."""


PUNCHES = 8
PUNCH_EVERY_SECONDS = 4.0
"""Direct ways that are tried: the former at once, then one in the latter.  Who follows a room must have dials left for
what is found elsewhere."""


class Crossings:
    """I am the connections of one node to others, arranged by the room at ``endpoint``."""

    def __init__(self, finder: Finder, endpoint: str) -> None:
        self._finder = finder
        self._reactor = finder.reactor
        self._endpoint = endpoint
        self._local: tuple[str, int] | None = None
        self._room = ""
        self._attempts: set[Punch] = set()
        self._under_way: set[Deferred[Any]] = set()
        self._punches = Bucket(PUNCHES, 1.0 / PUNCH_EVERY_SECONDS, finder.reactor.seconds())
        self._is_stopped = False
        self._failed_direct: set[bytes] = set()
        self.passages: set[Passage] = set()
        self.in_vain = 0

    def sat_down(self, transport: Any, punches: bool) -> None:
        """We sit in the room, over ``transport``."""
        self._local = share_port(transport) if punches else None
        self._room = getattr(transport.getPeer(), "host", "")

    def stood_up(self) -> None:
        """We do not any more: what it sees of us is not worth anything."""
        self._local = None

    def forgive(self) -> None:
        """The network is another one: the direct way may work."""
        self.in_vain = 0
        self._failed_direct.clear()

    def punches(self, node: bytes) -> bool:
        """Whether to try the direct way to a node."""
        if self._local is None or self.in_vain >= IN_VAIN or node in self._failed_direct:
            return False
        return self._punches.wait(self._reactor.seconds()) == 0.0

    def connect(
        self, node: bytes, paired: Paired, ended: Callable[[float], None], *, is_chosen: bool
    ) -> Deferred[Any]:
        """Connect with a node, and make a link of it, with which it fires; ``ended`` hears how long it lasted.

        Fires with None when there is no connection.
        """
        connecting = self._direct(node, paired)
        connecting.addErrback(lambda _: self._through(paired.ticket))
        return connecting.addCallbacks(self._crossed, self._in_vain, (node, paired, ended, is_chosen))

    def stop(self) -> None:
        """End what is under way; links stay."""
        self._is_stopped = True
        for attempt in tuple(self._attempts):
            attempt.cancel()
        for connecting in tuple(self._under_way):
            connecting.cancel()
        for passage in tuple(self.passages):
            if not passage.is_handed_over:
                passage.abort()

    # --

    def _direct(self, node: bytes, paired: Paired) -> Deferred[Passage]:
        address, local = paired.address, self._local
        if address is None or local is None or not self.punches(node):
            return fail(EndpointError("no direct way is tried"))
        if not self._finder.may_dial(address.host, address.port, self._room):
            return fail(EndpointError("nobody dials there because a room says so"))
        self._punches.take()
        punch = Punch(self._reactor, local, address)
        self._attempts.add(punch)

        def over(result: Any) -> Any:
            self._attempts.discard(punch)
            self.in_vain = self.in_vain + 1 if isinstance(result, Failure) else 0
            return result

        return punch.done.addBoth(over)

    def _through(self, ticket: bytes) -> Deferred[Passage]:
        if self._is_stopped:
            return fail(EndpointError("we left the room"))
        passages = Passages(ticket)
        passage = passages.passage
        self.passages.add(passage)
        endpoint = endpoints.client(reaching(self._reactor), self._endpoint)
        connecting = maybeDeferred(endpoint.connect, passages)
        self._under_way.add(connecting)
        connecting.addCallback(lambda _: passage.ready)
        connecting.addTimeout(limits.ROOM_TICKET_SECONDS, self._reactor)

        def over(result: Any) -> Any:
            self._under_way.discard(connecting)
            if isinstance(result, Failure):
                self.passages.discard(passage)
                passage.abort()
            return result

        return connecting.addBoth(over)

    def _in_vain(self, failure: Failure) -> None:
        pass_on(self._reactor, failure.value)

    def _crossed(
        self, passage: Passage, node: bytes, paired: Paired, ended: Callable[[float], None], is_chosen: bool
    ) -> Any:
        transport: Any = passage.transport
        is_direct = passage.is_direct
        name = endpoints.describe(transport.getPeer()) if is_direct else f"{self._endpoint} (a room)"
        link: Any = self._finder.carry(
            node, name, dials=paired.dials, is_direct=is_direct, is_chosen=is_chosen
        )
        if link is None:
            passage.abort()
            return None
        began = self._reactor.seconds()
        self.passages.add(passage)

        def over() -> None:
            self.passages.discard(passage)
            if is_direct and not link.channel.established:
                if len(self._failed_direct) >= limits.ROOM_KNOWN:
                    self._failed_direct.clear()
                self._failed_direct.add(node)
            ended(self._reactor.seconds() - began)

        passage.ended = over
        passage.hand_over(link)
        return link

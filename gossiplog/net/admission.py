"""Who may be connected.

Responsible for: how many connections there may be, from one place and in all, that said nothing, that are in their
handshake and that are open; whose handshake is answered when; bans.
Must not know: messages, sessions.
Invariant: who does not know the network key takes no place of who does.  A first message that shows the key is answered
once, and what that costs is bounded in all, and for each place while others need the rest.  A place with few
connections goes before one with many.

A connection from outside is a *stranger* until its first message shows that it knows the network key, then an
*applicant* until the third shows which node it is, then a *guest*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from gossiplog import limits
from gossiplog.errors import ByeCode, GossiplogError, LimitExceededError, PeerError, ReplayError
from gossiplog.net.bans import Bans, points_of
from gossiplog.net.connection_counts import ConnectionCounts
from gossiplog.net.first_messages import FirstMessages
from gossiplog.net.places import is_local, place
from gossiplog.net.refusals import Refusals
from gossiplog.net.sockets import descriptors
from gossiplog.net.token_bucket import Bucket, PlaceRates
from gossiplog.notices import Banned, Notice
from gossiplog.wire.channel import Channel

CROWDING_SECONDS = 60.0
"""So long after a stranger was turned out, those from the same place go before all others."""

UNFINISHED_COST = 2.0
"""What a handshake that the other side does not finish costs its place in addition: it may be the line's fault, or that
of somebody who recorded first messages."""

OFFENCE_COST = 16.0
"""What an offence for which a node key is banned costs its place: a new key costs nothing."""


class Link(Protocol):
    """A connection that somebody made."""

    host: str
    address: str
    initiator: bool
    channel: Channel

    def locate(self) -> bool:
        """Look where it comes from; True if that is somewhere else than before."""

    def answer(self) -> None:
        """Go on with the handshake."""

    def refuse(self, error: PeerError) -> None:
        """End it, and report that with :meth:`Admission.refused`."""


class Admission:
    """I stand at the door of one node, or of a room.  ``tell`` hears of bans and of who was turned away.

    At most ``most`` guests are let in (``MAX_CONNECTIONS``), ``most_here`` of them from one place
    (``MAX_CONNECTIONS_PER_HOST``).
    """

    def __init__(
        self,
        reactor: Any,
        tell: Callable[[Notice], None],
        most: int | None = None,
        most_here: int | None = None,
    ) -> None:
        now = reactor.seconds()
        self._most = most
        self._most_here = most_here
        self.bans = Bans()
        self.turned_away = Refusals(reactor, tell)
        self._reactor = reactor
        self._tell = tell
        self._descriptors = descriptors()
        self._strangers: ConnectionCounts[Link] = ConnectionCounts()
        self._crowding: ConnectionCounts[Link] = (
            ConnectionCounts()
        )  # strangers too, where some were turned out lately
        self._turned_out = PlaceRates(1.0, 1.0 / CROWDING_SECONDS)
        self._applicants: ConnectionCounts[Link] = ConnectionCounts()
        self._unanswered: ConnectionCounts[Link] = ConnectionCounts()
        self._guests: dict[Link, tuple[str, bytes]] = {}
        self._guests_at: Counter[str | bytes] = Counter()
        self._first_messages = FirstMessages(now)
        self._accepts = Bucket(limits.ACCEPTS_PER_SECOND, limits.ACCEPTS_PER_SECOND, now)
        self._answers = Bucket(limits.HANDSHAKES_PER_SECOND, limits.HANDSHAKES_PER_SECOND, now)
        self._answers_to = PlaceRates(limits.HANDSHAKES_PER_HOST, limits.HOST_HANDSHAKES_PER_SECOND)
        self._finished_at = PlaceRates(limits.HANDSHAKES_PER_HOST, limits.HOST_HANDSHAKES_PER_SECOND)
        self._next_turn: Any = None

    # -- strangers

    def admits(self, host: str) -> bool:
        """Whether a connection from ``host`` is worth a look: when too many come, not from where others wait."""
        if self._accepts.wait(self._reactor.seconds()) > 0.0:
            where = place(host)
            if self._strangers.at(where) or self._turned_out.wait(where, self._reactor.seconds()) > 0.0:
                return False
        self._accepts.take()
        return True

    def made(self, link: Link) -> None:
        """A connection from outside came up.

        When too many say nothing, one of those has to go: refusing new ones would let them keep everyone out.
        """
        self._seat(link)
        most = min(limits.MAX_STRANGERS, self._descriptors // 4)
        if len(self._strangers) + len(self._crowding) > most:
            gone = self._turn_out(self._too_many(most), f"more than {most} connections that said nothing")
            where = place(gone.host)
            self._turned_out.take(where, self._reactor.seconds())
            for other in self._strangers.members(where):
                self._strangers.remove(other)
                self._crowding.add(other, where)

    def _too_many(self, most: int) -> ConnectionCounts[Link]:
        """Of which kind one has to go; each has half of the room if it needs it."""
        while True:
            kind = self._crowding if 2 * len(self._crowding) > most else self._strangers
            oldest = kind.fullest()
            if not oldest.locate():
                return kind
            self.located(oldest)

    def located(self, link: Link) -> None:
        """A stranger is not where the proxy is that it comes through."""
        if self._strangers.remove(link) or self._crowding.remove(link):
            self._seat(link)

    def _seat(self, link: Link) -> None:
        where = place(link.host)
        crowding = self._turned_out.wait(where, self._reactor.seconds()) > 0.0
        (self._crowding if crowding else self._strangers).add(link, where)

    # -- applicants

    def asked(self, link: Link) -> None:
        """The first message of ``link`` shows that it knows the network key, or somebody who did."""
        self._forget(link)
        if self._first_messages.repeated(link.channel.first, self._reactor.seconds()):
            link.refuse(ReplayError("the first message of a handshake came a second time"))
            return
        where = place(link.host)
        self._applicants.add(link, where)
        self._unanswered.add(link, where)
        most = min(limits.MAX_HANDSHAKES, self._descriptors // 4)
        if len(self._applicants) > most:
            self._turn_out(self._applicants, f"more than {most} handshakes at once")
        self._answer()

    def _answer(self) -> None:
        """Answer all whose turn it is; come back when the next may be answered."""
        self._cancel_turn()
        now = self._reactor.seconds()
        soonest, answered = 0.0, True
        while self._unanswered and answered:
            soonest, answered = limits.HANDSHAKE_SECONDS, False
            for where, oldest in self._unanswered.turns():
                link, wait = oldest, self._answers.wait(now)
                if not is_local(link.host):
                    wait = max(wait, self._finished_at.wait(where, now))
                    beyond = self._answers_to.wait(where, now)
                    if (
                        beyond > 0.0
                    ):  # the rest of half of all answers, for who came last: more came than can be answered
                        link = self._unanswered.newest(where)
                        wait = max(
                            wait, min(beyond, self._answers.wait(now, limits.HANDSHAKES_PER_SECOND / 2 + 1))
                        )
                if wait > 0.0:
                    soonest = min(soonest, wait)
                    continue
                answered = True
                self._answers.take()
                self._answers_to.take(where, now)
                self._unanswered.served(link)
                link.answer()
        if self._unanswered:
            self._next_turn = self._reactor.callLater(soonest, self._answer)

    def _turn_out(self, crowd: ConnectionCounts[Link], reason: str) -> Link:
        link = crowd.fullest()
        link.refuse(LimitExceededError(reason))
        self._forget(link)
        return link

    def _forget(self, link: Link) -> None:
        """``link`` is no stranger and no applicant any more."""
        self._strangers.remove(link)
        self._crowding.remove(link)
        waits = self._unanswered.remove(link)
        if self._applicants.remove(link) and not waits:
            self._answers_to.take(place(link.host), self._reactor.seconds(), UNFINISHED_COST)

    # -- guests

    def shaken(self, link: Link, peer: bytes) -> tuple[ByeCode, str] | None:
        """The handshake shows that this is the node ``peer``; returns why it has to go, or None."""
        self._applicants.remove(link)
        ban = self.bans.banned(peer, self._reactor.seconds())
        if ban is not None:
            return ByeCode.REFUSED, f"banned for {ban.seconds:.0f} s: {ban.reason}"
        if link.initiator:
            return None
        where = place(link.host)
        self._finished_at.take(where, self._reactor.seconds())
        most = min(self._most or limits.MAX_CONNECTIONS, self._descriptors // 2)
        most_here = most // 2 if is_local(link.host) else self._most_here or limits.MAX_CONNECTIONS_PER_HOST
        again = self._guests_at[peer] == 1  # one of the two connections goes as soon as both have greeted
        if len(self._guests) >= most + again * most // 8:
            return ByeCode.LIMIT, f"{most} nodes are connected, and no more have room"
        if self._guests_at[where] >= most_here + again * most_here // 8:
            return ByeCode.LIMIT, f"{most_here} nodes of this address are connected, and no more have room"
        self._guests[link] = where, peer
        self._guests_at.update((where, peer))
        return None

    def lost(self, link: Link) -> None:
        """A connection is gone."""
        self._forget(link)
        for counted in self._guests.pop(link, ()):
            self._guests_at[counted] -= 1
            if not self._guests_at[counted]:
                del self._guests_at[counted]

    def offence(self, link: Link, peer: bytes, error: GossiplogError) -> None:
        """The node ``peer`` at the other end of ``link`` broke the protocol."""
        if not link.initiator:
            cost = OFFENCE_COST * points_of(error)
            self._finished_at.take(place(link.host), self._reactor.seconds(), cost)
        ban = self.bans.offence(peer, error, self._reactor.seconds())
        if ban is not None:
            self._tell(Banned(ban.peer, ban.reason, ban.seconds))

    def refused(self, link: Link, error: PeerError) -> None:
        """``link`` went wrong before its handshake was done."""
        self._forget(link)
        self.turned_away.add(link.address, link.host, error)

    def wait(self, peer: bytes) -> float:
        """How many seconds it is no use to dial the node ``peer``."""
        ban = self.bans.banned(peer, self._reactor.seconds())
        return 0.0 if ban is None else ban.seconds

    def stop(self) -> None:
        """Nobody is answered any more."""
        self._cancel_turn()
        self.turned_away.stop()

    def _cancel_turn(self) -> None:
        turn, self._next_turn = self._next_turn, None
        if turn is not None and turn.active():
            turn.cancel()

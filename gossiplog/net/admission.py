"""Who may be connected.

Responsible for: how many connections there may be, in their handshake, in all and from one place, and bans.
Must not know: messages, sessions.
Invariant: members that come later are not kept out by connections that say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from gossiplog import limits
from gossiplog.errors import GossiplogError, LimitExceededError
from gossiplog.net.bans import Ban, Bans
from gossiplog.net.places import is_local, place
from gossiplog.net.protocol import Link
from gossiplog.notices import Banned, Notice


class Admission:
    """I stand at the door of one node.  ``tell`` hears of bans."""

    def __init__(self, reactor: Any, tell: Callable[[Notice], None]) -> None:
        self.bans = Bans()
        self._reactor = reactor
        self._tell = tell
        self._strangers: dict[Link, None] = {}
        self._guests: dict[Link, str] = {}
        self._per_place: Counter[str] = Counter()

    def made(self, link: Link) -> bool:
        """Whether a connection that came up may stay.

        When too many are in their handshake, the oldest has to go: refusing new ones would let a few connections that
        say nothing keep everyone out.  When there are too many in all, the new one has to go: who is served is not
        dropped for who is not.
        """
        if link.initiator:
            return True
        if len(self._guests) >= limits.MAX_CONNECTIONS:
            return False
        where = place(link.host)
        if not is_local(link.host) and self._per_place[where] >= limits.MAX_CONNECTIONS_PER_HOST:
            return False
        self._guests[link] = where
        self._per_place[where] += 1
        self._strangers[link] = None
        if len(self._strangers) > limits.MAX_HANDSHAKES:
            oldest = next(iter(self._strangers))
            oldest.refuse(LimitExceededError(f"more than {limits.MAX_HANDSHAKES} handshakes at once"))
            self._strangers.pop(oldest, None)
        return True

    def shaken(self, link: Link, peer: bytes) -> Ban | None:
        """The handshake is done; returns the ban on who that is, if there is one."""
        self._strangers.pop(link, None)
        return self.bans.banned(peer, self._reactor.seconds())

    def lost(self, link: Link) -> None:
        """A connection is gone."""
        self._strangers.pop(link, None)
        where = self._guests.pop(link, None)
        if where is not None:
            self._per_place[where] -= 1
            if not self._per_place[where]:
                del self._per_place[where]

    def offence(self, link: Link, peer: bytes, error: GossiplogError) -> None:
        """The node ``peer`` at the other end of ``link`` broke the protocol."""
        ban = self.bans.offence(peer, error, self._reactor.seconds())
        if ban is not None:
            self._tell(Banned(ban.peer, ban.reason, ban.seconds))

    def wait(self, peer: bytes) -> float:
        """How many seconds it is no use to dial the node ``peer``."""
        ban = self.bans.banned(peer, self._reactor.seconds())
        return 0.0 if ban is None else ban.seconds

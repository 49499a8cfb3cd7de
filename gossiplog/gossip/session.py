"""One conversation with one peer, as far as all parts of a replica share it.

Responsible for: who the peer is, what it wants, what it may cost and is to be sent; a place for what each part
remembers of it.
Must not know: other sessions, the store, time beyond the stamps it is given; what a part puts in its place.
Invariant: what a part remembers is gone with the session.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from enum import Enum
from sys import getsizeof
from typing import Any, Generic, TypeVar

from gossiplog import limits
from gossiplog.gossip.allowance import Allowance
from gossiplog.gossip.answers import Answers
from gossiplog.gossip.interest import Wanted
from gossiplog.gossip.messages import Lazy, Message, Refuse, Want
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.outbox import Outbox
from gossiplog.gossip.wanted_heads import WantedHeads

Record = TypeVar("Record")


class Phase(Enum):
    """Where a session stands."""

    GREETING = "our HELLO is out, theirs is not here"
    OPEN = "both said HELLO"
    ENDED = "over; whatever still comes is ignored"


class Pause(Enum):
    """Why we read nothing from the peer for a while."""

    STORE = "the store is behind with what it brings"
    COST = "it cost more than time has brought"
    HEADS = "what it speaks of is not in memory"


class Service(Enum):
    """How the peer wants the news of an author."""

    EAGER = "send"
    LAZY = "announce"
    REFUSED = "neither"


SERVICES: dict[type[Message], Service] = {
    Want: Service.EAGER,
    Lazy: Service.LAZY,
    Refuse: Service.REFUSED,
}
"""What a peer says about authors, and how they are served then (specification, "Pushing")."""

AUTHOR_BYTES = 80
HANDLE_BYTES = 112
NAMED_BYTES = 192
REPLY_BYTES = 640
RANGE_BYTES = 160
"""What is kept for an author, a handle, an author of the peer's interest, a reply that waits, and a range that is to be
filled, beside its place in a table."""


class Session:
    """I hold what was said in one conversation.

    ``is_answer``: the message that is being dealt with was asked for.  ``is_quiet``: since our last PING neither side
    said anything but PING and PONG; ``heard_at`` is when the peer last did.  ``gives``: entries may go to the peer;
    ``takes``: they may come from it.
    """

    def __init__(
        self,
        number: int,
        peer: bytes,
        salt: bytes,
        dialled: bool,
        allowance: Allowance,
        below: WantedHeads,
        now: float,
        mode: Mode = Mode.BOTH,
    ) -> None:
        self.number = number
        self.peer = peer
        self.salt = salt
        self.dialled = dialled
        self.phase = Phase.GREETING
        self.agent = ""
        self.gives, self.takes = mode.gives, mode.takes
        self.features: tuple[str, ...] = ()
        self.instance = b""
        self.began_at = self.sent_at = self.heard_at = now
        self.wanted = Wanted()
        self.view = WantedHeads(below, self.wanted)
        self.is_quiet = False
        self.pauses: set[Pause] = set()
        self.allowance = allowance
        self.answers = Answers(starts_even=dialled)
        self.is_answer = False
        self.unwanted_items = 0
        self.entries_in = 0
        """That it brought and that are on disk."""
        self.outbox = Outbox()
        self.service: dict[bytes, Service] = {}
        self._other_service = Service.EAGER
        self.records: dict[Slot[Any], Any] = {}

    def meet(self, theirs: Mode) -> None:
        """The peer's HELLO says which way entries may go: from now on ``gives`` and ``takes`` are what both allow."""
        self.gives = self.gives and theirs.takes
        self.takes = self.takes and theirs.gives

    @property
    def is_read(self) -> bool:
        """Whether we read what comes."""
        return not self.pauses

    # -- how the peer is served

    def serves(self, author: bytes) -> Service:
        """How this peer wants ``author``."""
        if not self.wanted.wants(author):
            return Service.REFUSED
        return self.service.get(author, self._other_service)

    def serve(self, author: bytes | None, service: Service) -> None:
        """The peer said how it wants ``author``, or (None) every author that it did not name and does not name later.

        How authors are served is bounded; forgetting it costs a duplicate or an announcement, never an entry.  Which
        ones are wanted is never forgotten: too many names raise :class:`LimitExceededError`.
        """
        if author is None:
            self._other_service = service
            return
        self.wanted.say(author, service is not Service.REFUSED)
        if service is Service.REFUSED:
            self.service.pop(author, None)
            return
        if len(self.service) >= limits.MAX_OWED_AUTHORS and author not in self.service:
            self.service.clear()
        self.service[author] = service

    # -- memory

    @property
    def kept_bytes(self) -> int:
        """About what I take up, but for what parts remember.  O(1)."""
        return (
            table_bytes(AUTHOR_BYTES, self.service, self.answers.firsts)
            + NAMED_BYTES * len(self.wanted.authors)
            + RANGE_BYTES * self.answers.fill_ranges
            + self.view.own_bytes
            + self.outbox.kept_bytes
        )

    def forget_services(self) -> None:
        """How single authors are served, and what was asked of them: to go on costs duplicates and repetitions."""
        self.service = {}
        self.answers.forget()


class Slot(Generic[Record]):
    """I am where one part keeps what it remembers of each session: ``slot[session]``.

    What is there at first is made of the session when it is first asked for.
    """

    def __init__(self, make: Callable[[Session], Record]) -> None:
        self._make = make

    def __getitem__(self, session: Session) -> Record:
        try:
            record: Record = session.records[self]
        except KeyError:
            record = session.records[self] = self._make(session)
        return record


def table_bytes(each: int, *tables: Sized) -> int:
    """About what tables take up whose items take up so much beside their places.  O(tables)."""
    return sum(map(getsizeof, tables)) + each * sum(map(len, tables))

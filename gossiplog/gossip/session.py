"""One conversation with one peer, as the replica sees it.

Responsible for: the session's state, which messages each state allows, and what was agreed in it.
Must not know: other sessions, the store, time beyond the stamps it is given.
Invariant: a message that :data:`ALLOWED` does not list for the state changes nothing and ends the session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sized
from enum import Enum
from itertools import islice
from sys import getsizeof

from gossiplog import limits
from gossiplog.errors import LimitExceededError, UnexpectedMessageError
from gossiplog.gossip.allowance import Allowance
from gossiplog.gossip.answers import Answers
from gossiplog.gossip.interest import Wanted
from gossiplog.gossip.messages import (
    RESERVED,
    Bye,
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Lazy,
    Message,
    Peers,
    Ping,
    Pong,
    Ranges,
    Refuse,
    Unknown,
    Want,
)
from gossiplog.gossip.missing_payloads import Giving, Lacking
from gossiplog.gossip.outbox import Outbox
from gossiplog.gossip.reconcile import Reconcile
from gossiplog.gossip.sharded_tables import Table
from gossiplog.gossip.wanted_heads import WantedHeads
from gossiplog.log.segment import Segment


class Phase(Enum):
    """Where a session stands."""

    GREETING = "our HELLO is out, theirs is not here"
    OPEN = "both said HELLO"
    ENDED = "over; whatever still comes is ignored"


class Pause(Enum):
    """Why we read nothing from the peer for a while."""

    STORE = "the store is behind with what it brings"
    COST = "it cost more than time has brought"


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
EXPECTED_BYTES = 160
NAMED_BYTES = 192
REPLY_BYTES = 640
RANGE_BYTES = 160
"""What is kept for an author, a handle, an announcement that may come otherwise, an author of the peer's interest, a
reply that waits, and a range that is to be filled, beside its place in a table."""

_TALK = frozenset({Ranges, Want, Lazy, Refuse, Segment, Have, Fill, Fork, Peers, Ping, Pong, Bye, Unknown})

ALLOWED: dict[Phase, frozenset[type[Message]]] = {
    Phase.GREETING: frozenset({Hello, Bye}),
    Phase.OPEN: _TALK,
    Phase.ENDED: _TALK | {Hello},
}
"""Messages each phase takes; the rest is an offence (specification, "Session")."""


class Session:
    """I hold what was said in one conversation."""

    def __init__(
        self, number: int, peer: bytes, salt: bytes, dialled: bool, allowance: Allowance, now: float
    ) -> None:
        self.number = number
        self.peer = peer
        self.salt = salt
        self.dialled = dialled
        self.phase = Phase.GREETING
        self.agent = ""
        self.instance = b""
        self.heard_at = now
        self.sent_at = now
        self.answer_by: float | None = None
        self.asked: int | None = None
        self.watch_at: float | None = None
        self.reconcile = Reconcile(salt, starts_even=dialled)
        self.ranges: deque[Iterator[Ranges]] = deque()
        self.reconcile_owed = False
        self.owed_by_fingerprint = False
        self.wanted = Wanted()
        self.introduced = False
        self.view: WantedHeads
        self.root_in_hello = b""
        self.their_root = b""
        self.root_said = b""
        self.settled = False
        self.caught_up = False
        self.probing = False
        self.probe_interval = 0.0
        self.quiet = False
        self.pauses: set[Pause] = set()
        self.mismatch_at: float | None = None
        self.mismatch_patience = limits.MISMATCH_SECONDS
        self.allowance = allowance
        self.answers = Answers(starts_even=dialled)
        self.is_answer = False
        self.unknown_messages = 0
        self.unwanted_items = 0
        self.outbox = Outbox()
        self.introduction: Iterator[Message] | None = None
        self.announce: dict[bytes, None] = {}
        self.announces = False
        self.names: dict[bytes, bool] = {}
        self.doubts: dict[bytes, None] = {}
        self.explores: dict[bytes, None] = {}
        self.ping: Ping | None = None
        self.expected: Table[float] = Table()
        self.is_lazy = False
        self.vain_pushes = 0
        self.missed_pushes = 0
        self.service: dict[bytes, Service] = {}
        self.default_service = Service.EAGER
        self.takes_holes: set[bytes] = set()
        self.lost_own: set[bytes] = set()
        self._may_lack: set[bytes] = set()
        self._may_lack_any = False
        self.lacking = Lacking()
        self.giving = Giving()
        self.withheld: dict[bytes, int] = {}
        self._handles_out: dict[bytes, int] = {}
        self._handles_in: dict[int, bytes] = {}
        self._forgot_handles = False
        self.missed_handles = False

    @property
    def is_read(self) -> bool:
        """Whether we read what comes."""
        return not self.pauses

    # -- memory

    @property
    def kept_bytes(self) -> int:
        """About what I take up, but for claims.  O(1)."""
        tables: tuple[Sized, ...] = (self.announce, self.names, self.doubts, self.service, self.takes_holes)
        tables += (
            self.explores,
            self._may_lack,
            self.lacking.hopes,
            self.lacking.open,
            self.giving.short,
            self.giving.asked,
            self.answers.firsts,
        )
        authors = sum(map(len, tables))
        tables += (self.withheld, self._handles_out, self._handles_in)
        return (
            sum(map(getsizeof, tables))
            + AUTHOR_BYTES * authors
            + HANDLE_BYTES * (len(self._handles_out) + len(self._handles_in) + len(self.withheld))
            + self.expected.size_bytes
            + EXPECTED_BYTES * len(self.expected)
            + NAMED_BYTES * len(self.wanted.authors)
            + REPLY_BYTES * (len(self.ranges) + self.giving.ranges)
            + RANGE_BYTES * self.answers.fill_ranges
            + self.view.own_bytes
            + self.reconcile.kept_bytes
            + self.outbox.kept_bytes
        )

    def forget_services(self) -> None:
        """How single authors are served, and which handles they have: to go on costs duplicates and repetitions."""
        self.service = {}
        self.answers.forget()
        self.takes_holes = set()
        self._handles_out = {}

    def forget_owed(self) -> None:
        """Owe a reconcile instead of news, announcements, questions and answers."""
        self.announce, self.withheld, self.doubts = {}, {}, {}
        self.outbox.forget_all()

    def forget_handles(self) -> None:
        """Which authors the peer's handles stand for: an announcement that only has one says no more than "more"."""
        self._handles_in = {}
        self._forgot_handles = True

    # -- what is said

    def check(self, message: Message) -> None:
        """Raise :class:`UnexpectedMessageError` for a message this phase does not take."""
        if type(message) not in ALLOWED[self.phase]:
            raise UnexpectedMessageError(
                f"{type(message).__name__.upper()} is not allowed while {self.phase.value}"
            )

    def serves(self, author: bytes) -> Service:
        """How this peer wants ``author``."""
        if not self.wanted.wants(author):
            return Service.REFUSED
        return self.service.get(author, self.default_service)

    def serve(self, author: bytes | None, service: Service) -> None:
        """The peer said how it wants ``author``, or (None) every author that it did not name and does not name later.

        How authors are served is bounded; forgetting it costs a duplicate or an announcement, never an entry.  Which
        ones are wanted is never forgotten: too many names raise :class:`LimitExceededError`.
        """
        if author is None:
            self.default_service = service
            return
        self.wanted.say(author, service is not Service.REFUSED)
        if service is Service.REFUSED:
            self.service.pop(author, None)
            return
        if len(self.service) >= limits.MAX_OWED_AUTHORS and author not in self.service:
            self.service.clear()
        self.service[author] = service

    def owe(self, authors: dict[bytes, None], author: bytes) -> None:
        """Remember one more of ``announce`` or ``doubts``; above the limit a reconcile is owed instead."""
        if len(authors) >= limits.MAX_OWED_AUTHORS and author not in authors:
            authors.clear()
            if authors is self.announce:
                self.withheld.clear()
            self.outbox.overflowed = True
        authors[author] = None

    def welcome_holes(self, author: bytes, holes: bool) -> None:
        """The peer's WANT for ``author`` says whether it takes entries without their bodies; forgotten, it does not."""
        self.withheld.pop(author, None)
        if not holes:
            self.takes_holes.discard(author)
            return
        if len(self.takes_holes) >= limits.MAX_OWED_AUTHORS:
            self.takes_holes.clear()
        self.takes_holes.add(author)

    def let_lack(self, author: bytes) -> None:
        """We said that entries of ``author`` may come without their bodies: that is no offence from now on."""
        if len(self._may_lack) >= limits.MAX_OWED_AUTHORS:
            self._may_lack = set()
            self._may_lack_any = True
        self._may_lack.add(author)

    def may_lack(self, author: bytes) -> bool:
        """Whether an honest peer may send entries of ``author`` without their bodies."""
        return self._may_lack_any or author in self._may_lack

    def drop(self, author: bytes) -> None:
        """Send nothing more of ``author``, whatever the peer asked for."""
        self.outbox.forget(author)
        self.outbox.withdraw(author)
        self.giving.forget(author)

    def knows(self, author: bytes) -> None:
        """The peer holds as much of ``author`` as we do: it need not be told, unless it waits for payloads."""
        if author not in self.giving.news:
            self.announce.pop(author, None)

    def withhold(self, author: bytes, seq: int) -> None:
        """What was asked for cannot be sent without holes beyond ``seq``: say so, with the next announcement."""
        self.owe(self.announce, author)
        self.withheld[author] = seq
        self.announces = True

    def announcement(self, seq_of: Callable[[bytes], int], most: int) -> Have:
        """What is to be announced, as one message of at most ``MAX_HAVE_ITEMS`` and ``most``, as it is now."""
        items = []
        for author in [*islice(self.announce, min(most, limits.MAX_HAVE_ITEMS))]:
            del self.announce[author]
            self.giving.news.discard(author)
            withheld = self.withheld.pop(author, None)
            seq = seq_of(author) if withheld is None else withheld
            handle = self._handles_out.get(author)
            if handle is None:
                if len(self._handles_out) == limits.MAX_HANDLES:
                    self._handles_out.clear()
                handle = self._handles_out[author] = len(self._handles_out)
                items.append(HaveItem(handle, seq, author))
            else:
                items.append(HaveItem(handle, seq))
        return Have(tuple(items))

    def named(self, have: Have) -> list[tuple[bytes, int]]:
        """What an announcement says: (author, seq) each, as far as their handles are known."""
        said = [(item.author or self._handles_in.get(item.handle), item.seq) for item in have.items]
        return [(author, seq) for author, seq in said if author is not None]

    def read_have(self, have: Have) -> list[tuple[bytes, int]]:
        """Resolve the handles of an announcement: (author, seq) each.

        A handle that is named again stands for another author from then on; one that we do not know is passed over,
        because an author of reserved length may have it.
        """
        known = []
        for handle, seq, author in have.items:
            if handle >= limits.MAX_HANDLES:
                raise LimitExceededError(f"HAVE has handle {handle}; there are {limits.MAX_HANDLES}")
            if author == RESERVED:
                self._handles_in.pop(handle, None)
                continue
            if author is not None:
                self._handles_in[handle] = author
            else:
                author = self._handles_in.get(handle)
            if author is not None:
                known.append((author, seq))
        self.missed_handles = self._forgot_handles and len(known) < len(have.items)
        return known

"""What a peer is to be told beside entries, as far as it reads.

Responsible for: announcements, the names of our interest, questions about authors that disagree: one bit per author
each until there is room, and then what is true at that moment.
Must not know: entries; what a transport is.
Invariant: whatever others do, what waits for a peer that reads slowly is bounded, and nothing that a third party caused
is given to its transport beyond a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip.core import Core
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.messages import Have, HaveItem, Interest, Lazy, Message, Refuse, Want, WantItem
from gossiplog.gossip.outbox import CONTROL_ITEM_BYTES
from gossiplog.gossip.session import AUTHOR_BYTES, HANDLE_BYTES, Phase, Session, Slot, table_bytes

NAME_BYTES = 8
"""What each name of our interest takes up that a peer is still to be told at the beginning: a place in a list."""


class Untold:
    """What one peer is still to be told.

    ``heads``: authors of whom it may not know what we hold, ``even_if_known`` those that it is told of anyway, and
    ``withheld`` with another seq than we hold; ``is_due``: that may be said now.  ``names``: authors with what it was
    told last of our interest in them; ``introduction``: messages with those that HELLO had no room for.  ``doubts``:
    authors to be asked about.
    """

    def __init__(self, session: Session) -> None:
        self.heads: dict[bytes, None] = {}
        self.even_if_known: set[bytes] = set()
        self.is_due = False
        self.withheld: dict[bytes, int] = {}
        self.names: dict[bytes, bool] = {}
        self.introduction: Iterator[Message] | None = None
        self.doubts: dict[bytes, None] = {}
        self.handles: dict[bytes, int] = {}

    @property
    def authors(self) -> set[bytes]:
        """Of whom anything is to be said.  O(these)."""
        return {*self.heads, *self.withheld, *self.doubts}


class Announcer:
    """I say what is owed to the peers of one replica, when they can take it.

    ``on_flush`` is told of each peer to which announcements are made at the same time.
    """

    def __init__(self, core: Core, liveness: Liveness) -> None:
        self._core = core
        self._liveness = liveness
        self.of = Slot(Untold)
        self._flush_at: float | None = None
        self.on_flush: Sequence[Callable[[Session], None]] = ()

    def rest(self) -> None:
        """No session is left."""
        self._flush_at = None

    # -- what is owed

    def announce(self, session: Session, author: bytes, within: float = limits.ANNOUNCE_SECONDS) -> None:
        """Say within so many seconds what we hold of ``author``, to a peer that may get it from us."""
        if session.gives:
            self.owe(session, author)
            self.flush_within(within)

    def owe(self, session: Session, author: bytes) -> None:
        """Say what we hold of ``author`` when something is said; of too many, a reconcile is owed instead."""
        untold = self.of[session]
        if len(untold.heads) >= limits.MAX_OWED_AUTHORS and author not in untold.heads:
            untold.heads.clear()
            untold.withheld.clear()
            session.outbox.overflowed = True
        untold.heads[author] = None

    def owe_all(self, session: Session, authors: Sequence[bytes]) -> None:
        """As :meth:`owe`, for what is on its way to the disk when a session begins."""
        self.of[session].heads.update(dict.fromkeys(authors))

    def owe_now(self, session: Session, author: bytes) -> None:
        """As :meth:`owe`, as soon as there is room."""
        self.owe(session, author)
        self.make_due(session)

    def make_due(self, session: Session) -> None:
        """What is owed may be said now."""
        self.of[session].is_due = True

    def owed(self, session: Session) -> list[bytes]:
        """The authors of whom the peer is to be told what we hold."""
        return [*self.of[session].heads]

    def forget(self, session: Session, author: bytes) -> None:
        """Say nothing of ``author``."""
        self.of[session].heads.pop(author, None)

    def forget_known(self, session: Session, author: bytes) -> None:
        """The peer holds as much of ``author`` as we do: it need not be told, unless it waits for payloads."""
        untold = self.of[session]
        if author not in untold.even_if_known:
            untold.heads.pop(author, None)

    def insist(self, session: Session, author: bytes) -> None:
        """Say what we hold of ``author`` even if the peer holds as much: it lacks payloads, and we do not any more."""
        if len(self.of[session].even_if_known) < limits.MAX_HOPES:
            self.of[session].even_if_known.add(author)

    def withhold(self, session: Session, author: bytes, seq: int) -> None:
        """What was asked for cannot be sent without holes beyond ``seq``: say so, with the next announcement."""
        self.owe_now(session, author)
        self.of[session].withheld[author] = seq

    def withhold_no_more(self, session: Session, author: bytes) -> None:
        """The peer asked anew."""
        self.of[session].withheld.pop(author, None)

    def doubt(self, session: Session, author: bytes) -> None:
        """Ask about ``author``, of whom the peer holds another entry; of too many, a reconcile is owed instead."""
        doubts = self.of[session].doubts
        if len(doubts) >= limits.MAX_OWED_AUTHORS and author not in doubts:
            doubts.clear()
            session.outbox.overflowed = True
        doubts[author] = None

    def introduce(self, session: Session, messages: Iterator[Message]) -> None:
        """Say these first: they belong to our HELLO."""
        self.of[session].introduction = messages

    def name(self, session: Session, authors: Sequence[bytes]) -> None:
        """Say of these whether we want them; one that does not read what it wants to be told is given up."""
        core, untold = self._core, self.of[session]
        untold.is_due = untold.is_due or bool(authors)
        for author in authors:
            wants = core.wanted.wants(author)
            if untold.names.setdefault(author, not wants) == wants:
                del untold.names[author]  # it changed back, and the peer never knew
        if len(untold.names) > limits.MAX_NAMED_AUTHORS:
            self.forget_refusals(session)
        if len(untold.names) > limits.MAX_NAMED_AUTHORS:
            reason = f"left unread what we want of {len(untold.names)} authors"
            core.at(core.now, core.close, session.number, ByeCode.LIMIT, reason)

    def has_names(self, session: Session) -> bool:
        """Whether the peer does not know yet what we want: what is compared depends on that."""
        untold = self.of[session]
        return bool(untold.names) or untold.introduction is not None

    def has_told_all(self, session: Session) -> bool:
        """Whether the peer knows all that it is to be told."""
        return not (self.of[session].heads or self.has_names(session))

    def advise(self, session: Session, message: Message) -> None:
        """Say what only saves a copy or a delay: to a peer that reads slowly, nothing."""
        if session.outbox.control_credit_bytes > 0:
            self._core.send(session, message)

    # -- when it is said

    def flush_within(self, within: float) -> None:
        """Say what is owed in so many seconds, everybody at once."""
        when = self._core.now + within
        if self._flush_at is None or when < self._flush_at:
            self._flush_at = when
            self._core.at(when, self._flush)

    def _flush(self) -> None:
        if self._flush_at is None or self._core.now < self._flush_at:
            return  # it was due earlier, and is done
        self._flush_at = None
        for session in self._core.open_sessions():
            self.make_due(session)
            self.tell(session)
            for told in self.on_flush:
                told(session)

    def tell(self, session: Session) -> None:
        """Say what is owed, as far as there is room.

        What we hold of an author comes before that we want it, or the peer may send more of our own log than it should.
        """
        untold, outbox = self.of[session], session.outbox
        self._liveness.answer(session)
        while outbox.control_credit_bytes > 0:
            message = _introduction(untold)
            if message is None and session.phase is Phase.OPEN:
                message = self._announcement(session) or self._names(session) or self._doubts(session)
            elif message is None:
                message = self._names(session)
            if message is None:
                return
            self._core.send(session, message)

    def _announcement(self, session: Session) -> Message | None:
        """What is to be announced, as one message, as it is now."""
        untold = self.of[session]
        untold.is_due = untold.is_due and bool(untold.heads)
        if not untold.is_due:
            return None
        items = []
        for author in [*islice(untold.heads, min(_room(session), limits.MAX_HAVE_ITEMS))]:
            del untold.heads[author]
            untold.even_if_known.discard(author)
            withheld = untold.withheld.pop(author, None)
            seq = self._shown_seq(session, author) if withheld is None else withheld
            handle = untold.handles.get(author)
            if handle is None:
                if len(untold.handles) == limits.MAX_HANDLES:
                    untold.handles.clear()
                handle = untold.handles[author] = len(untold.handles)
                items.append(HaveItem(handle, seq, author))
            else:
                items.append(HaveItem(handle, seq))
        return Have(tuple(items))

    def _shown_seq(self, session: Session, author: bytes) -> int:
        """What a HAVE says: nothing is held of who is not wanted, and for who gets nothing from us."""
        is_held = session.gives and self._core.wanted.wants(author)
        return self._core.heads.accepted_seq(author) if is_held else 0

    def _names(self, session: Session) -> Message | None:
        """Our interest in the first of those that are to be named, and in as many after it that we want likewise."""
        names, wanted = self.of[session].names, self._core.wanted
        first = next(iter(names), None)
        if first is None:
            return None
        wants = wanted.wants(first)
        found = []
        for author in islice(names, min(_room(session), limits.MAX_WANT_ITEMS)):
            if wanted.wants(author) is not wants:
                break
            found.append(author)
        for author in found:
            del names[author]
        return (Lazy if wants else Refuse)(tuple(found))

    def _doubts(self, session: Session) -> Message | None:
        """Questions about authors of whom the peer holds another entry: a proof is the answer, or is made of it."""
        heads, doubts = self._core.heads, self.of[session].doubts
        items = []
        for author in [*islice(doubts, min(_room(session), limits.MAX_WANT_ITEMS))]:
            del doubts[author]
            if author not in heads.forks and self._core.wanted.wants(author):
                items.append(WantItem(author, max(1, heads.clock.seq(author))))
        return Want(tuple(items)) if items else None

    # -- memory

    def kept_bytes(self, session: Session) -> int:
        """About what is kept of what a peer is to be told.  O(1)."""
        untold = self.of[session]
        introduction = 0 if untold.introduction is None else NAME_BYTES * len(self._core.wanted.authors)
        return (
            introduction
            + table_bytes(AUTHOR_BYTES, untold.heads, untold.names, untold.doubts)
            + table_bytes(HANDLE_BYTES, untold.withheld, untold.handles)
        )

    def forget_owed(self, session: Session) -> None:
        """Owe no announcements and no questions: a reconcile finds what they would have said."""
        untold = self.of[session]
        untold.heads, untold.withheld, untold.doubts = {}, {}, {}

    def forget_refusals(self, session: Session) -> None:
        """Say of nobody that we do not want it, before the peer shows something of it.  O(names)."""
        untold, core = self.of[session], self._core
        if core.wanted.mode is Interest.ALL:
            untold.names = {
                author: told for author, told in untold.names.items() if core.wanted.wants(author)
            }

    def forget_handles(self, session: Session) -> None:
        """Say anew which authors our handles stand for."""
        self.of[session].handles = {}


def _introduction(untold: Untold) -> Message | None:
    message = None if untold.introduction is None else next(untold.introduction, None)
    if message is None:
        untold.introduction = None
    return message


def _room(session: Session) -> int:
    """How many authors the next control message may speak of."""
    return session.outbox.control_credit_bytes // CONTROL_ITEM_BYTES + 1

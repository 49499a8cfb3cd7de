"""What one peer is still to be sent, and in which order.

Responsible for: news a slow peer could not take, backlog and proofs it asked for, and reading all ahead from disk.
Must not know: what a transport is; which peer this is; whether a segment is valid.
Invariant: per author strictly ascending; memory is bounded by ``READ_AHEAD_BYTES``, and one seq of each of
``MAX_OWED_AUTHORS`` authors with news and as many that were asked for, whatever the peer does.  News comes before
backlog, backlog goes round-robin by author, one segment at a time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, zip_longest
from sys import getsizeof
from typing import TypeAlias

from gossiplog import limits
from gossiplog.gossip.messages import Fork, Have, Lazy, Message, Ranges, Refuse, Want
from gossiplog.log.fork import ForkProof
from gossiplog.log.segment import Segment

READS_AT_ONCE = limits.OPEN_WANTS_PER_PEER
"""Authors in one :class:`~gossiplog.gossip.events.Load`: as many as a peer asks of us at once."""

HEADER_BYTES = 192
"""Counted for each segment beside its bodies."""

FEW_BYTES = 4 * 1024
"""That so few bytes of control messages were taken is not reported: they are far below the window."""

CONTROL_ITEM_BYTES = 48
"""Counted for each author that a control message speaks of; 32 for the rest of it."""

OWED_BYTES = 112
"""What an author takes up that something is owed of, beside its place in a table: its key, and a seq."""

READY_BYTES = 320
"""What a segment takes up that lies ready, beside what is counted of it: its objects, and its place in a table."""

LOOKED_AT_BYTES = 16
"""What looking at a segment that lies ready counts against reading so many bytes."""


PROOF = 0
"""As the seq to send an author from: the proof that it forked, which is all that is sent of it."""

Sent: TypeAlias = Segment | ForkProof
"""What goes out of here."""


def control_bytes(message: Message) -> int:
    """About how many bytes a control message has; none for what has a window of its own."""
    if isinstance(message, Segment | Ranges | Fork):
        return 0
    if isinstance(message, Have | Want):
        return 32 + CONTROL_ITEM_BYTES * len(message.items)
    if isinstance(message, Lazy | Refuse):
        return 32 + CONTROL_ITEM_BYTES * len(message.authors)
    return 32


def weight(message: Message, size: int) -> int:
    """What a message of ``size`` bytes counts against :data:`FEW_BYTES`: one with a window of its own is not few."""
    return max(size, FEW_BYTES) if isinstance(message, Segment | Ranges | Fork) else size


class Outbox:
    """I am the queue towards one peer."""

    def __init__(self) -> None:
        self.news: dict[bytes, int] = {}
        self.backlog: dict[bytes, int] = {}
        self.ready_news: deque[Sent] = deque()
        self.ready: deque[Sent] = deque()
        self.ready_bytes = 0
        self._ready_of: Counter[bytes] = Counter()
        self.loading: dict[bytes, int] = {}
        self.payloads: deque[Segment] = deque()
        self.payload_bytes = 0
        self._payloads_next = False
        self._left: dict[bytes, int] = {}
        self.ended: list[bytes] = []
        self.skipped_bytes = 0
        self.refill()
        self.overflowed = False

    def refill(self) -> None:
        """The transport took what it was given: another window, and smaller ones for news and for control messages."""
        self.credit_bytes = limits.OUTPUT_WINDOW_BYTES
        self.news_credit_bytes = limits.NEWS_WINDOW_BYTES
        self.control_credit_bytes = limits.CONTROL_WINDOW_BYTES

    @property
    def authors(self) -> set[bytes]:
        """Of whom anything is owed.  O(these)."""
        return {*self.news, *self.backlog, *self.loading, *self._ready_of}

    def want(self, author: bytes, first: int, most: int = 0) -> int:
        """The peer asked for ``author`` from ``first`` on; a later question replaces the earlier one.

        With ``most`` for so many entries, and what is left of the last segment with them.
        Above ``MAX_OWED_AUTHORS`` the question that waited for longest is forgotten.  Returns as :meth:`forget`.
        """
        wasted_bytes = self.forget(author)
        if len(self.backlog) >= limits.MAX_OWED_AUTHORS:
            self.forget(next(iter(self.backlog)))  # asked elsewhere by now, or asked for again
        self.backlog[author] = first
        if most:
            self._left[author] = most
        return wasted_bytes

    def prove(self, author: bytes) -> None:
        """The peer asked for an author that forked: it gets the proof, once, however often it asks meanwhile."""
        if not self.is_owed(author):
            self.want(author, PROOF)

    def push(self, segment: Segment) -> bool:
        """News: True when it can go out at once; otherwise its author is remembered."""
        author = segment.author
        if author in self.backlog or author in self.news:
            return False  # it goes at the end of what is owed already
        size = len(segment.bodies) + HEADER_BYTES
        if self.credit_bytes > 0:
            self.credit_bytes -= size
            return True
        if size <= self.news_credit_bytes and not self._is_ready(author):
            self.news_credit_bytes -= size
            return True
        self.owe(author, segment.first)
        return False

    def owe(self, author: bytes, first: int) -> None:
        """Remember that the peer is to get ``author`` from ``first`` on, when it can."""
        if author in self.backlog or author in self.news:
            return
        if len(self.news) >= limits.MAX_OWED_AUTHORS:
            self.news.clear()
            self.overflowed = True
        else:
            self.news[author] = first

    def forget(self, author: bytes) -> int:
        """Send nothing more of ``author``; returns about how many bytes were read for it in vain.

        O(1), unless something of it lies ready: O(all that does).
        """
        self.news.pop(author, None)
        self.backlog.pop(author, None)
        self._left.pop(author, None)
        wasted_bytes = 0
        if self.loading.get(author, -1) >= 0:
            self.loading[author] = -1  # what is being read answers an earlier question
            wasted_bytes = limits.READ_AHEAD_BYTES // len(self.loading)
        if self._is_ready(author):
            del self._ready_of[author]
            before_bytes, count = self.ready_bytes, len(self.ready_news) + len(self.ready)
            self.ready_news = deque(segment for segment in self.ready_news if segment.author != author)
            self.ready = deque(segment for segment in self.ready if segment.author != author)
            kept = (*self.ready_news, *self.ready)
            self.ready_bytes = sum(map(size_bytes, kept))
            wasted_bytes += before_bytes - self.ready_bytes + LOOKED_AT_BYTES * count
        return wasted_bytes

    def keep_proofs(self) -> None:
        """Of what the peer is to get unasked, keep only proofs that authors forked."""
        self.news = {author: first for author, first in self.news.items() if first == PROOF}

    def owes(self, author: bytes) -> bool:
        """Whether anything of ``author`` waits here."""
        return author in self.news or author in self.backlog

    def entries_owed(self, seq_of: Callable[[bytes], int]) -> int:
        """How many entries are still to go out, of what ``seq_of`` says that is held.  O(all that is owed)."""
        owed = sum(
            max(0, seq_of(a) - first + 1) for a, first in (*self.news.items(), *self.backlog.items()) if first
        )
        ready = (*self.ready_news, *self.ready)
        return owed + sum(each.count for each in ready if isinstance(each, Segment))

    @property
    def kept_bytes(self) -> int:
        """About what I take up.  O(1)."""
        tables = getsizeof(self.news) + getsizeof(self.backlog) + getsizeof(self._ready_of)
        owed = OWED_BYTES * (len(self.news) + len(self.backlog) + len(self._left))
        ready = READY_BYTES * (len(self.ready_news) + len(self.ready))
        ready += READY_BYTES * len(self.payloads)
        return tables + owed + ready + self.ready_bytes + self.payload_bytes

    def put_back(self) -> None:
        """Read again later what lies ready.  O(all that does)."""
        for sent in [*reversed(self.ready), *reversed(self.ready_news)]:
            author = sent.author
            queue = self.news if author in self.news else self.backlog
            if author in queue or len(queue) < limits.MAX_OWED_AUTHORS:
                queue[author] = sent.first if isinstance(sent, Segment) else PROOF
            else:
                self.overflowed = True
            if author in self._left and isinstance(sent, Segment):
                self._left[author] += sent.count
            if author in self.loading:
                self.loading[author] = -1  # what is being read comes after it
        self.ready_news, self.ready = deque(), deque()
        self._ready_of = Counter()
        self.ready_bytes = 0
        self.payloads.clear()  # asked for again
        self.payload_bytes = 0

    def forget_all(self) -> None:
        """Owe nothing but a reconcile."""
        self.put_back()
        self.news, self.backlog, self._left = {}, {}, {}
        self.loading = dict.fromkeys(self.loading, -1)
        self.overflowed = True

    def is_owed(self, author: bytes) -> bool:
        """Whether anything of ``author`` waits here, or lies ready."""
        return self.owes(author) or self._is_ready(author)

    def next_load(self, readable: Callable[[bytes, int], bool]) -> tuple[tuple[bytes, int], ...]:
        """What to read next, none while a read is under way; no backlog while enough lies ready.

        News and backlog in turns: others may make news without end.  ``readable(author, first)``: there is something
        on disk and it may be sent.
        """
        if self.loading or self.ready_bytes >= limits.READ_AHEAD_BYTES * 2:
            return ()
        enough = self.ready_bytes >= limits.READ_AHEAD_BYTES // 2
        queues = (self.news,) if enough else (self.news, self.backlog)
        found = [filter(lambda each: readable(*each), queue.items()) for queue in queues]
        both = (each for pair in zip_longest(*found) for each in pair if each is not None)
        self.loading = dict(islice(both, READS_AT_ONCE))
        return tuple(self.loading.items())

    def loaded(
        self,
        segments: tuple[Sent, ...],
        done: Callable[[bytes, int], bool],
        withheld: Iterable[bytes] = (),
    ) -> dict[bytes, int]:
        """What the last read gave; each author moves to the end of its queue, or leaves it when ``done``.

        ``done(author, next seq)``: the peer has then been sent all we accepted.  Authors behind the last one read are
        still to be read; one before it, of which nothing was read, cannot be: it is forgotten.  So are those
        ``withheld``, which are returned with the seq that the peer cannot be sent.  Of those in :attr:`ended` it has
        been sent as much as it asked for; ``skipped_bytes`` were read of them in vain.
        """
        self.ended, self.skipped_bytes = [], 0
        asked = self.loading
        reached = [*asked].index(segments[-1].author) if segments else 0
        refused = {author: asked[author] for author in withheld if asked.get(author, -1) >= 0}
        unread = {*refused, *(author for author in [*asked][: reached + 1] if asked[author] >= 0)}
        behind = {
            segment.author for segment in self.ready
        }  # their news cannot overtake the end of their backlog
        for segment in segments:
            author = segment.author
            unread.discard(author)
            following = segment.last + 1 if isinstance(segment, Segment) else PROOF + 1
            if not self.owes(author) or asked[author] < 0 or following <= asked[author]:
                continue
            if author in self.ended:
                self.skipped_bytes += size_bytes(segment)
                continue
            asked[author] = following
            queue = self.news if author in self.news else self.backlog
            del queue[author]
            queue[author] = following
            overtakes = queue is self.news and author not in behind
            (self.ready_news if overtakes else self.ready).append(segment)
            self.ready_bytes += size_bytes(segment)
            self._ready_of[author] += 1
            if author in self._left and isinstance(segment, Segment):
                self._left[author] -= segment.count
                if self._left[author] <= 0:
                    self.ended.append(author)
        self.loading = {}
        for author in self.ended:
            self.backlog.pop(author, None)
        for author, first in asked.items():
            if first >= 0 and (author in unread or done(author, first)):
                self.news.pop(author, None)
                self.backlog.pop(author, None)
        return refused

    def sweep(self, done: Callable[[bytes, int], bool]) -> None:
        """What we had accepted became less: drop authors that have nothing more to come."""
        for queue in (self.news, self.backlog):
            for author in [a for a, first in queue.items() if a not in self.loading and done(a, first)]:
                del queue[author]

    def give(self, segments: Sequence[Segment]) -> None:
        """Payloads that the peer lacks."""
        self.payloads.extend(segments)
        self.payload_bytes += sum(map(size_bytes, segments))

    def withdraw(self, author: bytes) -> None:
        """Give no payloads of ``author`` after all."""
        if self.payloads and self.payloads[0].author == author:  # and so are all others, read at once
            self.payloads.clear()
            self.payload_bytes = 0

    def take(self) -> list[Sent]:
        """What may go out now: news, then in turns backlog and payloads that the peer lacks."""
        taken: list[Sent] = []
        while (self.ready_news or self.ready or self.payloads) and self.credit_bytes > 0:
            if self.payloads and not self.ready_news and (self._payloads_next or not self.ready):
                self._payloads_next = False
                taken.append(self.payloads.popleft())
                self.payload_bytes -= size_bytes(taken[-1])
                self.credit_bytes -= size_bytes(taken[-1])
                continue
            self._payloads_next = True
            segment = (self.ready_news or self.ready).popleft()
            size = size_bytes(segment)
            self.ready_bytes -= size
            self.credit_bytes -= size
            self._ready_of[segment.author] -= 1
            if not self._ready_of[segment.author]:
                del self._ready_of[segment.author]
                if segment.author not in self.backlog:
                    self._left.pop(segment.author, None)
            taken.append(segment)
        return taken

    def _is_ready(self, author: bytes) -> bool:
        """Whether the last of what ``author`` was owed is still to go."""
        return author in self._ready_of

    @property
    def is_taking(self) -> bool:
        """Whether the peer took all that was read for it, and its transport takes more."""
        return self.credit_bytes > 0 and not (self.ready_news or self.ready)

    @property
    def idle(self) -> bool:
        """Whether the peer has been sent everything we owe it."""
        return not (self.news or self.backlog or self.ready_news or self.ready or self.loading)


def size_bytes(sent: Sent) -> int:
    """What ``sent`` counts as."""
    return HEADER_BYTES + len((sent if isinstance(sent, Segment) else sent.segment).bodies)

"""Find where two clocks differ, at a cost that grows with the differences.

Responsible for: the content of RANGES (specification, "Reconcile"): range-based set reconciliation after Meyer,
"Range-Based Set Reconciliation" (arXiv 2212.13567), over the authors of the clock.
Must not know: who asks whom for what is missing; how ranges are split and packed.
Invariant: an answer depends on the message and on what is held then, so heads may move and exchanges may overlap; all
that is kept of an exchange is what was not answered yet, at most ``MAX_WAITING_ITEMS`` and one message of each step.
Replies are sent in the order of the calls that gave them, each whole: the steps of an exchange do not mix.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from gossiplog import limits
from gossiplog.errors import LimitExceededError
from gossiplog.gossip.messages import Item, Range, RangeKind, Ranges
from gossiplog.gossip.range_splitting import Answer, Compared, Splitting, late, packed
from gossiplog.gossip.wanted_heads import Held
from gossiplog.log.fingerprint import FORKED_SEQ
from gossiplog.log.leaf_sums import Away, Span, each_at_once

STEP_BYTES = 1024
WAITING_BYTES = 256
"""What a step takes up, and each range or item of it whose answer waits."""

NOTHING: Iterator[Ranges | Away] = iter(())
"""No replies."""


class Step(NamedTuple):
    """What a RANGES told us.

    ``replies`` (:data:`NOTHING` if none) are to be sent, lazily: each is made when it is asked for.  ``ahead``:
    (author, seq) the peer holds beyond us; ``conflicts``: authors of which it holds another id at our seq, or knows a
    fork.  ``finished``: we know now all that this exchange can tell us.
    """

    replies: Iterator[Ranges | Away]
    ahead: list[tuple[bytes, int]]
    conflicts: list[bytes]
    finished: bool


Saying: TypeAlias = Iterator[Ranges | Away]
"""Messages; or what has to be in memory before the next one is asked for."""


class Reconcile:
    """I speak one side of the reconciles of one session, whose handshake hash is ``salt``."""

    def __init__(self, salt: bytes, *, starts_even: bool) -> None:
        self._salt = salt
        self._next = 0 if starts_even else 1
        self._coming: dict[int, _Incoming] = {}
        self._steps: set[_Incoming] = set()

    @property
    def kept_bytes(self) -> int:
        """About what the answers that wait take up.  O(1)."""
        return sum([STEP_BYTES + WAITING_BYTES * step.size for step in self._steps])

    def shorten(self) -> None:
        """Keep next to nothing: what was not answered yet is said again, when the answer has been sent."""
        for step in self._steps:
            step.shorten()

    def start(self, heads: Held, *, by_fingerprint: bool = False) -> Saying:
        """The messages of a new exchange; ``by_fingerprint``: it may be that nothing differs."""
        exchange = self._next
        self._next += 2
        splitting = Splitting(heads, self._salt)
        opening = splitting.whole() if by_fingerprint else splitting.opening()
        return (
            part if isinstance(part, Away) else Ranges(exchange, part[0], not part[1])
            for part in packed(opening)
        )

    def look_at(self, message: Ranges, heads: Held) -> None:
        """Do nothing, but raise :class:`Away` if :meth:`receive` would."""
        self._compare(message, heads, [], [])

    def receive(self, message: Ranges, heads: Held) -> Step:
        """Compare with what we hold, and answer.

        :raises LimitExceededError: more than ``MAX_STEPS`` steps are under way; nothing has changed.
        :raises Away: some of what we hold is not in memory; nothing has changed.
        """
        if message.exchange not in self._coming and len(self._steps) >= limits.MAX_STEPS:
            raise LimitExceededError(f"more than {limits.MAX_STEPS} unanswered steps of reconciles")
        ahead: list[tuple[bytes, int]] = []
        conflicts: list[bytes] = []
        compared = self._compare(message, heads, ahead, conflicts)
        step = self._coming.pop(message.exchange, None) or _Incoming()
        self._steps.add(step)
        step.asks = step.asks or bool(compared.fingerprints or compared.answers)
        step.differs = step.differs or any(answer.settled is None for answer in compared.answers)
        if compared.answers:
            step.keep(compared, sum(each.size for each in self._steps))
        if message.more:
            self._coming[message.exchange] = step
        else:
            step.is_whole = True
        replies = NOTHING
        if not step.speaking:
            if step.waiting or (step.is_whole and step.asks):
                step.speaking = True
                replies = self._speak(message.exchange, step, heads)
            elif step.is_whole:
                self._steps.discard(step)
        return Step(replies, ahead, conflicts, finished=step.is_whole and not step.differs)

    def _compare(
        self,
        message: Ranges,
        heads: Held,
        ahead: list[tuple[bytes, int]],
        conflicts: list[bytes],
    ) -> Compared:
        """Learn what lists say, and find which ranges have to be answered."""
        splitting = Splitting(heads, self._salt)
        answers: list[Answer] = []
        fingerprints = 0
        lower = b""
        away: set[Span] = set()
        for part in message.ranges:
            try:
                if part.kind in (RangeKind.LIST, RangeKind.DIFFERENCES):
                    settled = self._learn(part.items, heads, ahead, conflicts)
                    if part.kind is RangeKind.LIST:
                        answers.append(Answer(lower, part.upper, settled=settled))
                elif part.kind is RangeKind.FINGERPRINT:
                    fingerprints += 1
                    held, ours = splitting.fingerprint(lower, part.upper)
                    if part.fingerprint != ours:
                        answers.append(Answer(lower, part.upper, held))
            except Away as error:
                away |= error.spans
            lower = part.upper
        if away:
            raise Away(away)
        return Compared(fingerprints, answers)

    def _learn(
        self,
        items: tuple[Item, ...],
        heads: Held,
        ahead: list[tuple[bytes, int]],
        conflicts: list[bytes],
    ) -> set[bytes]:
        """Sort what the peer holds; returns the authors that an answer need not speak of."""
        settled = set()
        ours = each_at_once(lambda author: heads.item(author, self._salt), [author for author, *_ in items])
        for (author, seq, check), (our_seq, our_check) in zip(items, ours, strict=True):
            if not our_check:  # we hold nothing
                if seq == FORKED_SEQ:
                    conflicts.append(author)
                else:
                    ahead.append((author, seq))
            elif seq == our_seq:
                if check == our_check or seq == FORKED_SEQ:
                    settled.add(author)
                else:
                    conflicts.append(author)
            elif FORKED_SEQ in (seq, our_seq):
                conflicts.append(author)
            elif seq > our_seq:
                ahead.append((author, seq))
                settled.add(author)
        return settled

    def _speak(self, exchange: int, step: _Incoming, heads: Held) -> Saying:
        """Answer what waits; the last message says that it is, when the step is whole, and then the step is over."""
        splitting = Splitting(heads, self._salt)
        while step.waiting:
            compared = step.current = step.waiting.popleft()
            for part in packed(splitting.answer(compared)):
                if isinstance(part, Away):
                    yield part
                    continue
                ranges, is_last = part
                if is_last:
                    step.size -= compared.size
                    step.current = None
                is_over = is_last and step.is_whole and not step.waiting
                if is_over:
                    self._steps.discard(step)
                yield Ranges(exchange, ranges, more=not is_over)
                if is_over:
                    return
        step.speaking = False
        if step.is_whole:
            self._steps.discard(step)
            yield Ranges(exchange, (Range(b"", RangeKind.SKIP),))


class _Incoming:
    """A step that comes in, and our answers as long as they wait."""

    def __init__(self) -> None:
        self.asks = False
        self.differs = False
        self.is_whole = False
        self.speaking = False
        self.waiting: deque[Compared] = deque()
        self.current: Compared | None = None
        self.size = 0

    def shorten(self) -> None:
        """Say one fingerprint around all that is not answered, instead of what was to be said."""
        unsaid = [*self.waiting] if self.current is None else [self.current, *self.waiting]
        if self.size <= 2:
            return
        again = late(*unsaid)
        for compared in unsaid:
            for answer in compared.answers:
                if answer.settled is not None:
                    answer.settled.clear()
            compared.answers.clear()
        self.waiting = deque([again])
        self.size = again.size
        self.differs = True

    def keep(self, compared: Compared, held: int) -> None:
        """Answer this later; when too much waits already, say no more than the fingerprint of all of it.

        The first of a step is always kept, so that every exchange gets on.
        """
        if self.size and held + compared.size > limits.MAX_WAITING_ITEMS:
            self.differs = True
            if self.waiting and self.waiting[-1].is_late:
                before = self.waiting.pop()
                self.size -= before.size
                compared = late(before, compared)
            else:
                compared = late(compared)
        self.waiting.append(compared)
        self.size += compared.size

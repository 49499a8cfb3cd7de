"""The newest entries that nobody named yet.

Responsible for: finding them, for an entry that is to come behind all that there is.
Must not know: how places are computed.
Invariant: what is not looked at again did not change; a call reads the last rows of ``limits.MAX_TIPS_READ`` logs at
most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gossiplog import limits
from gossiplog.live.results import Result
from gossiplog.live.source import Readable
from gossiplog.log.body import ID16_BYTES, Reference
from gossiplog.store.requests import Delivery

if TYPE_CHECKING:
    from gossiplog.log.place import Stated

_ROWS_AT_ONCE = 8


class Tips:
    """I know the logs of a store that were written to last, and what their last rows name."""

    def __init__(self, store: Readable) -> None:
        self._store = store
        self._changed: OrderedDict[bytes, None] | None = (
            None  # since they were read; None: nobody has asked yet
        )
        self._newest: dict[bytes, tuple[int, int]] = {}  # author -> time and seq of its last entry
        self._named: dict[bytes, int] = {}  # author -> the last seq that somebody named

    def delivered(self, delivery: Delivery) -> None:
        """Something was committed."""
        if self._changed is not None and delivery.report is not None:
            for author in delivery.report.heads:
                self._changed[author] = None
                self._changed.move_to_end(author)

    def find(self) -> Result[list[Reference]]:
        """Return the newest of the last entries of logs that no other one of their last rows names."""
        clock = self._store.whole_clock("finding what no entry names yet")
        if self._changed is None:
            self._changed = OrderedDict.fromkeys(author for author, _ in clock.items())
        todo = [*self._changed][-limits.MAX_TIPS_READ :]
        self._changed.clear()
        reads = [(author, clock.seq(author)) for author in todo]
        result: Result[list[Reference]] = Result(lambda _: None, self._store.reactor)

        def go_on(rows: Sequence[Stated]) -> None:
            for stated in rows:
                self._look(stated)
            batch = [reads.pop() for _ in range(min(len(reads), _ROWS_AT_ONCE))]
            if batch:
                self._store.run(lambda logs: _last_rows(logs, batch)).addCallbacks(go_on, result.errback)
            elif not result.called:
                result.callback(self._tips())

        go_on([])
        return result

    def _look(self, stated: Stated) -> None:
        self._newest[stated.author] = stated.timestamps[-1], stated.last
        for named in stated.after.values():
            for each in named:
                self._named[each.author] = max(each.seq, self._named.get(each.author, 0))

    def _tips(self) -> list[Reference]:
        tips = []
        for author, (ms, seq) in [*self._newest.items()]:
            head = self._store.clock.head(author)
            if head is None or head.seq < seq:
                del self._newest[author]  # it is gone, or another one
            elif seq == head.seq and self._named.get(author, 0) < seq:
                tips.append((ms, Reference(author, seq, head.id[:ID16_BYTES])))
        tips.sort(reverse=True)
        return [reference for _, reference in tips[: limits.MAX_TIPS]]


def _last_rows(logs: Any, reads: Sequence[tuple[bytes, int]]) -> list[Stated]:
    from gossiplog.log.place import read_stated  # most programs name what they know

    rows = []
    for author, seq in reads:
        for segment in logs.around(author, seq, 1, seq).segments:
            rows.append(read_stated(segment, 1, seq))
    return rows

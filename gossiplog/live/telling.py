"""Reading for the index of places.

Responsible for: what a store has of that which the index asks for.
Must not know: who asks; reactors and threads.
Invariant: an entry that is shown comes of a row that was checked; a row that only says when its entries were need not.
"""

from __future__ import annotations

from typing import Any, Final

from gossiplog.log.segment import Unfolded
from gossiplog.views.asking import Ask, Told

INDEX_BYTES: Final = 256 * 1024
"""Read for the index at once: half a millisecond, since nothing is hashed."""


def tell(ask: Ask, logs: Any) -> Told:
    """Return what ``logs``, of a store or of a node that has it, show of what is asked for."""
    if not ask.signed:
        segments, damage = logs.vouching.unchecked(ask.author, ask.first, INDEX_BYTES, ask.last)
        unfolded: list[Unfolded] = []
    else:
        segments, damage = logs.around(ask.author, ask.first, 1, ask.last)
        unfolded = [logs.vouching.unfold(each) for each in segments]
    passed, reason = (0, "") if damage is None else (damage.last, damage.reason)
    return Told(segments, passed, unfolded, reason)

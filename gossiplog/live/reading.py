"""Readers of an open store: from what was asked for to what brings it.

Responsible for: which source a reader has, by the order that was asked for.
Must not know: how a source comes by entries; what the arguments of :meth:`gossiplog.Store.read` may be.
Invariant: what only causal reading needs is imported by who reads so.
"""

from __future__ import annotations

from gossiplog.arguments import wrong
from gossiplog.live.bringing import Bringing
from gossiplog.live.core import StoreCore
from gossiplog.live.reader import Reader
from gossiplog.live.selection import Selection
from gossiplog.live.source import Source
from gossiplog.log.clock_view import ClockView
from gossiplog.log.cursor import Cursor
from gossiplog.log.encodings import Encoding


def begin_to_read(
    core: StoreCore,
    encoding: Encoding,
    selection: Selection,
    after: Cursor | ClockView | None,
    tail: bool,
    order: str,
    settle: float,
) -> Reader:
    """Return a reader of what is selected, behind ``after``, or, with ``tail``, behind all that is held now.

    Raises InvalidValueError for an order that is none, and :class:`SharedStoreError` for one that cannot be had.
    """
    source: Bringing
    if order == "causal":
        from gossiplog.live.causal_source import CausalSource, check_causal

        check_causal(selection)
        clock = core.whole_clock("reading in causal order")
        source = CausalSource(core, encoding, selection, clock if tail else after, settle)
    elif order == "any":
        source = Source(core, encoding, selection, after, tail=tail)
    else:
        raise wrong("order", '"any" or "causal"', order)
    if selection.live:
        core.follow_live(source)
    return Reader(source)

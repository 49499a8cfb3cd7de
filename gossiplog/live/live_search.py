"""A search that is open.

Responsible for: :class:`LiveSearch`, which is a view that is also asked for words.
Must not know: how the index is made.
Invariant: as of every view.
"""

from __future__ import annotations

from typing import Literal

from gossiplog import limits
from gossiplog.live.live_view import LiveView
from gossiplog.live.results import Result
from gossiplog.views.search import Hit, check_search, find


class LiveSearch(LiveView):
    """I am an open :class:`Search`, from :meth:`gossiplog.Store.view`."""

    def find(
        self,
        text: str,
        *,
        limit: int = 20,
        offset: int = 0,
        order: Literal["rank", "newest"] = "rank",
        timeout: float = limits.VIEW_QUERY_SECONDS,
    ) -> Result[list[Hit]]:
        """Find entries: ``heron swan`` both words, ``heron OR swan``, ``heron NOT swan``, ``"two words"``, ``her*``.

        The best come first, or the ``newest`` by their authors' clocks.  What is no such query, since people type
        anything, is searched for as the words that it has.  Until the search is complete, :meth:`ready`, it finds less.
        """
        check_search(text, limit, offset, order)
        return self._read(lambda db: find(db, text, limit, offset, order), timeout)

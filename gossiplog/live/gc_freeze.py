"""Keeping Python's search for cycles away from what a store holds.

Responsible for: telling the interpreter, now and then, that all there is is going to stay.
Must not know: what is held, beyond how many authors.
Invariant: no search goes through more than ``MAX_UNFROZEN_AUTHORS`` authors and what else there is; once every store
that froze something is closed, all is searched again.

With a million authors a full search takes a third of a second, in which nobody is answered.  There are no cycles in a
clock.  What freezing costs: a cycle that was alive then, and is garbage later, is freed when the store is closed and
not before.
"""

from __future__ import annotations

import gc
from collections.abc import Sized
from typing import ClassVar

from gossiplog import limits


class Freezer:
    """I freeze when ``held`` has grown, or is large."""

    _freezers: ClassVar[set[Freezer]] = set()

    def __init__(self, held: Sized) -> None:
        self._held = held
        self._frozen = 0
        self.grown()

    def grown(self) -> None:
        """There may be more than there was."""
        if len(self._held) - self._frozen >= limits.MAX_UNFROZEN_AUTHORS:
            self._frozen = len(self._held)
            self._freezers.add(self)
            gc.collect()  # what is garbage now is not to stay
            gc.freeze()

    def close(self) -> None:
        """Nothing is held any more."""
        if self in self._freezers:
            self._freezers.discard(self)
            if not self._freezers:
                gc.unfreeze()

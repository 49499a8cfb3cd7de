"""What a verb says of damage that it read around.

Responsible for: a line on standard error for each place, once, and the exit status.
Must not know: how damage is found, or mended.
Invariant: a verb that passed over anything ends with :data:`DAMAGED`.
"""

from __future__ import annotations

from typing import Final

from gossiplog.app.printing import complain
from gossiplog.store.repair.verify import Damage, in_words

DAMAGED: Final = 3
"""Exit status: there is damage."""


class Damages:
    """I am told of the damage in one store; ``status`` is what the verb exits with."""

    def __init__(self, path: str) -> None:
        self.status = 0
        self._path = path
        self._last: dict[bytes | None, int] = {}

    def __call__(self, damage: Damage) -> None:
        """Entries were passed over."""
        self.status = DAMAGED
        if damage.last > self._last.get(damage.author, -1):
            self._last[damage.author] = damage.last
            complain(in_words(damage, self._path))

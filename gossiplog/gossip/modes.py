"""Which way entries may go: both, only to this node, or only from it.

Responsible for: :class:`Mode`, and how HELLO says it (specification, "One way").
Must not know: sessions; what entries are.
Invariant: between two nodes entries go one way exactly if the one gives and the other takes.

>>> Mode.heard(("pull/1",)), Mode.PULL.features
(<Mode.PULL: 'pull'>, ('pull/1',))
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from gossiplog.arguments import wrong

_PULLS: Final = "pull/1"
_PUSHES: Final = "push/1"
"""Features of HELLO: "from me comes no entry", and "I take none"."""


class Mode(Enum):
    """What a node does of sending and taking entries; ``NEITHER`` is said by nobody who means it."""

    BOTH = "both"
    PULL = "pull"
    PUSH = "push"
    NEITHER = "neither"

    @property
    def gives(self) -> bool:
        """Whether entries go out."""
        return self in (Mode.BOTH, Mode.PUSH)

    @property
    def takes(self) -> bool:
        """Whether entries come in."""
        return self in (Mode.BOTH, Mode.PULL)

    @property
    def features(self) -> tuple[str, ...]:
        """What HELLO says of it."""
        return (() if self.gives else (_PULLS,)) + (() if self.takes else (_PUSHES,))

    @classmethod
    def heard(cls, features: Iterable[str]) -> Mode:
        """The mode that a HELLO with these features tells of; those of others mean nothing here."""
        said = frozenset(features) & {_PULLS, _PUSHES}
        return next(mode for mode in cls if said == {*mode.features})

    @classmethod
    def parse(cls, mode: object) -> Mode:
        """The mode that an application asks for; :class:`InvalidValueError` for what is none."""
        if mode not in ("both", "pull", "push"):
            raise wrong("mode", "'both', 'pull' or 'push'", mode)
        return cls(mode)


def anything_goes(ours: Mode, theirs: Mode) -> bool:
    """Whether entries may go either way."""
    return (ours.gives and theirs.takes) or (ours.takes and theirs.gives)

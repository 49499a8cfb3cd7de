"""What a store in memory holds.

Responsible for: doing writes, whole or not at all; copies.
Must not know: who asks, faults, secrets.
Invariant: writes of which one is refused leave no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof
from gossiplog.store.interface import (
    Cut,
    DeleteAuthor,
    Mend,
    PutCursor,
    PutFork,
    PutMeta,
    PutSegment,
    Replace,
    RowWrite,
    check_name,
    check_value,
)
from gossiplog.store.memory.rows import LogRows

Key = TypeVar("Key")
Value = TypeVar("Value")


class Content:
    """I am logs, fork proofs, values and cursors."""

    def __init__(self) -> None:
        """Begin empty."""
        self.logs: dict[bytes, LogRows] = {}
        self.forks: dict[bytes, ForkProof] = {}
        self.values: dict[str, bytes] = {}
        self.cursors: dict[str, Cursor] = {}

    def copy(self) -> Content:
        """Return others with the same; O(rows)."""
        copy = Content()
        copy.logs = {author: log.copy() for author, log in self.logs.items()}
        copy.forks, copy.values, copy.cursors = dict(self.forks), dict(self.values), dict(self.cursors)
        return copy

    def apply(self, writes: Sequence[RowWrite]) -> None:
        """Do all writes or none."""
        undo: list[Callable[[], object]] = []
        try:
            for write in writes:
                undo.append(self._do(write))
        except BaseException:
            for step in reversed(undo):
                step()
            raise

    def _do(self, write: RowWrite) -> Callable[[], object]:
        """Do one write and return what takes it back."""
        match write:
            case PutSegment(segment, _):
                return self.logs.setdefault(segment.author, LogRows()).put(write)
            case Replace(author):
                return self.logs.get(author, LogRows()).replace(write)
            case Cut(author):
                return self.logs.get(author, LogRows()).cut(write)
            case Mend(rows):
                return self.logs.get(rows[0].segment.author if rows else b"", LogRows()).mend(write)
            case PutFork(proof):
                if proof.author in self.forks:
                    return bool
                self.forks[proof.author] = proof
                return lambda: self.forks.pop(proof.author)
            case PutMeta():
                return _swap(self.values, *check_value(write))
            case PutCursor(name, changes, anew):
                cursor = Cursor() if anew else self.cursors.get(name, Cursor()).copy()
                cursor.apply(changes)
                return _swap(self.cursors, check_name(name), cursor if len(cursor) else None)
            case DeleteAuthor(author):
                steps = _swap(self.logs, author, None), _swap(self.forks, author, None)
                return lambda: [step() for step in steps]


def _swap(values: dict[Key, Value], key: Key, value: Value | None) -> Callable[[], object]:
    """Set or (``None``) remove a value and return what takes it back."""
    before = values.pop(key, None)
    if value is not None:
        values[key] = value
    return bool if before is value is None else lambda: _swap(values, key, before)

"""The cursor: how far a reader has read, as one seq and the beginning of an id per author.

Responsible for: that map, its bytes, copies of it that cost next to nothing, and what changed between two.
Must not know: who reads, where a cursor is kept.
Invariant: :meth:`Cursor.advance` never takes an author back; a copy and its original never change with each other;
iteration is in the order of the authors' bytes, over what was there when it began.

The authors are spread over some dicts by their hash, which is another one in each process: nobody can choose keys that
meet in one of them.  Copies share all dicts, and the first change of one after that is made to a dict of one's own.
So a cursor that is kept after each entry costs one small dict for each, however many authors it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final, TypeAlias

import msgpack

from gossiplog.arguments import as_dict, check_type, wrong
from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_SEQ
from gossiplog.log.clock_view import ClockView
from gossiplog.log.keys import KEY_BYTES

ID8_BYTES: Final = 8
"""As much of an id as a cursor keeps: enough to notice by accident that a log is another one, not a proof."""

_CURSOR_VERSION: Final = 1
_UNPACK_ERRORS: Final = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)

_PARTS: Final = 256
"""Dicts: a copy costs a list of so many, and the change after it a dict of one in so many authors."""

_SHIFT: Final = 20
"""Bits of the hash that do not choose the dict: within one, authors are found by these."""

Place: TypeAlias = tuple[int, bytes]
"""A seq, and 8 bytes of the id there or none."""


class Cursor:
    """I say how far a reader has read: author -> seq, and 8 bytes of the id there if the reader knew it."""

    __slots__ = ("_own", "_parts")

    def __init__(self, read: Mapping[bytes, Place] | Iterable[tuple[bytes, Place]] = ()) -> None:
        """Start from author -> (seq, 8 bytes of the id or none).  O(n)."""
        self._parts: list[dict[bytes, Place]] = [{}] * _PARTS
        self._own: set[int] = set()  # the parts that no copy shares
        self.apply({author: _place("read", author, place) for author, place in as_dict("read", read).items()})

    @classmethod
    def of(cls, clock: ClockView | Cursor) -> Cursor:
        """Return the cursor that has read all that ``clock`` holds, O(n); of a cursor its copy."""
        if isinstance(clock, Cursor):
            return clock.copy()
        check_clock("clock", clock)
        cursor = cls()
        cursor.apply({author: (head.seq, head.id[:ID8_BYTES]) for author, head in clock.items()})
        return cursor

    def copy(self) -> Cursor:
        """Return an independent cursor that has read the same.  O(1)."""
        copy = Cursor()
        copy._parts = self._parts[:]
        self._own = set()
        return copy

    def seq(self, author: bytes) -> int:
        """Return the last seq read of an author, 0 if none was.  O(1)."""
        place = self._part(author).get(author)
        return 0 if place is None else place[0]

    def id8(self, author: bytes) -> bytes:
        """Return the first 8 bytes of the id at :meth:`seq`, ``b""`` where they are not known.  O(1)."""
        place = self._part(author).get(author)
        return b"" if place is None else place[1]

    def advance(self, author: bytes, seq: int, entry_id: bytes = b"") -> None:
        """Say that an author was read up to ``seq``, whose id (or its first 8 bytes) is ``entry_id`` if known.

        InvalidValueError for a step back.  O(1), after a copy O(n / 256).
        """
        place = _place("seq", author, (seq, entry_id))
        if seq < self.seq(author):
            raise InvalidValueError(f"the cursor is at seq {self.seq(author)} of this author, beyond {seq}")
        self._own_part(author)[author] = place

    def discard(self, author: bytes) -> None:
        """Forget an author, which is read from its beginning then.  As :meth:`advance`."""
        if author in self:
            del self._own_part(author)[author]

    def difference(self, before: Cursor) -> dict[bytes, Place | None]:
        """Return what takes ``before`` here: author -> (seq, id8), ``None`` for one that we do not know.

        O(n); if one was copied from the other, O(n / 256) for each author that moved since.
        """
        check_type("before", before, Cursor, "a Cursor")
        changes: dict[bytes, Place | None] = {}
        for ours, theirs in zip(self._parts, before._parts, strict=True):
            if ours is not theirs:
                changes.update((each, place) for each, place in ours.items() if theirs.get(each) != place)
                changes.update(dict.fromkeys(theirs.keys() - ours.keys()))
        return changes

    def apply(self, changes: Mapping[bytes, Place | None]) -> None:
        """Take over what :meth:`difference` returned, which may go back.  O(changes), as :meth:`advance` each."""
        checked = {
            author: None if place is None else _place("changes", author, place)
            for author, place in as_dict("changes", changes).items()
        }
        for author, place in checked.items():
            if place is None:
                self.discard(author)
            else:
                self._own_part(author)[author] = place

    def items(self) -> Iterator[tuple[bytes, Place]]:
        """Iterate over (author, (seq, id8)), sorted by author, as they are now.  O(n log n)."""
        return iter(sorted(chain.from_iterable(part.items() for part in self._parts)))

    def dump(self) -> bytes:
        """Return the cursor as bytes: a flat msgpack array of version, then author, seq and id8 of each.

        O(n log n).
        """
        flat: list[object] = [_CURSOR_VERSION]
        for author, (seq, id8) in self.items():
            flat += (author, seq, id8)
        dumped: bytes = msgpack.packb(flat)
        return dumped

    @classmethod
    def load(cls, dumped: bytes) -> Cursor:
        """Return the cursor that :meth:`dump` wrote; InvalidValueError for any other bytes.  O(n log n)."""
        if type(dumped) is not bytes:
            raise InvalidValueError("a cursor is loaded from bytes")
        flat = _flat_array(dumped)
        if not flat or type(flat[0]) is not int or flat[0] != _CURSOR_VERSION or len(flat) % 3 != 1:
            raise InvalidValueError(f"these bytes are not a cursor of version {_CURSOR_VERSION}")
        cursor = cls()
        for author, seq, id8 in zip(flat[1::3], flat[2::3], flat[3::3], strict=True):
            cursor.advance(author, seq, id8)
        if cursor.dump() != dumped:
            raise InvalidValueError("a cursor lists each author once, sorted, with 8 bytes of an id or none")
        return cursor

    def _part(self, author: bytes) -> dict[bytes, Place]:
        return self._parts[(hash(author) >> _SHIFT) % _PARTS]

    def _own_part(self, author: bytes) -> dict[bytes, Place]:
        """Return the part that ``author`` belongs to, for a change."""
        number = (hash(author) >> _SHIFT) % _PARTS
        if number not in self._own:
            self._parts[number] = self._parts[number].copy()
            self._own.add(number)
        return self._parts[number]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(chain.from_iterable(self._parts)))

    def __contains__(self, author: object) -> bool:
        return author in self._part(author)  # type: ignore[arg-type]  # anything that has a hash

    def __eq__(self, other: object) -> bool:
        """Tell whether seqs and ids are the same."""
        return self._parts == other._parts if isinstance(other, Cursor) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    __copy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        return Cursor, (dict(self.items()),)  # hashes are others in another process

    def __repr__(self) -> str:
        return f"<Cursor over {len(self)} authors>"


def _place(name: str, author: bytes, place: Place) -> Place:
    """Return ``place`` with 8 bytes of the id, or none; InvalidValueError if it is no place of an author."""
    if type(author) is not bytes or len(author) != KEY_BYTES:
        raise InvalidValueError(f"an author is {KEY_BYTES} bytes")
    if not isinstance(place, tuple) or len(place) != 2:
        raise wrong(name, "authors with a seq and 8 bytes of an id (or none) each", place)
    seq, entry_id = place
    if type(seq) is not int or not 1 <= seq <= MAX_SEQ:
        raise InvalidValueError(f"seq must be from 1 to {MAX_SEQ}, not {seq!r}")
    if type(entry_id) is not bytes or 0 < len(entry_id) < ID8_BYTES:
        raise InvalidValueError(f"an id is known by at least {ID8_BYTES} bytes or not at all")
    return seq, entry_id[:ID8_BYTES]


def check_clock(name: str, value: object) -> None:
    """Raise :class:`InvalidValueError` for what is neither a clock nor a cursor, of whichever class."""
    if not all(callable(getattr(value, method, None)) for method in ("items", "seq")):
        raise wrong(name, "a cursor or a clock", value)


def _flat_array(dumped: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(
        read_size=len(dumped) + 1, max_buffer_size=len(dumped) + 1, max_array_len=0, max_map_len=0
    )
    unpacker.feed(dumped)
    try:
        count = unpacker.read_array_header()
        flat = list(islice(unpacker, count))
    except _UNPACK_ERRORS as error:
        raise InvalidValueError("these bytes are not a cursor") from error
    if len(flat) != count or unpacker.tell() != len(dumped):
        raise InvalidValueError("a cursor is cut off, or bytes follow it")
    return flat

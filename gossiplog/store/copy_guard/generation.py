"""The small file beside the database that shows when one of the two was put back to an earlier state.

Responsible for: the file ``generation``: the store's token, its generation, the last entry on disk of each local
writer, the stamp once more, for who must not open the database, and which file it is itself.
Must not know: what is made of a difference.
Invariant: a crash at any moment leaves the database's generation among those in the file.  A generation is written
here and synced before it goes to the database, beside the one before, which is overwritten after that.

Each generation is written to a new file, which takes the place of the one before and says by its inode and birth that
it is this one.  So an older one that is put back is seen, also when it is written over the newer one, with all its
attributes and times.

The last own entries are written, not synced, after their commit: they survive the process, and after a power loss they
may be too low but never too high.  So a database that does not hold them was put back, or its disk lost a synced
commit.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from gossiplog.limits import MAX_WRITERS
from gossiplog.store.copy_guard.birth import birth
from gossiplog.store.folder import Folder

NAME: Final = "generation"

SLOT_BYTES: Final = 512
"""One sector each, so that a torn write damages no other record."""

_GENERATION: Final = struct.Struct(">16sQ")
_SIGNED: Final = struct.Struct(">32sQ")
_CRC: Final = struct.Struct(">I")
_STAMP: Final = struct.Struct(">128pQ")
_ITSELF: Final = struct.Struct(">QQ")
_STAMP_SLOT: Final = 2
_ITSELF_SLOT: Final = 3
_WRITERS_SLOT: Final = 4
"""Of the first writer; the others follow, in the order in which they came."""


class GenerationRecord(NamedTuple):
    """What the file says; a record that is damaged is not there."""

    token: bytes
    generations: frozenset[int]
    signed: Mapping[bytes, int] = MappingProxyType({})
    """The seq of the last entry of each local writer that reached the disk."""
    stamp: bytes = b""
    """What the store remembers of itself, as in its database; a crash may leave an older one."""
    is_itself: bool = True
    """Whether it is in the file that it was written to."""


class GenerationFile:
    """I keep the file ``generation`` of one store directory."""

    def __init__(self, directory: str, writing: bool = True) -> None:
        """Open it if it is there."""
        self._file = -1
        self._places: dict[bytes, int] = {}
        self._next_place = _WRITERS_SLOT
        self._folder = Folder(directory)
        try:
            self._folder.guard()
            self._file = self._folder.open(NAME, os.O_RDWR if writing else os.O_RDONLY)
        except FileNotFoundError:
            pass
        except BaseException:
            self._folder.close()
            raise

    def read(self) -> GenerationRecord | None:
        """Return what it says, ``None`` if there is no file."""
        if self._file < 0:
            return None
        content = os.pread(self._file, (_WRITERS_SLOT + MAX_WRITERS) * SLOT_BYTES, 0)
        slots = [_record(_GENERATION, content, place) for place in (0, 1)]
        signed: dict[bytes, int] = {}
        self._next_place = max(_WRITERS_SLOT, -(-len(content) // SLOT_BYTES))
        for place in range(_WRITERS_SLOT, self._next_place):
            if (record := _record(_SIGNED, content, place)) is not None:
                self._places[record[0]] = place
                signed[record[0]] = record[1]
        tokens = {slot[0] for slot in slots if slot is not None}
        token = tokens.pop() if len(tokens) == 1 else b""
        generations = frozenset(slot[1] for slot in slots if slot is not None and token)
        stamp = _record(_STAMP, content, _STAMP_SLOT)
        return GenerationRecord(
            token, generations, signed, b"" if stamp is None else stamp[0], self._is_itself(content)
        )

    def _is_itself(self, content: bytes) -> bool:
        written = _record(_ITSELF, content, _ITSELF_SLOT)
        inode, born = _identity(self._file)
        return written is not None and written[0] == inode and (not born or written[1] in (0, born))

    def create(
        self, token: bytes, generations: tuple[int, int], stamp: bytes, signed: Mapping[bytes, int]
    ) -> None:
        """Begin a new file, durable on return, in the place of any other; both ``generations`` hold."""
        file = self._folder.draft(NAME)
        try:
            for place, generation in enumerate(generations):
                _write(file, _GENERATION, place, token, generation)
            _write(file, _STAMP, _STAMP_SLOT, stamp, 0)
            _write(file, _ITSELF, _ITSELF_SLOT, *_identity(file))
            for place, (author, seq) in enumerate(signed.items(), _WRITERS_SLOT):
                _write(file, _SIGNED, place, author, seq)
            os.fsync(file)
            self._folder.put(NAME)
        except BaseException:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._places = {author: place for place, author in enumerate(signed, _WRITERS_SLOT)}
        self._next_place = _WRITERS_SLOT + len(signed)

    def settle(self, token: bytes, generation: int, stamp: bytes) -> None:
        """Let only ``generation`` hold, now that the database has it and its stamp."""
        for place in (0, 1):
            _write(self._file, _GENERATION, place, token, generation)
        _write(self._file, _STAMP, _STAMP_SLOT, stamp, 0)

    def sign(self, author: bytes, seq: int) -> None:
        """Keep the last entry of a local writer; about 2 us.  Only the first one makes the file larger."""
        place = self._places.get(author, self._next_place)
        _write(self._file, _SIGNED, place, author, seq)
        if self._places.setdefault(author, place) == self._next_place:
            self._next_place += 1

    def close(self) -> None:
        """Give the file back."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        self._folder.close()


def _identity(file: int) -> tuple[int, int]:
    """Return the inode and the birth of an open file."""
    return os.fstat(file).st_ino, birth(file)


def _write(file: int, kind: struct.Struct, slot: int, key: bytes | int, number: int) -> None:
    record = kind.pack(key, number)
    os.pwrite(file, record + _CRC.pack(zlib.crc32(record)), slot * SLOT_BYTES)


def _record(kind: struct.Struct, content: bytes, slot: int) -> tuple[Any, int] | None:
    start = slot * SLOT_BYTES
    record = content[start : start + kind.size]
    check = content[start + kind.size : start + kind.size + _CRC.size]
    if len(record) < kind.size or check != _CRC.pack(zlib.crc32(record)):
        return None
    key, number = kind.unpack(record)
    return key, number

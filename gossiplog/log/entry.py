"""Entries as an application reads them.

Responsible for: turning a stored segment into :class:`Entry` values.
Must not know: where segments come from.
Invariant: foreign bytes never raise here: what does not decode is delivered, marked as malformed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from gossiplog.errors import MalformedBodyError
from gossiplog.log.body import Reference, decode_body, plain_bodies
from gossiplog.log.encodings import DECODE_ERRORS, Encoding
from gossiplog.log.keys import short_key
from gossiplog.log.segment import Segment, entries

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """One entry of one author's log.

    ``payload`` is decoded with the reader's encoding; ``None`` when it was dropped (``dropped``).  When a body or
    payload does not decode, ``malformed`` says why and ``payload`` holds the raw bytes.
    """

    author: bytes
    seq: int
    id: bytes
    timestamp_ms: int
    payload: Any
    after: tuple[Reference, ...] = ()
    dropped: bool = False
    malformed: str = ""

    @property
    def time(self) -> datetime:
        """``timestamp_ms`` in UTC: what the author's clock said.

        The last moment that a datetime can name stands for every later one.
        """
        try:
            return _EPOCH + timedelta(milliseconds=self.timestamp_ms)
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say of a place where there are any."""
            if name in ("place", "late"):
                raise AttributeError(
                    f"an entry has {name!r} in causal order only: read(order='causal'), or order = 'causal' of a view"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        """One line, however long the payload is."""
        payload = repr(self.payload)
        shown = payload if len(payload) <= _SHOWN_CHARS else f"{payload[:_SHOWN_CHARS]}..."
        state = " dropped" if self.dropped else " malformed" if self.malformed else ""
        return f"<Entry {short_key(self.author)} {self.seq} {self.time:%Y-%m-%d %H:%M:%S}Z{state} {shown}>"


@dataclass(frozen=True, slots=True, repr=False)
class PlacedEntry(Entry):
    """An entry as it comes in causal order.

    ``place`` is where it belongs among all: bytes that sort as places do, the same wherever the same entries are held.
    ``late`` says that one which belongs behind it was handed over before.
    """

    place: bytes = b""
    late: bool = False


class _Draft:
    """An :class:`Entry` that is being filled in, and then becomes one.

    Eight slots and another class take 0.4 us, ``Entry(...)`` three times as much: it may not set them itself.
    """

    __slots__ = tuple(each.name for each in fields(Entry))


def read_entries(
    segment: Segment, chosen: Encoding, first: int | None = None, last: int | None = None
) -> list[Entry]:
    """The entries of ``segment`` with ``first <= seq <= last``, ascending.  O(last - segment.first)."""
    author = segment.author
    decode = chosen.decode
    new = object.__new__
    read: list[Entry] = []
    add = read.append
    found = entries(segment, first, last)
    for (seq, entry_id, body), plain in zip(found, plain_bodies([each[2] for each in found]), strict=True):
        if plain is None:
            add(read_entry(author, seq, entry_id, body, chosen))
            continue
        entry: Any = new(_Draft)
        entry.author = author
        entry.seq = seq
        entry.id = entry_id
        entry.timestamp_ms, payload = plain
        entry.after = ()
        entry.dropped = False
        entry.malformed = ""
        try:
            entry.payload = decode(payload)
        except DECODE_ERRORS as error:
            entry.payload = payload
            entry.malformed = f"payload is not {chosen.name}: {error}"
        entry.__class__ = Entry
        add(entry)
    return read


def read_entry(author: bytes, seq: int, entry_id: bytes, body: bytes | None, chosen: Encoding) -> Entry:
    """One entry, of its body; None if that was dropped."""
    if body is None:
        return Entry(author, seq, entry_id, 0, None, dropped=True)
    try:
        timestamp_ms, payload, after = decode_body(body)
    except MalformedBodyError as error:
        return Entry(author, seq, entry_id, 0, body, malformed=str(error))
    try:
        return Entry(author, seq, entry_id, timestamp_ms, chosen.decode(payload), after)
    except DECODE_ERRORS as error:
        problem = f"payload is not {chosen.name}: {error}"
        return Entry(author, seq, entry_id, timestamp_ms, payload, after, malformed=problem)

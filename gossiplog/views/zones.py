"""The index of places: where in the order of all entries the runs of each log are.

Responsible for: the tables of zones, how far each log is in them, and finding the zones before a place.
Must not know: what entries say, how moments are computed.
Invariant: the zones of a log follow each other as its entries do, and so do their moments; each author's position, its
zones and what its entries were placed without change in one transaction.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from gossiplog import limits
from gossiplog.log.body import Reference
from gossiplog.log.debts import Debt, Late
from gossiplog.log.place import Moment, Zone
from gossiplog.log.zone_list import ZoneList
from gossiplog.views.derived import Derived

NAME: Final = "_places"

SCHEMA: Final = """
CREATE TABLE authors (
    id INTEGER PRIMARY KEY, author BLOB NOT NULL UNIQUE, seq INTEGER NOT NULL, id8 BLOB NOT NULL, moment BLOB NOT NULL
);
CREATE TABLE zones (
    author INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, low BLOB NOT NULL, high BLOB NOT NULL,
    raised BLOB, holes INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (author, first)
) WITHOUT ROWID;
CREATE INDEX zones_by_high ON zones (high, author, first, low);
CREATE INDEX zones_by_low ON zones (low, author, first, high);
CREATE TABLE missed (
    author BLOB NOT NULL, seq INTEGER NOT NULL, id16 BLOB NOT NULL, by BLOB NOT NULL, number INTEGER NOT NULL,
    moment BLOB NOT NULL
);
CREATE TABLE gaps (author BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL);
"""

_MOMENT_BYTES: Final = 16
_RAISED: Final = struct.Struct(">I16s")

_SELECT: Final = (
    "SELECT authors.author, first, last, low, high, raised, holes, zones.author"
    " FROM zones{} JOIN authors ON authors.id = zones.author"
)

Mark: TypeAlias = tuple[bytes, int, int]
"""Where a zone is among all, by where it ends."""


def mark_at(moment: Moment, forward: bool) -> Mark:
    """Return the mark behind which are the zones that end before ``moment``; or ``forward``, that begin after it."""
    return (moment_bytes(moment), 2**63 - 1, 0) if forward else (moment_bytes(moment), 0, 0)


class Stored(NamedTuple):
    """A zone as it is in the index: ``is_plain`` says that the moments of its entries are their own clocks."""

    zone: Zone
    is_plain: bool
    holes: int


class Gap(NamedTuple):
    """Entries that could not be read, and so have no place."""

    author: bytes
    first: int
    last: int
    reason: str


class Position(NamedTuple):
    """A log is in the index up to ``seq``, the id of which begins with ``id8`` if that is known."""

    seq: int
    id8: bytes
    moment: Moment


def moment_bytes(moment: Moment) -> bytes:
    """Return 16 bytes that compare as moments do."""
    return (moment[0] << 64 | moment[1]).to_bytes(_MOMENT_BYTES, "big")


def read_moment(moment: bytes) -> Moment:
    """Return what :func:`moment_bytes` wrote."""
    return int.from_bytes(moment[:8], "big"), int.from_bytes(moment[8:], "big")


class Zones:
    """I am the index, in one file of derived state.  What changes it is called within a transaction of it."""

    def __init__(self, derived: Derived) -> None:
        self._derived = derived
        self._ids: dict[bytes, int] = {}

    @property
    def derived(self) -> Derived:
        """The file."""
        return self._derived

    # -- how far it is

    def positions(self) -> dict[bytes, Position]:
        """Return how far each log is in the index.  O(authors)."""
        rows = self._derived.db.execute("SELECT author, seq, id8, moment FROM authors")
        return {author: Position(seq, id8, read_moment(moment)) for author, seq, id8, moment in rows}

    def move(self, author: bytes, position: Position) -> None:
        """A log is in the index up to there."""
        self._derived.db.execute(
            "UPDATE authors SET seq = ?, id8 = ?, moment = ? WHERE id = ?",
            (position.seq, position.id8, moment_bytes(position.moment), self._id(author)),
        )

    def missed(self) -> Iterator[Debt]:
        """Yield what entries were placed without."""
        for author, seq, id16, by, number, moment in self._derived.db.execute("SELECT * FROM missed"):
            yield Reference(author, seq, id16), Late(by, number, read_moment(moment))

    def miss(self, debts: Iterable[Debt]) -> None:
        """Entries were placed without these."""
        self._derived.db.executemany(
            "INSERT INTO missed VALUES (?, ?, ?, ?, ?, ?)",
            [(*reference, late.author, late.seq, moment_bytes(late.moment)) for reference, late in debts],
        )

    def found(self, author: bytes, seq: int) -> None:
        """What was missed of a log up to ``seq`` is there."""
        self._derived.db.execute("DELETE FROM missed WHERE author = ? AND seq <= ?", (author, seq))

    # -- changing it

    def add(self, zone: Zone, is_plain: bool, holes: int, size: int) -> None:
        """Add entries behind those of their log; small zones become part of the one before.  O(log n)."""
        author = self._id(zone.author)
        raised = (
            None
            if is_plain
            else b"".join(_RAISED.pack(seq - zone.first, moment_bytes(moment)) for seq, moment in zone.raised)
        )
        if (
            zone.first > 1
            and zone.last - zone.first < limits.ZONE_ENTRIES // 2
            and size < limits.ZONE_BYTES // 2
        ):
            found = self._derived.db.execute(
                "SELECT first, last, raised, holes, bytes FROM zones WHERE author = ? ORDER BY first DESC LIMIT 1",
                (author,),
            ).fetchone()
            if found is not None and self._extend(author, zone, raised, holes, size, *found):
                return
        self._derived.db.execute(
            "INSERT INTO zones VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                author,
                zone.first,
                zone.last,
                moment_bytes(zone.low),
                moment_bytes(zone.high),
                raised,
                holes,
                size,
            ),
        )

    def _extend(
        self,
        author: int,
        zone: Zone,
        raised: bytes | None,
        holes: int,
        size: int,
        first: int,
        last: int,
        before: bytes | None,
        holes_before: int,
        size_before: int,
    ) -> bool:
        if (
            last + 1 != zone.first
            or zone.last - first >= limits.ZONE_ENTRIES
            or size_before + size > limits.ZONE_BYTES
        ):
            return False
        if raised is not None or before is not None:
            records = [
                (zone.first - first + offset, moment) for offset, moment in _RAISED.iter_unpack(raised or b"")
            ]
            raised = (before or b"") + b"".join(_RAISED.pack(*record) for record in records)
        self._derived.db.execute(
            "UPDATE zones SET last = ?, high = ?, raised = ?, holes = ?, bytes = ? WHERE author = ? AND first = ?",
            (
                zone.last,
                moment_bytes(zone.high),
                raised,
                holes_before + holes,
                size_before + size,
                author,
                first,
            ),
        )
        return True

    def go_back(self, moment: Moment) -> dict[bytes, Position]:
        """Take out all entries from ``moment`` on, and some before; return the logs that are not as far any more."""
        db = self._derived.db
        changed = [
            each
            for [each] in db.execute(
                "SELECT DISTINCT author FROM zones WHERE high >= ?", (moment_bytes(moment),)
            )
        ]
        db.execute("DELETE FROM zones WHERE high >= ?", (moment_bytes(moment),))
        moved = {}
        for number in changed:
            [author] = db.execute("SELECT author FROM authors WHERE id = ?", (number,)).fetchone()
            last = db.execute(
                "SELECT last, high FROM zones WHERE author = ? ORDER BY first DESC LIMIT 1", (number,)
            ).fetchone() or (0, bytes(_MOMENT_BYTES))
            moved[author] = Position(last[0], b"", read_moment(last[1]))
            self.move(author, moved[author])
            db.execute("DELETE FROM missed WHERE by = ? AND number > ?", (author, last[0]))
            db.execute("DELETE FROM gaps WHERE author = ? AND last > ?", (author, last[0]))
        return moved

    def forget(self, author: bytes) -> None:
        """Take out a log."""
        db = self._derived.db
        number = self._known(author)
        self._ids.pop(author, None)
        db.execute("DELETE FROM zones WHERE author = ?", (number,))
        db.execute("DELETE FROM authors WHERE id = ?", (number,))
        db.execute("DELETE FROM missed WHERE by = ?", (author,))
        db.execute("DELETE FROM gaps WHERE author = ?", (author,))

    # -- finding

    def containing(self, author: bytes, seq: int) -> Stored | None:
        """Return the zone of an entry.  O(log n)."""
        found = self._derived.db.execute(
            f"{_SELECT.format('')} WHERE zones.author = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (self._known(author), seq),
        ).fetchone()
        return None if found is None or found[2] < seq else _stored(*found)

    def bound(self, author: bytes, seq: int) -> Moment:
        """Return a moment that an entry's is not above.  O(log n)."""
        found = self._derived.db.execute(
            "SELECT high FROM zones WHERE author = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (self._known(author), seq),
        ).fetchone()
        return (0, 0) if found is None else read_moment(found[0])

    def up_to(self, author: bytes, last: int) -> ZoneList:
        """Return the zones of a log that end at ``last`` or before.  O(those)."""
        found = self._derived.db.execute(
            "SELECT first, last, low, high, raised, bytes FROM zones WHERE author = ? AND last <= ? ORDER BY first",
            (self._known(author), last),
        )
        zones = ZoneList()
        for first, end, low, high, raised, size in found:
            zones.add(_stored(author, first, end, low, high, raised, 0, 0).zone, size)
        return zones

    def across(self, moment: Moment, authors: Collection[bytes] | None, forward: bool) -> list[Stored]:
        """Return the zones that have ``moment`` between their ends.  O(zones that end after it, or with ``forward``
        that begin before it)."""
        index = " INDEXED BY zones_by_low" if forward else " INDEXED BY zones_by_high"
        found = self._derived.db.execute(
            f"{_SELECT.format(index)} WHERE high >= ? AND low <= ?{self._of(authors)}",
            (moment_bytes(moment),) * 2,
        )
        return [_stored(*each) for each in found]

    def behind(
        self, mark: Mark, authors: Collection[bytes] | None, forward: bool, limit: int
    ) -> list[tuple[Stored, Mark]]:
        """Return the next zones by where they end, the latest first, or ``forward`` by where they begin, the earliest
        first, each with its mark.  O(log n) and those."""
        end, sign, way = ("low", ">", "ASC") if forward else ("high", "<", "DESC")
        found = self._derived.db.execute(
            f"{_SELECT.format(f' INDEXED BY zones_by_{end}')}"
            f" WHERE ({end}, zones.author, first) {sign} (?, ?, ?){self._of(authors)}"
            f" ORDER BY {end} {way}, zones.author {way}, first {way} LIMIT ?",
            (*mark, limit),
        )
        return [(_stored(*each), (each[3 if forward else 4], each[7], each[1])) for each in found]

    def _of(self, authors: Collection[bytes] | None) -> str:
        if authors is None:
            return ""
        known = [number for author in authors if (number := self._known(author)) is not None]
        return f" AND zones.author IN ({', '.join(map(str, known))})"

    def with_holes(self) -> Mapping[bytes, int]:
        """Return how many payloads each log lacked when it was looked at, of those that did."""
        return dict(
            self._derived.db.execute(
                "SELECT authors.author, sum(holes) FROM zones JOIN authors ON authors.id = zones.author"
                " WHERE holes > 0 GROUP BY zones.author"
            )
        )

    def first_hole(self, author: bytes) -> Moment:
        """Return where the first zone of a log begins that lacks payloads."""
        found = self._derived.db.execute(
            "SELECT low FROM zones WHERE author = ? AND holes > 0 ORDER BY first LIMIT 1",
            (self._known(author),),
        ).fetchone()
        return (0, 0) if found is None else read_moment(found[0])

    def gap(self, gap: Gap) -> None:
        """These entries cannot be read."""
        self._derived.db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?)", gap)

    def gaps(self, authors: Collection[bytes] | None) -> list[Gap]:
        """Return what of these logs, or of all, could not be read."""
        found = self._derived.db.execute(
            "SELECT author, first, last, reason FROM gaps ORDER BY author, first"
        )
        return [Gap(*each) for each in found if authors is None or each[0] in authors]

    def has_raised(self, moment: Moment) -> bool:
        """Tell whether an entry behind ``moment`` is where it is because of what it names.  O(zones)."""
        found = self._derived.db.execute(
            "SELECT 1 FROM zones WHERE length(raised) > 0 AND high > ? LIMIT 1", (moment_bytes(moment),)
        )
        return found.fetchone() is not None

    def is_after(self, ms: int) -> bool:
        """Tell whether an entry has a time after that.  O(log n)."""
        found = self._derived.db.execute(
            "SELECT 1 FROM zones WHERE high >= ? LIMIT 1", (moment_bytes((ms + 1, 0)),)
        )
        return found.fetchone() is not None

    def lowest(self, author: bytes) -> Moment | None:
        """Return the moment of the first entry of a log."""
        found = self._derived.db.execute(
            "SELECT low FROM zones WHERE author = ? ORDER BY first LIMIT 1", (self._known(author),)
        ).fetchone()
        return None if found is None else read_moment(found[0])

    def _known(self, author: bytes) -> int | None:
        number = self._ids.get(author)
        if number is None:
            found = self._derived.db.execute("SELECT id FROM authors WHERE author = ?", (author,)).fetchone()
            if found is None:
                return None
            number = self._ids[author] = int(found[0])
        return number

    def _id(self, author: bytes) -> int:
        number = self._known(author)
        if number is None:
            made = self._derived.db.execute(
                "INSERT INTO authors (author, seq, id8, moment) VALUES (?, 0, x'', ?)",
                (author, bytes(_MOMENT_BYTES)),
            )
            number = self._ids[author] = int(made.lastrowid or 0)
        return number


def _stored(
    author: bytes, first: int, last: int, low: bytes, high: bytes, raised: bytes | None, holes: int, _: int
) -> Stored:
    records = tuple(
        (first + offset, read_moment(moment)) for offset, moment in _RAISED.iter_unpack(raised or b"")
    )
    return Stored(
        Zone(author, first, last, read_moment(low), read_moment(high), records), raised is None, holes
    )

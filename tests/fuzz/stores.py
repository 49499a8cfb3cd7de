"""Targets: the files of a store, altered while nobody had it open.

Whatever was altered, what comes out is what was put in or a StoreError, the check says that something is wrong, and
no writer signs a seq twice.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import msgpack

from gossiplog.errors import StoreError
from gossiplog.log.body import encode_body
from gossiplog.log.fork import encode_proof
from gossiplog.store.copy_guard.generation import SLOT_BYTES, GenerationFile
from gossiplog.store.copy_guard.identity import Signs, Stamp, difference, mark, stamped
from gossiplog.store.logs import open_logs
from gossiplog.store.repair.salvage import salvage
from gossiplog.store.requests import Append
from tests.fuzz.people import ANN, BOB, CAT, fork_of_cat, ids_of, log_of
from tests.fuzz.survey import bearing_any_value, known, survey, unmoved
from tests.fuzz.target import Consumer, Target

FILES = ("log.sqlite", "node.key", "generation", "seeds/me", "lock", "log.sqlite-wal")


def check_rows(data: bytes) -> None:
    """Any value in any column."""
    consumer = Consumer(data)
    with known().copied() as store, unmoved():
        with bearing_any_value(store / "log.sqlite") as connection:
            for _ in range(1 + consumer.number(3)):
                table, column = consumer.choose(known().cells)
                row, value = consumer.number(6), _value(consumer)
                key = {
                    "authors": "number",
                    "segments": "number",
                    "forks": "author",
                    "cursors": "author",
                    "meta": "key",
                }
                picked = f"SELECT {key[table]} FROM {table} ORDER BY 1 LIMIT 1 OFFSET {row}"
                try:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? WHERE {key[table]} = ({picked})", (value,)
                    )
                except (sqlite3.Error, OverflowError):
                    pass  # a primary key, which even a damaged file keeps in order
        survey(store)


def _value(consumer: Consumer) -> Any:
    kind = consumer.number(8)
    authors = (ANN.author, BOB.author, CAT.author, bytes(32))
    segment = consumer.choose(log_of(BOB))
    return (
        lambda: None,
        lambda: consumer.choose((0, 1, -1, 2, 3, 5, 7, 8, 2**53, 2**62, -(2**63))),
        lambda: consumer.choose((0.5, 1.0, 1e300, -0.0, float("inf"))),
        lambda: consumer.some(40).decode("latin-1"),
        lambda: consumer.some(255),
        lambda: consumer.choose((*authors, *ids_of(BOB), segment.bodies, segment.signature)),
        lambda: consumer.number(2**63),
        lambda: encode_proof(
            consumer.choose((fork_of_cat(), fork_of_cat()._replace(author=consumer.choose(authors))))
        ),
    )[kind]()


def check_files(data: bytes) -> None:
    """Any bytes in any file."""
    consumer = Consumer(data)
    with known().copied() as store, unmoved():
        for _ in range(1 + consumer.number(2)):
            file = store / consumer.choose(FILES)
            content = file.read_bytes() if file.exists() else b""
            content = (
                consumer.spoil(content) if consumer.chance(4) or not content else _flipped(consumer, content)
            )
            file.write_bytes(content)
        survey(store)


def check_salvage(data: bytes) -> None:
    """A database of any bytes is rebuilt from what is good in it or left alone; nobody appends before ``recover``."""
    consumer = Consumer(data)
    with known().copied() as store:
        file = store / "log.sqlite"
        content = file.read_bytes()
        content = consumer.spoil(content) if consumer.chance(4) else _flipped(consumer, content)
        file.write_bytes(content)
        try:
            salvage(store)
        except StoreError:
            return
        survey(store, may_lack=True)
        with closing(open_logs(store, init=False)) as logs:
            outcome = logs.process([Append(BOB.author, [encode_body(7, b"more")])])
            assert isinstance(outcome.results[0], StoreError), "appended to what was salvaged"


def _flipped(consumer: Consumer, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(1 + consumer.number(6)):
        changed[consumer.number(len(content))] ^= 1 + consumer.number(255)
    return bytes(changed)


def check_signs(data: bytes) -> None:
    """Whatever the stamp in the database and the file of generations say, a difference can be told in words."""
    consumer = Consumer(data)
    with tempfile.TemporaryDirectory(dir=known().path) as place:
        content = bytearray(_ledger())
        if consumer.chance(2):
            content = bytearray(consumer.spoil(bytes(content)))
        for _ in range(consumer.number(3)):
            slot, number = consumer.number(4), consumer.choose((0, 1, 2, 2**64 - 1))
            record = consumer.choose((bytes(16), b"t" * 16)) + number.to_bytes(8, "big")
            content[slot * SLOT_BYTES : slot * SLOT_BYTES + 28] = record + crc32(record).to_bytes(4, "big")
        (Path(place) / "generation").write_bytes(content)
        with closing(GenerationFile(place)) as file:
            ledger = file.read()
        assert ledger is not None and len(ledger.generations) <= 2
        stamp = Stamp(
            b"t" * 16,
            consumer.choose((0, 1, 2, -1, 2**64 - 1)),
            1,
            2,
            consumer.some(16),
            consumer.chance(2),
            consumer.number(3),
        )
        marks = (None, b"", mark(b"t" * 16, 1), consumer.some(30))
        signs = Signs(1, 2, consumer.some(3), consumer.choose(marks), consumer.number(3))
        packed = consumer.rest()
        for dumped in (packed, stamp.dump(), msgpack.packb([*stamp[:3], consumer.number(9), b"", True, 1])):
            found = Stamp.load(dumped)
            if found is not None:
                assert Stamp.load(found.dump()) == found
                assert isinstance(difference(found, signs, ledger), str)
                later = stamped(signs, found.token, found.generation + 1)
                assert Stamp.load(later.dump()) == later


def _ledger() -> bytes:
    return (known().path / "store" / "generation").read_bytes()


_CELLS = [bytes((0, cell, cell % 2, kind, 3)) for cell, kind in product(range(19), range(8))]

_FILES = [bytes((0, file, kind, 0, 0, 9)) for file, kind in product(range(6), (0, 3))]
_PAGES = [bytes((kind, 0, 0, page, 9, 1)) for kind, page in product((0, 3), range(0, 20, 4))]

TARGETS = [
    Target("rows", check_rows, _CELLS, slow=True),
    Target("files", check_files, _FILES, slow=True),
    Target("salvage", check_salvage, _PAGES, slow=True),
    Target("signs", check_signs, [bytes(20), bytes(range(30)), b"\1" * 40]),
]

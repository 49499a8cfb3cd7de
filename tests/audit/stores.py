"""Stores that somebody else made, met by commands as real processes.

A directory is cloned: it has a ``.gossiplog`` in which something was planted.  Beside it are a store of one's own and a
file.  The commands that show something, that write, and that import, are run in it.  None may take ``MOST_SECONDS`` of
a core, ``WAIT_SECONDS`` in all, more memory than ``MOST_BYTES``, or change anything outside; those that show change
nothing inside.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgpack

from gossiplog.limits import MAX_SEQ
from gossiplog.log.body import encode_body
from gossiplog.log.segment import Head
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append
from gossiplog.store.sqlite.rows import head_columns, sealed
from tests.audit.case import Case, Outcome
from tests.processes import environment

MOST_SECONDS = 15
WAIT_SECONDS = 120.0
"""For what: on a machine with much else to do a command that waits for nothing takes long too."""

MOST_BYTES = 256 << 20
TERABYTE = 1 << 40

SHOWING = (("log",), ("clock",), ("verify",), ("forks",), ("id",), ("follow",))
WRITING = (("append", "text"), ("init",), ("id", "--all"))
NAMED = (
    ("log", "--store", ".gossiplog"),
    ("append", "--store", ".gossiplog", "text"),
    ("recover", "--alone", "--store", ".gossiplog"),
    ("verify", "--repair", "--store", ".gossiplog"),
    ("import", "--store", "../own", ".gossiplog"),
    ("verify", "--repair", "--from", ".gossiplog", "--store", "../own"),
)

NAMES = (
    "lock",
    "generation",
    "node.key",
    "seeds",
    "seeds/ann",
    "log.sqlite",
    "log.sqlite-wal",
    "log.sqlite-shm",
    "log.sqlite-journal",
    ".generation.new",
    ".node.key.new",
    "seeds/.default.new",
    "log.sqlite.new",
    "log.sqlite.new-journal",
    "log.sqlite.damaged",
)

ITSELF = "itself: link to one's own"
"""Who names that with ``--store`` means what it leads to."""

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n)"


class Place(NamedTuple):
    """Where an attack is made: the store that was planted, and what is to be left alone."""

    store: Path
    own: Path
    precious: Path


Plant = Callable[[Place], object]


def _make(name: str, make: Callable[[Path, Place], object], place: Place) -> None:
    file = place.store / name
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    make(file, place)


def _socket(file: Path) -> None:
    before = os.getcwd()
    os.chdir(file.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(file.name)
    finally:
        os.chdir(before)


def _sparse(file: Path) -> None:
    file.touch()
    os.truncate(file, TERABYTE)


KINDS: dict[str, Callable[[Path, Place], object]] = {
    "link to a file": lambda file, place: file.symlink_to(place.precious),
    "link to nothing": lambda file, place: file.symlink_to(place.precious.with_name("new")),
    "link to one's own": lambda file, place: file.symlink_to(place.own / file.name),
    "hard link": lambda file, place: os.link(place.precious, file),
    "hard link to one's own": lambda file, place: os.link(place.own / "log.sqlite", file),
    "pipe": lambda file, place: os.mkfifo(file),
    "socket": lambda file, place: _socket(file),
    "directory": lambda file, place: file.mkdir(),
    "device": lambda file, place: os.mknod(file, 0o600 | stat.S_IFCHR, os.makedev(1, 5)),
    "terabyte": lambda file, place: _sparse(file),
}


def _sql(*statements: str) -> Plant:
    def plant(place: Place) -> None:
        with closing(sqlite3.connect(place.store / "log.sqlite", isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement).fetchall()

    return plant


def _header(at: int, content: bytes) -> Plant:
    def plant(place: Place) -> None:
        with open(place.store / "log.sqlite", "r+b") as file:
            file.seek(at)
            file.write(content)

    return plant


def _journal(place: Place, name: Path | None) -> None:
    """A rollback journal that SQLite plays back; with a name it deletes that file then."""
    _sql("PRAGMA journal_mode = delete")(place)
    page = (place.store / "log.sqlite").read_bytes()[:16384]
    check = sum(page[at] for at in range(16384 - 200, 0, -200))
    pages = (place.store / "log.sqlite").stat().st_size // 16384
    magic = bytes.fromhex("d9d505f920a163d7")
    journal = magic + b"".join(number.to_bytes(4, "big") for number in (1, 0, pages, 512, 16384))
    journal = journal.ljust(512, b"\0") + b"\0\0\0\1" + page + check.to_bytes(4, "big")
    if name is not None:
        lock_page = 0x40000000 // 16384 + 1
        path = bytes(name)
        journal += lock_page.to_bytes(4, "big") + path
        journal += len(path).to_bytes(4, "big") + sum(path).to_bytes(4, "big") + magic
    (place.store / "log.sqlite-journal").write_bytes(journal)


def _wal(place: Place, *statements: str) -> None:
    """A write-ahead log that nobody copied, with what the statements did."""
    aside = place.store.with_name("aside")
    shutil.copytree(place.store, aside)
    with closing(sqlite3.connect(aside / "log.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal").fetchall()
        for statement in statements:
            connection.execute(statement).fetchall()
        for end in ("", "-wal", "-shm"):
            shutil.copy(aside / f"log.sqlite{end}", place.store)
    shutil.rmtree(aside)


def _tables(place: Place) -> None:
    with closing(sqlite3.connect(place.store / "log.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for number in range(20_000):
            connection.execute(f"CREATE TABLE t{number} (a)")
        connection.execute("COMMIT")


def _crowd(place: Place, under: str) -> None:
    folder = place.store / under
    for number in range(100_000):
        os.close(os.open(folder / f"{number:x}", os.O_CREAT | os.O_WRONLY))


def _names(place: Place) -> None:
    for name in (b"\xff\xfe", b"\x1b]0;owned\x07", b"a\nb", b"%s" % (b"x" * 200)):
        for folder in (place.store, place.store / "seeds"):
            os.close(os.open(os.fsencode(folder) + b"/" + name, os.O_CREAT | os.O_WRONLY))


def _itself(make: Callable[[Path, Place], object], place: Place) -> None:
    shutil.rmtree(place.store)
    make(place.store, place)


def _only_seeds(place: Place) -> None:
    for file in place.store.iterdir():
        if file.name not in ("seeds", "node.key"):
            file.unlink()


def _zeros(table: str, column: str, size: int) -> Plant:
    return _sql(f"UPDATE {table} SET {column} = zeroblob({size})")


def _value(key: str, value: str) -> Plant:
    return _sql(f"INSERT OR REPLACE INTO meta VALUES ('{key}', {value})")


def _sealed_value(key: str, value: bytes) -> Plant:
    """With a checksum that is right, which anybody can make."""
    return _value(key, f"x'{sealed('meta', key.encode(), value).hex()}'")


def _heads(seq: int) -> Plant:
    """All logs are said to have an end there, with checksums that are right."""

    def plant(place: Place) -> None:
        with closing(sqlite3.connect(place.store / "log.sqlite", isolation_level=None)) as connection:
            for number, author in connection.execute("SELECT number, author FROM authors").fetchall():
                _, content = head_columns(author, Head(seq, bytes(32)))
                connection.execute(
                    "UPDATE authors SET seq = ?, id = ? WHERE number = ?", (seq, content, number)
                )

    return plant


def plants() -> dict[str, Plant]:
    """Return everything that is planted."""
    found: dict[str, Plant] = {"nothing": lambda place: None}
    for kind, make in KINDS.items():
        for name in NAMES:
            found[f"{name}: {kind}"] = partial(_make, name, make)
    for kind in ("link to a file", "link to nothing", "pipe", "socket", "device", "terabyte"):
        found[f"itself: {kind}"] = partial(_itself, KINDS[kind])
    found[ITSELF] = partial(_itself, lambda file, place: file.symlink_to(place.own, target_is_directory=True))
    found["itself: link to itself"] = partial(_itself, lambda file, place: file.symlink_to(file))
    for table, columns in (
        (
            "segments",
            "i number, i author, i first, i count, i holes, i crc, i id, i previous, i signature, i bodies",
        ),
        ("authors", "i number, i author, i seq, i id"),
        ("meta", "i key, i value"),
        ("forks", "i author, i proof"),
        ("cursors", "i name, i author, i seq, i id, i crc"),
    ):
        found[f"endless view: {table}"] = _sql(
            f"DROP TABLE {table}", f"CREATE VIEW {table} AS {ENDLESS} SELECT {columns} FROM n"
        )
    found |= {
        "trigger": _sql(
            "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM meta WHERE value IN "
            f"({ENDLESS} SELECT i FROM n); END"
        ),
        "virtual table": _sql("CREATE VIRTUAL TABLE more USING rtree(a, b, c)"),
        "generated column": _sql("ALTER TABLE authors ADD COLUMN more AS (hex(zeroblob(100000000)))"),
        "index with code": _sql("CREATE INDEX more ON authors (hex(author))"),
        "20,000 tables": _tables,
        "definition of 50 MB": _sql(
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_master SET sql = sql || CAST(zeroblob(50000000) AS TEXT) WHERE name = 'authors'",
        ),
        "huge bodies": _zeros("segments", "bodies", 900_000_000),
        "huge signature": _zeros("segments", "signature", 900_000_000),
        "huge head": _zeros("authors", "id", 900_000_000),
        "huge choices": _value("interest", "zeroblob(900000000)"),
        "huge network": _value("network", "zeroblob(900000000)"),
        "choices of garbage": _value("interest", "x'dfffffffff'"),
        "choices of garbage, summed": _sealed_value("interest", b"\xdf\xff\xff\xff\xff"),
        "choices of many, summed": _sealed_value(
            "interest", msgpack.packb([1, 0, [], [], [bytes(32)] * 1_000_000])
        ),
        "a network of garbage, summed": _sealed_value("network", bytes(31)),
        "huge sequence": _sql("UPDATE authors SET seq = 9007199254740991"),
        "huge sequence, summed": _heads(MAX_SEQ),
        "sequence below none, summed": _heads(-1),
        "pages of 512": lambda place: (
            _make("log.sqlite", lambda file, _: None, place)
            or _sql("PRAGMA page_size = 512", "CREATE TABLE a (b)", "PRAGMA application_id = 1735159655")(
                place
            )
        ),
        "UTF-16": lambda place: (
            _make("log.sqlite", lambda file, _: None, place)
            or _sql("PRAGMA encoding = 'UTF-16'", "CREATE TABLE a (b)", "PRAGMA application_id = 1735159655")(
                place
            )
        ),
        "header: only readable": _header(18, b"\3\2"),
        "header: not readable": _header(18, b"\3\3"),
        "header: reserved bytes": _header(20, b"\xff"),
        "header: pages": _header(28, b"\xff\xff\xff\xfe"),
        "header: free pages": _header(32, b"\0\0\0\2\xff\xff\xff\xff"),
        "header: schema format": _header(44, b"\0\0\0\xff"),
        "header: cache": _header(48, b"\x80\0\0\0"),
        "header: vacuum": _header(52, b"\0\0\0\1" + b"\0\0\0\1"),
        "header: encoding": _header(56, b"\0\0\0\t"),
        "header: version": _header(60, b"\xff\xff\xff\xff"),
        "header: application": _header(68, b"\0\0\0\0"),
        "header: nothing": _header(0, bytes(100)),
        "journal that names a file": lambda place: _journal(place, place.precious),
        "journal": lambda place: _journal(place, None),
        "write-ahead log": lambda place: _wal(place, "UPDATE meta SET value = x'00'"),
        "write-ahead log with a view": lambda place: _wal(
            place, "DROP TABLE forks", f"CREATE VIEW forks AS {ENDLESS} SELECT i author, i proof FROM n"
        ),
        "100,000 files": partial(_crowd, under="."),
        "100,000 seeds": partial(_crowd, under="seeds"),
        "names": _names,
        "only secrets": _only_seeds,
        "no generation": lambda place: (place.store / "generation").unlink(),
        "database of garbage": lambda place: (place.store / "log.sqlite").write_bytes(os.urandom(1 << 20)),
    }
    return found


class World:
    """I am a directory with a store of one's own and a file, and a clone of which ``plant`` made the store."""

    def __init__(self, place: Path, plant: Plant) -> None:
        self.clone = place / "clone"
        self.own = place / "own"
        outside = place / "outside"
        for folder in (self.clone, outside):
            folder.mkdir(0o700)
        self.place = place
        precious = outside / "precious"
        precious.write_bytes(b"of the user")
        made = place / "made"
        for path, name in ((self.own, "default"), (made, "ann")):
            with closing(open_logs(path)) as logs:
                author = logs.writer(name).author
                logs.node_key()
                logs.process([Append(author, [encode_body(7, b"entry")] * 3)])
                logs.verify()
        shutil.copytree(made, self.clone / ".gossiplog")
        shutil.rmtree(made)
        plant(Place(self.clone / ".gossiplog", self.own, precious))
        os.sync()  # or the first command does what planting put off

    def outside(self) -> dict[str, object]:
        """What must not change: the file, and that nothing is beside it; the own store but for what is opened."""
        kept = [self.place, self.place / "outside", *(self.place / "outside").iterdir()]
        return {**_seen(kept), "own": self._entries()}

    def inside(self) -> dict[str, object]:
        """What must not change in the clone."""
        return _seen([self.clone, *self.clone.rglob("*")])

    def _entries(self) -> object:
        with closing(sqlite3.connect(f"file:{self.own / 'log.sqlite'}?immutable=1", uri=True)) as connection:
            rows = connection.execute("SELECT first, count, bodies FROM segments WHERE author = 1").fetchall()
        return rows, {file.name: file.read_bytes() for file in (self.own / "seeds").iterdir()}

    def run(self, *arguments: str) -> str:
        """Run a command in the clone; return what is wrong with how it ended."""
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "gossiplog.app.cli", *arguments],
            cwd=self.clone,
            env=environment(PYTHONDONTWRITEBYTECODE="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=_limit,
        )
        try:
            said, _ = process.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"took more than {time.monotonic() - begun:.0f} s"
        if process.returncode not in (0, 1, 3):
            name = signal.Signals(-process.returncode).name if process.returncode < 0 else process.returncode
            return f"ended with {name}"
        if b"Traceback" in said or b"internal error" in said:
            return f"said {said.splitlines()[-1]!r}"
        if any(byte < 32 and byte not in b"\n\t" for byte in said):
            return "steered the terminal"
        return ""


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))


def _seen(files: list[Path]) -> dict[str, object]:
    """What is to stay of files; how many names they have changes when one is removed that was planted."""
    found: dict[str, object] = {}
    for file in files:
        about = file.lstat()
        content = (
            file.read_bytes()
            if stat.S_ISREG(about.st_mode) and about.st_blocks < 1 << 18 and about.st_size < 1 << 27
            else b""
        )
        kept = about.st_mode, about.st_ino, about.st_uid, about.st_gid, about.st_size, about.st_mtime_ns
        found[str(file)] = kept, content
    return found


def attack(name: str, plant: Plant) -> list[str]:
    """Plant and run all commands; return what went wrong."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="gossiplog-audit-") as path:
        world = World(Path(path), plant)
        for run in (*SHOWING, *WRITING, *NAMED):
            before, inside = world.outside(), world.inside()
            trouble = [world.run(*run)]
            if world.outside() != before and not (run in NAMED and name == ITSELF):
                trouble.append("changed something outside")
            if run in SHOWING and world.inside() != inside:
                trouble.append("changed something inside")
            if (
                run in WRITING
                and world.inside() != inside
                and "itself" not in name
                and name != "only secrets"
            ):
                trouble.append("wrote to what nobody named")
            wrong += [f"{' '.join(run)} with {name}: {words}" for words in trouble if words]
    return wrong


def _attack(name: str) -> list[str]:
    return attack(name, plants()[name])


def run(seconds: float) -> Outcome:
    """Try everything, however long that takes: on two cores about three minutes, as many at once as there are cores."""
    names = list(plants())
    wrong: list[str] = []
    tried = 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(_attack, names):
            tried += 1
            wrong += found
            for words in found:
                print(f"    {words}", flush=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    if usage > MOST_BYTES:
        wrong.append("memory")
    figure = f"{tried} plants of {len(names)}, {len(wrong)} wrong, at most {usage / 1e6:.0f} MB"
    return Outcome(figure, not wrong)


CASES = (
    Case(
        "stores",
        "a cloned directory with a store in which something was planted, under 15 commands",
        f"nothing outside changes, nor what is only shown, {MOST_SECONDS} s of a core, {MOST_BYTES >> 20} MiB",
        run,
    ),
)

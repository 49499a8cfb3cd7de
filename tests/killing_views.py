"""``kill -9`` again and again while views are built, kept up, swapped and taken back: each entry counts once.

    python -m tests.killing_views [KILLS]

kills 200 processes, or as many as said, each before or after a statement or a change of a file in ``views``, looks at
what is left after each, and prints how many died at what.  The exit status is 1 when a view is not what its store is.

Responsible for: the lives of one store and its views after another, and comparing them with the store.
Must not know: how views are kept up.
Invariant: a child does nothing after its fatal point; who compares does so with what the store itself says.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from gossiplog import Store
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import read_entries
from gossiplog.store.folder import Folder
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Accept, Forget
from gossiplog.testing.network import VirtualThread
from tests.netcase import Author, World
from tests.viewcase import Birds, Counts

KILLS = 200
ALL = 1 << 30
MEMORY = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)
"""What a process has written is there after its end, synced or not; so nothing has to wait for a disk."""

LIVES = 10
"""Deaths of one store, before another one is begun."""

BIRDS = ("heron", "swan", "coot", "grebe")


class Points:
    """I count what happens to the files of views, and end the process at one of these points."""

    def __init__(self) -> None:
        self.passed = 0
        self.fatal = -1
        self.last = ""

    def come(self, what: str) -> None:
        self.passed += 1
        self.last = what
        if self.passed == self.fatal:
            os.write(1, f"died {what}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


points = Points()


class Watched(sqlite3.Connection):
    """A connection to the file of a view, of which each statement is two points."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return self._between(sql, lambda: sqlite3.Connection.execute(self, sql, *parameters))

    def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        return self._between(sql, lambda: sqlite3.Connection.executemany(self, sql, parameters))

    def close(self) -> None:
        self._between("close", lambda: sqlite3.Connection.close(self))

    def _between(self, what: str, call: Callable[[], Any]) -> Any:
        name = " ".join(what.split()[:3])
        points.come(f"before {name}")
        done = call()
        points.come(f"after {name}")
        return done


def watch() -> None:
    """Make points of all that is done to files of views."""
    connect = sqlite3.connect

    def connected(name: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
        if "/views/" in str(name) and "mode=rw" in str(name):
            options["factory"] = Watched
        return connect(name, *arguments, **options)

    sqlite3.connect = connected  # type: ignore[assignment]
    for method in ("create", "put", "remove", "make_folder"):
        setattr(Folder, method, _watched(getattr(Folder, method)))


def _watched(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Folder, name: str) -> Any:
        if "views" not in self.path + name:
            return method(self, name)
        points.come(f"before {method.__name__} of a file")
        done = method(self, name)
        points.come(f"after {method.__name__} of a file")
        return done

    return call


def views_of(version: int) -> tuple[Counts, Birds]:
    """The views of one version; every other one has them in causal order."""
    counts, birds = Counts(), Birds()
    counts.version = birds.version = version
    if version % 2 == 0:
        counts.order = birds.order = "causal"
    return counts, birds


def live(path: Path, seed: int, version: int, fatal: int) -> None:
    """Use a store and its views in every way, until so many points came."""
    points.fatal = fatal
    draw = random.Random(seed)
    world = World(seed)
    store = Store(lambda: open_logs(path), world.reactor, str(path), VirtualThread)
    local = set(store._core.held.local)

    def entries(count: int) -> list[Any]:
        return [{"bird": draw.choice(BIRDS)} if draw.random() < 0.98 else {"fish": 1} for _ in range(count)]

    if store.copied:
        world.result(store.recovered())
    writer = world.result(store.writer("w", encoding="json"))
    world.result(writer.append_many(entries(draw.choice((1, 20, 300, 5000)))))
    other = Author(draw.randrange(1, 255))
    if other.key not in store.clock:
        for segment in other.write(*[b'{"bird":"swan"}'] * draw.randrange(1, 50)):
            world.result(store._core.write(Accept(segment, other.head), lambda _: None))
    views = views_of(version)
    opened = [world.result(store.view(view)) for view in views]
    world.result(writer.append_many(entries(draw.choice((1, 300)))))
    for each in opened:
        world.result(each.ready())
        world.result(each.query("SELECT count(*) FROM _cursor"))
    others = sorted(set(store.clock) - local - {writer.author})
    if others and draw.random() < 0.6:
        world.result(store._core.set(Forget(draw.choice(others))))
    world.result(writer.append_many(entries(draw.choice((1, 5, 500)))))
    for each in opened:
        world.result(each.ready())
    world.result(store.close())


def check(path: Path, version: int) -> None:
    """Compare the files as they are with themselves, and the views, once they are opened, with the store."""
    for name, sql in (
        ("counts", "SELECT coalesce(sum(n), 0) FROM counts"),
        ("birds", "SELECT count(*) FROM seen"),
    ):
        for file in path.glob(f"views/{name}.*.sqlite"):
            with closing(sqlite3.connect(file)) as db:
                if db.execute("SELECT 1 FROM sqlite_master WHERE name = '_cursor'").fetchone():
                    [rows] = db.execute(sql).fetchone()
                    [read] = db.execute("SELECT coalesce(sum(seq), 0) FROM _cursor").fetchone()
                    [skipped] = db.execute("SELECT count(*) FROM _skipped").fetchone()
                    assert rows + skipped == read, (
                        f"{file}: {rows} rows and {skipped} skipped of {read} entries"
                    )
    expected: list[tuple[bytes, int, str]] = []
    with closing(open_logs(path)) as logs:
        for author in logs.clock:
            for segment in logs.segments(author, 1, ALL):
                for entry in read_entries(segment, encoding("json")):
                    if "bird" in entry.payload:
                        expected.append((author, entry.seq, entry.payload["bird"]))
    world = World()
    store = Store(lambda: open_logs(path), world.reactor, str(path), VirtualThread)
    counts, birds = views_of(version)
    counted, seen = world.result(store.view(counts)), world.result(store.view(birds))
    for each in (counted, seen):
        world.result(each.ready())
    found = dict(world.result(counted.query("SELECT bird, n FROM counts")))
    assert found == Counter(bird for _, _, bird in expected), (found, Counter(b for _, _, b in expected))
    rows = world.result(seen.query("SELECT author, seq, bird FROM seen ORDER BY author, seq"))
    assert rows == expected, f"{len(rows)} rows of {len(expected)} entries"
    world.result(store.close())
    names = sorted(file.name for file in path.glob("views/[!_]*.sqlite"))
    assert names == [f"birds.{version}.sqlite", f"counts.{version}.sqlite"], names


def child(work: Callable[[], None]) -> tuple[int, str]:
    """Do ``work`` in a process of its own; return how it ended and what it said."""
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(into, 1)
        try:
            work()
            os.write(1, f"passed {points.passed}\n".encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(into)
    with open(out) as said:
        told = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told


def kill(place: Path, kills: int, seed: int = 1) -> Counter[str]:
    """Kill so many processes; return at what they died."""
    watch()
    draw = random.Random(seed)
    died: Counter[str] = Counter()
    version = 1
    most = 500  # points of a life, more or less
    path = place / "store"
    while died.total() < kills:
        if died.total() % LIVES == 0:
            shutil.rmtree(path, ignore_errors=True)
            version = 1
        life = draw.randrange(1 << 30)
        if draw.random() < 0.3:
            version += 1
        fatal = 1 + int(most ** draw.random()) if draw.random() < 0.3 else draw.randrange(1, most)
        status, told = child(partial(live, path, life, version, fatal))
        if not status:
            most = int(told.split()[-1])
        if status == -signal.SIGKILL:
            died[told.removeprefix("died ").strip()] += 1
        elif status:
            raise AssertionError(f"the process failed by itself: {status}")
        if path.exists() and (path / "log.sqlite").exists():
            status, _ = child(partial(check, path, version))
            if status:
                raise AssertionError("a view is not what its store is")
    return died


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=MEMORY) as directory:
        found = kill(Path(directory), int(sys.argv[1]) if len(sys.argv) > 1 else KILLS)
    for what, times in sorted(found.items()):
        print(f"{times:4} {what}")
    print(
        f"{found.total()} processes were killed, at {len(found)} different points: each entry is in each view once"
    )

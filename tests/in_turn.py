"""A store in a bad place: small and large commits between errors of the disk, one after another.

    python -m tests.in_turn STORE SEED [MOUNT]

Responsible for: a life of a store drawn from a seed, in which there is no descriptor, no inode or no room for a while,
and another program tries to read the database; saying in JSON what was acknowledged and what is not as it must be.
Must not know: how a test judges what is left.
Invariant: all limits are taken back in the end; the process then ends without closing the store if the seed says so.

With ``MOUNT``, a file system of our own that has the store, there is too little room and there are too few inodes too.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from gossiplog.errors import GossiplogError, StoreFullError
from gossiplog.log.body import encode_body
from gossiplog.log.cursor import Cursor
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append, Appended, SetCursor

STEPS = 30
LARGE_BYTES = 150_000
SPARE_BYTES = 48 << 10
MOUNTED = "size=64m,nr_inodes=400"
READ = "SELECT count(*) FROM authors"


class Reader:
    """I am the other program."""

    def __init__(self, database: Path) -> None:
        code = (
            "import sqlite3, sys\n"
            "c = sqlite3.connect(sys.argv[1], timeout=0)\n"
            "for line in sys.stdin:\n"
            f"    try: print(c.execute({READ!r}).fetchone() and 'read', flush=True)\n"
            "    except sqlite3.Error: print('refused', flush=True)\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def reads(self) -> bool:
        """Try, and tell whether it was let in."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print("now", file=self.process.stdin, flush=True)
        return self.process.stdout.readline() == "read\n"

    def end(self) -> None:
        """Go away."""
        self.process.communicate()


class Life:
    """I live once, and keep what is not as it must be in ``wrong``."""

    def __init__(self, store: Path, seed: int, mount: Path | None) -> None:
        self.random = Random(seed)
        self.mount = mount
        self.seq = 0
        self.errors = 0
        self.wrong: list[str] = []
        self._hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._eaten: list[Path] = []
        self._limits = [self._descriptors, *([self._inodes, self._room] if mount is not None else [])]
        self._limited: Callable[[bool], None] | None = None
        self.logs = open_logs(store)
        self.author = self.logs.writer("ann").author
        self.reader = Reader(store / "log.sqlite")

    def live(self) -> None:
        """Do all steps."""
        kinds = ("small", "large", "many", "limit", "free", "reader", "tidy")
        for kind in self.random.choices(kinds, (4, 6, 1, 4, 2, 1, 1), k=STEPS):
            match kind:
                case "small" | "large":
                    self._append(LARGE_BYTES if kind == "large" else self.random.randrange(100))
                case "many":
                    for _ in range(33):  # back to the write-ahead log
                        self._append(10)
                case "limit" if self._limited is None:
                    self._limited = self.random.choice(self._limits)
                    self._limited(True)
                case "free":
                    self._free()
                case "reader":
                    if self.reader.reads():
                        self.wrong.append("another program read the database of an open store")
                case "tidy":
                    self._tidy()
        self._free()
        self._append(10)

    def _free(self) -> None:
        if self._limited is not None:
            self._limited(False)
            self._limited = None

    def _append(self, size: int) -> None:
        payload = b"%d " % (self.seq + 1) + bytes(size)
        request = Append(self.author, [encode_body(1, payload)])
        try:
            cursor = Cursor({self.author: (self.seq + 1, bytes(8))})
            [done, _] = self.logs.process([request, SetCursor("me", cursor)]).results
        except GossiplogError as error:
            self.errors += 1
            if type(error) is not StoreFullError or self._limited is None:
                self.wrong.append(f"{'in need' if self._limited else 'at ease'}: {error!r}")
            return
        if done != Appended(self.seq + 1, self.seq + 1):
            self.wrong.append(f"entry {self.seq + 1} was acknowledged as {done}")
        self.seq += 1

    def _tidy(self) -> None:
        try:
            while self.logs.merge_some(1 << 18) or self.logs.reclaim():
                pass
        except GossiplogError as error:
            if self._limited is None:
                self.wrong.append(f"tidying at ease: {error!r}")

    # -- what there is too little of

    def _descriptors(self, on: bool) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3 if on else min(1000, self._hard), self._hard))

    def _inodes(self, on: bool) -> None:
        """Take each that SQLite gives back by removing a journal, too: others are quick."""
        assert self.mount is not None
        while on:
            file = self.mount / f"eaten{len(self._eaten)}"
            try:
                os.close(os.open(file, os.O_CREAT | os.O_WRONLY))
            except OSError:
                return
            self._eaten.append(file)
        while self._eaten:
            self._eaten.pop().unlink()

    def _room(self, on: bool) -> None:
        assert self.mount is not None
        found = os.statvfs(self.mount)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        size = f"size={used + SPARE_BYTES}" if on else MOUNTED
        subprocess.run(["mount", "-o", f"remount,{size}", self.mount], check=True)


def main(store: str, seed: str, *mount: str) -> None:
    """Live, and say what came of it."""
    life = Life(Path(store), int(seed), Path(mount[0]) if mount else None)
    life.live()
    life.reader.end()
    print(json.dumps({"seq": life.seq, "errors": life.errors, "wrong": life.wrong}), flush=True)
    if life.random.random() < 0.5:
        os.kill(os.getpid(), 9)
    life.logs.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

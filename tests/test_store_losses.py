"""Rings 5 and 8: acknowledged own entries that a damaged write-ahead log loses; SQLite drops them without a word."""

from __future__ import annotations

import os
import random
import signal
import sys
from contextlib import closing
from pathlib import Path

from gossiplog.errors import StoreCopiedError, StoreError
from gossiplog.log.body import encode_bodies
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append
from tests.processes import ProcessTestCase

APPEND = """
import sys
from gossiplog.log.body import encode_bodies
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append
logs = open_logs(sys.argv[1])
for number in range(40):
    author = logs.writer(("ann", "diary")[number % 3 % 2]).author
    [done] = logs.process([Append(author, encode_bodies(1, [b"x" * (number % 7 * 100)]))]).results
    print(author.hex(), done.last, flush=True)
sys.stdin.read()
"""

FLIPS = 40


class FlippedTests(ProcessTestCase):
    """One byte of a write-ahead log is another after ``kill -9``."""

    def files(self, path: Path) -> dict[Path, tuple[bytes, dict[str, bytes]]]:
        """Return what is in the files of a store and at them, to be put back into the very same files."""
        names = [file for file in path.iterdir() if file.is_file()]
        return {file: (file.read_bytes(), _marks(file)) for file in names}

    def put_back(self, path: Path, files: dict[Path, tuple[bytes, dict[str, bytes]]]) -> None:
        for file in path.iterdir():
            if file.is_file() and file not in files:
                file.unlink()
        for file, (content, marks) in files.items():
            file.write_bytes(content)
            for name, value in marks.items():
                os.setxattr(file, name, value)

    def test_what_was_lost_is_noticed(self) -> None:
        """The store opens as one that was put back: nothing is signed a second time, and ``verify`` says why."""
        path = self.place / "ann"
        process = self.start(sys.executable, "-c", APPEND, path)
        acknowledged = {}
        for _ in range(40):
            found = process.wait_for(r"^(\w+) (\d+)$")
            acknowledged[bytes.fromhex(found[1])] = int(found[2])
        self.assertEqual(process.kill(), -signal.SIGKILL)
        files = self.files(path)
        log = path / "log.sqlite-wal"
        draw = random.Random(1)
        lost = 0
        for _ in range(FLIPS):
            self.put_back(path, files)
            content = bytearray(files[log][0])
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            log.write_bytes(content)
            try:
                logs = open_logs(path, init=False)
            except StoreError:
                continue  # that is noticed too
            with closing(logs):
                if all(logs.clock.seq(author) >= seq for author, seq in acknowledged.items()):
                    continue
                lost += 1
                self.assertTrue(logs.copied)
                for author in logs.local:
                    [result] = logs.process([Append(author, encode_bodies(1, [b"x"]))]).results
                    self.assertIsInstance(result, StoreCopiedError)
        self.assertGreater(lost, FLIPS // 3)
        self.put_back(path, files)
        content = bytearray(files[log][0])
        content[len(content) // 2] ^= 1
        log.write_bytes(content)
        self.assertRegex(
            self.run_gossiplog("verify", "--store", "ann"), r"copied: its database lacks the own entry \d+"
        )


def _marks(file: Path) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file)}
    except OSError:  # this file system keeps none
        return {}

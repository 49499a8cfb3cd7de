"""Rings 5 and 8: acknowledged own entries that a damaged write-ahead log loses; SQLite drops them without a word."""

from __future__ import annotations

import os
import random
import signal
import sys
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import StoreCopiedError, StoreError
from gossiplog.log.body import encode_bodies
from gossiplog.log.keys import format_author
from gossiplog.log.segment import verify
from gossiplog.store.copy_guard.generation import GenerationFile
from gossiplog.store.copy_guard.guard import CopyGuard
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept, Accepted, Append, Appended
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
        """Return what is in the files of a store and at them, to be put back into the very same files; that they were
        is not to be noticed."""
        self.patch(GenerationFile, "_is_itself", lambda *_: True)
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
        content = bytearray(files[log][0])
        content[len(content) // 2] ^= 1
        log.write_bytes(content)
        self.assertRegex(
            self.run_gossiplog("verify", "--store", "ann"), r"copied: its database lacks the own entry \d+"
        )
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


class SeveralWritersTests(SynchronousTestCase):
    """A store knows of each of its writers how far it signed, not only of the last one that did."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        with closing(open_logs(self.path)) as logs:
            self.ann, self.diary = logs.writer("ann").author, logs.writer("diary").author
            for _ in range(3):
                self.append(logs, self.ann)
        before = (self.path / "log.sqlite").read_bytes()
        with closing(open_logs(self.path)) as logs:
            self.append(logs, self.ann, self.ann, self.diary, self.diary)
            segments = [logs.segments(self.ann, 4, 1 << 20), logs.segments(self.diary, 1, 1 << 20)]
            self.lost = {found[0].author: [entry for entry in found if entry.last > 3] for found in segments}
            self.lost[self.diary] = segments[1]
        (self.path / "log.sqlite").write_bytes(before)

    def append(self, logs: Logs, *authors: bytes) -> None:
        for author in authors:
            [done] = logs.process([Append(author, encode_bodies(1, [b"x"]))]).results
            self.assertIsInstance(done, Appended)

    def bring_back(self, logs: Logs, author: bytes, count: int) -> None:
        for segment in self.lost[author][:count]:
            head = verify(segment)
            self.assertEqual(logs.process([Accept(segment, head)]).results, [Accepted(head)])

    def test_all_of_them_have_to_be_back(self) -> None:
        """However often the store is opened meanwhile, and whoever signed last."""
        with closing(open_logs(self.path)) as logs:
            self.assertTrue(logs.copied)
            self.bring_back(logs, self.diary, 2)
            self.assertIn(f"entry 5 of {format_author(self.ann)}", self.missing(logs))
            self.bring_back(logs, self.ann, 1)
            node = logs.node_key()
        with closing(open_logs(self.path)) as logs:
            self.assertTrue(logs.copied)
            self.assertEqual(logs.node_key(), node)  # it is known, and no other copy
            self.assertIn("entry 5", self.missing(logs))
            self.bring_back(logs, self.ann, 2)
            logs.require_all_back()
            logs.recovered()
            self.append(logs, self.ann, self.diary)
        with closing(open_logs(self.path)) as logs:
            self.assertEqual((logs.copied, logs.clock.seq(self.ann), logs.clock.seq(self.diary)), ("", 6, 3))

    def test_what_is_given_up_is_not_asked_for_again(self) -> None:
        with closing(open_logs(self.path)) as logs:
            logs.recovered()
            self.append(logs, self.diary)
        with closing(open_logs(self.path)) as logs:
            self.assertEqual((logs.copied, logs.clock.seq(self.ann), logs.clock.seq(self.diary)), ("", 3, 1))
            logs.require_all_back()

    def test_a_crash_while_it_is_marked(self) -> None:
        """What was signed is known still: the new file beside the database has it from the first."""

        def crash(self: CopyGuard, authors: object) -> None:
            raise KeyboardInterrupt

        with patch.object(CopyGuard, "_trust", crash):
            self.assertRaises(KeyboardInterrupt, open_logs, self.path)
        with closing(open_logs(self.path)) as logs:
            self.assertIn("entry 5", self.missing(logs))

    def test_a_writer_has_its_place_before_it_signs(self) -> None:
        """On a disk that is full by then, nothing has to be added to the file."""
        file = self.path / "generation"
        with closing(open_logs(self.path)) as logs:
            logs.recovered()
            logs.writer("new")
            size = file.stat().st_size
            self.append(logs, logs.writer("new").author)
            self.assertEqual(file.stat().st_size, size)

    def missing(self, logs: Logs) -> str:
        with self.assertRaises(StoreCopiedError) as caught:
            logs.require_all_back()
        return str(caught.exception)


def _marks(file: Path) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file)}
    except OSError:  # this file system keeps none
        return {}

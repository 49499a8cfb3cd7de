"""Every bit of the first page: flipped it is harmless, or named as damage and mended, and never another program."""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
from argparse import Namespace
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.commands.verify import verify
from gossiplog.errors import StoreError, StoreFormatError
from gossiplog.store.logs import open_logs
from gossiplog.store.repair.salvage import salvage
from gossiplog.store.requests import Accept
from gossiplog.store.sqlite.header import HEADER_BYTES, PAGE_BYTES, SCHEMA_VERSION, mark
from gossiplog.testing.chain import Chain

ALL_BITS = "GOSSIPLOG_ALL_BITS"
"""In the environment: flip every bit of the page (in memory a quarter of an hour); ``7``: every seventh."""


class FlipTests(SynchronousTestCase):
    """A closed store whose first page is flipped, and looked at as people do."""

    def setUp(self) -> None:
        self.good = Path(self.mktemp()).absolute()
        self.chain = Chain(1)
        with closing(open_logs(self.good)) as logs:
            logs.process([Accept(*self.chain.put(b"one", b"two"))])
        self.content = (self.good / "log.sqlite").read_bytes()

    def command(self, path: Path, *, repair: bool = False) -> tuple[int, str]:
        said = io.StringIO()
        arguments = Namespace(store=str(path), repair=repair, donor=None, read_only=False, wait=0)
        with redirect_stdout(said), redirect_stderr(said):
            try:
                status = verify(arguments)
            except StoreError as error:
                return 1, str(error)
        return status, said.getvalue()

    def flip(self, *bits: int) -> bool:
        """Flip bits of a copy and look at it; return whether there was anything to mend."""
        path = Path(self.mktemp()).absolute()
        shutil.copytree(self.good, path)
        content = bytearray(self.content)
        for bit in bits:
            content[bit // 8] ^= 1 << bit % 8
        (path / "log.sqlite").write_bytes(content)
        about = f"byte {bits[0] // 8} bit {bits[0] % 8}"
        status, said = self.command(path)
        if status:
            self.assertEqual(status, 3, f"{about}: {said}")
            self.assertIn("damaged", said, about)
            self.assertIn("--repair", said, about)
            repaired, said = self.command(path, repair=True)
            self.assertEqual(repaired, 0, f"{about}: {said}")
            self.assertEqual(self.command(path)[0], 0, about)
        with closing(open_logs(path)) as logs:
            self.assertEqual(logs.segments(self.chain.author, 1, 1 << 20), self.chain.segments, about)
            chain = Chain(2)
            logs.process([Accept(*chain.put(bytes(40_000)))])
            logs._backend.commit([])
            self.assertTrue(logs.verify().ok, about)
        shutil.rmtree(path)
        return bool(status)

    def test_every_bit_of_the_header(self) -> None:
        """Those of numbers that nothing depends on are harmless."""
        harmless = {bit // 8 for bit in range(8 * HEADER_BYTES) if not self.flip(bit)}
        counters = {*range(24, 28), *range(92, 96)}  # which of them differs is as good as what it says
        self.assertLessEqual(harmless, {*counters, *range(40, 44), *range(48, 52), *range(96, 100)})

    def test_bits_of_the_page(self) -> None:
        """All that is used, and some that are not: of the pointers every one, of the definitions a sample."""
        draw = random.Random(1)
        used = [place for place in range(HEADER_BYTES, PAGE_BYTES) if self.content[place]]
        bits = [*range(8 * HEADER_BYTES, 8 * HEADER_BYTES + 8 * 26, 3)]
        bits += [8 * place + draw.randrange(8) for place in draw.sample(used, 60)]
        bits += [draw.randrange(8 * HEADER_BYTES, 8 * PAGE_BYTES) for _ in range(10)]
        if os.environ.get(ALL_BITS):
            bits = [*range(8 * HEADER_BYTES, 8 * PAGE_BYTES, int(os.environ[ALL_BITS]))]
        mended = sum(self.flip(bit) for bit in bits)
        self.assertGreater(mended, 50)

    def test_several_bits(self) -> None:
        """As when a whole sector of the header goes."""
        draw = random.Random(2)
        for count in (2, 5, 40, 200):
            self.flip(*draw.sample(range(8 * HEADER_BYTES), count))

    def test_the_first_page_is_the_same_in_every_file(self) -> None:
        """Which is how it can be mended; also after VACUUM, which others may do."""
        database = self.good / "log.sqlite"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.assertEqual(
            database.read_bytes()[HEADER_BYTES:PAGE_BYTES], self.content[HEADER_BYTES:PAGE_BYTES]
        )
        with closing(open_logs(self.good)) as logs:
            self.assertTrue(logs.verify().ok)

    def marked(self, number: int) -> Path:
        path = Path(self.mktemp()).absolute()
        shutil.copytree(self.good, path)
        with closing(sqlite3.connect(path / "log.sqlite")) as connection:
            connection.execute(f"PRAGMA user_version = {number}")
        return path

    def test_versions(self) -> None:
        """Another one is another one, and nothing is changed; what is no version's mark is damage."""
        marks = {version: mark(version) for version in (0, SCHEMA_VERSION + 1, SCHEMA_VERSION ^ 1, 100)}
        for version, number in {**marks, 1: 1, 2: 2, 3: 3}.items():
            path = self.marked(number)
            before = (path / "log.sqlite").read_bytes()
            with self.assertRaises(StoreFormatError) as caught:
                open_logs(path)
            self.assertIn(f"has format {version};", str(caught.exception))
            self.assertRaises(StoreFormatError, salvage, path)
            self.assertEqual((path / "log.sqlite").read_bytes(), before)
        for number in (0, 4, mark(SCHEMA_VERSION) + 1):
            with closing(open_logs(self.marked(number))) as logs:
                self.assertIn("in its header the version is not what it was", logs.damages[0].reason)

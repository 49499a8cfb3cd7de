"""Every page of a small store lost, one at a time: everything outside of it is read, and a repair ends in order."""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.commands.log import log
from gossiplog.app.commands.verify import verify
from gossiplog.errors import (
    StoreClosedError,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
)
from gossiplog.log.cursor import Cursor
from gossiplog.log.segment import drop_payloads, entries
from gossiplog.log.segment import verify as verify_segment
from gossiplog.store.folder import Folder
from gossiplog.store.interface import Cut, PutFork
from gossiplog.store.logs import open_logs
from gossiplog.store.repair.salvage import salvage
from gossiplog.store.requests import Accept, Append, SetCursor, SetMeta
from gossiplog.store.sqlite import transaction
from gossiplog.store.sqlite.carved import Carved
from gossiplog.store.sqlite.pages import Pages
from gossiplog.testing.chain import Chain

PAGE = 16384
ALL = 1 << 30
MORE = "GOSSIPLOG_DAMAGED_AUTHORS"
"""In the environment: so many more authors (2,000 are 60 pages and some minutes)."""

ME = Cursor({bytes([7]) * 32: (3, bytes(8))})
LARGE = Cursor({number.to_bytes(32, "big"): (1, bytes(8)) for number in range(1, 900)})
"""In three pages."""

Entries = set[tuple[bytes, int, bytes]]


class PageTestCase(SynchronousTestCase):
    """A closed store with something in each table: two of our own logs, others, holes, a proof, cursors, values."""

    def setUp(self) -> None:
        self.good = Path(self.mktemp()).absolute()
        self.copy = Path(self.mktemp()).absolute()
        self.patch(transaction, "_ROWS_AHEAD", 1)  # heads are in their table
        chains = [Chain(number) for number in range(1, 4)]
        many = [Chain(number) for number in range(20, 60 + int(os.environ.get(MORE, "0")))]
        forked, holed = Chain(10), Chain(11)
        with closing(open_logs(self.good)) as logs:
            self.own = {logs.writer(name).author for name in ("ann", "bob")}
            logs.node_key()
            for number in range(4):
                logs.process([Append(author, [b"%d" % number, bytes(6_000)]) for author in self.own])
                logs.process([Accept(*chain.put(b"%d" % number, bytes(9_000))) for chain in chains])
            logs.process([Accept(*chain.put(b"short")) for chain in many])
            logs.process([Accept(*chain.put(b"again")) for chain in many[::3]])
            segment, _ = holed.put(b"lost", b"kept")
            dropped = drop_payloads(segment, [1])
            logs.process([Accept(dropped, verify_segment(dropped)), Accept(*forked.put(b"x"))])
            logs.process([Accept(*chains[0].put(bytes(100_000))), SetMeta("about", b"a value of the store")])
            logs.process([SetCursor("me", ME), SetCursor("large", LARGE)])
            logs._backend.commit([PutFork(forked.fork())])
            self.clock = logs.clock.copy()
        self.content = (self.good / "log.sqlite").read_bytes()
        self.whole, damages = self.read(self.good)
        self.assertEqual(damages, 0)
        self.on_page = self.pages()

    def pages(self) -> dict[int, set[tuple[bytes, int]]]:
        """Which entries have something in each page."""
        found = defaultdict(set)
        folder = Folder(str(self.good))
        self.addCleanup(folder.close)
        with closing(Pages(folder)) as pages:
            for author, rows in Carved(pages, "").rows.items():
                for row in rows:
                    number = row.page
                    while number:
                        found[number].update((author, seq) for seq in range(row.first, row.last + 1))
                        cell = pages.cell(row.page, row.offset)
                        number = (
                            cell.rest if number == row.page else int.from_bytes(pages.read(number)[:4], "big")
                        )
        return found

    def read(self, path: Path) -> tuple[Entries, int]:
        """All that can be read, as readers do; and how many damages were said."""
        found: Entries = set()
        with closing(open_logs(path, init=False, read_only=True)) as logs:
            damages = len(logs.damages)
            for author, head in logs.clock.items():
                seq = 1
                while seq <= head.seq:
                    segments, damage = logs.around(author, seq, 10_000)
                    damages += damage is not None
                    seq = seq if damage is None else damage.last + 1
                    for segment in segments:
                        found.update((author, at, entry_id) for at, entry_id, _ in entries(segment))
                        seq = segment.last + 1
        return found, damages

    def command(self, verb: str, *, repair: bool = False) -> tuple[int, str]:
        said = io.StringIO()
        arguments = Namespace(
            store=str(self.copy),
            repair=repair,
            donor=None,
            wait=0,
            json=True,
            follow=False,
            author=None,
            sort=None,
            newest=None,
            reverse=False,
            since=None,
            until=None,
            where=[],
        )
        with redirect_stdout(said), redirect_stderr(said):
            try:
                status = {"verify": verify, "log": log}[verb](arguments)
            except StoreError as error:
                return 1, str(error)
        return status, said.getvalue()

    def look(self, content: bytes, *pages: int, about: object) -> None:
        """Whatever else is damaged: what is outside of ``pages`` is read, and a repair ends in order."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.good, self.copy)
        (self.copy / "log.sqlite").write_bytes(content)
        hit = set().union(*(self.on_page.get(page, ()) for page in pages))
        lost = {entry for entry in self.whole if entry[:2] in hit}
        found, damages = self.read(self.copy)
        self.assertLessEqual(found, self.whole, about)
        self.assertLessEqual(self.whole - lost, found, about)
        status, said = self.command("verify")
        if status == 0:
            self.assertEqual((found, damages), (self.whole, 0), about)
            self.assertIn("all is well", said)
            return
        self.assertEqual(status, 3, (about, said))
        self.assertIn("--repair", said, about)
        if damages:
            status, said = self.command("log")
            self.assertEqual(status, 3, (about, said))
            self.assertIn("gossiplog verify --repair", said, about)
        status, said = self.command("verify", repair=True)
        in_order = status == 0
        self.assertTrue(in_order or any(author in self.own for author, _ in hit), (about, said))
        self.assertEqual(self.command("verify")[0], status, about)
        found, _ = self.read(self.copy)
        self.assertLessEqual(found, self.whole, about)
        cut = {
            (author, seq) for author, seq, _ in self.whole if any(a == author and s <= seq for a, s in hit)
        }
        kept = {entry for entry in self.whole if entry[:2] not in cut or entry[0] in self.own}
        self.assertLessEqual(kept - lost, found, about)
        with closing(open_logs(self.copy, init=False)) as logs:
            for author in self.own:
                [result] = logs.process([Append(author, [b"twice?"])]).results
                signed = getattr(result, "first", None)
                self.assertTrue(signed is None or signed == self.clock.seq(author) + 1, (about, result))

    def each(self) -> Iterator[tuple[int, int]]:
        for page in range(1, len(self.content) // PAGE + 1):
            yield page, (page - 1) * PAGE

    def filled(self, at: int, filling: bytes) -> bytes:
        return self.content[:at] + filling + self.content[at + len(filling) :]


class PageTests(PageTestCase):
    """Whatever happens to one page, or two."""

    def test_zeroed(self) -> None:
        for page, at in self.each():
            self.look(self.filled(at, bytes(PAGE)), page, about=f"page {page}")

    def test_filled_with_random_bytes(self) -> None:
        draw = random.Random(1)
        for page, at in self.each():
            self.look(self.filled(at, draw.randbytes(PAGE)), page, about=f"page {page}")

    def test_exchanged_with_another(self) -> None:
        draw = random.Random(2)
        for page, at in self.each():
            other = draw.choice([number for number, _ in self.each() if number != page])
            there = (other - 1) * PAGE
            content = bytearray(self.filled(at, self.content[there : there + PAGE]))
            content[there : there + PAGE] = self.content[at : at + PAGE]
            self.look(bytes(content), page, other, about=f"pages {page} and {other}")

    def test_indices_exchanged(self) -> None:
        """Each is one, and knows nothing of what it is asked: nothing is found, and nothing is wrong."""
        for page, other in ((4, 7), (10, 11), (4, 10), (8, 9)):
            content = bytearray(
                self.filled((page - 1) * PAGE, self.content[(other - 1) * PAGE : other * PAGE])
            )
            content[(other - 1) * PAGE : other * PAGE] = self.content[(page - 1) * PAGE : page * PAGE]
            self.look(bytes(content), page, other, about=f"pages {page} and {other}")

    def test_in_the_place_of_another(self) -> None:
        """A write that went astray."""
        draw = random.Random(3)
        for page, at in self.each():
            other = draw.choice([number for number, _ in self.each() if number != page])
            there = (other - 1) * PAGE
            self.look(
                self.filled(at, self.content[there : there + PAGE]), page, about=f"page {page} is {other}"
            )

    def test_without_its_header(self) -> None:
        """The first page behind an intact header, and the header before an intact page."""
        self.look(self.filled(100, bytes(PAGE - 100)), 1, about="behind the header")
        self.look(self.filled(0, bytes(100)), 1, about="the header")

    def test_a_bit_of_each_page(self) -> None:
        draw = random.Random(4)
        for page, at in self.each():
            place = at + draw.randrange(PAGE)
            bit = bytes([self.content[place] ^ 1 << draw.randrange(8)])
            self.look(self.filled(place, bit), page, about=f"a bit at {place}")

    def test_a_sector_of_each_page(self) -> None:
        draw = random.Random(5)
        for page, at in self.each():
            place = at + 512 * draw.randrange(PAGE // 512)
            self.look(self.filled(place, bytes(512)), page, about=f"a sector at {place}")


class ReadOnlyTests(PageTestCase):
    """A store that SQLite cannot open."""

    def setUp(self) -> None:
        super().setUp()
        shutil.copytree(self.good, self.copy)
        self.database = self.copy / "log.sqlite"
        root = 3  # of the table of authors
        self.database.write_bytes(self.filled((root - 1) * PAGE, bytes(PAGE)))

    def test_nothing_is_written(self) -> None:
        """Every write says why, and what to do; everything else is as in a store for reading."""
        before = {file.name: file.read_bytes() for file in self.copy.iterdir() if file.is_file()}
        with closing(open_logs(self.copy, init=False)) as logs:
            [damage] = logs.damages
            self.assertEqual(damage[:3], (None, 0, 0))
            [author, *_] = self.own
            for requests in (
                [Append(author, [b"no"])],
                [SetCursor("me", Cursor())],
                [Accept(*Chain(90).put(b"no"))],
            ):
                with self.assertRaises(StoreDamagedError) as caught:
                    logs.process(requests)
                self.assertIn("gossiplog verify --repair", str(caught.exception))
            self.assertRaises(StoreDamagedError, logs.writer, "new")
            self.assertEqual((logs.cursor("me"), logs.cursor("large")), (ME, LARGE))
            self.assertEqual(logs.cursor_names(), ["large", "me"])
            self.assertEqual(logs.meta("about"), b"a value of the store")
            self.assertEqual((len(logs.forks), sum(logs.holes().values())), (1, 1))
            for forked in logs.forks:
                logs.fork_proof(forked)
            self.assertEqual(logs.weighing.weights().keys(), {*logs.clock, *logs.forks})
            self.assertEqual(len(logs.holed_authors()), 1)
            self.assertEqual([row.holes for row in logs.holed_after(None, 9)], [1])
            self.assertFalse(logs.merge_some(ALL) or logs.reclaim())
            self.assertNotEqual(logs.repair().left, [])
        self.assertRaises(StoreClosedError, logs.meta, "about")
        after = {file.name: file.read_bytes() for file in self.copy.iterdir() if file.is_file()}
        self.assertEqual({**after, "lock": b""}, {**before, "lock": b""})

    def test_it_is_mine_alone(self) -> None:
        with closing(open_logs(self.copy, init=False)):
            self.assertRaises(StoreLockedError, open_logs, self.copy, init=False)
        salvage(self.copy)
        self.assertEqual(self.read(self.copy), (self.whole, 0))

    def test_a_value_that_was_changed(self) -> None:
        """A value is the one that was written, or none."""
        content = bytearray(self.content)
        content[content.index(b"a value of the store")] ^= 1
        self.database.write_bytes(content)
        with closing(open_logs(self.copy, init=False)) as logs:
            self.assertRaises(StoreDamagedError, logs.meta, "about")
            self.assertEqual(logs.cursor("large"), LARGE)
            self.assertFalse(logs.verify().sound)


class LogTests(SynchronousTestCase):
    """Pages whose newest state is not in the file."""

    def test_the_newest_of_each_page(self) -> None:
        """A store that was killed: what is in its write-ahead log is read, up to where that was cut off."""
        path, killed = (Path(self.mktemp()).absolute() for _ in range(2))
        chain = Chain(1)
        with closing(open_logs(path)) as logs:
            for number in range(5):
                logs.process([Accept(*chain.put(b"%d" % number))])
            shutil.copytree(path, killed)
        wal = (killed / "log.sqlite-wal").read_bytes()
        content = (killed / "log.sqlite").read_bytes()
        held = []
        for size in (*range(0, len(wal), 4096), len(wal)):
            (killed / "log.sqlite-wal").write_bytes(wal[:size])
            with closing(open_logs(killed)) as logs:
                there = logs.clock.seq(chain.author)
            (killed / "log.sqlite-wal").write_bytes(wal[:size])
            (killed / "log.sqlite").write_bytes(content)
            folder = Folder(str(killed))
            with closing(folder), closing(Pages(folder)) as pages:
                held.append(Carved(pages, "").end(chain.author))
            self.assertEqual(held[-1], there, size)
        self.assertEqual(sorted(set(held)), [0, 1, 2, 3, 4, 5])

    def test_what_is_behind_a_damaged_frame(self) -> None:
        """As SQLite has it: the log ends there, and frames of a log before it are none of it."""
        path, killed = (Path(self.mktemp()).absolute() for _ in range(2))
        chain = Chain(1)
        with closing(open_logs(path)) as logs:
            for number in range(30):
                logs.process([Accept(*chain.put(b"%d" % number))])
            logs._backend.checkpoint()
            for number in range(5):
                logs.process([Accept(*chain.put(b"%d" % number))])
            shutil.copytree(path, killed)
        wal = bytearray((killed / "log.sqlite-wal").read_bytes())
        content = (killed / "log.sqlite").read_bytes()
        held = set()
        for frame in range(8):
            bad = bytearray(wal)
            bad[32 + frame * (24 + PAGE) + 24 + 5_000] ^= 1
            found = []
            for kind in range(2):
                (killed / "log.sqlite-wal").write_bytes(bad)
                (killed / "log.sqlite").write_bytes(content)
                if kind:
                    with closing(open_logs(killed)) as logs:
                        found.append(logs.clock.seq(chain.author))
                else:
                    folder = Folder(str(killed))
                    with closing(folder), closing(Pages(folder)) as pages:
                        found.append(Carved(pages, "").end(chain.author))
            self.assertEqual(*found, frame)
            held.add(found[0])
        self.assertGreater(len(held), 2)

    def test_what_was_removed_does_not_come_back(self) -> None:
        """Free pages have it still."""
        path, killed = (Path(self.mktemp()).absolute() for _ in range(2))
        chain = Chain(1)
        with closing(open_logs(path)) as logs:
            for number in range(30):
                logs.process([Accept(*chain.put(b"%d" % number, bytes(9_000)))])
            head = verify_segment(chain.segments[9])
            logs._backend.commit([Cut(chain.author, chain.segments[9].first, head)])
            shutil.copytree(path, killed)
        folder = Folder(str(killed))
        with closing(folder), closing(Pages(folder)) as pages:
            self.assertGreater(len(pages.free()), 5)
            self.assertEqual(Carved(pages, "").end(chain.author), head.seq)

    def test_a_row_that_says_too_much(self) -> None:
        """It hides none of those whose entries it claims."""
        path = Path(self.mktemp()).absolute()
        chain = Chain(1)
        with closing(open_logs(path)) as logs:
            for number in range(5):
                logs.process([Accept(*chain.put(b"%d" % number, b"and more"))])
        with closing(sqlite3.connect(path / "log.sqlite")) as connection, connection:
            connection.execute("UPDATE segments SET count = 9 WHERE first = 3")
        folder = Folder(str(path))
        with closing(folder), closing(Pages(folder)) as pages:
            carved = Carved(pages, "")
            self.assertEqual(carved.starts(chain.author, 1, 9), [1, 5, 7, 9])
            self.assertEqual(carved.segments(chain.author, 5, ALL), chain.segments[2:])

    def test_rebuilding_that_was_cut_short(self) -> None:
        """The write-ahead log was put aside with the old file, and comes back with it."""
        path, killed = (Path(self.mktemp()).absolute() for _ in range(2))
        chain = Chain(1)
        with closing(open_logs(path)) as logs:
            logs.process([Accept(*chain.put(b"one"))])
            shutil.copytree(path, killed)
        os.link(killed / "log.sqlite", killed / "log.sqlite.damaged")
        (killed / "log.sqlite-wal").rename(killed / "log.sqlite.damaged-wal")
        with closing(open_logs(killed, init=False)) as logs:
            self.assertEqual(logs.segments(chain.author, 1, ALL), chain.segments)
        self.assertEqual([file.name for file in killed.glob("*.damaged*")], [])

"""Exports: what is in them, what of one from anybody is taken, and both while a node runs."""

from __future__ import annotations

import errno
import io
import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import Node, Store, open_store
from gossiplog.errors import (
    BadExportError,
    InvalidValueError,
    NetworkMismatchError,
    StoreError,
    StoreFullError,
)
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.gossip.quotas import Quotas
from gossiplog.limits import MAX_OFFENDERS
from gossiplog.live.exporting import PART, Export, export_to
from gossiplog.live.hands import OwnHands
from gossiplog.live.importing import Imported, StreamImport
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof, decode_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Segment, drop_payloads, merge
from gossiplog.notices import NewEntries
from gossiplog.store.logs import NETWORK, Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import AddFork, Append, SetMeta
from gossiplog.wire.export import Begin, ExportReader, ExportWriter
from tests.mounts import MountCase
from tests.processes import ProcessTestCase, environment
from tests.test_import import ANN, BOB, CAT, accepted, log_of
from tests.test_log_vectors import hexed, load, read_segment
from tests.test_recover import MORTAL

LOOPBACK = "tcp:0:interface=127.0.0.1"


def read_all(data: bytes, cuts: Iterable[int] = ()) -> tuple[list[Any], BadExportError | None]:
    reader, found = ExportReader(), []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        some, wrong = reader.feed(data[start:end])
        found += some
        if wrong is not None:
            return found, wrong
    return found, reader.finish()


class VectorTests(SynchronousTestCase):
    def test_whole(self) -> None:
        for case in load("exports")["whole"]:
            found, wrong = read_all(hexed(case["export"]))
            self.assertIsNone(wrong, case["name"])
            network = case["network"] and hexed(case["network"])
            proofs = [decode_proof(hexed(proof)) for proof in case["proofs"]]
            self.assertEqual(found, [Begin(network), *map(read_segment, case["segments"]), *proofs])

    def test_not_whole(self) -> None:
        for case in load("exports")["not_whole"]:
            found, wrong = read_all(hexed(case["export"]))
            self.assertIsInstance(wrong, BadExportError, case["name"])
            self.assertEqual(sum(isinstance(one, Segment) for one in found), case["segments"], case["name"])

    def test_however_it_is_cut(self) -> None:
        draw = random.Random(1)
        for case in [*load("exports")["whole"], *load("exports")["not_whole"]]:
            data = hexed(case["export"])
            whole = read_all(data)
            for cuts in (range(len(data)), [draw.randrange(len(data) + 1) for _ in range(5)]):
                found, wrong = read_all(data, cuts)
                self.assertEqual((found, str(wrong)), (whole[0], str(whole[1])), case["name"])


class ExportCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.theirs, self.ours = Logs(MemoryBackend()), Logs(MemoryBackend())

    def export(self, **options: Any) -> bytes:
        self.exported = Export(OwnHands(self.theirs), **options)
        data = b"".join(self.exported.pieces())
        self.assertEqual(self.exported.outcome.size, len(data))
        return data

    def take(self, data: bytes, quotas: Quotas | None = None, size: int = 1000) -> Imported:
        self.importing = StreamImport(OwnHands(self.ours), quotas or Quotas())
        try:
            self.importing.run(data[at : at + size] for at in range(0, len(data), size))
        finally:
            self.assertTrue(self.ours.verify().ok)
        return self.importing.outcome

    def stream(self, *parts: Any, network: bytes | None = None) -> bytes:
        from tests.vectors.generate_export import export

        return export(network, *parts)


class ExportTests(ExportCase):
    """What is in an export."""

    def test_everything(self) -> None:
        other = log_of(BOB, b"2")
        proof = build_proof(log_of(BOB, b"1")[0], other[0])
        assert proof is not None
        self.theirs.process([*accepted(log_of(ANN, b"1", b"2"), log_of(BOB, b"1")), AddFork(proof)])
        taken = self.take(self.export())
        self.assertEqual((taken.entries, taken.forks, taken.refused), (3, 1, {}))
        self.assertEqual(self.ours.segments(ANN.author, 1, 1 << 20), log_of(ANN, b"1", b"2"))
        self.assertEqual(self.ours.forks, {BOB.author})
        self.assertEqual(self.exported.outcome[:3], (3, 2, 1))
        self.assertEqual(self.take(self.export()).entries, 0)

    def test_some_authors(self) -> None:
        self.theirs.process(accepted(log_of(ANN, b"1"), log_of(BOB, b"1")))
        self.take(self.export(authors=[BOB.author]))
        self.assertEqual([*self.ours.clock], [BOB.author])

    def test_since(self) -> None:
        """Rows that begin before are whole all the same."""
        rows = log_of(ANN, *[b"%d" % number for number in range(6)])
        self.ours.process(accepted(rows[:2]))
        self.theirs.process(accepted([rows[0], merge(rows[1:4]), *rows[4:]], log_of(BOB, b"1")))
        taken = self.take(self.export(since=self.ours.clock))
        self.assertEqual((taken.entries, self.exported.entries), (5, 5))
        self.assertEqual(self.take(self.export(since=self.ours.clock)).entries, 0)
        self.assertEqual(self.exported.outcome[:3], (0, 0, 0))

    def test_missing_payloads_end_a_log(self) -> None:
        rows = log_of(ANN, b"1", b"2" * 100, b"3")
        self.theirs.process(accepted([rows[0], drop_payloads(rows[1], [2]), rows[2]]))
        self.assertEqual(self.take(self.export()).entries, 1)
        self.assertIn("from entry 2 on", self.exported.left_out[ANN.author])

    def test_many_pieces(self) -> None:
        self.theirs.process(accepted(log_of(ANN, *[bytes(700_000)] * 4)))
        self.assertGreater(len([*Export(OwnHands(self.theirs)).pieces()]), 3)
        self.assertEqual(self.take(self.export(), size=1 << 18).entries, 4)

    def test_a_file_is_whole_or_not_there(self) -> None:
        self.theirs.process(accepted(log_of(ANN, b"1")))
        path = Path(self.mktemp()).absolute()
        done = export_to(Export(OwnHands(self.theirs)), path)
        self.assertEqual((path.stat().st_size, path.stat().st_mode & 0o777), (done.size, 0o600))
        self.assertRaises(InvalidValueError, export_to, Export(OwnHands(self.theirs)), path)

        class Broken(Export):
            def pieces(self) -> Any:
                yield b"some"
                raise OSError(errno.ENOSPC, "full")

        self.assertRaises(StoreFullError, export_to, Broken(OwnHands(self.theirs)), other := f"{path}2")
        self.assertFalse(os.path.exists(other) or os.path.exists(other + PART))

    def test_nothing_is_written_through_a_link(self) -> None:
        path = Path(self.mktemp()).absolute()
        victim = path.with_name("victim")
        victim.write_bytes(b"mine")
        (path.parent / (path.name + PART)).symlink_to(victim)
        export_to(Export(OwnHands(self.theirs)), path)
        self.assertEqual(victim.read_bytes(), b"mine")
        link = path.with_name("link")
        link.symlink_to(path.with_name("nowhere"))
        self.assertRaises(InvalidValueError, export_to, Export(OwnHands(self.theirs)), link)


class TakeTests(ExportCase):
    """What of an export from anybody is taken."""

    def test_what_was_not_signed(self) -> None:
        """Nothing of that author behind it, and what others signed."""
        rows = log_of(ANN, b"1", b"2", b"3")
        forged = rows[1]._replace(bodies=rows[1].bodies[:-1] + b"?")
        taken = self.take(self.stream(rows[0], forged, rows[1], *log_of(BOB, b"1")))
        self.assertEqual(list(taken.refused), [ANN.author])
        self.assertEqual([self.ours.clock.seq(pair.author) for pair in (ANN, BOB)], [1, 1])

    def test_a_gap(self) -> None:
        rows = log_of(ANN, b"1", b"2", b"3", b"4")
        taken = self.take(self.stream(rows[0], rows[3], rows[1]))
        self.assertEqual(taken.entries, 2)
        self.assertIn("2 to 3", taken.refused[ANN.author])

    def test_holes(self) -> None:
        """None are taken, whatever is held."""
        rows = log_of(ANN, b"1", b"2" * 100)
        taken = self.take(self.stream(rows[0], drop_payloads(rows[1], [2])))
        self.assertEqual(taken.entries, 1)
        self.assertEqual(list(taken.refused), [ANN.author])

    def test_missing_payloads_come_back(self) -> None:
        rows = log_of(ANN, b"1", b"2" * 100, b"3")
        self.ours.process(accepted([rows[0], drop_payloads(rows[1], [2]), rows[2]]))
        taken = self.take(self.stream(*rows))
        self.assertEqual((taken.entries, taken.filled, self.ours.holes()), (0, 1, {}))

    def test_who_is_blocked(self) -> None:
        choices = Choices(self.ours.local)
        choices.block([ANN.author])
        self.ours.process([SetMeta(KEPT_AS, choices.dump())])
        taken = self.take(self.stream(*log_of(ANN, b"1"), *log_of(BOB, b"1")))
        self.assertEqual((taken.authors, taken.refused), ({BOB.author}, {}))

    def test_quotas(self) -> None:
        taken = self.take(self.stream(*log_of(ANN, b"1"), *log_of(BOB, b"1")), Quotas(authors=1))
        self.assertEqual((taken.authors, list(taken.refused)), ({ANN.author}, [BOB.author]))
        big = self.stream(*log_of(CAT, *[bytes(9000)] * 5))
        taken = self.take(big, Quotas(bytes_per_author=30_000))
        self.assertIn("quota", taken.refused[CAT.author])

    def test_a_fork(self) -> None:
        self.ours.process(accepted(log_of(ANN, b"1", b"2")))
        taken = self.take(self.stream(*log_of(ANN, b"1", b"x", b"3")))
        self.assertEqual((taken.forks, self.ours.forks, taken.entries), (1, {ANN.author}, 0))

    def test_two_logs_in_one_export(self) -> None:
        taken = self.take(self.stream(*log_of(ANN, b"1", b"2"), *log_of(ANN, b"1", b"x")))
        self.assertEqual((taken.entries, taken.forks), (2, 1))

    def test_a_proof_that_proves_nothing(self) -> None:
        proof = build_proof(log_of(BOB, b"1")[0], log_of(BOB, b"2")[0])
        assert proof is not None
        taken = self.take(self.stream(proof._replace(signature=bytes(64)), *log_of(BOB, b"1")))
        self.assertEqual((taken.forks, taken.entries, list(taken.refused)), (0, 0, [BOB.author]))

    def test_another_network(self) -> None:
        self.ours.process([SetMeta(NETWORK, b"n" * 32)])
        rows = log_of(ANN, b"1")
        self.assertRaises(NetworkMismatchError, self.take, self.stream(*rows, network=b"m" * 32))
        self.assertEqual(len(self.ours.clock), 0)
        self.assertEqual(self.take(self.stream(*rows, network=b"n" * 32)).entries, 1)

    def test_cut_off_anywhere(self) -> None:
        """What is whole of it is taken, and the whole one can be taken after it."""
        rows = log_of(ANN, *[bytes([number]) * 50 for number in range(5)])
        data = self.stream(*rows)
        for end in range(0, len(data), 23):
            self.assertRaises(BadExportError, self.take, data[:end])
            self.assertGreaterEqual(self.ours.clock.seq(ANN.author), (end - 60) // 200)
        self.take(data)
        self.assertEqual(self.ours.clock.seq(ANN.author), 5)

    def test_our_own_entries_come_back(self) -> None:
        author = self.theirs.writer("me").author
        self.theirs.process([Append(author, [encode_body(1, b"x")])])
        self.ours._mine.secrets.create_seed("me", self.theirs._mine.secrets.seed("me"))  # type: ignore[arg-type]
        self.ours = Logs(self.ours._mine)
        self.assertEqual(self.take(self.export()).entries, 1)

    def test_somebody_who_only_offends(self) -> None:
        """A stream without end costs no memory, and is not read to its end."""

        def forged() -> Iterable[bytes]:
            yield self.stream()[: -4 - 36]
            writer = ExportWriter()
            for number in range(10**9):
                self.read = number
                author = Keypair(number.to_bytes(32, "big")).author
                yield writer.segment(Segment(author, 1, 1, genesis_id(author), bytes(64), b"\xc4\x01x"))

        importing = StreamImport(OwnHands(self.ours), Quotas())
        self.assertRaises(BadExportError, importing.run, forged())
        self.assertEqual(self.read, MAX_OFFENDERS - 1)
        self.assertEqual(len(importing.refused), MAX_OFFENDERS)


class LiveTests(TestCase):
    """With a store that is open, and a node on it."""

    def open(self, path: str | Path) -> Store:
        store = open_store(path, reactor)
        self.addCleanup(store.close)
        return store

    async def test_under_a_node(self) -> None:
        """Its peers get what was imported, its readers see it, and what is appended meanwhile is not lost."""
        far, here, there = self.open("memory:"), self.open(self.mktemp()), self.open(self.mktemp())
        writer, own = await far.writer(), await here.writer()
        for number in range(50):
            await writer.append(b"%d" % number)
        path = Path(self.mktemp()).absolute()
        done = await far.export(path)
        self.assertEqual((done.entries, done.size), (50, path.stat().st_size))
        nodes = [Node(reactor, store, network="garden") for store in (here, there)]
        nodes[1].connect(await nodes[0].listen(LOOPBACK))
        for node in nodes:
            self.addCleanup(node.stop)
        importing = here.import_(path)
        appended = [own.append(b"%d" % number) for number in range(20)]
        self.assertEqual((await importing).entries, 50)
        for one in appended:
            await one
        while there.clock.seq(writer.author) < 50 or there.clock.seq(own.author) < 20:
            await nodes[1].when(NewEntries)
        again = await here.import_(io.BytesIO(path.read_bytes()))
        self.assertEqual((again.entries, again.refused), (0, {}))
        held = io.BytesIO()
        await there.export(held, since=far.clock)
        self.assertLess(len(held.getvalue()), path.stat().st_size)

    async def test_errors(self) -> None:
        store = self.open("memory:")
        for bad in (b"hello", b""):
            with self.assertRaises(BadExportError):
                await store.import_(io.BytesIO(bad))
        with self.assertRaises(StoreError):
            await store.import_("/nowhere")
        with self.assertRaises(StoreError):
            await store.export("/nowhere/x")
        self.assertRaises(InvalidValueError, store.export, "x", authors=[b"short"])
        self.assertRaises(InvalidValueError, store.export, "x", since={})

    async def test_the_store_is_closed_meanwhile(self) -> None:
        store = self.open("memory:")
        writer = await store.writer()
        await writer.append(b"x" * 1000)
        out = io.BytesIO()
        export = store.export(out)
        await store.close()
        with self.assertRaises(StoreError):
            await export


MORTAL_EXPORT = """
import os, signal, sys
from gossiplog.live import exporting

write, left = exporting._write_all, int(sys.argv[1])

def mortal(out, piece):
    "Ends the process with half of a piece written."
    global left
    left -= 1
    if not left:
        write(out, piece[: len(piece) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    write(out, piece)

exporting._write_all = mortal
from gossiplog.app.cli import main
sys.exit(main(sys.argv[2:]))
"""


class CommandTests(ProcessTestCase):
    """Real processes: pipes, clocks, and what is left when one is killed."""

    def setUp(self) -> None:
        super().setUp()
        for store in ("ann", "bob"):
            self.run_gossiplog("init", "--store", store)

    def append(self, *texts: str) -> None:
        self.run_gossiplog("append", "--store", "ann", *texts)

    def append_much(self) -> None:
        with closing(open_logs(self.place / "ann")) as logs:
            for _ in range(8):
                logs.process([Append(logs.writer("default").author, [encode_body(1, b"x" * 300_000)])])

    def test_there_and_back(self) -> None:
        self.append("1", "2")
        told = self.run_gossiplog("export", "--store", "ann", "all.logs")
        self.assertRegex(told, "^exported 2 entries of 1 authors, 0 forks, in [0-9]+ bytes\n$")
        self.assertEqual(
            self.run_gossiplog("import", "--store", "bob", "all.logs"),
            "imported 2 entries of 1 authors, 0 forks\n",
        )
        (self.place / "theirs.txt").write_text(self.run_gossiplog("clock", "--store", "bob"))
        self.append("3")
        for number, since in enumerate((["all.logs"], ["theirs.txt"], ["all.logs", "theirs.txt"])):
            options = [part for file in since for part in ("--since", file)]
            told = self.run_gossiplog("export", "--store", "ann", *options, f"{number}.logs")
            self.assertRegex(told, "^exported 1 entries")
        self.run_gossiplog("import", "--store", "bob", "2.logs")
        self.assertEqual(len(self.logged("bob")), 3)
        again = self.gossiplog("export", "--store", "ann", "all.logs")
        self.assert_one_line(again, 1, "is there already")
        self.assert_one_line(
            self.gossiplog("export", "--store", "ann", "--since", "all.logs.txt", "x"), 1, "all.logs.txt"
        )
        (self.place / "x.txt").write_text("nonsense\n")
        self.assert_one_line(
            self.gossiplog("export", "--store", "ann", "--since", "x.txt", "x"),
            1,
            "neither an export nor a clock",
        )

    def test_down_a_pipe(self) -> None:
        self.append(*map(str, range(100)))
        piped = (
            "{0} -m gossiplog.app.cli export --store ann - | {0} -m gossiplog.app.cli import --store bob -"
        )
        done = subprocess.run(
            piped.format(sys.executable),
            shell=True,
            cwd=self.place,
            env=environment(),
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.stdout, "imported 100 entries of 1 authors, 0 forks\n")
        self.assertRegex(done.stderr, "^gossiplog: exported 100 entries")

    def test_what_is_wrong(self) -> None:
        """What is there is taken, and the exit status says that it is not all."""
        self.append("1")
        self.run_gossiplog("export", "--store", "ann", "all.logs")
        data = (self.place / "all.logs").read_bytes()
        (self.place / "cut.logs").write_bytes(data[:-1])
        (self.place / "other").write_text("hello")
        cut = self.gossiplog("import", "--store", "bob", "cut.logs")
        self.assertEqual(cut.finish(), 1)
        self.assertIn("imported 1 entries", cut.out)
        self.assertRegex(cut.err, r"^gossiplog: cut.logs: it is cut off: .*\n$")
        other = self.gossiplog("import", "--store", "bob", "other")
        self.assertEqual(other.finish(), 1)
        self.assertIn("it is no export", other.err)
        missing = self.gossiplog("import", "--store", "bob", "missing")
        self.assert_one_line(missing, 1, "missing")

    def test_an_export_that_is_killed(self) -> None:
        """The file is not there; what is there instead can be imported, and the next one is behind that."""
        self.append_much()
        for fatal in (2, 3):
            dying = self.start(
                sys.executable, "-c", MORTAL_EXPORT, str(fatal), "export", "--store", "ann", "all"
            )
            self.assertEqual(dying.finish(), -signal.SIGKILL)
            self.assertFalse((self.place / "all").exists())
        self.assertEqual(self.gossiplog("import", "--store", "bob", "all.part").finish(), 1)
        held = len(self.logged("bob"))
        self.assertGreater(held, 0)
        self.assertLess(held, 8)
        told = self.run_gossiplog("export", "--store", "ann", "--since", "all.part", "rest")
        self.assertRegex(told, f"^exported {8 - held} entries")
        self.run_gossiplog("import", "--store", "bob", "rest")
        self.assertEqual(len(self.logged("bob")), 8)
        self.run_gossiplog("export", "--store", "ann", "all")
        self.assertFalse((self.place / "all.part").exists())

    def test_an_import_that_is_killed(self) -> None:
        """At whichever statement: what was taken is whole, and the next one takes the rest."""
        self.append_much()
        self.run_gossiplog("export", "--store", "ann", "all")
        killed = 0
        for fatal in (3, -4, 6, 9, -12):
            dying = self.start(sys.executable, "-c", MORTAL, str(fatal), "import", "--store", "bob", "all")
            status = dying.finish()
            self.assertIn(status, (0, -signal.SIGKILL), dying.err)
            killed += status != 0
            self.assertIn("all is well", self.run_gossiplog("verify", "--store", "bob"))
        self.assertGreater(killed, 2)
        self.run_gossiplog("import", "--store", "bob", "all")
        self.assertEqual(len(self.logged("bob")), 8)


class FullTests(MountCase):
    """A disk that is really full."""

    def test_export_and_import(self) -> None:
        """Nothing is left of the file; of an import what was committed, and the rest once there is room."""
        small = self.mount("size=1m")
        ours = open_logs(Path(self.mktemp()).absolute())
        self.addCleanup(ours.close)
        ours.process(accepted(log_of(ANN, *[os.urandom(300_000) for _ in range(6)])))
        self.assertRaises(StoreFullError, export_to, Export(OwnHands(ours)), small / "all")
        self.assertEqual(os.listdir(small), [])
        data = b"".join(Export(OwnHands(ours)).pieces())
        with closing(open_logs(small / "store")) as logs:
            self.assertRaises(StoreFullError, StreamImport(OwnHands(logs), Quotas(bytes=1 << 30)).run, [data])
            held = logs.clock.seq(ANN.author)
            self.assertTrue(logs.verify().ok)
            self.assertLess(held, 6)
        subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
        with closing(open_logs(small / "store")) as logs:
            StreamImport(OwnHands(logs), Quotas(bytes=1 << 30)).run([data])
            self.assertEqual(logs.clock.seq(ANN.author), 6)

"""A damaged store among nodes: who notices, what goes on, and how it comes in order again."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app.happenings import describe
from gossiplog.errors import StoreDamagedError, StoreInUseError
from gossiplog.notices import PeerRejected, StoreDamaged
from gossiplog.store.logs import open_logs
from tests.netcase import World
from tests.processes import ProcessTestCase

NETWORK = ("--network", "garden")
LOOPBACK = "tcp:0:interface=127.0.0.1"
ALL = 1 << 30


class NodeTests(SynchronousTestCase):
    """In virtual time: bob's copy of ann's log has a wrong byte."""

    def setUp(self) -> None:
        self.world = World()
        self.ann, self.bob, self.eve = (self.world.site(name) for name in ("ann", "bob", "eve"))
        for number in range(4):
            self.ann.append(b"%d" % number)
        self.ann.append(b"fine", name="second")
        self.author, self.second = self.ann.author(), self.ann.author("second")
        self.address = self.ann.listen()
        self.bob.node.connect(self.address)
        self.world.run()
        self.ann.stop()
        segments = self.bob.backend.content.logs[self.author].rows
        self.assertEqual(len(segments), 4)
        segments[2] = segments[2]._replace(bodies=segments[2].bodies[:-1] + b"?")

    def damage_reads(self) -> None:
        """Let the backend notice, as one with checksums does."""
        backend, read = self.bob.backend, self.bob.backend.segments

        def segments(author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[object]:
            found = read(author, first, limit_bytes, last)
            if author == self.author and any(segment.first == 3 for segment in found):
                raise StoreDamagedError("a row is damaged")
            return list(found)

        backend.segments = segments  # type: ignore[method-assign,assignment]

    def test_the_application_is_told_and_the_rest_is_served(self) -> None:
        """Once, however often somebody asks; the other author reaches eve."""
        self.damage_reads()
        self.eve.node.connect(self.bob.listen())
        self.world.run(30)
        [notice] = self.bob.of(StoreDamaged)
        self.assertEqual(notice.author, self.author)
        self.assertIn("gossiplog verify --repair", describe(notice) or "")
        self.assertEqual(self.eve.payloads(self.second), [b"fine"])
        self.assertEqual(self.eve.store.clock.seq(self.author), 0)

    def test_a_changed_row_with_its_checksum_redone(self) -> None:
        """Nobody is sent what its author did not sign, and nobody is blamed for it."""
        self.eve.node.connect(self.bob.listen())
        self.world.run(30)
        [notice] = self.bob.of(StoreDamaged)
        self.assertEqual(notice.author, self.author)
        self.assertIn("not what its author signed", str(notice.error))
        self.assertEqual(self.eve.payloads(self.second), [b"fine"])
        self.assertEqual(self.eve.payloads(self.author), [b"0", b"1"])
        for site in (self.bob, self.eve):
            self.assertEqual(site.of(PeerRejected), [])
            self.assertEqual(len(site.node.peers), 1)

    def test_a_repaired_store_fetches_the_rest_again(self) -> None:
        """Not under a running node, whose clock must not go back."""
        with self.assertRaises(StoreInUseError):
            self.bob.store.repair()
        self.world.result(self.bob.node.stop())
        report = self.world.result(self.bob.store.repair())
        self.assertEqual((report.cut, report.left), ({self.author: (4, 2)}, []))
        self.assertEqual(self.bob.store.clock.seq(self.author), 2)
        self.bob.stop()
        for site in (self.ann, self.bob):
            site.start()
        self.ann.listen()
        self.bob.node.connect(self.address)
        self.world.run()
        self.assertEqual(self.bob.store.clock, self.ann.store.clock)
        self.assertTrue(self.world.result(self.bob.store.verify()).ok)
        self.assertEqual(self.bob.payloads(self.author), [b"0", b"1", b"2", b"3"])


class CommandTests(ProcessTestCase):
    """Real nodes on real files: bob runs a relay that holds what ann and carol wrote."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("ann", "carol", "bob"):
            self.run_gossiplog("init", "--store", name)
        bob = self.relay()
        for name in ("ann", "carol"):
            for number in range(4):
                lines = "".join(f"{name} {number} {line}\n" for line in range(50))
                self.run_gossiplog("append", "--store", name, typed=lines)
            self.run_gossiplog("sync", "--store", name, *NETWORK, self.address)
        self.run_gossiplog("sync", "--store", "ann", *NETWORK, self.address)
        bob.interrupt()

    def relay(self) -> object:
        bob = self.gossiplog("run", "--store", "bob", "--listen", LOOPBACK, *NETWORK)
        [self.address] = bob.ready()["listening"]
        return bob

    def flip(self, store: str, *places: int) -> None:
        file = self.place / store / "log.sqlite"
        content = bytearray(file.read_bytes())
        for place in places:
            content[place] ^= 1
        file.write_bytes(content)

    def place_of(self, store: str, author: bytes, row: int) -> int:
        """Where the signature of a row stands in the file."""
        logs = open_logs(self.place / store)
        segments = logs.segments(author, 1, ALL)
        logs.close()
        return (self.place / store / "log.sqlite").read_bytes().index(segments[row].signature)

    def writer(self, store: str) -> bytes:
        logs = open_logs(self.place / store)
        try:
            return logs.writers()["default"]
        finally:
            logs.close()

    def refused(self, *arguments: str | Path) -> tuple[str, str]:
        """Run a command that finds damage; return what it printed and what it complained of."""
        process = self.gossiplog(*arguments)
        self.assertEqual(process.finish(), 3, process.err)
        return process.out, process.err

    def assert_in_order(self, *stores: str) -> None:
        clocks = set()
        for store in stores:
            self.assertIn("all is well", self.run_gossiplog("verify", "--store", store))
            clocks.add(self.run_gossiplog("clock", "--store", store).replace(" (writer default)", ""))
        self.assertEqual(len(clocks), 1)

    def test_flipped_bits_are_cut_and_fetched_again(self) -> None:
        author = self.writer("ann")
        self.flip("bob", self.place_of("bob", author, 0))
        out, err = self.refused("verify", "--store", "bob")
        self.assertRegex(out, r"\Adamaged: author_\w+ 1 to \d+: .*log\.sqlite is damaged")
        self.assertIn("--repair", err)
        out = self.run_gossiplog("verify", "--repair", "--store", "bob")
        self.assertRegex(out, r"\Acut: author_\w+ from 200 to 0; sync fetches the rest again\n\Z")
        bob = self.relay()
        self.run_gossiplog("sync", "--store", "ann", *NETWORK, self.address)
        bob.interrupt()  # type: ignore[attr-defined]
        self.assert_in_order("ann", "bob")
        self.assertEqual(len(self.logged("bob")), 400)
        self.assertIn("nothing is left to repair", self.run_gossiplog("verify", "--repair", "--store", "bob"))

    def test_lost_pages_are_rebuilt_and_fetched_again(self) -> None:
        """Whatever is lost of bob's file, of which he has written nothing, comes back."""
        draw = random.Random(1)
        size = (self.place / "bob" / "log.sqlite").stat().st_size
        self.flip("bob", *(draw.randrange(100, size) for _ in range(20)), 17, 20, 30, *range(90, 96))
        self.refused("verify", "--store", "bob")
        out = self.run_gossiplog("verify", "--repair", "--store", "bob")
        self.assertRegex(out, r"\Arebuilt: \d+ segments of \d authors; the old file is \S+\.damaged\n")
        bob = self.relay()
        for name in ("ann", "carol", "ann"):
            self.run_gossiplog("sync", "--store", name, *NETWORK, self.address)
        bob.interrupt()  # type: ignore[attr-defined]
        self.assert_in_order("ann", "bob", "carol")

    def test_the_own_log_comes_back_from_a_copy_of_a_peers(self) -> None:
        """Ann's own entries are never cut; bob's store has the same ones."""
        author = self.writer("ann")
        self.flip("ann", self.place_of("ann", author, 0))
        out, err = self.refused("verify", "--repair", "--store", "ann")
        self.assertIn("damaged: author_", out)
        self.assertIn("never cut: --from", err)
        out = self.run_gossiplog("verify", "--repair", "--from", "bob", "--store", "ann")
        self.assertRegex(out, r"\Amended: author_\w+ 1 to \d+\n\Z")
        self.assert_in_order("ann", "bob")
        self.run_gossiplog("append", "--store", "ann", "goes on")

    def test_what_is_beyond_repair(self) -> None:
        file = self.place / "bob" / "log.sqlite"
        file.write_bytes(bytes(100_000))
        _, err = self.refused("verify", "--repair", "--store", "bob")
        self.assertIn("nothing can be read", err)
        self.assertEqual(file.read_bytes(), bytes(100_000))

"""Backups: what is in them, where they may be, and that neither they nor what is made of them forks a log."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import open_store
from gossiplog.errors import (
    InvalidValueError,
    NotABackupError,
    StoreCopiedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
)
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.live.backing_up import LINEAGE, MARK, BackedUp, back_up, restore_store
from gossiplog.live.compacting import compact
from gossiplog.live.hands import OwnHands
from gossiplog.log.body import encode_body
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import build_proof
from gossiplog.log.segment import drop_payloads
from gossiplog.store.logs import NETWORK, Logs, open_logs
from gossiplog.store.requests import AddFork, Append, Appended, FillRow, Forget, SetCursor, SetMeta
from tests.mounts import MountCase
from tests.processes import ProcessTestCase
from tests.test_import import ANN, BOB, CAT, accepted, log_of
from tests.test_recover import MORTAL

ALL = 1 << 30
KILLS = int(os.environ.get("GOSSIPLOG_BACKUP_KILLS", "0"))
"""Statements at which each of the verbs is killed, beside those that it always is."""


def append(logs: Logs, *texts: bytes) -> Any:
    author = logs.writer("me").author
    [result] = logs.process([Append(author, [encode_body(1, text) for text in texts])]).results
    return result


class BackupCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir(parents=True)
        self.target = self.place / "backup"
        self.logs = self.open("store")
        append(self.logs, b"1", b"2")
        self.me = self.logs.writer("me").author

    def open(self, name: str) -> Logs:
        logs = open_logs(self.place / name)
        self.addCleanup(logs.close)
        return logs

    def back_up(self, target: Path | str | None = None, **options: Any) -> BackedUp:
        return back_up(OwnHands(self.logs), self.logs.path, target or self.target, **options)

    def assert_same(self, ours: Logs, theirs: Logs) -> None:
        """Entry by entry, however they lie in rows."""
        self.assertEqual(dict(ours.clock.items()), dict(theirs.clock.items()))
        self.assertEqual(ours.holes(), theirs.holes())
        self.assertEqual({*ours.forks}, {*theirs.forks})
        self.assertEqual(ours.cursor_names(), theirs.cursor_names())
        for name in ours.cursor_names():
            self.assertEqual(ours.cursor(name), theirs.cursor(name))
        for key in (NETWORK, KEPT_AS):
            self.assertEqual(ours.meta(key), theirs.meta(key))
        self.assertTrue(theirs.verify().ok)

    def assert_never_appends(self, place: Path) -> None:
        """Not now, nor when it is opened again."""
        for _ in range(2):
            with closing(open_logs(place)) as logs:
                self.assertIsInstance(append(logs, b"forked"), StoreCopiedError)


class ContentTests(BackupCase):
    """What is in a backup."""

    def fill(self) -> None:
        rows = log_of(ANN, b"1", b"2" * 100, b"3")
        self.rows = rows
        proof = build_proof(log_of(BOB, b"1")[0], log_of(BOB, b"2")[0])
        assert proof is not None
        self.logs.process(
            [
                *accepted([rows[0], drop_payloads(rows[1], [2]), rows[2]], log_of(BOB, b"1")),
                AddFork(proof),
                SetMeta(NETWORK, b"n" * 32),
                SetCursor("c", Cursor({ANN.author: (2, b"")})),
            ]
        )

    def test_everything(self) -> None:
        self.fill()
        done = self.back_up()
        self.assertEqual((done.entries, done.authors, done.left_out), (6, 3, {}))
        assert done.report is not None
        self.assertEqual((done.report.ok, done.report.entries), (True, 6))
        with closing(open_logs(self.target)) as theirs:
            self.assert_same(self.logs, theirs)
            self.assertEqual(theirs.writers(), self.logs.writers())
            self.assertNotEqual(theirs.node_key(), self.logs.node_key())

    def test_only_what_is_new(self) -> None:
        self.fill()
        self.back_up()
        before = (self.target / "log.sqlite").stat().st_ino
        append(self.logs, b"3")
        choices = Choices(self.logs.local)
        choices.block([CAT.author])
        self.logs.process(
            [
                FillRow(self.rows[1]),
                SetCursor("c", None),
                SetCursor("d", Cursor({ANN.author: (3, b"")})),
                SetMeta(KEPT_AS, choices.dump()),
            ]
        )
        done = self.back_up()
        self.assertEqual((done.entries, done.left_out), (1, {}))
        self.assertEqual((self.target / "log.sqlite").stat().st_ino, before)
        with closing(open_logs(self.target)) as theirs:
            self.assert_same(self.logs, theirs)
            self.assertEqual(theirs.holes(), {})

    def test_what_was_deleted(self) -> None:
        """With what was blocked; what only is not there any more, stays."""
        self.logs.process(accepted(log_of(ANN, b"secret"), log_of(BOB, b"1")))
        self.back_up()
        choices = Choices(self.logs.local)
        choices.block([ANN.author])
        self.logs.process([Forget(ANN.author), Forget(BOB.author), SetMeta(KEPT_AS, choices.dump())])
        self.back_up()
        with closing(open_logs(self.target)) as theirs:
            self.assertEqual(set(theirs.clock), {self.me, BOB.author})
        self.assertNotIn(b"secret", b"".join(file.read_bytes() for file in self.target.glob("log.sqlite*")))

    def test_without_seeds(self) -> None:
        self.back_up(seeds=False, check=False)
        self.assertFalse((self.target / "seeds").exists())
        self.back_up()
        self.assertTrue((self.target / "seeds" / "me").exists())

    def test_damage_is_said(self) -> None:
        """And everything else is there."""
        from tests.test_store_vouching import overwrite

        rows = log_of(ANN, b"1", b"2")
        self.logs.process(accepted(rows, log_of(BOB, b"1")))
        self.logs.close()
        overwrite(self.place / "store" / "log.sqlite", rows[1]._replace(bodies=rows[1].bodies[:-1] + b"?"))
        self.logs = self.open("store")
        done = self.back_up()
        self.assertEqual(list(done.left_out), [ANN.author])
        with closing(open_logs(self.target)) as theirs:
            self.assertEqual([theirs.clock.seq(one) for one in (self.me, ANN.author, BOB.author)], [2, 1, 1])


class ForkTests(BackupCase):
    """No backup, and nothing made of one, signs a seq that was signed already."""

    def test_a_backup(self) -> None:
        self.back_up()
        self.assert_never_appends(self.target)
        with closing(open_logs(self.target)) as logs:
            self.assertIn("it is a backup of", logs.copied)

    def test_put_back(self) -> None:
        """In the place of the store, by whatever tool."""
        for tool in (["cp", "-a"], ["cp", "-r"], ["mv"]):
            self.back_up()
            append(self.logs, b"newer")
            self.logs.close()
            shutil.rmtree(self.place / "store")
            subprocess.run([*tool, self.target, self.place / "store"], check=True)
            self.assert_never_appends(self.place / "store")
            shutil.rmtree(self.target, ignore_errors=True)
            shutil.rmtree(self.place / "store")
            self.logs = self.open("store")
            append(self.logs, b"1", b"2")

    def test_put_back_into_the_same_files(self) -> None:
        self.back_up()
        append(self.logs, b"newer")
        self.logs.close()
        subprocess.run(["cp", "-a", f"{self.target}/.", self.place / "store"], check=True)
        self.assert_never_appends(self.place / "store")

    def test_restored(self) -> None:
        self.back_up()
        append(self.logs, b"newer")
        done = restore_store(self.target, self.place / "again")
        self.assertEqual((done.entries, done.report and done.report.ok), (2, True))
        self.assert_never_appends(self.place / "again")
        with closing(open_logs(self.place / "again")) as logs:
            self.assertIn("it is restored from", logs.copied)
            logs.recovered()
            self.assertEqual(append(logs, b"mine"), Appended(3, 3))
        self.logs.close()
        self.logs = self.open("again")
        self.assertEqual(self.back_up().entries, 1)  # it goes on with the same backup

    def test_a_backup_that_became_a_store(self) -> None:
        """From then on it is one, and nothing is written to it."""
        self.back_up()
        with closing(open_logs(self.target)) as logs:
            logs.recovered()
            append(logs, b"mine")
        append(self.logs, b"3")
        self.assertRaises(NotABackupError, self.back_up)
        with closing(open_logs(self.target)) as logs:
            self.assertEqual(append(logs, b"mine too"), Appended(4, 4))

    def test_another_writer_of_that_name(self) -> None:
        """A copy that made its own secrets does not put them over those in the backup."""
        self.back_up()
        seed = (self.target / "seeds" / "me").read_bytes()
        self.logs.close()
        shutil.rmtree(self.place / "store" / "seeds")
        self.logs = self.open("store")
        append(self.logs, b"another me")
        done = self.back_up()
        self.assertIn("another writer 'me'", done.left_out[None])
        self.assertEqual((self.target / "seeds" / "me").read_bytes(), seed)


class TargetTests(BackupCase):
    """Where a backup may be."""

    def refused(self, error: type[Exception], target: Path | str, words: str = "") -> None:
        before = sorted((path, path.lstat().st_mtime_ns) for path in self.place.rglob("*"))
        raised = self.assertRaises(error, self.back_up, target)
        self.assertIn(words, str(raised))
        new = [path for path, _ in before if not os.path.lexists(path)]
        self.assertEqual(new, [])
        self.assertTrue(self.logs.verify().ok)

    def test_the_store_itself(self) -> None:
        link = self.place / "link"
        link.symlink_to(self.place / "store")
        for target in (self.place / "store", f"{self.place}/store/", link, self.place / "x" / ".." / "store"):
            self.refused(InvalidValueError, target, "the store itself")

    def test_inside_of_the_store(self) -> None:
        inside = self.place / "store" / "inside"
        self.refused(StoreFormatError, inside, "inside of the store")
        inside.mkdir()
        self.refused(StoreFormatError, inside, "inside of the store")
        (self.place / "way").symlink_to(inside)
        self.refused(StoreFormatError, self.place / "way", "inside of the store")

    def test_the_directory_above(self) -> None:
        self.refused(StoreFormatError, self.place, "is not a store")

    def test_something_else(self) -> None:
        (self.place / "file").write_text("mine")
        self.refused(StoreFormatError, self.place / "file")
        (self.place / "full").mkdir()
        (self.place / "full" / "file").write_text("mine")
        self.refused(StoreFormatError, self.place / "full")
        (self.place / "nowhere").symlink_to(self.place / "not there")
        self.refused(StoreError, self.place / "nowhere")
        self.refused(InvalidValueError, "memory:")

    def test_another_store(self) -> None:
        with closing(self.open("another")) as another:
            append(another, b"1")
            self.assertRaises(StoreLockedError, self.back_up, self.place / "another")
        self.refused(NotABackupError, self.place / "another")
        with closing(self.open("relay")) as relay:
            relay.process(accepted(log_of(ANN, b"1")))
        self.refused(NotABackupError, self.place / "relay")

    def test_the_backup_of_another_store(self) -> None:
        self.back_up()
        self.logs = self.open("another")
        append(self.logs, b"1")
        self.refused(NotABackupError, self.target)

    def test_a_link_to_a_directory(self) -> None:
        (self.place / "far").mkdir()
        (self.place / "link").symlink_to(self.place / "far")
        self.assertEqual(self.back_up(self.place / "link").entries, 2)
        self.assertEqual(self.back_up(self.place / "far").entries, 0)

    def test_moved(self) -> None:
        """To another disk: it is still the backup."""
        self.back_up()
        subprocess.run(["cp", "-r", self.target, self.place / "moved"], check=True)
        append(self.logs, b"3")
        self.assertEqual(self.back_up(self.place / "moved").entries, 1)
        self.assert_never_appends(self.place / "moved")

    def test_what_is_restored(self) -> None:
        """From a backup, to where nothing is."""
        self.back_up()
        self.assertRaises(StoreLockedError, restore_store, self.place / "store", self.place / "new")
        self.logs.close()
        self.assertRaises(NotABackupError, restore_store, self.place / "store", self.place / "new")
        self.assertRaises(NotABackupError, restore_store, self.target, self.place / "store")
        self.assertRaises(InvalidValueError, restore_store, self.target, self.target)
        self.assertRaises(StoreError, restore_store, self.place / "nothing", self.place / "new")


class CompactTests(BackupCase):
    def test_as_small_as_it_can_be(self) -> None:
        """And nothing is lost, or waits for long."""
        rows = log_of(ANN, *[os.urandom(3000) for _ in range(300)])
        for row in rows:
            self.logs.process(accepted([row]))
        self.logs.process(accepted(log_of(BOB, *[os.urandom(90_000) for _ in range(20)])))
        self.logs.process([Forget(BOB.author)])
        before = len([*self.logs._mine.rows(ANN.author)])
        done = compact(OwnHands(self.logs))
        self.assertLess(len([*self.logs._mine.rows(ANN.author)]), before / 4)
        self.assertLess(done.after, done.before)
        [(free,)] = self.logs._mine._all("PRAGMA freelist_count")  # type: ignore[attr-defined]
        self.assertEqual(free, 0)
        self.assertTrue(self.logs.verify().ok)
        self.assertEqual(self.logs.clock.seq(ANN.author), 300)
        again = compact(OwnHands(self.logs))
        self.assertLessEqual(again.after, done.after + 100_000)


class LiveTests(TestCase):
    """While the store is in use."""

    async def test_a_backup_under_load(self) -> None:
        """It ends, and holds all that was there when it began; appends go on."""
        place = Path(self.mktemp()).absolute()
        place.mkdir(parents=True)
        store = open_store(place / "store", reactor)
        self.addCleanup(store.close)
        writer = await store.writer()
        await writer.append_many([b"x" * 1000] * 3000)
        began, over = store.clock.seq(writer.author), False
        backing_up = store.backup(place / "backup")

        def ended(value: Any) -> Any:
            nonlocal over
            over = True
            return value

        backing_up.addBoth(ended)
        appended = 0
        while not over:
            await writer.append(b"y")
            appended += 1
        done = await backing_up
        self.assertGreaterEqual(done.entries, began)
        self.assertGreater(appended, 3)
        again = await store.backup(place / "backup", check=False)
        self.assertEqual(again.entries + done.entries, began + appended)
        compacted = await store.compact()
        self.assertGreater(compacted.after, 0)
        with closing(open_logs(place / "backup")) as logs:
            self.assertEqual(logs.clock.seq(writer.author), began + appended)

    async def test_errors(self) -> None:
        store = open_store("memory:", reactor)
        self.addCleanup(store.close)
        self.assertRaises(InvalidValueError, store.backup, "memory:")
        self.assertRaises(InvalidValueError, store.backup, 5)
        self.assertRaises(InvalidValueError, store.backup, "x", seeds=1)
        with self.assertRaises(StoreError):
            await store.backup("/proc/nowhere")
        self.assertEqual(await store.compact(), (0, 0))


class KilledTests(ProcessTestCase):
    """``kill -9`` in the middle of each, in real processes."""

    def setUp(self) -> None:
        super().setUp()
        self.run_gossiplog("init", "--store", "ann")
        with closing(open_logs(self.place / "ann")) as logs:
            self.author = logs.writer("default").author
            for _ in range(6):
                logs.process([Append(self.author, [encode_body(1, b"x" * 400_000)])])

    def killed(self, fatal: int, *command: str) -> bool:
        dying = self.start(sys.executable, "-c", MORTAL, str(fatal), *command)
        status = dying.finish()
        self.assertIn(status, (0, -signal.SIGKILL), dying.err)
        return status != 0

    def moments(self, *always: int) -> list[int]:
        return [*always, *range(4, 4 + KILLS)]

    def assert_refused(self, store: str) -> None:
        """Whatever is there appends nothing for ann; a store that is none yet has no writer of hers."""
        if not (self.place / store / "log.sqlite").exists():
            return
        with closing(open_logs(self.place / store)) as logs:
            self.assertTrue(logs.verify().ok)
            if self.author in logs.local:
                [result] = logs.process([Append(self.author, [encode_body(1, b"no")])]).results
                self.assertIsInstance(result, StoreCopiedError)

    def test_backup(self) -> None:
        killed = 0
        for fatal in self.moments(3, 7, -10, 14):
            killed += self.killed(fatal, "backup", "--store", "ann", "backup")
            self.assert_refused("backup")
        self.assertGreater(killed, 2)
        self.assertIn(
            "6 entries of 1 authors are there", self.run_gossiplog("backup", "--store", "ann", "backup")
        )
        self.run_gossiplog("append", "--store", "ann", "ours goes on")

    def test_restore(self) -> None:
        self.run_gossiplog("backup", "--store", "ann", "backup")
        killed = 0
        for fatal in self.moments(4, -7, 9, 12):
            killed += self.killed(fatal, "restore", "--store", "new", "backup")
            self.assert_refused("new")
            if (self.place / "new" / "log.sqlite").exists():
                with closing(open_logs(self.place / "new")) as logs:
                    if logs.meta(LINEAGE) and not logs.meta(MARK):
                        break  # it was whole by then
        else:
            self.run_gossiplog("restore", "--store", "new", "backup")
        self.assertGreater(killed, 1)
        self.assert_refused("new")
        self.assert_one_line(self.gossiplog("append", "--store", "new", "no"), 1, "it is restored from")
        self.run_gossiplog("recover", "--store", "new", "--alone")
        self.assertIn(" 7", self.run_gossiplog("append", "--store", "new", "yes"))

    def test_compact(self) -> None:
        for fatal in self.moments(4, -5):
            self.killed(fatal, "compact", "--store", "ann")
            self.run_gossiplog("append", "--store", "ann", "more")
            self.assertIn("all is well", self.run_gossiplog("verify", "--store", "ann"))


class FullTests(MountCase):
    """A disk that is really full, and another file system."""

    def test_backup_and_restore(self) -> None:
        small = self.mount("size=2m")
        place = Path(self.mktemp()).absolute()
        with closing(open_logs(place / "store")) as logs:
            append(logs, *[os.urandom(300_000) for _ in range(10)])
            self.assertRaises(StoreFullError, back_up, OwnHands(logs), logs.path, small / "backup")
            with closing(open_logs(small / "backup")) as saved:
                self.assertTrue(saved.verify().ok)
            subprocess.run(["mount", "-o", "remount,size=16m", small], check=True)
            done = back_up(OwnHands(logs), logs.path, small / "backup")
            assert done.report is not None
            self.assertEqual((done.report.ok, done.report.entries), (True, 10))
        tiny = self.mount("size=2m")
        self.assertRaises(StoreFullError, restore_store, small / "backup", tiny / "store")
        with closing(open_logs(tiny / "store")) as logs:
            self.assertEqual(logs.local, set())
        subprocess.run(["mount", "-o", "remount,size=16m", tiny], check=True)
        restore_store(small / "backup", tiny / "store")
        with closing(open_logs(tiny / "store")) as logs:
            self.assertIsInstance(append(logs, b"no"), StoreCopiedError)


class NodeTests(ProcessTestCase):
    """The verbs while a node in another process has the store."""

    def test_through_the_node(self) -> None:
        for store in ("ann", "bob"):
            self.run_gossiplog("init", "--store", store)
            self.run_gossiplog("append", "--store", store, "1", "2")
        self.run_gossiplog("export", "--store", "bob", "bob.logs")
        node = self.gossiplog(
            "run", "--store", "ann", "--network", "garden", "--listen", "tcp:0:interface=127.0.0.1"
        )
        node.ready()
        told = self.run_gossiplog("backup", "--store", "ann", "backup")
        self.assertEqual(
            told, "backed up 2 entries of 1 authors; 2 entries of 1 authors are there, checked\n"
        )
        told = self.run_gossiplog("import", "--store", "ann", "bob.logs")
        self.assertEqual(told, "imported 2 entries of 1 authors, 0 forks\n")
        data = (self.place / "bob.logs").read_bytes()
        (self.place / "cut.logs").write_bytes(data[:-1])
        cut = self.gossiplog("import", "--store", "ann", "cut.logs")
        self.assertEqual(cut.finish(), 1)
        self.assertIn("it is cut off", cut.err)
        self.assertIn("imported 0 entries", cut.out)
        self.assertIn("exported 4 entries of 2", self.run_gossiplog("export", "--store", "ann", "all.logs"))
        self.assertIn("compacted", self.run_gossiplog("compact", "--store", "ann"))
        told = self.run_gossiplog("backup", "--store", "ann", "backup", "--no-check")
        self.assertEqual(told, "backed up 2 entries of 1 authors\n")
        self.assert_one_line(
            self.gossiplog("backup", "--store", "ann", "bob"),
            1,
            "is another store, or a backup of another one",
        )
        os.mkfifo(self.place / "pipe")
        gone = self.gossiplog("import", "--store", "ann", "pipe")
        with open(self.place / "pipe", "wb", buffering=0) as pipe:
            pipe.write(data[:100])
            gone.kill()  # in the middle, or before; the node goes on
        self.run_gossiplog("append", "--store", "ann", "3")
        waiting = self.gossiplog("import", "--store", "ann", "pipe")
        with open(self.place / "pipe", "wb", buffering=0) as pipe:
            pipe.write(data)
            node.interrupt()  # it does not wait for the end of what somebody sends
        self.assertEqual(waiting.finish(), 1)
        self.assert_one_line(self.gossiplog("append", "--store", "backup", "no"), 1, "it is a backup of")

"""Reading a store changes nothing in it, whoever it is of; and what is in the current directory is not trusted."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog import Node, Store
from gossiplog.errors import (
    StoreFailedError,
    StoreNotClosedError,
)
from gossiplog.log.body import encode_body
from gossiplog.store.copy_guard.guard import is_from_here
from gossiplog.store.logs import open_logs
from gossiplog.store.repair.salvage import salvage
from gossiplog.store.requests import Append
from gossiplog.testing.network import VirtualThread
from tests.netcase import NETWORK, World
from tests.processes import ProcessTestCase

NOBODY = 65534

READING: tuple[tuple[str, ...], ...] = (
    ("log",),
    ("log", "--sort", "time", "--json"),
    ("clock",),
    ("verify",),
    ("forks",),
    ("id",),
    ("follow",),
)

WRITING: tuple[tuple[str, ...], ...] = (
    ("init",),
    ("append", "text"),
    ("id", "--all"),
    ("follow", "--only"),
    ("verify", "--repair"),
    ("import", "elsewhere"),
    ("recover", "--alone"),
    ("log", "--follow"),
    ("run", "--network", "here"),
    ("sync", "--network", "here", "tcp:127.0.0.1:1"),
    ("chat", "--network", "here", "--nick", "me"),
)


def everything(place: Path) -> dict[str, object]:
    """All that can be seen of a directory, but when it was read."""
    found: dict[str, object] = {}
    for file in [place, *place.rglob("*")]:
        about = file.lstat()
        attributes = (
            {name: os.getxattr(file, name, follow_symlinks=False) for name in os.listxattr(file)}
            if sys.platform == "linux"
            else {}
        )
        content = file.read_bytes() if stat.S_ISREG(about.st_mode) else b""
        found[str(file)] = (about[:7], about.st_mtime_ns, about.st_ctime_ns, attributes, content)
    return found


def as_nobody(use: Callable[[], object]) -> str:
    """Do something as a user who owns nothing; return what came of it, or the error."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            said = repr(use())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(child, 0)
    return said


class ReaderTests(SynchronousTestCase):
    """Who may read and not write."""

    def setUp(self) -> None:
        self.place = Path("/tmp" if os.geteuid() == 0 else ".").absolute() / f"gossiplog-{os.getpid()}"
        self.place.mkdir(mode=0o755)
        self.addCleanup(self.remove)
        self.path = self.place / "store"
        with closing(open_logs(self.path)) as logs:
            self.ann = logs.writer("ann").author
            logs.process([Append(self.ann, [encode_body(7, b"one")])])

    def remove(self) -> None:
        for directory in (self.path, self.path / "seeds"):  # which a test closed to their owner
            if directory.is_dir():
                directory.chmod(0o700)
        shutil.rmtree(self.place)

    def held(self, read_only: bool = True) -> tuple[int, int, dict[str, bytes]]:
        with closing(open_logs(self.path, init=False, read_only=read_only)) as logs:
            return logs.clock.seq(self.ann), len(logs.segments(self.ann, 1, 1)), logs.writers()

    def as_nobody(self, use: Callable[[], object]) -> str:
        if os.geteuid():
            raise SkipTest("only root can be somebody else")
        return as_nobody(use)

    def share(self) -> None:
        """Let everybody read it, but for the secrets."""
        self.path.chmod(0o755)
        for name in ("log.sqlite", "lock"):
            (self.path / name).chmod(0o644)

    def test_another_user(self) -> None:
        self.share()
        before = everything(self.path)
        self.assertEqual(self.as_nobody(self.held), "(1, 1, {})")
        self.assertIn("StoreUnsafeError", self.as_nobody(lambda: self.held(read_only=False)))
        self.assertEqual(everything(self.path), before)

    def test_another_user_leaves_no_lock(self) -> None:
        """Where everybody may add files, as in /tmp: a lock file of another user would keep the owner out."""
        self.share()
        (self.path / "lock").unlink()
        self.path.chmod(0o1777)
        self.assertEqual(self.as_nobody(self.held), "(1, 1, {})")
        self.assertIn("StoreUnsafeError", self.as_nobody(lambda: self.held(read_only=False)))
        self.assertFalse((self.path / "lock").exists())
        self.path.chmod(0o700)
        self.assertEqual(self.held(read_only=False)[0], 1)

    def test_another_user_who_may_not(self) -> None:
        self.path.chmod(0o755)
        self.assertEqual(
            self.as_nobody(self.held), f"StoreError: {self.path / 'log.sqlite'}: Permission denied"
        )
        self.path.chmod(0o700)
        self.assertEqual(self.as_nobody(self.held), f"StoreError: {self.path}: Permission denied")

    def test_an_owner_who_may_not_write(self) -> None:
        """Opened as usual, it is read: what was put into an archive was made so on purpose."""

        def use() -> object:
            with closing(open_logs(self.path)) as logs:
                try:
                    logs.process([Append(self.ann, [b"two"])])
                except StoreFailedError as error:
                    return logs.clock.seq(self.ann), logs.copied, str(error)

        if os.geteuid() == 0:
            for file in [self.path, *self.path.rglob("*")]:
                os.chown(file, NOBODY, NOBODY)
        for frozen in ((".", "log.sqlite", "lock", "generation"), (".",), ("log.sqlite",), ("lock",)):
            for name in frozen:
                (self.path / name).chmod(0o500 if name == "." else 0o400)
            before = everything(self.path)
            said = as_nobody(use) if os.geteuid() == 0 else repr(use())
            self.assertTrue(said.startswith("(1, '', "), said)
            self.assertIn("its modes let nobody write", said)
            self.assertEqual(everything(self.path), before)
            mend = self.as_nobody(lambda: salvage(self.path))
            self.assertIn("StoreFailedError", mend)
            self.assertEqual(everything(self.path), before)
            for name in frozen:
                (self.path / name).chmod(0o700 if name == "." else 0o600)

    def test_a_node(self) -> None:
        """It serves peers from a store that has no node key and no network, and that it must not write to."""
        before = everything(self.path)
        world = World()
        site = world.site("reader")
        address = site.listen()
        store = Store(
            lambda: open_logs(self.path, read_only=True), world.reactor, str(self.path), VirtualThread
        )
        node = Node(world.reactor, store, network=NETWORK)
        node.connect(address)
        world.run(5.0)
        self.assertEqual(site.store.clock.seq(self.ann), 1)
        site.append(b"news that it has no room for")
        world.run(5.0)
        world.result(node.stop())
        world.result(store.close())
        self.assertEqual(everything(self.path), before)


class FromHereTests(SynchronousTestCase):
    """Which stores were written here, told without a look at the database."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.use()

    def use(self) -> None:
        with closing(open_logs(self.path)) as logs:
            logs.writer("ann")

    def test_as_it_was_left(self) -> None:
        for _ in range(3):
            self.assertTrue(is_from_here(str(self.path)))
            self.use()

    def test_while_it_is_open(self) -> None:
        with closing(open_logs(self.path)):
            self.assertTrue(is_from_here(str(self.path)))

    def test_moved(self) -> None:
        self.path = self.path.rename(self.path.with_name("moved"))
        self.assertTrue(is_from_here(str(self.path)))

    def test_killed(self) -> None:
        """Even before anything reached the database."""
        os.truncate(self.path / "log.sqlite", 0)
        self.assertTrue(is_from_here(str(self.path)))

    def test_a_copy_until_it_was_written_to(self) -> None:
        copy = self.path.with_name("copy")
        shutil.copytree(self.path, copy)
        self.assertFalse(is_from_here(str(copy)))
        self.path = copy
        with closing(open_logs(copy, read_only=True)):
            pass
        self.assertFalse(is_from_here(str(copy)))
        self.use()
        self.assertTrue(is_from_here(str(copy)))

    def test_one_that_is_shared(self) -> None:
        self.path.chmod(0o777)
        self.assertFalse(is_from_here(str(self.path)))

    def test_what_is_damaged_or_missing(self) -> None:
        file = self.path / "generation"
        content = file.read_bytes()
        for place in (0, 512, 1536, len(content) - 1):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            is_from_here(str(self.path))
        file.write_bytes(content[:1024])
        self.assertFalse(is_from_here(str(self.path)))
        file.unlink()
        self.assertFalse(is_from_here(str(self.path)))
        self.assertFalse(is_from_here("nowhere"))


class VerbTests(ProcessTestCase):
    """The command on a store that nobody named, which came with the directory."""

    def setUp(self) -> None:
        super().setUp()
        (self.place / "other").mkdir()
        self.run_gossiplog("init", cwd=self.place / "other")
        self.run_gossiplog("append", "one", "two", cwd=self.place / "other")
        self.own = self.place / "other" / ".gossiplog"
        self.store = self.place / ".gossiplog"
        shutil.copytree(self.own, self.store)

    def assert_untouched(self, *runs: tuple[str, ...], **where: Any) -> None:
        place = where.get("cwd", self.place) / ".gossiplog"
        before = everything(place)
        for arguments in runs:
            process = self.gossiplog(*arguments, **where)
            self.assertEqual((process.finish(), process.err), (0, ""), arguments)
            self.assertEqual(everything(place), before, arguments)

    def assert_refused(self, words: str, *runs: tuple[str, ...]) -> None:
        before = everything(self.place)
        for arguments in runs:
            process = self.gossiplog(*arguments)
            self.assertEqual(process.finish(), 1, arguments)
            self.assertIn(words, process.err)
            self.assertEqual(everything(self.place), before, arguments)

    def test_reading(self) -> None:
        """One's own, a clone, one that everybody may write to."""
        self.assert_untouched(*READING, cwd=self.own.parent)
        self.assert_untouched(*READING)
        self.store.chmod(0o777)
        self.assert_untouched(*(run for run in READING if run != ("id",)))

    def test_writing(self) -> None:
        self.assert_refused("came from elsewhere", *WRITING)

    def test_writing_to_what_was_named(self) -> None:
        self.run_gossiplog("follow", "--only", "--store", ".gossiplog")
        self.run_gossiplog("follow", "--everyone")
        self.assert_one_line(self.gossiplog("append", "text"), 1, "gossiplog recover")

    def test_a_link(self) -> None:
        """A clone may have one to a store of one's own."""
        shutil.rmtree(self.store)
        self.store.symlink_to(self.own)
        self.assert_refused("symbolic link", *READING, *WRITING)
        self.run_gossiplog("append", "--store", ".gossiplog", "text")

    def test_journals(self) -> None:
        """What was left open elsewhere is not taken over here unasked."""
        for name in ("log.sqlite-wal", "log.sqlite-journal"):
            (self.store / name).write_bytes(b"\0" * 600)
            self.assert_refused("was not closed", *READING)
            (self.store / name).unlink()
        self.assertRaises(StoreNotClosedError, self.open_unclosed)

    def open_unclosed(self) -> None:
        (self.store / "log.sqlite-wal").write_bytes(b"\0" * 600)
        open_logs(self.store, read_only=True).close()

    def test_left_open_here(self) -> None:
        """After a kill one's own store is read as ever."""
        process = self.gossiplog("append", cwd=self.own.parent)
        process.send("three")
        process.wait_for(" 3$")
        process.kill()
        self.assertTrue((self.own / "log.sqlite-wal").stat().st_size)
        self.assertIn("three", self.run_gossiplog("log", cwd=self.own.parent))

    def test_a_node_key_that_came_along(self) -> None:
        """Whoever left a directory to become a store knows no secret of it."""
        shutil.rmtree(self.store)
        with closing(open_logs(self.own)) as logs:
            planted = logs.node_key()
        for database in (False, True):
            self.store.mkdir()
            shutil.copy(self.own / "node.key", self.store)
            if database:
                (self.store / "log.sqlite").touch()
                self.assert_refused("came from elsewhere", ("init",))
            self.run_gossiplog("init", "--store", ".gossiplog")
            with closing(open_logs(self.store)) as logs:
                self.assertNotEqual(logs.node_key(), planted)
            shutil.rmtree(self.store)

    def test_a_donor_is_only_read(self) -> None:
        """``verify --repair --from`` may be given anybody's."""
        before = everything(self.store)
        self.run_gossiplog("verify", "--repair", "--from", ".gossiplog", "--store", str(self.own))
        self.assertEqual(everything(self.store), before)

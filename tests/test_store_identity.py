"""Copied, moved and restored stores: every sign alone, no false alarm, and what such a store does and does not do."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from msgpack import packb
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog.errors import StoreCopiedError, StoreError, StoreFullError
from gossiplog.log.segment import Segment, verify
from gossiplog.store.copy_guard import generation, guard, identity
from gossiplog.store.copy_guard.birth import birth
from gossiplog.store.copy_guard.identity import ATTRIBUTE, MACHINE_ID
from gossiplog.store.interface import RowWrite
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, Append, Appended, Reply
from gossiplog.store.sqlite.backend import SQLiteBackend
from gossiplog.store.sqlite.rows import sealed
from tests.processes import environment

ALL = 1 << 30
DATABASE = "log.sqlite"
NO_SIGN = ""


def open_until(path: Path, fatal: int) -> None:
    """Open and close a store on a disk that fails at one statement."""
    statements = 0

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            nonlocal statements
            if not sql.startswith(("PRAGMA", "SELECT")):
                statements += 1
                if statements == fatal:
                    raise sqlite3.OperationalError("injected")
            return super().execute(sql, *parameters)

    backend = SQLiteBackend(path, factory=Failing)
    try:
        Logs(backend).close()
    except (StoreError, sqlite3.OperationalError):
        backend.close()


class IdentityTestCase(SynchronousTestCase):
    """A store in which ann wrote three entries, closed."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir(parents=True)
        self.path = self.place / "store"
        self.machine("0123456789abcdef" * 2)
        logs = self.open()
        self.ann = logs.writer("ann").author
        self.node_key = logs.node_key()
        self.append(logs, 3)
        logs.close()

    # -- what is around a store

    def machine(self, content: str | None) -> None:
        """Be on another machine: its id is ``content``."""
        file = self.place / "machine-id"
        if content is None:
            file.unlink()
        else:
            file.write_text(f"{content}\n")
        self.patch(identity, "MACHINE_ID", str(file))

    def without_attributes(self) -> None:
        """Be on a file system without extended attributes."""

        def refuse(*_: object, **__: object) -> Any:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

        if sys.platform == "linux":
            self.patch(os, "getxattr", refuse)
            self.patch(os, "setxattr", refuse)

    def needs_attributes(self, path: Path | None = None) -> bytes:
        """Return the mark of the database; skip the test where there is none."""
        try:
            return os.getxattr((path or self.path) / DATABASE, ATTRIBUTE)
        except (AttributeError, OSError):
            raise SkipTest("no extended attributes here") from None

    # -- what is done with it

    def open(self, path: Path | None = None) -> Logs:
        logs = open_logs(path or self.path)
        self.addCleanup(logs.close)
        return logs

    def append(self, logs: Logs, count: int = 1, author: bytes | None = None) -> Reply:
        bodies = [b"entry %d" % number for number in range(count)]
        [result] = logs.process([Append(author or self.ann, bodies)]).results
        return result

    def use(self, count: int = 1) -> list[Segment]:
        """Open the store, append, close it; return what it holds of ann."""
        logs = self.open()
        self.assertIsInstance(self.append(logs, count), Appended)
        held = logs.segments(self.ann, 1, ALL)
        logs.close()
        return held

    def overwrite(self, name: str, content: bytes) -> None:
        """Put a file back as ``cp`` does: the inode and its attributes stay."""
        with open(self.path / name, "r+b") as file:
            file.truncate()
            file.write(content)

    def inodes(self) -> dict[str, int]:
        return {name: (self.path / name).stat().st_ino for name in (".", *os.listdir(self.path))}

    def content(self, *names: str) -> dict[str, bytes]:
        return {name: (self.path / name).read_bytes() for name in names}

    def assert_ours(self, path: Path | None = None) -> None:
        """It is the store that was here before, and goes on."""
        logs = self.open(path)
        self.assertEqual(logs.copied, NO_SIGN)
        seq = logs.clock.seq(self.ann)
        self.assertEqual(self.append(logs), Appended(seq + 1, seq + 1))
        self.assertEqual(logs.node_key(), self.node_key)
        logs.close()

    def assert_copied(self, words: str, path: Path | None = None) -> None:
        """It is a copy, says why, and does not write for ann, now and when it is opened again."""
        for _ in range(2):
            logs = self.open(path)
            self.assertIn(words, logs.copied)
            result = self.append(logs)
            self.assertIsInstance(result, StoreCopiedError)
            for part in (words, logs.path, "gossiplog recover"):
                self.assertIn(part, str(result))
            self.assertNotEqual(logs.node_key(), self.node_key)
            self.assertTrue(logs.verify().ok)
            logs.close()


class NoFalseAlarmTests(IdentityTestCase):
    """What happens to every store some day."""

    def test_opened_again_and_again(self) -> None:
        for _ in range(10):
            self.assert_ours()

    def test_opened_again_without_attributes(self) -> None:
        self.without_attributes()
        for _ in range(3):
            self.assert_ours()

    def test_moved_within_the_file_system(self) -> None:
        for name in ("moved", "moved again"):
            self.path = self.path.rename(self.place / name)
            self.assert_ours()

    def test_reached_by_another_path(self) -> None:
        (self.place / "link").symlink_to(self.path)
        self.assert_ours(self.place / "link")

    def test_reboot_or_remount(self) -> None:
        """The device number is given anew; the inodes stay."""
        stat = os.stat

        def on_another_device(*arguments: Any, **options: Any) -> os.stat_result:
            found = list(stat(*arguments, **options))
            found[2] += 77
            return os.stat_result(found)

        self.patch(os, "stat", on_another_device)
        self.assert_ours()

    def test_a_machine_without_an_id(self) -> None:
        """A container may have none, or an empty one, or one that is still to come."""
        for content in (None, "", "uninitialized", "0123456789abcdef" * 2):
            self.machine(content)
            self.assert_ours()

    def test_attributes_that_cannot_be_read_now(self) -> None:
        self.without_attributes()
        self.assert_ours()

    def test_a_disk_that_takes_no_writes(self) -> None:
        """Everything can be read; later it is the same store as before."""

        class Full(SQLiteBackend):
            def commit(self, writes: Sequence[RowWrite]) -> None:
                raise StoreFullError("no space left")

        for _ in range(3):
            logs = Logs(Full(self.path))
            self.assertEqual(logs.copied, NO_SIGN)
            self.assertEqual(logs.clock.seq(self.ann), 3)
            logs.close()
        self.assert_ours()

    def test_a_start_that_was_cut_short(self) -> None:
        """Whichever statement of opening is the last one, the next process finds its own store."""
        for fatal in range(1, 12):
            open_until(self.path, fatal)
            self.assert_ours()

    def test_writers_that_come_and_go(self) -> None:
        logs = self.open()
        bob = logs.writer("bob").author
        self.append(logs, 5, bob)
        logs.close()
        self.assert_ours()
        (self.path / "seeds" / "bob").unlink()
        self.assert_ours()

    def test_in_memory_there_is_no_copy(self) -> None:
        backend = MemoryBackend()
        logs = Logs(backend)
        ann = logs.writer("ann").author
        logs = Logs(backend.snapshot())
        self.assertEqual(logs.copied, NO_SIGN)
        self.assertIsInstance(self.append(logs, 1, ann), Appended)


APPEND_AFTER_BOOT = """
mount --bind "$1" /proc/sys/kernel/random/boot_id || exit 9
shift
exec "$@"
"""


class RemountTests(SynchronousTestCase):
    """A file system that is really unmounted and mounted again, on a machine that was really not copied; for root."""

    def setUp(self) -> None:
        needed = ("mount", "umount", "mkfs.ext4", "unshare")
        if sys.platform != "linux" or os.geteuid() or not all(map(shutil.which, needed)):
            raise SkipTest("to mount a file system takes root on Linux")
        self.place = Path(self.mktemp()).absolute()
        self.disk = self.place / "disk"
        self.disk.mkdir(parents=True)
        self.store = self.disk / "store"
        self.image = self.blank("image")

    def blank(self, name: str) -> Path:
        """Return a file with an empty file system in it."""
        image = self.place / name
        with open(image, "xb") as file:
            file.truncate(8 << 20)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        return image

    def mounted(self, image: Path, place: Path) -> int:
        """Mount an image, if that is allowed here; return the number of the device."""
        done = subprocess.run(["mount", "-o", "loop,user_xattr", image, place], capture_output=True)
        if done.returncode:
            raise SkipTest("mounting is not allowed here")
        self.addCleanup(subprocess.run, ["umount", "-l", place], capture_output=True)
        return os.stat(place).st_dev

    def append(self) -> int:
        """Open, append, close; return the seq."""
        with closing(open_logs(self.store)) as logs:
            self.assertEqual(logs.copied, NO_SIGN)
            author = logs.writer("ann").author
            [result] = logs.process([Append(author, [b"text"])]).results
            self.assertIsInstance(result, Appended)
            return logs.clock.seq(author)

    def test_mounted_again(self) -> None:
        """As another device, since something else was plugged in first: no alarm, again and again."""
        devices = {self.mounted(self.image, self.disk)}
        self.assertEqual(self.append(), 1)
        others = []
        for seq in (2, 3):
            subprocess.run(["umount", self.disk], check=True)
            other = self.place / f"other {seq}"
            other.mkdir()
            others.append(self.mounted(self.blank(f"blank {seq}"), other))
            devices.add(self.mounted(self.image, self.disk))
            self.assertEqual(self.append(), seq)
        self.assertGreater(len(devices), 1)

    def test_an_image_that_was_copied(self) -> None:
        """The disk of a virtual machine, on the same host: its copy tells nothing, so the host's machine id has to."""
        self.mounted(self.image, self.disk)
        self.append()
        subprocess.run(["umount", self.disk], check=True)
        copy = self.place / "copy"
        shutil.copy2(self.image, copy)
        self.mounted(copy, self.disk)
        other = self.place / "machine-id"
        other.write_text("f" * 32)
        self.patch(identity, "MACHINE_ID", str(other))
        with closing(open_logs(self.store)) as logs:
            if identity.machine_id(MACHINE_ID):
                self.assertEqual(logs.copied, "this is another machine")

    def test_rebooted(self) -> None:
        """The same machine with another boot id, in a process of its own: it appends."""
        self.mounted(self.image, self.disk)
        self.append()
        fresh = self.place / "boot_id"
        fresh.write_text("00000000-0000-4000-8000-000000000000\n")
        command = [
            sys.executable,
            "-m",
            "gossiplog.app.cli",
            "append",
            "--store",
            self.store,
            "--writer",
            "ann",
            "x",
        ]
        told = subprocess.run(
            ["unshare", "-m", "sh", "-c", APPEND_AFTER_BOOT, "sh", fresh, *command],
            env=environment(),
            capture_output=True,
            text=True,
        )
        if told.returncode == 9 or "unshare" in told.stderr:
            raise SkipTest("namespaces are not allowed here")
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        self.assertEqual(self.append(), 3)


class SignTests(IdentityTestCase):
    """Each sign alone."""

    def test_another_machine(self) -> None:
        self.machine("f" * 32)
        self.assert_copied("another machine")

    def test_the_machines_id_is_not_stored(self) -> None:
        """Nor can two stores of one machine be recognised by what is."""
        stored = [file.read_bytes() for file in self.path.rglob("*") if file.is_file()]
        for raw in (b"0123456789abcdef" * 2, bytes.fromhex("0123456789abcdef" * 2)):
            self.assertFalse([content for content in stored if raw in content])
        hashes = {identity.hash_machine(b"0" * 32, token) for token in (b"a" * 16, b"b" * 16)}
        self.assertEqual(len(hashes), 2)
        self.assertEqual(identity.machine_id(MACHINE_ID), identity.machine_id(MACHINE_ID))

    def test_another_database_file(self) -> None:
        """As an editor or ``rsync -X`` leaves it: everything is carried over, but to a new inode."""
        copy = self.path / "new"
        shutil.copy2(self.path / DATABASE, copy)
        copy.rename(self.path / DATABASE)
        self.assert_copied("another file")

    def test_another_directory(self) -> None:
        """The inode of the database is the same, as it is with hard links."""
        other = self.place / "another"
        (other / "seeds").mkdir(parents=True)
        for file in list(self.path.rglob("*")):
            if file.is_file():
                file.rename(other / file.relative_to(self.path))
        self.assert_copied("directory", other)

    def test_no_mark(self) -> None:
        """A new file may get the inode of the one just removed; the mark is gone with that."""
        self.needs_attributes()
        os.removexattr(self.path / DATABASE, ATTRIBUTE)
        self.assert_copied("mark")

    def test_a_database_put_back(self) -> None:
        """Over the newer one, with all its inodes and marks."""
        self.without_attributes()
        [older] = self.content(DATABASE).values()
        self.use()
        self.overwrite(DATABASE, older)
        self.assert_copied("older than its files")

    def test_files_put_back(self) -> None:
        [older] = self.content("generation").values()
        self.use()
        self.overwrite("generation", older)
        self.assert_copied("newer than its files")

    def test_everything_put_back(self) -> None:
        """As ``cp -R backup/. store``: only the mark is not overwritten."""
        self.needs_attributes()
        older = self.content(DATABASE, "generation", "node.key", "seeds/ann")
        self.use()
        for name, content in older.items():
            self.overwrite(name, content)
        self.assert_copied("older than its files")

    def test_everything_put_back_with_its_marks(self) -> None:
        """As ``cp -a backup/. store``, into the very same files; once and again."""
        for _ in range(3):
            backup = self.place / "backup"
            subprocess.run(["cp", "-a", self.path, backup], check=True)
            older = self.inodes()
            self.use()
            subprocess.run(["cp", "-a", f"{backup}/.", self.path], check=True)
            self.assertEqual(self.inodes()[DATABASE], older[DATABASE])
            self.assert_copied("written over with another one")
            logs = self.open()
            logs.recovered()
            logs.close()
            shutil.rmtree(backup)

    def test_another_file_with_the_same_inode(self) -> None:
        """It came to be later, which no tool can put back."""
        if not birth(str(self.path / DATABASE)):
            raise SkipTest("this file system does not say when a file came to be")
        inodes = self.inodes()
        subprocess.run(["cp", "-a", self.path, self.place / "backup"], check=True)
        self.use()
        shutil.rmtree(self.path)
        (self.place / "backup").rename(self.path)

        def as_before(file: str) -> identity.Signs:
            return identity.read_signs(file)._replace(
                database=inodes[DATABASE], directory=inodes["."]
            )  # as a file system gives them out again that takes the lowest free one

        self.patch(guard, "read_signs", as_before)
        self.patch(generation.GenerationFile, "_is_itself", lambda *_: True)
        self.assert_copied("another file than the one written here")

    def test_where_births_are_not_known(self) -> None:
        """Nothing follows from that: not when they were known before, nor when they are later."""
        for known in (False, True, False):
            for module in (identity, generation):
                self.patch(module, "birth", birth if known else lambda _: 0)
            self.assert_ours()

    def test_a_database_put_back_within_one_generation(self) -> None:
        """A process that ran for months was backed up on the way."""
        logs = self.open()
        self.append(logs)
        older = self.content(DATABASE, f"{DATABASE}-wal")
        self.append(logs, 2)
        logs.close()
        (self.path / f"{DATABASE}-wal").touch()
        for name, content in older.items():
            self.overwrite(name, content)
        self.assert_copied("lacks the own entry 6")

    def test_own_entries_that_are_nowhere_whole(self) -> None:
        """What peers show of it outlives the process; another writer is not concerned."""
        logs = self.open()
        bob = logs.writer("bob").author
        self.assertIn("up to 9", logs.overtaken(self.ann, 9))
        self.assertIsInstance(self.append(logs), StoreCopiedError)
        self.assertEqual(self.append(logs, 1, bob), Appended(1, 1))
        logs.close()
        logs = self.open()
        self.assertIn("up to 9", logs.copied)
        self.assertIsInstance(self.append(logs), StoreCopiedError)
        self.assertEqual(self.append(logs, 1, bob), Appended(2, 2))
        logs.recovered()
        self.assertEqual(self.append(logs), Appended(4, 4))

    def test_the_file_of_generations(self) -> None:
        file = self.path / "generation"
        file.unlink()
        self.assert_copied("missing")

    def test_the_file_of_generations_damaged(self) -> None:
        self.overwrite("generation", bytes(2000))
        self.assert_copied("damaged")

    def test_a_torn_record_of_generations(self) -> None:
        """A power loss may tear the record that was being written, never both."""
        for place in (0, 512, 1024):
            content = bytearray(self.content("generation")["generation"])
            if place != 1024:  # the one of the generation before
                current = max(content[16:24], content[528:536])
                content[16:24] = content[528:536] = current
            content[place + 3] ^= 1
            self.overwrite("generation", bytes(content))
            self.assert_ours()

    def test_a_database_of_another_store(self) -> None:
        self.without_attributes()
        other = self.open(self.place / "other")
        bob = other.writer("bob").author
        self.append(other, 2, bob)
        other.close()
        self.overwrite(DATABASE, (self.place / "other" / DATABASE).read_bytes())
        logs = self.open()
        self.assertIn("another file", logs.copied)
        self.assertIsInstance(self.append(logs), StoreCopiedError)

    def test_files_of_another_store(self) -> None:
        other = self.open(self.place / "other")
        self.append(other, 2, other.writer("bob").author)
        other.close()
        self.overwrite("generation", (self.place / "other" / "generation").read_bytes())
        self.assert_copied("of two stores")

    def test_an_unmarked_database(self) -> None:
        connection = sqlite3.connect(self.path / DATABASE)
        connection.execute("DELETE FROM meta WHERE key = 'identity'")
        connection.commit()
        connection.close()
        self.assert_copied("not marked")

    def test_a_stamp_of_nonsense(self) -> None:
        stamp = [bytes(16), 1, 1, 1, b"", True, 1]
        generations = (-1, 0, 2**63, 2**64 - 1)
        nonsense = [packb([stamp[0], generation, *stamp[2:]]) for generation in generations]
        for value in (b"\0", b"\xc1", packb(stamp[:5]), packb([*stamp[:3], 1.0, b"", True, 1]), *nonsense):
            connection = sqlite3.connect(self.path / DATABASE)
            connection.execute(
                "UPDATE meta SET value = ? WHERE key = 'identity'", (sealed("meta", b"identity", value),)
            )
            connection.commit()
            connection.close()
            self.assert_copied("not marked")


class CopyTests(IdentityTestCase):
    """Copies as tools make them."""

    def check(self, copy: Callable[[Path], object]) -> None:
        other = self.place / "copy"
        copy(other)
        self.assert_copied("", other)
        logs = self.open(other)
        self.assertNotEqual(logs.copied, NO_SIGN)
        logs.close()
        self.assert_ours()

    def test_cp(self) -> None:
        self.check(lambda other: subprocess.run(["cp", "-r", self.path, other], check=True))

    def test_cp_with_all_attributes(self) -> None:
        """GNU's ``-a`` carries the mark too; the inode tells."""
        self.check(lambda other: subprocess.run(["cp", "-a", self.path, other], check=True))

    def test_tar(self) -> None:
        def copy(other: Path) -> None:
            archive = self.place / "store.tar"
            subprocess.run(["tar", "cf", archive, "-C", self.path, "."], check=True)
            other.mkdir()
            subprocess.run(["tar", "xf", archive, "-C", other], check=True)

        self.check(copy)

    def test_tar_in_place(self) -> None:
        """A backup unpacked over the newer store: removed and made anew, perhaps with the same inode."""
        archive = self.place / "store.tar"
        subprocess.run(["tar", "cf", archive, "-C", self.path, "."], check=True)
        self.use(4)
        subprocess.run(["tar", "xf", archive, "-C", self.path], check=True)
        self.assert_copied("")
        self.assertEqual(self.open().clock.seq(self.ann), 3)

    def test_file_by_file(self) -> None:
        """As rsync does: a new file beside, then renamed."""

        def copy(other: Path) -> None:
            for file in sorted(self.path.rglob("*")):
                into = other / file.relative_to(self.path)
                if file.is_dir():
                    into.mkdir(parents=True)
                else:
                    into.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, into.with_name(".part"))
                    into.with_name(".part").rename(into)

        self.check(copy)

    def test_an_open_store(self) -> None:
        """With everything that is in its write-ahead log."""
        logs = self.open()
        self.append(logs, 4)
        shutil.copytree(self.path, self.place / "copy")
        logs.close()
        self.assert_copied("", self.place / "copy")
        self.assertEqual(self.open(self.place / "copy").clock.seq(self.ann), 7)
        self.assert_ours()

    def test_the_database_alone_is_no_danger(self) -> None:
        """Without seeds nobody can fork anything: it is a store of its own, with writers of its own."""
        other = self.place / "copy"
        other.mkdir()
        shutil.copy(self.path / DATABASE, other)
        logs = self.open(other)
        self.assertEqual(logs.copied, NO_SIGN)
        bob = logs.writer("bob").author
        self.assertEqual(self.append(logs, 2, bob), Appended(1, 2))
        logs.close()
        logs = self.open(other)
        self.assertEqual(logs.copied, NO_SIGN)
        logs.close()

    def test_seeds_that_come_later(self) -> None:
        """Then they are somebody's backup, and the database may be older than their log."""
        self.test_the_database_alone_is_no_danger()
        shutil.copy(self.path / "seeds" / "ann", self.place / "copy" / "seeds")
        self.use()
        logs = self.open(self.place / "copy")
        self.assertIn("'ann' came from elsewhere", logs.copied)
        self.assertIsInstance(self.append(logs), StoreCopiedError)
        self.assertEqual(self.append(logs, 1, logs.writer("bob").author), Appended(3, 3))

    def test_a_relay(self) -> None:
        """No writers, but a node key, which two nodes must not share."""
        relay = self.open(self.place / "relay")
        key = relay.node_key()
        relay.close()
        shutil.copytree(self.place / "relay", self.place / "copy")
        copy = self.open(self.place / "copy")
        self.assertEqual(copy.copied, NO_SIGN)
        self.assertNotEqual(copy.node_key(), key)
        self.assertEqual(self.open(self.place / "relay").node_key(), key)


class RecoveryTests(IdentityTestCase):
    """What a copy does, and how it becomes a store that writes."""

    def setUp(self) -> None:
        super().setUp()
        self.copy = self.place / "copy"
        shutil.copytree(self.path, self.copy)

    def test_the_node_key_is_new_at_once_and_then_stays(self) -> None:
        keys = []
        for _ in range(2):
            logs = self.open(self.copy)
            keys.append(logs.node_key())
            logs.recovered()
            logs.close()
        self.assertEqual(len({*keys, self.node_key}), 2)
        self.assert_ours()

    def test_a_copy_of_a_copy_is_another_copy(self) -> None:
        first = self.open(self.copy)
        key = first.node_key()
        first.close()
        shutil.copytree(self.copy, self.place / "third")
        third = self.open(self.place / "third")
        self.assertNotEqual(third.copied, NO_SIGN)
        self.assertNotIn(third.node_key(), (key, self.node_key))
        third.recovered()
        self.assertNotEqual(self.open(self.copy).copied, NO_SIGN)

    def test_reading_replicating_and_new_writers_work(self) -> None:
        newer = self.use(2)
        logs = self.open(self.copy)
        self.assertTrue(logs.verify().ok)
        bob = logs.writer("bob").author
        own = newer[-1]
        results = logs.process(
            [Append(self.ann, [b"no"]), Append(bob, [b"yes"]), Accept(own, verify(own))]
        ).results
        self.assertIsInstance(results[0], StoreCopiedError)
        self.assertEqual(results[1], Appended(1, 1))
        self.assertEqual(logs.clock.seq(self.ann), 5)
        logs.close()
        logs = self.open(self.copy)
        self.assertIsInstance(self.append(logs), StoreCopiedError)
        self.assertEqual(self.append(logs, 1, bob), Appended(2, 2))

    def test_recovered(self) -> None:
        """What came back is continued, in this process and the next."""
        newer = self.use(2)
        logs = self.open(self.copy)
        logs.process([Accept(newer[-1], verify(newer[-1]))])
        logs.recovered()
        self.assertEqual(logs.copied, NO_SIGN)
        self.assertEqual(self.append(logs), Appended(6, 6))
        [held] = logs.segments(self.ann, 6, 1)
        self.assertEqual(held.previous, verify(newer[-1]).id)
        logs.close()
        for seq in (7, 8):
            logs = self.open(self.copy)
            self.assertEqual(logs.copied, NO_SIGN)
            self.assertEqual(self.append(logs), Appended(seq, seq))
            logs.close()

    def test_recovered_without_need_writes_nothing(self) -> None:
        logs = self.open()
        before = self.content(f"{DATABASE}-wal")
        logs.recovered()
        self.assertEqual(self.content(f"{DATABASE}-wal"), before)
        self.assertEqual(self.append(logs), Appended(4, 4))

    def test_a_recovered_store_is_watched_like_any_other(self) -> None:
        logs = self.open(self.copy)
        logs.recovered()
        self.append(logs)
        logs.close()
        shutil.copytree(self.copy, self.place / "again")
        self.assertNotEqual(self.open(self.place / "again").copied, NO_SIGN)
        self.assertEqual(self.open(self.copy).copied, NO_SIGN)

    def test_a_disk_that_fails_while_a_copy_is_marked(self) -> None:
        """Whatever was done by then, the next opening finds the copy; even where only one sign was left."""
        for fatal in range(1, 9):
            other = self.place / f"copy {fatal}"
            shutil.copytree(self.path, other)
            open_until(other, fatal)
            self.assert_copied("", other)
        for fatal in range(1, 9):
            self.path = self.place / f"restored {fatal}"
            logs = self.open()
            self.ann = logs.writer("ann").author
            self.append(logs, 3)
            self.node_key = logs.node_key()
            logs.close()
            older = self.content(DATABASE)[DATABASE]
            self.use()
            self.overwrite(DATABASE, older)
            open_until(self.path, fatal)
            self.assert_copied("")

    def test_a_disk_that_fails_while_it_is_recovered(self) -> None:
        logs = self.open(self.copy)

        def fail(writes: Sequence[RowWrite]) -> None:
            raise StoreFullError("no space left")

        self.patch(logs._backend, "commit", fail)
        self.assertRaises(StoreFullError, logs.recovered)
        self.assertNotEqual(logs.copied, NO_SIGN)
        self.assertIsInstance(self.append(logs), StoreCopiedError)

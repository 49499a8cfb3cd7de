"""Seeds under a passphrase: what is refused without it, and that no accident and no file of others costs one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import struct
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt
from nacl.pwhash import argon2id
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import aio, blocking, limits
from gossiplog.app import cli, passphrases
from gossiplog.app.keyfile import passphrase as passphrase_in
from gossiplog.app.tap import Options
from gossiplog.errors import (
    ControlError,
    GossiplogError,
    InvalidValueError,
    KeyFileError,
    KeyLockedError,
    StoreDamagedError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreUnsafeError,
    WrongPassphraseError,
)
from gossiplog.live.backing_up import back_up
from gossiplog.live.hands import OwnHands
from gossiplog.log import passphrase as passphrases_module
from gossiplog.log.body import encode_body
from gossiplog.log.kept_key import SEALED_TAG, ForeignKey, SealedSeed, Slot, check_kept, dump, load, seal
from gossiplog.log.keys import Keypair
from gossiplog.log.passphrase import Cost, Passphrase
from gossiplog.store import folder, secret_files
from gossiplog.store.folder import open_folder
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Append, Appended
from gossiplog.store.secret_files import SecretFiles
from gossiplog.store.writer_keys import WriterKeys
from tests.processes import ProcessTestCase, environment
from tests.serving import ServedCase

CHEAP = Cost(1, 8192)
SECRET = "correct horse"
OTHER = "battery staple"
PAIR = Keypair(bytes(range(32)))


def entropy(size: int) -> bytes:
    return os.urandom(size)


def sealed(text: str = SECRET, cost: Cost = CHEAP, pair: Keypair = PAIR) -> SealedSeed:
    """A seed under a passphrase."""
    return SealedSeed(pair.author, (seal(pair, Passphrase(text).key(cost, entropy(16)), entropy),))


def append(logs: Logs, name: str = "ann") -> Any:
    """Append an entry; what came of it."""
    author = logs.writers()[name]
    [result] = logs.process([Append(author, [encode_body(1, b"x")])]).results
    return result


class PassphraseTests(SynchronousTestCase):
    """Which texts are passphrases, and what is made of them."""

    def test_one_form(self) -> None:
        """Typed in whatever way, it is the same: NFKD."""
        for one, other in (("caf\u00e9", "cafe\u0301"), ("\ufb01x", "fix"), ("\uac00", "\u1100\u1161")):
            self.assertNotEqual(one, other)
            kept = sealed(one)
            self.assertIsNotNone(kept.open(Passphrase(other)))
            self.assertIsNone(kept.open(Passphrase(f"{other} ")))

    def test_none(self) -> None:
        """An empty one, one that UTF-8 cannot write and one that is a file's worth; the error does not repeat it."""
        for text in ("", "hidden\ud800", "hidden" * 200, b"hidden", 5):
            error = self.assertRaises(InvalidValueError, Passphrase, text)
            self.assertNotIn("hidden", str(error))
        Passphrase("x" * limits.MAX_PASSPHRASE_CHARS)
        self.assertRaises(InvalidValueError, Passphrase, "x" * (limits.MAX_PASSPHRASE_CHARS + 1))

    def test_nothing_is_shown(self) -> None:
        """Neither in a text about it, nor in one about what is made of it."""
        taken = Passphrase(SECRET)
        key = taken.key(CHEAP, bytes(16))
        for shown in (
            repr(taken),
            str(key),
            repr(Keypair(bytes(32))),
            repr(vars(passphrases_module).get("x")),
        ):
            self.assertNotIn(SECRET, shown)
            self.assertNotIn(key.key.hex(), shown)
            self.assertNotIn("\\x", shown)

    def test_a_file_asks_for_too_much(self) -> None:
        """Memory, passes, salts: refused before anything is computed."""
        spent: list[int] = []
        self.patch(argon2id, "kdf", lambda *_, memlimit, **__: spent.append(memlimit) or bytes(32))
        most = limits.MAX_PASSPHRASE_BYTES
        for cost in (Cost(1, most + 1024), Cost(limits.MAX_PASSPHRASE_PASSES + 1, 8192), Cost(0, 8192)):
            self.assertRaises(StoreFormatError, Passphrase(SECRET).key, cost, bytes(16))
        self.assertEqual(spent, [])
        taken = Passphrase(SECRET)
        for number in range(limits.MAX_PASSPHRASE_SALTS):
            taken.key(Cost(limits.MAX_PASSPHRASE_PASSES, most), bytes([number] * 16))
            taken.key(Cost(limits.MAX_PASSPHRASE_PASSES, most), bytes([number] * 16))
        self.assertEqual(len(spent), limits.MAX_PASSPHRASE_SALTS)
        self.assertRaises(StoreFormatError, taken.key, CHEAP, bytes(16))

    def test_a_new_one(self) -> None:
        """What it costs is what ``limits`` says, and what a file may say."""
        self.assertEqual(passphrases_module.COST, (limits.PASSPHRASE_PASSES, limits.PASSPHRASE_BYTES))
        self.assertLessEqual(limits.PASSPHRASE_PASSES, limits.MAX_PASSPHRASE_PASSES)
        self.assertLessEqual(limits.PASSPHRASE_BYTES, limits.MAX_PASSPHRASE_BYTES)

    def test_no_memory(self) -> None:
        """What libsodium cannot get is an error of ours."""

        def fails(*_: Any, **__: Any) -> bytes:
            raise RuntimeError("Unexpected failure in key derivation")

        self.patch(argon2id, "kdf", fails)
        self.assertIn("memory", str(self.assertRaises(StoreError, Passphrase(SECRET).key, CHEAP, bytes(16))))


class SealedTests(SynchronousTestCase):
    """What is kept of a seed."""

    def test_as_documented(self) -> None:
        """The bytes are those that the how-to says, for who has to read them without us."""
        kept = dump(sealed())
        self.assertEqual(len(kept), 160)
        tag, author, passes, kib, salt, nonce, box = struct.unpack(">32s32sII16s24s48s", kept)
        self.assertEqual(
            (tag, author, passes, kib), (b"gossiplog/1 sealed seed".ljust(32, b"\0"), PAIR.author, 1, 8)
        )
        key = argon2id.kdf(32, SECRET.encode(), salt, opslimit=passes, memlimit=kib * 1024)
        self.assertEqual(crypto_aead_xchacha20poly1305_ietf_decrypt(box, kept[:88], nonce, key), PAIR.seed)

    def test_round_trip(self) -> None:
        """Plain, sealed, and under two passphrases."""
        one, other = sealed(), sealed(OTHER)
        both = SealedSeed(PAIR.author, (*one.slots, *other.slots))
        for kept in (one, other, both):
            self.assertEqual(load(dump(kept)), kept)
        self.assertEqual(load(PAIR.seed).author, PAIR.author)
        for text in (SECRET, OTHER):
            opened = both.open(Passphrase(text))
            assert opened is not None
            self.assertEqual(opened[0].seed, PAIR.seed)

    def test_any_bit(self) -> None:
        """Changed anywhere, it is no sealed seed, asks for too much, or does not open."""
        whole = dump(sealed())
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            try:
                kept = load(bytes(changed))
                assert isinstance(kept, SealedSeed)
                self.assertIsNone(kept.open(Passphrase(SECRET)), place)
            except (InvalidValueError, StoreFormatError):
                pass

    def test_nothing_else(self) -> None:
        """Lengths that are none, another tag, three slots."""
        whole = dump(sealed())
        slot = whole[64:]
        for kept in (
            b"",
            bytes(31),
            bytes(33),
            whole[:-1],
            whole + b"\0",
            whole + slot + slot,
            bytes(160),
            whole[:64],
        ):
            self.assertRaises(InvalidValueError, check_kept, kept)
        self.assertTrue(whole.startswith(SEALED_TAG))

    def test_the_seed_of_another_author(self) -> None:
        """Who knows the passphrase can put it there, and is found out."""
        key = Passphrase(SECRET).key(CHEAP, bytes(16))
        stranger = Keypair(bytes(32))
        lying = Keypair.__new__(Keypair)
        object.__setattr__(lying, "author", PAIR.author)
        object.__setattr__(lying, "seed", stranger.seed)
        kept = SealedSeed(PAIR.author, (seal(lying, key, entropy),))
        self.assertRaises(StoreDamagedError, kept.open, Passphrase(SECRET))


class StoreCase(SynchronousTestCase):
    """A store on disk, with cheap passphrases."""

    def setUp(self) -> None:
        self.patch(passphrases_module, "COST", CHEAP)
        self.path = Path(self.mktemp()).absolute()

    def make(self, *names: str, secret: str | None = SECRET) -> None:
        """Make the store, with writers that have an entry."""
        with closing(open_logs(self.path)) as logs:
            for name in names:
                logs.writer(name)
                append(logs, name)
            if secret is not None:
                logs.keys.protect(secret)

    def kept(self) -> dict[str, bytes]:
        """The files of seeds."""
        return {file.name: file.read_bytes() for file in (self.path / "seeds").iterdir()}

    def keys(self) -> WriterKeys:
        """The keys in the directory of the store, as they are there now."""
        secrets = SecretFiles(open_folder(str(self.path)), lambda: None)
        secrets.look_around()
        return WriterKeys(str(self.path), lambda: secrets)

    def opens(self, *texts: str | None) -> list[str | None]:
        """Return those of these that open all seeds, None for none at all; nothing is changed."""
        found = []
        for text in texts:
            keys = self.keys()
            self.patch(keys, "_settle", lambda _: None)
            try:
                if text is not None:
                    keys.unlock(text)
            except WrongPassphraseError:
                continue
            if not keys.is_locked:
                found.append(text)
        return found


class LockedTests(StoreCase):
    """A store whose seeds are protected."""

    def test_without_it(self) -> None:
        """All but signing works; nothing is written, and no new seed is left unprotected."""
        self.make("ann")
        with closing(open_logs(self.path)) as logs:
            self.assertTrue(logs.keys.is_locked and logs.keys.is_protected)
            [author] = logs.writers().values()
            self.assertEqual(logs.local, {author})
            self.assertIsInstance(append(logs), KeyLockedError)
            self.assertRaises(KeyLockedError, logs.writer, "bob")
            self.assertEqual(logs.writer("ann").author, author)
            self.assertEqual(logs.clock.seq(author), 1)
            self.assertEqual(len(logs.segments(author, 1, 1)), 1)
            self.assertTrue(logs.verify().ok)
            logs.node_key()
        self.assertEqual(list(self.kept()), ["ann"])
        with closing(open_logs(self.path, init=False, read_only=True)) as logs:
            self.assertEqual(logs.clock.total(), 1)

    def test_with_it(self) -> None:
        """Everything works, and new seeds are protected by the same."""
        self.make("ann")
        with closing(open_logs(self.path)) as logs:
            logs.keys.unlock(SECRET)
            self.assertFalse(logs.keys.is_locked)
            self.assertEqual(append(logs), Appended(2, 2))
            logs.writer("bob")
            self.assertEqual(append(logs, "bob"), Appended(1, 1))
        self.assertEqual(self.opens(SECRET, None), [SECRET])

    def test_no_seed_is_in_any_file(self) -> None:
        """Neither of those there were, nor of those made since."""
        self.make("ann", secret=None)
        seed = self.kept()["ann"][:32]
        with closing(open_logs(self.path)) as logs:
            logs.keys.protect(SECRET)
            fresh = logs.writer("bob")
            assert isinstance(fresh, Keypair)
        for place, _, files in os.walk(self.path):
            for file in files:
                content = (Path(place) / file).read_bytes()
                for secret in (seed, fresh.seed, SECRET.encode()):
                    self.assertNotIn(secret, content, file)

    def test_another(self) -> None:
        """Says so, and unlocks nothing."""
        self.make("ann", "bob")
        with closing(open_logs(self.path)) as logs:
            error = self.assertRaises(WrongPassphraseError, logs.keys.unlock, OTHER)
            self.assertNotIn(OTHER, str(error))
            self.assertIsInstance(append(logs), KeyLockedError)
            for old in (OTHER, None):
                before = self.kept()
                self.assertRaises((WrongPassphraseError, KeyLockedError), logs.keys.protect, "x", old)
                self.assertRaises((WrongPassphraseError, KeyLockedError), logs.keys.protect, None, old)
                self.assertEqual(self.kept(), before)

    def test_from_the_beginning(self) -> None:
        """A store that gets one when it is new never has a seed without."""
        with closing(open_logs(self.path)) as logs:
            logs.keys.unlock(SECRET)
            logs.writer("ann")
            self.assertEqual(append(logs), Appended(1, 1))
        self.assertEqual(self.opens(SECRET, OTHER, None), [SECRET])

    def test_taken_away(self) -> None:
        """The seeds are what they were."""
        self.make("ann", "bob", secret=None)
        before = self.kept()
        with closing(open_logs(self.path)) as logs:
            logs.keys.protect(SECRET)
            self.assertNotEqual(self.kept(), before)
            logs.keys.protect(None, SECRET)
            self.assertEqual(self.kept(), before)
            logs.writer("cat")
        self.assertEqual(len(self.kept()["cat"]), 36)

    def test_a_change_of_it(self) -> None:
        """The old one opens nothing afterwards, in the store that is open either."""
        self.make("ann", "bob")
        with closing(open_logs(self.path)) as logs:
            logs.keys.protect(OTHER, SECRET)
            self.assertEqual(append(logs), Appended(2, 2))
            logs.writer("cat")
        self.assertEqual(self.opens(SECRET, OTHER), [OTHER])

    def test_nothing_to_protect(self) -> None:
        """Nobody is told that seeds are protected which are made later, without."""
        with closing(open_logs(self.path)) as logs:
            self.assertRaises(InvalidValueError, logs.keys.protect, SECRET)
            logs.import_key("away", ForeignKey(PAIR.author))
            self.assertRaises(InvalidValueError, logs.keys.protect, SECRET)
            logs.keys.protect(None)

    def test_seeds_under_two(self) -> None:
        """Some came from elsewhere: none of both opens the store, and it says whose is whose."""
        self.make("ann", "bob")
        file = self.path / "seeds" / "bob"
        kept = dump(sealed(OTHER))
        file.write_bytes(kept + secret_files._check(kept))
        with closing(open_logs(self.path)) as logs:
            error = self.assertRaises(WrongPassphraseError, logs.keys.unlock, SECRET)
            self.assertIn("'bob'", str(error))
            self.assertIn("'ann'", str(error))
            self.assertRaises(WrongPassphraseError, logs.keys.unlock, OTHER)
            self.assertTrue(logs.keys.is_locked)

    def test_in_memory(self) -> None:
        """The same holds where nothing is on a disk."""
        with closing(Logs(MemoryBackend())) as logs:
            logs.writer("ann")
            logs.keys.protect(SECRET)
            self.assertRaises(KeyLockedError, logs.keys.protect, OTHER)
            self.assertEqual(append(logs), Appended(1, 1))

    def test_backups(self) -> None:
        """Have the seeds as they are kept, and follow a change of passphrase."""
        self.make("ann", secret=None)
        target = self.path.parent / "saved"
        with closing(open_logs(self.path)) as logs:
            back_up(OwnHands(logs), logs.path, target)
            self.assertEqual((target / "seeds/ann").read_bytes(), self.kept()["ann"])
            for new, old in ((SECRET, None), (OTHER, SECRET), (None, OTHER)):
                logs.keys.protect(new, old)
                report = back_up(OwnHands(logs), logs.path, target)
                self.assertEqual(report.left_out, {})
                self.assertEqual((target / "seeds/ann").read_bytes(), self.kept()["ann"])


class Died(BaseException):
    """The process was killed."""


class Dying:
    """I am the module os of a process that is killed, or whose disk is full, at one of the calls that change a disk."""

    def __init__(self, fatal: int, error: BaseException) -> None:
        self.count = 0
        self.fatal = fatal
        self.error = error

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("open", "fsync", "rename", "unlink", "fchmod", "mkdir"):
            return real

        def call(*args: Any, **keywords: Any) -> Any:
            self.count += 1
            if self.count == self.fatal or (self.count > self.fatal and isinstance(self.error, Died)):
                raise self.error
            return real(*args, **keywords)

        return call


class ChangeTests(StoreCase):
    """A change of passphrase that something cuts short."""

    CHANGES: tuple[tuple[str | None, str | None], ...] = ((None, SECRET), (SECRET, OTHER), (SECRET, None))

    def setUp(self) -> None:
        super().setUp()
        self.patch(
            os, "fsync", lambda _: None
        )  # a process that is killed loses nothing by it, and there are many

    @contextmanager
    def dying(self, fatal: int, error: BaseException) -> Iterator[Dying]:
        """Die at that call."""
        dying = Dying(fatal, error)
        undo = [self.patch(module, "os", dying) for module in (folder, secret_files)]
        try:
            yield dying
        finally:
            for each in undo:
                each.restore()

    def every_call(self, error: BaseException) -> Iterator[tuple[str | None, str | None, WriterKeys, bool]]:
        """Let each change of three seeds end at every call; from which to which, and whether it was done."""
        for old, new in self.CHANGES:
            for fatal in range(1, 1000):
                self.path = Path(self.mktemp()).absolute()
                self.path.mkdir(parents=True)
                keys = self.keys()
                for name in ("ann", "bob", "cat"):
                    keys.create(name, lambda _: None)
                if old is not None:
                    keys.protect(old)
                with self.dying(fatal, error) as dying:
                    try:
                        keys.protect(new, old)
                    except (Died, StoreFullError):
                        is_done = False
                    else:
                        is_done = True
                yield old, new, keys, is_done
                if dying.count < fatal:
                    self.assertTrue(is_done)
                    break
            self.assertGreater(fatal, 12)

    def assert_one_opens(self, old: str | None, new: str | None, is_done: bool) -> None:
        """Never neither; and once it is done, only the new one."""
        opening = self.opens(*{old, new} - {None})
        self.assertTrue(opening, (old, new, is_done))
        if is_done and new:
            self.assertEqual(self.opens(old, new), [new])
        elif is_done:
            self.assertEqual({len(kept) for kept in self.kept().values()}, {36})
        keys = self.keys()
        self.assertEqual([name for name in self.kept() if name.startswith(".")], [], "left over")
        keys.unlock(str(opening[0]))
        self.assertFalse(keys.is_locked)
        if keys.is_protected:
            self.assertEqual(self.opens(old, new), [opening[0]])

    def test_killed(self) -> None:
        """At any call: afterwards the old one opens all seeds, or the new one, and nothing half-done is left."""
        for old, new, _, is_done in self.every_call(Died()):
            self.assert_one_opens(old, new, is_done)

    def test_full_disk(self) -> None:
        """At any call: it is said, who has the store open signs, and the old or the new one opens all seeds."""
        for old, new, keys, is_done in self.every_call(OSError(28, "No space left on device")):
            self.assertFalse(keys.is_locked)
            self.assertEqual(
                [name for name in self.kept() if name.startswith(".")], [], "room taken for nothing"
            )
            self.assert_one_opens(old, new, is_done)

    def test_what_was_cut_short_is_finished(self) -> None:
        """Whichever opens all of them is the only one from then on."""
        for chosen, other in ((SECRET, OTHER), (OTHER, SECRET)):
            self.path = Path(self.mktemp()).absolute()
            self.make("ann", "bob")
            for file in (self.path / "seeds").iterdir():
                kept = load(file.read_bytes()[:-4])
                assert isinstance(kept, SealedSeed)
                opened = kept.open(Passphrase(SECRET))
                assert opened is not None
                slot: Slot = seal(opened[0], Passphrase(OTHER).key(CHEAP, bytes(16)), entropy)
                both = dump(SealedSeed(kept.author, (*kept.slots, slot)))
                file.write_bytes(both + secret_files._check(both))
            self.assertEqual(self.opens(SECRET, OTHER), [SECRET, OTHER])
            with closing(open_logs(self.path)) as logs:
                logs.keys.unlock(chosen)
            self.assertEqual(self.opens(chosen, other), [chosen])


class FileTests(StoreCase):
    """Files of seeds that are not what they should be."""

    def setUp(self) -> None:
        super().setUp()
        self.make("ann")
        self.file = self.path / "seeds" / "ann"

    def put(self, kept: bytes) -> None:
        """Write it with its check bytes."""
        self.file.write_bytes(kept + secret_files._check(kept))

    def test_truncated(self) -> None:
        """At any length: damaged, and says which file."""
        whole = self.file.read_bytes()
        for size in range(0, len(whole), 7):
            self.file.write_bytes(whole[:size])
            self.assertIn(str(self.file), str(self.assertRaises(StoreDamagedError, open_logs, self.path)))

    def test_a_link(self) -> None:
        """Is not followed, whatever it leads to."""
        aside = self.path.parent / f"{self.path.name}-aside"
        self.file.rename(aside)
        self.file.symlink_to(aside)
        self.assertRaises(StoreUnsafeError, open_logs, self.path)

    def test_absurd_parameters(self) -> None:
        """The store can be read; to try a passphrase is refused at once."""
        whole = self.file.read_bytes()[:-4]
        for passes, kib in ((2**32 - 1, 8), (1, 2**32 - 1), (0, 8), (9, 8), (1, 2**18 + 1)):
            self.put(whole[:64] + struct.pack(">II", passes, kib) + whole[72:])
            with closing(open_logs(self.path)) as logs:
                self.assertEqual(logs.clock.total(), 1)
                self.assertRaises(StoreFormatError, logs.keys.unlock, SECRET)
                self.assertIsInstance(append(logs), KeyLockedError)

    def test_many_salts(self) -> None:
        """Each would cost as much again."""
        for number in range(8):
            kept = dump(sealed(pair=Keypair(bytes([number] * 32))))
            (self.path / "seeds" / f"w{number}").write_bytes(kept + secret_files._check(kept))
        with closing(open_logs(self.path)) as logs:
            self.assertRaises((StoreFormatError, WrongPassphraseError), logs.keys.unlock, SECRET)

    def test_a_node_key_is_none(self) -> None:
        """Nor is a sealed seed a node's secret."""
        with closing(open_logs(self.path)) as logs:
            logs.node_key()
        kept = dump(sealed())
        (self.path / "node.key").write_bytes(kept + secret_files._check(kept))
        with closing(open_logs(self.path)) as logs:
            self.assertRaises(StoreDamagedError, logs.node_key)


class DoorTests(ServedCase):
    """Programs, and a node that has the store."""

    def setUp(self) -> None:
        self.patch(passphrases_module, "COST", CHEAP)
        self.path = self.mktemp()

    def test_blocking(self) -> None:
        """Protected, opened with and without, changed, unlocked."""
        with blocking.Store(self.path, passphrase=SECRET) as store:
            store.writer().append(b"1")
        with blocking.Store(self.path) as store:
            self.assertRaises(KeyLockedError, store.writer().append, b"2")
            self.assertEqual([entry.payload for entry in store.read()], [b"1"])
            self.assertRaises(WrongPassphraseError, store.unlock, OTHER)
            store.unlock(SECRET)
            self.assertEqual(store.writer().append(b"2"), 2)
            store.protect(OTHER, old=SECRET)
        for wrong in (SECRET, "\ud800", ""):
            error = self.assertRaises(GossiplogError, blocking.Store(self.path, passphrase=wrong).open)
            self.assertNotIn(SECRET, str(error))
        with blocking.Store(self.path, passphrase=OTHER) as store:
            self.assertEqual(store.writer().append(b"3"), 3)
            store.protect(None, old=OTHER)
        with blocking.Store(self.path) as store:
            self.assertEqual(store.writer().append(b"4"), 4)

    def test_aio(self) -> None:
        """The same for asyncio."""

        async def use() -> None:
            async with aio.Store(self.path, passphrase=SECRET) as store:
                await (await store.writer()).append(b"1")
            async with aio.Store(self.path) as store:
                with self.assertRaises(KeyLockedError):
                    await (await store.writer()).append(b"2")
                await store.unlock(SECRET)
                await store.protect(OTHER, old=SECRET)
                self.assertEqual(await (await store.writer()).append(b"2"), 2)
            with self.assertRaises(WrongPassphraseError):
                await aio.Store(self.path, passphrase=SECRET).open()

        asyncio.run(use())

    def test_nothing_is_made_for_no_passphrase(self) -> None:
        """What is none is refused before there is a store."""
        self.assertRaises(InvalidValueError, blocking.Store(self.path, passphrase="").open)
        self.assertFalse(os.path.exists(self.path))

    def test_a_node(self) -> None:
        """Through its control socket: append is refused, the passphrase is taken, and all goes on."""
        with blocking.Store(self.path, passphrase=SECRET) as store:
            store.writer().append(b"1")
        self.serve(self.path)
        with blocking.attach(self.path) as store:
            self.assertRaises(KeyLockedError, store.writer().append, b"2")
            self.assertRaises(KeyLockedError, store.writer, "new")
            self.assertRaises(WrongPassphraseError, store.unlock, OTHER)
            self.assertRaises(InvalidValueError, store.unlock, "")
            store.unlock(SECRET)
            self.assertEqual(store.writer().append(b"2"), 2)
            self.assertRaises(KeyLockedError, store.protect, OTHER)
            store.protect(OTHER, old=SECRET)
            self.assertEqual(store.writer().append(b"3"), 3)
        self.assertRaises(ControlError, blocking.attach(self.mktemp()).open)


class CommandTests(ProcessTestCase):
    """The verb key, and those that sign."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(passphrases_module, "COST", CHEAP)
        self.store = str(self.place / "store")
        self.secret, self.other = self.file("secret", SECRET), self.file("other", OTHER)

    def file(self, name: str, text: str) -> str:
        """A file for nobody else."""
        path = self.place / name
        path.touch(0o600)
        path.write_text(f"{text}\n")
        return str(path)

    def do(self, *command: str, status: int = 0, words: str = "") -> None:
        """Run the command here; its status and something of what it says."""
        verb, *rest = command
        said: list[str] = []
        for stream in ("stdout", "stderr"):
            self.patch(cli.sys, stream, _Kept(said))
        self.patch(cli.sys, "stdin", _Kept([]))
        found = cli.main([verb, *rest, "--store", self.store])
        self.assertEqual(found, status, said)
        self.assertIn(words, "".join(said))
        for secret in (SECRET, OTHER):
            self.assertNotIn(secret, "".join(said))

    def test_all_of_it(self) -> None:
        """As a user does it, with files."""
        self.do("init")
        self.do("key", "protect", status=1, words="--new-passphrase-file")
        self.do("key", "protect", "--new-passphrase-file", self.secret, words="1 seed is protected")
        self.do("append", "a", status=1, words="protected by a passphrase")
        self.do("append", "a", "--passphrase-file", self.other, status=1, words="not the passphrase")
        self.do("append", "a", "--passphrase-file", self.secret)
        self.do("log")
        self.do("clock")
        self.do("key", "protect", "--passphrase-file", self.secret, status=1, words="--new-passphrase-file")
        change = ("--passphrase-file", self.secret, "--new-passphrase-file", self.other)
        self.do("key", "protect", *change, words="protected")
        self.do("key", "protect", *change, status=1, words="not the passphrase")
        self.do("key", "unlock", "--passphrase-file", self.other, status=1, words="no node")
        self.patch(os, "environ", environment(GOSSIPLOG_PASSPHRASE=OTHER))
        self.do("append", "b")
        self.do("key", "unprotect", words="without a passphrase")
        self.patch(os, "environ", environment())
        self.do("append", "c")

    def test_a_credential(self) -> None:
        """systemd's; and what is said comes before what is around."""
        credentials = self.place / "credentials"
        credentials.mkdir()
        (credentials / "passphrase").touch(0o440)
        (credentials / "passphrase").chmod(0o640)
        (credentials / "passphrase").write_text(SECRET)
        self.patch(os, "environ", environment(CREDENTIALS_DIRECTORY=str(credentials)))
        self.assertEqual(passphrases.given(None), SECRET)
        self.patch(
            os, "environ", environment(CREDENTIALS_DIRECTORY=str(credentials), GOSSIPLOG_PASSPHRASE=OTHER)
        )
        self.assertEqual((passphrases.given(None), passphrases.given("said")), (OTHER, "said"))
        self.patch(os, "environ", environment(CREDENTIALS_DIRECTORY=str(self.place), GOSSIPLOG_PASSPHRASE=""))
        self.assertIsNone(passphrases.given(None))

    def test_files(self) -> None:
        """One line in UTF-8, of which the end is left out and nothing else, in a file for nobody else."""
        path = self.place / "file"
        path.touch(0o600)
        for content, found in ((b"a b \n", "a b "), (b" a\r\n", " a"), ("\u00e9".encode(), "\u00e9")):
            path.write_bytes(content)
            self.assertEqual(passphrase_in(str(path)), found)
        for wrong in (b"", b"\n", b"\xffhidden", b"hidden\nhidden", b"hidden" * 1000):
            path.write_bytes(wrong)
            error = self.assertRaises(KeyFileError, passphrase_in, str(path))
            self.assertIn(str(path), str(error))
            self.assertNotIn("hidden", str(error))
        path.write_text(SECRET)
        path.chmod(0o644)
        self.assertIn("chmod 600", str(self.assertRaises(KeyFileError, passphrase_in, str(path))))
        self.assertRaises(KeyFileError, passphrase_in, str(self.place / "nowhere"))

    def test_twistd(self) -> None:
        """The plugin takes the same, before twistd goes anywhere else."""
        options = Options()
        options.parseOptions(["--store", "x", "--network", "n", "--passphrase-file", self.secret])
        self.assertEqual(options.run.passphrase, SECRET)
        self.assertNotIn(SECRET, repr(options.run))
        self.patch(os, "environ", environment(GOSSIPLOG_PASSPHRASE=OTHER))
        options = Options()
        options.parseOptions(["--store", "x", "--network", "n"])
        self.assertEqual(passphrases.given(options.run.passphrase), OTHER)

    def test_normal_forms(self) -> None:
        """A file of one editor and the variable of another shell."""
        self.do("init", "--passphrase-file", self.file("nfc", unicodedata.normalize("NFC", "caf\u00e9")))
        self.patch(os, "environ", environment(GOSSIPLOG_PASSPHRASE=unicodedata.normalize("NFD", "caf\u00e9")))
        self.do("append", "a")

    def test_a_node_that_runs(self) -> None:
        """Starts without it, says so, and is unlocked from outside; with a wrong one it does not start."""
        self.do("init", "--passphrase-file", self.secret)
        wrong = self.gossiplog(
            "run", "--store", self.store, "--network", "n", "--passphrase-file", self.other
        )
        self.assert_one_line(wrong, 1, "not the passphrase")
        node = self.gossiplog("run", "--store", self.store, "--network", "n")
        node.ready()
        node.wait_for_error("gossiplog key unlock")
        self.do("append", "a", status=1, words="protected by a passphrase")
        self.do("key", "unlock", "--passphrase-file", self.other, status=1, words="not the passphrase")
        self.do("status", words=", locked: gossiplog key unlock")
        self.do("status", "--json", words='"locked": true')
        self.do("key", "unlock", "--passphrase-file", self.secret, words="unlocked in the node")
        self.do("status", "--json", words='"locked": false')
        self.do("append", "a")
        command_line = Path(f"/proc/{node.popen.pid}/cmdline")
        if command_line.exists():
            self.assertNotIn(SECRET.encode(), command_line.read_bytes())
        self.assertEqual(node.interrupt(), 0)
        self.assertNotIn(SECRET, node.err + node.out)

    def test_a_real_terminal(self) -> None:
        """What is typed is not shown, a mistake in it is noticed, and append asks too."""
        self.do("init")

        def typed(command: list[str], *answers: str) -> tuple[int, str]:
            """Run the command at a terminal of its own; its status and all that the terminal shows."""
            child, terminal = pty.fork()
            if not child:
                os.chdir(self.place)
                os.execve(
                    sys.executable, [sys.executable, "-m", "gossiplog.app.cli", *command], environment()
                )
            shown, left = b"", [*answers]
            with contextlib.suppress(OSError):  # the end, as Linux says it
                while some := os.read(terminal, 4096):
                    shown += some
                    if left and shown.endswith(b": "):
                        os.write(terminal, f"{left.pop(0)}\n".encode())
            os.close(terminal)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()

        protect, store = ["key", "protect", "--store", self.store], ["--store", self.store]
        for answers, status, words in (
            ((SECRET, OTHER), 1, "two different"),
            ((SECRET, SECRET), 0, "protected"),
        ):
            found, shown = typed(protect, *answers)
            self.assertEqual(found, status, shown)
            self.assertIn(words, shown)
            self.assertNotIn(SECRET, shown)
        for answer, status in ((OTHER, 1), (SECRET, 0)):
            found, shown = typed(["append", *store, "entry"], answer)
            self.assertEqual(found, status, shown)
            self.assertNotIn(answer, shown)

    def test_asked_on_the_terminal(self) -> None:
        """Without an echo, twice for a new one, and only where somebody sits."""
        answers = iter([SECRET, SECRET, SECRET, OTHER, SECRET])
        self.assertIsNone(passphrases.asked())
        self.patch(passphrases.sys, "stdin", _Kept([], is_terminal=True))
        self.patch(passphrases.os, "open", lambda *_: os.dup(0))
        self.patch(__import__("getpass"), "getpass", lambda prompt: next(answers))
        self.assertEqual(passphrases.asked(twice=True), SECRET)
        self.assertRaises(InvalidValueError, passphrases.asked, twice=True)
        self.assertEqual(passphrases.asked(), SECRET)


class _Kept:
    """I am a stream that keeps what is said."""

    encoding = "utf-8"

    def __init__(self, said: list[str], is_terminal: bool = False) -> None:
        self._said = said
        self._is_terminal = is_terminal

    def write(self, text: str) -> int:
        self._said.append(text)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return self._is_terminal

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

"""Seeds as words: what BIP-39 says, what a mistake costs, and that nobody forks by it."""

from __future__ import annotations

import io
import os
import random
from contextlib import closing
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.app import cli
from gossiplog.errors import (
    InvalidKeyError,
    InvalidValueError,
    KeyLockedError,
    StoreCopiedError,
    UnknownWriterError,
)
from gossiplog.log import passphrase as passphrases_module
from gossiplog.log.keys import Keypair
from gossiplog.log.passphrase import Cost
from gossiplog.log.word_list import WORDS
from gossiplog.log.words import from_words, to_words
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, Appended
from tests.processes import ProcessTestCase, environment
from tests.test_key_protection import _Kept, append
from tests.test_recover import LOOPBACK, NETWORK

VECTORS = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    "80" * 32: "letter advice cage absurd amount doctor acoustic avoid " * 2
    + "letter advice cage absurd amount doctor acoustic bless",
    "ff" * 32: "zoo " * 23 + "vote",
    "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c": "hamster diagram private dutch cause delay "
    "private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay "
    "length",
    "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f": "void come effort suffer camp survey warrior "
    "heavy shoot primary clutch crush open amazing screen patrol group space point ten exist slush involve unfold",
}
"""Of github.com/trezor/python-mnemonic, vectors.json."""


class WordTests(SynchronousTestCase):
    """The words of a seed."""

    def test_the_list(self) -> None:
        """Is that of BIP-39."""
        lines = "".join(f"{word}\n" for word in WORDS).encode()
        self.assertEqual(
            sha256(lines).hexdigest(), "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
        )
        self.assertEqual((len(WORDS), len({word[:4] for word in WORDS})), (2048, 2048))

    def test_vectors(self) -> None:
        """As others have them, both ways."""
        for seed, words in VECTORS.items():
            self.assertEqual(to_words(bytes.fromhex(seed)), words)
            self.assertEqual(from_words(words).hex(), seed)

    def test_any_seed(self) -> None:
        """There and back, however it is typed."""
        for number in range(50):
            seed = random.Random(number).randbytes(32)
            words = to_words(seed)
            for typed in (words, words.upper(), words.replace(" ", "\n  "), f"\t{words}\r\n"):
                self.assertEqual(from_words(typed), seed)

    def test_mistakes(self) -> None:
        """Say which word it is, and none of them; one that is another word is noticed, but for one time in 256."""
        words = to_words(bytes(range(32))).split()
        for wrong in (
            words[:23],
            [*words, words[0]],
            [],
            ["x" * 10_000] * 24,
            [*words[:4], "notaword", *words[5:]],
        ):
            error = self.assertRaises(InvalidKeyError, from_words, " ".join(wrong))
            self.assertFalse(
                {*words, "notaword"}
                & {word.strip(",:") for word in str(error).split()}
                - {"of", "one", "another", "other", "place"}
            )
        self.assertIn("word 5", str(error))
        missed = 0
        for place in range(24):
            for other in WORDS[::16]:
                if other == words[place]:
                    continue
                try:
                    missed += bool(from_words(" ".join([*words[:place], other, *words[place + 1 :]])))
                except InvalidKeyError:
                    pass
        self.assertLess(missed, 30)  # of 3,072
        for seed in (b"", bytes(31), bytes(33), "x" * 32):
            self.assertRaises(InvalidKeyError, to_words, seed)


class ImportTests(SynchronousTestCase):
    """A writer that comes to another store."""

    def setUp(self) -> None:
        self.patch(passphrases_module, "COST", Cost(1, 8192))
        self.path = Path(self.mktemp()).absolute()
        with closing(open_logs(self.mktemp())) as logs:
            logs.writer("ann")
            self.pair = logs.keys.keypair("ann")
            append(logs)
            self.segments = logs.segments(self.pair.author, 1, 1 << 20)
            self.head = logs.clock.head(self.pair.author)

    def test_it_does_not_append_before_recover(self) -> None:
        """Neither at once, nor when the store is opened again; others do."""
        with closing(open_logs(self.path)) as logs:
            logs.writer("own")
            logs.import_key("ann", self.pair)
            self.assertIn("'ann'", logs.copied)
            self.assertIsInstance(append(logs), StoreCopiedError)
            self.assertEqual(append(logs, "own"), Appended(1, 1))
        with closing(open_logs(self.path)) as logs:
            self.assertIsInstance(append(logs), StoreCopiedError)
            for segment in self.segments:
                logs.process([Accept(segment, self.head)])
            logs.recovered()
            self.assertEqual(append(logs), Appended(2, 2))
        with closing(open_logs(self.path)) as logs:
            self.assertEqual((logs.copied, append(logs)), ("", Appended(3, 3)))

    def test_one_that_was_here_before(self) -> None:
        """Whose seed was taken away: meanwhile it may have been used elsewhere."""
        with closing(open_logs(self.path)) as logs:
            logs.writer("bob")
            bob = logs.keys.keypair("bob")
            append(logs, "bob")
        (self.path / "seeds" / "bob").unlink()
        with closing(open_logs(self.path)) as logs:
            logs.import_key("again", bob)
            self.assertIsInstance(append(logs, "again"), StoreCopiedError)
        with closing(open_logs(self.path)) as logs:
            self.assertIsInstance(append(logs, "again"), StoreCopiedError)

    def test_in_memory(self) -> None:
        """The same, for as long as it lives."""
        with closing(Logs(MemoryBackend())) as logs:
            logs.import_key("ann", self.pair)
            self.assertIsInstance(append(logs), StoreCopiedError)
            logs.recovered()
            self.assertEqual(append(logs), Appended(1, 1))

    def test_twice(self) -> None:
        """A name and an author are in a store once."""
        with closing(open_logs(self.path)) as logs:
            logs.writer("bob")
            logs.import_key("ann", self.pair)
            for name, pair in (
                ("bob", self.pair),
                ("other", self.pair),
                ("bob", Keypair(bytes(32))),
                ("a/b", Keypair(bytes(32))),
            ):
                self.assertRaises(InvalidValueError, logs.import_key, name, pair)
            self.assertEqual(sorted(logs.writers()), ["ann", "bob"])

    def test_protected(self) -> None:
        """It is not left unprotected where others are protected; and none comes out without the passphrase."""
        with closing(open_logs(self.path)) as logs:
            logs.writer("bob")
            logs.keys.protect("secret")
        with closing(open_logs(self.path)) as logs:
            self.assertRaises(KeyLockedError, logs.import_key, "ann", self.pair)
            self.assertRaises(KeyLockedError, logs.keys.keypair, "bob")
            self.assertRaises(UnknownWriterError, logs.keys.keypair, "ann")
            self.assertEqual(logs.copied, "")
            logs.keys.unlock("secret")
            logs.import_key("ann", self.pair)
            self.assertEqual(logs.keys.keypair("ann").seed, self.pair.seed)
        self.assertNotIn(self.pair.seed, (self.path / "seeds" / "ann").read_bytes())


class CommandTests(ProcessTestCase):
    """On paper, and back on another machine."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(passphrases_module, "COST", Cost(1, 8192))
        self.patch(os, "environ", environment())

    def do(self, *command: str, typed: str = "", status: int = 0) -> str:
        """Run the command here, with this on its standard input; what it says."""
        said: list[str] = []
        for stream in ("stdout", "stderr"):
            self.patch(cli.sys, stream, _Kept(said))
        self.patch(cli.sys, "stdin", io.StringIO(typed))
        self.assertEqual(cli.main([command[0], *command[1:]]), status, said)
        return "".join(said)

    def test_to_another_machine(self) -> None:
        """What a peer has comes back first, and nothing is forked."""
        ann, new, peer = (str(self.place / name) for name in ("ann", "new", "peer"))
        self.do("init", "--store", ann)
        self.do("append", "--store", ann, "1", "2")
        words = self.do("key", "export", "--words", "--store", ann)
        self.assertEqual(len(words.split()), 24)
        self.do("init", "--store", peer)
        node = self.gossiplog("run", "--store", peer, "--listen", LOOPBACK, *NETWORK)
        [address] = node.ready()["listening"]
        self.run_gossiplog("sync", "--store", ann, *NETWORK, address)
        about = self.do("key", "import", "--store", new, typed=words)
        self.assertIn(self.do("id", "--store", ann).strip(), about)
        self.assertIn("gossiplog recover", about)
        self.assertIn("could fork", self.do("append", "--store", new, "3", status=1))
        self.run_gossiplog("recover", "--store", new, *NETWORK, address)
        self.assertIn(" 3", self.do("append", "--store", new, "3"))
        self.assertIn("stop it first", self.do("key", "export", "--store", peer, status=1))
        self.assertIn(
            "stop it first", self.do("key", "import", "--store", peer, "--writer", "x", typed=words, status=1)
        )
        self.run_gossiplog("sync", "--store", new, *NETWORK, address)
        self.assertNotIn("forked", self.do("clock", "--store", peer))
        self.assertEqual(node.interrupt(), 0)

    def test_mistakes(self) -> None:
        """One line, without a word of what was typed; and no writer is made."""
        store = str(self.place / "ann")
        self.do("init", "--store", store)
        words = to_words(bytes(range(32)))
        mistaken = " ".join(["secretword", *words.split()[1:]])
        for typed in ("", mistaken, words.rpartition(" ")[0], words + " " + words, "zoo " * 24):
            said = self.do("key", "import", "--store", store, "--writer", "x", typed=typed, status=1)
            self.assertNotIn("secretword", said)
            self.assertEqual(said.count("\n"), 1)
        self.assertEqual(self.do("key", "import", "--store", store, typed=words, status=1).count("\n"), 1)
        self.assertIn("no writer", self.do("key", "export", "--store", store, "--writer", "x", status=1))
        file = self.place / "words"
        file.touch(0o600)
        file.write_text(words)
        said = self.do("key", "import", "--store", store, "--writer", "x", "--words-file", str(file))
        self.assertNotIn(words.split()[0] + " ", said)
        self.assertEqual(self.do("key", "export", "--store", store, "--writer", "x").strip(), words)
        file.chmod(0o644)
        self.do("key", "import", "--store", store, "--writer", "y", "--words-file", str(file), status=2)

    def test_protected(self) -> None:
        """The passphrase is needed to have the words."""
        store, secret = str(self.place / "ann"), self.place / "secret"
        secret.touch(0o600)
        secret.write_text("correct horse")
        self.do("init", "--store", store, "--passphrase-file", str(secret))
        self.do("key", "export", "--store", store, status=1)
        words = self.do("key", "export", "--store", store, "--passphrase-file", str(secret))
        self.assertEqual(len(words.split()), 24)

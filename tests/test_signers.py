"""Signing by somebody who keeps the key: an ssh-agent, a real one and a bad one, and signers of programs."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gossiplog import SSHAgent, aio, blocking, limits
from gossiplog.app import cli
from gossiplog.errors import InvalidValueError, SignerError, StoreCopiedError
from gossiplog.log import passphrase as passphrases_module
from gossiplog.log.kept_key import ForeignKey, dump, load
from gossiplog.log.keys import Keypair, format_author
from gossiplog.log.passphrase import Cost
from gossiplog.store import ssh_agent
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Appended
from tests.processes import environment
from tests.test_key_protection import _Kept, append

PAIR = Keypair(bytes(range(32)))


def string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def blob(pair: Keypair = PAIR) -> bytes:
    return string(b"ssh-ed25519") + string(pair.author)


class Trusty:
    """I am a signer that has one key."""

    def __init__(self, pair: Keypair = PAIR) -> None:
        self.pair = pair
        self.asked: list[bytes] = []

    def sign(self, author: bytes, message: bytes) -> bytes:
        self.asked.append(message)
        return crypto_sign(message, self.pair._secret)[:64]


class Agent:
    """I am an agent in this process: each connection gets what ``answer`` makes of a request, as it is."""

    def __init__(self, test: SynchronousTestCase, answer: Callable[[bytes], bytes | None]) -> None:
        place = Path(tempfile.mkdtemp(prefix="glog"))
        test.addCleanup(shutil.rmtree, place)
        self.path = str(place / "agent")
        self.answer = answer
        self.asked: list[bytes] = []
        self._held: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        test.addCleanup(thread.join, 10)
        test.addCleanup(self._end)

    def _end(self) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            self.answer = lambda _: b"over"
            line.connect(self.path)
            line.sendall(string(b"over"))
        for line in self._held:
            line.close()

    def _serve(self) -> None:
        while True:
            line, _ = self._listener.accept()
            size = int.from_bytes(line.recv(4))
            request = b""
            while len(request) < size:
                request += line.recv(size - len(request))
            if request == b"over":
                line.close()
                self._listener.close()
                return
            self.asked.append(request)
            answer = self.answer(request)
            if answer is None:
                self._held.append(line)  # and never say anything
            else:
                line.sendall(answer)
                line.close()


def honest(request: bytes) -> bytes:
    """What an agent with one key says."""
    if request[0] == 11:
        return string(
            b"\x0c"
            + struct.pack(">I", 2)
            + string(b"\0\0\0\7ssh-rsa")
            + string(b"old")
            + string(blob())
            + string(b"ann@home")
        )
    assert request[0] == 13
    key_size = int.from_bytes(request[1:5])
    at = 5 + key_size
    message = request[at + 4 : at + 4 + int.from_bytes(request[at : at + 4])]
    if request[5:at] != blob():
        return string(b"\5")
    signature = crypto_sign(message, PAIR._secret)[:64]
    return string(b"\x0e" + string(string(b"ssh-ed25519") + string(signature)))


class SignerTests(SynchronousTestCase):
    """A signer of a program."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def make(self, signer: Any) -> Logs:
        """A store in memory with a writer of that signer that may append."""
        logs = Logs(MemoryBackend())
        self.addCleanup(logs.close)
        logs.keys.use(signer)
        logs.import_key("ann", ForeignKey(PAIR.author))
        logs.recovered()
        return logs

    def test_it_signs(self) -> None:
        """Exactly the head, once for each batch."""
        signer = Trusty()
        logs = self.make(signer)
        self.assertEqual([append(logs), append(logs)], [Appended(1, 1), Appended(2, 2)])
        self.assertEqual(
            [(len(message), message[:16]) for message in signer.asked], [(72, b"gossiplog/1 head")] * 2
        )
        self.assertTrue(logs.verify().ok)

    def test_it_returns_something_else(self) -> None:
        """That is no signature of the author over that: refused, nothing is written, and it goes on."""
        signer = Trusty()
        logs = self.make(signer)
        honest_sign = signer.sign
        for wrong in (
            lambda author, message: Trusty(Keypair(bytes(32))).sign(author, message),
            lambda author, message: honest_sign(author, message + b"x"),
            lambda author, message: honest_sign(author, message)[:63],
            lambda author, message: honest_sign(author, message) + b"x",
            lambda author, message: bytearray(honest_sign(author, message)),
            lambda author, message: bytes(64),
            lambda author, message: None,
            lambda author, message: 1 // 0,
        ):
            signer.sign = wrong  # type: ignore[method-assign]
            self.assertIsInstance(append(logs), SignerError)
            self.assertEqual(logs.clock.seq(PAIR.author), 0)
        signer.sign = honest_sign  # type: ignore[method-assign]
        self.assertEqual(append(logs), Appended(1, 1))

    def test_nobody_to_ask(self) -> None:
        """Reading goes on, others write, and it is kept."""
        with closing(open_logs(self.path)) as logs:
            logs.writer("own")
            logs.import_key("ann", ForeignKey(PAIR.author))
            self.assertIsInstance(append(logs), StoreCopiedError)
            logs.recovered()
            self.assertIsInstance(append(logs), SignerError)
            self.assertEqual(append(logs, "own"), Appended(1, 1))
            self.assertFalse(logs.keys.is_locked or logs.keys.is_protected)
            self.assertRaises(SignerError, logs.keys.keypair, "ann")
        with closing(open_logs(self.path)) as logs:
            self.assertEqual((logs.copied, logs.writers()["ann"]), ("", PAIR.author))
            logs.keys.use(Trusty())
            self.assertEqual(append(logs), Appended(1, 1))
            self.assertRaises(InvalidValueError, logs.import_key, "other", PAIR)

    def test_among_protected_ones(self) -> None:
        """It has no seed that a passphrase could protect, and is not in the way of one."""
        self.patch(passphrases_module, "COST", Cost(1, 8192))
        with closing(open_logs(self.path)) as logs:
            logs.writer("own")
            logs.import_key("ann", ForeignKey(PAIR.author))
            logs.recovered()
            logs.keys.protect("secret")
        with closing(open_logs(self.path)) as logs:
            logs.keys.use(Trusty())
            self.assertEqual(append(logs), Appended(1, 1))
            logs.import_key("bob", ForeignKey(Keypair(bytes(32)).author))
            logs.keys.unlock("secret")
            logs.keys.protect(None, "secret")
            self.assertEqual(len(logs.writers()), 3)

    def test_nothing_but_foreign_keys(self) -> None:
        """Who would protect the seeds of a store that has none is told who keeps them, and what to do."""
        with closing(open_logs(self.path)) as logs:
            logs.import_key("ann", ForeignKey(PAIR.author))
            error = self.assertRaises(InvalidValueError, logs.keys.protect, "secret")
            for words in ("no seed to protect", "ann", "ssh-keygen -p"):
                self.assertIn(words, str(error))
            self.assertEqual((logs.keys.seed_count, logs.keys.is_protected), (0, False))
            logs.writer("own")
            logs.keys.protect("secret")
            self.assertEqual(logs.keys.seed_count, 1)

    def test_as_it_is_kept(self) -> None:
        """A tag and the author."""
        kept = dump(ForeignKey(PAIR.author))
        self.assertEqual(kept, b"gossiplog/1 key elsewhere".ljust(32, b"\0") + PAIR.author)
        self.assertEqual(load(kept), ForeignKey(PAIR.author))

    def test_programs(self) -> None:
        """All doors take one."""
        path = str(self.path)
        with blocking.Store(path, signer=Trusty()) as store:
            store.add_writer(PAIR.author, "ann")
            self.assertIn("'ann'", store.copied)
            self.assertRaises(StoreCopiedError, store.writer("ann").append, b"0")
            self.assertRaises(InvalidValueError, store.add_writer, PAIR.author, "bob")
            store.recovered()
            self.assertEqual(store.writer("ann").append(b"1"), 1)
        self.patch(os, "environ", environment(SSH_AUTH_SOCK=""))
        with blocking.Store(path) as store:
            self.assertRaises(SignerError, store.writer("ann").append, b"2")
            self.assertEqual([entry.payload for entry in store.read()], [b"1"])

        async def use() -> None:
            async with aio.Store(path, signer=Trusty()) as store:
                self.assertEqual(await (await store.writer("ann")).append(b"2"), 2)

        asyncio.run(use())
        self.assertRaises(InvalidValueError, blocking.Store(path, signer="agent").open)


class AgentTests(SynchronousTestCase):
    """An agent that says whatever it likes."""

    def test_honest(self) -> None:
        """It lists its keys and signs with one."""
        agent = Agent(self, honest)
        asking = SSHAgent(agent.path)
        self.assertEqual(asking.authors(), {PAIR.author: "ann@home"})
        self.assertEqual(asking.sign(PAIR.author, b"message"), crypto_sign(b"message", PAIR._secret)[:64])
        self.patch(os, "environ", environment(SSH_AUTH_SOCK=agent.path))
        self.assertEqual(SSHAgent().authors(), {PAIR.author: "ann@home"})

    def test_no_such_key(self) -> None:
        """Removed, or the agent is locked."""
        asking = SSHAgent(Agent(self, honest).path)
        error = self.assertRaises(SignerError, asking.sign, bytes(32), b"message")
        self.assertIn("locked", str(error))
        self.assertIn("ssh-add", str(error))

    def test_garbage(self) -> None:
        """Of every length and kind is one typed error."""
        whole = honest(b"\x0b")
        signed = honest(b"\x0d" + string(blob()) + string(b"m") + bytes(4))
        agent = Agent(self, honest)
        asking = SSHAgent(agent.path)
        for answer in (
            b"",
            b"\0\0\0",
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            string(b""),
            string(b"\x0c"),
            string(b"\x0e"),
            string(b"\x0c\xff\xff\xff\xff"),
            string(b"\x0e" + string(b"\0\0\0\7")),
            string(b"\x0e" + string(string(b"ssh-rsa") + string(bytes(64)))),
            string(b"\x0e" + string(string(b"ssh-ed25519") + string(bytes(63)))),
            *(whole[:size] for size in range(0, len(whole), 9)),
            *(string(signed[4:size]) for size in range(5, len(signed), 9)),
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ):
            agent.answer = lambda _, answer=answer: answer  # type: ignore[misc]
            self.assertRaises(SignerError, asking.sign, PAIR.author, b"m")
            self.assertRaises(SignerError, asking.authors)
        agent.answer = lambda _: struct.pack(">I", limits.MAX_AGENT_BYTES + 1) + bytes(10)
        self.assertIn(
            "no answer", str(self.assertRaises(SignerError, asking.authors))
        )  # and nothing was read

    def test_missing(self) -> None:
        """No variable, no socket, a file, a path that is too long."""
        place = Path(self.mktemp())
        place.touch()
        for path in (str(place), str(place.parent / "nowhere"), "/" + "x" * 200):
            self.assertIn("no ssh-agent", str(self.assertRaises(SignerError, SSHAgent(path).authors)))
        self.patch(os, "environ", environment(SSH_AUTH_SOCK=""))
        self.assertIn("SSH_AUTH_SOCK", str(self.assertRaises(SignerError, SSHAgent().authors)))

    def test_slow(self) -> None:
        """One that says nothing costs its time once, and is asked again later."""
        self.patch(ssh_agent, "AGENT_SECONDS", 0.05)
        agent = Agent(self, lambda _: None)
        now = [0.0]
        asking = SSHAgent(agent.path, clock=lambda: now[0])
        self.assertIn("does not answer", str(self.assertRaises(SignerError, asking.sign, PAIR.author, b"m")))
        for _ in range(3):
            self.assertIn("lately", str(self.assertRaises(SignerError, asking.sign, PAIR.author, b"m")))
        self.assertEqual(len(agent.asked), 1)
        agent.answer = honest
        now[0] += limits.AGENT_REST_SECONDS
        asking.sign(PAIR.author, b"m")

    def test_byte_by_byte(self) -> None:
        """One that dribbles gets no more time than one that is silent."""
        now = [0.0]
        asking = SSHAgent(Agent(self, lambda request: honest(request)).path, clock=lambda: now[0])
        read = asking._left

        def late(ends_at: float) -> float:
            now[0] += limits.AGENT_SECONDS / 3
            return read(ends_at)

        self.patch(asking, "_left", late)
        self.assertRaises(SignerError, asking.authors)


class RealTests(SynchronousTestCase):
    """OpenSSH's."""

    def setUp(self) -> None:
        if not all(map(shutil.which, ("ssh-agent", "ssh-add", "ssh-keygen"))):
            raise SkipTest("OpenSSH is not installed")
        self.place = Path(tempfile.mkdtemp(prefix="glog"))
        self.addCleanup(shutil.rmtree, self.place)
        socket_path = str(self.place / "agent")
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.PIPE)
        self.addCleanup(agent.wait)
        self.addCleanup(agent.terminate)
        assert agent.stdout is not None
        self.addCleanup(agent.stdout.close)
        agent.stdout.readline()  # it listens
        self.key = str(self.place / "key")
        self.patch(os, "environ", environment(SSH_AUTH_SOCK=socket_path))
        self.ssh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@home", "-f", self.key)

    def ssh(self, *command: str) -> None:
        """Run a program of OpenSSH."""
        subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))

    def do(self, *command: str, status: int = 0) -> str:
        """Run the command here; what it says."""
        said: list[str] = []
        for stream in ("stdout", "stderr"):
            self.patch(cli.sys, stream, _Kept(said))
        self.patch(cli.sys, "stdin", io.StringIO(""))
        self.assertEqual(cli.main([*command, "--store", str(self.place / "store")]), status, said)
        return "".join(said)

    def test_all_of_it(self) -> None:
        """A writer of the agent's key; then the key is removed, and comes back."""
        self.do("init", "--writer", "own")
        self.assertIn("no Ed25519 key", self.do("key", "agent", status=1))
        self.ssh("ssh-add", "-q", self.key)
        about = self.do("key", "agent")
        [author] = SSHAgent().authors()
        self.assertIn(format_author(author), about)
        self.assertIn("could fork", self.do("append", "a", status=1))
        self.do("recover", "--alone")
        self.assertIn(" 1", self.do("append", "a"))
        self.assertIn("1 entries", self.do("verify"))
        asking = self.place / "asking"
        asking.write_text("#!/bin/sh\necho secret\n")
        asking.chmod(0o700)
        for name, value in (("SSH_ASKPASS", str(asking)), ("SSH_ASKPASS_REQUIRE", "force")):
            self.patch(os, "environ", {**os.environ, name: value})
        self.ssh("ssh-add", "-x")
        self.assertIn("locked", self.do("append", "b", status=1))
        self.assertIn("locked", self.do("key", "agent", "--writer", "again", status=1))
        self.ssh("ssh-add", "-X")
        self.ssh("ssh-add", "-q", "-D")
        self.assertIn("ssh-add -l", self.do("append", "b", status=1))
        self.assertIn(" a", self.do("log"))
        self.ssh("ssh-add", "-q", self.key)
        self.assertIn(" 2", self.do("append", "b"))
        self.assertIn("already", self.do("key", "agent", "--writer", "again", status=1))

    def test_several_keys(self) -> None:
        """Which one is meant is said by its comment, or as an author."""
        other = str(self.place / "other")
        self.ssh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob@work", "-f", other)
        self.ssh("ssh-add", "-q", self.key, other)
        self.do("init", "--writer", "own")
        self.assertIn("bob@work", self.do("key", "agent", status=1))
        self.assertIn("no key", self.do("key", "agent", "--author", "cat", status=1))
        authors = {comment: author for author, comment in SSHAgent().authors().items()}
        self.assertIn(format_author(authors["bob@work"]), self.do("key", "agent", "--author", "bob@work"))
        ann = format_author(authors["ann@home"])
        self.assertIn(ann, self.do("key", "agent", "--author", ann, "--writer", "ann"))

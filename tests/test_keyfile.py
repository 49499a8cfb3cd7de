"""Ring 7 and 8: keys that stand on no command line, and sockets that are for nobody else."""

from __future__ import annotations

import argparse
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from threading import Thread

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.app import cli
from gossiplog.app.keyfile import network, passphrase, said
from gossiplog.app.tap import Options
from gossiplog.discovery.room.key import RoomKey
from gossiplog.errors import KeyFileError
from gossiplog.log.network import Network
from gossiplog.net.endpoints import private
from tests.processes import EXAMPLES, ProcessTestCase, environment

NETWORK = Network.from_key(bytes(range(32)))


class FileTests(SynchronousTestCase):
    """A text, or a file that holds it."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.touch(0o600)

    def test_found(self) -> None:
        """With what an editor leaves around it; and a text without @ is itself."""
        self.path.write_text(f"\n {NETWORK.text}\r\n")
        self.assertEqual(network(f"@{self.path}"), NETWORK)
        self.assertEqual(said("garden"), "garden")
        self.assertEqual(network("name:@garden"), Network.from_name("@garden"))

    def test_no_key_in_it(self) -> None:
        """Each says which file; none says what is in it."""
        for content in (b"", b" \n", b"\xff\xfe", b"x" * 5000):
            self.path.write_bytes(content)
            error = self.assertRaises(KeyFileError, said, f"@{self.path}")
            self.assertIn(str(self.path), str(error))
        for path in ("@", "@/nowhere/at/all", f"@{self.path.parent}", "@a\0b"):
            self.assertRaises(KeyFileError, said, path)
        self.path.write_text(NETWORK.text[:-1])
        error = self.assertRaises(ValueError, network, f"@{self.path}")
        self.assertNotIn(NETWORK.text[8:20], str(error))

    def test_pipes(self) -> None:
        """One is read to its end, and not waited for where nobody writes."""
        pipe = f"{self.path}.pipe"
        os.mkfifo(pipe, 0o600)
        done: list[str] = []

        def look() -> None:
            done.append(str(self.assertRaises(KeyFileError, said, f"@{pipe}")))

        looking = Thread(target=look, daemon=True)
        looking.start()
        looking.join(30)
        if not done:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # it goes on, and fails below
        self.assertTrue(done and "nobody writes" in done[0])
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        writer = Thread(
            target=lambda: (os.write(writing, b"gar"), os.write(writing, b"den\n"), os.close(writing))
        )
        writer.start()
        self.assertEqual(said(f"@/dev/fd/{reading}"), "garden")
        writer.join()

    def test_pipes_without_an_end(self) -> None:
        """Are an error soon, whatever was written already, and however often."""
        self.patch(limits, "KEY_PIPE_SECONDS", 0.05)
        for written in (b"", b"gard"):
            reading, writing = os.pipe()
            self.addCleanup(os.close, reading)
            self.addCleanup(os.close, writing)
            os.write(writing, written)
            for read in (said, passphrase):
                name = f"/dev/fd/{reading}"
                error = self.assertRaises(KeyFileError, read, f"@{name}" if read is said else name)
                self.assertIn("did not end within", str(error))
                self.assertNotIn("gard", str(error))

    def test_files_of_others(self) -> None:
        """Who can read it has the key, and who can change it chooses the network; a group may read."""
        self.path.write_text(NETWORK.text)
        for mode in (0o604, 0o644, 0o602, 0o620, 0o666):
            self.path.chmod(mode)
            self.assertIn("chmod 600", str(self.assertRaises(KeyFileError, said, f"@{self.path}")))
        for mode in (0o400, 0o600, 0o640):
            self.path.chmod(mode)
            self.assertEqual(said(f"@{self.path}"), NETWORK.text)


def verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the verbs of the command, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


class EverywhereTests(ProcessTestCase):
    """Every place that takes a key."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.place / "key"
        self.path.touch(0o600)
        self.path.write_text(NETWORK.text)

    def test_every_option(self) -> None:
        """Every verb with a network takes it from a file and from the environment, which may name a file too."""
        found = []
        room, key = self.place / "room", RoomKey.random().text.removeprefix("room_")
        room.touch(0o600)
        room.write_text(f"room_{key}\n")
        for variable in (None, NETWORK.text, f"@{self.path}"):
            self.patch(
                os, "environ", environment(**({} if variable is None else {"GOSSIPLOG_NETWORK": variable}))
            )
            for verb, parser in verbs(cli._parser()):
                options = {option: action for action in parser._actions for option in action.option_strings}
                if "--network" in options:
                    needed = ["tcp:host:1"] if verb in ("sync", "recover") else []
                    needed += ["--nick", "x"] if verb == "chat" else []
                    given = ["--network", f"@{self.path}"] if variable is None else []
                    self.assertEqual(parser.parse_args([*needed, *given]).network, NETWORK, verb)
                    found.append(verb)
                takes = {
                    option
                    for option in options
                    if any(word in option for word in ("key", "secret", "network"))
                }
                if verb == "room":
                    self.assertEqual(parser.parse_args(["--key", f"@{room}"]).key.text, f"room_{key}")
                    takes -= {"--key", "--make-key"}  # of which the second takes none
                # a new option with a key is to be tested here
                self.assertLessEqual(takes, {"--network"}, verb)
            options = Options()
            options.parseOptions(
                ["--store", "x", *(["--network", f"@{self.path}"] if variable is None else [])]
            )
            self.assertEqual(options.network, NETWORK)
        self.assertEqual(sorted(set(found)), ["chat", "find", "invite", "log", "recover", "run", "sync"])

    def test_mistakes(self) -> None:
        """One line each, with the file in it."""
        self.path.chmod(0o644)
        arguments = ("run", "--store", "x", "--network", f"@{self.path}")
        self.assert_one_line(self.gossiplog(*arguments), 2, str(self.path), "chmod 600")
        wrong = self.gossiplog("run", "--store", "x", env=environment(GOSSIPLOG_NETWORK="0" * 63))
        self.assert_one_line(wrong, 2, "looks like a key", "name:")
        error = self.assertRaises(
            UsageError, Options().parseOptions, ["--store", "x", "--network", f"@{self.path}"]
        )
        self.assertIn("chmod 600", str(error))

    def test_examples(self) -> None:
        """What takes a key or a topic takes a file."""
        for example, option in (("reader", "KEY"), ("multichat", "--topic")):
            source = (EXAMPLES / f"{example}.py").read_text()
            self.assertIn("said(", source)
            refused = self.example(example, *(["1", option] if option != "KEY" else []), "@/nowhere/at/all")
            self.assertEqual(refused.finish(), 2)
            self.assertIn("No such file", refused.err)


class UnixTests(ProcessTestCase):
    """Sockets of this machine."""

    def setUp(self) -> None:
        super().setUp()
        self.short = Path(tempfile.mkdtemp(prefix="glog"))  # there is no room for a long path
        self.addCleanup(rmtree, self.short)
        self.run_gossiplog("init", "--store", "ann")

    def test_mode(self) -> None:
        """For the owner alone, whatever the umask is; or as the endpoint says."""
        paths = [self.short / name for name in ("plain", "said", "placed", "a:b")]
        plain, said, placed, colon = map(str, paths)
        colon = colon.replace(":", "\\:")
        endpoints = (
            f"unix:{plain}",
            f"unix:{said}:mode=660",
            f"unix:{placed}:640",
            f"unix:{colon}:lockfile=0",
        )
        listen = [part for endpoint in endpoints for part in ("--listen", endpoint)]
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        node = self.gossiplog("run", "--store", "ann", "--network", "n", *listen)
        node.ready()
        modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]
        self.assertEqual([oct(mode) for mode in modes], ["0o600", "0o660", "0o640", "0o600"])
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(plain)
        self.assertEqual(node.interrupt(), 0)

    def test_endpoints(self) -> None:
        """Only those that say nothing about it are changed."""
        for endpoint, becomes in (
            ("unix:a", "unix:mode=600:a"),
            ("unix:address=a", "unix:mode=600:address=a"),
            (r"unix:a\:b=c\\:lockfile=0", r"unix:mode=600:a\:b=c\\:lockfile=0"),
            (r"unix:a\:mode\=666", r"unix:mode=600:a\:mode\=666"),
            ("unix:mode=666:a", "unix:mode=666:a"),
            ("unix:a:lockfile=0:mode=666", "unix:a:lockfile=0:mode=666"),
            ("unix:a:666", "unix:a:666"),
            ("tcp:4000", "tcp:4000"),
            ("haproxy:unix:a", "haproxy:unix:a"),
            ("unix", "unix"),
        ):
            self.assertEqual(private(endpoint), becomes)

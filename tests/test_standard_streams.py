"""Ring 8: commands on standard streams that others share, blocking or not, and that fail; as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from gossiplog import Network, Ticket
from gossiplog.app.chat import compose
from gossiplog.app.printing import BROKEN_PIPE
from gossiplog.live.backing_up import back_up
from gossiplog.live.hands import OwnHands
from gossiplog.log.body import encode_body
from gossiplog.log.fork import build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import AddFork, Append
from tests.processes import DEADLINE_SECONDS, ProcessTestCase, environment

COMMAND = (sys.executable, "-m", "gossiplog.app.cli")


class StreamCase(ProcessTestCase):
    """A store with more entries than fit into a pipe."""

    count = 3000

    def setUp(self) -> None:
        super().setUp()
        self.run_gossiplog("init", "--store", "store")
        self.lines = "".join(f"{number} {'x' * 60}\n" for number in range(self.count))

    def spawn(
        self, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start the command on descriptors of ours."""
        child = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.place,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        self.addCleanup(child.kill)
        assert child.stderr is not None
        self.addCleanup(child.stderr.close)
        return child

    def finish(self, child: subprocess.Popen[bytes]) -> tuple[int, str]:
        """Status and standard error."""
        assert child.stderr is not None
        said = child.stderr.read().decode()
        return child.wait(DEADLINE_SECONDS), said

    def pipe(self, blocking: bool) -> tuple[int, int]:
        """Both ends, as somebody left them; closed with the test."""
        ends = os.pipe()
        for fd in ends:
            os.set_blocking(fd, blocking)
            self.addCleanup(self.close, fd)
        return ends

    def close(self, fd: int) -> None:
        """Close what may be closed already."""
        try:
            os.close(fd)
        except OSError:
            pass

    def read_all(self, fd: int) -> bytes:
        """Everything, slowly: other processes are faster."""
        os.set_blocking(fd, True)
        found = bytearray()
        while some := os.read(fd, 4096):
            found += some
        return bytes(found)


class SharedTests(StreamCase):
    """All four combinations of blocking and not: nothing is cut, nothing lost, and the flags stay."""

    def test_append_and_read(self) -> None:
        """``append`` reads and writes, ``log`` writes, in text and in JSON."""
        for number, (blocking_in, blocking_out) in enumerate(
            ((True, True), (True, False), (False, True), (False, False))
        ):
            writer = f"w{number}"
            typed, reads = self.pipe(blocking_in)[::-1], self.pipe(blocking_out)
            child = self.spawn(
                "append", "--store", "store", "--writer", writer, stdin=typed[1], stdout=reads[1]
            )
            self.assertEqual(
                (os.get_blocking(typed[1]), os.get_blocking(reads[1])), (blocking_in, blocking_out)
            )
            os.close(reads[1])

            def type_in_pieces(fd: int = typed[0], blocking: bool = blocking_in) -> None:
                content = self.lines.encode()
                while content:
                    try:
                        content = content[os.write(fd, content[:1237]) :]
                    except BlockingIOError:
                        continue
                os.close(fd)

            typing = threading.Thread(target=type_in_pieces)
            typing.start()
            printed = self.read_all(reads[0]).decode().splitlines()
            typing.join()
            self.assertEqual(self.finish(child), (0, ""))
            self.assertEqual([int(line.split()[1]) for line in printed], [*range(1, self.count + 1)])
            author = self.run_gossiplog("id", "--store", "store", "--writer", writer).strip()
            for options in ((), ("--json",), ("--sort", "time")):
                readable, writable = self.pipe(blocking_out)
                child = self.spawn("log", "--store", "store", "--author", author, *options, stdout=writable)
                os.close(writable)
                found = self.read_all(readable).decode()
                self.assertEqual(self.finish(child), (0, ""))
                self.assertEqual(re.findall(r"\d+ x{60}", found), self.lines.splitlines(), options)

    def test_a_begun_line(self) -> None:
        """Whoever types slowly, through a pipe that somebody made non-blocking, gets whole lines."""
        reads, typed = self.pipe(False)
        child = self.spawn("append", "--store", "store", stdin=reads, stdout=subprocess.PIPE)
        assert child.stdout is not None
        self.addCleanup(child.stdout.close)
        os.write(typed, b"one\r\nbegun")
        self.assertRegex(child.stdout.readline(), rb"\A\w{8} 1\n\Z")
        os.write(typed, b", and ended\r\nlast")
        self.assertRegex(child.stdout.readline(), rb"\A\w{8} 2\n\Z")
        os.close(typed)
        self.assertEqual(self.finish(child), (0, ""))
        said = self.run_gossiplog("log", "--store", "store")
        self.assertEqual(re.findall(r" \d+ (.*)", said), ["one", "begun, and ended", "last"])
        self.assertNotIn("\\r", said)

    def test_following_changes_no_flag(self) -> None:
        """Not while it runs, and so not when it is killed."""
        self.run_gossiplog("append", "--store", "store", "first")
        for blocking in (True, False):
            readable, writable = self.pipe(blocking)
            child = self.spawn("log", "--store", "store", "--follow", stdout=writable)
            self.run_until_open(child, readable)
            self.assertEqual(os.get_blocking(writable), blocking)
            child.send_signal(signal.SIGKILL)
            child.wait(DEADLINE_SECONDS)
            self.assertEqual(os.get_blocking(writable), blocking)

    def run_until_open(self, child: subprocess.Popen[bytes], readable: int) -> None:
        """Wait for its first line, which is there once the terminal is open."""
        os.set_blocking(readable, True)
        self.assertIn(b"first", os.read(readable, 4096))

    def test_proof_on_standard_input(self) -> None:
        """A pause is no end, and no TypeError."""
        reads, typed = self.pipe(False)
        child = self.spawn("forks", "--store", "store", "--check", "-", stdin=reads)
        os.write(typed, b"no ")
        os.write(typed, b"proof")
        os.close(typed)
        status, said = self.finish(child)
        self.assertEqual(status, 1)
        self.assertIn("-: this is no fork proof", said)


class FailingTests(StreamCase):
    """A stream that cannot be written is named, and is not taken for the store's disk."""

    def test_full(self) -> None:
        """``append`` says what is stored all the same."""
        self.run_gossiplog("append", "--store", "store", "zero")
        with open("/dev/full", "wb") as full:
            for arguments, words in (
                (
                    ("append", "one", "two"),
                    "standard output (entries up to 3 are stored): No space left on device",
                ),
                (("log",), "standard output: No space left on device"),
                (("clock", "--json"), "standard output: No space left on device"),
                (("verify",), "standard output: No space left on device"),
                (("log", "--follow"), "standard output: No space left on device"),
                (("--version",), "standard output: No space left on device"),
            ):
                options = () if arguments[0] == "--version" else ("--store", "store")
                child = self.spawn(*arguments, *options, stdout=full.fileno())
                self.assertEqual(self.finish(child), (1, f"gossiplog: {words}\n"), arguments)
        self.assertIn("3 entries", self.run_gossiplog("verify", "--store", "store"))


FOREIGN = "author_hnvcppgow2sc2yvdvdicu3ynonsteflxdxrehjr2ybekdc2z3iu3c5y"
ON_A_STORE = {
    "init": (),
    "id": ("--all",),
    "append": ("text",),
    "log": (),
    "clock": (),
    "verify": (),
    "import": ("third",),
    "forks": ("--export", "{forked}", "-"),
    "follow": (FOREIGN,),
    "unfollow": (FOREIGN,),
    "block": (FOREIGN,),
    "unblock": (FOREIGN,),
    "search": ("hello",),
    "views": (),
    "sync": ("--network", "here", "{peer}"),
    "recover": ("--network", "here", "{peer}"),
    "run": ("--network", "here"),
    "join": ("{ticket}",),
    "chat": ("--network", "here", "--nick", "ann"),
    "export": ("-",),
    "backup": ("backed-up",),
    "key": ("unprotect",),
    "compact": (),
}
"""Every verb that works on a store, with arguments with which it prints something."""

ON_A_TERMINAL = {"top"}
"""Verbs that print on nothing else."""

ON_A_NODE = {
    "status": ("--authors",),
    "peers": (),
    "connect": ("{peer}",),
    "disconnect": ("{node}",),
    "ban": ("{node}", "--for", "1"),
    "unban": ("{node}",),
}
"""Every verb for a node that runs."""

PRINTING: Sequence[tuple[str, ...]] = (
    *[(verb, *rest, "--store", "store") for verb, rest in ON_A_STORE.items()],
    *[(verb, *rest, "--store", "other") for verb, rest in ON_A_NODE.items()],
    ("log", "--follow", "--store", "store"),
    ("log", "--sort", "time", "--json", "--store", "store"),
    ("log", "-n", "5", "--reverse", "--store", "store"),
    ("log", "--follow", "-n", "5", "--store", "store"),
    ("verify", "--repair", "--store", "store"),
    ("recover", "--alone", "--store", "store"),
    ("restore", "saved", "--store", "{fresh}"),
    ("simulate", "--nodes", "3", "--links", "2", "--authors", "1"),
    ("simulate", "--help"),
    ("room", "--make-key"),
    ("invite", "--network", "here", "tcp:example.org:4000"),
    ("fleet", "init", "--sql"),
    ("host", "--check", "host.toml"),
    ("find", "--network", "here", "--peer", "{peer}"),
    ("--help",),
    ("--version",),
)
"""Every verb that prints, and every way of it that prints otherwise."""


class EveryVerbTests(ProcessTestCase):
    """Each verb, on each stream, where that is closed, full, or read by nobody."""

    def setUp(self) -> None:
        super().setUp()
        for store in ("other", "third"):
            open_logs(self.place / store).close()
        pair = Keypair(bytes(32))
        (ours,), (theirs,) = (
            build(pair, Head(0, genesis_id(pair.author)), [encode_body(1, text)])[0] for text in (b"a", b"b")
        )
        proof = build_proof(ours, theirs)
        assert proof is not None
        said = json.dumps(compose("ann", "hello")).encode()
        with closing(open_logs(self.place / "store")) as logs:
            author = logs.writer("default").author
            logs.process([AddFork(proof), Append(author, [encode_body(1, said)])])
            back_up(OwnHands(logs), logs.path, self.place / "saved")
        (self.place / "host.toml").write_text('[network.a]\nstore = "hosted"\nnetwork = "here"\n')
        peer = self.gossiplog(
            "run", "--store", "other", "--network", "here", "--listen", "tcp:0:interface=127.0.0.1"
        )
        ticket = Ticket(Network.parse("here")).text
        about = peer.ready()
        known = {"peer": about["listening"][0], "node": about["node"]}
        self.known = {**known, "forked": FOREIGN, "ticket": ticket, "fresh": "fresh"}

    def outcome(self, command: Sequence[str], redirection: str, **options: Any) -> tuple[int, str]:
        """Status and standard error of a command whose streams the shell makes."""
        self.known["fresh"] += "x"
        words = [word.format(**self.known) for word in command]
        process = self.start(
            "/bin/sh", "-c", f'exec {" ".join(COMMAND)} "$@" {redirection}', "sh", *words, **options
        )
        process.end_input()
        return process.finish(), process.err

    def test_every_verb_is_here(self) -> None:
        """As the help names them."""
        verbs = re.findall(r"^    (\w+)\b", self.run_gossiplog("--help"), re.MULTILINE)
        self.assertEqual(
            {command[0] for command in PRINTING if command[0][0] != "-"}, set(verbs) - ON_A_TERMINAL
        )

    def test_output_that_fails(self) -> None:
        """It is said which stream failed, and the status says so too."""
        closed = "it is closed, or not open for writing"
        for redirection, reason, commands in (
            (">/dev/full", "No space left on device", PRINTING[::2]),
            (">&-", closed, PRINTING[::3]),
            ("1<store/lock", closed, PRINTING[1::6]),
        ):
            for command in commands:
                status, said = self.outcome(command, redirection)
                self.assertEqual(status, 1, (command, redirection, said))
                self.assertRegex(said, rf"\Agossiplog: standard output.*: {reason}\n\Z", command)

    def test_output_that_nobody_reads(self) -> None:
        """It ends as a program does that SIGPIPE ended, and says nothing about it."""
        for command in PRINTING[1::2]:
            readable, writable = os.pipe()
            os.close(readable)
            outcome = self.outcome(command, "", stdout=writable)
            os.close(writable)
            self.assertEqual(outcome, (BROKEN_PIPE, ""), command)

    def test_errors_that_nobody_hears(self) -> None:
        """The status is that of the command, whatever standard error is."""
        lost = ("--store", "nowhere/at/all", "--wait", "0")
        for number, (verb, rest) in enumerate(ON_A_STORE.items()):
            command = (
                verb,
                *rest,
                *(lost if verb not in ("init", "join") else ("--store", "other/log.sqlite")),
            )
            for redirection in ("2>/dev/full", "2>&-")[number % 2 :]:
                self.assertEqual(self.outcome(command, redirection), (1, ""), (command, redirection))
        for redirection in ("2>/dev/full", "2>&-", "2>/dev/full >&-"):
            for wrong in (("nonsense",), ("invite", "--network", "@nowhere")):
                self.assertEqual(self.outcome(wrong, redirection), (2, ""), (wrong, redirection))

    def test_input_that_fails(self) -> None:
        """A closed standard input is not the end of one."""
        for command in (
            ("append", "--store", "store"),
            ("forks", "--store", "store", "--check", "-"),
            ("forks", "--store", "store", "--add", "-"),
            ("chat", "--store", "store", "--network", "here", "--nick", "ann"),
        ):
            for redirection in ("<&-", "0>written"):
                status, said = self.outcome(command, redirection)
                self.assertEqual(
                    (status, said),
                    (1, "gossiplog: standard input: it is closed, or not open for reading\n"),
                    (command, redirection),
                )


PROGRAM = """
import sys
from twisted.internet.task import react
from gossiplog.app.foreground import foreground

async def main(reactor):
    print("hello")
    return int(sys.argv[1])

react(foreground(main))
"""


class ProgramTests(ProcessTestCase):
    """A program of somebody else, in the foreground."""

    def test_output_that_fails(self) -> None:
        """It ends with the status of its main if that failed, and says in one line what was lost."""
        for redirection, lost in ((">/dev/full", 1), (">&-", 1), ("", 0)):
            for status in (0, 3):
                process = self.start(
                    "/bin/sh",
                    "-c",
                    f'exec "$@" {redirection}',
                    "sh",
                    sys.executable,
                    "-c",
                    PROGRAM,
                    str(status),
                )
                self.assertEqual(
                    (process.finish(), process.err.count("\n")), (status or lost, lost), process.err
                )

"""Ring 8: the command ``gossiplog`` as real processes: every verb, every kind of failure, every way to end."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from gossiplog.limits import MAX_BODY_BYTES
from gossiplog.log.keys import format_author
from gossiplog.store.logs import open_logs
from tests.processes import DEADLINE_SECONDS, ProcessTestCase, environment, open_terminal

VERBS = (
    *("init", "id", "append", "log", "clock", "verify", "forks", "follow", "unfollow", "block", "unblock"),
    *("sync", "recover", "run", "chat", "simulate", "fleet"),
)
LOOPBACK = "tcp:0:interface=127.0.0.1"
NOBODY = "tcp:127.0.0.1:1"
"""Refuses: the lowest ports are for root, and nobody has given this one out."""


class HelpTests(ProcessTestCase):
    """What is said to who asks."""

    def test_every_verb_shows_an_example(self) -> None:
        """``--help`` of each verb ends well and shows a command line that begins as one would type it."""
        helps = {verb: self.gossiplog(verb, "--help") for verb in VERBS}
        for verb, process in helps.items():
            self.assertEqual((process.finish(), process.err), (0, ""))
            option = "--nodes" if verb == "simulate" else "--store"
            self.assertRegex(process.out, rf"(?s)\nexample:\n  gossiplog {verb} .*{option}")

    def test_overview(self) -> None:
        """``gossiplog --help`` names every verb and every exit status."""
        process = self.gossiplog("--help")
        self.assertEqual(process.finish(), 0)
        for word in (
            *VERBS,
            "0 done",
            "1 failed",
            "2 wrong usage",
            "3 there is damage",
            "GOSSIPLOG_STORE",
        ):
            self.assertIn(word, process.out)

    def test_version(self) -> None:
        process = self.gossiplog("--version")
        self.assertEqual((process.finish(), process.err), (0, ""))
        self.assertEqual(process.out, f"gossiplog {version('gossiplog')}\n")


class StartTests(ProcessTestCase):
    """A command that needs no reactor."""

    def test_without_twisted(self) -> None:
        """It starts without Twisted, in less than half the time."""
        look = (
            "import sys; from gossiplog.app.cli import main; main(['init']); print('twisted' in sys.modules)"
        )
        process = self.start(sys.executable, "-c", look)
        self.assertEqual(process.finish(), 0)
        self.assertEqual(process.out.splitlines()[-1], "False")

    def test_what_no_other_verb_waits_for(self) -> None:
        """The verbs are imported when they run."""
        later = (
            "gossiplog.app.commands.views gossiplog.app.commands.by_time gossiplog.app.commands.import_store "
            "gossiplog.views gossiplog.live gossiplog.net gossiplog.store.repair.salvage "
            "gossiplog.store.repair.repair gossiplog.store.sqlite.carved gossiplog.gossip.messages"
        )
        look = (
            "import sys; from gossiplog.app.cli import main; main(['--version']); main(['--help']); "
            f"main(['init']); print([name for name in {later.split()} if name in sys.modules])"
        )
        process = self.start(sys.executable, "-c", look)
        self.assertEqual(process.finish(), 0)
        self.assertEqual(process.out.splitlines()[-1], "[]")


class LocalTests(ProcessTestCase):
    """The verbs that need no peer."""

    def setUp(self) -> None:
        super().setUp()
        printed = self.run_gossiplog("init", "--store", "ann")
        self.author = printed.split()[-1]
        self.assertEqual(printed, f"store {self.place / 'ann'}\nauthor {self.author}\n")

    def test_init_again_changes_nothing(self) -> None:
        """It says the same a second time; an empty directory becomes a store too."""
        self.assertIn(self.author, self.run_gossiplog("init", "--store", "ann"))
        (self.place / "empty").mkdir()
        self.assertIn("author_", self.run_gossiplog("init", "--store", "empty"))

    def test_id(self) -> None:
        """One id alone, to be used in other commands; or all of them."""
        self.assertEqual(self.run_gossiplog("id", "--store", "ann"), f"{self.author}\n")
        every = self.run_gossiplog("id", "--all", "--store", "ann")
        self.assertRegex(every, rf"\Anode node_\w+\nauthor {self.author} default\n\Z")

    def test_append_arguments_and_lines(self) -> None:
        """Each argument or line is an entry, the last line also without its end; seq and author are printed."""
        short = self.author.removeprefix("author_")[:8]
        self.assertEqual(
            self.run_gossiplog("append", "--store", "ann", "one", "two"), f"{short} 1\n{short} 2\n"
        )
        process = self.gossiplog("append", "--store", "ann", "--json")
        assert process.popen.stdin is not None
        process.popen.stdin.write("three\n\nfünf".encode())
        self.assertEqual((process.finish(), process.err), (0, ""))
        self.assertEqual(
            [json.loads(line) for line in process.out.splitlines()],
            [{"author": self.author, "seq": seq} for seq in (3, 4, 5)],
        )
        held = self.logged("ann")
        self.assertEqual(
            held,
            {(self.author, seq): text for seq, text in enumerate(("one", "two", "three", "", "fünf"), 1)},
        )

    def test_append_is_durable_line_by_line(self) -> None:
        """A line typed is on disk once its seq is printed, while the command waits for more: kill it and look."""
        process = self.gossiplog("append", "--store", "ann")
        for text in ("one", "two"):
            process.send(text)
            process.wait_for(r"^\w{8} \d$")
        self.assertEqual(process.kill(), -signal.SIGKILL)
        self.assertEqual(list(self.logged("ann").values()), ["one", "two"])

    def test_writers(self) -> None:
        """A store has any number of writers; the clock and the id say which is which."""
        self.run_gossiplog("append", "--store", "ann", "as ann")
        self.run_gossiplog("append", "--store", "ann", "--writer", "diary", "alone")
        diary = self.run_gossiplog("id", "--store", "ann", "--writer", "diary").strip()
        clock = self.run_gossiplog("clock", "--store", "ann")
        self.assertEqual(
            sorted(clock.splitlines()),
            sorted([f"{self.author} 1 (writer default)", f"{diary} 1 (writer diary)"]),
        )
        clock = self.run_gossiplog("clock", "--store", "ann", "--json")
        self.assertIn(
            {"author": diary, "seq": 1, "writer": "diary"}, [json.loads(x) for x in clock.splitlines()]
        )

    def test_log(self) -> None:
        """Whole, of one author by full or short id, by time; nothing in an entry reaches the terminal raw."""
        self.run_gossiplog("append", "--store", "ann", "first", "\x1b[2Jsecond\u202e")
        self.run_gossiplog("append", "--store", "ann", "--writer", "diary", "third")
        diary = self.run_gossiplog("id", "--store", "ann", "--writer", "diary").strip()
        text = self.run_gossiplog("log", "--store", "ann", "--author", self.author)
        lines = text.splitlines()
        short = self.author.removeprefix("author_")[:8]
        self.assertRegex(lines[0], rf"\A\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d {short} 1 first\Z")
        self.assertTrue(lines[1].endswith(f"{short} 2 \\x1b[2Jsecond\\u202e"), lines[1])
        self.assertEqual(len(lines), 2)
        short = diary.removeprefix("author_")[:8]
        self.assertIn("third", self.run_gossiplog("log", "--store", "ann", "--author", short))
        by_time = self.run_gossiplog("log", "--store", "ann", "--sort", "time").splitlines()
        self.assertEqual([line.split()[-1] for line in by_time][::2], ["first", "third"])

    def test_log_of_bytes(self) -> None:
        """What is not UTF-8 is escaped as text and Base64 as JSON."""
        process = self.gossiplog("append", "--store", "ann")
        assert process.popen.stdin is not None
        process.popen.stdin.write(b"\xff\xfe\n")
        self.assertEqual(process.finish(), 0)
        self.assertIn("1 \\xff\\xfe\n", self.run_gossiplog("log", "--store", "ann"))
        about = json.loads(self.run_gossiplog("log", "--store", "ann", "--json"))
        self.assertEqual((about["payload_base64"], "payload" in about), ("//4=", False))

    def test_log_without_utf_8(self) -> None:
        """A terminal that can't show a letter gets an escape, not an error."""
        self.run_gossiplog("append", "--store", "ann", "fünf")
        text = self.run_gossiplog("log", "--store", "ann", env=environment(PYTHONIOENCODING="ascii"))
        self.assertTrue(text.endswith("f\\xfcnf\n"), text)

    def test_store_from_the_environment(self) -> None:
        """$GOSSIPLOG_STORE, or else .gossiplog here."""
        env = environment(GOSSIPLOG_STORE=str(self.place / "ann"))
        self.assertEqual(self.run_gossiplog("id", env=env), f"{self.author}\n")
        self.run_gossiplog("init")
        self.assertTrue((self.place / ".gossiplog").is_dir())

    def test_choices(self) -> None:
        """What is chosen is kept and shown; authors are named as in ``log``; what cannot be is one line."""
        store = ("--store", "ann")
        own = self.run_gossiplog("id", *store).strip()
        ann, bob = (format_author(bytes([number]) * 32) for number in (1, 2))
        self.assertEqual(self.run_gossiplog("follow", *store), "everyone\n")
        self.assertEqual(self.run_gossiplog("unfollow", *store, ann), f"{ann} unfollowed\n")
        self.assertEqual(
            self.run_gossiplog("block", *store, "--delete", bob), f"{bob} blocked, 0 entries deleted\n"
        )
        self.assertEqual(self.run_gossiplog("follow", *store), f"everyone\n{ann} unfollowed\n{bob} blocked\n")
        self.assert_one_line(self.gossiplog("follow", *store, bob), 1, "is blocked; unblock it first")
        self.assert_one_line(
            self.gossiplog("block", *store, own[7:15]), 1, "writes here, and is always wanted"
        )
        self.assert_one_line(self.gossiplog("block", *store, "author_x"), 1, "characters follow author_")
        self.assert_one_line(self.gossiplog("block", *store, "zzzz"), 1, "unknown author 'zzzz'")
        self.assertEqual(self.run_gossiplog("unblock", *store, bob[7:15]), f"{bob} unblocked\n")
        self.assertEqual(
            self.run_gossiplog("follow", *store, "--only", bob), f"only those followed\n{bob} followed\n"
        )
        self.assertEqual(
            self.run_gossiplog("follow", *store), f"only those followed\n{ann} unfollowed\n{bob} followed\n"
        )
        self.assertEqual(self.run_gossiplog("follow", *store, "--everyone"), "everyone\n")

    def test_verify(self) -> None:
        """All is well: 0.  A flipped bit in a row: 3, and where it is."""
        self.run_gossiplog("append", "--store", "ann", "one", "two")
        self.assertEqual(
            self.run_gossiplog("verify", "--store", "ann"),
            "2 entries of 1 authors in 1 segments: all is well\n",
        )
        flip_a_bit(self.place / "ann" / "log.sqlite", b"two")
        process = self.gossiplog("verify", "--store", "ann")
        self.assertEqual(process.finish(), 3)
        self.assertRegex(process.out, rf"\Acopied: .+\ndamaged: {self.author} 1 to 2: .+\n\Z")
        self.assertRegex(
            process.err, r"\Agossiplog: .* is damaged in \d places; --repair brings it in order\n\Z"
        )

    def test_verify_of_garbage(self) -> None:
        """A database that is none is damage too."""
        (self.place / "ann" / "log.sqlite").write_bytes(b"garbage" * 4096)
        process = self.gossiplog("verify", "--store", "ann")
        self.assertIn(process.finish(), (1, 3))
        self.assertRegex(process.err, r"\Agossiplog: [^\n]+\n\Z")


def flip_a_bit(database: Path, near: bytes) -> None:
    """Damage the file of a closed database in the payload that contains ``near``."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(database.read_bytes())
    content[content.index(near)] ^= 1
    database.write_bytes(content)


class FailureTests(ProcessTestCase):
    """Every failure is one line on standard error and a status: no traceback, nothing on standard output."""

    def setUp(self) -> None:
        super().setUp()
        with closing(open_logs(self.place / "ann")) as logs:
            logs.writer("default")

    def test_stores(self) -> None:
        """Missing, locked, no directory, no store, unreadable; of every verb."""
        (self.place / "file").write_text("hello")
        (self.place / "other").mkdir()
        (self.place / "other" / "letter.txt").write_text("hello")
        node = ("--network", "n")
        verbs: list[tuple[str, ...]] = [("id",), ("append", "x"), ("log",), ("log", "--follow"), ("clock",)]
        verbs += [(verb, "ab" * 32) for verb in ("follow", "unfollow", "block", "unblock")] + [("follow",)]
        verbs += [
            ("forks",),
            ("verify",),
            ("sync", NOBODY, *node),
            ("run", *node),
            ("chat", "--nick", "ann", *node),
        ]
        with closing(open_logs(self.place / "ann")):
            locked = [self.gossiplog(*verb, "--store", "ann", "--wait", "0") for verb in (*verbs, ("init",))]
            for process in locked:
                self.assert_one_line(
                    process, 1, f"store {self.place / 'ann'} is in use by process {os.getpid()}"
                )
        missing = [self.gossiplog(*verb, "--store", "none") for verb in verbs]
        for process in missing:
            self.assert_one_line(process, 1, "no store at", "gossiplog init --store none creates one")
        self.assertFalse((self.place / "none").exists())
        self.assert_one_line(self.gossiplog("log", "--store", "file"), 1, "is not a directory")
        self.assert_one_line(self.gossiplog("init", "--store", "file/x"), 1, "file")
        self.assert_one_line(self.gossiplog("init", "--store", "other"), 1, "is not a store", "letter.txt")

    def test_arguments(self) -> None:
        """Wrong usage is status 2."""
        cases: list[tuple[tuple[str, ...], str]] = [
            ((), "VERB"),
            (("fly",), "fly"),
            (("log", "--colour"), "--colour"),
            (("sync", "--network", "n"), "PEER"),
            (("sync", "--network", "n", "--map-port"), "PEER, a ticket with an address, or --lan"),
            (("sync", NOBODY), "--network"),
            (("sync", "tcp:x", "--network", "n"), "'tcp:x' is no endpoint to dial"),
            (("sync", "nowhere", "--network", "n"), "'nowhere' is no endpoint to dial"),
            (("sync", NOBODY, "--network", "n", "--timeout", "soon"), "--timeout"),
            (("sync", NOBODY, "--network", "n", "--timeout", "-1"), "positive"),
            (("recover", "--network", "n"), "one of PEER and --alone"),
            (("recover", NOBODY, "--alone"), "one of PEER and --alone"),
            (("recover", NOBODY), "--network"),
            (("run", "--network", "n", "--listen", "4000"), "'4000' is no endpoint to listen on"),
            (("run", "--network", "n", "--listen", "smoke:signals"), "'smoke:signals' is no endpoint"),
            (("run", "--network", "author_x"), "author_"),
            (("run", "--network", ""), "name"),
            (("chat", "--network", "n"), "--nick"),
        ]
        processes = [self.gossiplog(*case, "--store", "ann") for case, _ in cases[1:]]
        for process, (_, word) in zip(processes, cases[1:], strict=True):
            self.assert_one_line(process, 2, word, "--help")
        self.assert_one_line(self.gossiplog(), 2, "VERB")

    def test_values(self) -> None:
        """Authors, writers and payloads that are none."""
        large = self.gossiplog("append", "--store", "ann")
        large.send("small", "x" * MAX_BODY_BYTES)
        self.assertEqual(large.finish(), 1)
        self.assertRegex(large.err, r"\Agossiplog: [^\n]+\n\Z")
        self.assertRegex(large.out, r"\A\w{8} 1\n\Z")  # the line before it is there
        unknown = "author_" + "a" * 55
        cases: list[tuple[tuple[str, ...], str]] = [
            (("log", "--author", "nobody"), "unknown author 'nobody'"),
            (("log", "--author", unknown), "checksum"),
            (("log", "--author", "00" * 32), "unknown author"),
            (("id", "--writer", "diary"), "no writer 'diary'"),
            (("append", "--writer", "../x", "text"), "a writer's name"),
        ]
        for case, words in cases:
            self.assert_one_line(self.gossiplog(*case, "--store", "ann"), 1, words)

    def test_network(self) -> None:
        """Nobody there, somebody else there, another network, a port in use."""
        for name in ("bob", "cleo"):
            with closing(open_logs(self.place / name)):
                pass
        node = self.gossiplog("run", "--store", "ann", "--network", "one", "--listen", LOOPBACK)
        [address] = node.ready()["listening"]
        sync = ("sync", "--network", "two", "--timeout", "3")
        nobody = self.gossiplog(*sync, "--store", "bob", NOBODY)
        other = self.gossiplog(*sync, "--store", "cleo", address)
        self.assert_one_line(nobody, 1, f"no answer from {NOBODY} within 3 s", "refused")
        self.assert_one_line(other, 1, f"no answer from {address} within 3 s", "another network")
        wrong = self.gossiplog("sync", "--store", "bob", "--network", "one", address)
        self.assert_one_line(wrong, 1, "belongs to another network")
        taken = f"{address.replace('127.0.0.1:', '')}:interface=127.0.0.1"
        for verb in (["run"], ["chat", "--nick", "bob"]):
            process = self.gossiplog(*verb, "--network", "two", "--store", "bob", "--listen", taken)
            self.assert_one_line(process, 1, f"cannot listen on '{taken}'", "in use")
        self.assertEqual(node.terminate(), 0)

    def test_disk_full(self) -> None:
        """The disk refuses a write: nothing is said to be written that is not."""
        limited = 'ulimit -f 64; exec "$@"'
        command = (sys.executable, "-m", "gossiplog.app.cli", "append", "--store", "ann", "x" * 100_000)
        process = self.start("sh", "-c", limited, "sh", *command)
        self.assert_one_line(process, 1, "log.sqlite")
        self.assertEqual(self.run_gossiplog("log", "--store", "ann"), "")

    def test_output_that_nobody_takes(self) -> None:
        """A full disk behind standard output is a failure; a reader that went away is none worth a word."""
        self.run_gossiplog("append", "--store", "ann", *(["line"] * 1000))
        with open("/dev/full", "wb") as full:
            process = self.gossiplog("log", "--store", "ann", stdout=full)
            self.assertEqual(process.finish(), 1)
        self.assertRegex(process.err, r"\Agossiplog: [^\n]*No space left[^\n]*\n\Z")
        readable, writable = os.pipe()
        os.close(readable)
        with os.fdopen(writable, "wb") as broken:
            for verb in (["log"], ["log", "--follow"]):
                process = self.gossiplog(*verb, "--store", "ann", stdout=broken)
                self.assertEqual((process.finish(), process.err), (141, ""))

    def test_closed_descriptors(self) -> None:
        """Standard input, output and error may be closed: no file of the store takes their place."""
        for closed in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"):
            process = self.start(
                "sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "gossiplog.app.cli", "append", "--store",
                "ann", "text", stdin=subprocess.DEVNULL,
            )  # fmt: skip
            self.assertEqual(process.finish(), 1 if "1" in closed else 0, process.err)
        self.assertEqual(list(self.logged("ann").values()), ["text"] * 4)

    def test_interrupted(self) -> None:
        """Ctrl-C while it waits for a line: what was appended stays."""
        process = self.gossiplog("append", "--store", "ann")
        process.send("one")
        process.wait_for(r"1$")
        self.assertEqual(process.interrupt(), 130)
        self.assertEqual(process.err, "gossiplog: interrupted\n")
        self.assertEqual(list(self.logged("ann").values()), ["one"])


class NetworkTests(ProcessTestCase):
    """The verbs that meet peers."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("ann", "bob"):
            with closing(open_logs(self.place / name)) as logs:
                logs.writer("default")

    def test_sync(self) -> None:
        """Both directions in one go; what moved is said; a second time nothing moves."""
        self.run_gossiplog("append", "--store", "ann", "a1", "a2")
        self.run_gossiplog("append", "--store", "bob", "b1")
        node = self.gossiplog("run", "--store", "ann", "--network", "garden", "--listen", LOOPBACK)
        about = node.ready()
        self.assertEqual(about["store"], str(self.place / "ann"))
        [address] = about["listening"]
        sync = ("sync", address, "--network", "garden", "--store", "bob")
        self.assertRegex(self.run_gossiplog(*sync), r"\Areceived 2 entries, sent 1, in \d+\.\d\d s\n\Z")
        moved = json.loads(self.run_gossiplog(*sync, "--json"))
        self.assertEqual((moved["received"], moved["sent"]), (0, 0))
        self.assertEqual(node.terminate(), 0)
        self.assertEqual(self.logged("ann"), self.logged("bob"))
        self.assertEqual(len(self.logged("ann")), 3)
        for store in ("ann", "bob"):
            self.assertIn("all is well", self.run_gossiplog("verify", "--store", store))

    def test_interest(self) -> None:
        """A block from the command line holds for nodes; what it deleted comes again when it is taken back."""
        self.run_gossiplog("append", "--store", "ann", "a1", "a2")
        author = self.run_gossiplog("id", "--store", "ann").strip()
        node = self.gossiplog("run", "--store", "ann", "--network", "garden", "--listen", LOOPBACK)
        [address] = node.ready()["listening"]
        sync = ("sync", address, "--network", "garden", "--store", "bob")
        self.run_gossiplog(*sync)
        deleted = self.run_gossiplog("block", "--store", "bob", "--delete", author[7:15])
        self.assertEqual(deleted, f"{author} blocked, 2 entries deleted\n")
        self.assertIn("received 0 entries", self.run_gossiplog(*sync))
        self.assertEqual(self.logged("bob"), {})
        self.run_gossiplog("unblock", "--store", "bob", author)
        self.assertIn("received 0 entries", self.run_gossiplog(*sync, "--only-followed"))
        self.assertIn("received 0 entries", self.run_gossiplog(*sync))
        self.run_gossiplog("follow", "--store", "bob", "--everyone")
        bounded = self.gossiplog(*sync, "--max-author-bytes", "3")
        self.assertEqual(bounded.finish(), 0)
        self.assertIn("received 0 entries", bounded.out)
        over = f"not all was taken of 1 author ({author[7:15]}): over the quota bytes_per_author"
        self.assertEqual(bounded.err, f"gossiplog: {over}\n")
        self.assertIn(
            "received 2 entries", self.run_gossiplog(*sync, "--max-bytes", "1000", "--max-authors", "1")
        )
        self.assertEqual(node.terminate(), 0)
        self.assertEqual(self.logged("ann"), self.logged("bob"))

    def test_progress(self) -> None:
        """On a terminal, and only there, a line says how far it is, and is gone at the end."""
        keyboard, screen = open_terminal()
        self.addCleanup(os.close, keyboard)
        command = (
            "-m",
            "gossiplog.app.cli",
            "sync",
            NOBODY,
            "--network",
            "n",
            "--store",
            "ann",
            "--timeout",
            "0.5",
        )
        process = subprocess.Popen(
            (sys.executable, *command), cwd=self.place, env=environment(), stderr=screen
        )
        os.close(screen)
        self.assertEqual(process.wait(DEADLINE_SECONDS), 1)
        shown = os.read(keyboard, 1 << 16).decode()
        self.assertIn(f"\r\x1b[Kdialling {NOBODY}, 0 s", shown)
        self.assertRegex(shown, r"\r\x1b\[Kgossiplog: no answer from [^\r\n]+\r\n\Z")

    def test_run_meets_run(self) -> None:
        """Nodes that dial each other; SIGINT and SIGTERM stop them in order, and the ready line is all of stdout."""
        ann = self.gossiplog(
            "run", "--store", "ann", "--network", "n", "--listen", LOOPBACK, "--listen", LOOPBACK
        )
        listening = ann.ready()["listening"]
        self.assertEqual(len(set(listening)), 2)
        bob = self.gossiplog(
            "run", "--store", "bob", "--network", "n", "--peer", listening[1], "--peer", NOBODY
        )
        bob.ready()
        env = environment(GOSSIPLOG_NETWORK="n")  # the key need not be on the command line
        with closing(open_logs(self.place / "cleo")):
            pass
        self.run_gossiplog("sync", listening[0], "--store", "cleo", env=env)
        self.assertEqual((ann.interrupt(), bob.terminate()), (0, 0))
        for process in (ann, bob):
            self.assertEqual(len(process.out.splitlines()), 1)
            self.assertNotIn("Traceback", process.err)
        self.assertRegex(ann.err, r"(?m)^peer \w{8} is up at tcp:127\.0\.0\.1:\d+ \(gossiplog\)$")

    def test_follow(self) -> None:
        """What is there, then what comes from a peer; until Ctrl-C."""
        self.run_gossiplog("append", "--store", "bob", "old")
        follow = self.gossiplog(
            "log", "--follow", "--store", "bob", "--network", "n", "--listen", "tcp:0:interface=127.0.0.1"
        )
        follow.wait_for(r" 1 old$")
        self.assertEqual(follow.interrupt(), 0)
        node = self.gossiplog("run", "--store", "ann", "--network", "n", "--listen", LOOPBACK)
        [address] = node.ready()["listening"]
        follow = self.gossiplog(
            "log", "--follow", "--json", "--store", "bob", "--network", "n", "--peer", address
        )
        follow.wait_for(r'"old"')
        with closing(open_logs(self.place / "cleo")) as logs:
            logs.writer("default")
        self.run_gossiplog("append", "--store", "cleo", "new")
        self.run_gossiplog("sync", address, "--store", "cleo", "--network", "n")
        follow.wait_for(r'"new"')
        self.assertEqual((follow.interrupt(), follow.err), (0, ""))
        self.assertEqual(node.interrupt(), 0)

    def test_chat(self) -> None:
        """Two people talk; who comes back sees what was said; nothing that is typed steers the other's terminal."""
        ann = self.gossiplog(
            "chat", "--store", "ann", "--network", "n", "--nick", "ann", "--listen", LOOPBACK, "--verbose"
        )
        ann.send("hello", "/quit")
        self.assertEqual(ann.finish(), 0)
        first = self.gossiplog("run", "--store", "bob", "--network", "n", "--listen", LOOPBACK)
        [address] = first.ready()["listening"]
        ann = self.gossiplog("chat", "--store", "ann", "--network", "n", "--nick", "ann", "--peer", address)
        ann.wait_for(r"^ann> hello$")
        ann.wait_for(r"^-- peer \w{8} is up")
        self.assertEqual(first.interrupt(), 0)
        port = re.sub(r".*:(\d+)$", r"\1", address)
        bob = self.gossiplog(
            "chat",
            "--store",
            "bob",
            "--network",
            "n",
            "--nick",
            "bob\x1b[1m",
            "--listen",
            f"tcp:{port}:interface=127.0.0.1",
        )
        bob.wait_for(r"^ann> hello$")
        bob.send("hi\x07")
        ann.wait_for(r"^bob\\x1b\[1m> hi\\x07$")
        ann.send("bye", "/quit")
        self.assertEqual((ann.finish(), ann.err), (0, ""))
        bob.wait_for(r"^ann> bye$")
        bob.end_input()
        self.assertEqual((bob.finish(), bob.err), (0, ""))
        self.assertEqual(self.logged("ann"), self.logged("bob"))

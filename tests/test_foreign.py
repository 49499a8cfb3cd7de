"""Ring 1, 8 and 10: text that others wrote, on every way out: it is one line, and steers neither terminal nor log."""

from __future__ import annotations

import ast
import io
import json
import os
import random
import socket
import sqlite3
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import rmtree

from twisted.logger import textFileLogObserver
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import errors, limits, notices
from gossiplog.app.cli import main
from gossiplog.app.happenings import describe
from gossiplog.app.printing import StatusLine, as_json, complain, report
from gossiplog.errors import GossiplogError, StoreDamagedError
from gossiplog.live.logger import NodeLog
from gossiplog.notices import Peer, PeerDown, PeerRejected, PeerUp
from gossiplog.printable import brief, printable
from gossiplog.store.logs import open_logs
from tests.processes import EXAMPLES, Process, ProcessTestCase
from tests.test_shape import modules

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\nforged\x0b\x85\x9b1m\u202e\u2066\u2028\u200b\x7f\U000e0041"
"""Clears the screen, sets a title, begins lines, hides, turns text around: in the 64 characters of an agent."""

ZALGO = "z" + "\u0335\u0321" * 200


def foul(text: str) -> list[str]:
    """Return the characters of an output that no terminal and no log should be given."""
    return sorted({char for char in text if char != "\n" and printable(f"x{char}x") != f"x{char}x"})


class PrintableTests(SynchronousTestCase):
    """Whatever others wrote, a terminal shows it and does nothing else."""

    def test_plain_text_stays(self) -> None:
        """Letters of all scripts, emoji made of several, combining marks, joiners where words need them."""
        for text in (
            "",
            "hello, world",
            "fünf Vögel",
            "日本語",
            "שָׁלוֹם",
            "می\u200cخواهم",
            "👨\u200d👩\u200d👧",
            "❤️\u200d🔥",
            "র\u200d্য",
            "e\u0301",
            "བསྒྲུབས",
        ):
            self.assertEqual(printable(text), text)

    def test_every_control_is_escaped(self) -> None:
        """C0, DEL and C1 among letters."""
        for code in (*range(0x20), *range(0x7F, 0xA0)):
            shown = printable(f"a{chr(code)}b")
            self.assertTrue(shown.startswith("a\\") and shown.endswith("b") and shown.isascii(), repr(shown))
            self.assertTrue(shown.isprintable())

    def test_what_reorders_hides_or_means_nothing(self) -> None:
        """Every character of a kind that is no letter, mark, number, punctuation or symbol; and fillers."""
        kept = {"\u200c", "\u200d", " "}
        for code in range(0x110000):
            char = chr(code)
            if (unicodedata.category(char)[0] in "CZ" and char not in kept) or char in "\u3164\u115f\u1160":
                self.assertTrue(printable(f"x{char}").isascii(), hex(code))

    def test_joiners_where_nothing_is_joined(self) -> None:
        """In a name of Latin letters they hide; many in a row hide too."""
        for text in (
            "pay\u200dpal",
            "a\u200c",
            "\u200da",
            "می\u200c",
            "م\u200c\u200cی",
            "x\u200c\u0301",
            "é\u200cé",
        ):
            self.assertNotEqual(printable(text), text)
            self.assertTrue({"\u200c", "\u200d"}.isdisjoint(printable(text)))

    def test_marks_that_pile_up(self) -> None:
        """As many as any script stacks; and none before there is anything to stand on."""
        shown = printable(f"{ZALGO}!")
        self.assertEqual(shown[: limits.MAX_MARKS + 1], ZALGO[: limits.MAX_MARKS + 1])
        self.assertTrue(shown[limits.MAX_MARKS + 1 :].isascii())
        self.assertEqual(printable("\u0301a"), "\\u0301a")

    def test_sequences(self) -> None:
        """Clear screen, set title, and a line that pretends to be somebody else's."""
        self.assertEqual(printable("\x1b[2J\x1b]0;owned\x07"), "\\x1b[2J\\x1b]0;owned\\x07")
        self.assertEqual(printable("hi\r\nbob> bye"), "hi\\r\\nbob> bye")

    def test_once_is_enough(self) -> None:
        """On several ways through several hands nothing changes any more."""
        draw = random.Random(1)
        letters = [*HOSTILE, *ZALGO[:9], *"aé日\u200c\u200d❤️👩‍ক্\\ \ud800"]
        for _ in range(2000):
            text = "".join(draw.choices(letters, k=12))
            shown = printable(text)
            self.assertEqual(printable(shown), shown)
            self.assertEqual([char for char in foul(shown) if char not in "\u200c\u200d"], [], ascii(text))

    def test_length(self) -> None:
        """Where it is one thing of many it ends, and says how long it was."""
        longest = "x" * limits.MAX_PRINTED_CHARS
        self.assertEqual(brief(longest), longest)
        for text in (f"{longest}x", "\U000e0041" * limits.MAX_PRINTED_CHARS):
            self.assertEqual(len(brief(text)), limits.MAX_PRINTED_CHARS)
            self.assertTrue(brief(text).endswith(f"... ({len(text)} characters)"))


class ValueTests(SynchronousTestCase):
    """What is handed to an application, and may be printed by it."""

    def test_errors(self) -> None:
        """Every error says one line, whatever it quotes."""
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
        for kind in kinds:
            if issubclass(kind, GossiplogError):
                error = kind.__new__(kind, HOSTILE * 100)  # some take other arguments
                self.assertEqual(foul(f"{error}{error!r}"), [], kind)
                self.assertLessEqual(len(str(error)), limits.MAX_PRINTED_CHARS)
                self.assertNotIn("\n", str(error))

    def test_notices(self) -> None:
        """In words and as Python shows them."""
        peer = Peer(bytes(32), f"unix:{HOSTILE}", HOSTILE, True)
        told = [
            PeerUp(peer),
            PeerDown(peer, 64, HOSTILE),
            PeerRejected(HOSTILE, GossiplogError(HOSTILE)),
            notices.Banned(bytes(32), HOSTILE, 1.0),
            notices.StrangersTurnedAway(2, 1, HOSTILE, 1, HOSTILE),
            notices.DialFailed(HOSTILE, HOSTILE),
            notices.StoreFailing(GossiplogError(HOSTILE), True),
            notices.StoreDamaged(bytes(32), StoreDamagedError(HOSTILE), 1, 2),
        ]
        for notice in told:
            words = describe(notice)
            assert words is not None
            self.assertEqual(foul(f"{words}{notice!r}"), [])
            self.assertNotIn("\n", words)

    def test_json(self) -> None:
        """ASCII without controls, and the same value for who reads it."""
        line = as_json({HOSTILE: f"{HOSTILE}\ud800\\\x7f"})
        self.assertTrue(line.isascii() and line.isprintable())
        self.assertEqual(json.loads(line), {HOSTILE: f"{HOSTILE}\ud800\\\x7f"})


class PrintingTests(SynchronousTestCase):
    """What is told to people while something goes on."""

    def test_complaints_and_status(self) -> None:
        """Texts that no error of ours made printable: of the system, of the command line, of a peer."""
        out = io.StringIO()
        self.patch(out, "isatty", lambda: True)
        self.patch(sys, "stderr", out)
        complain(HOSTILE * 50)
        report(OSError(5, HOSTILE, HOSTILE))
        report(RuntimeError(HOSTILE))
        status = StatusLine()
        status.show(HOSTILE)
        status.tell(HOSTILE)
        written = out.getvalue().replace("\r\x1b[K", "")
        self.assertEqual(foul(written), [])
        self.assertEqual(len(written.splitlines()), 4)
        self.assertLess(max(map(len, written.splitlines())), 2 * limits.MAX_PRINTED_CHARS)


class LogTests(SynchronousTestCase):
    """What a node writes to Twisted's log."""

    def test_texts_and_failures(self) -> None:
        """A text is one line; a traceback is some, and none of them is made by what the error says."""
        out = io.StringIO()
        log = NodeLog("test", observer=textFileLogObserver(out))
        log.info("{words}", words=HOSTILE)
        for error in (
            RuntimeError(f"first{HOSTILE}"),
            StoreDamagedError(f"second{HOSTILE}"),
            ValueError("third"),
        ):
            try:
                raise error
            except Exception:
                log.failure("{about} failed", about=HOSTILE)
        written = out.getvalue()
        self.assertEqual([char for char in foul(written) if char != "\t"], [])
        self.assertNotIn("\nforged", written)
        for word in (
            "RuntimeError: first\\x1b",
            "StoreDamagedError: second\\x1b",
            "ValueError: third",
            "raise error",
        ):
            self.assertIn(word, written)


STREAMS = {
    *("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"),
    *("os.write", "traceback.print_exc", "traceback.print_exception"),
}
HARMLESS = {"flush", "isatty", "reconfigure"}
FORBIDDEN = {
    "logging",
    "warnings",
    "twisted.logger.Logger",
    "twisted.logger.globalLogPublisher",
    "twisted.python.log",
    "syslog",
}
OUTSIDE = {
    "app.printing": "what it is for",
    "app.streams": "bytes that the others made",
    "live.logger": "what it is for",
    "app.commands.export": "an export on standard output: bytes, and no terminal",
    "app.screen": "a whole terminal, with lines that were made printable",
    "app.commands.forks": "a proof on standard output: lines of Base64",
    "app.logs": "where twistd logs JSON to: ASCII without controls",
    "app.room_tap": "as app.tap",
    "app.tap": "says where the one line goes while twistd has its log in the place of standard error",
}
"""Modules that hold a stream or a logger of their own, and why."""


def ways_out(tree: ast.Module) -> list[str]:
    """Return where a module writes to a stream, or logs, itself."""
    harmless = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in HARMLESS
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("print", "breakpoint"):
            found.append(f"{node.lineno}: {node.id}")
        elif (
            isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and id(node) not in harmless
        ):
            way = f"{node.value.id}.{node.attr}"
            if way in STREAMS:
                found.append(f"{node.lineno}: {way}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = {f"{base}{alias.name}" for alias in node.names} | {base.rstrip(".")}
            found += [f"{node.lineno}: {name}" for name in names & (FORBIDDEN | STREAMS)]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SystemExit":
            texts = [arg for arg in node.args if not isinstance(arg, ast.Name | ast.Constant)]
            found += [f"{node.lineno}: SystemExit with a text"] * bool(texts)
    return found


class WaysOutTests(SynchronousTestCase):
    """Nothing is printed or logged past the places that make text fit for it."""

    def sources(self) -> Iterator[tuple[str, ast.Module]]:
        """Yield every module that may print, and every example."""
        yield from modules().items()
        for path in sorted(EXAMPLES.glob("*.py")):
            yield path.name, ast.parse(path.read_bytes())

    def test_streams_and_loggers(self) -> None:
        """No print, no other logger, no write to a standard stream, no error that is printed by who catches it."""
        found = {name: ways_out(tree) for name, tree in self.sources()}
        self.assertEqual({name: ways for name, ways in found.items() if ways and name not in OUTSIDE}, {})
        self.assertEqual(
            [name for name in OUTSIDE if not found[name]], []
        )  # and the list has no more than it needs

    def test_json_is_made_in_one_place(self) -> None:
        """With another option it would have any character in it.  What goes over a control socket is not printed."""
        found = [
            f"{name}:{node.lineno}"
            for name, tree in self.sources()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "dumps"
            if name not in ("app.printing", "control.messages")
            if isinstance(node.value, ast.Name) and node.value.id == "json"
        ]
        self.assertEqual(found, [])


PEER = """
import sys
from pathlib import Path
from twisted.internet.task import react
from gossiplog import Node, PeerUp, open_store
from gossiplog.app.foreground import foreground

async def main(reactor, peer, text):
    store = open_store(Path("hostile"), reactor)
    writer = await store.writer(text[:8].encode("ascii", "ignore").hex(), encoding="json")
    await writer.append({"type": "chat-message", "nickname": text, "text": text})
    node = Node(reactor, store, network="00" * 32, agent=text)
    up = node.when(PeerUp)
    node.connect(peer)
    await up
    await node.when_in_sync(node.peers[0])
    await node._driver.stop(64, text)
    await store.close()

react(foreground(main), (sys.argv[1], HOSTILE))
"""


class ProgramTests(ProcessTestCase):
    """Real programs, and a hostile text through every entrance."""

    def setUp(self) -> None:
        super().setUp()
        self.short = Path(tempfile.mkdtemp(prefix="glog"))  # a unix socket has no room for a long path
        self.addCleanup(rmtree, self.short)

    def assert_clean(self, process: Process, *words: str) -> None:
        """Assert that nothing a process printed steers a terminal or begins a line of its own."""
        printed = process.out + process.err
        self.assert_clean_text(printed)
        for word in words:
            self.assertIn(word, printed)

    def assert_clean_text(self, printed: str) -> None:
        """The same of what is known already."""
        self.assertEqual([char for char in foul(printed) if char != "\t"], [], printed)
        self.assertNotIn("\ufffd", printed)
        self.assertNotRegex(printed, r"(?m)^\s*forged")

    def visit(self, path: Path) -> None:
        """Come from a unix socket with a hostile name, bytes that are no text in it too, and say something else."""
        with socket.socket(socket.AF_UNIX) as guest:
            guest.bind(os.fsencode(self.short) + b"/\xff" + HOSTILE.encode()[:40])
            guest.connect(str(path))
            guest.sendall(b"GET / HTTP/1.1\r\n\r\n")
            guest.settimeout(30)
            self.assertEqual(guest.recv(1), b"")

    def hostile_peer(self, path: Path) -> None:
        """A peer with a hostile agent, payloads and last words."""
        script = f"HOSTILE = {HOSTILE!r}\n{PEER}"
        peer = self.start(sys.executable, "-c", script, f"unix:{path}")
        self.assertEqual((peer.finish(), peer.err), (0, ""))

    def test_run(self) -> None:
        """The name of a socket, an agent, the reason of BYE; and an address of our own that is no better."""
        self.run_gossiplog("init", "--store", "ann")
        path = self.short / "ann"
        peer = f"unix:/nowhere/{HOSTILE}".replace(";", "")
        node = self.gossiplog(
            *("run", "--store", "ann", "--network", "00" * 32, "--listen", f"unix:{path}", "--peer", peer)
        )
        node.ready()
        self.visit(path)
        self.hostile_peer(path)
        self.assertEqual(node.interrupt(), 0)
        self.assert_clean(
            node, "rejected unix:", "is up at", "is down: \\x1b[2J", "no connection to unix:/nowhere/\\x1b"
        )
        for line in node.err.splitlines():
            self.assertRegex(line, r"\A(peer|rejected|no connection|address) ")

    def test_twistd(self) -> None:
        """The same in twistd's log."""
        path = self.short / "ann"
        node = self.twistd(
            *("--nodaemon", "--pidfile=", "gossiplog", "--store", "ann", "--network", "00" * 32),
            *("--listen", f"unix:{path}"),
        )
        node.ready()
        self.visit(path)
        self.hostile_peer(path)
        node.terminate()
        self.assert_clean(node, "rejected unix:", "is up at", "is down: \\x1b[2J")
        for line in node.out.splitlines():
            self.assertRegex(line, r"\A\d{4}-\d\d-\d\dT")

    def test_chat_and_log(self) -> None:
        """Messages, nicknames, peers; then the same from the store, as text and as JSON."""
        self.run_gossiplog("init", "--store", "ann")
        path = self.short / "ann"
        chat = self.gossiplog(
            *("chat", "--store", "ann", "--network", "00" * 32, "--nick", "ann", "--verbose"),
            *("--listen", f"unix:{path}"),
        )
        self.hostile_peer(path)  # dials until somebody listens
        chat.wait_for(r"^\\x1b\[2J.*> \\x1b\[2J")
        chat.end_input()
        self.assertEqual(chat.finish(), 0)
        self.assert_clean(chat, "is down: \\x1b[2J")
        for options in ((), ("--json",), ("--sort", "time")):
            log = self.gossiplog("log", "--store", "ann", *options)
            self.assertEqual(log.finish(), 0)
            self.assert_clean(log, "chat-message")

    def test_hostile_stores(self) -> None:
        """Names of writers and paths, texts in the tables, messages of SQLite, files that are none."""
        store = self.place / f"st\x1b[31mo\nre{chr(0x9B)}"
        with closing(open_logs(store)) as logs:
            logs.writer(f"ann{ZALGO[:20]}")
        self.everything(store)
        for number, statement in enumerate(
            (
                "UPDATE sqlite_master SET sql = 'CREATE TABLE \x1b[2J(' WHERE name = 'cursors'",
                "UPDATE sqlite_master SET name = '\x1b[2J', sql = 'x\ny\x9b' WHERE name = 'meta'",
                "UPDATE meta SET value = '\x1b[2J' || char(10)",
                "INSERT INTO meta VALUES ('\x1b[2J', x'00')",
                "INSERT INTO cursors VALUES ('\x1b[2J\nforged', zeroblob(32), 1, x'', 0)",
                "INSERT INTO forks VALUES ('\x1b[2J', 'x')",
                "UPDATE authors SET author = '\x1b[2J\nforged'",
            )
        ):
            copy = self.place / f"copy{number}\x1b[2J"
            with closing(open_logs(copy)) as logs:
                logs.writer("default")
            [file] = [path for path in copy.iterdir() if path.suffix == ".sqlite"]
            with closing(sqlite3.connect(file, isolation_level=None)) as database:
                database.execute("PRAGMA writable_schema = ON")
                database.execute(statement)
            self.everything(copy)

    def everything(self, store: Path) -> None:
        """Run what only reads, and what writes, on a store."""
        proof, scenario = (str(self.place / f"{about}\x1b[2J") for about in ("proof", "scenario"))
        Path(proof).write_bytes(HOSTILE.encode())
        Path(scenario).write_text(json.dumps({"about": HOSTILE, HOSTILE: HOSTILE}))
        commands = [
            *(
                ["id", "--all"],
                ["id", "--writer", HOSTILE],
                ["clock"],
                ["clock", "--json"],
                ["log"],
                ["verify"],
            ),
            *(["forks"], ["forks", "--check", proof], ["follow"], ["follow", HOSTILE], [HOSTILE]),
            *(["append", "--writer", HOSTILE, "x"], ["log", "--author", HOSTILE]),
            *(["verify", "--repair"], ["append", "text"]),
        ]
        for command in commands:
            self.assert_clean_text(self.said(*command, "--store", str(store)))
        self.assert_clean_text(self.said("simulate", "--scenario", scenario))

    def said(self, *line: str) -> str:
        """Run a command in this process; return all that it printed."""
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", out)
        main(line)
        assert isinstance(out.buffer, io.BytesIO)
        return out.buffer.getvalue().decode()

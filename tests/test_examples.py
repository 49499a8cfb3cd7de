"""Ring 9: the examples, as the tutorials they follow say they should behave, as real processes on real ports."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

from gossiplog.log.keys import format_author, parse_author
from gossiplog.store.logs import Logs, open_logs
from tests.processes import EXAMPLES, Process, ProcessTestCase, environment, free_port


def load(name: str) -> ModuleType:
    """Import an example without running it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ExampleTestCase(ProcessTestCase):
    """A test of one example."""

    def assert_usage(self, process: Process, words: str) -> None:
        """Assert that a program refused its arguments and said why."""
        self.assertEqual(process.finish(), 2)
        self.assertEqual(process.out, "")
        self.assertIn(words, process.err)
        self.assertNotIn("Traceback", process.err)

    def assert_sound(self, *stores: str) -> None:
        """Assert that nothing is wrong with stores that were left behind."""
        for store in stores:
            self.assertIn("all is well", self.run_gossiplog("verify", "--store", store))

    def author(self, store: str, writer: str = "default") -> str:
        """Return who writes in a store."""
        return self.run_gossiplog("id", "--store", store, "--writer", writer).strip()


class PersistedChatTests(ExampleTestCase):
    """The tutorial "Distributing append-only logs"."""

    def names(self, *bases: str) -> list[str]:
        """Return names of which no other run of these tests, and nobody else, has the ports."""
        to_port = load("persisted_chat").to_port
        found: dict[int, str] = {}
        for base in bases:
            for attempt in range(1000):
                name = f"{base}-{os.getpid()}-{attempt}"
                if to_port(name) not in found and free_port(to_port(name)):
                    found[to_port(name)] = name
                    break
        return list(found.values())

    def chat(self, *names: str) -> Process:
        """Be the first of ``names``, and look for the others."""
        return self.example("persisted_chat", *names)

    def test_tutorial(self) -> None:
        """Alone, say hello; who comes later sees it; who knows only him gets it from him, signed by its author."""
        ann, bob, cleo = self.names("ann", "bob", "cleo")
        first = self.chat(ann, bob)
        first.send("hello")
        second = self.chat(bob, ann)
        second.wait_for(rf"^info> connected to {ann}$")
        second.wait_for(rf"^{ann}> hello$")
        first.wait_for(rf"^info> connected to {bob}$")
        second.send("good morning")
        first.wait_for(rf"^{bob}> good morning$")
        self.assertNotIn(f"{bob}> hello", second.out)
        self.assertEqual(first.interrupt(), 0)
        third = self.chat(cleo, bob)
        third.wait_for_all(rf"^{ann}> hello$", rf"^{bob}> good morning$")
        third.send("/quit")
        second.end_input()
        self.assertEqual((third.finish(), second.finish()), (0, 0))
        for process in (first, second, third):
            self.assertEqual(process.err, "")
        self.assert_sound(f"{ann}.chat", f"{bob}.chat", f"{cleo}.chat")
        held = self.logged(f"{cleo}.chat")
        spoke = {author: json.loads(text) for (author, _), text in held.items()}
        self.assertEqual(
            spoke,
            {
                self.author(f"{ann}.chat"): {"username": ann, "message": "hello"},
                self.author(f"{bob}.chat"): {"username": bob, "message": "good morning"},
            },
        )

    def test_history_by_time(self) -> None:
        """Who comes back sees first what was said, in the order of its times, whoever said it."""
        ann, bob = self.names("ann", "bob")
        one, two = self.chat(ann, bob), self.chat(bob, ann)
        two.wait_for("^info> connected")
        one.wait_for("^info> connected")
        for number in range(3):
            one.send(f"ann {number}")
            two.wait_for(rf"> ann {number}$")
            two.send(f"bob {number}")
            one.wait_for(rf"> bob {number}$")
        self.assertEqual((one.terminate(), two.terminate()), (0, 0))
        again = self.chat(bob)
        again.wait_for(r"> bob 2$")
        said = [line.partition("> ")[2] for line in again.out.splitlines()]
        self.assertEqual(said, ["ann 0", "bob 0", "ann 1", "bob 1", "ann 2", "bob 2"])
        self.assertEqual(again.interrupt(), 0)

    def test_killed_in_the_middle(self) -> None:
        """The only one between two others is killed, and comes back: nothing is lost, nothing is there twice."""
        ann, bob, cleo = self.names("ann", "bob", "cleo")
        first, middle, last = self.chat(ann, bob), self.chat(bob, ann), self.chat(cleo, bob)
        middle.wait_for(rf"^info> connected to {ann}$")
        last.wait_for("^info> connected")
        count = 60
        for number in range(count // 3):
            first.send(f"line {number}")
        last.wait_for(r"> line 5$")
        self.assertEqual(middle.kill(), -signal.SIGKILL)
        for number in range(count // 3, 2 * count // 3):
            first.send(f"line {number}")
        last.send("from the other end")
        middle = self.chat(bob, ann)
        for number in range(2 * count // 3, count):
            first.send(f"line {number}")
        last.wait_for(rf"> line {count - 1}$")
        first.wait_for(r"> from the other end$")
        middle.wait_for_all(r"> from the other end$", rf"> line {count - 1}$")
        self.assertEqual([process.interrupt() for process in (first, middle, last)], [0, 0, 0])
        shown = [line.partition("> line ")[2] for line in last.out.splitlines() if "> line " in line]
        self.assertEqual(shown, [str(number) for number in range(count)])
        stores = [f"{name}.chat" for name in (ann, bob, cleo)]
        self.assert_sound(*stores)
        held = [self.logged(store) for store in stores]
        self.assertEqual(held[0], held[1])
        self.assertEqual(held[0], held[2])
        author = self.author(stores[0])
        spoken = [json.loads(held[2][author, seq])["message"] for seq in range(1, count + 1)]
        self.assertEqual(spoken, [f"line {number}" for number in range(count)])
        self.assertEqual(len(held[0]), count + 1)

    def test_no_escapes(self) -> None:
        """What others wrote, names too, does nothing to a terminal; what is no message is passed over."""
        ann, bob = self.names("ann", "bob")
        messages = [
            b"not JSON",
            b"[1, 2]",
            b'{"username": 1, "message": "x"}',
            json.dumps(
                {"username": "e\x1b]0;t\x07", "message": "\x1b[2J\x9b1m\u202egone\nbob> bye"}
            ).encode(),
        ]
        with open_logs_of(self.place / f"{ann}.chat"):
            pass
        process = self.gossiplog("append", "--store", f"{ann}.chat")
        assert process.popen.stdin is not None
        process.popen.stdin.write(b"\n".join(messages))
        self.assertEqual(process.finish(), 0)
        one, two = self.chat(ann, bob), self.chat(bob, ann)
        two.wait_for(r"^e\\x1b\]0;t\\x07> \\x1b\[2J\\x9b1m\\u202egone\\nbob> bye$")
        one.send("\x1b[31mred")
        two.wait_for(r"> \\x1b\[31mred$")
        self.assertEqual((one.interrupt(), two.interrupt()), (0, 0))
        for process in (one, two):
            self.assertFalse(set(process.out) & {"\x1b", "\x07", "\x9b", "\u202e"})

    def test_names(self) -> None:
        """Two names with one port, no name at all, and a port that somebody has."""
        to_port = load("persisted_chat").to_port
        ports: dict[int, str] = {}
        for name in self.many_names():
            twin = ports.setdefault(to_port(name), name)
            if twin != name:
                break
        self.assert_usage(self.chat(name, twin), f"{name} and {twin} have the same port; choose another name")
        self.assert_usage(self.chat("../ann"), "is no name")
        self.assert_usage(self.chat(), "YOUR-NAME")
        ann, bob = self.names("ann", "bob")
        running, witness = self.chat(ann), self.chat(bob, ann)
        witness.wait_for("^info> connected")
        locked = self.chat(ann)
        self.assertEqual(locked.finish(), 1)
        self.assertRegex(
            locked.err, rf"\Agossiplog: store [^\n]* is in use by process {running.popen.pid};[^\n]*\n\Z"
        )
        taken = self.example("persisted_chat", ann, "--dir", "other")
        self.assertEqual(taken.finish(), 1)
        self.assertRegex(taken.err, r"\Agossiplog: cannot listen on [^\n]* in use[^\n]*\n\Z")
        self.assertEqual((running.interrupt(), witness.interrupt()), (0, 0))

    def many_names(self) -> Iterator[str]:
        """Yield names, one after the other."""
        return (f"name{number}" for number in range(100_000))


class WriterReaderTests(ExampleTestCase):
    """The tutorial "How to replicate and persist with Hypercore"."""

    def test_tutorial(self) -> None:
        """The key is all that a reader needs; it skips what is there, and prints what comes, live."""
        writer = self.example("writer")
        key = writer.wait_for(r"^key: (author_\w+)$")[1]
        writer.wait_for(r"^listening on tcp:127\.0\.0\.1:\d+$")
        writer.send("one", "two")
        reader = self.example("reader", key)
        skipped = int(reader.wait_for(r"^Skipping (\d) earlier blocks\.\.\.$")[1])
        self.assertIn(skipped, (0, 1, 2))  # as many as were on disk by then
        writer.send("three")
        reader.wait_for(r"^Block 3: three$")
        self.assertEqual(reader.interrupt(), 0)
        writer.send("four")
        writer.end_input()  # it goes on serving
        reader = self.example("reader", key)
        skipped = int(reader.wait_for(r"^Skipping (\d) earlier blocks\.\.\.$")[1])
        if skipped < 4:
            reader.wait_for(r"^Block 4: four$")
        self.assertEqual((reader.interrupt(), writer.interrupt()), (0, 0))
        self.assertEqual((reader.err, writer.err), ("", ""))
        self.assertEqual(self.author("writer-storage"), key)
        [stored] = self.place.glob("reader-storage-*")
        self.assert_sound("writer-storage", stored.name)
        self.assertEqual(list(self.logged("writer-storage").values()), ["one", "two", "three", "four"])

    def test_reader_comes_first(self) -> None:
        """Nobody is there yet: it waits, and then all is new."""
        with open_logs_of(self.place / "writer-storage") as logs:
            key = format_author(logs.writer("default").author)
        reader = self.example("reader", key)
        reader.wait_for(r"^Skipping 0 earlier blocks\.\.\.$")
        writer = self.example("writer")
        writer.send("hello")
        reader.wait_for(r"^Block 1: hello$")
        self.assertEqual((reader.interrupt(), writer.interrupt()), (0, 0))

    def test_reader_serves_reader(self) -> None:
        """Who has read passes it on, while the writer is away; who has another key gets nothing."""
        writer = self.example("writer", "--port", "0")
        key = writer.wait_for(r"^key: (\w+)$")[1]
        address = writer.wait_for(r"^listening on (\S+)$")[1]
        first = self.example("reader", key, "--peer", address, "--port", "0", "--store", "first")
        relay = first.wait_for(r"^listening on (\S+)$")[1]
        first.wait_for("^Skipping")
        writer.send("hello")
        first.wait_for("^Block 1: hello$")
        self.assertEqual(writer.interrupt(), 0)
        second = self.example("reader", key, "--peer", relay, "--store", "second")
        second.wait_for(r"^Skipping 1 earlier blocks\.\.\.$")
        with open_logs_of(self.place / "other") as logs:
            other = format_author(logs.writer("default").author)
        stranger = self.example("reader", other, "--peer", relay, "--store", "third")
        stranger.wait_for(r"^Nobody there yet\.\.\.$")
        self.assertEqual([process.interrupt() for process in (first, second, stranger)], [0, 0, 0])
        self.assertEqual(list(self.logged("second")), [(key, 1)])
        self.assertEqual(self.logged("third"), {})

    def test_mistakes(self) -> None:
        """A key that is none; a store of another log."""
        self.assert_usage(self.example("reader"), "KEY")
        self.assert_usage(self.example("reader", "author_x"), "55 characters follow")
        with open_logs_of(self.place / "a") as logs, open_logs_of(self.place / "b") as others:
            keys = [format_author(one.writer("default").author) for one in (logs, others)]
        self.assertEqual(len({parse_author(key) for key in keys}), 2)
        reader = self.example("reader", keys[0], "--store", "store")
        reader.wait_for("^Skipping")
        self.assertEqual(reader.interrupt(), 0)
        wrong = self.example("reader", keys[1], "--store", "store")
        self.assertEqual(wrong.finish(), 1)
        self.assertRegex(wrong.err, r"\Agossiplog: store [^\n]* belongs to another network[^\n]*\n\Z")


class MultichatTests(ExampleTestCase):
    """The tutorial "Multiple peers in one app!"."""

    def chat(self, suffix: str, *more: str) -> Process:
        """Open a window on a topic that only this test knows."""
        return self.example("multichat", suffix, "--topic", str(self.place), *more)

    def test_tutorial(self) -> None:
        """Three windows with a suffix each see what the others say; each writes a log of its own, in JSON."""
        one, two = self.chat("1"), self.chat("2", "--nickname", "dog-lover")
        one.send("hello world")
        one.wait_for(r"^Data was appended as entry #1$")
        two.wait_for(r"^cat-lover-1: hello world$")
        two.send("woof")
        one.wait_for(r"^dog-lover: woof$")
        three = self.chat("3")
        three.wait_for_all(r"^cat-lover-1: hello world$", r"^dog-lover: woof$")
        self.assertEqual([process.interrupt() for process in (one, two)], [0, 0])
        three.end_input()
        self.assertEqual(three.finish(), 0)
        stores = ("multichat-1", "multichat-2", "multichat-3")
        self.assert_sound(*stores)
        held = self.logged(stores[2])
        message = json.loads(held[self.author("multichat-1", "local"), 1])
        self.assertEqual(sorted(message), ["nickname", "text", "timestamp", "type"])
        self.assertEqual((message["type"], message["text"]), ("chat-message", "hello world"))
        self.assertRegex(message["timestamp"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00\Z")
        self.assertEqual(len(held), 2)

    def test_same_suffix(self) -> None:
        """The second window is told that the store is in use."""
        one = self.chat("1")
        one.send("hello")
        one.wait_for("appended")
        two = self.chat("1")
        self.assertEqual(two.finish(), 1)
        self.assertRegex(
            two.err, rf"\Agossiplog: store \S+/multichat-1 is in use by process {one.popen.pid};[^\n]*\n\Z"
        )
        self.assertEqual(one.interrupt(), 0)
        self.assert_usage(self.chat("../1"), "letters and digits")


class QuestionsTests(ExampleTestCase):
    """A reply by somebody whose clock is an hour behind."""

    def test_never_before_its_question(self) -> None:
        question, reply = "Who has seen the heron?", "At the weir, at six."
        story = self.example("questions", "--dir", "stores")
        self.assertEqual((story.finish(), story.err), (0, ""))
        told = [line.partition(":")[2].strip() for line in story.out.splitlines()]
        self.assertEqual(told, [f"{reply} {question}", f"{question} {reply}", f"{question} {reply}"])
        self.assert_sound("stores/ann", "stores/bob", "stores/cleo")


class TwoLaptopsTests(ExampleTestCase):
    """A store is copied, and both copies append."""

    def test_story(self) -> None:
        """It ends well, and what it tells is in the stores that it leaves."""
        story = self.example("two_laptops", "--dir", "stores")
        self.assertEqual((story.finish(), story.err), (0, ""))
        told = re.search(r"All four know now that (\w{8}) has two notes 3\.", story.out)
        assert told is not None
        for line in (
            "The copy refuses to append: its database is another file than the one written here.",
            "bob keeps what came first (written on the old-laptop), and takes no more of that log.",
            "cleo keeps what came first (written on the new-laptop), and takes no more of that log.",
            "Other logs go on.  The new laptop has: hello from bob",
            f"On the old-laptop: the log of {told[1]} is forked; use another writer.",
            f"On the new-laptop: the log of {told[1]} is forked; use another writer.",
        ):
            self.assertIn(line, story.out.splitlines())
        author = self.author("stores/old-laptop")
        self.assertEqual(author[7:15], told[1])
        for name, text in (("bob", "written on the old-laptop"), ("cleo", "written on the new-laptop")):
            self.assertEqual(self.logged(f"stores/{name}")[author, 3], text)
        held = self.logged("stores/cleo")
        again = self.author("stores/new-laptop", "ann-2")
        self.assertIn(f"What I wrote as {told[1]} counts up to note 2", held[again, 1])
        names = ("old-laptop", "new-laptop", "bob", "cleo")
        for name in names:
            forked = self.run_gossiplog("forks", "--store", f"stores/{name}")
            self.assertRegex(forked, rf"\A{author} signed \w+ and \w+ as entry 3; .*; frozen at 3.*\n\Z")
        self.assert_sound(*(f"stores/{name}" for name in names))
        self.assertIn(author, self.run_gossiplog("forks", "--check", "stores/ann.proof"))

    def test_leaves_nothing_unless_told(self) -> None:
        """Without --dir; and over what a first run left it says what is in the way."""
        self.assertEqual(self.example("two_laptops", env=environment(TMPDIR=str(self.place))).finish(), 0)
        self.assertEqual(list(self.place.iterdir()), [])
        (self.place / "new-laptop").mkdir()
        again = self.example("two_laptops", "--dir", ".")
        self.assertEqual(again.finish(), 1)
        self.assertRegex(again.err, r"\Agossiplog: new-laptop: File exists\n\Z")


class ProgramTests(ExampleTestCase):
    """What all examples have in common."""

    def test_each_says_how_to_run_it(self) -> None:
        """The docstring shows the command line; ``--help`` works; each is short."""
        for path in sorted(Path(EXAMPLES).glob("*.py")):
            module = load(path.stem)
            self.assertIn(f"python {path.name}", module.__doc__ or "")
            self.assertLessEqual(len(path.read_text().splitlines()), 135, path.name)
            process = self.start(sys.executable, path, "--help")
            self.assertEqual((process.finish(), process.err), (0, ""))


def open_logs_of(path: Path) -> closing[Logs]:
    """Open a store until the end of a block."""
    return closing(open_logs(path))

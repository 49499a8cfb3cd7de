"""Rings 7 and 8: a store that a node has, used from outside over its control socket: verbs, and programs."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from gossiplog import blocking, format_author, limits, short_key
from gossiplog.app.cli import _parser, main
from gossiplog.control.answers import ANSWERS
from gossiplog.control.line import Line
from gossiplog.control.messages import Asked
from gossiplog.errors import (
    ControlError,
    EntryNotHeldError,
    InvalidValueError,
    StoreError,
    StoreInUseError,
    StoreLockedError,
)
from gossiplog.log.keys import KeyKind, format_key
from gossiplog.notices import PeerDown, PeerUp
from gossiplog.store.directory import DRAFT
from tests.serving import NETWORK, ServedCase
from tests.viewcase import Counts

SECONDS = 60.0

READING = [
    ["log"],
    ["log", "--json"],
    ["log", "--sort", "time"],
    ["log", "-n", "2", "--reverse"],
    ["log", "--where", "room=kitchen"],
    ["log", "--author", "zzzz"],
    ["clock"],
    ["clock", "--json"],
    ["id"],
    ["id", "--writer", "nobody"],
    ["id", "--all"],
    ["verify"],
    ["follow"],
    ["forks"],
    ["forks", "--export", "zzzz", "/dev/null"],
    ["search", "heron"],
    ["search", "--json", "--newest", "heron"],
    ["search", "AND"],
    ["views", "--drop", "nothing"],
]
"""Verbs that show what is there, or say why not: the same, whoever has the store."""

FRIEND = format_author(bytes(31) + b"\1")

WRITING = [
    ["append", "one", "two"],
    ["append", "--json", "--writer", "bob", "three"],
    ["append", "--writer", "a/b", "x"],
    ["init"],
    ["init", "--writer", "carl"],
    ["follow", FRIEND],
    ["unfollow", "zzzz"],
    ["follow"],
    ["views"],
    ["append", "a heron again"],
    ["search", "heron"],
    ["views"],
    ["views", "--drop", "of-command"],
    ["views", "--drop", "of-command"],
    ["append", "-"],
    ["append"],
    ["log"],
    ["clock"],
]


THROUGH_THE_NODE = (
    "append backup ban block chat clock compact connect disconnect export follow forks id import init log peers "
    "recover search status sync top unban unblock unfollow verify views"
)
ALONE = "host join key restore run"
"""What only who has the store does, or in part: it says that a node has it (docs/howto/operating.rst)."""

WITHOUT_A_STORE = "find fleet invite room simulate"


def _without_keys(printed: str, path: str) -> list[str]:
    """Return the lines that were printed, sorted, without what is another one in each store."""
    known = re.sub(r"author_[a-z2-7]{20,}", "AUTHOR", printed.replace(path, "PATH"))
    known = re.sub(r"\b[a-z2-7]{8}(?= [0-9])", "SHORT", known)
    return sorted(re.sub(r"[0-9-]{10} [0-9:]{8}", "TIME", known).splitlines())


class VerbCase(ServedCase):
    """A store with a few entries, and verbs on it."""

    def setUp(self) -> None:
        self.path = self.made()

    def made(self) -> str:
        """Return the path of a new store."""
        path = os.path.abspath(self.mktemp())
        with blocking.Store(path, timeout=SECONDS) as store:
            store.writer().append_many([b"a heron", b'{"room": "kitchen"}', b"x" * 200])
            store.writer("bob").append_many([b"another heron", b"\xff"])
        self.assertEqual(self.verb("search", "heron", path=path)[0], 0)  # its index is kept
        return path

    def verb(self, *said: str, path: str = "", typed: bytes = b"") -> tuple[int, str, str]:
        """Run a verb on the store; its status and what it printed."""
        streams = [io.TextIOWrapper(io.BytesIO(text)) for text in (typed, b"", b"")]
        with (
            patch.object(sys, "stdin", streams[0]),
            patch.object(sys, "stdout", streams[1]),
            patch.object(sys, "stderr", streams[2]),
        ):
            status = main([said[0], "--store", path or self.path, *said[1:]])
        for stream in streams:
            stream.flush()
            stream.seek(0)
        return status, streams[1].read(), streams[2].read()


class VerbTests(VerbCase):
    """The same output, the same errors and the same exit status as without a node."""

    def test_every_verb(self) -> None:
        """Of each it was decided what it does while a node has the store."""
        [verbs] = [action.choices for action in _parser()._actions if isinstance(action.choices, dict)]
        self.assertEqual(sorted(verbs), sorted(f"{THROUGH_THE_NODE} {ALONE} {WITHOUT_A_STORE}".split()))

    def test_reading(self) -> None:
        """Verbs that change nothing."""
        direct = [self.verb(*said) for said in READING]
        self.serve(self.path)
        for said, expected in zip(READING, direct, strict=True):
            self.assertEqual(self.verb(*said), expected, said)

    def test_writing(self) -> None:
        """Verbs that write: what they print but for the keys, and what is there afterwards."""
        other = self.made()
        self.serve(self.path)
        told = []
        for path in (other, self.path):
            said = [self.verb(*each, path=path, typed=b"typed\nlines") for each in WRITING]
            told.append([[_without_keys(text, path) for text in each[1:]] + [each[0]] for each in said])
        self.assertEqual(*told)


class ClientTests(VerbCase):
    """Programs: a store as the node shows it."""

    def test_attach(self) -> None:
        """Write, read, live and not; the node's store has it."""
        self.serve(self.path)
        self.assertRaises(StoreLockedError, blocking.Store(self.path).open)
        with blocking.attach(self.path, timeout=SECONDS) as store:
            writer = store.writer()
            self.assertEqual(writer.append(b"by hand"), 4)
            self.assertEqual(store.clock.seq(writer.author), 4)
            live = store.read(writer.author, first=5, live=True)
            self.verb("append", "from a command")
            self.assertEqual(next(live).payload, b"from a command")
            self.assertRaises(EntryNotHeldError, store.entry, writer.author, 9)
            self.assertRaises(StoreInUseError, store.repair)
            self.assertRaises(StoreInUseError, blocking.Node, store, network=NETWORK)

    def test_nobody_has_it(self) -> None:
        """That is said, and the same where this process has it: it would wait for itself."""
        self.assertRaises(ControlError, blocking.attach(self.path).open)
        with blocking.Store(self.path) as store, blocking.Node(store, network=NETWORK):
            self.assertRaises(ControlError, blocking.attach(self.path).open)

    def test_many_hits(self) -> None:
        """More than one answer has room for: all come, each once."""
        with blocking.Store(self.path) as store:
            store.writer().append_many([b"crane %d" % n for n in range(2 * limits.CONTROL_HITS + 10)])
        self.serve(self.path)
        asked: list[Any] = []
        ask = Line.ask

        def noted(line: Line, do: str, **said: Any) -> Any:
            answer = ask(line, do, **said)
            asked.extend([len(answer)] if do == "search" else [])
            return answer

        self.patch(Line, "ask", noted)
        found = self.verb("search", "crane", "--newest", "--limit", "520", "--json")[1].splitlines()
        self.assertEqual(len({json.loads(line)["seq"] for line in found}), 520)
        self.assertEqual(asked, [limits.CONTROL_HITS, limits.CONTROL_HITS, 8])

    def test_many_at_once(self) -> None:
        """As many as like append: each entry is there once."""
        self.serve(self.path)
        with ExitStack() as stack:
            stores = [stack.enter_context(blocking.attach(self.path, timeout=SECONDS)) for _ in range(8)]
            writers = [store.writer() for store in stores]
            with ThreadPoolExecutor(8) as pool:
                seqs = [*pool.map(lambda each: [each.append(b"x") for _ in range(10)], writers)]
        self.assertEqual(sorted(seq for each in seqs for seq in each), [*range(4, 84)])


class RebuiltTests(VerbCase):
    """A view that is built anew while a node has the store."""

    def test_rebuild(self) -> None:
        """As without a node; an older version goes, what was built is there when it is opened."""
        name = "tests.viewcase:Counts"
        self.serve(self.path)
        direct = self.made()
        told = [self.verb("views", "--rebuild", name, path=path) for path in (direct, self.path)]
        self.assertEqual(*told)
        self.verb("append", "more")
        for path in (direct, self.path):
            self.assertEqual(self.verb("views", path=path)[1].count("\n"), 2)
            self.assertEqual([each for each in os.listdir(path) if each.startswith(DRAFT)], [])
        self.assertEqual(self.verb("views", "--rebuild", name, "--json")[1].count('"applied": 6'), 1)

    def test_one_that_was_killed(self) -> None:
        """Leaves a directory that goes when the store is opened next, and nothing that a link in its place leads to."""
        left, link, elsewhere = (
            Path(self.path) / name for name in (f"{DRAFT}x", f"{DRAFT}y", "../elsewhere")
        )
        for each in (left / "views", elsewhere):
            each.mkdir(parents=True)
            (each / "counts.1.sqlite").write_bytes(b"x")
        link.symlink_to(elsewhere)
        blocking.Store(self.path, init=False).open().close()
        self.assertFalse(left.exists())
        self.assertTrue((elsewhere / "counts.1.sqlite").exists())

    def test_not_while_it_is_open(self) -> None:
        """Who has it open keeps it up; nothing is built in vain, and nothing taken that was not built beside."""
        with blocking.Store(self.path) as store, blocking.Node(store, network=NETWORK) as node:
            store.view(Counts())
            answers = node._it._control.desk  # type: ignore[union-attr]

            def ask(**said: Any) -> Any:
                return store._wait(lambda: ANSWERS["put_view"](answers, Asked(said), None))  # type: ignore[arg-type]

            self.assertRaises(StoreInUseError, ask, name=Counts.name, version=1)
            self.assertRaises(ControlError, ask, name="other", version=1, draft="../views")
            self.assertRaises(ControlError, ask, name="other", version=1, draft=f"{DRAFT}x/../..")
            self.assertRaises(StoreError, ask, name="other", version=1, draft=f"{DRAFT}x")
            self.assertRaises(InvalidValueError, ask, name="../other", version=1, draft=f"{DRAFT}x")
            self.assertIsNone(ask(name="other", version=1))


class MeetingTests(VerbCase):
    """What meets peers: the node does it, and is connected afterwards as it was before."""

    def setUp(self) -> None:
        super().setUp()
        store = blocking.Store(self.mktemp(), timeout=SECONDS).open()
        self.addCleanup(store.close)
        self.other, self.peer = store, blocking.Node(store, network=NETWORK)
        self.endpoint = self.peer.listen("tcp:0:interface=127.0.0.1")

    def test_sync(self) -> None:
        """Both hold the same; a program may do so, too."""
        self.serve(self.path)
        status, out, err = self.verb("sync", "--network", NETWORK, self.endpoint)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("received 0 entries, sent 5, in", out)
        self.other.writer().append(b"from the other")
        status, out, _ = self.verb("sync", "--json", "--network", NETWORK, self.endpoint)
        self.assertEqual({**json.loads(out), "seconds": 0}, {"received": 1, "sent": 0, "seconds": 0})
        with blocking.attach(self.path, timeout=SECONDS) as store:
            self.other.writer().append(b"once more")
            self.assertEqual(store.node.sync(self.endpoint).received, 1)
            self.assertEqual((store.node.peers, store.node.status().dialled), ([], ()))

    def test_what_a_node_does_not_do(self) -> None:
        """Is said, with what to do."""
        self.serve(self.path)
        for said, words in (
            (
                ["sync", "--pull", "--max-bytes", "9", "--network", NETWORK, self.endpoint],
                "without --pull, --max-bytes",
            ),
            (["sync", "--network", "another", self.endpoint], "in another network"),
            (["recover", "--network", "another", self.endpoint], "in another network"),
            (["sync", "--timeout", "0.2", "--network", NETWORK, "tcp:127.0.0.1:1"], "no answer from"),
            (["verify", "--repair"], "stop the node"),
            (["key", "export"], "stop it first"),
        ):
            status, out, err = self.verb(*said)
            self.assertEqual((status, out, err.count("\n")), (1, "", 1), err)
            self.assertIn(words, err)

    def test_recover(self) -> None:
        """A copy gets back what was signed since then, and goes on behind that."""
        copy = shutil.copytree(self.path, os.path.abspath(self.mktemp()))
        with blocking.Store(self.path, timeout=SECONDS) as store:
            store.writer().append(b"signed since then")
            store.sync(self.endpoint, network=NETWORK)
        self.serve(copy)
        self.assertEqual(self.verb("append", "no", path=copy)[0], 1)
        status, out, err = self.verb("recover", "--network", NETWORK, self.endpoint, path=copy)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("default: 1 entries came back, goes on with 5", out)
        self.assertEqual(self.verb("append", "yes", path=copy)[0], 0)
        self.assertIn("nothing is to be done", self.verb("recover", "--alone", path=copy)[1])


class StatusTests(VerbCase):
    """What a node says of itself."""

    def test_as_json(self) -> None:
        """One object, with every field that is documented."""
        self.serve(self.path)
        self.verb("append", "one")
        status, out, err = self.verb("status", "--json", "--authors")
        self.assertEqual((status, err), (0, ""))
        said = json.loads(out)
        self.assertEqual(said["version"], 1)
        self.assertEqual((said["entries"], said["log_count"], said["to_come"], said["to_send"]), (6, 2, 0, 0))
        self.assertEqual(sorted(each["entries"] for each in said["authors"]), [2, 4])
        self.assertEqual(said["commits"]["entries"], 1)
        self.assertGreater(said["disk"]["logs"], 0)

    def test_no_node(self) -> None:
        """That is an error in one line."""
        for verb in (["status"], ["peers"], ["connect", "tcp:127.0.0.1:1"], ["ban", "x" * 8]):
            status, out, err = self.verb(*verb)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("no node has store", err)

    def test_peers(self) -> None:
        """Connect, disconnect, ban and unban, by how the node's id begins."""
        address = self.serve(self.path)
        with (
            blocking.Store(self.mktemp(), timeout=SECONDS) as store,
            blocking.Node(store, network=NETWORK) as node,
        ):
            endpoint = node.listen("tcp:0:interface=127.0.0.1")
            ups = node.events(PeerUp, PeerDown, timeout=SECONDS)
            self.assertEqual(self.verb("connect", endpoint)[0], 0)
            self.assertIsInstance(next(ups), PeerUp)
            _, out, _ = self.verb("peers")
            name = short_key(node.id)
            self.assertIn(name, out)
            self.assertIn("disconnected", self.verb("disconnect", name)[1])
            self.assertIsInstance(next(ups), PeerDown)
            self.assertEqual(self.verb("peers")[1], "no peers\n")
            self.assertEqual(self.verb("ban", format_key(KeyKind.NODE, node.id))[0], 0)
            dialled = node.connect(address)
            self.assertIn("banned", self.verb("status")[1])
            self.assertEqual(self.verb("unban", name)[0], 0)
            dialled.dial()
            self.assertIsInstance(next(ups), PeerUp)

"""The examples between hosts of one local network: people, a writer and its readers; one leaves and comes back.

GOSSIPLOG_HOSTS=1 python -m twisted.trial tests.test_example_hosts
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from tests.lans import Host, Lans, reason
from tests.processes import EXAMPLES, Process, ProcessTestCase


class ExampleHostTests(ProcessTestCase):
    """As the tutorials tell it."""

    skip = (
        reason() or ("" if find_spec("zeroconf") else "needs zeroconf: pip install 'gossiplog[lan]'") or None
    )

    def setUp(self) -> None:
        super().setUp()
        self.lans = Lans()
        self.addCleanup(self.lans.close)

    def on(self, host: Host, example: str, *arguments: str) -> Process:
        """Start an example on a host, in a directory of that host's own."""
        place = self.place / host.name
        place.mkdir(exist_ok=True)
        return self.start(*host.on(sys.executable, EXAMPLES / f"{example}.py", *arguments), cwd=place)

    def test_persisted_chat(self) -> None:
        """Each knows the others by name; what one said while another was away is there when that is back."""
        one, two, three = self.lans.office(3)
        alice = self.on(one, "persisted_chat", "alice", "bob")
        bob = self.on(two, "persisted_chat", "bob", "alice")
        alice.wait_for("^info> connected to bob$")
        bob.wait_for("^info> connected to alice$")
        alice.send("hello")
        bob.wait_for("^alice> hello$")
        self.assertEqual(alice.interrupt(), 0)
        carol = self.on(three, "persisted_chat", "carol", "bob")
        carol.wait_for("^alice> hello$")
        carol.send("she is away")
        bob.wait_for("^carol> she is away$")
        alice = self.on(one, "persisted_chat", "alice", "bob")
        alice.wait_for("^carol> she is away$")
        alice.send("I am back")
        carol.wait_for("^alice> I am back$")
        self.assertEqual([process.interrupt() for process in (alice, bob, carol)], [0, 0, 0])
        self.assertEqual([process.err for process in (alice, bob, carol)], ["", "", ""])

    def test_persisted_chat_without_a_network(self) -> None:
        """On one machine that has nothing but itself."""
        host = self.lans.host()
        alice, bob = (
            self.on(host, "persisted_chat", "alice", "bob"),
            self.on(host, "persisted_chat", "bob", "alice"),
        )
        alice.send("hello")
        bob.wait_for("^alice> hello$")
        self.assertEqual((alice.interrupt(), bob.interrupt()), (0, 0))

    def test_writer_and_readers(self) -> None:
        """They have nothing but the key; who reads serves others while the writer is away."""
        one, two, three = self.lans.office(3)
        writer = self.on(one, "writer")
        key = writer.wait_for(r"^key: (\w+)$")[1]
        self.assertEqual(writer.interrupt(), 0)
        first = self.on(two, "reader", key)
        first.wait_for("^Nobody there yet")
        first.wait_for("^Skipping 0 earlier")
        writer = self.on(one, "writer")
        writer.send("one")
        first.wait_for("^Block 1: one$")
        self.assertEqual(writer.interrupt(), 0)
        second = self.on(three, "reader", key)
        second.wait_for("^Skipping 1 earlier")
        writer = self.on(one, "writer")
        writer.send("two")
        for reader in (first, second):
            reader.wait_for("^Block 2: two$")
        self.assertEqual([process.interrupt() for process in (writer, first, second)], [0, 0, 0])
        self.assertEqual([process.err for process in (writer, first, second)], ["", "", ""])
        self.assertTrue(all(Path(self.place, host.name).is_dir() for host in (one, two, three)))

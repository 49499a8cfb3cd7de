"""The examples between hosts of one local network: people, a writer and its readers; one leaves and comes back.

GOSSIPLOG_HOSTS=1 python -m twisted.trial tests.test_example_hosts
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec

from tests.lans import Host, Lans, reason
from tests.processes import EXAMPLES, Process, ProcessTestCase
from tests.tutorials import Scene, hypercore, multifeed, scuttleup


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

    def tell(self, story: Callable[[Scene], None]) -> None:
        """Tell a story on three hosts."""
        hosts = dict(zip(("alice", "bob", "carol"), self.lans.office(3), strict=True))
        story(Scene(hosts, self.place, self.start))

    def test_scuttleup(self) -> None:
        """Each knows the others by name; what one said while another was away is there when that is back."""
        self.tell(scuttleup)

    def test_multifeed(self) -> None:
        """They know a topic."""
        self.tell(multifeed)

    def test_hypercore(self) -> None:
        """They have nothing but the key; who reads serves others while the writer is away."""
        self.tell(hypercore)

    def test_reader_without_a_writer(self) -> None:
        """It says when looking is over, and reads what comes."""
        one, two = self.lans.office(2)
        writer = self.on(one, "writer")
        key = writer.wait_for(r"^key: (\w+)$")[1]
        self.assertEqual(writer.interrupt(), 0)
        reader = self.on(two, "reader", key)
        reader.wait_for("^Nobody there yet")
        reader.wait_for("^Skipping 0 earlier")
        writer = self.on(one, "writer")
        writer.send("one")
        reader.wait_for("^Block 1: one$")
        self.assertEqual((reader.interrupt(), writer.interrupt()), (0, 0))

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

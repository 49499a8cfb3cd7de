"""Ring 7 and 8: figures for Prometheus: the truth, their names, the dashboard, and nothing where nobody collects."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SkipTest, TestCase

from gossiplog import CaughtUp, Network, Node, PeerDown, open_store
from gossiplog.app import metrics, watching
from gossiplog.app.metrics import COUNTERS, GAUGES, Figures
from gossiplog.errors import ByeCode, EndpointError, InvalidValueError
from gossiplog.notices import Banned, Peer, PeerRejected
from tests.processes import ProcessTestCase, environment

HERE = Path(__file__).resolve().parent.parent
DASHBOARD = HERE / "contrib" / "grafana" / "gossiplog.json"
LOOPBACK = "tcp:0:interface=127.0.0.1"

if find_spec("prometheus_client") is None:
    raise SkipTest("needs the extra metrics")


class Relay(Protocol):
    """I am one end of a connection through a machine that counts what passes: the truth."""

    def __init__(self, counts: dict[str, int], name: str, waiting: list[bytes]) -> None:
        self.counts, self.name, self.waiting = counts, name, waiting
        self.other: Relay | None = None

    def dataReceived(self, data: bytes) -> None:
        """Pass it on."""
        self.counts[self.name] += len(data)
        if self.other is None or self.other.transport is None:
            self.waiting.append(data)
        else:
            self.other.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        """The other end goes too."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.loseConnection()


class RelayFactory(Factory):
    """I connect whoever comes with a port."""

    def __init__(self, port: int, counts: dict[str, int]) -> None:
        self.port, self.counts = port, counts

    def buildProtocol(self, addr: Any) -> Relay:
        """A pair."""
        near = Relay(self.counts, "to_server", [])
        far = Relay(self.counts, "to_client", [])
        far.other = near

        class Far(Factory):
            def buildProtocol(self, addr: Any) -> Relay:
                return far

        def connected(_: Any) -> None:
            near.other = far
            for data in near.waiting:
                far.transport.write(data)

        TCP4ClientEndpoint(reactor, "127.0.0.1", self.port).connect(Far()).addCallback(connected)
        return near


class NodeCase(TestCase):
    """Nodes and their figures."""

    def setUp(self) -> None:
        self.stack = AsyncExitStack()
        self.addCleanup(self.stack.aclose)

    async def node(self) -> tuple[Node, Figures]:
        """One more."""
        store = await self.stack.enter_async_context(open_store(self.mktemp(), reactor))
        node = await self.stack.enter_async_context(Node(reactor, store, network=Network.from_key(bytes(32))))
        figures = Figures()
        figures.add(node)
        return node, figures

    def read(self, figures: Figures) -> dict[str, float]:
        """All samples, as Prometheus reads them."""
        from prometheus_client.parser import text_string_to_metric_families

        found = {}
        for family in text_string_to_metric_families(figures.text().decode()):
            for sample in family.samples:
                labels = ",".join(sample.labels.values())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


class FigureTests(NodeCase):
    """What is exported."""

    async def test_the_truth(self) -> None:
        """A known number of entries and bytes between two nodes: what both say, and what a third one counted."""
        (ann, of_ann), (bob, of_bob) = await self.node(), await self.node()
        writer = await ann.store.writer()
        await writer.append_many([bytes(100)] * 2500)
        for number in range(7):
            await writer.append(b"%d" % number)
        address = await ann.listen(LOOPBACK)
        counts = {"to_server": 0, "to_client": 0}
        relay = reactor.listenTCP(  # type: ignore[attr-defined]
            0, RelayFactory(int(address.rpartition(":")[2]), counts), interface="127.0.0.1"
        )
        self.addCleanup(relay.stopListening)
        caught_up, down = bob.when(CaughtUp), ann.when(PeerDown)
        bob.connect(f"tcp:127.0.0.1:{relay.getHost().port}")
        await caught_up
        before = self.read(of_bob)
        self.assertGreater(before["gossiplog_received_bytes_total"], 250_000)
        self.assertEqual((before["gossiplog_peers"], before["gossiplog_caught_up"]), (1, 1))
        await bob.stop()
        await down
        here, there = self.read(of_ann), self.read(of_bob)
        self.assertEqual(there["gossiplog_new_entries_total{peers}"], 2507)
        self.assertEqual(there["gossiplog_new_entries_total{local}"], 0)
        self.assertEqual(here["gossiplog_new_entries_total{local}"], 2507)
        self.assertEqual(here["gossiplog_sent_entries_total"], 2507)
        self.assertEqual(there["gossiplog_committed_entries_total"], 2507)
        self.assertEqual(
            (there["gossiplog_entries"], there["gossiplog_logs"], there["gossiplog_peers"]), (2507, 1, 0)
        )
        self.assertEqual(here["gossiplog_events_total{peer_up}"], 1)
        for said, name in ((here, "gossiplog_sent_bytes_total"), (there, "gossiplog_received_bytes_total")):
            self.assertEqual(said[name], counts["to_client"], name)
        for said, name in ((there, "gossiplog_sent_bytes_total"), (here, "gossiplog_received_bytes_total")):
            self.assertEqual(said[name], counts["to_server"], name)
        self.assertEqual(sum(value for name, value in there.items() if "sessions_ended" in name), 1)

    async def test_names(self) -> None:
        """As Prometheus wants them: base units behind the name, counters end in _total, everything is explained."""
        from prometheus_client.parser import text_string_to_metric_families

        _, figures = await self.node()
        families = list(text_string_to_metric_families(figures.text().decode()))
        ours = [family for family in families if family.name.startswith("gossiplog_")]
        self.assertEqual(len(ours), len(GAUGES) + len(COUNTERS) + 4)
        for family in ours:
            self.assertRegex(family.name, r"\Agossiplog_[a-z]+(_[a-z]+)*\Z")
            self.assertRegex(family.documentation, r"\A[A-Z1].*\.\Z")
            self.assertIn(family.type, ("gauge", "counter"))
            self.assertNotRegex(family.name, "_(ms|millis|kb|mb|minutes|count|total)")
            for sample in family.samples:
                self.assertEqual(sample.name.endswith("_total"), family.type == "counter")
        self.assertIn("process_cpu_seconds", {family.name for family in families})

    async def test_dashboard(self) -> None:
        """Whatever it asks for is exported, with the labels that it asks for."""
        _, figures = await self.node()
        samples = {
            (sample.name, label)
            for family in figures.registry.collect()
            for sample in family.samples
            for label in [*sample.labels, "instance"]
        }
        events = {
            sample.labels["event"]
            for family in figures.registry.collect()
            for sample in family.samples
            if "event" in sample.labels
        }
        board = json.loads(DASHBOARD.read_text())
        queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        queries.append(board["templating"]["list"][1]["query"])
        self.assertGreater(len(queries), 20)
        for query in queries:
            names = re.findall(r"\b((?:gossiplog|process)_[a-z_]+)(?:\{([^}]*)\})?", query)
            self.assertTrue(names, query)
            for name, selector in names:
                for label in [*re.findall(r"(\w+)=~", selector), "instance"]:
                    self.assertIn((name, label), samples, query)
            for chosen in re.findall(r'event=~"([^"]*)"', query):
                self.assertLessEqual(set(chosen.split("|")), events)
        for legend in [target["legendFormat"] for panel in board["panels"] for target in panel["targets"]]:
            for label in re.findall(r"\{\{(\w+)\}\}", legend):
                self.assertIn(label, {label for _, label in samples})

    async def test_nothing_that_happens_adds_a_series(self) -> None:
        """And no text of others is in any."""
        _, figures = await self.node()
        _, tally = figures._nodes[""]
        before = set(self.read(figures))
        hostile = 'x"} 1\ngossiplog_forged 1\n# \x1b[2J'
        for number in range(300):
            peer = Peer(bytes([number % 256]) * 32, f"tcp:{hostile}:{number}", hostile, True)
            tally._told(PeerDown(peer, number, hostile))
            tally._told(PeerRejected(hostile, InvalidValueError(hostile)))  # type: ignore[arg-type]
            tally._told(Banned(bytes(32), hostile, 1.0))
        after = self.read(figures)
        self.assertEqual(set(after), before)
        self.assertNotIn("forged", figures.text().decode())
        self.assertEqual(after["gossiplog_events_total{banned}"], 300)
        self.assertEqual(after["gossiplog_sessions_ended_total{other}"], 300 - len(ByeCode))

    def test_without_the_package(self) -> None:
        """It says what to install, before anything starts."""
        self.patch(metrics, "import_module", lambda name: __import__("gossiplog_that_is_not_there"))
        said = {"metrics": LOOPBACK, "web": None, "web_host": None}
        error = self.assertRaises(InvalidValueError, watching.Watching.of, said)
        self.assertIn("pip install 'gossiplog[metrics]'", str(error))

    def test_where(self) -> None:
        """This machine alone, unless another interface is named."""
        for said, where in (
            ("tcp:9100", "tcp:9100:interface=127.0.0.1"),
            ("tcp6:9100", "tcp6:9100:interface=[::1]"),
            ("tcp:9100:interface=0.0.0.0", "tcp:9100:interface=0.0.0.0"),
            ("tcp:9100:192.0.2.1", "tcp:9100:192.0.2.1"),
        ):
            self.assertEqual(watching.read_endpoint(said), where)
        for said in ("9100", "tcp:x", "", "nonsense:1"):
            self.assertRaises(EndpointError, watching.read_endpoint, said)


class ProgramTests(ProcessTestCase):
    """run, and a node that nobody watches."""

    def test_collected(self) -> None:
        """By HTTP, where the ready line says."""
        self.run_gossiplog("init", "--store", "ann")
        node = self.gossiplog("run", "--store", "ann", "--network", "n", "--metrics", "tcp:0")
        where = node.ready()["metrics"]
        self.assertRegex(where, r"\Atcp:127\.0\.0\.1:\d+\Z")
        url = f"http://127.0.0.1:{where.rpartition(':')[2]}"
        with urllib.request.urlopen(f"{url}/metrics") as answer:
            text = answer.read().decode()
            self.assertIn("text/plain; version=", answer.headers["Content-Type"])
        self.assertIn("gossiplog_peers 0.0\n", text)
        for request in (f"{url}/other", urllib.request.Request(f"{url}/metrics", b"x", method="POST")):
            error = self.assertRaises(urllib.error.HTTPError, urllib.request.urlopen, request)
            self.assertEqual(error.code, 404)
            error.close()
        self.assertEqual(node.interrupt(), 0)

    def test_nobody_watches(self) -> None:
        """Then nothing of it is imported, and nothing listens to what happens but the log."""
        program = """
import sys
from twisted.internet import reactor
from gossiplog import Network
from gossiplog.app.service import Serving
serving = Serving(reactor, "ann", Network.from_key(bytes(32)), init=True)
serving.start().send(None) if False else None
from twisted.internet.defer import Deferred
Deferred.fromCoroutine(serving.start())
print(len(serving.node._subscribers._subscribers), sorted(
    name for name in sys.modules if name.startswith(("prometheus_client", "twisted.web", "gossiplog.app.web"))))
"""
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=self.place, capture_output=True, text=True, env=environment()
        )
        self.assertEqual((done.stdout, done.stderr), ("1 []\n", ""))

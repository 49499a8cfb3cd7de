"""Peers found through a distributed hash table: keys of the day, what is believed, when it is asked, real nodes of one.

The real ones are a table of several nodes of libtorrent on this machine, without any other network.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from unittest import skipIf

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import Dht, InvalidValueError, MissingExtraError, Network, PeerFound
from gossiplog.addresses import Address, parse_ip
from gossiplog.discovery import dht as dht_module
from gossiplog.discovery import extras
from gossiplog.discovery.dht_answers import Answers, Bootstrap
from gossiplog.discovery.dht_keys import day_key, day_of, keys_to_ask
from gossiplog.discovery.torrent_session import Heard, TorrentSession
from gossiplog.limits import (
    DHT_BYTES_PER_SECOND,
    DHT_FIRST_SECONDS,
    DHT_LOOK_SECONDS,
    DHT_PACKETS_OF_ONE,
    DHT_SECOND_SECONDS,
    DHT_SECONDS,
    GROUP_DIALS_PER_MINUTE,
    MAX_BOOK_PER_GROUP,
    MAX_DHT_ALERTS,
    MAX_DHT_ANSWER,
    MAX_DHT_BOOTSTRAP,
    MAX_DHT_FOUND,
    MAX_DHT_KEPT,
)
from gossiplog.net import peering as peering_module
from tests.netcase import NETWORK, World

MISSING = find_spec("libtorrent") is None
VECTORS = json.loads((Path(__file__).parent / "vectors" / "dht_keys.json").read_text())
NOON = 20_000 * 86_400 + 43_200.0
PUBLIC = "198.41.0.4"
"""An address of the Internet: bootstrap nodes there make the table that of everybody."""


OTHERS = {
    *("enable_lsd", "enable_upnp", "enable_natpmp", "enable_incoming_tcp", "enable_outgoing_tcp"),
    *("enable_incoming_utp", "enable_outgoing_utp", "enable_ip_notifier"),
}


def everywhere(count: int, groups: int = 65_000) -> list[tuple[str, int]]:
    """So many public addresses, of so many address groups."""
    base = int(IPv4Address("20.0.0.1"))
    return [
        (str(IPv4Address(base + (n % groups << 16) % (1 << 28) + n // groups)), 4000) for n in range(count)
    ]


class KeyTests(SynchronousTestCase):
    def test_vectors(self) -> None:
        for vector in VECTORS["keys"]:
            network = Network.from_key(bytes.fromhex(vector["network"]))
            self.assertEqual(network.discovery_id.hex(), vector["discovery_id"])
            self.assertEqual(day_of(vector["unix_seconds"]), vector["day"])
            today, yesterday = keys_to_ask(network.discovery_id, vector["unix_seconds"])
            self.assertEqual([today.hex(), yesterday.hex()], [vector["key"], vector["yesterday"]])

    def test_another_one_each_day_and_for_each_network(self) -> None:
        keys = {day_key(bytes([n]) * 32, day) for n in range(10) for day in range(100)}
        self.assertEqual(len(keys), 1000)
        self.assertEqual({len(key) for key in keys}, {20})


class BootstrapTests(SynchronousTestCase):
    def test_taken(self) -> None:
        for text, host, port in (
            ("192.0.2.1:6881", "192.0.2.1", 6881),
            ("[2001:db8::1]:1", "2001:db8::1", 1),
            ("dht.example.org:65535", "dht.example.org", 65535),
            ("office:6881", "office", 6881),
        ):
            self.assertEqual(Bootstrap.parse(text), (host, port))

    def test_refused(self) -> None:
        """Before anything starts, with a word on what would be right."""
        for text in (
            *(
                "",
                "192.0.2.1",
                "192.0.2.1:",
                ":6881",
                "192.0.2.1:0",
                "192.0.2.1:65536",
                "192.0.2.1:x",
                "a b:1",
            ),
            *(
                "1.2.3:1",
                "1.2.3.400:1",
                "2001:db8::1:6881",
                "[nonsense]:1",
                "[host]:1",
                "0.0.0.0:1",
                "224.0.0.1:1",
            ),
            *(
                "[::]:1",
                "tcp:192.0.2.1:6881",
                "a..b:1",
                "host:1\n",
                "x" * 300 + ":1",
                "host:-1",
                "host:1,evil:2",
            ),
        ):
            error = self.assertRaises(InvalidValueError, Bootstrap.parse, text)
            self.assertTrue(str(error), text)
        for odd in (None, 5, b"192.0.2.1:6881"):
            self.assertRaises(InvalidValueError, Bootstrap.parse, odd)

    @skipIf(MISSING, "needs libtorrent")
    def test_as_arguments(self) -> None:
        for bootstrap in (
            "192.0.2.1:6881",
            b"x",
            5,
            None,
            ["nonsense"],
            ["192.0.2.1:1"] * (MAX_DHT_BOOTSTRAP + 1),
        ):
            self.assertRaises(InvalidValueError, Dht, bootstrap)
        for announce in (1, "yes", None):
            self.assertRaises(InvalidValueError, Dht, announce=announce)
        Dht(["192.0.2.1:1"] * MAX_DHT_BOOTSTRAP)

    def test_what_to_install(self) -> None:
        self.patch(extras, "find_spec", lambda package: None)
        error = self.assertRaises(MissingExtraError, Dht)
        self.assertIn("pip install 'gossiplog[dht]'", str(error))


class AnswerTests(SynchronousTestCase):
    def answers(self, *bootstrap: str) -> Answers:
        return Answers([ip for host in bootstrap if (ip := parse_ip(host))], Random(1))

    def test_poisoned(self) -> None:
        """One answer of 10,000 addresses is worth eight; and a look 64, whoever answers how often."""
        answers = self.answers(PUBLIC)
        said = everywhere(10_000)
        self.assertEqual(len(answers.choose(said)), MAX_DHT_ANSWER)
        for _ in range(1000):
            answers.choose(said)
        answers.begin()
        self.assertEqual(sum(len(answers.choose(said)) for _ in range(1000)), MAX_DHT_FOUND)

    def test_by_chance(self) -> None:
        """Who lies cannot have its addresses before others in one answer."""
        firsts = {Answers([], Random(seed)).choose(everywhere(10_000))[0] for seed in range(50)}
        self.assertGreater(len(firsts), 40)

    def test_one_who_says_much(self) -> None:
        """Whoever announces all ports of his at us leaves room for others."""
        answers = self.answers(PUBLIC)
        took = [answers.choose([("8.8.8.8", port)]) for port in range(2000, 4000)]
        self.assertEqual(sum(map(len, took)), MAX_BOOK_PER_GROUP)
        self.assertEqual(len(answers.choose([("1.1.1.1", 4000)])), 1)

    def test_the_same_again_takes_no_place(self) -> None:
        answers = self.answers(PUBLIC)
        for _ in range(100):
            answers.choose(everywhere(3))
        self.assertEqual(len(answers.choose(everywhere(11))), 8)

    def test_addresses_of_no_use(self) -> None:
        """Never those of this machine, of containers, of anybody's office, nor a port of the system's."""
        bad = [
            *[
                ("127.0.0.1", 4000),
                ("::1", 4000),
                ("172.17.0.1", 4000),
                ("192.168.1.1", 4000),
                ("10.0.0.1", 4000),
            ],
            *[
                ("169.254.1.1", 4000),
                ("fe80::1", 4000),
                ("224.0.0.1", 4000),
                ("0.0.0.0", 4000),
                ("fd00::1", 4000),
            ],
            *[
                ("::ffff:127.0.0.1", 4000),
                ("2002:7f00:1::", 4000),
                ("64:ff9b::a00:1", 4000),
                ("240.0.0.1", 4000),
            ],
            *[("8.8.8.8", port) for port in (0, 1, 22, 25, 80, 1023, 65536, -1)],
            *[("nonsense", 4000), ("", 4000)],
        ]
        answers = self.answers(PUBLIC)
        for each in bad:
            self.assertEqual(answers.choose([each]), [], each)
        good = [("8.8.8.8", 443), ("8.8.8.8", 1024), ("2a00:1450::1", 65535)]
        for each in good:
            self.assertEqual(answers.choose([each]), [Address.of(*each)])

    def test_a_table_of_ones_own(self) -> None:
        """Private addresses count where all bootstrap nodes have such, loopback ones where one of them is here."""
        private, here = ("10.9.0.7", 4000), ("127.0.0.1", 4000)
        for bootstrap, counts in (
            (("10.9.0.1",), [True, False]),
            (("10.9.0.1", PUBLIC), [False, False]),
            (("127.0.0.1",), [True, True]),
            ((PUBLIC,), [False, False]),
        ):
            answers = self.answers(*bootstrap)
            self.assertEqual([bool(answers.choose([each])) for each in (private, here)], counts)
        for odd in ("169.254.1.1", "fe80::1", "0.0.0.0", "224.0.0.1"):
            self.assertEqual(self.answers("10.9.0.1").choose([(odd, 4000)]), [])


class FakeSession:
    """I am a table that says what a test lets it say."""

    made: list[FakeSession]

    def __init__(
        self, reactor: Any, hosts: Sequence[str], port: int, nodes: Any, heard: Any, *, is_private: bool
    ) -> None:
        self.hosts, self.port, self.nodes, self.is_private = hosts, port, nodes, is_private
        self.reactor = reactor
        self._heard = heard
        self.asked: list[tuple[float, bytes, int | None]] = []
        self.polls = 0
        self.stopped = False
        FakeSession.made.append(self)

    def announce(self, key: bytes, port: int) -> None:
        self.asked.append((self.reactor.seconds(), key, port))

    def look_up(self, key: bytes) -> None:
        self.asked.append((self.reactor.seconds(), key, None))

    def ask(self) -> None:
        self.polls += 1

    def hurry(self, is_awaited: bool) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True

    def say(self, **what: Any) -> None:
        """This is what it said."""
        said = Heard()
        for name, value in what.items():
            setattr(said, name, value)
        self._heard(said)


class Finding:
    """What a way of finding uses of a node."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.network = NETWORK
        self.node = bytes(32)
        self.addresses: list[tuple[str, int]] = []
        self.reasons: list[str] = []

    def found(self, host: str, port: int, node: bytes | None = None) -> None:
        self.addresses.append((host, port))

    def lost(self, host: str, port: int) -> None:
        raise AssertionError("a table does not say that")

    def failed(self, reason: str) -> None:
        self.reasons.append(reason)


class DhtCase(SynchronousTestCase):
    """A way whose table is a fake."""

    def setUp(self) -> None:
        FakeSession.made = []
        self.patch(dht_module, "TorrentSession", FakeSession)
        self.patch(extras, "find_spec", lambda package: package)
        self.here = "192.0.2.7"
        self.patch(dht_module, "source", lambda host: self.here if ":" not in host else None)
        self.clock = Clock()
        self.finding = Finding(self.clock)

    def way(self, *bootstrap: str, **how: Any) -> Dht:
        way = Dht(bootstrap or [f"{PUBLIC}:6881"], **how)
        way._wall_clock = lambda: NOON
        return way

    def begin(self, way: Dht, *addresses: tuple[str, int]) -> list[Any]:
        """As a node begins with it."""
        way.announce(addresses)
        way.start(self.finding)
        ended: list[Any] = []
        way.look().addBoth(ended.append)
        return ended

    @property
    def session(self) -> FakeSession:
        return FakeSession.made[-1]


class AskingTests(DhtCase):
    def test_today_and_yesterday(self) -> None:
        """Not before we are in: that would be lost."""
        way = self.way()
        ended = self.begin(way, ("192.0.2.7", 4000))
        way.look()
        self.assertEqual(self.session.asked, [])
        self.session.say(is_in=True)
        today, yesterday = keys_to_ask(NETWORK.discovery_id, NOON)
        self.assertEqual(self.session.asked, [(0.0, today, 4000), (0.0, yesterday, None)])
        self.session.say(is_asking=True, received=3)
        self.assertEqual(ended, [])
        self.session.say(is_asking=False)
        self.assertEqual((ended, self.finding.reasons), ([None], []))

    def test_who_must_not_be_found(self) -> None:
        """Nor who is nowhere to be found."""
        for way, addresses in ((self.way(announce=False), [("192.0.2.7", 4000)]), (self.way(), [])):
            self.begin(way, *addresses)
            self.session.say(is_in=True)
            self.assertEqual([port for _, _, port in self.session.asked], [None, None])

    def test_at_which_port(self) -> None:
        """One that everybody reaches, if there is one."""
        way = self.way()
        self.begin(way, ("10.0.0.7", 4000), ("8.8.8.8", 5000))
        self.session.say(is_in=True)
        self.assertEqual(self.session.asked[0][2], 5000)

    def test_another_port_at_once(self) -> None:
        way = self.way()
        self.begin(way, ("10.0.0.7", 4000))
        self.session.say(is_in=True)
        way.announce([("10.0.0.7", 4000)])
        way.announce([("10.0.0.7", 4000), ("8.8.8.8", 5000)])
        self.assertEqual([port for _, _, port in self.session.asked], [4000, None, 5000, None])

    def test_when(self) -> None:
        """After five seconds, after a minute, every quarter of an hour, after midnight; and with the key of the day."""
        way = self.way()
        self.begin(way, ("192.0.2.7", 4000))
        way._wall_clock = lambda: NOON + self.clock.seconds()
        self.session.say(is_in=True)
        self.let_pass(way, 90_000.0)
        asked = [(at, key) for at, key, port in self.session.asked if port]
        times = [at for at, _ in asked]
        self.assertEqual(times[:4], [0, DHT_FIRST_SECONDS, DHT_FIRST_SECONDS + DHT_SECOND_SECONDS, 965.0])
        midnight = next(at for at in times if at >= 43_200.0)
        self.assertLessEqual(midnight, 43_200.0 + DHT_SECOND_SECONDS)
        self.assertEqual({b - a for a, b in pairwise(times[2:]) if b != midnight}, {DHT_SECONDS})
        for at, key in asked:
            self.assertEqual(key, day_key(NETWORK.discovery_id, day_of(NOON + at)))
        self.assertEqual(len({key for _, key in asked}), 2)

    def let_pass(self, way: Dht, seconds: float) -> None:
        """While the table answers whatever is asked, at once."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            if way._over is not None:
                self.session.say(is_asking=False, received=way._received + 1)
            self.clock.advance(way._again.getTime() - self.clock.seconds())

    def test_a_clock_that_is_set(self) -> None:
        """To 2100, back to 1970, a day on or back: within a minute the key is that of the other day."""
        way = self.way()
        self.begin(way, ("192.0.2.7", 4000))
        self.session.say(is_in=True)
        self.let_pass(way, 7200.0)
        for wall in (4_102_444_800.0, 0.0, NOON, NOON + 86_400.0, NOON - 86_400.0):
            way._wall_clock = lambda wall=wall: wall  # type: ignore[misc]
            self.session.asked.clear()
            self.let_pass(way, DHT_SECOND_SECONDS + 1.0)
            self.assertEqual(
                [key for _, key, port in self.session.asked if port],
                [day_key(NETWORK.discovery_id, day_of(wall))],
            )
            self.let_pass(way, 7200.0)

    def test_not_again_and_again(self) -> None:
        """Whoever joins, listens, joins, listens: the same is not asked again at once."""
        way = self.way()
        self.begin(way, ("192.0.2.7", 4000))
        self.session.say(is_in=True)
        for _ in range(50):
            way.look()
            self.session.say(is_asking=False, received=1)
        self.assertEqual(len(self.session.asked), 2)
        self.assertEqual(self.finding.reasons, [])

    def test_nobody_answers(self) -> None:
        """The look is over all the same, it is said, and tried again."""
        ended = self.begin(self.way(), ("192.0.2.7", 4000))
        self.clock.advance(DHT_LOOK_SECONDS)
        self.assertEqual(ended, [None])
        self.assertEqual(self.finding.reasons, [f"no node of the DHT answers ({PUBLIC}:6881)"])
        self.session.say(is_in=True, is_asking=False)
        self.clock.advance(DHT_SECOND_SECONDS)
        self.assertEqual(len(self.session.asked), 4)

    def test_no_way_leads_there(self) -> None:
        """A machine without a network begins no session, and says why; when it has one, it does."""
        self.here = None  # type: ignore[assignment]
        self.patch(dht_module, "addresses", frozenset)
        way = self.way()
        self.assertEqual(self.begin(way, ("192.0.2.7", 4000)), [None])
        self.assertEqual(FakeSession.made, [])
        [why] = self.finding.reasons
        self.assertEqual(
            why, f"this machine has no address in a network: no node of the DHT answers ({PUBLIC}:6881)"
        )
        self.here = "192.0.2.7"
        way.announce([("192.0.2.7", 4000)])
        way.look()
        self.assertEqual(self.session.hosts, ("192.0.2.7",))

    def test_another_address(self) -> None:
        """A machine that moved is in the table from where it is now."""
        way = self.way()
        self.begin(way, ("192.0.2.7", 4000))
        first = self.session
        self.here = "198.51.100.9"
        way.announce([("198.51.100.9", 4000)])
        self.assertTrue(first.stopped)
        way.look()
        self.assertEqual(self.session.hosts, ("198.51.100.9",))

    def test_unknown_names(self) -> None:
        """Names are looked up by the reactor, not in a thread of libtorrent's; who is not known is left out."""
        self.patch(dht_module, "reaching", lambda reactor: self)
        self.begin(self.way("known.example:6881", "unknown.example:6881"))
        self.assertEqual(self.session.nodes, [("192.0.2.99", 6881)])

    def resolve(self, name: str) -> Any:
        if name.startswith("unknown"):
            raise OSError("no such name")
        return "192.0.2.99"

    def test_names_of_everybodys_table(self) -> None:
        """Whoever answers for them with private addresses, or ours, makes no table of ours of it."""
        self.patch(dht_module, "reaching", lambda reactor: self)
        for address in ("10.9.0.1", "127.0.0.1", "192.0.2.7"):
            self.patch(self, "resolve", lambda name, address=address: address)
            way = Dht()
            self.begin(way)
            self.assertEqual((self.session.port, self.session.is_private), (0, False))
            self.session.say(is_in=True, answers=[[("10.9.0.7", 4000), ("127.0.0.1", 4000)]])
        self.assertEqual(self.finding.addresses, [])

    def test_a_clock_that_was_never_set(self) -> None:
        for now in (-1e6, 0.0):
            way = self.way()
            way._wall_clock = lambda now=now: now  # type: ignore[misc]
            self.begin(way, ("192.0.2.7", 4000))
            self.session.say(is_in=True)
            self.session.say(announced=[(day_key(NETWORK.discovery_id, 0), "8.8.8.8", 4000)])
            self.assertEqual(self.session.asked[0][1], day_key(NETWORK.discovery_id, 0))
        self.assertEqual(self.finding.addresses, [("8.8.8.8", 4000)] * 2)

    def test_who_is_the_bootstrap_node(self) -> None:
        """It runs at the port that everybody was told."""
        self.begin(self.way("10.9.0.1:6881", "192.0.2.7:7000"))
        self.assertEqual((self.session.port, self.session.is_private), (7000, True))
        self.begin(self.way("198.41.0.4:6881"))
        self.assertEqual((self.session.port, self.session.is_private), (0, False))

    def test_stop(self) -> None:
        """Nothing is left, nobody found any more, and it can begin again."""
        way = self.way()
        for _ in range(2):
            ended = self.begin(way, ("192.0.2.7", 4000))
            self.session.say(is_in=True)
            way.stop()
            self.assertEqual((ended, self.session.stopped), ([None], True))
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.session.say(answers=[everywhere(5)], announced=[(b"", "8.8.8.8", 4000)])
            self.assertEqual(self.finding.addresses, [])
            way.stop()

    def test_stopped_while_a_name_is_looked_up(self) -> None:
        late: Deferred[str] = Deferred()
        self.patch(self, "resolve", lambda name: late)
        self.patch(dht_module, "reaching", lambda reactor: self)
        way = self.way("slow.example:6881")
        self.begin(way)
        way.stop()
        late.callback("192.0.2.99")
        self.assertEqual(FakeSession.made, [])

    def test_who_announces_itself_to_us(self) -> None:
        """A table of two: each keeps what the other says."""
        self.begin(self.way("10.9.0.1:6881"), ("10.9.0.2", 4000))
        day = day_of(NOON)
        for at in (day - 2, day - 1, day, day + 1, day + 2):
            key = day_key(NETWORK.discovery_id, at)
            self.session.say(announced=[(key, f"10.9.0.{at - day + 10}", 4000)])
        self.session.say(announced=[(bytes(20), "10.9.0.99", 4000)])
        self.assertEqual(self.finding.addresses, [(f"10.9.0.{n}", 4000) for n in (9, 10, 11)])


class NodeTests(DhtCase):
    """Nodes that look in a table."""

    def setUp(self) -> None:
        super().setUp()
        self.world = World()
        self.site = self.world.site("a")
        self.site.listen()
        self.dials: list[tuple[float, str]] = []
        self.patch(peering_module.endpoints, "client", self.dial)

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def dial(self, reactor: Any, endpoint: str) -> Any:
        self.dials.append((self.world.reactor.seconds(), endpoint))
        return self

    def connect(self, factory: Any) -> Any:
        raise OSError("connection refused")

    def test_flush_returns_though_nobody_answers(self) -> None:
        joined = self.site.node.join(self.way())
        flushed = self.world.result(joined.flush(timeout=3.0))
        self.assertTrue(flushed.timed_out)
        flushed = self.world.result(joined.flush(timeout=100.0))
        self.assertFalse(flushed.timed_out)
        self.assertIn("no node of the DHT answers", flushed.failed["dht"])
        self.assertLessEqual(self.world.reactor.seconds(), DHT_LOOK_SECONDS + 2)

    def test_no_scan(self) -> None:
        """Of 10,000 addresses, again and again, 64 are dialled, thrice, two a second; a victim four times a minute."""
        self.site.node.join(self.way())
        self.session.say(is_in=True)
        begin = self.world.reactor.seconds()
        for _ in range(200):
            self.session.say(answers=[everywhere(10_000), [("8.8.4.4", port) for port in range(2000, 4000)]])
        self.world.run(600.0)
        self.assertLessEqual(len(self.site.of(PeerFound)), MAX_DHT_FOUND)
        self.assertLessEqual(len(self.dials), 3 * MAX_DHT_FOUND)
        self.assertLessEqual(len([at for at, _ in self.dials if at < begin + 60]), 4 + 2 * 60)
        victim = [at for at, endpoint in self.dials if "8.8.4.4" in endpoint and at < begin + 60]
        self.assertLessEqual(len(victim), 2 * GROUP_DIALS_PER_MINUTE)
        self.assertEqual(self.site.node.found, [])

    def test_off(self) -> None:
        """Who does not ask for it has no session; who leaves has none any more."""
        self.world.result(self.site.node.join().leave())
        self.assertEqual(FakeSession.made, [])
        joined = self.site.node.join(self.way())
        self.assertEqual(len(FakeSession.made), 1)
        self.world.result(joined.leave())
        self.assertTrue(self.session.stopped)

    def test_begun_again(self) -> None:
        """With the same object, after an end at whatever time, it looks as at first and nothing of before is left."""
        way = self.way()
        for seconds in (0.0, 0.3, DHT_FIRST_SECONDS + 1):
            count = len(FakeSession.made)
            joined = self.site.node.join(way)
            self.world.run(seconds)
            self.world.result(joined.leave())
            self.assertTrue(all(session.stopped for session in FakeSession.made))
            self.assertLessEqual(len(FakeSession.made), count + 1)
        self.site.node.join(way)
        self.session.say(is_in=True)
        self.session.say(answers=[[("8.8.8.8", 4000)]])
        self.world.run(0.3)
        self.assertEqual([notice.endpoint for notice in self.site.of(PeerFound)], ["tcp:8.8.8.8:4000"])


LIES = 150
"""Addresses that go into one datagram."""


class Liar(DatagramProtocol):
    """I am a node of a table that knows everybody, whatever is asked."""

    noisy = False

    def __init__(self) -> None:
        self.named = 0
        self.values = [Address.of(host, port).ip + port.to_bytes(2, "big") for host, port in everywhere(LIES)]

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        libtorrent: Any = import_module("libtorrent")
        asked = libtorrent.bdecode(datagram)
        if not asked or asked.get(b"y") != b"q":
            return
        said: dict[bytes, Any] = {b"id": b"\x11" * 20, b"token": b"x", b"nodes": b""}
        if asked[b"q"] == b"get_peers":
            said[b"values"] = self.values
            self.named += LIES
        answer = {b"t": asked[b"t"], b"y": b"r", b"r": said, b"ip": b"\x7f\0\0\x01\0\x01"}
        assert self.transport is not None
        self.transport.write(libtorrent.bencode(answer), addr)


def sockets() -> list[str]:
    """The sockets of this process, but those between its own threads."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue
    return sorted(each for each in found if each.startswith("socket:"))


def listening(kind: str) -> set[str]:
    """Local addresses, as Linux writes them, of sockets of this process: ``tcp`` those that listen, ``udp`` all."""
    inodes = {each[8:-1] for each in sockets()}
    lines = [line.split() for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
    return {line[1] for line in lines if line[9] in inodes and (kind == "udp" or line[3] == "0A")}


@skipIf(MISSING or sys.platform != "linux", "needs libtorrent, and Linux to look at sockets")
class RealTests(TestCase):
    """A table of real nodes on this machine."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.before = sockets(), len(os.listdir("/proc/self/task")), listening("tcp"), listening("udp")
        self.ways: list[Dht] = []
        self.finding: dict[Dht, Finding] = {}
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.bootstrap = f"127.0.0.1:{probe.getsockname()[1]}"

    def tearDown(self) -> None:
        for way in self.ways:
            way.stop()
        self.assertEqual((sockets(), len(os.listdir("/proc/self/task"))), self.before[:2])

    def join(self, *addresses: tuple[str, int], **how: Any) -> tuple[Dht, Any]:
        """One more node of the table."""
        way = Dht([self.bootstrap], **how)
        way.announce(addresses)
        self.finding[way] = Finding(self.reactor)
        way.start(self.finding[way])
        self.ways.append(way)
        return way, way.look()

    def found(self, way: Dht) -> set[tuple[str, int]]:
        return set(self.finding[way].addresses)

    async def test_announced_and_found(self) -> None:
        """One thread and one UDP port for each; nobody listens for TCP."""
        first = [self.join(("127.0.0.1", 4000 + number)) for number in range(4)]
        await gatherResults([looking for _, looking in first])
        self.assertEqual(len(os.listdir("/proc/self/task")), self.before[1] + 4)
        self.assertEqual(len(listening("udp") - self.before[3]), 4)
        self.assertEqual(listening("tcp") - self.before[2], set())
        late, looking = self.join(announce=False)
        await looking
        self.assertLessEqual({("127.0.0.1", 4000 + number) for number in range(1, 4)}, self.found(late))
        self.assertLessEqual(self.found(late), {("127.0.0.1", 4000 + number) for number in range(4)})
        self.assertEqual(self.finding[late].reasons, [])

    async def test_others_do_not_find_us(self) -> None:
        """Of another network, or without the key of the day, nothing is seen."""
        await self.join(("127.0.0.1", 4000))[1]
        other, _ = self.join(announce=False)
        self.finding[other].network = Network.from_key(b"x" * 32)
        other.stop()
        other.start(self.finding[other])
        await other.look()
        self.assertEqual(self.found(other), set())

    async def test_a_node_that_lies(self) -> None:
        """It names as many as fit into each answer, as often as it is asked, and is believed eight for each."""
        liar = Liar()
        port = self.reactor.listenUDP(0, liar, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.bootstrap = f"127.0.0.1:{port.getHost().port}"
        way, looking = self.join(("127.0.0.1", 4000))
        try:
            await looking
        finally:
            await port.stopListening()
        self.assertGreater(liar.named, LIES)
        self.assertLessEqual(len(self.found(way)), MAX_DHT_FOUND)
        self.assertLessEqual(len(self.found(way)), MAX_DHT_ANSWER * liar.named // LIES)
        self.assertGreater(len(self.found(way)), 0)

    async def test_two_alone(self) -> None:
        """The bootstrap node itself finds who comes, and is not told that nobody answers for ever."""
        first, _ = self.join(("127.0.0.1", 4000))
        met: Deferred[None] = Deferred()
        self.finding[first].found = lambda *_: None if met.called else met.callback(None)  # type: ignore[method-assign]
        self.join(("127.0.0.1", 4001))
        await met

    async def test_a_taken_port(self) -> None:
        """Of two on one machine one is the bootstrap node; the other gets in through it."""
        ways = [self.join(("127.0.0.1", 4000)), self.join(("127.0.0.1", 4001))]
        await gatherResults([looking for _, looking in ways])
        port = int(self.bootstrap.rpartition(":")[2])
        self.assertIn(f"0100007F:{port:04X}", listening("udp"))


@skipIf(MISSING, "needs libtorrent")
class SettingTests(SynchronousTestCase):
    def test_settings(self) -> None:
        """Nothing but the DHT is on."""
        for is_private in (True, False):
            session = TorrentSession(Clock(), [], 0, [], lambda said: None, is_private=is_private)
            settings = session._session.get_settings()
            session.stop()
            self.assertTrue(settings["enable_dht"])
            on = {name for name, value in settings.items() if name.startswith("enable_") and value}
            self.assertEqual(on & OTHERS, set())
            self.assertEqual(settings["dht_upload_rate_limit"], DHT_BYTES_PER_SECOND)
            kept = [settings[name] for name in ("dht_max_torrents", "dht_max_dht_items")]
            self.assertEqual(kept, [MAX_DHT_KEPT] * 2)
            self.assertEqual(settings["dht_max_infohashes_sample_count"], 0)
            self.assertEqual(settings["alert_queue_size"], MAX_DHT_ALERTS)
            self.assertEqual(settings["dht_block_ratelimit"] == DHT_PACKETS_OF_ONE, is_private)
            self.assertEqual(settings["dht_restrict_search_ips"], not is_private)


class LazyTests(SynchronousTestCase):
    def test_nothing_is_imported_unasked(self) -> None:
        """Not even by naming the way."""
        program = (
            "import sys, gossiplog, gossiplog.app.cli; gossiplog.Dht; print('libtorrent' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        self.assertEqual(done.stdout, "False\n", done.stderr)

    @skipIf(MISSING, "needs libtorrent")
    def test_a_child_by_fork(self) -> None:
        """It leaves its parent's session alone, which hears others as before."""
        program = (
            "import os, time; from twisted.internet.task import Clock\n"
            "from gossiplog.discovery.torrent_session import *\n"
            "def session(port, nodes, heard): return TorrentSession(\n"
            "    Clock(), ['127.0.0.1'], port, nodes, heard, is_private=True)\n"
            "s = session(0, [], lambda said: None)\n"
            "port = s._session.listen_port()\n"
            "child = os.fork()\n"
            "if child == 0: raise SystemExit(s._session is not None)\n"
            "status = os.waitpid(child, 0)[1]\n"
            "heard = []\n"
            "other = session(0, [('127.0.0.1', port)], lambda said: heard.append(said.received or 0))\n"
            "end = time.monotonic() + 10\n"
            "while not any(heard) and time.monotonic() < end:\n"
            "    other.ask(); other._session.wait_for_alert(100); other._fetch()\n"
            "print(status, any(heard)); s.stop(); other.stop(); print(len(os.listdir('/proc/self/task')))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout, "0 True\n1\n", done.stderr)

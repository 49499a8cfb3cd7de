"""The local network without one: what is announced, believed and dialled, and how much of what others send is kept."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from importlib.util import find_spec
from typing import Any
from unittest.mock import Mock, patch

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import InvalidValueError, Lan, MissingExtraError, Network, limits
from gossiplog.discovery import extras, lan, multicast
from gossiplog.discovery.lan_record import check_name, is_ours, properties, to_dial
from gossiplog.discovery.multicast import Heard, Multicast, Said
from gossiplog.limits import (
    LAN_AGAIN_SECONDS,
    LAN_ANSWER_SECONDS,
    LAN_CLOSE_SECONDS,
    LAN_HOST_TTL,
    LAN_LOOK_SECONDS,
    LAN_NO_PORT,
    LAN_PROBE_SECONDS,
    MAX_LAN_EVENTS,
    MAX_LAN_PORTS,
    MAX_LAN_QUESTIONS,
    MAX_LAN_SERVICES,
)

NETWORK = Network.from_key(bytes(32))
OTHER = Network.from_key(bytes([1]) * 32)
SUBNETS = frozenset({"10.9.0.1/24", "172.17.0.1/16"})


def txt(network: Network = NETWORK, salt: bytes = b"saltsalt") -> dict[bytes, bytes | None]:
    """A TXT record as it is heard."""
    return {key.encode(): value for key, value in properties(network.discovery_id, salt).items()}


class RecordTests(SynchronousTestCase):
    """What is said, and what of it is believed."""

    def test_members_know_their_own(self) -> None:
        self.assertTrue(is_ours(txt(), NETWORK.discovery_id))
        self.assertFalse(is_ours(txt(OTHER), NETWORK.discovery_id))

    def test_nobody_else_learns_anything(self) -> None:
        """Neither the network nor the node is named, and two announcements have nothing in common but the version."""
        one, other = (properties(NETWORK.discovery_id, salt) for salt in (b"saltsalt", b"saltsale"))
        self.assertNotIn(NETWORK.discovery_id, b"".join(one.values()))
        self.assertEqual({key for key in one if one[key] == other[key]}, {"v"})

    def test_hostile_records(self) -> None:
        """Whatever is in a TXT record, it is not ours."""
        good = txt()
        for bad in (
            {},
            {b"s": None, b"t": None, b"v": None},
            good | {b"v": b"2"},
            txt(salt=b"s" * 9),
            good | {b"s": b""},
            good | {b"s": b"s" * 255, b"t": b"t" * 255},
            good | {b"t": good[b"t"][:8]},  # type: ignore[index]
            good | {b"t": b""},
            {key: value for key, value in good.items() if key != b"v"},
        ):
            self.assertFalse(is_ours(bad, NETWORK.discovery_id), bad)

    def test_only_neighbours_are_dialled(self) -> None:
        """Neither the world outside, this machine itself, other links nor the ends of a subnet."""
        own = ["10.9.0.1", "172.17.0.1"]
        for hosts, dialled in (
            (["10.9.0.2"], ["10.9.0.2"]),
            (["10.9.0.2", "10.9.0.2"], ["10.9.0.2"]),
            (["10.9.1.2", "8.8.8.8", "2001:db8::1", "127.0.0.1", "::1", "fe80::2%3", "fe80::2"], []),
            (["10.9.0.0", "10.9.0.255", "224.0.0.251"], []),
            (["172.17.0.1", "10.9.0.2"], ["10.9.0.2"]),
            (["172.17.0.1", "10.9.0.1"], ["172.17.0.1"]),
            ([], []),
        ):
            self.assertEqual(to_dial(hosts, own, sorted(SUBNETS)), dialled, hosts)
        many = [f"10.9.0.{number}" for number in range(2, 100)]
        self.assertEqual(len(to_dial(many, own, sorted(SUBNETS))), limits.MAX_CONTACT_ADDRESSES)

    def test_without_a_network(self) -> None:
        """Nobody but this machine can have said anything."""
        self.assertEqual(to_dial(["127.0.0.1", "10.9.0.2"], [], []), ["127.0.0.1"])

    def test_names(self) -> None:
        for name in ("alice", "Alice", "alice.local", "alice.local."):
            self.assertEqual(check_name(name), "alice")
        self.assertEqual(check_name("a" * 63), "a" * 63)
        bad: tuple[Any, ...] = ("", "-a", "a-", "a.b", "a_b", "a" * 64, "ä", "a b", "a\n", None, 5)
        for name in bad:
            self.assertRaises(InvalidValueError, check_name, name)
            if name is not None:
                self.assertRaises(InvalidValueError, Lan, name)


class ExtraTests(SynchronousTestCase):
    def test_missing(self) -> None:
        """Asking for it says what to install, and only asking for it."""
        self.patch(extras, "find_spec", lambda name: None)
        error = self.assertRaises(MissingExtraError, Lan)
        self.assertIn("pip install 'gossiplog[lan]'", str(error))


class Thread:
    """Runs coroutines at once, up to where they wait for time."""

    def __init__(self, reactor: Any, name: str) -> None:
        self.stopped = False
        self.hangs = False

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        if self.hangs:
            coroutine.close()
            return Deferred()
        loop = asyncio.new_event_loop()
        try:
            return succeed(loop.run_until_complete(coroutine))
        except OSError as error:
            failed: Deferred[Any] = Deferred()
            failed.errback(error)
            return failed
        finally:
            loop.close()

    def on_reactor(self, function: Any, *arguments: Any) -> None:
        function(*arguments)

    def stop(self) -> None:
        self.stopped = True


_sleep = asyncio.sleep


async def _no_sleep(seconds: float) -> None:
    slept.append(seconds)


slept: list[float] = []


class Speaker:
    """Multicast DNS that is told what it hears."""

    def __init__(self, is_ours: Any, told: Any, flooded: Any) -> None:
        self.is_ours, self.told, self.flooded = is_ours, told, flooded
        self.is_worn = self.closed = False
        self.rests = 0
        self.services: list[Said] = []
        self.claimed: list[tuple[str, Said]] = []

    async def open(self, services: Sequence[Said] | None) -> None:
        self.services = services  # type: ignore[assignment]
        if trouble:
            raise trouble[0]

    async def close(self) -> None:
        self.closed = True

    async def claim(self, name: str, said: Said) -> str:
        self.claimed.append((name, said))
        return taken_by[0] if taken_by else ""

    async def give_way(self, name: str, hosts: Sequence[str]) -> str:
        return taken_by[0] if taken_by else ""

    async def resolve(self, name: str, seconds: float) -> list[str]:
        return ["10.9.0.2", "8.8.8.8", "127.0.0.1"]

    def rest(self) -> None:
        self.rests += 1


trouble: list[OSError] = []
taken_by: list[str] = []


class Finder:
    """Notes what a way says."""

    def __init__(self) -> None:
        self.reactor = Clock()
        self.network = NETWORK
        self.node = bytes(32)
        self.said: list[tuple[Any, ...]] = []
        self.labels: list[bytes] = []

    def found(self, host: str, port: int, node: bytes | None = None, label: bytes = b"") -> None:
        self.labels.append(label)
        self.said.append(("found", host, port))

    def lost(self, host: str, port: int) -> None:
        self.said.append(("lost", host, port))

    def failed(self, reason: str) -> None:
        self.said.append(("failed", reason))


class LanCase(SynchronousTestCase):
    def setUp(self) -> None:
        for kept in (slept, trouble, taken_by):
            kept.clear()
        self.patch(extras, "find_spec", lambda name: object())
        self.patch(lan, "LoopThread", Thread)
        self.patch(asyncio, "sleep", _no_sleep)
        self.patch(lan, "Multicast", Speaker)
        self.patch(lan, "addresses", lambda: SUBNETS)
        self.finder = Finder()

    def started(self, name: str | None = None, *at: tuple[str, int]) -> Any:
        """A way that announces these places."""
        way: Any = Lan(name)
        way.announce(list(at))
        self.began = way.start(self.finder)
        return way

    def said(self) -> list[tuple[Any, ...]]:
        """What was said since."""
        said, self.finder.said = self.finder.said, []
        return said


HERE = ("10.9.0.1", 4000)


class LanTests(LanCase):
    """When what is announced, and what is made of what is heard."""

    def test_announced(self) -> None:
        """Each address of this machine; none that only peers see it at."""
        way = self.started(None, HERE, ("203.0.113.9", 4000))
        [service] = way._open.services
        self.assertEqual((service.hosts, service.port), (("10.9.0.1",), 4000))
        said = {key.encode(): value for key, value in service.properties.items()}
        self.assertTrue(way._open.is_ours(said))

    def test_ports(self) -> None:
        way = self.started(None, *[("10.9.0.1", 4000 + number) for number in range(9)])
        self.assertEqual(len(way._open.services), MAX_LAN_PORTS)
        self.assertEqual(len({service.properties["s"] for service in way._open.services}), MAX_LAN_PORTS)

    def test_nothing_to_announce(self) -> None:
        """Who listens nowhere finds others all the same."""
        self.assertEqual(self.started()._open.services, [])

    def test_other_places(self) -> None:
        """All is opened anew, with other salts, and goodbye is said for what was so before."""
        way = self.started(None, HERE)
        first = way._open
        way.announce([HERE])
        self.assertIs(way._open, first)
        way.announce([("172.17.0.1", 4000)])
        self.assertTrue(first.closed)
        self.assertNotEqual(first.services[0].properties["s"], way._open.services[0].properties["s"])
        first.told({"late": Heard(("10.9.0.2",), 4001)})
        self.assertEqual(self.said(), [])

    def test_first_look(self) -> None:
        """It waits for answers; a later one opens anew."""
        way = self.started(None, HERE)
        first = way._open
        way.look()
        self.assertEqual(slept, [LAN_LOOK_SECONDS])
        self.assertIs(way._open, first)
        self.finder.reactor.advance(LAN_LOOK_SECONDS * 2)
        way.look()
        self.assertIsNot(way._open, first)

    def test_found_and_lost(self) -> None:
        way = self.started(None, HERE)
        way._open.told({"a": Heard(("10.9.0.2", "8.8.8.8"), 4001)})
        self.assertEqual(self.said(), [("found", "10.9.0.2", 4001)])
        way._open.told({"a": Heard(("10.9.0.3",), 4001)})
        self.assertEqual(self.said(), [("lost", "10.9.0.2", 4001), ("found", "10.9.0.3", 4001)])
        way._open.told({"a": None, "b": None})
        self.assertEqual(self.said(), [("lost", "10.9.0.3", 4001)])

    def test_addresses_of_one_node(self) -> None:
        """They are said to be, so that one of them is dialled."""
        way = self.started(None, HERE)
        way._open.told({"a": Heard(("10.9.0.2", "10.9.0.3"), 4001), "b": Heard(("10.9.0.4",), 4001)})
        one, two, three = self.finder.labels
        self.assertEqual(one, two)
        self.assertNotIn(three, (one, b""))

    def test_another_process_at_the_same_place(self) -> None:
        """One that was killed said no goodbye: where it was may be dialled at once."""
        way = self.started(None, HERE)
        way._open.told({"a": Heard(("10.9.0.2",), 4001)})
        self.said()
        way._open.told({"b": Heard(("10.9.0.2",), 4001)})
        self.assertEqual(self.said(), [("lost", "10.9.0.2", 4001), ("found", "10.9.0.2", 4001)])
        way._open.told({"a": None})
        self.assertEqual(self.said(), [])

    def test_said_again(self) -> None:
        """The book may have forgotten who did not answer."""
        way = self.started(None, HERE)
        way._open.told({"a": Heard(("10.9.0.2",), 4001)})
        self.said()
        self.finder.reactor.advance(LAN_AGAIN_SECONDS)
        self.assertEqual(self.said(), [("found", "10.9.0.2", 4001)])
        self.assertEqual(way._open.rests, 1)

    def test_a_port_that_cannot_be_had(self) -> None:
        """It is said why, and tried again."""
        trouble.append(OSError(98, "Address already in use"))
        way = self.started(None, HERE)
        error = self.failureResultOf(self.began).value
        self.assertEqual(str(error), "cannot listen for neighbours: Address already in use")
        self.finder.reactor.advance(LAN_AGAIN_SECONDS)
        self.assertEqual(self.said(), [("failed", str(error))])
        trouble.clear()
        self.finder.reactor.advance(LAN_AGAIN_SECONDS)
        self.assertEqual(len(way._open.services), 1)

    def test_the_end(self) -> None:
        """Goodbye is said, and no timer is left."""
        way = self.started(None, HERE)
        speaker, thread = way._open, way._thread
        self.successResultOf(way.stop())
        self.assertTrue(speaker.closed and thread.stopped)
        self.assertEqual(self.finder.reactor.getDelayedCalls(), [])
        speaker.told({"late": Heard(("10.9.0.2",), 4001)})
        self.assertEqual(self.said(), [])
        self.assertIsNone(Lan().stop())

    def test_begun_twice(self) -> None:
        """Without an end between: it is refused, and goes on as it was."""
        way = self.started(None, HERE)
        before = way._thread, way._open
        self.assertRaises(InvalidValueError, way.start, self.finder)
        self.assertEqual((way._thread, way._open), before)

    def test_begun_again(self) -> None:
        """After an end it hears others as before, and remembers nobody from then."""
        way = self.started(None, HERE)
        way._open.told({"a": Heard(("10.9.0.2",), 4001)})
        way.stop()
        self.said()
        way.start(self.finder)
        self.assertEqual(len(way._open.services), 1)
        way._open.told({"a": Heard(("10.9.0.2",), 4001)})
        self.assertEqual(self.said(), [("found", "10.9.0.2", 4001)])
        self.finder.reactor.advance(LAN_AGAIN_SECONDS)
        self.assertEqual(self.said(), [("found", "10.9.0.2", 4001)])
        self.successResultOf(way.stop())
        self.assertEqual(self.finder.reactor.getDelayedCalls(), [])

    def test_an_end_that_hangs(self) -> None:
        way = self.started(None, HERE)
        thread = way._thread
        thread.hangs = True
        ended = way.stop()
        self.assertNoResult(ended)
        self.finder.reactor.advance(LAN_CLOSE_SECONDS)
        self.successResultOf(ended)
        self.assertTrue(thread.stopped)

    def test_a_child_by_fork(self) -> None:
        way = self.started(None, HERE)
        way.give_up()
        self.assertEqual(self.finder.reactor.getDelayedCalls(), [])
        self.assertIsNone(way.look())


class NameTests(LanCase):
    """alice.local."""

    def test_claimed(self) -> None:
        way = self.started("Alice", HERE)
        [(name, said)] = way._open.claimed
        self.assertEqual((name, said.hosts, said.port), ("alice", ("10.9.0.1", "172.17.0.1"), 4000))
        self.assertEqual(self.said(), [])

    def test_without_a_port(self) -> None:
        way = self.started("alice")
        self.assertEqual(way._open.claimed[0][1].port, LAN_NO_PORT)

    def test_without_a_network(self) -> None:
        """It is this machine."""
        self.patch(lan, "addresses", lambda: frozenset())
        way = self.started("alice", ("127.0.0.1", 4000))
        self.assertEqual(way._open.claimed[0][1].hosts, ("127.0.0.1",))
        self.assertEqual(way._open.services[0].hosts, ("127.0.0.1",))
        self.assertEqual(
            self.said(), [("failed", "this machine has no address in a network: only who is on it is found")]
        )

    def test_taken(self) -> None:
        """It is said by whom; peers are found all the same.  So it is when both began at once."""
        taken_by.append("10.9.0.7")
        words = "alice.local is 10.9.0.7 already; choose another name"
        way = self.started("alice", HERE)
        self.assertEqual(self.said(), [("failed", words)])
        way._open.told({"a": Heard(("10.9.0.2",), 4001)})
        self.assertEqual(self.said(), [("found", "10.9.0.2", 4001)])
        self.finder.reactor.advance(LAN_AGAIN_SECONDS)
        self.assertIn(("failed", words), self.said())
        self.assertEqual(LAN_PROBE_SECONDS, 3 * 0.25)  # RFC 6762: three probes

    def test_poisoned(self) -> None:
        """A name leads to a neighbour, whoever answers for it."""
        way = self.started(None, HERE)
        self.assertEqual(self.successResultOf(way.resolve("bob.local")), ["10.9.0.2"])


class NamesOnlyTests(LanCase):
    """Nothing is announced but the name, and nobody is looked for."""

    def test_it(self) -> None:
        way: Any = Lan("alice", names_only=True)
        way.announce([HERE])
        way.start(self.finder)
        self.assertIsNone(way._open.services)
        self.assertEqual(way._open.claimed[0][0], "alice")
        self.assertRaises(InvalidValueError, Lan, names_only=1)


class BoundTests(SynchronousTestCase):
    """Multicast DNS, given services by the thousand."""

    if find_spec("zeroconf") is None:
        skip = "needs zeroconf: pip install 'gossiplog[lan]'"

    def setUp(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)
        self.told: list[dict[str, Heard | None]] = []
        self.floods = 0
        self.asked = 0
        self.speaker: Any = Multicast(
            lambda said: is_ours(said, NETWORK.discovery_id), self.told.append, self.flooded
        )
        self.speaker._dns = self.dns = Mock()
        self.browser = Mock()
        self.speaker._browser = self.browser
        self.waits: list[float] = []
        self.patch(multicast, "GATHER_SECONDS", 0.0)

    def flooded(self) -> None:
        self.floods += 1

    def notice(self, count: int, *, cached: bool = True, said: Any = None, change: str = "Added") -> None:
        """So many services come."""
        from zeroconf import ServiceStateChange
        from zeroconf import asyncio as zeroconf_asyncio

        case = self

        class Info:
            properties = txt() if said is None else said
            port = 4000

            def __init__(self, kind: str, name: str) -> None:
                self.name = name

            def load_from_cache(self, dns: Any) -> bool:
                return cached

            def parsed_scoped_addresses(self, version: Any) -> list[str]:
                return ["10.9.0.2"] * 100

            async def async_request(self, dns: Any, milliseconds: float) -> bool:
                case.waits.append(milliseconds / 1000)
                await asyncio.Event().wait()
                return False

        self.patch(zeroconf_asyncio, "AsyncServiceInfo", Info)

        async def run() -> None:
            for number in range(count):
                self.speaker._noticed(None, "", f"{number}", ServiceStateChange[change])
            for _ in range(3):
                await _sleep(0)
            await _sleep(0.01)

        self.loop.run_until_complete(run())

    def end(self) -> None:
        async def run() -> None:
            for task in self.speaker._asking.values():
                task.cancel()
            await _sleep(0)

        self.loop.run_until_complete(run())

    def test_services(self) -> None:
        self.notice(2 * MAX_LAN_SERVICES)
        self.assertEqual(len(self.speaker._known), MAX_LAN_SERVICES)
        self.assertEqual([len(each) for each in self.told], [MAX_LAN_SERVICES])
        self.assertEqual(len(self.speaker._known["0"].hosts), limits.MAX_ADDRESSES)
        self.notice(1, change="Removed")
        self.assertEqual(self.told[1:], [{"0": None}])

    def test_of_other_networks(self) -> None:
        """They cost the reactor nothing."""
        self.notice(100, said=txt(OTHER))
        self.notice(100, said=txt(OTHER), change="Removed")
        self.assertEqual((self.told, self.speaker._known), ([], {}))

    def test_questions(self) -> None:
        """About services that do not say everything."""
        self.notice(100, cached=False)
        self.assertEqual(self.waits, [LAN_ANSWER_SECONDS] * MAX_LAN_QUESTIONS)
        self.end()
        self.assertEqual(self.speaker._asking, {})

    def test_flood(self) -> None:
        """We listen no more, say so once, and begin anew later; ordinary coming and going does not add up to one."""
        self.browser.async_cancel = Mock(side_effect=lambda: _sleep(0))
        self.notice(MAX_LAN_EVENTS, said=txt(OTHER))
        self.assertFalse(self.speaker.is_worn)
        self.speaker.rest()
        self.notice(MAX_LAN_EVENTS + 5, said=txt(OTHER))
        self.assertEqual(self.floods, 1)
        self.assertTrue(self.speaker.is_worn)
        self.browser.async_cancel.assert_called_once_with()

    def test_a_slow_flood(self) -> None:
        """What zeroconf remembers of who is gone is thrown away with it."""
        for _ in range(5):
            self.assertFalse(self.speaker.is_worn)
            self.speaker.rest()
            self.notice(MAX_LAN_EVENTS, said=txt(OTHER))
        self.assertTrue(self.speaker.is_worn)
        self.assertEqual(self.floods, 0)


class MulticastTests(SynchronousTestCase):
    """Multicast DNS with a zeroconf that only notes what it is told."""

    if find_spec("zeroconf") is None:
        skip = "needs zeroconf: pip install 'gossiplog[lan]'"

    def setUp(self) -> None:
        import zeroconf.asyncio

        self.registered: list[Any] = []
        case = self

        class Dns:
            def __init__(self, ip_version: Any) -> None:
                self.zeroconf = Mock(async_wait_for_start=lambda: _sleep(0))

            async def async_register_service(self, info: Any, cooperating_responders: bool) -> Any:
                case.registered.append(info)
                return asyncio.ensure_future(_sleep(0))

            async def async_close(self) -> None:
                pass

        self.patch(zeroconf.asyncio, "AsyncZeroconf", Dns)
        browser = Mock(async_cancel=lambda: _sleep(0))
        self.patch(zeroconf.asyncio, "AsyncServiceBrowser", Mock(return_value=browser))
        self.speaker = Multicast(Mock(), Mock(), Mock())

    def test_closed_while_it_opens(self) -> None:
        """Nothing is announced then, and it is no error: a program may end at any moment."""
        from zeroconf import NotRunningException

        async def ended() -> None:
            await self.speaker.close()
            raise NotRunningException

        async def run(start: Callable[[], Awaitable[None]]) -> None:
            listen = self.speaker._listen

            async def listen_and() -> None:
                await listen()
                await start()

            with patch.object(self.speaker, "_listen", listen_and):
                await self.speaker.open([Said(("10.9.0.1",), 4000, {})])

        for start in (self.speaker.close, ended):
            asyncio.run(run(start))
        self.assertEqual(self.registered, [])

    def test_how_long_it_is_believed(self) -> None:
        """And that nothing of it but the port is the same the next time."""

        async def run() -> None:
            for _ in range(2):
                await self.speaker.open([Said(("10.9.0.1",), 4000, {})])

        asyncio.run(run())
        one, other = self.registered
        self.assertEqual((one.host_ttl, one.other_ttl), (LAN_HOST_TTL, LAN_HOST_TTL))
        self.assertNotEqual(one.name, other.name)
        self.assertNotEqual(one.server, other.server)


class ImportTests(SynchronousTestCase):
    def test_nothing_optional(self) -> None:
        """Importing everything of a node, and a command that asks for no way, imports no zeroconf."""
        look = (
            "import sys, gossiplog.app.cli, gossiplog.app.tap, gossiplog; gossiplog.Node; "
            "print('zeroconf' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
        self.assertEqual(done.stdout.strip(), "False", done.stderr)

"""Rings 6 to 8: peers given by name: every address is tried, and a look-up that takes long holds up nothing."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.base import ThreadedResolver
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from zope.interface import implementer

from gossiplog import NodeStoppedError, limits
from gossiplog.net.endpoints import client
from gossiplog.net.happy_eyeballs import Reaching, interleaved
from gossiplog.net.name_lookup import Names
from gossiplog.notices import DialFailed, PeerUp
from gossiplog.store.logs import open_logs
from tests.audit.names import SLOW
from tests.netcase import LISTEN, factory
from tests.processes import ProcessTestCase, environment
from tests.test_net_tcp import TcpCase

PORT = 4000
FOUR = [IPv4Address("TCP", f"192.0.2.{number}", PORT) for number in range(1, 4)]
SIX = [IPv6Address("TCP", f"2001:db8::{number}", PORT) for number in range(1, 4)]


def found(*hosts: str) -> list[Any]:
    """What ``socket.getaddrinfo`` returns."""
    families = {True: socket.AF_INET6, False: socket.AF_INET}
    return [(families[":" in host], socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]


@implementer(IHostnameResolver)
class Known:
    """I know the addresses of every name."""

    def __init__(self, addresses: Sequence[Any]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, name: str, *_: Any, **__: Any) -> None:  # type: ignore[override]
        self.asked.append(name)
        receiver.resolutionBegan(None)
        for address in self.addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()


class ReachTests(SynchronousTestCase):
    """RFC 8305, in time of our own."""

    def dial(self, *addresses: Any, endpoint: str = "tcp:relay.example:4000") -> Deferred[Any]:
        self.reactor = MemoryReactorClock()
        self.resolver = Known(addresses)
        self.protocol = Protocol()
        self.reactor.nameResolver = self.resolver  # type: ignore[attr-defined]
        return client(Reaching(self.reactor), endpoint).connect(factory(self.protocol))

    @property
    def dialled(self) -> list[str]:
        return [host for host, *_ in self.reactor.tcpClients]

    def refuse(self, number: int) -> None:
        """The ``number``-th attempt is refused."""
        self.reactor.tcpClients[number][2].clientConnectionFailed(
            self.reactor.connectors[number], Failure(ConnectionRefusedError(string=str(number)))
        )

    def test_one_after_the_other(self) -> None:
        """ATTEMPT_SECONDS: one more is dialled while the others do not answer."""
        self.dial(*FOUR[:2], SIX[0])
        self.assertEqual(self.dialled, ["192.0.2.1"])
        self.reactor.advance(limits.ATTEMPT_SECONDS / 2)
        self.assertEqual(self.dialled, ["192.0.2.1"])
        self.reactor.advance(limits.ATTEMPT_SECONDS / 2)
        self.assertEqual(self.dialled, ["192.0.2.1", "2001:db8::1"])
        self.reactor.advance(limits.ATTEMPT_SECONDS)
        self.assertEqual(self.dialled, ["192.0.2.1", "2001:db8::1", "192.0.2.2"])

    def test_the_next_at_once_when_one_fails(self) -> None:
        attempt = self.dial(SIX[0], FOUR[0])
        self.refuse(0)
        self.assertEqual(self.dialled, ["2001:db8::1", "192.0.2.1"])
        self.assertNoResult(attempt)
        self.refuse(1)
        self.assertIn("1", str(self.failureResultOf(attempt, ConnectionRefusedError).value))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_first_that_answers_ends_the_others(self) -> None:
        attempt = self.dial(*FOUR[:3])
        self.reactor.advance(limits.ATTEMPT_SECONDS)
        self.assertEqual(len(self.dialled), 2)
        self.reactor.tcpClients[1][2].buildProtocol(FOUR[1]).makeConnection(StringTransport())
        self.assertIs(self.successResultOf(attempt), self.protocol)
        self.assertEqual(
            [connector.stoppedConnecting for connector in self.reactor.connectors], [True, False]
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        attempt = self.dial(*FOUR[:3])
        attempt.cancel()
        self.failureResultOf(attempt)
        self.reactor.advance(10 * limits.ATTEMPT_SECONDS)
        self.assertEqual((len(self.dialled), self.reactor.connectors[0].stoppedConnecting), (1, True))

    def test_no_more_than_so_many(self) -> None:
        """MAX_ADDRESSES: however many the name server names, and however they fail."""
        attempt = self.dial(*(IPv4Address("TCP", f"192.0.2.{number}", PORT) for number in range(200)))
        for number in range(limits.MAX_ADDRESSES):
            self.assertNoResult(attempt)
            self.refuse(number)
        self.failureResultOf(attempt, ConnectionRefusedError)
        self.assertEqual(len(self.dialled), limits.MAX_ADDRESSES)

    def test_for_who_wants_no_more(self) -> None:
        """As ``IReactorCore`` says: one IPv4 address, or a failure that says why."""
        reactor: Any = MemoryReactorClock()
        reactor.nameResolver = Known(FOUR[:2])
        self.assertEqual(self.successResultOf(Reaching(reactor).resolve("relay.example")), "192.0.2.1")
        reactor.nameResolver = Known([])
        failed = self.failureResultOf(Reaching(reactor).resolve("relay.example"), DNSLookupError)
        self.assertIn("relay.example: it has no address", str(failed.value))

    def test_none(self) -> None:
        self.assertIn(
            "relay.example: it has no address", str(self.failureResultOf(self.dial(), DNSLookupError).value)
        )

    def test_an_address_is_no_name(self) -> None:
        for text, host in [
            ("tcp:192.0.2.7:4000", "192.0.2.7"),
            ("tcp:[2001:db8::7]:4000", "2001:db8::7"),
            (r"tcp:2001\:db8\:\:7:4000", "2001:db8::7"),
            ("tcp:host=[fe80::7%eth0]:port=4000", "fe80::7%eth0"),
        ]:
            self.dial(endpoint=text)
            self.assertEqual((self.dialled, self.resolver.asked), ([host], []))

    def test_whose_turn_it_is(self) -> None:
        for given, taken in [
            ([], []),
            ([*SIX, *FOUR], [SIX[0], FOUR[0], SIX[1], FOUR[1], SIX[2], FOUR[2]]),
            ([FOUR[0], FOUR[0], FOUR[1], SIX[0]], [FOUR[0], SIX[0], FOUR[1]]),
        ]:
            self.assertEqual(interleaved(given), taken)


class NamesTests(TestCase):
    """Look-ups with the real reactor and real threads."""

    def fake(self, answer: Callable[[str], Any]) -> None:
        self.asked: list[str] = []

        def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
            self.asked.append(host)
            return answer(host)

        self.patch(socket, "getaddrinfo", getaddrinfo)

    def resolve(self, names: Names, name: str = "relay.example", types: Any = None) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        got: list[Any] = []

        class Receiver:
            def resolutionBegan(self, resolution: Any) -> None:
                self.resolution = resolution

            def addressResolved(self, address: Any) -> None:
                got.append(address)

            def resolutionComplete(self) -> None:
                done.callback((got, self.resolution.problem))

        names.resolveHostName(Receiver(), name, PORT, types)
        return done

    def test_in_the_place_of_the_resolver_that_reactors_begin_with(self) -> None:
        """And of no other; the class of that one is private, and known by its name."""
        installed: Any = reactor
        before = installed.nameResolver
        self.addCleanup(installed.installNameResolver, before)
        self.assertIsInstance(Reaching(installed).nameResolver, Names)
        installed.installResolver(ThreadedResolver(installed))
        self.assertIs(Reaching(installed).nameResolver, installed.nameResolver)

    async def test_both_families(self) -> None:
        self.fake(lambda _: [*found("2001:db8::1", "192.0.2.1"), (socket.AF_UNIX, 1, 0, "", "x")])
        names = Names(reactor)
        self.assertEqual(await self.resolve(names), ([SIX[0], FOUR[0]], ""))
        self.assertEqual(await self.resolve(names, types=[IPv4Address]), ([FOUR[0]], ""))

    async def test_what_goes_wrong(self) -> None:
        for error, words in [
            (
                socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
                "Temporary failure in",
            ),
            (UnicodeError("label empty or too long"), "label empty or too long"),
        ]:

            def fail(_: str, error: Exception = error) -> None:
                raise error

            self.fake(fail)
            got, problem = await self.resolve(Names(reactor))
            self.assertEqual(got, [])
            self.assertIn(words, problem)

    async def test_near(self) -> None:
        """Who knows the local network is asked first for its names, and for no others; else the system is."""
        self.fake(lambda _: found("192.0.2.1"))
        names = Names(reactor)
        answers: dict[str, Any] = {
            "bob.local": succeed(["10.9.0.2", "fd00::2"]),
            "carol.local.": succeed([]),
            "dave.local": fail(OSError("no")),
        }
        names.near = lambda name: answers[name]
        got, _ = await self.resolve(names, "bob.local")
        self.assertEqual([address.host for address in got], ["10.9.0.2", "fd00::2"])
        for name in ("carol.local.", "dave.local", "relay.example", "local"):
            self.assertEqual(await self.resolve(names, name), ([FOUR[0]], ""))
        self.assertEqual(self.asked, ["carol.local.", "dave.local", "relay.example", "local"])

    async def test_no_thread_left(self) -> None:
        def none_left(_: Any) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", none_left)
        self.assertEqual(await self.resolve(Names(reactor)), ([], "can't start new thread"))

    async def test_one_thread_for_a_name(self) -> None:
        """However often it is dialled while nobody answers; who waits no longer hears nothing."""
        go = threading.Event()
        self.addCleanup(go.set)

        def answer(_: str) -> Any:
            go.wait(60)
            return found("192.0.2.1")

        self.fake(answer)
        names = Names(reactor)
        before = {*threading.enumerate()}
        waiting = [self.resolve(names) for _ in range(50)]
        self.assertEqual(len({*threading.enumerate()} - before), 1)
        go.set()
        for each in waiting:
            self.assertEqual(await each, ([FOUR[0]], ""))
        self.assertEqual(self.asked, ["relay.example"])

    async def test_reactor_that_is_gone(self) -> None:
        """An asyncio loop that is closed takes no more; the thread ends all the same."""
        ended = threading.Event()

        class Gone:
            def callFromThread(self, *_: Any) -> None:
                ended.set()
                raise RuntimeError("Event loop is closed")

        raised: list[Any] = []
        self.patch(threading, "excepthook", raised.append)
        self.fake(lambda _: [])
        before = set(threading.enumerate())
        self.resolve(Names(Gone()))
        for thread in set(threading.enumerate()) - before:
            thread.join(60)
        self.assertTrue(ended.is_set())
        self.assertEqual(raised, [])


class TcpNamesTests(TcpCase):
    """Real nodes, and a name server of ours."""

    def answer(self, *addresses: str) -> None:
        """Every name has these addresses."""
        system = socket.getaddrinfo

        def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
            return found(*addresses) if "example" in host else system(host, *arguments, **options)

        self.patch(socket, "getaddrinfo", getaddrinfo)

    async def meet(self, listen: str, *addresses: str) -> Any:
        _, a = self.site()
        _, b = self.site()
        port = (await a.listen(listen)).rpartition(":")[2]
        self.answer(*addresses)
        up = self.when(b, PeerUp)
        b.connect(f"tcp:relay_1.example:{port}")
        return (await up).peer

    async def test_first_address_refuses(self) -> None:
        await self.meet(LISTEN, "127.0.0.2", "127.0.0.1")

    async def test_only_an_address_of_ipv6(self) -> None:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError as error:
            raise SkipTest(f"no IPv6 here: {error}") from None
        peer = await self.meet("tcp:0:interface=[::1]", "::1")
        self.assertTrue(peer.address.startswith("tcp:relay_1.example:"))

    async def test_why_there_is_none(self) -> None:
        """The system's words reach the application."""

        def fail(*_: Any, **__: Any) -> None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        self.patch(socket, "getaddrinfo", fail)
        _, node = self.site()
        node.connect("tcp:relay.example:4000")
        failed = await node.when(DialFailed)
        self.assertIn("relay.example: Temporary failure in name resolution", failed.reason)

    async def test_resolver_of_the_application(self) -> None:
        """Who installed one on the reactor is asked, and stays installed."""
        installed: Any = reactor
        known = Known([IPv4Address("TCP", "127.0.0.1", 1)])
        before = installed.installNameResolver(known)
        self.addCleanup(installed.installNameResolver, before)
        _, node = self.site()
        node.connect("tcp:relay.example:1")
        await node.when(DialFailed)
        self.assertEqual(known.asked, ["relay.example"])
        self.assertIs(installed.nameResolver, known)

    async def test_reactor_stays_as_it_was(self) -> None:
        installed: Any = reactor
        before = (installed.nameResolver, installed.resolver)
        self.answer("127.0.0.1")
        _, node = self.site()
        node.connect("tcp:relay.example:1")
        await node.when(DialFailed)
        self.assertEqual((installed.nameResolver, installed.resolver), before)

    async def test_stopped_while_its_own_interface_is_looked_up(self) -> None:
        """At once: there is no port yet that would have to be closed."""
        self.patch(limits, "CLOSE_SECONDS", 3600.0)
        go = threading.Event()
        self.addCleanup(go.set)
        self.patch(socket, "getaddrinfo", lambda *_, **__: go.wait(60) and [])
        _, node = self.site()
        listening = node.listen("tcp:0:interface=here.example")
        await node.stop()
        self.failureResultOf(listening, NodeStoppedError)

    async def test_interface_that_is_a_name(self) -> None:
        self.answer("127.0.0.1")
        _, node = self.site()
        bound = await node.listen("tcp:0:interface=here.example")
        self.assertTrue(bound.startswith("tcp:127.0.0.1:"))


EMBEDDED = """
import asyncio
import sys

from twisted.internet import asyncioreactor

from gossiplog import Node, open_store


async def main():
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor

    reactor.startRunning(installSignalHandlers=False)
    async with open_store("ann", reactor) as store:
        async with Node(reactor, store, network="n") as node:
            for number in range(12):
                node.connect(f"tcp:relay{number}.slow:4000")
            await asyncio.sleep(0)
    print("over")


asyncio.run(main())
"""

RUN = """
import sys

from twisted.internet import {reactor}

{reactor}.install()

from gossiplog.app.cli import main

sys.exit(main(sys.argv[1:]))
"""


class SlowNamesTests(ProcessTestCase):
    """Real processes, and names that nobody answers for."""

    def setUp(self) -> None:
        super().setUp()
        (self.place / "sitecustomize.py").write_text(SLOW)
        path = os.pathsep.join([str(self.place), environment()["PYTHONPATH"]])
        self.options = {"env": environment(PYTHONPATH=path)}
        for name in ("ann", "bob"):
            open_logs(self.place / name).close()

    def assert_quick(self, began: float, seconds: float) -> None:
        """Much less than a look-up takes."""
        self.assertLess(time.monotonic() - began, seconds)

    def test_sync(self) -> None:
        """It ends when it is to, and says what it waited for."""
        began = time.monotonic()
        process = self.gossiplog(
            "sync",
            "tcp:relay.slow:4000",
            "--store",
            "ann",
            "--network",
            "n",
            "--timeout",
            "1",
            **self.options,
        )
        self.assertEqual(process.finish(), 1)
        looked_up, *said = process.err.splitlines()
        self.assertEqual(looked_up, "looking up relay.slow")
        complaint = "no answer from tcp:relay.slow:4000 within 1 s: relay.slow is still being looked up"
        self.assertEqual(said, [f"gossiplog: {complaint}"])
        self.assert_quick(began, 20)

    def test_terminated(self) -> None:
        """Under every reactor; and who can be reached is, behind any number of names that nobody answers for."""
        node = self.gossiplog("run", "--store", "bob", "--network", "n", "--listen", LISTEN)
        [address] = node.ready()["listening"]
        port = address.rpartition(":")[2]
        peers = [option for number in range(40) for option in ("--peer", f"tcp:relay{number}.slow:4000")]
        kinds = ["selectreactor", "asyncioreactor", "pollreactor"]
        if sys.platform == "linux":
            kinds.append("epollreactor")
        for kind in kinds:
            open_logs(self.place / kind).close()  # it knows no address of bob's but by name
            run = self.start(
                sys.executable, "-c", RUN.format(reactor=kind), "run", "--store", kind, "--network", "n",
                *peers, "--peer", f"tcp:localhost:{port}", "--listen", "tcp:0:interface=localhost", **self.options,
            )  # fmt: skip
            run.ready()
            run.wait_for_error(r"peer \w{8} is up at tcp:localhost")
            began = time.monotonic()
            self.assertEqual(run.terminate(), 0)
            self.assert_quick(began, 20)
        self.assertEqual(node.terminate(), 0)

    def test_terminated_while_its_own_interface_is_looked_up(self) -> None:
        process = self.gossiplog(
            "run", "--store", "ann", "--network", "n", "--listen", "tcp:0:interface=here.slow", **self.options
        )
        process.wait_for_error("looking up here.slow")
        began = time.monotonic()
        self.assertEqual(process.terminate(), 0)
        self.assert_quick(began, 20)

    def test_embedded(self) -> None:
        """``asyncio.run`` returns, and the process ends."""
        began = time.monotonic()
        process = self.start(sys.executable, "-c", EMBEDDED, **self.options)
        self.assertEqual((process.finish(), process.out), (0, "over\n"))
        self.assertEqual({line.split(" relay")[0] for line in process.err.splitlines()}, {"looking up"})
        self.assert_quick(began, 20)

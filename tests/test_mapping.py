"""Ports that a router passes on: what is asked and when, and what a router can say that does no harm.

The router is one of ours on this machine; a real one is in ``tests.test_found_hosts``.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gossiplog import EndpointError, InvalidValueError, PortMapping, WayFailed
from gossiplog.discovery import mapping as mapping_module
from gossiplog.discovery import nat_pmp, upnp
from gossiplog.discovery import upnp_texts as texts
from gossiplog.discovery.nat_pmp import NatPmp
from gossiplog.discovery.upnp import Upnp
from gossiplog.discovery.upnp_texts import RouterError, Service, Url
from gossiplog.limits import (
    MAPPING_CLOSE_SECONDS,
    MAPPING_LEASE_SECONDS,
    MAPPING_RETRY_SECONDS,
    MAPPING_SECONDS,
    MAX_MAPPED_PORTS,
    MAX_ROUTER_BYTES,
    MAX_ROUTERS,
)
from tests.netcase import World
from tests.test_net_joining import Told

HERE = "192.168.1.7"
OUTSIDE = "81.2.69.160"
KIND = "urn:schemas-upnp-org:service:WANIPConnection:1"


def description(control: str = "/ctl/IPConn", kind: str = KIND) -> bytes:
    """What a router says of itself."""
    other = "<service><serviceType>urn:x:1</serviceType><controlURL>/no</controlURL></service>"
    ours = f"<service><serviceType>{kind}</serviceType><controlURL>{control}</controlURL></service>"
    return f"<root><device><serviceList>{other}\n{ours}</serviceList></device></root>".encode()


class TextTests(SynchronousTestCase):
    at = Url("192.168.1.1", 5000, "/root.xml")

    def test_location(self) -> None:
        for line, url in (
            ("LOCATION: http://192.168.1.1:5000/root.xml", self.at),
            ("location:http://192.168.1.1/", Url("192.168.1.1", 80, "/")),
            ("Location: http://192.168.1.1:5000/a?b=c", Url("192.168.1.1", 5000, "/a?b=c")),
        ):
            answer = f"HTTP/1.1 200 OK\r\nST: x\r\n{line}\r\n\r\n".encode()
            self.assertEqual(texts.location(answer, "192.168.1.1"), url)

    def test_it_leads_nowhere_else(self) -> None:
        """To no other host, by no other protocol, with nothing that ends a line."""
        for url in (
            *(
                "http://192.168.1.2:5000/",
                "http://8.8.8.8/",
                "https://192.168.1.1/",
                "file:///etc/passwd",
                "/root.xml",
            ),
            *(
                "http://192.168.1.1@8.8.8.8/",
                "http://8.8.8.8@192.168.1.1/",
                "http://192.168.1.1:99999/",
                "http://[x/",
            ),
            *("http://localhost/", "http://192.168.1.1/\x80", "http://192.168.1.1/" + "x" * 600, ""),
        ):
            answer = f"HTTP/1.1 200 OK\r\nLOCATION: {url}\r\n\r\n".encode("latin-1")
            self.assertRaises((EndpointError, InvalidValueError), texts.location, answer, "192.168.1.1")
        for control in ("http://8.8.8.8/x", "//8.8.8.8/x", "http://192.168.1.2/x", "/a b", "ftp://x/"):
            self.assertRaises(
                (EndpointError, InvalidValueError), texts.service, description(control), self.at
            )

    def test_service(self) -> None:
        for control, path in (("/ctl", "/ctl"), ("ctl?a&amp;b", "/ctl?a&b"), (" /ctl ", "/ctl")):
            for kind in (KIND, KIND.replace(":1", ":2"), KIND.replace("IP", "PPP")):
                found = texts.service(description(control, kind), self.at)
                self.assertEqual(found, Service(self.at._replace(path=path), kind))
        absolute = texts.service(description("http://192.168.1.1:80/x"), self.at)
        self.assertEqual(absolute.url, Url("192.168.1.1", 80, "/x"))

    def test_nonsense(self) -> None:
        for content in (
            b"",
            b"\xff" * 1000,
            b"<service>" * 7000,
            b"<controlURL>" + b" " * 60_000,
            description(kind="x"),
        ):
            self.assertRaises(EndpointError, texts.service, content, self.at)
        for answer in (
            b"",
            b"garbage",
            b"HTTP/1.1 404 no\r\nLOCATION: http://192.168.1.1/\r\n\r\n",
            b"\r\n" * 30_000,
        ):
            self.assertRaises(EndpointError, texts.location, answer, "192.168.1.1")
            self.assertRaises(EndpointError, texts.body, answer)
        for content in (b"", b"<NewExternalIPAddress>x</NewExternalIPAddress>", b"<NewExternalIPAddress>"):
            self.assertRaises(EndpointError, texts.external, content)

    def test_call(self) -> None:
        """What is said is one request of the right length, and nothing in it ends anything."""
        asked = texts.call(Service(self.at, KIND), "Do", A="<&>", B=5)
        head, _, content = asked.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d\r\n" % len(content), head)
        self.assertIn(b"<A>&lt;&amp;&gt;</A><B>5</B>", content)
        self.assertIn(f'SOAPAction: "{KIND}#Do"'.encode(), head)

    def test_errors(self) -> None:
        answer = b"HTTP/1.1 500 no\r\n\r\n<s:Fault><errorCode>718</errorCode></s:Fault>"
        self.assertEqual(self.assertRaises(RouterError, texts.body, answer).code, 718)
        self.assertEqual(self.assertRaises(RouterError, texts.body, b"HTTP/1.0 403 no\r\n\r\n").code, 403)


class Gateway(DatagramProtocol):
    """I am a router that speaks NAT-PMP, or what a test wants it to."""

    noisy = False

    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.asked.append(datagram)
        for each in self.answer(datagram):
            assert self.transport is not None
            self.transport.write(each, addr)


def honest(request: bytes) -> list[bytes]:
    """What a router answers; the port outside is another one."""
    if request[1] == 0:
        return [struct.pack(">BBHI4s", 0, 128, 0, 1, bytes(map(int, OUTSIDE.split("."))))]
    port, _, seconds = struct.unpack(">HHI", request[4:12])
    return [struct.pack(">BBHIHHI", 0, 130, 0, 1, port, port + 1 if seconds else 0, seconds)]


class NatPmpTests(TestCase):
    def gateway(self, answer: Callable[[bytes], list[bytes]]) -> NatPmp:
        from twisted.internet import reactor

        self.protocol = Gateway(answer)
        port = reactor.listenUDP(0, self.protocol, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.patch(nat_pmp, "PORT", port.getHost().port)
        return NatPmp(reactor, "127.0.0.1", "127.0.0.1")

    async def test_asked(self) -> None:
        router = self.gateway(honest)
        self.assertEqual(await router.external(), OUTSIDE)
        self.assertEqual(await router.map(4000, 3600), 4001)
        await router.unmap(4000, 4001)
        asked = [each.hex() for each in self.protocol.asked]
        self.assertEqual(asked, ["0000", "000200000fa00fa000000e10", "000200000fa0000000000000"])

    async def test_asked_again(self) -> None:
        """What is lost is said again."""
        lost = [[], honest(b"\0\0")]
        router = self.gateway(lambda _: lost.pop(0))  # type: ignore[arg-type,return-value]
        self.assertEqual(await router.external(), OUTSIDE)

    async def test_refused(self) -> None:
        for code in (1, 2, 3, 4, 5, 99):
            router = self.gateway(lambda _, code=code: [struct.pack(">BBHI", 0, 128, code, 1)])  # type: ignore[misc]
            error = await self.assertFailure(Deferred.fromCoroutine(router.external()), EndpointError)
            self.assertIn("the router says", str(error))

    async def test_nothing_granted(self) -> None:
        router = self.gateway(lambda _: [struct.pack(">BBHIHHI", 0, 130, 0, 1, 4000, 0, 0)])
        await self.assertFailure(Deferred.fromCoroutine(router.map(4000, 60)), EndpointError)

    async def test_nonsense_is_passed_over(self) -> None:
        other = struct.pack(">BBHIHHI", 0, 130, 0, 1, 9999, 9999, 60)
        router = self.gateway(
            lambda asked: [b"", b"\xff" * 2000, b"\0\x82", b"\0\x80\0\0", other, *honest(asked)]
        )
        self.assertEqual(await router.map(4000, 60), 4001)

    async def test_an_address_that_is_gone(self) -> None:
        router = self.gateway(honest)
        router._source = "192.0.2.77"
        await self.assertFailure(Deferred.fromCoroutine(router.external()), EndpointError)
        plug = Upnp(router._reactor, "192.0.2.77", ["192.0.2.77/24"])
        await self.assertFailure(Deferred.fromCoroutine(plug.external()), EndpointError)
        gc.collect()
        self.flushWarnings()  # Twisted leaves a socket that cannot be bound to be collected

    async def test_nobody_is_there(self) -> None:
        router = self.gateway(honest)
        self.patch(nat_pmp, "PORT", 9)
        error = await self.assertFailure(Deferred.fromCoroutine(router.external()), EndpointError)
        self.assertIn("does not speak NAT-PMP", str(error))

    def test_silence(self) -> None:
        """It is over within two seconds, with nothing left."""
        clock = Clock()
        clock.listenUDP = lambda port, protocol, interface: Silent(protocol)  # type: ignore[attr-defined]
        waiting = Deferred.fromCoroutine(NatPmp(clock, HERE, "192.168.1.1").external())
        clock.pump([0.25] * 8)
        self.failureResultOf(waiting, EndpointError)
        self.assertEqual(clock.getDelayedCalls(), [])


class Silent:
    """I am a port behind which nobody answers."""

    def __init__(self, protocol: DatagramProtocol) -> None:
        self.said: list[bytes] = []
        protocol.transport = self  # type: ignore[assignment]
        protocol.startProtocol()

    def connect(self, host: str, port: int) -> None:
        pass

    def write(self, datagram: bytes, addr: Any = None) -> None:
        self.said.append(datagram)

    def stopListening(self) -> None:
        pass


class Web(Protocol):
    """I am a router's page: ``router.answer`` says what to each request."""

    router: Any = None

    def connectionMade(self) -> None:
        self.asked = b""

    def dataReceived(self, data: bytes) -> None:
        self.asked += data
        if texts.is_whole(self.asked) or self.asked.startswith(b"GET"):
            assert self.transport is not None
            self.transport.write(self.router.answer(self.asked))
            if self.router.hangs_up:
                self.transport.loseConnection()


class UpnpTests(TestCase):
    """A router of ours, with SSDP and a page."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.hangs_up = True
        self.asked: list[bytes] = []
        self.refusals: list[int] = []
        factory = Factory.forProtocol(Web)
        factory.noisy = False
        self.patch(Web, "router", self)
        web = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(web.stopListening)
        self.port = web.getHost().port
        self.path = "/root.xml"
        ssdp = self.reactor.listenUDP(0, Gateway(self.said), interface="127.0.0.1")
        self.addCleanup(ssdp.stopListening)
        self.patch(texts, "GROUP", ("127.0.0.1", ssdp.getHost().port))
        self.patch(upnp, "is_private", lambda ip: True)
        self.patch(upnp, "_SEARCH_SECONDS", 0.3)
        self.patch(upnp, "_AGAIN_SECONDS", (0.0,))
        self.router = Upnp(self.reactor, "127.0.0.1", ["127.0.0.1/8"])

    def said(self, search: bytes) -> list[bytes]:
        return [
            b"HTTP/1.1 200 OK\r\nLOCATION: http://127.0.0.1:%d%s\r\n\r\n" % (self.port, self.path.encode())
        ]

    def answer(self, asked: bytes) -> bytes:
        self.asked.append(asked)
        if asked.startswith(b"GET"):
            content = description()
        elif b"#GetExternal" in asked:
            content = f"<NewExternalIPAddress>{OUTSIDE}</NewExternalIPAddress>".encode()
        elif self.refusals:
            return b"HTTP/1.1 500 no\r\n\r\n<errorCode>%d</errorCode>" % self.refusals.pop(0)
        else:
            content = b"<ok/>"
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)

    async def test_asked(self) -> None:
        for self.hangs_up in (True, False):
            self.assertEqual(await self.router.external(), OUTSIDE)
        self.assertEqual(await self.router.map(4000, 3600), 4000)
        await self.router.unmap(4000, 4000)
        _, *_, added, deleted = self.asked
        for part in (
            b"<NewInternalPort>4000<",
            b"<NewInternalClient>127.0.0.1<",
            b"<NewLeaseDuration>3600<",
            b">TCP<",
        ):
            self.assertIn(part, added)
        self.assertIn(b"<NewExternalPort>4000<", deleted)
        self.assertEqual(len([each for each in self.asked if each.startswith(b"GET")]), 1)

    async def test_somebody_else_has_the_port(self) -> None:
        """Another one is taken, and asked for again later."""
        self.refusals = [718, 718]
        external = await self.router.map(4000, 60)
        self.assertGreaterEqual(external, 49152)
        self.assertEqual(await self.router.map(4000, 60), external)
        self.refusals = [718] * 4
        await self.assertFailure(Deferred.fromCoroutine(self.router.map(4000, 60)), EndpointError)

    async def test_it_takes_no_lease(self) -> None:
        self.refusals = [725]
        self.assertEqual(await self.router.map(4000, 60), 4000)
        self.assertIn(b"<NewLeaseDuration>0<", self.asked[-1])

    async def test_it_does_not_want_to(self) -> None:
        self.refusals = [606]
        error = await self.assertFailure(Deferred.fromCoroutine(self.router.map(4000, 60)), RouterError)
        self.assertEqual(error.code, 606)

    async def test_without_end(self) -> None:
        """A page that is too long, or never ends, is let go of."""
        self.answer = lambda asked: b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MAX_ROUTER_BYTES  # type: ignore[method-assign]
        error = await self.assertFailure(Deferred.fromCoroutine(self.router.external()), EndpointError)
        self.assertIn("says too much", str(error))
        self.patch(upnp.limits, "MAPPING_SECONDS", 0.1)
        self.hangs_up = False
        self.answer = lambda asked: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"  # type: ignore[method-assign]
        await self.assertFailure(Deferred.fromCoroutine(self.router.external()), EndpointError)

    async def test_nobody_answers(self) -> None:
        self.said = lambda search: [b"nonsense", b""]  # type: ignore[method-assign]
        self.patch(texts, "GROUP", ("127.0.0.1", 9))
        error = await self.assertFailure(Deferred.fromCoroutine(self.router.external()), EndpointError)
        self.assertEqual(str(error), "no answer to UPnP")

    def test_who_is_asked(self) -> None:
        """Neighbours with a private address, four at most, each once."""
        self.patch(upnp, "is_private", mapping_module.is_private)
        search = upnp._Search(Clock(), HERE, ["192.168.1.7/24", "81.2.69.1/24"])
        say = lambda host: search.datagramReceived(  # noqa: E731
            f"HTTP/1.1 200 OK\r\nLOCATION: http://{host}:80/\r\n\r\n".encode(), (host, 1900)
        )
        for host in ("81.2.69.160", "192.168.2.1", "127.0.0.1", "8.8.8.8", "224.0.0.1"):
            say(host)
        self.assertEqual(search._found, [])
        for number in range(1, 100):
            say(f"192.168.1.{number}")
            say(f"192.168.1.{number}")
        self.assertEqual(len(search._found), MAX_ROUTERS)


class Fake:
    """I am a router that does as a test says."""

    name = "fake"

    def __init__(self) -> None:
        self.address = OUTSIDE
        self.mapped: dict[int, int] = {}
        self.asked: list[tuple[str, int]] = []
        self.refuses = self.hangs = False

    async def external(self) -> str:
        if self.hangs:
            await Deferred()
        return self.address

    async def map(self, port: int, seconds: int) -> int:
        self.asked.append(("map", port))
        if self.refuses:
            raise EndpointError("no")
        self.mapped[port] = port + 10_000
        return port + 10_000

    async def unmap(self, port: int, external: int) -> None:
        self.asked.append(("unmap", port))
        if self.hangs:
            await Deferred()
        assert self.mapped.pop(port) == external


class Finding:
    """What a way of finding uses of a node."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.where: list[tuple[str, int]] | None = None
        self.reasons: list[str] = []

    def reachable(self, addresses: Any) -> None:
        self.where = list(addresses)

    def failed(self, reason: str) -> None:
        self.reasons.append(reason)


class MappingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.router = Fake()
        self.here: str | None = HERE
        self.patch(mapping_module, "source", lambda host: self.here)
        self.patch(mapping_module._Asking, "_routers", lambda asking, here: [asking._router or self.router])
        self.clock = Clock()
        self.finding: Any = Finding(self.clock)
        self.way = PortMapping()

    def begin(self, *ports: int, host: str = HERE) -> None:
        self.way.stop()
        self.way.announce([(host, port) for port in ports])
        self.way.start(self.finding)
        self.way.look()

    def test_passed_on(self) -> None:
        self.begin(4000)
        self.assertEqual(self.finding.where, [(OUTSIDE, 14_000)])
        self.way.announce([(HERE, 4000), (OUTSIDE, 14_000)])
        self.assertEqual(self.router.asked, [("map", 4000)])

    def test_only_what_is_behind_a_router(self) -> None:
        """Not ports at other addresses, containers' or loopback; and nothing where there is no router."""
        for host in ("127.0.0.1", "172.17.0.1", OUTSIDE, "fd00::7"):
            self.begin(4000, host=host)
        for self.here in (OUTSIDE, None):
            self.begin(4000)
        self.assertEqual((self.router.asked, self.finding.where), ([], None))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_how_many(self) -> None:
        self.begin(*range(4000, 4100))
        self.assertEqual(len(self.router.mapped), MAX_MAPPED_PORTS)

    def test_renewed(self) -> None:
        """At half of its time, for as long as we are there."""
        self.begin(4000)
        for _ in range(5):
            self.clock.advance(MAPPING_LEASE_SECONDS / 2)
        self.assertEqual(self.router.asked, [("map", 4000)] * 6)

    def test_other_ports(self) -> None:
        self.begin(4000)
        self.way.announce([(HERE, 5000)])
        self.assertEqual(self.router.mapped, {5000: 15_000})
        self.assertEqual(self.finding.where, [(OUTSIDE, 15_000)])
        self.way.announce([])
        self.assertEqual((self.router.mapped, self.finding.where), ({}, []))

    def test_another_network(self) -> None:
        """Where there is no router nothing is said to be reachable."""
        self.begin(4000)
        self.here = "81.2.69.7"
        self.way.announce([("81.2.69.7", 4000)])
        self.assertEqual(self.finding.where, [])

    def test_moved(self) -> None:
        """To where there is another router: the former one is not asked any more."""
        self.begin(4000)
        former, self.router = self.router, Fake()
        self.here = "192.168.2.9"
        self.way.announce([("192.168.2.9", 4000)])
        self.assertEqual((former.asked, self.router.asked), ([("map", 4000)], [("map", 4000)]))
        self.assertEqual(self.finding.where, [(OUTSIDE, 14_000)])

    def test_refused(self) -> None:
        """It is said, and tried again, also when it is looked for peers."""
        self.router.refuses = True
        self.begin(4000)
        self.assertEqual(self.finding.reasons[0], "no router here passes connections on (fake: no)")
        count = len(self.router.asked)
        self.clock.advance(MAPPING_RETRY_SECONDS)
        self.assertEqual(len(self.router.asked), count + 1)
        self.router.refuses = False
        self.way.look()
        self.assertEqual(self.finding.where, [(OUTSIDE, 14_000)])

    def test_behind_another_router(self) -> None:
        """Then it is of no use, and said."""
        for self.router.address in ("10.0.0.2", "100.64.0.1", "127.0.0.1", "0.0.0.0"):
            self.begin(4000)
        self.assertEqual((self.router.mapped, self.finding.where), ({}, []))
        self.assertIn("is itself behind another one, at 10.0.0.2", self.finding.reasons[0])

    def test_a_router_that_hangs(self) -> None:
        self.router.hangs = True
        self.begin(4000)
        self.clock.advance(2 * MAPPING_SECONDS)
        self.assertEqual(len(self.finding.reasons), 1)

    def test_stop(self) -> None:
        """Nothing is passed on any more, and no timer is left."""
        self.begin(4000, 5000)
        self.assertEqual(self.successResultOf(self.way.stop()), None)
        self.assertEqual((self.router.mapped, self.clock.getDelayedCalls()), ({}, []))
        self.assertEqual(self.successResultOf(self.way.stop()), None)
        self.begin(4000)
        self.assertEqual(self.router.mapped, {4000: 14_000})

    def test_a_router_that_hangs_at_the_end(self) -> None:
        self.begin(4000)
        self.router.hangs = True
        ended = self.way.stop()
        self.assertNoResult(ended)
        self.clock.advance(MAPPING_CLOSE_SECONDS)
        self.successResultOf(ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_while_it_asks(self) -> None:
        """What is passed on meanwhile is taken back."""
        asked: Deferred[str] = Deferred()
        self.router.external = lambda: asked  # type: ignore[method-assign,assignment,return-value]
        self.begin(4000)
        ended = self.way.stop()
        asked.callback(OUTSIDE)
        self.successResultOf(ended)
        self.assertEqual(self.router.asked, [("map", 4000), ("unmap", 4000)])

    def test_a_mistake(self) -> None:
        """One of ours is logged, and the way has failed."""
        self.router.external = lambda: fail(RuntimeError("oops"))  # type: ignore[method-assign,assignment,return-value]
        self.way.announce([(HERE, 4000)])
        self.way.start(self.finding)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(len(self.finding.reasons), 1)


class Reaching(Told):
    """A way that brings others to us."""

    name = "reaching"


class ReachableTests(SynchronousTestCase):
    """What a node tells of where it is reached."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("a")
        self.site.listen()

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_told_to_all(self) -> None:
        way, other = Reaching(), Told()
        joined = self.site.node.join(way, other)
        way.finder.reachable([(OUTSIDE, 4000)])
        self.assertEqual(self.site.node.addresses, [f"tcp:{OUTSIDE}:4000"])
        self.assertEqual(other.announced[-1], [(OUTSIDE, 4000)])
        way.finder.reachable([(OUTSIDE, 4000)])
        self.assertEqual(len(other.announced), 2)
        way.finder.reachable([])
        self.assertEqual((self.site.node.addresses, len(other.announced)), ([], 3))
        way.finder.reachable([(OUTSIDE, 4000)])
        self.world.result(joined.leave())
        way.finder.reachable([(OUTSIDE, 5000)])
        self.assertEqual(self.site.node.addresses, [])

    def test_we_are_not_found(self) -> None:
        """Whoever says that we are there says nothing new."""
        way = Reaching()
        self.site.node.join(way)
        way.finder.reachable([(OUTSIDE, 4000)])
        way.finder.found(OUTSIDE, 4000)
        self.assertEqual(self.site.node.found, [])

    def test_nonsense(self) -> None:
        way = Reaching()
        self.site.node.join(way)
        for odd in (("router.local", 1), (OUTSIDE, 0), (OUTSIDE, 70_000)):
            self.assertRaises(InvalidValueError, way.finder.reachable, [odd])
        way.finder.failed("no")
        self.assertEqual(self.site.of(WayFailed), [WayFailed("reaching", "no")])

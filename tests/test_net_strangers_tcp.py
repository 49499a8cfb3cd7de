"""Ring 7: what only real sockets show of strangers and of peers that meet twice.

In virtual time: ``test_net_strangers``.
"""

from __future__ import annotations

import select
import socket
import ssl
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from gossiplog import limits
from gossiplog.errors import WrongProtocolError
from gossiplog.net import sockets
from gossiplog.net.sockets import round_trip
from gossiplog.notices import DialFailed, PeerDown, PeerRejected, PeerUp
from tests.netcase import LISTEN, Peer, Raw, dial
from tests.test_net_tcp import TcpCase


class StrayTests(TcpCase):
    """Programs that look for something else at our port."""

    async def test_http(self) -> None:
        """A real client is hung up on without a byte, and the node says what it was."""
        _, node = self.site()
        address = await node.listen(LISTEN)
        rejected = self.when(node, PeerRejected)

        def ask() -> None:
            connection = HTTPConnection("127.0.0.1", int(address.rpartition(":")[2]), timeout=30)
            try:
                connection.request("GET", "/")
                connection.getresponse()
            finally:
                connection.close()

        try:
            await deferToThread(ask)
        except (RemoteDisconnected, ConnectionResetError):
            pass
        else:
            self.fail("it was answered")
        error = (await rejected).error
        self.assertIsInstance(error, WrongProtocolError)
        self.assertIn("HTTP", str(error))

    async def test_tls(self) -> None:
        """The ClientHello of a real implementation; nothing comes back."""
        _, node = self.site()
        stranger = Raw(client_hello())
        rejected = self.when(node, PeerRejected)
        await dial(reactor, await node.listen(LISTEN), stranger)
        error = (await rejected).error
        self.assertIsInstance(error, WrongProtocolError)
        self.assertIn("TLS", str(error))
        await stranger.lost
        self.assertEqual(stranger.raw, b"")


class DialTests(TcpCase):
    """Two nodes that dial each other."""

    async def test_both_dial_at_once(self) -> None:
        """One connection survives; then, for longer than the longest delay of a dialler, none is opened or tried."""
        self.patch(limits, "RECONNECT_FIRST_SECONDS", 0.01)
        self.patch(limits, "RECONNECT_MOST_SECONDS", 0.02)
        a_store, a = self.site()
        _, b = self.site()
        addresses = await a.listen(LISTEN), await b.listen(LISTEN)
        a.connect(addresses[1])
        b.connect(addresses[0])
        await gatherResults([self.when(a, PeerUp), self.when(b, PeerUp)])
        writer = await a_store.writer()
        while len(a._driver._open) + len(b._driver._open) > 2 or not (a.peers and b.peers):
            await self.held(b, writer.author, await writer.append(b"meanwhile"))
        before, links = self.counted(a, b), a._driver._open | b._driver._open
        for _ in range(100):
            await self.held(b, writer.author, await writer.append(b"later"))
        self.assertEqual(self.counted(a, b), before)
        self.assertEqual(a._driver._open | b._driver._open, links)
        self.assertEqual([len(a.peers), len(b.peers)], [1, 1])

    def counted(self, *nodes: Any) -> list[int]:
        """How often connections were made, and came up, went, or could not be made."""
        told = [len(self.of(node, kind)) for node in nodes for kind in (PeerUp, PeerDown, DialFailed)]
        return [*told, *(node._driver._next_session for node in nodes)]


class Proxied(Peer):
    """I come through a proxy."""

    def connectionMade(self) -> None:
        """Let it say so."""
        self.transport.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 4000\r\n")
        super().connectionMade()


class PortTests(TcpCase):
    """LISTEN_BACKLOG, RESERVED_DESCRIPTORS: what the system does for us, and how much there is of it."""

    async def test_many_wait(self) -> None:
        """While the node is busy, the kernel takes connections up to the limit."""
        self.patch(limits, "LISTEN_BACKLOG", 200)
        _, node = self.site()
        port = int((await node.listen(LISTEN)).rpartition(":")[2])
        waiting = []
        for _ in range(150):  # in one go: the reactor accepts none of them
            stranger = socket.socket()
            self.addCleanup(stranger.close)
            stranger.setblocking(False)
            stranger.connect_ex(("127.0.0.1", port))
            waiting.append(stranger)
        _, up, _ = select.select([], waiting, [], 0.5)
        self.assertEqual(len(up), 150)

    async def test_behind_a_proxy_that_says_for_whom_it_speaks(self) -> None:
        """With the PROXY protocol members count where they come from, not all at the proxy."""
        _, node = self.site()
        port = int((await node.listen("haproxy:tcp:0:interface=127.0.0.1")).rpartition(":")[2])
        up = self.when(node, PeerUp)
        peer = Proxied(True)
        await dial(reactor, f"tcp:127.0.0.1:{port}", peer)
        while not peer.channel.established:
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]
        peer.hello()
        self.assertEqual((await up).peer.address, "tcp:192.0.2.7:5000")
        self.assertEqual(node._driver.admission._guests_at["192.0.2.7"], 1)
        peer.transport.loseConnection()
        await peer.lost

    async def test_strangers_behind_such_a_proxy(self) -> None:
        """They are told of by their own address, and the place for strangers is theirs."""
        _, node = self.site()
        port = int((await node.listen("haproxy:tcp:0:interface=127.0.0.1")).rpartition(":")[2])
        rejected = self.when(node, PeerRejected)
        stranger = Raw(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 4000\r\nGET / HTTP/1.1\r\n")
        await dial(reactor, f"tcp:127.0.0.1:{port}", stranger)
        self.assertEqual((await rejected).address, "tcp:192.0.2.7:5000")
        slow = Raw(b"PROXY TCP4 192.0.2.8 192.0.2.1 5000 4000\r\n\x01")
        await dial(reactor, f"tcp:127.0.0.1:{port}", slow)
        strangers = node._driver.admission._strangers
        while not strangers.at("192.0.2.8"):
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]
        self.assertEqual(strangers.at("127.0.0.1"), 0)
        for protocol in (stranger, slow):
            protocol.transport.loseConnection()
            await protocol.lost

    def test_descriptors(self) -> None:
        """All but some, or half of few; a program asks for enough."""
        if sockets.resource is None:
            raise SkipTest("this system has no such limit")
        limit = [(1024, 4096)]
        self.patch(sockets.resource, "getrlimit", lambda which: limit[0])
        self.patch(sockets.resource, "setrlimit", lambda which, both: limit.insert(0, both))
        self.assertEqual(sockets.descriptors(), 1024 - limits.RESERVED_DESCRIPTORS)
        sockets.take_descriptors()
        self.assertEqual(limit[0], (limits.RESERVED_DESCRIPTORS + 2 * limits.MAX_CONNECTIONS, 4096))
        sockets.take_descriptors()
        self.assertEqual(len(limit), 2)
        limit.insert(0, (64, 64))
        sockets.take_descriptors()
        self.assertEqual((limit[0], sockets.descriptors()), ((64, 64), 32))
        limit.insert(0, (sockets.resource.RLIM_INFINITY, sockets.resource.RLIM_INFINITY))
        sockets.take_descriptors()
        self.assertEqual((len(limit), sockets.descriptors()), (4, sockets.UNLIMITED))


class BufferTests(TcpCase):
    """SOCKET_BUFFER_BYTES: what the kernel holds back of what is live."""

    async def sockets(self) -> list[socket.socket]:
        """Both ends of a connection of two nodes."""
        _, a = self.site()
        _, b = self.site()
        b.connect(await a.listen(LISTEN))
        await gatherResults([self.when(a, PeerUp), self.when(b, PeerUp)])
        links: list[Any] = [link for node in (a, b) for link in node._driver._open]
        return [link.transport.getHandle() for link in links]

    async def test_of_both_sides(self) -> None:
        """As set; Linux counts twice that, for its own needs, and no system more."""
        self.patch(limits, "NEAR_SECONDS", 10.0)
        for end in await self.sockets():
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                size = end.getsockopt(socket.SOL_SOCKET, buffer)
                self.assertGreaterEqual(size, limits.SOCKET_BUFFER_BYTES)
                self.assertLessEqual(size, 2 * limits.SOCKET_BUFFER_BYTES)

    async def test_of_a_peer_that_is_far_away(self) -> None:
        """As large as the system makes them, for all that is on its way; little of it waits to be sent."""
        if not hasattr(socket, "TCP_INFO"):
            raise SkipTest("this system does not say how far away a peer is")
        self.patch(limits, "NEAR_SECONDS", 1e-6)
        plain = socket.socket()
        self.addCleanup(plain.close)
        for end in await self.sockets():
            self.assertGreater(round_trip(end), 1e-6)
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                usual = plain.getsockopt(socket.SOL_SOCKET, buffer)
                self.assertGreaterEqual(end.getsockopt(socket.SOL_SOCKET, buffer), usual)
            unsent = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
            self.assertEqual(unsent, limits.SOCKET_BUFFER_BYTES)


def client_hello() -> bytes:
    """What a client of TLS says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="example.org")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake with nobody")

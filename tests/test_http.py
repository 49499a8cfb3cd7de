"""Ring 6: web servers beside a node, in virtual time: requests, connections and silence are bounded."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from gossiplog import limits
from gossiplog.app.http import BoundedSite

GONE = Failure(ConnectionDone())


class Counting(Resource):
    """I say how long a body was."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Answer."""
        assert request.content is not None
        return str(len(request.content.read())).encode()


class Port:
    """I listen."""

    def stopListening(self) -> None:
        """And no more."""


class BoundTests(SynchronousTestCase):
    """Whoever sends what."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = BoundedSite(Counting(), self.clock)

    def open(self) -> tuple[Any, StringTransport]:
        """A connection."""
        channel = self.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        if channel is not None:
            channel.makeConnection(transport)
        return channel, transport

    def test_bodies(self) -> None:
        """One that is too long is not read, whether its length is said or not; one at the limit is."""
        most = limits.WEB_REQUEST_BYTES
        channel, transport = self.open()
        channel.dataReceived(
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {most}\r\n\r\n".encode() + bytes(most)
        )
        self.assertTrue(transport.value().endswith(b"%d" % most), transport.value())
        for length in (most + 1, 2**62):
            channel, transport = self.open()
            channel.dataReceived(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            self.assertTrue(transport.disconnected or transport.aborting)
        channel, transport = self.open()
        channel.dataReceived(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(most // 1024 + 1):
            channel.dataReceived(b"400\r\n" + bytes(1024) + b"\r\n")
        self.assertTrue(transport.disconnected or transport.aborting)

    def test_connections(self) -> None:
        """At most so many at once, and another one when one is gone."""
        opened = [self.open()[0] for _ in range(limits.MAX_WEB_CONNECTIONS)]
        self.assertIsNone(self.open()[0])
        opened[0].connectionLost(GONE)
        self.clock.advance(1)
        self.assertIsNotNone(self.open()[0])

    def test_never_whole(self) -> None:
        """Who sends a request byte by byte is let go, and may not begin with a whole one."""
        channel, transport = self.open()
        for byte in b"GET / HTTP/1.1\r\nHost: abcd":
            channel.dataReceived(bytes([byte]))
            self.clock.advance(limits.WEB_IDLE_SECONDS / 20)
        self.assertTrue(transport.disconnected or transport.aborting)
        channel, transport = self.open()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(transport.disconnecting)
        self.assertIn(b"Connection: close", transport.value())

    def test_close(self) -> None:
        """Who is connected is let go, also one that waits between two requests."""
        _, transport = self.open()
        done = Deferred.fromCoroutine(self.server.close(Port()))
        self.successResultOf(done)
        self.assertTrue(transport.disconnected or transport.aborting)

    def test_connections_in_a_second(self) -> None:
        """Some, after the first ones, however quickly each is over."""
        for expected in (limits.MAX_WEB_CONNECTIONS, limits.WEB_CONNECTION_RATE):
            made = [
                channel for channel, _ in [self.open_and_lose() for _ in range(200)] if channel is not None
            ]
            self.assertEqual(len(made), expected)
            self.clock.advance(1)

    def open_and_lose(self) -> tuple[Any, StringTransport]:
        """A connection that is over at once."""
        channel, transport = self.open()
        if channel is not None:
            channel.connectionLost(GONE)
        return channel, transport

    def test_silence(self) -> None:
        """Who says nothing is let go; half a request is nothing."""
        for said in (b"", b"GET / HTTP/1.1\r\nHos"):
            channel, transport = self.open()
            channel.dataReceived(said)
            self.clock.advance(limits.WEB_IDLE_SECONDS - 1)
            self.assertFalse(transport.disconnecting)
            self.clock.pump([1] * 20)
            self.assertTrue(transport.disconnecting or transport.aborting)

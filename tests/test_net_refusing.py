"""Ring 6: who is turned away, and by whom: both sides say what it was, in their own words."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface import implementer

from gossiplog import limits
from gossiplog.errors import ByeCode, HandshakeError, LimitExceededError
from gossiplog.gossip.messages import Bye, Hello
from gossiplog.net.link_factory import LinkFactory
from gossiplog.net.sockets import failing
from gossiplog.net.token_bucket import Bucket
from gossiplog.notices import DialFailed, PeerRejected, PeerUp
from gossiplog.testing.network import Side
from gossiplog.wire.channel import REFUSAL_BYTES, Channel
from tests.netcase import LOCAL, NETWORK, OTHER_NETWORK, Peer, Raw, World, answer
from tests.test_net_names import found
from tests.test_net_protocol import OneNode
from tests.test_net_tcp import TcpCase


class FullTests(OneNode):
    """A node that has no room, and nodes that dial it."""

    def answer_none(self) -> None:
        """Of those that come, nobody's turn comes."""
        admission = self.site.node._driver.admission
        admission._answers = Bucket(1, 1e-9, self.world.reactor.seconds())
        admission._answers.take()

    def other(self, name: str) -> Any:
        """A node that dials this one."""
        other = self.world.site(name)
        other.node.connect(self.address)
        self.world.run(0.2)
        return other

    def reasons(self, site: Any) -> list[str]:
        return [failed.reason for failed in site.of(DialFailed)]

    def test_handshakes(self) -> None:
        """MAX_HANDSHAKES: who has to go is told, with a code, and tries again."""
        self.patch(limits, "MAX_HANDSHAKES", 1)
        self.answer_none()
        first = self.other("first")
        second = self.other("second")
        self.assertEqual(self.reasons(first), ["it has no room for another handshake now"])
        self.assertEqual(self.reasons(second), [])
        self.assertIsInstance(self.rejected().error, LimitExceededError)
        self.assertEqual(first.of(PeerRejected), [])

    def test_turn_that_does_not_come(self) -> None:
        """The listener says that it was its own fault."""
        self.answer_none()
        peer = self.come(Peer(True))
        self.world.run(limits.HANDSHAKE_SECONDS + 1)
        self.assertEqual(peer.channel.take_refusal(), ByeCode.LIMIT)
        self.assertIn("too many handshakes", str(self.rejected().error))

    def test_stopped(self) -> None:
        self.answer_none()
        other = self.other("other")
        self.world.result(self.site.node.stop())
        self.world.run(0.1)
        self.assertEqual(self.reasons(other)[0], "it is being stopped")

    def test_connections_of_a_host(self) -> None:
        """The dialler is told with BYE, and the application of each side hears of it."""
        self.patch(limits, "MAX_CONNECTIONS", 2)
        self.other("first")
        second = self.other("second")
        self.assertEqual(
            self.reasons(second),
            ["it said BYE: 1 nodes of this address are connected, and no more have room"],
        )
        self.assertIsInstance(self.rejected().error, LimitExceededError)

    def test_nobody_else_gets_a_byte(self) -> None:
        """Neither strangers, nor who repeats what was recorded."""
        self.patch(limits, "MAX_HANDSHAKES", 1)
        self.patch(limits, "MAX_STRANGERS", 1)
        self.answer_none()
        first = Channel(True, b"\x01" * 32, NETWORK.key).start()
        strangers = [
            self.come(Raw(data))
            for data in (first[:9], Channel(True, b"\x01" * 32, OTHER_NETWORK.key).start(), b"")
        ]
        recorded = self.come(Raw(first))
        self.world.run(0.2)
        again = self.come(Raw(first))
        self.world.run(0.2)
        self.come(Peer(True))
        self.world.run(limits.HANDSHAKE_SECONDS + 1)
        self.assertEqual(len(recorded.raw), REFUSAL_BYTES)
        for stranger in (*strangers, again):
            self.assertEqual(stranger.raw, b"")
            self.assertIsNotNone(stranger.reason)

    def test_nothing_is_left_of_who_was_told(self) -> None:
        """They hold up no descriptor, even if they do not close."""
        self.patch(limits, "MAX_HANDSHAKES", 1)
        self.answer_none()
        for number in range(20):
            self.come(Peer(True, bytes([number + 1]) * 32))
        self.world.run(0.2)
        self.assertEqual(len(self.site.node._driver._open), 1)

    def test_through_a_wrapper(self) -> None:
        """Such as TLS, whose end may take as long as the other side likes: it is cut off, and not told."""
        self.patch(limits, "MAX_HANDSHAKES", 1)
        self.answer_none()
        self.patch(Side, "loseWriteConnection", None)
        del Side.loseWriteConnection
        peers = [self.come(Peer(True, bytes([number + 1]) * 32)) for number in range(2)]
        self.world.run(0.2)
        self.assertEqual(peers[0].raw, b"")
        self.assertIsNotNone(peers[0].reason)


class AnsweredTests(SynchronousTestCase):
    """What a dialler says of who answers, and does not stay."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("node")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def dial(self, make: Callable[[], Any], seconds: float = 0.2) -> None:
        """Dial somebody who behaves so, for as long."""
        port = self.world.result(answer(self.world.reactor, "tcp:9", make))
        dialer = self.site.node.connect(LOCAL.format(9))
        self.world.run(seconds)
        dialer.stop()
        self.world.result(maybeDeferred(port.stopListening))

    def reason(self, make: Callable[[], Any], seconds: float = 0.2) -> str:
        """What is told of the first connection, and nothing else."""
        self.dial(make, seconds)
        self.assertEqual(self.site.of(PeerRejected), [])
        return str(self.site.of(DialFailed)[0].reason)

    def test_bye_before_hello(self) -> None:
        class Full(Peer):
            def dataReceived(self, data: bytes) -> None:
                before = self.channel.established
                super().dataReceived(data)
                if self.channel.established and not before:
                    self.send(Bye(ByeCode.LIMIT, "the inn is full"))

        self.assertEqual(self.reason(lambda: Full(False)), "it said BYE: the inn is full")

    def test_lost_before_hello(self) -> None:
        class Gone(Peer):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                if self.channel.established:
                    self.transport.abortConnection()

        self.assertEqual(self.reason(lambda: Gone(False)), "the connection was lost before HELLO")

    def test_silent_before_hello(self) -> None:
        self.assertEqual(self.reason(lambda: Peer(False), limits.HANDSHAKE_SECONDS + 1), "no HELLO in time")

    def test_no_version_in_common(self) -> None:
        """An offence is told as such, and once."""

        class Old(Peer):
            def dataReceived(self, data: bytes) -> None:
                before = self.channel.established
                super().dataReceived(data)
                if self.channel.established and not before:
                    self.send(Hello(9, 9, (), "old", bytes(16)))

        self.dial(lambda: Old(False))
        self.assertEqual((len(self.site.of(PeerRejected)), self.site.of(DialFailed)), (1, []))

    def test_code_of_a_later_version(self) -> None:
        class Later(Raw):
            def dataReceived(self, data: bytes) -> None:
                channel = Channel(False, b"\x01" * 32, NETWORK.key)
                channel.receive(data)
                self.transport.write(channel.refuse(77))
                self.transport.loseConnection()

        self.assertEqual(self.reason(Later), "turned away in the handshake, with code 77")


class TlsError(Exception):
    """As OpenSSL raises it."""


TlsError.__module__ = "OpenSSL.SSL"


@implementer(IStreamClientEndpoint)
class Wrapped:
    """A connection that ends as it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def connect(self, protocolFactory: Any) -> Any:
        link: Any = protocolFactory.buildProtocol(None)
        transport: Any = StringTransport()
        transport.abortConnection = lambda: None
        link.makeConnection(transport)
        link.connectionLost(Failure(self.error))
        return succeed(link)


class TransportTests(SynchronousTestCase):
    """What the transport knows is passed on."""

    def setUp(self) -> None:
        self.world = World()
        self.site = self.world.site("node")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_certificate(self) -> None:
        error = TlsError([("SSL routines", "", "certificate verify failed")])
        dialer = self.site.node.connect(Wrapped(error))
        dialer.stop()
        [rejected] = self.site.of(PeerRejected)
        self.assertIsInstance(rejected.error, HandshakeError)
        self.assertEqual(str(rejected.error), "TLS: certificate verify failed")

    def test_of_who_dials_us(self) -> None:
        """A dialler that does not trust our certificate is a stranger that is told of."""
        made: Any = LinkFactory(self.site.node._driver).buildProtocol(None)
        transport: Any = StringTransport()
        transport.abortConnection = lambda: None
        made.makeConnection(transport)
        made.connectionLost(Failure(TlsError([("SSL routines", "", "tlsv1 alert unknown ca")])))
        [rejected] = self.site.of(PeerRejected)
        self.assertEqual(str(rejected.error), "TLS: tlsv1 alert unknown ca")

    def test_words(self) -> None:
        for error, words in [
            (ConnectionDone(), ""),
            (ConnectionLost(), ""),
            (TlsError(), "TLS: the connection broke off"),
            (TlsError(-1, "Unexpected EOF"), "TLS: Unexpected EOF"),
            (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        ]:
            self.assertEqual(failing(Failure(error)), words)


def certificate(name: str) -> bytes:
    """A key, and a certificate for ``name`` signed by it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return text + made.public_bytes(pem)


class TlsTests(TcpCase):
    """Real TLS, with a certificate of our own making."""

    def setUp(self) -> None:
        super().setUp()
        if find_spec("OpenSSL") is None:
            raise SkipTest("pyOpenSSL is not installed")
        self.pem = Path(self.mktemp())
        self.pem.write_bytes(certificate("localhost"))

    async def test_not_verified(self) -> None:
        """Both sides say what it was."""
        _, a = self.site()
        _, b = self.site()
        bound = await a.listen(f"ssl:0:privateKey={self.pem}:interface=127.0.0.1")
        b.connect(f"tls:localhost:{bound.rpartition(':')[2]}")
        dialler = await self.when(b, PeerRejected)
        self.assertIn("TLS: certificate verify failed", str(dialler.error))
        listener = await self.when(a, PeerRejected)
        self.assertIn("TLS: ", str(listener.error))
        self.assertIn("unknown ca", str(listener.error))

    async def test_of_another_name(self) -> None:
        roots = Path(self.mktemp())
        roots.mkdir()
        (roots / "root.pem").write_bytes(self.pem.read_bytes())
        _, a = self.site()
        _, b = self.site()
        bound = await a.listen(f"ssl:0:privateKey={self.pem}:interface=127.0.0.1")
        port = bound.rpartition(":")[2]
        self.patch(socket, "getaddrinfo", lambda *_, **__: found("127.0.0.1"))
        b.connect(f"tls:relay.example:{port}:trustRoots={roots}")
        rejected = await self.when(b, PeerRejected)
        self.assertIn("TLS: the certificate is of somebody else", str(rejected.error))
        up = self.when(b, PeerUp)
        b.connect(f"tls:localhost:{port}:trustRoots={roots}")
        await up

    async def test_to_a_name(self) -> None:
        """``ssl:`` tries all addresses too."""
        _, a = self.site()
        _, b = self.site()
        bound = await a.listen(f"ssl:0:privateKey={self.pem}:interface=127.0.0.1")
        self.patch(socket, "getaddrinfo", lambda *_, **__: found("127.0.0.2", "127.0.0.1"))
        up = self.when(b, PeerUp)
        b.connect(f"ssl:relay.example:{bound.rpartition(':')[2]}")
        await up

"""Ring 6: the links of ``gossiplog.testing`` behave as sockets do, where it matters for back-pressure and closing."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import (
    AlreadyCalled,
    AlreadyCancelled,
    CannotListenError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gossiplog.testing.network import CHUNK_BYTES, WINDOW_BYTES, Side, VirtualReactor
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import World
from tests.netcase import answer, dial


class Notes(Protocol):
    """I note what comes."""

    transport: Any

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.reason: Any = None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self.reason = reason.value


@implementer(IHalfCloseableProtocol)
class HalfNotes(Notes):
    """I go on after the other side closed its direction."""

    ended = False

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None:
        """Never called here."""


@implementer(IPushProducer)
class Source:
    """I note when I am to pause."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


class LinkCase(SynchronousTestCase):
    """Two protocols and the connection between them."""

    def connect(self, server: Any = None, client: Any = None, reactor: VirtualReactor | None = None) -> None:
        self.reactor = reactor or VirtualReactor()
        self.server = server or Notes()
        self.client = client or Notes()
        port = self.successResultOf(answer(self.reactor, "tcp:0", lambda: self.server))
        self.dialled = dial(self.reactor, f"tcp:localhost:{port.getHost().port}", self.client)
        self.reactor.run(1)
        self.successResultOf(self.dialled)

    @property
    def side(self) -> Side:
        """The client's side."""
        side: Side = self.client.transport
        return side


class CarryingTests(LinkCase):
    """Bytes arrive once and in order, and wait where they should."""

    def test_bytes_arrive_in_order(self) -> None:
        self.connect(reactor=VirtualReactor(latency=0.01, cut=lambda size: min(size, 7)))
        self.side.writeSequence([b"0123456789", b"abc"])
        self.server.transport.write(b"back")
        self.reactor.run(1)
        self.assertEqual(self.server.data, b"0123456789abc")
        self.assertLessEqual(max(map(len, self.server.pieces)), 7)
        self.assertEqual(self.client.data, b"back")

    def test_chunks_are_bounded(self) -> None:
        self.connect()
        self.side.write(bytes(10 * CHUNK_BYTES + 1))
        self.reactor.settle()
        self.assertEqual(len(self.server.data), 10 * CHUNK_BYTES + 1)
        self.assertEqual(max(map(len, self.server.pieces)), CHUNK_BYTES)

    def test_who_does_not_read_holds_up_the_writer(self) -> None:
        self.connect()
        source = Source()
        self.side.registerProducer(source, True)
        self.server.transport.pauseProducing()
        self.side.write(bytes(WINDOW_BYTES))
        self.reactor.run(5)
        self.assertEqual((source.calls, self.side.unsent_bytes), ([], 0))
        self.side.write(bytes(Side.bufferSize + 1))
        self.reactor.run(5)
        self.assertEqual((source.calls, self.side.unsent_bytes), (["pause"], Side.bufferSize + 1))
        self.assertEqual(self.server.data, b"")
        self.server.transport.resumeProducing()
        self.reactor.settle()
        self.assertEqual(source.calls, ["pause", "resume"])
        self.assertEqual(len(self.server.data), WINDOW_BYTES + Side.bufferSize + 1)

    def test_frozen_cable(self) -> None:
        self.connect()
        self.side.freeze()
        self.side.write(b"lost?")
        self.reactor.run(3600)
        self.assertEqual((self.server.data, self.server.reason), (b"", None))
        self.side.thaw()
        self.reactor.settle()
        self.assertEqual(self.server.data, b"lost?")


class ClosingTests(LinkCase):
    """Every way a connection ends."""

    def test_orderly_close(self) -> None:
        self.connect()
        self.side.write(bytes(3 * WINDOW_BYTES))
        self.side.loseConnection()
        self.reactor.settle()
        self.assertEqual(len(self.server.data), 3 * WINDOW_BYTES)
        self.assertIsInstance(self.server.reason, ConnectionDone)
        self.assertIsInstance(self.client.reason, ConnectionDone)
        self.assertEqual(self.reactor.sides, set())

    def test_half_close(self) -> None:
        """The other direction goes on; a protocol that knows no half-close is told that the connection is lost."""
        self.connect(server=HalfNotes())
        self.side.write(b"last")
        self.side.loseWriteConnection()
        self.side.write(b" but one")
        self.reactor.settle()
        self.side.write(b"too late")
        self.assertEqual((self.server.data, self.server.ended), (b"last but one", True))
        self.server.transport.write(b"answer")
        self.reactor.settle()
        self.assertEqual((self.client.data, self.client.reason), (b"answer", None))
        self.server.transport.loseConnection()
        self.reactor.settle()
        self.assertIsInstance(self.client.reason, ConnectionDone)
        self.assertIsInstance(self.server.reason, ConnectionDone)

    def test_half_close_of_one_that_knows_none(self) -> None:
        self.connect()
        self.side.loseWriteConnection()
        self.reactor.settle()
        self.assertIsInstance(self.server.reason, ConnectionDone)
        self.assertIsInstance(self.client.reason, ConnectionDone)

    def test_abort(self) -> None:
        self.connect()
        self.side.write(b"never read")
        self.side.abortConnection()
        self.assertIsNone(self.client.reason)
        self.reactor.settle()
        self.assertIsInstance(self.client.reason, ConnectionAborted)
        self.assertIsInstance(self.server.reason, ConnectionLost)

    def test_close_with_unread_bytes_is_a_reset(self) -> None:
        """What TCP does, and what may cost the other side the last words it was sent."""
        self.connect()
        self.server.transport.pauseProducing()
        self.client.transport.pauseProducing()
        self.server.transport.write(b"last words")
        self.side.write(b"unread")
        self.reactor.settle()
        self.server.transport.loseConnection()
        self.reactor.settle()
        self.assertIsInstance(self.client.reason, ConnectionLost)
        self.assertEqual(self.client.data, b"")

    def test_producer_is_stopped(self) -> None:
        self.connect()
        source = Source()
        self.side.registerProducer(source, True)
        self.server.transport.abortConnection()
        self.reactor.settle()
        self.assertEqual(source.calls, ["stop"])

    def test_protocol_that_raises_loses_its_connection(self) -> None:
        self.connect()
        self.server.dataReceived = lambda data: 1 / 0
        self.side.write(b"x")
        self.reactor.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsInstance(self.server.reason, ConnectionLost)
        self.assertIsInstance(self.client.reason, ConnectionDone)


class LineTests(LinkCase):
    """Bytes take the time that the simulator's lines take."""

    def test_time_of_a_line(self) -> None:
        """Delay and bandwidth; what is on its way fills the window, so that a far line carries a window a round."""
        self.connect()
        self.side.way.quality = Quality(delay=0.5, jitter=0.0, bytes_per_second=1000.0)
        self.side.write(bytes(1000))
        self.reactor.run(1.4)
        self.assertEqual(self.server.data, b"")
        self.reactor.run(0.2)
        self.assertEqual(len(self.server.data), 1000)

    def test_line_that_breaks(self) -> None:
        """Both sides hear of it, in whatever is being said."""
        broken = 0
        for number in range(20):
            reactor = VirtualReactor()
            reactor.net.default = Quality(0.0, 0.0, lasts=10.0)
            reactor.net.random.seed(number)
            self.connect(reactor=reactor)
            reactor.run(10.0)
            if self.client.reason is not None:
                broken += 1
                self.assertIsInstance(self.client.reason, ConnectionLost)
                self.assertIsInstance(self.server.reason, ConnectionLost)
                self.assertEqual((reactor.sides, reactor.net.links), (set(), []))
        self.assertTrue(5 < broken < 20, broken)

    def test_partition(self) -> None:
        """Connections across it break, and attempts are not answered."""
        net = Net(World(0))
        machines: dict[str, VirtualReactor] = {}
        for name in ("ann", "bob"):
            machines[name] = VirtualReactor(net=net, name=name, machines=machines)
        ann, bob = machines.values()
        self.successResultOf(answer(bob, "tcp:1", lambda: Notes()))
        client = Notes()
        dial(ann, "tcp:bob:1", client)
        net.world.run(1.0)
        net.partition([ann], [bob])
        late = dial(ann, "tcp:bob:1:timeout=5", Notes())
        net.world.run(10.0)
        self.assertIsInstance(client.reason, ConnectionLost)
        self.failureResultOf(late, TimeoutError)
        net.heal()
        again = dial(ann, "tcp:bob:1", Notes())
        net.world.run(20.0)
        self.successResultOf(again)


class ReactorTests(SynchronousTestCase):
    """Ports, attempts and calls."""

    def test_calls(self) -> None:
        """What was made or cancelled cannot be changed, as with Twisted's own."""
        reactor, made = VirtualReactor(), list[str]()
        call = reactor.callLater(1, made.append, "later")
        call.delay(1)
        reactor.run(1.5)
        self.assertEqual((made, call.getTime(), reactor.getDelayedCalls()), ([], 2.0, [call]))
        call.reset(1)
        reactor.run(1)
        self.assertEqual((made, reactor.getDelayedCalls()), (["later"], []))
        self.assertRaises(AlreadyCalled, call.cancel)
        gone = reactor.callLater(1, made.append, "never")
        gone.cancel()
        self.assertRaises(AlreadyCancelled, gone.reset, 1)

    def test_refused(self) -> None:
        reactor = VirtualReactor()
        attempt = dial(reactor, "tcp:localhost:1", Notes())
        reactor.settle()
        self.failureResultOf(attempt, ConnectionRefusedError)

    def test_unreachable(self) -> None:
        reactor = VirtualReactor()
        reactor.unreachable.add(1)
        attempt = dial(reactor, "tcp:localhost:1:timeout=30", Notes())
        reactor.run(29.9)
        self.assertNoResult(attempt)
        reactor.run(0.2)
        self.failureResultOf(attempt, TimeoutError)

    def test_cancelled(self) -> None:
        reactor = VirtualReactor()
        attempt = dial(reactor, "tcp:localhost:1", Notes())
        attempt.cancel()
        self.failureResultOf(attempt, ConnectingCancelledError)
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_port_in_use(self) -> None:
        reactor = VirtualReactor()
        port = self.successResultOf(answer(reactor, "tcp:5", Notes))
        self.failureResultOf(answer(reactor, "tcp:5", Notes), CannotListenError)
        port.stopListening()
        self.successResultOf(answer(reactor, "tcp:5", Notes))

    def test_time_stops_at_everything_due(self) -> None:
        reactor = VirtualReactor()
        seen: list[float] = []

        def again() -> None:
            seen.append(reactor.seconds())
            if len(seen) < 3:
                reactor.callLater(1, again)

        reactor.callLater(1, again)
        reactor.run(10)
        self.assertEqual((seen, reactor.seconds()), ([1.0, 2.0, 3.0], 10.0))

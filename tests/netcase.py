"""What the tests of the Twisted layer share: nodes in virtual time, and peers that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from gossiplog import Network, Node, Store
from gossiplog.errors import PeerError
from gossiplog.gossip.messages import Bye, Hello, Item, Message, Ping, Pong, Range, RangeKind, Ranges
from gossiplog.log.keys import Keypair
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.testing.chain import Chain
from gossiplog.testing.network import VirtualReactor, VirtualThread
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode, encode

NETWORK = Network.from_key(bytes(range(32)))
OTHER_NETWORK = Network.from_key(bytes(range(1, 33)))
LOCAL = "tcp:127.0.0.1:{}"
LISTEN = "tcp:0:interface=127.0.0.1"


class Peer(Protocol):
    """I speak the protocol, and say nothing on my own but what the handshake needs."""

    def __init__(self, initiator: bool, secret: bytes = b"\x07" * 32, network: Network = NETWORK) -> None:
        self.channel = Channel(initiator, secret, network.key)
        self.raw = b""
        self.got: list[Message] = []
        self.error: PeerError | None = None
        self.reason: Failure | None = None
        self.answers_pings = True
        self.lost: Deferred[None] = Deferred()
        self._waiting: list[tuple[Callable[[Message], bool], Deferred[Message]]] = []

    @property
    def bye(self) -> Bye | None:
        """The BYE that came."""
        return next((message for message in self.got if isinstance(message, Bye)), None)

    def of(self, kind: type[Any]) -> list[Any]:
        """The messages of one type that came."""
        return [message for message in self.got if isinstance(message, kind)]

    def when(self, kind: type[Any]) -> Deferred[Message]:
        """Fire with the next message of a type."""
        waiting: Deferred[Message] = Deferred()
        self._waiting.append((lambda message: isinstance(message, kind), waiting))
        return waiting

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.frame(encode(message))

    def frame(self, body: bytes) -> None:
        self.transport.write(self.channel.send(body))

    def hello(self, **changes: Any) -> None:
        """Say HELLO, with our instance number."""
        self.send(Hello(1, 1, (), "test", bytes(16))._replace(**changes))

    def reconcile(self, *items: Item) -> None:
        """Say what we hold, which is nothing unless told; from then on the node may send its own logs."""
        self.send(Ranges(0, (Range(b"", RangeKind.LIST, items=items),)))

    def connectionMade(self) -> None:
        self.transport.write(self.channel.start())

    def dataReceived(self, data: bytes) -> None:
        self.raw += data
        try:
            frames = self.channel.receive(data)
        except PeerError as error:
            self.error = error
            self.transport.loseConnection()
            return
        self.transport.write(self.channel.outgoing())
        for frame in frames:
            message = decode(frame)
            self.got.append(message)
            if isinstance(message, Ping) and self.answers_pings:
                self.send(Pong(message.token, b""))
            waiting, self._waiting = self._waiting, []
            for wanted, result in waiting:
                if wanted(message):
                    result.callback(message)
                else:
                    self._waiting.append((wanted, result))

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.reason = reason
        self.lost.callback(None)


class Raw(Protocol):
    """I send some bytes and note what comes."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.raw = b""
        self.reason: Failure | None = None
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.data)

    def dataReceived(self, data: bytes) -> None:
        self.raw += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.reason = reason
        self.lost.callback(None)


def factory(protocol: Any) -> Factory:
    """A factory of this one protocol."""
    return _factory(lambda: protocol)


def _factory(make: Callable[[], Any]) -> Factory:
    made = Factory()
    made.noisy = False
    made.buildProtocol = lambda addr: make()  # type: ignore[method-assign,assignment]
    return made


def dial(reactor: Any, address: str, protocol: Any) -> Deferred[Any]:
    """Connect a protocol to an address."""
    return clientFromString(reactor, address).connect(factory(protocol))


def answer(reactor: Any, endpoint: str, make: Callable[[], Any]) -> Deferred[Any]:
    """Listen; each connection gets a protocol of its own."""
    return serverFromString(reactor, endpoint).listen(_factory(make))


class Author(Chain):
    """I am an author who is not at any node."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__(Keypair(bytes([seed]) * 32))
        self.pair, self.key = self.keypair, self.author


class Site:
    """I am one node in virtual time, with its store and everything it told."""

    def __init__(self, world: World, name: str, network: Network = NETWORK) -> None:
        self.world = world
        self.name = name
        self.network = network
        self.backend = MemoryBackend(name)
        self.port = 0
        self.start()

    def start(self) -> None:
        """Open the store, run the node; again after :meth:`stop`."""
        self.store = Store(lambda: Logs(self.backend), self.world.reactor, self.name, thread=VirtualThread)
        assert isinstance(self.store._core.thread, VirtualThread)
        self.disk = self.store._core.thread.disk
        self.node = Node(
            self.world.reactor,
            self.store,
            network=self.network,
            agent=self.name,
            random=self.world.random.random,
        )
        self.told: list[Any] = []
        self.node.subscribe(self.told.append)

    def listen(self) -> str:
        """Listen, on the same port as before; returns the address."""
        address: str = self.world.result(self.node.listen(f"tcp:{self.port}"))
        self.port = int(address.rpartition(":")[2])
        return address

    def stop(self) -> None:
        """Stop the node, close the store; what it holds is kept."""
        self.world.result(self.node.stop())
        kept = self.backend.snapshot()
        self.world.result(self.store.close())
        self.backend = kept

    def append(self, *payloads: bytes, name: str = "default") -> range:
        """Append to a writer of this node."""
        writer = self.world.result(self.store.writer(name))
        done: range = self.world.result(writer.append_many(payloads))
        return done

    def author(self, name: str = "default") -> bytes:
        """The key of a writer of this node."""
        key: bytes = self.world.result(self.store.writer(name)).author
        return key

    def payloads(self, author: bytes) -> list[bytes]:
        """What the store holds of an author."""

        async def read() -> list[bytes]:
            return [entry.payload async for entry in self.store.read(author)]

        return list(self.world.result(Deferred.fromCoroutine(read())))

    def of(self, kind: type[Any]) -> list[Any]:
        """The notices of one type so far."""
        return [notice for notice in self.told if isinstance(notice, kind)]


class World:
    """I am a virtual reactor with nodes on it."""

    def __init__(self, seed: int = 0, latency: float = 0.01) -> None:
        self.random = Random(seed)
        self.reactor = VirtualReactor(latency)
        self.sites: list[Site] = []

    def site(self, name: str, network: Network = NETWORK) -> Site:
        """One more node."""
        site = Site(self, name, network)
        self.sites.append(site)
        return site

    def run(self, seconds: float = 2.0) -> None:
        """Let time pass."""
        self.reactor.run(seconds)

    def result(self, waiting: Any, seconds: float = 60.0) -> Any:
        """Let time pass until this is done, and return what came of it."""
        outcome: list[Any] = []
        waiting.addBoth(outcome.append)
        end = self.reactor.seconds() + seconds
        while not outcome and self.reactor.world.step(end):
            self.reactor.settle()
        if not outcome:
            raise AssertionError(f"nothing came of it in {seconds} s")
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def peer(self, site: Site, **keywords: Any) -> Peer:
        """Connect somebody who does as told to a site that listens."""
        peer = Peer(True, **keywords)
        self.result(dial(self.reactor, LOCAL.format(site.port), peer))
        self.run(0.1)
        return peer

    def close(self) -> list[Any]:
        """Stop everything; returns what is left and should not be: timers, connections, ports."""
        for site in self.sites:
            self.result(site.node.stop())
            self.result(site.store.close())
        self.run(1.0)
        return [*self.reactor.getDelayedCalls(), *self.reactor.sides, *self.reactor.ports]

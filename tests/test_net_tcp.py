"""Ring 7: real TCP on port 0, SQLite, the real reactor."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gossiplog import Node, Store, limits, open_store
from gossiplog.errors import BadSignatureError, ByeCode, HandshakeError, WrongNetworkError, WrongProtocolError
from gossiplog.gossip.messages import Hello, Ping, Want, WantItem
from gossiplog.log.segment import Segment
from gossiplog.notices import CaughtUp, DialFailed, NewEntries, Notice, PeerDown, PeerRejected, PeerUp
from gossiplog.wire.channel import Channel
from tests.netcase import LISTEN, NETWORK, OTHER_NETWORK, Author, Peer, Raw, answer, dial


class TcpCase(TestCase):
    """Nodes with stores on disk; everything is stopped in order at the end."""

    def setUp(self) -> None:
        self.opened: list[tuple[Store, Node]] = []
        self.told: dict[Node, list[Notice]] = {}

    async def tearDown(self) -> None:
        for store, node in self.opened:
            await node.stop()
            await store.close()
        await deferLater(reactor, 0)  # type: ignore[arg-type]

    def site(self, path: str | None = None, network: Any = NETWORK) -> tuple[Store, Node]:
        store = open_store(path or self.mktemp(), reactor)
        node = Node(reactor, store, network=network)
        self.opened.append((store, node))
        self.told[node] = []
        node.subscribe(self.told[node].append)
        return store, node

    def of(self, node: Node, kind: type[Any]) -> list[Any]:
        return [notice for notice in self.told[node] if isinstance(notice, kind)]

    def when(self, node: Node, kind: type[Any], count: int = 1) -> Deferred[Any]:
        """Fire with the notice of a type, the ``count``-th from the beginning."""
        seen = self.of(node, kind)
        if len(seen) >= count:
            done: Deferred[Any] = Deferred()
            done.callback(seen[count - 1])
            return done
        return node.when(kind, where=lambda _: len(self.of(node, kind)) >= count)

    async def held(self, node: Node, author: bytes, seq: int) -> None:
        """Wait until a node holds an author up to ``seq``."""
        while node.store.clock.seq(author) < seq:
            await node.when(NewEntries)

    async def payloads(self, store: Store, author: bytes) -> list[bytes]:
        return [entry.payload async for entry in store.read(author)]


class StrangerTests(TcpCase):
    """Whoever knocks and is no node of our network."""

    async def reject(self, data: bytes) -> Exception:
        """Send this to a listening node; returns why it was rejected, having checked that nothing was said."""
        _, node = self.site()
        address = await node.listen(LISTEN)
        rejected = self.when(node, PeerRejected)
        stranger = Raw(data)
        await dial(reactor, address, stranger)
        notice = await rejected
        await stranger.lost
        self.assertEqual(stranger.raw, b"")
        self.assertEqual(node.peers, [])
        error: Exception = notice.error
        return error

    async def test_http(self) -> None:
        error = await self.reject(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIsInstance(error, WrongProtocolError)
        self.assertIn("HTTP", str(error))

    async def test_tls(self) -> None:
        error = await self.reject(bytes.fromhex("1603010200010001fc0303") + bytes(500))
        self.assertIn("TLS", str(error))

    async def test_random_bytes(self) -> None:
        error = await self.reject(b"\x99" + os.urandom(100_000))
        self.assertIsInstance(error, WrongProtocolError)

    async def test_another_version_of_the_handshake(self) -> None:
        error = await self.reject(b"\x02" + Channel(True, b"\x01" * 32, NETWORK.key).start()[1:])
        self.assertIn("version", str(error))

    async def test_another_network(self) -> None:
        error = await self.reject(Channel(True, b"\x01" * 32, OTHER_NETWORK.key).start())
        self.assertIsInstance(error, WrongNetworkError)

    async def test_two_nodes_of_different_networks(self) -> None:
        _, a = self.site()
        _, b = self.site(network=OTHER_NETWORK)
        address = await a.listen(LISTEN)
        rejected = self.when(a, PeerRejected)
        failed = self.when(b, DialFailed, 2)
        b.connect(address)
        self.assertIsInstance((await rejected).error, WrongNetworkError)
        notice = await failed
        self.assertEqual(notice.address, address)
        self.assertIn("network", notice.reason)
        self.assertEqual(self.of(a, PeerUp) + self.of(b, PeerUp), [])

    async def test_dialling_a_server_of_another_kind(self) -> None:
        _, node = self.site()
        port = await answer(reactor, LISTEN, lambda: Raw(b"SSH-2.0-OpenSSH_9.6\r\n"))
        address = f"tcp:127.0.0.1:{port.getHost().port}"
        rejected = self.when(node, PeerRejected, 2)
        node.connect(address)
        notice = await rejected
        self.assertEqual(notice.address, address)
        self.assertIn("SSH", str(notice.error))
        self.assertIsInstance(notice.error, HandshakeError)
        await port.stopListening()


class OffenceTests(TcpCase):
    """What a member does wrong, over real sockets: the code arrives, the state stays."""

    async def member(self, node: Node) -> Peer:
        peer = Peer(True)
        await dial(reactor, await node.listen(LISTEN), peer)
        if not peer.of(Hello):
            await peer.when(Hello)
        up = self.when(node, PeerUp)
        peer.hello()
        await up
        return peer

    async def test_bad_signature(self) -> None:
        store, node = self.site()
        peer = await self.member(node)
        author = Author()
        good, bad = author.write(b"1")[0], author.write(b"2")[0]
        peer.send(good, bad._replace(signature=bytes(64)))
        for number in range(1000):
            peer.send(Ping(number, bytes(16)))
        await peer.lost
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.BAD_SIGNATURE)
        [rejected] = self.of(node, PeerRejected)
        self.assertIsInstance(rejected.error, BadSignatureError)
        await node.stop()
        self.assertEqual(await self.payloads(store, author.key), [b"1"])

    async def test_bye_arrives_although_the_peer_is_sending(self) -> None:
        """Megabytes are on their way to us when we say BYE: closing at once would be a reset, and lose it."""
        _, node = self.site()
        peer = await self.member(node)
        transport: Any = peer.transport
        for number in range(20_000):
            peer.send(Ping(number, bytes(16)))
        await deferLater(reactor, 0)  # type: ignore[arg-type]
        await node.stop()
        await peer.lost
        assert peer.bye is not None
        self.assertEqual((peer.bye.code, peer.bye.reason), (ByeCode.STOPPING, "stopping"))
        self.assertTrue(hasattr(type(transport), "loseWriteConnection"))

    async def test_oversized_frame(self) -> None:
        _, node = self.site()
        peer = await self.member(node)
        sender: Any = peer.channel._sender
        record = sender.encrypt((1 << 31).to_bytes(4, "big") + bytes(1000))
        transport: Any = peer.transport
        transport.write(len(record).to_bytes(2, "big") + record)
        await peer.lost
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.TOO_LARGE)

    async def test_no_common_version(self) -> None:
        _, node = self.site()
        peer = Peer(True)
        await dial(reactor, await node.listen(LISTEN), peer)
        peer_hello = peer.when(Hello) if not peer.of(Hello) else None
        if peer_hello is not None:
            await peer_hello
        peer.hello(low=7, high=8)
        await peer.lost
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.VERSION)
        self.assertEqual(self.of(node, PeerUp), [])


class TogetherTests(TcpCase):
    """Nodes with each other."""

    async def test_backlog_live_and_verify(self) -> None:
        """Eight megabytes one way, some the other, news meanwhile; both hold the same afterwards."""
        a_store, a = self.site()
        b_store, b = self.site()
        writer, other = await a_store.writer(), await b_store.writer()
        for _ in range(8):
            await writer.append_many([os.urandom(1000)] * 1000)
        await other.append_many([bytes(100_000)] * 20)
        b.connect(await a.listen(LISTEN))
        appends = []
        for number in range(200):
            appends.append(writer.append(b"%d" % number))
            if number % 20 == 0:
                await appends[-1]
        await gatherResults(appends)
        await self.held(b, writer.author, 8200)
        await self.held(a, other.author, 20)
        await self.when(b, CaughtUp)
        await b.when_in_sync(b.peers[0])
        self.assertEqual(a_store.clock, b_store.clock)
        for store in (a_store, b_store):
            report = await store.verify()
            self.assertEqual((report.damages, report.entries), ([], 8220))
        last = [entry.payload async for entry in b_store.read(writer.author, first=8001)]
        self.assertEqual(last, [b"%d" % number for number in range(200)])

    async def test_both_dial_at_once(self) -> None:
        _, a = self.site()
        _, b = self.site()
        addresses = await a.listen(LISTEN), await b.listen(LISTEN)
        a.connect(addresses[1])
        b.connect(addresses[0])
        await gatherResults([self.when(a, PeerUp), self.when(b, PeerUp)])
        while len(a._driver._open) > 1 or len(b._driver._open) > 1 or not (a.peers and b.peers):
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        lower = min(a, b, key=lambda node: node.id)
        self.assertEqual([peer.dialled for peer in lower.peers], [True])
        await a.when_in_sync(a.peers[0])
        await b.when_in_sync(b.peers[0])

    async def test_chain(self) -> None:
        a_store, a = self.site()
        _, b = self.site()
        c_store, c = self.site()
        writer = await a_store.writer()
        await writer.append_many([b"old"] * 100)
        b.connect(await a.listen(LISTEN))
        c.connect(await b.listen(LISTEN))
        await self.held(c, writer.author, 100)
        for number in range(50):
            await writer.append(b"%d" % number)
        await self.held(c, writer.author, 150)
        self.assertEqual((await self.payloads(c_store, writer.author))[100:], [b"%d" % n for n in range(50)])
        back = await c_store.writer()
        await back.append(b"back")
        await self.held(a, back.author, 1)

    async def test_restart(self) -> None:
        """The listener goes away and comes back on its port: the dialler finds it, and both are even again."""
        path = self.mktemp()
        a_store, a = self.site(path)
        b_store, b = self.site()
        writer = await a_store.writer()
        await writer.append(b"1")
        address = await a.listen(LISTEN)
        b.connect(address)
        await self.held(b, writer.author, 1)
        await a.stop()
        await a_store.close()
        await self.when(b, PeerDown)
        other = await b_store.writer()
        await other.append(b"meanwhile")
        again_store, again = self.site(path)
        self.assertEqual(again.id, a.id)
        await (await again_store.writer()).append(b"2")
        await again.listen(f"{address.replace('127.0.0.1:', '')}:interface=127.0.0.1")
        await self.held(b, writer.author, 2)
        await self.held(again, other.author, 1)
        self.assertEqual(len(self.of(b, PeerUp)), 2)

    async def test_stop_loses_nothing(self) -> None:
        """Stopped in the middle of a catch-up, again and again: a gap-free prefix each time, all of it at the end."""
        a_store, a = self.site()
        writer = await a_store.writer()
        for _ in range(6):
            await writer.append_many([bytes(60_000)] * 10)
        address = await a.listen(LISTEN)
        path = self.mktemp()
        seq = 0
        for _ in range(20):
            store, node = self.site(path)
            self.assertEqual(store.clock.seq(writer.author), seq)
            node.connect(address)
            while store.clock.seq(writer.author) == seq < 60:
                await node.when(NewEntries)
            await node.stop()
            seq = store.clock.seq(writer.author)
            self.assertEqual((await store.verify()).damages, [])
            await store.close()
            if seq == 60:
                break
        self.assertEqual(seq, 60)

    async def test_peer_that_breaks_off(self) -> None:
        """A real reset in the middle of a transfer."""
        a_store, a = self.site()
        writer = await a_store.writer()
        await writer.append_many([bytes(60_000)] * 100)
        b_store, b = self.site()
        b.connect(await a.listen(LISTEN))
        await b.when(NewEntries)
        [link] = b._driver._open
        sock = link.transport.getHandle()  # type: ignore[union-attr]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        link.transport.abortConnection()  # type: ignore[union-attr]
        await self.held(b, writer.author, 100)
        self.assertEqual((await b_store.verify()).damages, [])
        self.assertEqual(len(self.of(b, PeerUp)), 2)


class SilentTests(TcpCase):
    """A peer that does nothing more."""

    async def test_peer_that_never_reads(self) -> None:
        """Its backlog stays on our disk, and stopping takes no longer than CLOSE_SECONDS."""
        self.patch(limits, "CLOSE_SECONDS", 0.2)
        store, node = self.site()
        writer = await store.writer()
        await writer.append_many([bytes(100_000)] * 100)
        peer = Peer(True)
        await dial(reactor, await node.listen(LISTEN), peer)
        if not peer.of(Hello):
            await peer.when(Hello)
        peer.hello()
        peer.reconcile()
        await self.when(node, PeerUp)
        transport: Any = peer.transport
        transport.pauseProducing()
        peer.send(Want((WantItem(writer.author, 1),)))
        [link] = node._driver._open
        while not link.paused:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        ours: Any = link.transport
        self.assertLess(
            len(ours.dataBuffer) + ours._tempDataLen,
            2 * limits.OUTPUT_WINDOW_BYTES + limits.MAX_SEGMENT_BYTES,
        )
        await node.stop()
        transport.resumeProducing()
        await peer.lost
        self.assertLess(len(peer.of(Segment)), 100)

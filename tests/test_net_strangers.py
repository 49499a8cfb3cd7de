"""Ring 6: peers that are not who they seem, or are silent at the wrong moment, and a node in virtual time.

Over real sockets: ``test_net_strangers_tcp``.
"""

from __future__ import annotations

import json
from functools import partial
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_scalarmult_base, crypto_scalarmult_ed25519_base_noclamp
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gossiplog import limits
from gossiplog.errors import BadSignatureError, ByeCode, ForkedWriterError, InvalidKeyError
from gossiplog.gossip.messages import Have, HaveItem, Hello, Ping, Want
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id, head_message
from gossiplog.log.segment import Head, Segment, build
from gossiplog.notices import AuthorForked, DialFailed, PeerDown, PeerRejected, PeerUp
from gossiplog.wire.codec import encode
from tests.netcase import LOCAL, Author, Peer, Raw, Site, World, answer, dial
from tests.test_net_protocol import HTTP, OneNode

SIGNATURES = Path(__file__).parent / "vectors" / "log_signatures.json"
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group that signatures are in."""


class SilenceTests(OneNode):
    """Members who stop, or dawdle, after they were let in."""

    def member(self, secret: bytes = b"\x07" * 32, agent: str = "test") -> Peer:
        """One who has greeted."""
        peer = self.world.peer(self.site, secret=secret)
        peer.hello(agent=agent)
        self.world.run(0.1)
        return peer

    def test_answers_nothing_after_hello(self) -> None:
        """It has both PING times; meanwhile what it claimed is taken from another, and nothing waits for it."""
        author = Author()
        [segment] = author.write(b"entry")
        mute = self.member()
        mute.answers_pings = False
        mute.send(Have((HaveItem(0, 1, author.key),)))
        self.world.run(1)
        self.assertEqual(len(mute.of(Want)), 1)
        other = self.member(secret=b"\x08" * 32, agent="other")
        other.send(Have((HaveItem(0, 1, author.key),)))
        self.world.run(2 * limits.STALL_SECONDS)
        self.assertEqual([item.author for want in other.of(Want) for item in want.items], [author.key])
        other.send(segment)
        self.world.run(1)
        self.assertEqual(self.site.payloads(author.key), [b"entry"])
        self.site.append(b"own")
        self.world.run(limits.PING_SECONDS + limits.PING_DEADLINE_SECONDS)
        self.assertEqual(len(mute.of(Ping)), 1)
        assert mute.bye is not None
        self.assertEqual(mute.bye.code, ByeCode.TIMEOUT)
        self.assertEqual([peer.agent for peer in self.site.node.peers], ["other"])

    def test_hello_byte_by_byte(self) -> None:
        """The handshake done in time, then a frame that never ends: bytes are no greeting."""
        peer = self.world.peer(self.site)
        sent = peer.channel.send(encode(Hello(1, 1, (), "slow", bytes(16))))
        for byte in sent[: int(limits.HANDSHAKE_SECONDS) + 5]:
            peer.transport.write(bytes([byte]))
            self.world.run(0.95)
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.TIMEOUT)
        self.assertEqual(self.site.of(PeerUp), [])

    def test_entries_byte_by_byte(self) -> None:
        """A peer that is always about to finish keeps its session, and loses the author to whoever has it too."""
        author = Author()
        [segment] = author.write(bytes(1000))
        slow = self.member()
        slow.send(Have((HaveItem(0, 1, author.key),)))
        self.world.run(1)
        sent = slow.channel.send(encode(segment))
        quick = self.member(secret=b"\x08" * 32)
        quick.send(Have((HaveItem(0, 1, author.key),)))
        for byte in sent[:60]:
            slow.transport.write(bytes([byte]))
            self.world.run(1)
        self.assertGreater(len(quick.of(Want)), 0)
        self.assertEqual(self.site.of(PeerDown), [])
        quick.send(segment)
        self.world.run(1)
        self.assertEqual(self.site.store.clock.seq(author.key), 1)

    def test_half_open(self) -> None:
        """The peer's machine is gone and comes back: its new connection is served before the old one is missed."""
        peer = self.member()
        peer.transport.freeze()
        self.world.run(1)
        again = Peer(True)
        self.world.result(dial(self.world.reactor, self.address, again))
        self.world.run(0.1)
        again.hello(instance=b"\1" * 16)
        self.world.run(0.1)
        self.assertEqual([down.code for down in self.site.of(PeerDown)], [ByeCode.DUPLICATE])
        self.assertEqual(len(self.site.node.peers), 1)
        author = Author()
        again.send(*author.write(b"entry"))
        self.world.run(1)
        self.assertEqual(self.site.payloads(author.key), [b"entry"])
        peer.transport.thaw()
        peer.transport.abortConnection()


class OwnLogTests(OneNode):
    """Entries of a local writer that come from a peer."""

    def setUp(self) -> None:
        """A writer with two entries, and a peer."""
        super().setUp()
        self.site.append(b"one", b"two")
        self.author = self.site.author()
        self.peer = self.world.peer(self.site)
        self.peer.hello()
        self.peer.reconcile()
        self.world.run(1)

    def head(self) -> Head:
        """How far the writer is."""
        head = self.site.store.clock.head(self.author)
        assert head is not None
        return head

    def forged(self, seed: bytes, after: Head, *payloads: bytes) -> Segment:
        """What somebody with this seed would sign in the writer's name."""
        [segment], _ = build(Keypair(seed), after, [encode_body(9, payload) for payload in payloads])
        return segment._replace(author=self.author)

    def test_without_the_seed(self) -> None:
        """An offence; the writer goes on."""
        self.peer.send(self.forged(b"\x09" * 32, self.head(), b"forged"))
        self.world.run(1)
        assert self.peer.bye is not None
        self.assertEqual(self.peer.bye.code, ByeCode.BAD_SIGNATURE)
        [rejected] = self.site.of(PeerRejected)
        self.assertIsInstance(rejected.error, BadSignatureError)
        self.assertEqual(self.site.append(b"three"), range(3, 4))
        self.assertEqual(self.site.payloads(self.author), [b"one", b"two", b"three"])

    def test_with_the_seed_and_what_follows(self) -> None:
        """It is ours, as far as anybody can tell: the next append goes behind it."""
        seed = self.site.backend.secrets.seed("default")
        assert seed is not None
        self.peer.send(self.forged(seed, self.head(), b"stolen"))
        self.world.run(1)
        self.assertEqual(self.site.append(b"four"), range(4, 5))
        self.assertEqual(self.site.payloads(self.author), [b"one", b"two", b"stolen", b"four"])
        self.assertEqual(self.site.of(AuthorForked), [])
        self.assertIsNone(self.peer.bye)

    def test_with_the_seed_and_another_past(self) -> None:
        """That is a fork: told, proven, and the writer signs nothing more; other logs and the peer go on."""
        seed = self.site.backend.secrets.seed("default")
        assert seed is not None
        start = Head(0, genesis_id(self.author))
        self.peer.send(self.forged(seed, start, b"one", b"stolen", b"three"))
        self.world.run(1)
        [forked] = self.site.of(AuthorForked)
        self.assertEqual(forked.proof.author, self.author)
        self.assertRaises(ForkedWriterError, self.site.append, b"three")
        self.assertEqual(self.site.payloads(self.author), [b"one", b"two"])
        self.assertIsNone(self.peer.bye)
        self.assertEqual(self.site.append(b"else", name="other"), range(1, 2))
        stranger = Author()
        self.peer.send(*stranger.write(b"entry"))
        self.world.run(1)
        self.assertEqual(self.site.payloads(stranger.key), [b"entry"])


class KeyTests(OneNode):
    """Signatures that anybody can make, if the rule is not applied, on a segment that is right in all else."""

    def refused(self, segment: Segment) -> None:
        """It ends the session, and nothing is held of its author."""
        peer = self.world.peer(self.site, secret=self.world.random.randbytes(32))
        peer.hello()
        peer.send(segment)
        self.world.run(0.5)
        assert peer.bye is not None, segment.author.hex()
        self.assertEqual(peer.bye.code, ByeCode.BAD_SIGNATURE)
        self.assertNotIn(segment.author, self.site.store.clock)

    def test_keys_of_small_order(self) -> None:
        """Every encoding of them: with R = [S]B and a hash that is a multiple of eight the equation holds."""
        keys = {
            bytes.fromhex(case["author"]) for case in json.loads(SIGNATURES.read_text()) if is_small(case)
        }
        self.assertEqual(len(keys), 14)
        scalar = (5).to_bytes(32, "little")
        point = crypto_scalarmult_ed25519_base_noclamp(scalar)
        for key in sorted(keys):
            for number in range(1000):
                body = encode_body(number, b"anybody's")
                start = genesis_id(key)
                entry_id = sha256(start + sha256(body).digest()).digest()
                signed = sha512(point + key + head_message(1, entry_id)).digest()
                if int.from_bytes(signed, "little") % ORDER % 8 == 0:
                    break
            segment = build(Keypair(bytes(32)), Head(0, start), [body])[0][0]
            self.refused(segment._replace(author=key, signature=point + scalar))

    def test_signature_that_was_changed_and_still_fits(self) -> None:
        """S + L is the same number to whoever reduces it."""
        [segment] = Author().write(b"entry")
        point, scalar = segment.signature[:32], int.from_bytes(segment.signature[32:], "little")
        changed = point + (scalar + ORDER).to_bytes(32, "little")
        self.refused(segment._replace(signature=changed))
        peer = self.world.peer(self.site, secret=b"\x08" * 32)
        peer.hello()
        peer.send(segment)
        self.world.run(0.5)
        self.assertEqual(self.site.store.clock.seq(segment.author), 1)

    def test_node_id_that_is_not_canonical(self) -> None:
        """A ban would concern one of the two ids of a secret."""
        peer = Peer(True)
        handshake = peer.channel._handshake
        node = crypto_scalarmult_base(b"\x07" * 32)
        other = node[:31] + bytes([node[31] | 0x80])
        handshake._write_static = lambda: handshake._symmetric.encrypt_and_hash(other)  # type: ignore[method-assign]
        self.come(peer)
        self.world.run(0.5)
        self.assertEqual(peer.got, [])
        self.assertIsNotNone(peer.reason)
        self.assertIn("canonical", str(self.rejected().error))
        self.assertRaises(InvalidKeyError, self.site.node.unban, other)
        self.assertRaises(InvalidKeyError, self.site.node.unban, "127.0.0.1")
        self.assertFalse(self.site.node.unban(node))


def is_small(case: dict[str, str]) -> bool:
    """Whether a vector is about an author's key of small order."""
    return "small-order A" in case["name"]


class AddressTests(SynchronousTestCase):
    """Who answers at an address is who its key says, not who was there before."""

    def setUp(self) -> None:
        self.world = World()

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def test_another_node_answers(self) -> None:
        """It is met as itself, what it holds is checked as from anybody, and the right one is missed by nobody."""
        ann, eve, bob = (self.world.site(name) for name in ("ann", "eve", "bob"))
        address = ann.listen()
        ann.append(b"1")
        bob.node.connect(address)
        self.world.run(10)
        before = bob.node.peers[0].id
        self.assertEqual(before, ann.node.id)
        ann.stop()
        eve.port = ann.port
        eve.append(b"eve's")
        eve.listen()
        self.world.run(120)
        self.assertEqual([peer.id for peer in bob.node.peers], [eve.node.id])
        self.assertEqual(bob.payloads(eve.author()), [b"eve's"])
        ann.start()
        ann.port = 0
        bob.node.connect(ann.listen())
        ann.append(b"2")
        self.world.run(10)
        self.assertEqual({peer.id for peer in bob.node.peers}, {ann.node.id, eve.node.id})
        self.assertEqual(bob.payloads(ann.author()), [b"1", b"2"])
        self.assertEqual(bob.of(PeerRejected), [])

    def test_one_who_was_there_keeps_nobody_away(self) -> None:
        """Eve answered at Ann's address once, and stays connected by dialling: the address is tried all the same."""
        ann, eve, bob = (self.world.site(name) for name in ("ann", "eve", "bob"))
        bob.node.connect(LOCAL.format(4321))
        eve.port = ann.port = 4321
        eve.listen()
        eve.node.connect(bob.listen())
        self.world.run(60)
        self.assertEqual([peer.id for peer in bob.node.peers], [eve.node.id])
        port = self.world.reactor.ports[4321]
        port.stopListening()
        for side in tuple(self.world.reactor.sides):
            side.abortConnection()
        self.world.run(120)
        self.assertEqual([peer.id for peer in bob.node.peers], [eve.node.id])
        ann.listen()
        self.world.run(3600)
        self.assertEqual({peer.id for peer in bob.node.peers}, {ann.node.id, eve.node.id})

    def test_looking_who_is_there_disturbs_nobody(self) -> None:
        """Two nodes that dial each other, for an hour: one session, and no word about the looks."""
        ann, bob = self.world.site("ann"), self.world.site("bob")
        addresses = ann.listen(), bob.listen()
        ann.node.connect(addresses[1])
        bob.node.connect(addresses[0])
        self.world.run(60)
        told, ports = [*ann.told, *bob.told], self.world.reactor._last_port
        self.world.run(3600)
        self.assertEqual([*ann.told, *bob.told], told)
        looks = self.world.reactor._last_port - ports
        self.assertGreaterEqual(looks, 3600 / limits.RECHECK_SECONDS)
        self.assertLess(looks, 12)
        higher = max(ann, bob, key=lambda site: site.node.id)
        next(iter(self.world.reactor.sides)).abortConnection()
        self.world.run(10)
        self.assertEqual(len(higher.node.peers), 1)

    def test_two_addresses_of_one_node(self) -> None:
        """Of two connections of one dialler the newer survives: a look at the other address must not become one."""
        ann, bob = self.world.site("ann"), self.world.site("bob")
        for address in (ann.listen(), self.world.result(ann.node.listen("tcp:0"))):
            bob.node.connect(address)
            self.world.run(10)
        told = [*ann.told, *bob.told]
        self.world.run(3600)
        self.assertEqual([*ann.told, *bob.told], told)

    def test_two_nodes_with_one_key(self) -> None:
        """The newer connection replaces the older: ever more rarely, and both get through what they have."""
        bob = self.world.site("bob")
        bob.listen()
        for name in ("one", "two"):
            copy = self.world.site(name)
            copy.append(name.encode())
            copy.stop()
            copy.backend.secrets.replace_node_key(b"\x05" * 32)
            copy.start()
            copy.node.connect(LOCAL.format(bob.port))
        self.world.run(600)
        one, two = self.world.sites[1:]
        self.assertEqual(one.node.id, two.node.id)
        self.assertEqual(bob.payloads(one.author()) + bob.payloads(two.author()), [b"one", b"two"])
        self.assertLess(len(bob.of(PeerUp)), 60)


class RedirectedTests(SynchronousTestCase):
    """Whoever is on the path to Ann's address leads Bob elsewhere for a while; without the key it can do no more."""

    def setUp(self) -> None:
        self.world = World()
        self.ann, self.bob = self.world.site("ann"), self.world.site("bob")

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def reaches_ann(self, seconds: float, led: float = 600.0) -> None:
        """Bob dials, is led astray, and reaches Ann within ``seconds`` of the end of that."""
        self.bob.node.connect(LOCAL.format(4321))
        self.world.run(led)
        self.assertNotIn(self.ann.node.id, [peer.id for peer in self.bob.node.peers])
        astray = self.world.reactor.ports.pop(4321, None)
        for side in tuple(self.world.reactor.sides):
            side.abortConnection()
        self.world.reactor.unreachable.discard(4321)
        self.ann.port = 4321
        self.ann.listen()
        if astray is not None and astray.number != 4321:
            self.world.reactor.ports[astray.number] = astray
        self.world.run(seconds)
        self.assertIn(self.ann.node.id, [peer.id for peer in self.bob.node.peers])

    def lead_to(self, site: Site) -> None:
        """Ann's port leads to another node, which has a port of its own too."""
        site.listen()
        self.world.reactor.ports[4321] = self.world.reactor.ports[site.port]

    def test_to_ourselves(self) -> None:
        """Once, and many times."""
        for led in (1.0, 3600.0):
            with self.subTest(led):
                self.world = World()
                self.ann, self.bob = self.world.site("ann"), self.world.site("bob")
                self.lead_to(self.bob)
                self.reaches_ann(min(led, limits.RECONNECT_MOST_SECONDS) + 1, led)
                self.assertEqual(self.world.close(), [])
        self.world = World()

    def test_to_a_peer_that_is_connected_already(self) -> None:
        """Once costs a minute, and always no more than the longest time between two looks."""
        eve = self.world.site("eve")
        self.lead_to(eve)
        eve.node.connect(self.bob.listen())
        self.reaches_ann(limits.RECHECK_FIRST_SECONDS + 1, led=5.0)

    def test_to_what_is_no_node(self) -> None:
        """A captive portal, a resolver or a firewall that lies."""
        for data in (HTTP, b"\x15\x03\x03\x00\x02\x02\x28", b"", bytes(96)):
            with self.subTest(data[:9]):
                self.world = World()
                self.ann, self.bob = self.world.site("ann"), self.world.site("bob")
                self.world.result(answer(self.world.reactor, "tcp:4321", partial(Raw, data)))
                self.reaches_ann(limits.RECONNECT_MOST_SECONDS + limits.HANDSHAKE_SECONDS + 1, led=3600.0)
                self.assertEqual(self.bob.node.bans, [])
                self.assertEqual(self.world.close(), [])
        self.world = World()

    def test_nowhere(self) -> None:
        """An attempt that never ends, as through a proxy that says nothing, is given up."""
        nowhere = Nowhere()
        self.bob.node.connect(nowhere)
        self.world.run(limits.DIAL_SECONDS - 1)
        self.assertEqual(self.bob.of(DialFailed), [])
        self.world.run(1 + limits.RECONNECT_FIRST_SECONDS)
        self.assertEqual(len(self.bob.of(DialFailed)), 1)
        self.assertGreater(nowhere.attempts, 1)

    def test_dialled_by_hand(self) -> None:
        """Who knows that the network changed waits for nothing."""
        self.world.reactor.unreachable.add(4321)
        dialer = self.bob.node.connect(LOCAL.format(4321))
        self.world.run(3600)
        self.world.reactor.unreachable.clear()
        self.ann.port = 4321
        self.ann.listen()
        while dialer._call is None:
            self.world.run(1)
        dialer.dial()
        self.world.run(0.1)
        self.assertEqual([peer.id for peer in self.bob.node.peers], [self.ann.node.id])


@implementer(IStreamClientEndpoint)
class Nowhere:
    """An endpoint whose attempts never end."""

    attempts = 0

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Try for ever."""
        self.attempts += 1
        return Deferred()

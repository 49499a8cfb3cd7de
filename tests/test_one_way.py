"""Rings 1, 7 and 8: who only pulls, or only pushes: by event, over TCP, as commands."""

from __future__ import annotations

import asyncio
import json
import shutil
from itertools import product
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import CaughtUp, InSync, Node, OneWayError, PeerUp, StoreCopiedError, aio, blocking, open_store
from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, Send
from gossiplog.gossip.messages import (
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Lazy,
    Ping,
    Pong,
    Ranges,
    Want,
    WantItem,
)
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.replica import Replica
from gossiplog.log.segment import Segment
from tests.netcase import LISTEN, NETWORK
from tests.processes import ProcessTestCase
from tests.replicacase import ANN, BOB, OWN, ReplicaCase, log, proof_of
from tests.test_net_tcp import TcpCase

SECONDS = 60.0
LOOPBACK = "tcp:0:interface=127.0.0.1"


class ModeTests(SynchronousTestCase):
    """What HELLO says."""

    def test_every_mode(self) -> None:
        """Is read as it was said; what else is said means nothing."""
        for mode in Mode:
            self.assertEqual(Mode.heard(("x", *mode.features, "pull", "push/2")), mode)
        self.assertEqual(Mode.BOTH.features, ())
        self.assertEqual(
            [(mode.gives, mode.takes) for mode in Mode],
            [(True, True), (False, True), (True, False), (False, False)],
        )


class IgnoringTests(ReplicaCase):
    """A peer that ignores what our HELLO says: no offence, and nothing comes of it."""

    sessions = 0

    def greet(self, mode: Mode, theirs: Mode = Mode.BOTH) -> list[Effect]:
        """One replica that holds three entries of Ann's, and a peer."""
        self.replica = Replica(bytes(32), bytes(16), self.heads, mode=mode)
        for segment in log(ANN, 3):
            self.commit(segment)
        self.do(events.Opened(0, bytes([1]) * 32, bytes(32), dialled=False))
        hello = Hello(1, 1, theirs.features, "test", bytes(16), root=self.heads.root(bytes(32)))
        return self.hear(0, hello)

    def said(self, effects: list[Effect]) -> list[object]:
        """What goes out."""
        return [effect.message for effect in effects if isinstance(effect, Send)]

    def test_hello(self) -> None:
        """The application is told of the peer's mode."""
        for mode in Mode:
            [up] = [effect for effect in self.greet(Mode.BOTH, mode) if isinstance(effect, events.PeerUp)]
            self.assertEqual(up.mode, mode.value)

    def test_segments_to_who_only_pushes(self) -> None:
        """Are not looked at, whatever is in them; they cost what they cost, and end no session."""
        self.greet(Mode.PUSH)
        session = self.replica.core.sessions[0]
        broken = log(BOB, 1)[0]._replace(signature=bytes(64))
        for segment in (*log(BOB, 2), broken, broken._replace(bodies=b"?")):
            self.assertEqual(self.replica.awaited(0, [segment]), [])
            self.assertEqual(self.hear(0, segment), [])
        self.assertEqual((self.heads.ahead, session.unwanted_items), ({}, 4))
        self.assertEqual([*self.replica.core.sessions], [0])

    def test_a_flood_to_who_only_pushes(self) -> None:
        """Is paced like any other."""
        self.greet(Mode.PUSH)
        large = log(BOB, 1)[0]
        for _ in range(400_000):
            self.hear(0, large)
            if self.is_waited_for(0):
                return
        self.fail("is never waited for")

    def test_claims_to_who_only_pushes(self) -> None:
        """Nobody is asked, now or later."""
        self.greet(Mode.PUSH)
        effects = self.hear(0, Have((HaveItem(0, 9, BOB.author),))) + self.tick(20.0)
        self.assertEqual(self.sent(effects, Want) + self.sent(effects, Fill), [])

    def test_payloads_that_are_missing(self) -> None:
        """Are looked for by who takes, and asked of who gives."""
        for mode, theirs in ((Mode.PULL, Mode.BOTH), (Mode.PUSH, Mode.BOTH), (Mode.BOTH, Mode.PULL)):
            self.setUp()
            self.heads.lacks(ANN.author)
            effects = self.greet(mode, theirs)
            looks = any(isinstance(effect, events.FindHoles) for effect in effects)
            self.assertEqual(looks, mode is Mode.PULL, (mode, theirs))

    def test_questions_to_who_only_pulls(self) -> None:
        """Are answered at once, as if nothing were held, so that nobody waits; of a fork, with the proof."""
        self.greet(Mode.PULL)
        for question in (Want((WantItem(ANN.author, 1),)), Fill(ANN.author, ((1, 3),))):
            [answer] = self.said(self.hear(0, question))
            assert isinstance(answer, Have)
            self.assertEqual(answer.items[0].seq, 0)
        self.freeze(proof_of(ANN))
        self.assertEqual(self.said(self.hear(0, Want((WantItem(ANN.author, 1),)))), [Fork(proof_of(ANN))])
        self.assertEqual(self.said(self.hear(0, Fill(ANN.author, ((1, 3),)))), [Fork(proof_of(ANN))])

    def test_what_who_only_pulls_has(self) -> None:
        """Is not announced, however the peer wants it; nor pushed."""
        self.greet(Mode.PULL)
        self.hear(0, Lazy((BOB.author,)))
        effects = self.do(events.Opened(1, bytes([2]) * 32, bytes(32), dialled=False))
        effects += self.hear(1, Hello(1, 1, ("push/1",), "test", bytes(15) + b"1"), *log(BOB, 2))
        effects += self.commit(*log(BOB, 2)) + self.commit(*log(OWN, 2)) + self.tick(2.0)
        self.assertEqual(self.sent(effects, Have) + self.sent(effects, Segment), [])
        self.assertEqual(self.clock.seq(BOB.author), 2)

    def test_what_who_only_pulls_wants_again(self) -> None:
        """Is named to peers, and no more is said of it."""
        self.greet(Mode.PULL)
        choices = self.replica.interest.choices
        effects: list[Effect] = []
        for choose in (choices.block, choices.unblock):
            choose([ANN.author])
            effects += self.do(events.InterestChanged((ANN.author,))) + self.tick(2.0)
        self.assertEqual(len(self.sent(effects, Lazy)), 1)
        self.assertEqual(self.sent(effects, Have), [])

    def test_done_waits_for_announcements(self) -> None:
        """Who gives has not told all while an announcement waits for others."""
        self.greet(Mode.BOTH, Mode.PULL)
        self.hear(0, Lazy((BOB.author,)))
        self.do(events.Opened(1, bytes([2]) * 32, bytes(32), dialled=False))
        self.hear(1, Hello(1, 1, (), "test", bytes(15) + b"1"), log(BOB, 1)[0])
        self.commit(log(BOB, 1)[0])
        for done in (False, True):
            [pong] = self.said(self.hear(0, Ping(1)))
            self.assertEqual(pong.done, done)  # type: ignore[attr-defined]
            self.tick(1.0)

    def test_done_while_nothing_is_written(self) -> None:
        """Who takes, and whose disk takes nothing, has not all, whatever it knows of."""
        self.greet(Mode.PULL)
        self.do(events.CommitFailed(True))
        [pong] = self.said(self.hear(0, Ping(1)))
        self.assertFalse(pong.done)  # type: ignore[attr-defined]

    def test_proofs(self) -> None:
        """Are taken by who only pushes, and told by who only pulls: they are no entries."""
        for mode in (Mode.PULL, Mode.PUSH):
            self.setUp()
            self.greet(mode)
            effects = self.hear(0, Fork(proof_of(ANN)))
            self.assertTrue([effect for effect in effects if isinstance(effect, events.StoreFork)])
            self.do(events.Opened(1, bytes([2]) * 32, bytes(32), dialled=False))
            effects = self.hear(
                1, Hello(1, 1, (), "test", bytes(15) + b"1"), Want((WantItem(ANN.author, 1),))
            )
            self.assertEqual(self.sent(effects, Fork), [(1, Fork(proof_of(ANN)))])

    def test_what_waited_for_hello(self) -> None:
        """What was accepted before the peer said that it takes nothing is not owed to it; a proof is."""
        self.replica = Replica(bytes(32), bytes(16), self.heads)
        self.do(events.Opened(0, bytes([1]) * 32, bytes(32), dialled=False))
        self.do(events.Opened(1, bytes([2]) * 32, bytes(32), dialled=False))
        self.hear(1, Hello(1, 1, (), "test", bytes(15) + b"1"), *log(BOB, 2), Fork(proof_of(ANN)))
        effects = self.hear(0, Hello(1, 1, ("push/1",), "test", bytes(16)))
        effects += self.commit(*log(BOB, 2)) + self.tick(2.0)
        sent = [number for kind in (Segment, Have) for number, _ in self.sent(effects, kind)]
        self.assertNotIn(0, sent)
        self.assertEqual([effect for effect in effects if isinstance(effect, events.Load)], [])
        self.assertIn((0, Fork(proof_of(ANN))), self.sent(effects, Fork))

    def test_nothing_is_compared_where_nothing_goes(self) -> None:
        """Not at first, and not when a PONG has another root, again and again."""
        for mode in (Mode.PULL, Mode.PUSH):
            self.setUp()
            effects = self.greet(mode, mode)
            for _ in range(40):
                for ping in self.sent(new := self.tick(8.0), Ping):
                    effects += new + self.hear(0, Pong(ping[1].token, bytes(16)))  # type: ignore[union-attr]
            self.assertEqual(self.sent(effects, Ranges), [])

    def test_a_difference_that_no_message_told(self) -> None:
        """Is found by who takes; who gives leaves it to that side."""
        for mode, finds in ((Mode.PULL, True), (Mode.PUSH, False)):
            self.setUp()
            self.greet(mode)
            found: list[Any] = []
            for _ in range(20):
                for _, ping in self.sent(new := self.tick(8.0), Ping):
                    found += self.sent(new + self.hear(0, Pong(ping.token, bytes(16))), Ranges)  # type: ignore[union-attr]
            self.assertEqual(bool(found), finds, mode)

    def test_done(self) -> None:
        """It is said where entries go one way only, and not while anything is on its way to the disk or the peer."""
        for mode, theirs, done in (
            (Mode.PULL, Mode.BOTH, True),
            (Mode.PUSH, Mode.PULL, True),
            (Mode.BOTH, Mode.BOTH, False),
            (Mode.PULL, Mode.PULL, False),
        ):
            self.setUp()
            self.greet(mode, theirs)
            [pong] = self.said(self.hear(0, Ping(1)))
            self.assertEqual(pong.done, done, (mode, theirs))  # type: ignore[attr-defined]
        self.setUp()
        self.greet(Mode.PULL)
        self.hear(0, log(BOB, 1)[0])
        [pong] = self.said(self.hear(0, Ping(1)))
        self.assertFalse(pong.done)  # type: ignore[attr-defined]
        self.commit(log(BOB, 1)[0])
        [pong] = self.said(self.hear(0, Ping(2)))
        self.assertTrue(pong.done)  # type: ignore[attr-defined]


class TcpTests(TcpCase):
    """Real nodes."""

    def node(self, mode: str) -> Node:
        """One of a mode, on a store of its own."""
        store = open_store(self.mktemp(), reactor)
        node = Node(reactor, store, network=NETWORK, mode=mode)
        self.opened.append((store, node))
        self.told[node] = []
        node.subscribe(self.told[node].append)
        return node

    async def pair(self, *modes: str) -> tuple[list[Node], list[Any]]:
        """Two nodes in a session, with three entries each, of which one is news."""
        nodes = [self.node(mode) for mode in modes]
        writers = [await node.store.writer() for node in nodes]
        for writer in writers:
            await writer.append_many([b"1", b"2"])
        nodes[1].connect(await nodes[0].listen(LISTEN))
        for node in nodes:
            await self.when(node, PeerUp)
        for writer in writers:
            await writer.append(b"3")
        return nodes, writers

    async def test_every_mode_with_every_mode(self) -> None:
        """In sync are both sides, and what may go has gone; or it is said at once that nothing may."""
        modes = ("both", "pull", "push")
        for ours, theirs in product(modes, modes):
            nodes, writers = await self.pair(ours, theirs)
            if ours == theirs != "both":
                for node in nodes:
                    with self.assertRaises(OneWayError):
                        await node.when_in_sync(node.peers[0])
            else:
                for node in nodes:
                    await node.when_in_sync(node.peers[0])
            goes = [Mode(a).gives and Mode(b).takes for a, b in ((ours, theirs), (theirs, ours))]
            self.assertEqual(nodes[1].store.clock.seq(writers[0].author), 3 * goes[0], (ours, theirs))
            self.assertEqual(nodes[0].store.clock.seq(writers[1].author), 3 * goes[1], (ours, theirs))
            for node, comes, mode in zip(nodes, reversed(goes), (theirs, ours), strict=True):
                self.assertEqual(bool(self.of(node, CaughtUp)), comes)
                self.assertEqual(node.caught_up, comes)
                self.assertEqual(len(self.of(node, InSync)), any(goes))
                self.assertEqual(node.peers[0].mode, mode)

    async def test_through_a_relay(self) -> None:
        """What who only pushes has comes to who only pulls, over a node that does both."""
        giver, relay, taker = (self.node(mode) for mode in ("push", "both", "pull"))
        address = await relay.listen(LISTEN)
        writer = await giver.store.writer()
        unheard = await taker.store.writer()
        await unheard.append(b"nobody gets this")
        await writer.append_many([b"1", b"2"])
        for node in (giver, taker):
            node.connect(address)
        await self.held(taker, writer.author, 2)
        await writer.append(b"3")
        await self.held(taker, writer.author, 3)
        for node in (giver, taker):
            await node.when_in_sync(node.peers[0])
        for node in (giver, relay):
            self.assertEqual(node.store.clock.seq(unheard.author), 0)

    async def test_recover(self) -> None:
        """Where nothing may come back it fails at once."""
        for modes in (("push", "both"), ("both", "pull"), ("push", "pull")):
            nodes, _ = await self.pair(*modes)
            with self.assertRaises(StoreCopiedError) as caught:
                await nodes[0].recover(nodes[0].peers[0])
            self.assertIn("one side only pulls, or pushes", str(caught.exception))


class DoorTests(SynchronousTestCase):
    """The other front doors."""

    def test_blocking(self) -> None:
        """``sync`` takes the mode, as the node does; entries that it lost are no reason to fork."""
        with (
            blocking.Store(self.mktemp(), timeout=SECONDS) as there,
            blocking.Store(self.mktemp(), timeout=SECONDS) as here,
        ):
            there.writer().append(b"there")
            here.writer().append(b"here")
            with blocking.Node(there, network="n") as node:
                address = node.listen(LOOPBACK)
                self.assertEqual(here.sync(address, network="n", mode="pull")[:2], (1, 0))
                self.assertEqual(here.sync(address, network="n", mode="push")[:2], (0, 1))
                here.writer().append(b"more")
                self.assertEqual(here.sync(address, network="n", mode="pull")[:2], (0, 0))
            with blocking.Node(there, network="n", mode="pull") as node:
                address = node.listen(LOOPBACK)
                self.assertRaises(OneWayError, here.sync, address, network="n", mode="pull")
                self.assertEqual(here.sync(address, network="n")[:2], (0, 1))

    def test_aio(self) -> None:
        """It takes the mode."""

        async def main() -> None:
            async with (
                aio.Store(self.mktemp()) as store,
                aio.Node(store, network=NETWORK, mode="push") as node,
            ):
                self.assertEqual(node._it.mode, "push")

        asyncio.run(main())


class CommandTests(ProcessTestCase):
    """``gossiplog sync --pull``, ``--push``, and ``run``."""

    stores: ClassVar = ("ann", "bob")

    def setUp(self) -> None:
        super().setUp()
        for store in self.stores:
            self.run_gossiplog("init", "--store", store)
            self.run_gossiplog("append", "--store", store, f"of {store}")

    def serve(self, *options: str) -> str:
        """Ann's node; returns where it listens."""
        self.running = self.gossiplog(
            "run", "--store", "ann", "--network", "n", "--listen", LOOPBACK, *options
        )
        [address] = self.running.ready()["listening"]
        return str(address)

    def sync(self, address: str, *options: str) -> tuple[int, int, int, str]:
        """What it came to."""
        syncing = self.gossiplog("sync", "--store", "bob", "--network", "n", address, "--json", *options)
        status = syncing.finish()
        moved = json.loads(syncing.out) if syncing.out else {"received": 0, "sent": 0}
        return status, moved["received"], moved["sent"], syncing.err

    def test_of_a_node_that_does_both(self) -> None:
        """Each takes its half, and ends rightly."""
        address = self.serve()
        self.assertEqual(self.sync(address, "--push"), (0, 0, 1, ""))
        self.assertEqual(self.sync(address, "--pull"), (0, 1, 0, ""))
        self.assertEqual(self.sync(address), (0, 0, 0, ""))

    def test_of_a_node_that_only_pulls(self) -> None:
        """The other side ends rightly too, and says what did not happen."""
        address = self.serve("--pull")
        status, received, _, said = self.sync(address, "--pull", "--timeout", "20")
        self.assertEqual((status, received), (1, 0))
        self.assertIn("only pull: no entry may go either way", said)
        status, received, sent, said = self.sync(address)
        self.assertEqual((status, received, sent), (0, 0, 1))
        self.assertIn("only pulls: it has what was here, and nothing came from it", said)

    def test_of_a_node_that_only_pushes(self) -> None:
        """As before, the other way round."""
        address = self.serve("--push")
        status, received, sent, said = self.sync(address)
        self.assertEqual((status, received, sent), (0, 1, 0))
        self.assertIn("only pushes", said)
        self.assertEqual(self.sync(address, "--pull"), (0, 0, 0, ""))

    def test_entries_that_were_lost(self) -> None:
        """A writer whose newest entry only the peer has is not let go on by who only pushes."""
        backup = self.place / "backup"
        self.run_gossiplog("init", "--store", "cleo")
        (self.place / "cleo").rename(backup)
        shutil.copytree(backup, self.place / "cleo")
        self.run_gossiplog("recover", "--store", "cleo", "--alone")
        self.run_gossiplog("append", "--store", "cleo", "1", "2")
        address = self.serve()
        self.run_gossiplog("sync", "--store", "cleo", "--network", "n", address)
        shutil.rmtree(self.place / "cleo")
        backup.rename(self.place / "cleo")
        self.run_gossiplog("recover", "--store", "cleo", "--alone")
        pushing = self.gossiplog("sync", "--store", "cleo", "--network", "n", address, "--push")
        self.assertEqual(pushing.finish(), 1)
        self.assertIn("sync both ways", pushing.err)
        self.assertIn(
            "received 3 entries", self.run_gossiplog("sync", "--store", "cleo", "--network", "n", address)
        )

    def test_both_options(self) -> None:
        """Are wrong usage."""
        self.assertEqual(
            self.gossiplog("sync", "--network", "n", "--pull", "--push", "tcp:127.0.0.1:1").finish(), 2
        )

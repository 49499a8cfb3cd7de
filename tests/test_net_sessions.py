"""Ring 6: nodes with each other, in virtual time: one connection per pair, restarts, relays, notices, stopping."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode, InvalidValueError, NodeStoppedError
from gossiplog.gossip.messages import Hello
from gossiplog.notices import (
    AuthorForked,
    CaughtUp,
    DialFailed,
    InSync,
    NewEntries,
    PeerDown,
    PeerRejected,
    PeerUp,
    StrangersTurnedAway,
)
from gossiplog.testing.sim.disk import steady
from tests.netcase import LOCAL, OTHER_NETWORK, Author, Peer, Site, World, answer


class Several(SynchronousTestCase):
    """Some nodes in one world."""

    def setUp(self) -> None:
        self.world = World()

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def pair(self) -> tuple[Site, Site]:
        """``b`` dials ``a``."""
        a, b = self.world.site("a"), self.world.site("b")
        b.node.connect(a.listen())
        return a, b


class PairTests(Several):
    """However they dial, one connection per pair."""

    def assert_one_session(self, *sites: Site) -> None:
        for site in sites:
            self.assertEqual(len(site.node.peers), 1, site.name)
        self.assertEqual(len(self.world.reactor.sides), 2)

    def test_both_dial_at_once(self) -> None:
        """Exactly one survives on both sides; then nothing is dialled for as long as it lives."""
        for seed in range(10):
            self.world = World(seed, latency=0.01 + seed / 100)
            a, b = self.world.site("a"), self.world.site("b")
            addresses = a.listen(), b.listen()
            a.node.connect(addresses[1])
            b.node.connect(addresses[0])
            self.world.run(5)
            self.assert_one_session(a, b)
            lower = min(a, b, key=lambda site: site.node.id)
            self.assertEqual([peer.dialled for peer in lower.node.peers], [True])
            higher = a if lower is b else b
            sessions = higher.node._driver._next_session
            ups, ports = len(a.of(PeerUp)), self.world.reactor._last_port
            self.world.run(600)
            self.assert_one_session(a, b)
            self.assertEqual(len(a.of(PeerUp)), ups, "no flapping")
            self.assertEqual(higher.node._driver._next_session, sessions, "a look is no session")
            self.assertLessEqual(
                self.world.reactor._last_port - ports, 5, "nobody dials, but for a look now and then"
            )
            self.assertEqual(a.append(b"x"), range(1, 2))
            self.world.run(1)
            self.assertEqual(b.payloads(a.author()), [b"x"])
            self.assertEqual(self.world.close(), [])

    def test_no_session_comes_and_goes(self) -> None:
        """However long one of them dials before the other, neither sees more than one session begin, and none end."""
        for lead in range(-12, 13, 2):
            self.world = World(latency=0.01)
            a, b = sorted((self.world.site("a"), self.world.site("b")), key=lambda site: site.node.id)
            a.listen()
            b.listen()
            for site, other, at in ((a, b, 0.2), (b, a, 0.2 + lead * 0.005)):
                self.world.reactor.callLater(at, site.node.connect, LOCAL.format(other.port))
            self.world.run(5)
            self.assert_one_session(a, b)
            for site in (a, b):
                self.assertEqual((len(site.of(PeerUp)), site.of(PeerDown)), (1, []), (site.name, lead))
            if lead < 12:
                self.assertEqual(self.world.close(), [])

    def test_two_addresses_of_one_node(self) -> None:
        """The first connection stays; the dialler of the other is held back until that is down."""
        a, b = self.world.site("a"), self.world.site("b")
        first = a.listen()
        second = self.world.result(a.node.listen("tcp:0"))
        b.node.connect(first)
        self.world.run(1)
        b.node.connect(second)
        self.world.run(600)
        self.assert_one_session(a, b)
        self.assertEqual(b.of(PeerDown), [])
        for dialer in b.node._driver.dialers._dialers:
            if dialer.link is not None:
                dialer.dial()  # there is a link already
        self.world.run(1)
        self.assertEqual(b.of(PeerDown), [])
        self.assertEqual([peer.address for peer in b.node.peers], [first])
        next(iter(self.world.reactor.sides)).abortConnection()
        self.world.run(600)
        self.assert_one_session(a, b)

    def test_two_addresses_at_once(self) -> None:
        """However soon one is dialled after the other, no session comes and goes."""
        for lead in range(0, 13, 2):
            self.world = World(latency=0.01)
            a, b = self.world.site("a"), self.world.site("b")
            addresses = a.listen(), self.world.result(a.node.listen("tcp:0"))
            for address, at in zip(addresses, (0.2, 0.2 + lead * 0.005), strict=True):
                self.world.reactor.callLater(at, b.node.connect, address)
            self.world.run(5)
            self.assert_one_session(a, b)
            for site in (a, b):
                self.assertEqual((len(site.of(PeerUp)), site.of(PeerDown)), (1, []), (site.name, lead))
            if lead < 12:
                self.assertEqual(self.world.close(), [])

    def test_own_address(self) -> None:
        """Said once, and dialled no more often than any other in vain."""
        a = self.world.site("a")
        address = a.listen()
        a.node.connect(address)
        self.world.run(600)
        ports = self.world.reactor._last_port
        self.world.run(3600)
        self.assertLessEqual(self.world.reactor._last_port - ports, 2 * 3600 / limits.RECONNECT_MOST_SECONDS)
        self.assertEqual(a.node.peers, [])
        self.assertEqual(self.world.reactor.sides, set())
        [rejected] = a.of(PeerRejected)
        self.assertEqual(rejected.address, address)
        self.assertIn("own address", str(rejected.error))
        self.assertEqual({failed.reason for failed in a.of(DialFailed)}, {"this is our own address"})
        self.assertEqual(a.of(PeerUp), [])
        secret = a.backend.secrets.node_key()
        assert secret is not None
        peer = self.world.peer(a, secret=secret)
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.SELF)

    def test_held_back_dialler_takes_over(self) -> None:
        """When the connection the other way ends for good, ours is dialled."""
        a, b = self.world.site("a"), self.world.site("b")
        addresses = a.listen(), b.listen()
        dialers = a.node.connect(addresses[1]), b.node.connect(addresses[0])
        self.world.run(10)
        kept = next(dialer for dialer in dialers if dialer.link is not None)
        kept.stop()
        kept.link.abort()
        self.world.run(10)
        self.assert_one_session(a, b)
        other = dialers[1] if kept is dialers[0] else dialers[0]
        self.assertIsNotNone(other.link)

    def test_stopped_dialler_leaves_the_connection(self) -> None:
        a, b = self.world.site("a"), self.world.site("b")
        dialer = b.node.connect(a.listen())
        self.world.run(1)
        dialer.stop()
        self.world.run(60)
        self.assert_one_session(a, b)
        a.stop()
        self.world.run(600)
        a.start()
        a.listen()
        self.world.run(600)
        self.assertEqual(b.node.peers, [])


class DiallingTests(Several):
    """Back-off: patient with who is down, quick with who was there."""

    def attempts(self, site: Site, seconds: float) -> list[float]:
        """When attempts failed."""
        times: list[float] = []
        site.node.subscribe(
            lambda notice: (
                times.append(self.world.reactor.seconds()) if isinstance(notice, DialFailed) else None
            )
        )
        self.world.run(seconds)
        return times

    def test_back_off_doubles_with_jitter_up_to_a_limit(self) -> None:
        a = self.world.site("a")
        a.node.connect(LOCAL.format(9))
        times = self.attempts(a, 3600)
        gaps = [after - before for before, after in pairwise(times)]
        most = limits.RECONNECT_FIRST_SECONDS
        for gap in gaps:
            self.assertGreaterEqual(gap, most / 2)
            self.assertLessEqual(gap, most + 0.1)
            most = min(2 * most, limits.RECONNECT_MOST_SECONDS)
        self.assertGreater(len(gaps), 60)
        self.assertGreater(len({round(gap, 3) for gap in gaps[10:]}), 20, "jitter")

    def test_back_off_starts_over_after_a_session_that_lasted(self) -> None:
        a, b = self.pair()
        self.world.run(60)
        a.stop()
        began = self.world.reactor.seconds()
        times = self.attempts(b, 10)
        self.assertLess(times[0] - began, 2 * limits.RECONNECT_FIRST_SECONDS)

    def test_sessions_that_end_at_once_are_not_dialled_again_and_again(self) -> None:
        """A peer that greets and hangs up, each time, is met less and less often."""
        a = self.world.site("a")
        met: list[Peer] = []

        class Rude(Peer):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                if self.of(Hello) and self not in met:
                    met.append(self)
                    self.hello()
                    self.transport.loseConnection()

        port = self.world.result(answer(self.world.reactor, "tcp:0", lambda: Rude(False)))
        a.node.connect(LOCAL.format(port.getHost().port))
        self.world.run(600)
        self.assertEqual(len(a.of(PeerUp)), len(met))
        self.assertLess(len(met), 25)
        port.stopListening()

    def test_wrong_network_is_tried_again_with_back_off(self) -> None:
        """Both sides are told why, in their own words, and the listener says nothing to the dialler."""
        a, b = self.world.site("a"), self.world.site("b", OTHER_NETWORK)
        address = a.listen()
        b.node.connect(address)
        self.world.run(600)
        self.assertGreater(len(b.of(DialFailed)), 5)
        self.assertLess(len(b.of(DialFailed)), 25)
        self.assertEqual({notice.address for notice in b.told}, {address})
        self.assertEqual({type(notice) for notice in a.told}, {PeerRejected, StrangersTurnedAway})
        self.assertIn("network", str(a.told[0].error))
        self.assertIn("network", b.told[0].reason)
        self.assertEqual(a.node.peers + b.node.peers, [])


class RestartTests(Several):
    """A process ends, in order or not, and comes back."""

    def test_restarted_listener(self) -> None:
        a, b = self.pair()
        a.append(b"1")
        self.world.run(30)
        a.stop()
        self.world.run(30)
        self.assertEqual(b.node.peers, [])
        self.assertEqual(b.append(b"while away"), range(1, 2))
        a.start()
        a.listen()
        self.world.run(60)
        self.assertEqual(len(b.node.peers), 1)
        self.assertEqual(a.payloads(b.author()), [b"while away"])
        a.append(b"2")
        self.world.run(1)
        self.assertEqual(b.payloads(a.author()), [b"1", b"2"])

    def test_restarted_dialler(self) -> None:
        a, b = self.pair()
        self.world.run(30)
        b.stop()
        a.append(b"while away")
        b.start()
        b.node.connect(LOCAL.format(a.port))
        self.world.run(1)
        self.assertEqual(b.payloads(a.author()), [b"while away"])

    def test_new_process_replaces_a_connection_that_hangs(self) -> None:
        """The cable was pulled, the machine came back: its new instance number makes the old connection dead."""
        a, b = self.pair()
        self.world.run(1)
        sides = list(self.world.reactor.sides)
        sides[0].freeze()
        stuck = b.node.stop()
        again = self.world.site("b2")
        again.backend = b.backend.snapshot()
        self.world.result(again.node.stop())
        self.world.result(again.store.close())
        again.start()
        self.assertEqual(again.node.id, b.node.id)
        again.node.connect(LOCAL.format(a.port))
        self.world.run(1)
        self.assertEqual([down.code for down in a.of(PeerDown)], [ByeCode.DUPLICATE])
        self.assertEqual([peer.agent for peer in a.node.peers], ["b2"])
        self.world.result(stuck)


class SpreadingTests(Several):
    """Entries go to nodes their author never met."""

    def test_chain_relays_live_and_backlog(self) -> None:
        a, b, c = (self.world.site(name) for name in "abc")
        a.append(*(bytes([number]) for number in range(100)))
        b.node.connect(a.listen())
        self.world.run(1)
        c.node.connect(b.listen())
        self.world.run(1)
        author = a.author()
        self.assertEqual(c.store.clock.seq(author), 100)
        for number in range(100):
            a.append(bytes([number]))
        c.append(b"back")
        self.world.run(1)
        self.assertEqual(c.payloads(author), [bytes([number]) for number in range(100)] * 2)
        self.assertEqual(a.payloads(c.author()), [b"back"])
        self.assertEqual(a.store.clock, c.store.clock)
        for site in (a, b, c):
            self.assertEqual(self.world.result(site.store.verify()).damages, [])

    def test_backlog_that_arrives_during_the_conversation(self) -> None:
        """c is connected to b before b has anything of a."""
        a, b, c = (self.world.site(name) for name in "abc")
        for _ in range(30):
            a.append(bytes(100_000))
        c.node.connect(b.listen())
        self.world.run(1)
        b.node.connect(a.listen())
        self.world.run(10)
        self.assertEqual(c.store.clock.seq(a.author()), 30)


class NoticeTests(Several):
    """What is told, and when exactly."""

    def kinds(self, site: Site) -> list[str]:
        return [type(notice).__name__ for notice in site.told]

    def test_a_first_meeting(self) -> None:
        a, b = self.world.site("a"), self.world.site("b")
        a.append(b"1", b"2")
        a.told.clear()
        address = a.listen()
        b.node.connect(address)
        self.world.run(1)
        self.assertEqual(self.kinds(b), ["PeerUp", "NewEntries", "CaughtUp"])
        self.assertEqual(self.kinds(a), ["PeerUp", "CaughtUp"])
        [up] = b.of(PeerUp)
        self.assertEqual((up.peer.id, up.peer.agent, up.peer.dialled), (a.node.id, "a", True))
        self.assertEqual(up.peer.address, address)
        self.assertEqual(b.of(CaughtUp)[0].peer, up.peer)
        self.assertEqual(b.node.peers, [up.peer])
        self.assertEqual(a.of(PeerUp)[0].peer.id, b.node.id)
        self.assertFalse(a.of(PeerUp)[0].peer.dialled)
        author = a.author()
        self.assertEqual(b.of(NewEntries), [NewEntries(author, 1, 2)])

    def test_news_is_no_catching_up(self) -> None:
        a, b = self.pair()
        self.world.run(1)
        b.told.clear()
        a.append(b"1")
        self.world.run(120)
        self.assertEqual(self.kinds(b), ["NewEntries"])

    def test_caught_up_means_on_disk(self) -> None:
        a, b = self.world.site("a"), self.world.site("b")
        a.append(b"1")
        b.disk.speed = steady(0.2)
        b.node.connect(a.listen())
        self.world.run(0.15)
        self.assertEqual(self.kinds(b), ["PeerUp"])
        self.assertEqual(b.store.clock.total(), 0)
        self.world.run(2)
        self.assertEqual(self.kinds(b), ["PeerUp", "NewEntries", "CaughtUp"])

    def test_in_sync_is_told_when_asked_for(self) -> None:
        """And fires only when both hold the same on disk."""
        a, b = self.pair()
        self.world.run(60)
        self.assertEqual(a.of(InSync) + b.of(InSync), [])
        b.disk.speed = steady(3.0)
        a.append(b"1")
        asked = [site.node.when_in_sync(site.node.peers[0]) for site in (a, b)]
        self.world.run(2)
        self.assertEqual([waiting.called for waiting in asked], [False, False])
        for site, waiting in zip((a, b), asked, strict=True):
            notice = self.world.result(waiting)
            self.assertEqual(notice.peer, site.node.peers[0])
            self.assertEqual(a.store.clock, b.store.clock)
        self.assertEqual(b.payloads(a.author()), [b"1"])

    def test_in_sync_with_a_peer_that_goes(self) -> None:
        a, b = self.pair()
        self.world.run(1)
        b.disk.stall()
        a.append(b"1")
        peer = a.node.peers[0]
        waiting = a.node.when_in_sync(peer)
        self.world.run(1)
        b.disk.resume()
        b.disk.stall()
        for side in tuple(self.world.reactor.sides):
            side.abortConnection()
        self.world.run(0.05)
        with self.assertRaises(NodeStoppedError):
            self.world.result(waiting)
        with self.assertRaises(NodeStoppedError):
            self.world.result(a.node.when_in_sync(peer))
        b.disk.resume()

    def test_goodbye(self) -> None:
        a, b = self.pair()
        self.world.run(1)
        peer = b.node.peers[0]
        self.world.result(a.node.stop())
        self.world.run(0.1)
        self.assertEqual(b.of(PeerDown), [PeerDown(peer, ByeCode.STOPPING, "stopping")])
        self.assertEqual(b.node.peers, [])


class StoppingTests(Several):
    """Stop loses nothing, and always finishes."""

    def test_accepted_entries_are_committed(self) -> None:
        """What was relayed to us before the stop is on disk after it, however slow the disk."""
        a, b = self.pair()
        self.world.run(1)
        b.disk.stall()
        a.append(*(bytes([number]) for number in range(50)))
        self.world.run(1)
        stopped = b.node.stop()
        self.world.run(30)
        self.assertFalse(stopped.called)
        b.disk.resume()
        self.world.result(stopped)
        self.assertEqual(b.store.clock.seq(a.author()), 50)

    def test_closing_the_store_stops_the_node_first(self) -> None:
        a, b = self.pair()
        self.world.run(1)
        b.disk.stall()
        a.append(b"accepted")
        self.world.run(1)
        closed = b.store.close()
        self.world.run(1)
        b.disk.resume()
        kept = b.backend
        self.world.run(1)
        self.successResultOf(closed)
        self.successResultOf(b.node.stop())
        self.assertEqual([down.code for down in a.of(PeerDown)], [ByeCode.STOPPING])
        kept._closed = False
        self.assertEqual([head.seq for _, head in kept.heads()], [1])
        self.assertEqual(len(self.world.reactor.sides), 0)

    def test_peer_that_never_reads(self) -> None:
        a = self.world.site("a")
        a.listen()
        peer = self.world.peer(a)
        peer.hello()
        peer.reconcile()
        self.world.run(1)
        peer.transport.pauseProducing()
        for _ in range(30):
            a.append(bytes(100_000))
        self.world.run(1)
        self.world.result(a.node.stop(), seconds=limits.CLOSE_SECONDS + 0.5)
        peer.transport.abortConnection()

    def test_stop_from_a_subscriber(self) -> None:
        """In the middle of everything."""
        for kind in (PeerUp, NewEntries, CaughtUp):
            self.world = World()
            a, b = self.world.site("a"), self.world.site("b")
            a.append(b"1")
            waits: list[Any] = []

            def stop(
                notice: Any, kind: type[Any] = kind, waits: list[Any] = waits, node: Any = b.node
            ) -> None:
                if isinstance(notice, kind):
                    waits.append(node.stop())

            b.node.subscribe(stop)
            b.node.connect(a.listen())
            self.world.run(10)
            self.assertEqual([waiting.called for waiting in waits], [True] * len(waits))
            self.assertGreater(len(waits), 0)
            self.assertEqual(self.world.close(), [])

    def test_stop_with_a_read_for_a_peer_under_way(self) -> None:
        """What it gives is of no use to anyone, and starts no timer."""
        a = self.world.site("a")
        a.append(b"1")
        a.listen()
        peer = self.world.peer(a)
        peer.hello()
        peer.reconcile()
        a.disk.stall()
        self.world.run(0.1)
        stopped = a.node.stop()
        self.world.run(1)
        a.disk.resume()
        self.world.result(stopped)
        self.world.run(1)
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def test_live_entries_during_the_stop_of_a_relay(self) -> None:
        """Nothing that a has is lost to c when b goes away and comes back."""
        a, b, c = (self.world.site(name) for name in "abc")
        b.node.connect(a.listen())
        c.node.connect(b.listen())
        self.world.run(1)
        for number in range(20):
            a.append(bytes([number]))
            if number == 10:
                b.stop()
        b.start()
        b.node.connect(LOCAL.format(a.port))
        b.listen()
        self.world.run(30)
        self.assertEqual(c.payloads(a.author()), [bytes([number]) for number in range(20)])


class RandomTests(Several):
    """Everything at once, by seeds."""

    def test_random_lives(self) -> None:
        """Cables are pulled, connections reset, disks stall, nodes stop and start: at the end all hold the same."""
        for seed in range(8):
            self.world = World(seed, latency=[0.001, 0.05, 0.3][seed % 3])
            self.world.reactor.cut = lambda size, random=self.world.random: random.randint(1, size)  # type: ignore[misc]
            self.live(seed)
            self.assertEqual(self.world.close(), [], seed)

    def live(self, seed: int) -> None:
        random = self.world.random
        sites = [self.world.site(name) for name in "abcd"]
        for site in sites:
            site.listen()
        down: set[Site] = set()

        def dial_all(site: Site) -> None:
            for other in sites:
                if other is not site:
                    site.node.connect(LOCAL.format(other.port))

        for site in sites:
            dial_all(site)
        for _ in range(150):
            site = random.choice(sites)
            sides = sorted(
                self.world.reactor.sides, key=lambda side: (side.getHost().port, side.getPeer().port)
            )
            deed = random.choice(
                ["append", "append", "append", "reset", "freeze", "thaw", "stall", "go on", "power"]
            )
            if deed == "append" and site not in down and not site.disk.stalled:
                site.append(*[bytes(random.choice([10, 5000]))] * random.choice([1, 1, 30]))
            elif deed == "reset" and sides:
                random.choice(sides).abortConnection()
            elif deed == "freeze" and sides and random.random() < 0.3:
                random.choice(sides).freeze()
            elif deed == "thaw":
                for side in sides:
                    side.thaw()
            elif deed == "stall" and site not in down:
                site.disk.stall()
            elif deed == "go on" and site not in down:
                site.disk.resume()
            elif deed == "power" and random.random() < 0.3:
                site.disk.resume()
                if site in down:
                    site.start()
                    site.listen()
                    dial_all(site)
                    down.remove(site)
                else:
                    site.stop()
                    down.add(site)
            self.world.run(random.choice([0.01, 0.1, 1, 10]))
        for side in self.world.reactor.sides:
            side.thaw()
        for site in sites:
            site.disk.resume()
            if site in down:
                site.start()
                site.listen()
                dial_all(site)
        self.world.run(400)
        for site in sites:
            self.assertEqual(site.store.clock, sites[0].store.clock, (seed, site.name))
            self.assertEqual(len({peer.id for peer in site.node.peers}), 3, (seed, site.name))
            self.assertEqual(len(site.node.peers), 3, (seed, site.name))
            self.assertEqual(self.world.result(site.store.verify()).damages, [])


class ForkTests(Several):
    """An author who signed two logs, met through different nodes."""

    def test_both_branches_meet(self) -> None:
        """Each keeps the branch it has, knows the proof, says so, and passes it on, also after a restart."""
        a, b = self.world.site("a"), self.world.site("b")
        one, other = Author(), Author()
        for site, author, payloads in [(a, one, [b"x", b"y"]), (b, other, [b"x", b"z"])]:
            site.listen()
            peer = self.world.peer(site, secret=bytes([len(site.name)]) * 32)
            peer.hello()
            for payload in payloads:
                peer.send(*author.write(payload))
            self.world.run(1)
            peer.transport.loseConnection()
        self.world.run(1)
        a.node.connect(LOCAL.format(b.port))
        self.world.run(5)
        for site, last in [(a, b"y"), (b, b"z")]:
            self.assertEqual(site.payloads(one.key), [b"x", last])
            [forked] = site.of(AuthorForked)
            self.assertEqual(forked.proof.author, one.key)
            self.assertEqual(len(site.node.peers), 1)
        b.stop()
        b.start()
        self.assertEqual(list(b.store.forks), [one.key])
        c = self.world.site("c")
        c.node.connect(b.listen())
        self.world.run(5)
        self.assertEqual([forked.proof.author for forked in c.of(AuthorForked)], [one.key])


class FaultTests(Several):
    """A fault in our own code ends one session."""

    def test_fault_while_carrying_out_an_effect(self) -> None:
        """Here: a HELLO that cannot be encoded."""
        a, b = self.world.site("a"), self.world.site("b")
        replica = a.node._driver.replica
        replica.greeting.ours = replica.greeting.ours._replace(agent="x" * 1000)
        b.node.connect(a.listen())
        self.world.run(1)
        self.assertGreater(len(self.flushLoggedErrors(InvalidValueError)), 0)
        self.assertEqual(a.node.peers + b.node.peers, [])
        replica.greeting.ours = replica.greeting.ours._replace(agent="well")
        self.world.run(5)
        self.assertEqual([peer.agent for peer in b.node.peers], ["well"])

    def test_fault_while_handling_a_message(self) -> None:
        a, b = self.pair()
        c = self.world.site("c")
        c.node.connect(LOCAL.format(a.port))
        self.world.run(1)
        replica = a.node._driver.replica
        good = replica.handle
        author = Author()

        def bad(event: Any, now: float) -> Any:
            if getattr(getattr(event, "message", None), "author", None) == author.key:
                raise ZeroDivisionError
            return good(event, now)

        replica.handle = bad  # type: ignore[method-assign]
        peer = self.world.peer(a)
        peer.hello()
        peer.send(*author.write(b"x"))
        self.world.run(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        assert peer.bye is not None
        self.assertEqual(peer.bye.code, ByeCode.INTERNAL)
        self.assertEqual(len(a.node.peers), 2)
        b.append(b"goes on")
        self.world.run(1)
        self.assertEqual(c.payloads(b.author()), [b"goes on"])

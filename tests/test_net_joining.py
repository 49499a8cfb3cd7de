"""Nodes that find each other: join, flush, leave, ways that fail, PEERS between real nodes, machines that move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import (
    Dht,
    EndpointError,
    Finder,
    Flushed,
    InvalidKeyError,
    InvalidValueError,
    NetworkChanged,
    PeerDown,
    PeerFound,
    PeerLost,
    PeerUp,
    PortMapping,
    Room,
    WayFailed,
)
from gossiplog.addresses import Address
from gossiplog.errors import ByeCode
from gossiplog.limits import BOOK_SECONDS, CLOSE_SECONDS, FIND_DIAL_SECONDS, ROAMING_SECONDS, SLEEP_SECONDS
from gossiplog.net import peering as peering_module
from gossiplog.net.roaming import is_here
from tests.netcase import Site, World

LOCAL = "tcp:127.0.0.1:{}"


class Told:
    """A way that finds who it is told to, at each look."""

    name = "told"

    def __init__(self, *ports: int) -> None:
        self.ports = list(ports)
        self.announced: list[list[tuple[str, int]]] = []
        self.looks = 0
        self.stopped = False

    def start(self, finder: Finder) -> Any:
        self.finder = finder

    def announce(self, addresses: Sequence[tuple[str, int]]) -> Any:
        self.announced.append(list(addresses))

    def look(self) -> Any:
        self.looks += 1
        for port in self.ports:
            self.finder.found("127.0.0.1", port)

    def stop(self) -> Any:
        self.stopped = True


class Slow(Told):
    """A way whose looks never end."""

    name = "slow"

    def look(self) -> Any:
        return Deferred()


class JoiningCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.sites = [self.world.site(name) for name in "abcd"]
        for site in self.sites:
            site.listen()
        self.a, self.b, self.c, self.d = self.sites

    def tearDown(self) -> None:
        self.assertEqual(self.world.close(), [])

    def flush(self, site: Site, *ways: Any, timeout: float = 10.0, **how: Any) -> Flushed:
        """Join, and wait for the first look."""
        self.joined = site.node.join(*ways, **how)
        flushed: Flushed = self.world.result(self.joined.flush(timeout))
        return flushed


class JoinTests(JoiningCase):
    def test_found_and_connected(self) -> None:
        self.b.append(b"hello")
        flushed = self.flush(self.a, Told(self.b.port, self.c.port))
        self.assertEqual(flushed, Flushed(2, 2, {}, timed_out=False))
        self.assertFalse(self.joined.finding)
        found = [notice.endpoint for notice in self.a.of(PeerFound)]
        self.assertEqual(found, [LOCAL.format(self.b.port), LOCAL.format(self.c.port)])
        self.assertEqual({peer.id for peer in self.a.node.peers}, {self.b.node.id, self.c.node.id})
        self.world.run()
        self.assertEqual(self.a.payloads(self.b.author()), [b"hello"])
        known = {found.endpoint: found.node for found in self.a.node.found}
        self.assertEqual(known[LOCAL.format(self.b.port)], self.b.node.id)

    def test_nobody_there(self) -> None:
        """An address where nobody listens, another network, ourselves: the first look ends all the same."""
        flushed = self.flush(self.a, Told(9, self.a.port))
        self.assertEqual(flushed[1:], (0, {}, False))

    def test_ourselves(self) -> None:
        """Who listens everywhere is at the loopback address too: that is not found."""
        [port] = self.a.node._listeners.ports
        port.getHost = lambda: IPv4Address("TCP", "0.0.0.0", self.a.port)
        self.assertEqual(self.flush(self.a, Told(self.a.port)), Flushed(0, 0, {}, timed_out=False))

    def test_an_address_that_swallows_everything(self) -> None:
        """It holds up nobody for long."""
        endpoint = Mock(connect=lambda _: Deferred())
        self.patch(peering_module.endpoints, "client", lambda *_: endpoint)
        self.assertTrue(self.flush(self.a, Told(self.b.port), timeout=1.0).timed_out)
        peering = self.a.node._driver.peering
        self.assertTrue(peering.is_busy)
        self.world.run(FIND_DIAL_SECONDS)
        self.assertFalse(peering.is_busy)

    def test_no_way(self) -> None:
        self.assertEqual(self.flush(self.a), Flushed(0, 0, {}, timed_out=False))

    def test_flush_always_fires(self) -> None:
        """After its timeout, when we leave, when the node stops, when it is over already."""
        joined = self.a.node.join(Slow())
        self.assertTrue(joined.finding)
        flushed = self.world.result(joined.flush(timeout=3.0))
        self.assertTrue(flushed.timed_out)
        waiting = joined.flush(timeout=1000.0)
        self.world.result(joined.leave())
        self.assertFalse(self.world.result(waiting).timed_out)
        waiting = self.b.node.join(Slow()).flush(timeout=1000.0)
        self.world.result(self.b.node.stop())
        self.world.result(waiting)

    def test_leave(self) -> None:
        """Nobody is found any more; sessions stay."""
        way = Told(self.b.port)
        self.flush(self.a, way)
        self.world.result(self.joined.leave())
        self.assertTrue(way.stopped)
        way.finder.found("127.0.0.1", self.c.port)
        self.world.run(30.0)
        self.assertEqual([peer.id for peer in self.a.node.peers], [self.b.node.id])
        self.world.result(self.joined.leave())
        self.flush(self.a, Told(self.c.port))
        self.assertEqual(len(self.a.node.peers), 2)

    def test_twice(self) -> None:
        self.flush(self.a)
        self.assertRaises(InvalidValueError, self.a.node.join)

    def test_links(self) -> None:
        for links in (0, -1, 65, True, "8"):
            self.assertRaises(InvalidValueError, self.a.node.join, links=links)

    def test_lost_and_found_again(self) -> None:
        way = Told(self.b.port)
        self.flush(self.a, way)
        way.finder.lost("127.0.0.1", self.b.port)
        self.assertEqual([notice.endpoint for notice in self.a.of(PeerLost)], [LOCAL.format(self.b.port)])
        self.assertEqual(len(self.a.node.peers), 1)

    def test_one_connection_for_two_who_found_each_other(self) -> None:
        """And none that comes and goes."""
        joined = [site.node.join(Told(*(s.port for s in self.sites))) for site in self.sites]
        for each in joined:
            self.world.result(each.flush())
        for site in self.sites:
            self.assertEqual(len(site.node.peers), 3)
            site.told.clear()
        self.world.run(120.0)
        for site in self.sites:
            self.assertEqual([*site.of(PeerUp), *site.of(PeerDown)], [])

    def test_dialled_again(self) -> None:
        """A node that was away, without any way finding it anew."""
        self.flush(self.a, Told(self.b.port))
        self.b.stop()
        self.world.run(20.0)
        self.assertEqual(self.a.node.peers, [])
        self.b.start()
        self.b.listen()
        self.world.run(60.0)
        self.assertEqual([peer.id for peer in self.a.node.peers], [self.b.node.id])


class FailingTests(JoiningCase):
    def broken(self, method: str, error: BaseException) -> Told:
        """A way of which one method raises."""
        way = Told(self.b.port)

        def fail(*_: Any) -> Any:
            raise error

        setattr(way, method, fail)
        return way

    def test_one_fails(self) -> None:
        """It is told; the others go on."""
        for method in ("start", "announce", "look"):
            site = self.world.site(method)
            site.listen()
            bad = self.broken(method, OSError("no multicast here"))
            bad.name = "bad"
            flushed = self.flush(site, bad, Told(self.c.port))
            self.assertEqual(flushed.failed, {"bad": "no multicast here"})
            self.assertEqual(site.of(WayFailed), [WayFailed("bad", "no multicast here")])
            self.assertIn(self.c.node.id, {peer.id for peer in site.node.peers})

    def test_a_mistake_of_its_own(self) -> None:
        self.flush(self.a, self.broken("look", RuntimeError("oops")))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.a.of(WayFailed), [WayFailed("told", "oops")])

    def test_it_cannot_be_stopped(self) -> None:
        self.flush(self.a, self.broken("stop", OSError("stuck")))
        self.world.result(self.joined.leave())
        self.world.result(self.a.node.stop())

    def test_nonsense_is_found(self) -> None:
        way = Told()
        self.flush(self.a, way)
        for host, port in (("bob.local", 1), ("", 1), ("1.2.3.4", 0), ("1.2.3.4", 70_000), ("1.2.3.4", "x")):
            self.assertRaises(InvalidValueError, way.finder.found, host, port)

    def test_it_is_no_way(self) -> None:
        self.assertRaises(InvalidValueError, self.a.node.join, object())
        self.flush(self.a)


class Lasting(Told):
    """A way that begins and ends when it is told to."""

    name = "lasting"

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.began: Deferred[None] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def start(self, finder: Finder) -> Any:
        self.events.append("start")
        return self.began

    def announce(self, addresses: Sequence[tuple[str, int]]) -> Any:
        self.events.append("announce")

    def look(self) -> Any:
        self.events.append("look")

    def stop(self) -> Any:
        self.events.append("stop")
        return self.ended


class AgainTests(JoiningCase):
    """Join, leave, join: in any order, at any time."""

    def test_what_was_before_ends_first(self) -> None:
        """A goodbye that is said late, or a router asked to stop, takes nothing back that is new."""
        old, new = Lasting(), Lasting()
        left = self.a.node.join(old).leave()
        self.assertEqual(old.events, ["announce", "start", "stop"])
        joined = self.a.node.join(new, old)
        self.world.run(1.0)
        self.assertEqual((old.events[3:], new.events), ([], []))
        self.assertNoResult(left)
        self.assertTrue(joined.finding)
        old.ended.callback(None)
        self.successResultOf(left)
        self.assertEqual((old.events[3:], new.events), (["announce", "start"],) * 2)

    def test_an_end_that_never_comes(self) -> None:
        """It is waited for, but not for ever: then it is told, and who leaves, stops or joins goes on."""
        way = Lasting()
        left = self.a.node.join(way).leave()
        joined = self.a.node.join(way)
        self.world.run(CLOSE_SECONDS - 0.1)
        self.assertNoResult(left)
        self.world.run(0.2)
        self.successResultOf(left)
        self.assertEqual(self.a.of(WayFailed), [WayFailed("lasting", "it did not end within 5 s")])
        self.assertEqual(way.events, ["announce", "start", "stop", "announce", "start"])
        way.ended = Deferred()
        self.world.result(joined.leave())
        self.world.result(self.a.node.stop())

    def test_left_before_it_began(self) -> None:
        """What never started is not stopped."""
        way, next_way = Lasting(), Lasting()
        self.a.node.join(way).leave()
        joined = self.a.node.join(next_way)
        waiting = joined.flush()
        self.world.result(joined.leave())
        self.assertEqual(self.world.result(waiting), Flushed(0, 0, {}, timed_out=False))
        way.ended.callback(None)
        self.world.run(1.0)
        self.assertEqual(next_way.events, [])

    def test_no_look_before_it_started(self) -> None:
        """Also when this machine has another address meanwhile."""
        way = Lasting()
        self.a.node.join(way)
        self.world.result(self.a.node.listen("tcp:41998"))
        self.assertEqual(way.events, ["announce", "start", "announce"])
        way.began.callback(None)
        self.assertEqual(way.events[3:], ["look"])
        self.world.result(self.a.node.listen("tcp:41999"))
        self.assertEqual(way.events[4:], ["announce", "look"])
        way.ended.callback(None)

    def test_one_node_at_a_time(self) -> None:
        """A way of another node is refused before anything starts, and is not ended by who was refused."""
        way, other = Lasting(), Lasting()
        joined = self.a.node.join(way)
        self.assertRaises(InvalidValueError, self.b.node.join, other, way)
        self.assertRaises(InvalidValueError, self.b.node.join, other, other)
        self.assertEqual((other.events, way.events), ([], ["announce", "start"]))
        self.world.result(self.b.node.stop())
        left = joined.leave()
        self.c.node.join(way)
        self.assertEqual(way.events, ["announce", "start", "stop"])
        way.ended.callback(None)
        self.successResultOf(left)
        self.assertEqual(way.events[3:], ["announce", "start"])

    def test_begun_by_somebody_else(self) -> None:
        """Who starts a way that is at work, past the node, is refused."""
        for way in (Dht(), PortMapping(), Room("tcp:127.0.0.1:1")):
            for _ in range(2):  # also once it was stopped
                way.start(Mock(reactor=Clock()))
                self.assertRaises(InvalidValueError, way.start, Mock(reactor=Clock()))
                way.stop()


class PassingOnTests(JoiningCase):
    def share_loopback(self) -> None:
        """Let peers tell of loopback addresses, which all nodes of a test have."""
        self.patch(__import__("gossiplog.gossip.topology", fromlist=["x"]), "may_dial", lambda *_: True)
        for site in self.sites:
            topology = site.node._driver.peering.topology
            self.patch(type(topology), "_is_ours", lambda topology, address: False)

    def test_peers_tell_of_peers(self) -> None:
        self.share_loopback()
        self.b.node.join(Told(self.c.port))
        self.c.node.join()
        self.world.run(5.0)
        self.a.node.join(Told(self.b.port))
        self.world.run(30.0)
        self.assertIn(self.c.node.id, {peer.id for peer in self.a.node.peers})
        self.assertIn(PeerFound("peers", LOCAL.format(self.c.port), self.c.node.id), self.a.told)

    def test_not_of_who_did_not_join(self) -> None:
        self.share_loopback()
        self.b.node.join(Told(self.c.port))
        self.world.run(5.0)
        self.a.node.join(Told(self.b.port))
        self.world.run(30.0)
        self.assertEqual({peer.id for peer in self.a.node.peers}, {self.b.node.id})

    def test_not_if_the_owner_does_not_want_it(self) -> None:
        self.share_loopback()
        self.c.node.join()
        self.b.node.join(Told(self.c.port), tell_peers=False)
        self.world.run(5.0)
        self.a.node.join(Told(self.b.port))
        self.world.run(30.0)
        self.assertEqual({peer.id for peer in self.a.node.peers}, {self.b.node.id})

    def test_loopback_is_told_to_nobody(self) -> None:
        self.b.node.join(Told(self.c.port))
        self.c.node.join()
        self.world.run(5.0)
        self.a.node.join(Told(self.b.port))
        self.world.run(30.0)
        self.assertEqual({peer.id for peer in self.a.node.peers}, {self.b.node.id})
        self.assertEqual(self.a.node.addresses, [])

    def test_a_full_node(self) -> None:
        """Who has to go hears why, and does not come back at once."""
        topology = self.b.node._driver.peering.topology
        self.b.node.join(links=2, max_links=2)
        for site in (self.a, self.c, self.d):
            site.node.join(Told(self.b.port), links=2)
            self.world.run(1.0)
        self.assertEqual(len(list(topology.neighbours)), 2)
        downs = [notice for site in self.sites for notice in site.of(PeerDown) if site is not self.b]
        self.assertEqual([notice.code for notice in downs], [ByeCode.FULL])
        for site in self.sites:
            site.told.clear()
        self.world.run(300.0)
        self.assertEqual(self.b.of(PeerUp), [])

    def test_who_brings_news_stays(self) -> None:
        """A full node sends none of those away who brought it something new lately."""
        self.b.node.join(links=2, max_links=2)
        for site in (self.a, self.c):
            site.node.join(Told(self.b.port), links=2)
        self.world.run(1.0)
        self.a.append(b"news")
        self.c.append(b"news")
        self.world.run(1.0)
        for late in (self.d, *[self.world.site(name) for name in "efgh"]):
            late.node.join(Told(self.b.port), links=2)
            self.world.run(2.0)
        self.assertEqual({peer.id for peer in self.b.node.peers}, {self.a.node.id, self.c.node.id})


class KeepingTests(JoiningCase):
    def test_over_a_restart(self) -> None:
        """Where peers were is known the next time, without any way of finding them."""
        self.flush(self.a, Told(self.b.port))
        self.a.stop()
        self.a.start()
        self.flush(self.a)
        self.world.run(5.0)
        self.assertEqual([peer.id for peer in self.a.node.peers], [self.b.node.id])

    def test_while_it_runs(self) -> None:
        """Once a minute at most, and only what changed."""
        self.flush(self.a, Told(self.b.port))
        self.world.run(BOOK_SECONDS + 1)
        saved = self.a.backend.meta("book")
        self.assertIsNotNone(saved)

    def test_a_copy_begins_anew(self) -> None:
        self.flush(self.a, Told(self.b.port))
        self.a.stop()
        self.a.start()
        self.a.store._core.front.copied = "it was restored"
        self.flush(self.a)
        self.world.run(5.0)
        self.assertEqual(self.a.node.found, [])

    def test_forget(self) -> None:
        self.flush(self.a, Told(9))
        self.assertTrue(self.a.node.forget(LOCAL.format(9)))
        self.assertFalse(self.a.node.forget(LOCAL.format(9)))
        self.assertEqual(self.a.node.found, [])

    def test_connect_to(self) -> None:
        self.assertRaises(EndpointError, self.a.node.connect_to, self.b.node.id)
        self.assertRaises(InvalidKeyError, self.a.node.connect_to, b"bob")
        self.flush(self.a, Told(self.b.port))
        dialer = self.a.node.connect_to(self.b.node.id)
        self.assertEqual(dialer.endpoint, LOCAL.format(self.b.port))


class RoamingTests(JoiningCase):
    def setUp(self) -> None:
        super().setUp()
        self.here = frozenset({"192.0.2.7/24"})
        self.looks = 0
        for site in self.sites:
            site.node._meeting._roaming._looks = self.look, frozenset

    def look(self) -> frozenset[str]:
        """Where the machine is."""
        self.looks += 1
        return self.here

    def move(self, site: Site, *addresses: str) -> None:
        """The machine has these addresses now; its connections came from another one."""
        self.here = frozenset(addresses)

    def test_told(self) -> None:
        [port] = self.a.node._listeners.ports
        port.getHost = lambda: IPv4Address("TCP", "0.0.0.0", self.a.port)
        way = Told()
        self.flush(self.a, way)
        looks = way.looks
        self.move(self.a, "198.51.100.9/24")
        self.world.run(ROAMING_SECONDS)
        self.assertEqual(self.a.of(NetworkChanged), [NetworkChanged(("198.51.100.9/24",), slept=False)])
        self.assertEqual(way.looks, looks + 1)
        self.assertEqual(self.a.node.addresses, [f"tcp:198.51.100.9:{self.a.port}"])
        self.assertEqual(way.announced[-1], [("198.51.100.9", self.a.port)])

    def test_one_look_for_all(self) -> None:
        """However many nodes a process has, it looks once a second; not at all when none of them watches."""
        for site in self.sites:
            site.node.join()
        self.looks = 0
        self.world.run(20 * ROAMING_SECONDS)
        self.assertEqual(self.looks, 20)
        for site in self.sites:
            site.node._meeting._roaming.stop()
        self.world.run(20 * ROAMING_SECONDS)
        self.assertEqual(self.looks, 20)

    def test_a_cable_that_is_in_again(self) -> None:
        """Told when it is in: nobody who is still there is given up for it."""
        roaming = self.a.node._meeting._roaming
        carriers = frozenset({"lo", "eth0"})
        roaming._looks = self.look, lambda: carriers
        self.flush(self.a, Told(self.b.port))
        for up, told in (({"lo"}, 0), ({"lo", "eth0"}, 1)):
            carriers = frozenset(up)
            self.world.run(2 * ROAMING_SECONDS)
            self.assertEqual(len(self.a.of(NetworkChanged)), told)
        self.assertEqual(self.a.of(PeerDown), [])

    def test_a_sleep(self) -> None:
        self.flush(self.a, Told(self.b.port))
        watch = self.a.node._meeting._roaming._watch
        assert watch is not None
        watch._looked_at -= SLEEP_SECONDS
        self.world.run(ROAMING_SECONDS)
        self.assertEqual([notice.slept for notice in self.a.of(NetworkChanged)], [True])
        self.world.run(10.0)
        self.assertEqual(self.a.of(PeerDown), [])

    def test_who_does_not_answer(self) -> None:
        """After a move a peer has two seconds, then the connection is made anew."""
        self.flush(self.a, Told(self.b.port))
        for side in self.world.reactor.sides:
            side.silent = True
        self.patch(type(self.b.node._driver), "received", lambda *_: None)
        self.move(self.a, "198.51.100.9/24")
        self.world.run(ROAMING_SECONDS + 2.5)
        self.assertEqual([notice.code for notice in self.a.of(PeerDown)], [ByeCode.TIMEOUT])

    def test_what_failed_is_dialled_at_once(self) -> None:
        self.b.stop()
        self.a.node.connect(LOCAL.format(self.b.port))
        self.flush(self.a)
        self.world.run(300.0)
        self.b.start()
        self.b.listen()
        self.move(self.a, "198.51.100.9/24")
        self.world.run(ROAMING_SECONDS + 0.5)
        self.assertEqual([peer.id for peer in self.a.node.peers], [self.b.node.id])

    def test_when_it_is_watched(self) -> None:
        """Without joining: once there is a session beyond this machine, whatever its peer was called."""
        self.a.node.connect(LOCAL.format(self.b.port))
        self.world.run(1.0)
        self.assertEqual(len(self.a.node.peers), 1)
        roaming = self.a.node._meeting._roaming
        self.assertEqual(roaming.addresses, frozenset())
        self.patch(peering_module, "address_of", lambda link: Address.of("192.0.2.9", 4000))
        self.a.node.connect(f"tcp:localhost:{self.c.port}")
        self.world.run(1.0)
        self.assertEqual(roaming.addresses, self.here)

    def test_here(self) -> None:
        for host in ("127.0.0.1", "::1", "fe80::1%eth0", "localhost", "/run/socket", ""):
            self.assertTrue(is_here(host), host)
        for host in ("192.168.1.2", "1.1.1.1", "2a00::1"):
            self.assertFalse(is_here(host), host)

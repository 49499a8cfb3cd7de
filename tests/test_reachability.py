"""Whether others can dial us: what follows from who came, and who did not."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.addresses import Address
from gossiplog.gossip.reachability import Reachability
from gossiplog.limits import REACHABLE_PLACES, REACHABLE_SECONDS
from gossiplog.net import peering
from gossiplog.notices import Reachability as Told
from tests.netcase import World

PUBLIC, OTHER, NEAR = (Address.of(host, 1) for host in ("1.2.3.4", "5.6.7.8", "192.168.1.7"))


class ReachabilityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.us = Reachability()

    def told(self, *peers: Address, now: float = 0.0) -> None:
        """These peers know where to come."""
        for peer in peers:
            self.us.told(peer.ip, peer.group, now)

    def test_somebody_comes(self) -> None:
        """From elsewhere; a neighbour can where others cannot."""
        self.us.came(NEAR.ip)
        self.assertIsNone(self.us.at(0.0))
        self.us.came(PUBLIC.ip)
        self.assertIs(self.us.at(0.0), True)
        self.us.came(NEAR.ip)
        self.assertIs(self.us.at(0.0), True)

    def test_nobody_comes(self) -> None:
        self.told(PUBLIC)
        self.told(OTHER, now=5.0)
        self.assertEqual(self.us.due, 5.0 + REACHABLE_SECONDS)
        self.assertIsNone(self.us.at(4.0 + REACHABLE_SECONDS))
        self.assertIs(self.us.at(5.0 + REACHABLE_SECONDS), False)
        self.us.came(PUBLIC.ip)
        self.assertIs(self.us.at(6.0 + REACHABLE_SECONDS), True)
        self.assertIsNone(self.us.due)

    def test_one_place_is_not_enough(self) -> None:
        self.told(PUBLIC, PUBLIC, Address.of("1.2.9.9", 1), NEAR)
        self.assertGreater(REACHABLE_PLACES, 1)
        self.assertIsNone(self.us.at(10 * REACHABLE_SECONDS))

    def test_elsewhere(self) -> None:
        """A machine that moved knows nothing."""
        self.us.came(PUBLIC.ip)
        self.us.moved()
        self.assertIsNone(self.us.at(0.0))


class NodeTests(SynchronousTestCase):
    """A node says it, as soon as it is another answer."""

    def test_told(self) -> None:
        world = World()
        a, b = world.site("a"), world.site("b")
        address = a.listen()
        self.patch(peering, "address_of", lambda link: PUBLIC)
        self.assertIsNone(a.node.reachable)
        b.node.connect(address)
        world.run()
        self.assertIs(a.node.reachable, True)
        self.assertIsNone(b.node.reachable)  # who dials shows nothing of itself
        self.assertEqual(a.of(Told), [Told(True)])
        a.node.join()
        a.node._driver.peering.moved(frozenset())
        self.assertEqual(a.of(Told), [Told(True), Told(None)])
        self.assertEqual(world.close(), [])

    def test_nobody_comes(self) -> None:
        """The alarm is set for when silence means no."""
        world = World()
        a = world.site("a")
        a.listen()
        a.node.join()
        us: Any = a.node._driver.peering
        us._handle = Mock()
        for peer in (PUBLIC, OTHER):
            us.reachability.told(peer.ip, peer.group, us._now)
        us.step()
        world.run(REACHABLE_SECONDS - 1.0)
        self.assertEqual(a.of(Told), [])
        world.run(2.0)
        self.assertEqual(a.of(Told), [Told(False)])
        self.assertEqual(world.close(), [])

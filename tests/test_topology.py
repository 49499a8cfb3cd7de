"""Which links a node that joined keeps: alone against a script, and a thousand against each other."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.addresses import Address
from gossiplog.gossip.links import Dial, Drop, Tell
from gossiplog.gossip.messages import Contact, Peers
from gossiplog.gossip.neighbour import Neighbour
from gossiplog.gossip.topology import Topology
from gossiplog.testing.sim.swarm import Swarm
from gossiplog.testing.sim.swarms import deliver, grow, grow_with_liars, honest_links, place
from tests.test_book import at, node


class Stage:
    """I am the surroundings of one topology."""

    def __init__(self, wanted: int = 8) -> None:
        self.topology = Topology(node(0), Random(1))
        self.now = 1000.0
        self.topology.join(wanted, self.now)
        self.sessions = 0

    def up(
        self,
        number: int,
        *,
        dialled: bool = False,
        chosen: bool = False,
        takes: bool = True,
        group: int | None = None,
    ) -> int:
        """A session opens with the node of this number."""
        self.sessions += 1
        where = at(number, group)
        self.topology.opened(
            Neighbour(
                self.sessions,
                node(number),
                where,
                where if dialled else None,
                is_chosen=chosen,
                takes_peers=takes,
                now=self.now,
            ),
            self.now,
        )
        return self.sessions

    def step(self, seconds: float = 0.0) -> list[Dial | Tell | Drop]:
        """Let time pass, and return what is to be done."""
        self.now += seconds
        return self.topology.step(self.now)

    def dials(self, seconds: float = 0.0) -> list[Dial]:
        """As :meth:`step`, dials only."""
        return [action for action in self.step(seconds) if isinstance(action, Dial)]

    def drops(self, seconds: float = 0.0) -> list[Drop]:
        """As :meth:`step`, sessions that end."""
        return [action for action in self.step(seconds) if isinstance(action, Drop)]

    def find(self, *numbers: int, group: int | None = None) -> None:
        """The owner's way finds these."""
        for number in numbers:
            self.topology.found(f"way{number}", at(number, group), None, self.now)

    def tell(self, session: int, *contacts: Contact, seen: Address | None = None) -> list[Contact]:
        """A peer says PEERS."""
        return self.topology.heard(session, Peers(contacts, seen), self.now)


def contact(number: int, *addresses: Address) -> Contact:
    """A node that a peer tells of."""
    return Contact(node(number), 5, addresses or (at(number),))


class DialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stage = Stage()

    def reach(self, dials: list[Dial]) -> None:
        """Those dialled answer."""
        for dial in dials:
            number = int.from_bytes(dial.address.ip[2:], "big")
            self.stage.topology.dialled(dial.address, node(number), self.stage.now)
            self.stage.up(number, dialled=True, group=dial.address.ip[1])

    def test_until_there_are_enough(self) -> None:
        self.stage.find(*range(1, 40))
        for _ in range(25):
            self.reach(self.stage.dials(1.0))
        self.assertEqual(len(list(self.stage.topology.neighbours)), limits.LINKS_WANTED)

    def test_another_address_of_a_peer(self) -> None:
        """Found by a way that does not say whose it is: dialled once, and again only when the session is over."""
        session = self.stage.up(1)
        self.stage.find(2)
        self.assertEqual([dial.address for dial in self.stage.dials()], [at(2)])
        self.stage.topology.dialled(at(2), node(1), self.stage.now)
        self.assertEqual([self.stage.dials(60.0) for _ in range(60)], [[]] * 60)
        self.stage.topology.closed(session, self.stage.now)
        self.assertEqual([dial.address for dial in self.stage.dials()], [at(2)])

    def test_one_of_the_addresses_of_a_node(self) -> None:
        """Those that a way says are of one; another only once that one failed."""
        for number in (1, 2, 3):
            self.stage.topology.found(
                "lan", at(number), None, self.stage.now, b"" if number == 3 else b"same"
            )
        first, second = [dial.address for dial in self.stage.dials() + self.stage.dials(1.0)]
        [one] = {first, second} - {at(3)}
        self.assertIn(at(3), (first, second))
        self.stage.topology.dialled(one, None, self.stage.now)
        [other] = self.stage.dials(1.0)
        self.assertEqual({one, other.address}, {at(1), at(2)})
        number = 1 if other.address == at(1) else 2
        self.stage.topology.dialled(other.address, node(number), self.stage.now)
        self.stage.up(number, dialled=True)
        self.assertEqual([dial.address for dial in self.stage.dials(10.0)], [])

    def test_some_of_our_own(self) -> None:
        """Who fills a node's places from outside is not alone with it."""
        for number in range(100, 120):
            self.stage.up(number)
        self.stage.find(*range(1, 20))
        for _ in range(25):
            self.reach(self.stage.dials(1.0))
        own = [n for n in self.stage.topology.neighbours if n.address is not None]
        self.assertEqual(len(own), limits.LINKS_DIALLED)

    def test_in_different_places(self) -> None:
        """Links of one address group are one, as long as there are others; alone they are better than none."""
        self.stage.find(*range(1, 5), group=7)
        self.reach(self.stage.dials())
        self.assertEqual(len(list(self.stage.topology.neighbours)), 4)
        self.stage.find(*range(20, 40))
        for _ in range(25):
            self.reach(self.stage.dials(1.0))
        groups = [n.group for n in self.stage.topology.neighbours]
        self.assertEqual((len(groups), len(set(groups))), (3 + limits.LINKS_WANTED, limits.LINKS_WANTED))

    def test_not_where_somebody_came_from(self) -> None:
        """Who fills our places from a few groups is not dialled there as well."""
        for number in range(100, 104):
            self.stage.up(number, group=number)
        self.stage.find(*range(200, 204))
        for number in range(104, 108):
            self.stage.find(number, group=number - 4)
        dialled = []
        for _ in range(3):
            dialled += [dial.address for dial in self.stage.dials(1.0)]
        self.assertEqual(set(dialled[:4]), {at(number) for number in range(200, 204)})

    def test_chosen_ones_count(self) -> None:
        for number in range(100, 108):
            self.stage.up(number, dialled=True, chosen=True)
        self.stage.find(*range(1, 20))
        self.assertEqual(self.stage.dials(1.0), [])

    def test_not_before_joining_nor_after_leaving(self) -> None:
        topology = Topology(node(0), Random(1))
        topology.found("way", at(1), None, 0.0)
        self.assertEqual(topology.step(5.0), [])
        self.assertIsNone(topology.deadline(5.0))
        self.stage.find(1)
        self.stage.topology.leave()
        self.assertEqual(self.stage.step(10.0), [])

    def test_budget(self) -> None:
        """Two a second, eight at once, however many are found."""
        self.stage.find(*range(1, 60))
        made = self.stage.dials()
        self.assertLessEqual(len(made), 4)
        for _ in range(100):
            made += self.stage.dials(0.1)
        self.assertEqual(len(made), limits.DIALS_AT_ONCE)
        for dial in made:
            self.stage.topology.dialled(dial.address, None, self.stage.now)
        before, begun = self.stage.now, 0
        while self.stage.now < before + 5:
            fresh = self.stage.dials(0.1)
            begun += len(fresh)
            for dial in fresh:
                self.stage.topology.dialled(dial.address, None, self.stage.now)
        self.assertLessEqual(begun, 4 + 5 * limits.DIALS_PER_SECOND + 1)

    def test_nothing_to_do(self) -> None:
        """Who has to wait waits: for a dial that is under way, for a group, and does not ask again and again."""
        self.stage = Stage(wanted=20)
        self.stage.find(*range(1, 60))
        for number in range(100, 130):
            session = self.stage.up(number, group=100)
            self.stage.tell(session, contact(number, at(number + 100, 100)))
        end, steps = self.stage.now + 60.0, 0
        while self.stage.now < end and steps < 1000:
            self.stage.step()
            steps += 1
            deadline = self.stage.topology.deadline(self.stage.now)
            assert deadline is not None
            self.stage.now = max(deadline, self.stage.now + 1e-6)
        self.assertLess(steps, 60)

    def test_one_victim(self) -> None:
        """Many ports of one address group: four dials a minute."""
        for number in range(1, 9):
            self.stage.find(number, group=3)
        made = 0
        for _ in range(60):
            for dial in self.stage.dials(1.0):
                made += 1
                self.stage.topology.dialled(dial.address, None, self.stage.now)
        self.assertLessEqual(made, 2 * limits.GROUP_DIALS_PER_MINUTE)

    def test_nobody_twice(self) -> None:
        session = self.stage.up(1)
        self.stage.tell(session, contact(1))
        self.assertEqual([dial for dial in self.stage.dials() if not dial.is_check], [])

    def test_ourselves(self) -> None:
        """An address that leads back is left alone for an hour, and not for good: a path can lead anywhere."""
        self.stage.find(1)
        [dial] = self.stage.dials()
        self.stage.topology.dialled(dial.address, node(0), self.stage.now)
        self.stage.find(1)
        self.assertEqual(self.stage.dials(limits.FIND_MOST_SECONDS - 1), [])
        self.stage.dials(1.0)
        self.stage.find(1)
        self.assertEqual(len(self.stage.dials(1.0)), 1)

    def test_left_alone_for_a_while(self) -> None:
        """Who had no room is not dialled for half an hour, who went for five seconds."""
        self.stage.find(1)
        [dial] = self.stage.dials()
        self.stage.topology.dialled(dial.address, node(1), self.stage.now)
        session = self.stage.up(1, dialled=True)
        self.stage.topology.closed(session, self.stage.now, is_full=True)
        self.assertEqual(self.stage.dials(limits.ROTATION_SECONDS - 1), [])
        [dial] = self.stage.dials(1.0)
        self.stage.topology.dialled(dial.address, node(1), self.stage.now)
        session = self.stage.up(1, dialled=True)
        self.stage.topology.closed(session, self.stage.now)
        self.assertEqual(self.stage.dials(limits.FIND_FIRST_SECONDS - 1), [])
        self.assertEqual(len(self.stage.dials(1.0)), 1)

    def test_who_ends_sessions_at_once(self) -> None:
        """Is dialled less and less, though it answers; once a session lasted, soon again."""
        self.stage.find(1)
        topology, waits = self.stage.topology, []
        for lasts in (0.0, 0.0, 0.0, 0.0, limits.FEELER_STAY_SECONDS, 0.0):
            while not self.stage.dials():
                self.stage.now += 1.0
                waits[-1] += 1.0
            topology.dialled(at(1), node(1), self.stage.now)
            session = self.stage.up(1, dialled=True)
            self.stage.now += lasts
            topology.closed(session, self.stage.now)
            waits.append(0.0)
        self.assertEqual(waits.pop(), 0.0)
        self.assertEqual(waits, [*sorted(waits[:4]), limits.FIND_FIRST_SECONDS])
        self.assertGreater(waits[3], 4 * waits[0])

    def test_moved(self) -> None:
        """What failed is tried at once where the network is another one."""
        self.stage.find(1)
        self.stage.topology.dialled(self.stage.dials()[0].address, None, self.stage.now)
        self.assertEqual(self.stage.dials(1.0), [])
        self.stage.topology.moved(self.stage.now)
        self.assertEqual(len(self.stage.dials()), 1)

    def test_lan_links_are_of_their_own(self) -> None:
        """An office has eight beside those beyond it."""
        for number in range(100, 108):
            self.stage.up(number, dialled=True, chosen=True)
        near = [Address(bytes([10, 0, 0, number]), 4000) for number in range(1, 30)]
        for address in near:
            self.stage.topology.found("lan", address, None, self.stage.now)
        begun: list[Dial] = []
        for _ in range(25):
            for dial in self.stage.dials(1.0):
                begun.append(dial)
                self.stage.topology.dialled(dial.address, b"n" * 31 + dial.address.ip[3:], self.stage.now)
                self.stage.sessions += 1
                self.stage.topology.opened(
                    Neighbour(
                        self.stage.sessions,
                        b"n" * 31 + dial.address.ip[3:],
                        dial.address,
                        dial.address,
                        is_chosen=False,
                        takes_peers=True,
                        now=self.stage.now,
                    ),
                    self.stage.now,
                )
        self.assertEqual(len(begun), limits.LAN_LINKS)


class HearsayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stage = Stage()
        self.peer = self.stage.up(1)

    def test_heard(self) -> None:
        new = self.stage.tell(self.peer, contact(2), contact(3, Address(bytes([127, 0, 0, 1]), 4000)))
        self.assertEqual(new, [contact(2)])
        self.assertEqual([dial.address for dial in self.stage.dials()], [at(2)])

    def test_too_often(self) -> None:
        """What comes sooner than it may is passed over."""
        self.stage.tell(self.peer, contact(2))
        for number, wait in enumerate((30, 60, 120, 240, 480, 600, 600), 3):
            self.stage.now += 0.8 * wait
            self.assertEqual(self.stage.tell(self.peer, contact(number)), [])
            self.stage.now += 0.2 * wait
            self.assertEqual(self.stage.tell(self.peer, contact(number)), [contact(number)])

    def test_not_before_joining(self) -> None:
        self.stage.topology.leave()
        self.assertEqual(self.stage.tell(self.peer, contact(2)), [])
        self.assertEqual(len(self.stage.topology.book), 0)

    def test_ourselves(self) -> None:
        self.stage.topology.own = (at(7),)
        self.assertEqual(self.stage.tell(self.peer, contact(0), contact(5, at(7))), [])

    def test_where_a_peer_listens_is_looked_at(self) -> None:
        """Once, and the connection ends with the handshake; then it is passed on."""
        self.stage.tell(self.peer, contact(1, at(50)))
        [dial] = self.stage.dials()
        self.assertEqual(dial, Dial(at(50), is_check=True))
        other = self.stage.up(9)
        self.stage.topology.dialled(at(50), node(1), self.stage.now)
        [tell] = [a for a in self.stage.step() if isinstance(a, Tell) and a.session == other]
        self.assertEqual([each.addresses for each in tell.message.contacts], [(at(50),)])
        self.assertEqual(self.stage.dials(60.0), [])

    def test_where_somebody_else_is(self) -> None:
        """A peer that says it is where another node answers: forgotten."""
        self.stage.tell(self.peer, contact(1, at(50)))
        self.stage.dials()
        self.stage.topology.dialled(at(50), node(2), self.stage.now)
        self.assertIsNone(self.stage.topology.book.get(at(50)))

    def test_seen(self) -> None:
        """Our own address, once two peers in different places say the same."""
        first = self.stage.up(20, dialled=True)
        second = self.stage.up(21, dialled=True)
        same = self.stage.up(22, dialled=True, group=20)
        here = Address(bytes([9, 9, 9, 9]), 50_000)
        self.stage.tell(first, seen=here)
        self.stage.tell(same, seen=here)
        self.assertIsNone(self.stage.topology.public)
        self.stage.tell(second, seen=here)
        self.assertEqual(self.stage.topology.public, here.ip)

    def test_what_is_remembered_of_it(self) -> None:
        for number in range(2 * limits.MAX_SEEN):
            session = self.stage.up(20 + number, dialled=True)
            self.stage.tell(session, seen=Address(bytes([9, 9, 9, number]), 50_000))
        self.assertEqual(len(self.stage.topology._seen), limits.MAX_SEEN)


class TellingTests(SynchronousTestCase):
    def test_when(self) -> None:
        """After HELLO, then after half a minute, a minute, at last every ten; with where we see the peer."""
        stage = Stage()
        peer = stage.up(1)
        [tell] = stage.step()
        self.assertEqual(tell, Tell(peer, Peers((), at(1))))
        for wait in (30, 60, 120, 240, 480, 600, 600):
            self.assertEqual(stage.step(wait - 1.0), [])
            self.assertEqual(len(stage.step(1.0)), 1)

    def test_who(self) -> None:
        """Nobody who did not name the feature, and nobody at all if the owner does not want it."""
        stage = Stage()
        stage.up(1, takes=False)
        self.assertEqual(stage.step(), [])
        stage = Stage()
        stage.topology.tells = False
        stage.up(1)
        self.assertEqual(stage.step(), [])

    def test_ourselves(self) -> None:
        stage = Stage()
        stage.topology.own = (at(7),)
        stage.up(1)
        [tell] = stage.step()
        assert isinstance(tell, Tell)
        self.assertEqual(tell.message.contacts, (Contact(node(0), 0, (at(7),)),))


class RoomTests(SynchronousTestCase):
    def fill(self, stage: Stage) -> None:
        """As many as may be."""
        for number in range(100, 100 + limits.MAX_FOUND_LINKS):
            stage.up(number, group=100 + number % 16)
        self.assertEqual(stage.drops(), [])

    def test_one_too_many(self) -> None:
        """It is told of others first."""
        stage = Stage()
        self.fill(stage)
        late = stage.up(300, group=100)
        actions = stage.step()
        [drop] = [action for action in actions if isinstance(action, Drop)]
        told = [action.session for action in actions if isinstance(action, Tell)]
        self.assertTrue(drop.is_full)
        self.assertIn(late, told)
        self.assertIn(drop.session, [*told, *range(1, late)])
        gone = next(n for n in stage.topology.neighbours if n.session == drop.session)
        self.assertEqual(gone.group, at(300, 100).group)

    def test_chosen_ones_take_no_place(self) -> None:
        """However many the owner connects, nobody has to go for them."""
        stage = Stage()
        self.fill(stage)
        for number in range(300, 400):
            stage.up(number, dialled=True, chosen=True)
        self.assertEqual(stage.drops(), [])
        stage.up(400)
        self.assertEqual(len(stage.drops()), 1)

    def test_who_stays(self) -> None:
        """Those the owner chose, those we dialled, those who brought news."""
        stage = Stage()
        chosen = [stage.up(number, dialled=True, chosen=True, group=100) for number in range(1, 5)]
        dialled = [stage.up(number, dialled=True, group=100) for number in range(5, 9)]
        useful = [stage.up(number, group=100) for number in range(9, 13)]
        for neighbour in stage.topology.neighbours:
            if neighbour.session in useful:
                neighbour.news_at = stage.now
        for number in range(100, 180):
            stage.up(number, group=100 + number % 3)
        gone = {drop.session for drop in stage.drops()}
        self.assertEqual(len(gone), 8 + 80 - limits.MAX_FOUND_LINKS)
        self.assertEqual(gone & {*chosen, *dialled, *useful}, set())

    def test_who_was_there_before_a_flood(self) -> None:
        """Of one group, none of whom brought anything: those who come take each other's places."""
        stage = Stage()
        early = [stage.up(number, group=100) for number in range(100, 120)]
        for number in range(1000, 2000):
            stage.now += 0.01
            stage.up(number, group=100)
            for drop in stage.drops():
                self.assertNotIn(drop.session, early)
                stage.topology.closed(drop.session, stage.now)
        self.assertEqual(len([*stage.topology.neighbours]), limits.MAX_FOUND_LINKS)

    def test_a_relay_keeps_more(self) -> None:
        """As many as its owner said."""
        stage = Stage()
        stage.topology.join(8, stage.now, 200)
        for number in range(100, 300):
            stage.up(number)
        self.assertEqual(stage.drops(), [])
        self.assertFalse(stage.topology.takes(node(301)))
        stage.up(300)
        self.assertEqual(len(stage.drops()), 1)

    def test_all_useful(self) -> None:
        """Then the youngest goes: news do not lift the bound."""
        stage = Stage()
        for number in range(100, 100 + limits.MAX_FOUND_LINKS):
            stage.up(number)
        stage.now += 1
        late = stage.up(300)
        for neighbour in stage.topology.neighbours:
            neighbour.news_at = stage.now
        self.assertEqual([drop.session for drop in stage.drops()], [late])

    def test_news_of_the_fullest_group(self) -> None:
        """Who brings news from a few groups does not keep out who is of another and brought none yet."""
        stage = Stage()
        for number in range(limits.MAX_FOUND_LINKS):
            stage.up(100 + number, group=100 + number % 16)
        stage.now += 1
        lone = stage.up(300)
        stage.up(301, group=100)
        for neighbour in stage.topology.neighbours:
            if neighbour.session != lone:
                neighbour.news_at = stage.now
        gone = {drop.session for drop in stage.drops()}
        groups = {n.group for n in stage.topology.neighbours if n.session in gone}
        self.assertEqual((len(gone), lone in gone, groups), (2, False, {at(301, 100).group}))

    def test_rotation_at_first(self) -> None:
        """As often as there are links of our own choice; what was chosen among few goes soon."""
        stage = Stage()
        for number in range(1, 9):
            stage.up(number, dialled=True)
        stage.find(50)
        began, gone = stage.now, []
        for _ in range(1000):
            stage.topology.book.verified(at(50), node(50), stage.now, is_shared=True)
            gone += [stage.now - began for _ in stage.drops(1.0)]
        first = limits.ROTATION_FIRST_SECONDS
        steady = [first * number for number in range(1, limits.LINKS_DIALLED + 2)]
        self.assertEqual(gone[: len(steady)], steady)
        self.assertEqual(gone[len(steady)] - steady[-1], 2 * first)

    def test_rotation(self) -> None:
        """Every half hour one that was dialled unasked goes, if there are others to be had."""
        stage = Stage(wanted=4)
        dialled = [stage.up(number, dialled=True) for number in range(1, 5)]
        self.assertEqual(stage.drops(limits.ROTATION_SECONDS), [])
        stage.find(50)
        [drop] = stage.drops(limits.ROTATION_SECONDS)
        self.assertIn(drop.session, dialled)
        self.assertFalse(drop.is_full)

    def test_feelers(self) -> None:
        """Now and then an address that nobody verified is tried; the session is short."""
        stage = Stage(wanted=4)
        for number in range(1, 5):
            stage.up(number, dialled=True, chosen=True)
        stage.find(50)
        self.assertEqual(stage.dials(limits.FEELER_FIRST_SECONDS - 1), [])
        [dial] = stage.dials(1.0)
        stage.topology.dialled(dial.address, node(50), stage.now)
        session = stage.up(50, dialled=True)
        self.assertEqual(stage.drops(limits.FEELER_STAY_SECONDS - 1), [])
        self.assertEqual(stage.drops(1.0), [Drop(session, False)])
        stage.find(51, group=50)
        stage.find(52)
        stage.topology.closed(session, stage.now)
        began = stage.now
        while not (dials := stage.dials(1.0)):
            pass
        self.assertEqual([dial.address for dial in dials], [at(52)])  # where nobody was met
        self.assertLessEqual(stage.now - began, 2 * limits.FEELER_FIRST_SECONDS)

    def test_one_of_the_fullest_group_goes(self) -> None:
        """Also of those we dialled: whoever has most links of one group gets none more by rotation."""
        stage = Stage(wanted=4)
        for number in range(1, 4):
            stage.up(number, dialled=True)
        crowded = stage.up(4, dialled=True, group=900)
        for number in range(5, 8):
            stage.up(number, group=900)
        stage.find(50)
        self.assertEqual(stage.drops(limits.ROTATION_FIRST_SECONDS), [Drop(crowded, False)])


class SwarmTests(SynchronousTestCase):
    """Small ones; figures of 1,000 and 10,000: ``python -m bench swarm``."""

    def test_one_network(self) -> None:
        """And entries take it as a tree: one copy for each node."""
        swarm = grow(40, seed=1)
        swarm.run(30.0)
        degrees = swarm.degrees()
        self.assertEqual(swarm.components(), [40])
        self.assertLessEqual(sum(degrees) / 40, 16)
        self.assertGreaterEqual(min(degrees), limits.LINKS_DIALLED)
        self.assertLessEqual(max(degrees), limits.MAX_FOUND_LINKS + 1)
        figures, delivery = deliver(swarm, seed=1, authors=1)
        self.assertGreater(delivery.entries, 3)
        self.assertEqual(delivery.undelivered, 0)
        self.assertLessEqual(figures.copies, 1.2)

    def test_half_of_them_die(self) -> None:
        swarm = grow(60, seed=2)
        swarm.run(30.0)
        swarm.kill(Random(3).sample(swarm.members, 30))
        swarm.run(120.0)
        self.assertEqual(swarm.components(), [30])

    def test_one_bootstrap_for_all(self) -> None:
        """Who has no room tells of others."""
        swarm = Swarm(4)
        first = swarm.add(place(0))
        for number in range(1, 75):
            swarm.add(place(number), [first])
            swarm.run(0.2)
        swarm.run(60.0)
        self.assertEqual(swarm.components(), [75])
        self.assertLessEqual(len(first.sessions), limits.MAX_FOUND_LINKS)

    def test_two_swarms_that_meet(self) -> None:
        swarm = grow(60, seed=5, islands=2)
        self.assertEqual(swarm.components(), [30, 30])
        swarm.meet(swarm.members[0], swarm.members[1])
        swarm.run(limits.PEERS_SECONDS)
        self.assertEqual(swarm.components(), [60])
        crossing = sum((a - b) % 2 for a, b in swarm.edges())
        self.assertGreater(crossing / len(swarm.edges()), 0.05)

    def test_liars(self) -> None:
        """Half of all, from 16 groups: five minutes later each of the honest has four links with others, or more."""
        for habit, count, seeds in (
            ("allied", 80, [1]),
            ("mixed", 50, [1]),
            ("mute", 40, [1]),
            ("closing", 40, [1]),
            ("early", 80, [1, 2]),
        ):
            for seed in seeds:
                swarm, honest = grow_with_liars(count, seed, habit)
                swarm.run(300.0)
                self.assertGreaterEqual(min(honest_links(honest)), 4, (habit, seed))

    def test_liars_that_hold_all_places(self) -> None:
        """They have more ids than there are places, come again when they are turned out, and are first with news."""
        swarm, honest = grow_with_liars(40, 1, "holding")
        swarm.run(100.0)
        self.assertGreaterEqual(min(honest_links(honest)), 4)
        self.assertLessEqual(max(len(each.sessions) for each in honest), limits.MAX_FOUND_LINKS + 1)

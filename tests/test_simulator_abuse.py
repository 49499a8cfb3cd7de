"""Ring 4: members that behave just well enough not to be sent away, and what the others must not lose by it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.gossip.messages import Have, HaveItem, Item, Message, Range, RangeKind, Ranges, Segment, Want
from gossiplog.log.keys import Keypair
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.stranger import Stranger
from tests.test_simulator_hostile import MALLORY, OTHER, segments


class AbuseCase(SynchronousTestCase):
    """Ann and Bob, who are honest, and a member at Bob whom everybody takes for honest."""

    def setUp(self) -> None:
        """Everyone is connected and at rest."""
        self.cluster = Cluster(1)
        self.ann, self.bob = self.cluster.add(0), self.cluster.add(0)
        self.cluster.connect(self.ann, self.bob)
        self.source, self.member = Stranger(self.cluster, "source"), Stranger(self.cluster, "member")
        self.cluster.start()
        self.source.dial(self.ann)
        self.cluster.run(1.0)

    def known(self, made: list[Segment]) -> list[Segment]:
        """These were really signed."""
        for segment in made:
            self.cluster.checker.sign(segment)
        return made

    def until(self, done: Callable[[], bool], most: float) -> float:
        """Let time pass until something holds; returns how long that took."""
        began = self.cluster.world.now
        while not done():
            self.cluster.run(0.05)
            if self.cluster.world.now - began > most:
                self.fail(f"not within {most} s")
        return self.cluster.world.now - began


class ParentTests(AbuseCase):
    """Whoever is first with an entry goes on sending its author; and then does not."""

    def test_every_other_entry(self) -> None:
        """It is first with one, so that nobody else pushes, and withholds the next: that one is asked for elsewhere.

        Again and again, for as long as it likes.
        """
        entries = self.known(segments(MALLORY, *[1] * 30))
        self.member.dial(self.bob)
        self.cluster.run(1.0)
        most = limits.LAZY_ANNOUNCE_SECONDS + limits.GRAFT_SECONDS + 0.5
        for entry in entries:
            if entry.first % 2:
                self.member.say(entry)
            self.source.say(entry)  # to Ann: a hop more
            self.until(lambda entry=entry: held(self.bob, entry) >= entry.last, most)  # type: ignore[misc]
            self.cluster.run(1.0)

    def test_of_many_authors_at_once(self) -> None:
        """All of its authors are late once, and no later than one is."""
        logs = [self.known(segments(pair, 1, 1)) for pair in pairs(50)]
        self.member.dial(self.bob)
        self.cluster.run(1.0)
        for speaker in (self.member, self.source):
            speaker.say(*(one for one, _ in logs))
        self.cluster.run(1.0)
        self.source.say(*(two for _, two in logs))
        most = limits.LAZY_ANNOUNCE_SECONDS + limits.GRAFT_SECONDS + 0.5
        self.until(lambda: all(held(self.bob, two) == 2 for _, two in logs), most)


class HoardTests(AbuseCase):
    """Whoever claims to hold everything is asked for it."""

    def late(self, claims: Message) -> SimNode:
        """A node that comes late, whom the member tells what it claims before anybody else can."""
        late = self.cluster.add(0)
        late.start()
        self.member.dial(late)
        self.cluster.run(0.5)
        self.member.say(claims)
        self.cluster.run(0.5)
        self.cluster.connect(late, self.ann)
        return late

    def test_advances_its_own_log_only(self) -> None:
        """An entry of its own every second, and nothing of what it was asked for, keeps nothing from coming."""
        authors = [made[0] for made in (self.known(segments(pair, 2)) for pair in pairs(300))]
        own = self.known(segments(OTHER, *[1] * 200))
        self.source.say(*authors)
        self.cluster.run(5.0)
        names = [*[made.author for made in authors], OTHER.author]
        items = tuple(Item(name, 2**50, bytes(8)) for name in sorted(names))
        late = self.late(Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=items),)))
        for entry in own[:60]:
            self.member.say(entry)
            self.cluster.run(1.0)
        self.assertEqual(late.heads.clock.total(), 2 * 300 + 60)
        self.assertTrue(self.member.connected)

    def test_announces_all_news_and_delivers_none(self) -> None:
        """Before anybody else has it, of many authors: what is pushed comes as if it said nothing."""
        logs = [self.known(segments(pair, 1, 1)) for pair in pairs(50)]
        self.source.say(*(one for one, _ in logs))
        self.member.dial(self.bob)
        self.cluster.run(2.0)
        items = tuple(HaveItem(number, 2**50, made[0].author) for number, made in enumerate(logs))
        self.member.say(Have(items))
        self.cluster.run(1.0)
        self.assertGreater(len(self.member.of(Want)), 0)
        self.source.say(*(two for _, two in logs))
        self.until(lambda: all(held(self.bob, two) == 2 for _, two in logs), 1.0)


def pairs(count: int) -> list[Keypair]:
    """So many authors."""
    return [Keypair(number.to_bytes(32, "big")) for number in range(1000, 1000 + count)]


def held(node: SimNode, entry: Segment) -> int:
    """Up to where a node has this author."""
    return node.heads.clock.seq(entry.author)

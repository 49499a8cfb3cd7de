"""Ring 4: one peer that lies, stalls or sends garbage, and what the others must not notice."""

from __future__ import annotations

from collections.abc import Callable

from msgpack import packb
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.messages import (
    Fork,
    Have,
    HaveItem,
    Hello,
    Item,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Segment,
    Want,
    WantItem,
)
from gossiplog.log.body import encode_body
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Head, signed_head
from gossiplog.testing.chain import Chain
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.stranger import Stranger

MALLORY = Keypair(bytes(range(32)))
OTHER = Keypair(bytes(range(1, 33)))


def segments(keypair: Keypair, *sizes: int) -> list[Segment]:
    """A valid log, one segment for each size: so many entries."""
    chain = Chain(keypair)
    for number, size in enumerate(sizes):
        chain.extend([encode_body(number, bytes([entry])) for entry in range(size)])
    return chain.segments


class HostileCase(SynchronousTestCase):
    """Two honest nodes, and a stranger connected to the first."""

    def setUp(self) -> None:
        """Everyone is connected and at rest."""
        self.cluster = Cluster(1)
        self.ann, self.bob = self.cluster.add(), self.cluster.add()
        self.cluster.connect(self.ann, self.bob)
        self.stranger = Stranger(self.cluster)
        self.cluster.start()
        self.cluster.run(1.0)
        self.ann.append(self.ann.local[0], [b"one"])
        self.cluster.run(1.0)

    def meet(self) -> None:
        """Let the stranger greet, and forget what it heard."""
        self.stranger.dial(self.ann)
        self.cluster.run(1.0)
        self.assertTrue(self.stranger.connected)

    def state(self, node: SimNode) -> object:
        """What must not change."""
        return (
            dict(node.heads.clock.items()),
            dict(node.heads.ahead),
            dict(node.heads.forks),
            list(node.backend.rows(MALLORY.author)),
        )

    def offend(self, code: ByeCode, say: Callable[[], None]) -> None:
        """What the stranger says ends its session with ``code``, and changes nothing else."""
        before = self.state(self.ann)
        say()
        self.cluster.run(1.0)
        self.assertEqual(self.stranger.farewell, code)
        self.assertFalse(self.stranger.connected)
        self.assertEqual(self.state(self.ann), before)
        self.assertEqual(list(self.ann.peers.values()), [self.bob.id])
        self.assertEqual(len([n for n in self.ann.notices if isinstance(n, events.PeerRejected)]), 1)
        self.ann.append(self.ann.local[0], [b"two"])
        self.cluster.settle()


def offence(code: ByeCode, *messages: Message | bytes) -> Callable[[HostileCase], None]:
    """A test: these messages are an offence with this code."""

    def test(self: HostileCase) -> None:
        def say() -> None:
            for message in messages:
                if isinstance(message, bytes):
                    self.stranger.say_bytes(message)
                else:
                    self.stranger.say(message)

        self.meet()
        self.offend(code, say)

    return test


GOOD = segments(MALLORY, 3)[0]
TWO_BRANCHES = segments(MALLORY, 2)[0], segments(MALLORY, 1, 1)[0]


class OffenceTests(HostileCase):
    """Each ends the session with its code."""

    test_bad_signature = offence(ByeCode.BAD_SIGNATURE, GOOD._replace(signature=bytes(64)))
    test_signature_of_another_seq = offence(
        ByeCode.BAD_SIGNATURE, GOOD._replace(signature=segments(MALLORY, 2)[0].signature)
    )
    test_signature_of_another_author = offence(
        ByeCode.BAD_SIGNATURE, GOOD._replace(signature=segments(OTHER, 3)[0].signature)
    )
    test_wrong_previous_at_the_start = offence(ByeCode.BAD_SEGMENT, GOOD._replace(previous=bytes(32)))
    test_changed_body = offence(ByeCode.BAD_SIGNATURE, GOOD._replace(bodies=GOOD.bodies[:-1] + b"!"))
    test_count_too_large = offence(
        ByeCode.MALFORMED,
        packb([5, GOOD.author, 1, limits.MAX_SEGMENT_ENTRIES + 1, GOOD.previous, GOOD.signature, b""]),
    )
    test_count_that_is_not_there = offence(ByeCode.BAD_SEGMENT, GOOD._replace(count=4))
    test_bodies_above_the_limit = offence(
        ByeCode.BAD_SEGMENT, GOOD._replace(bodies=packb(bytes(limits.MAX_SEGMENT_BYTES)) * 3)
    )
    test_nested_arrays = offence(ByeCode.BAD_SEGMENT, GOOD._replace(bodies=b"\x91" * 100_000))
    test_garbage = offence(ByeCode.MALFORMED, b"\xc1garbage")
    test_empty_frame = offence(ByeCode.MALFORMED, b"")
    test_unknown_type_of_this_version = offence(ByeCode.MALFORMED, packb([13]))
    test_second_hello = offence(ByeCode.UNEXPECTED, Hello(1, 1, (), "again", bytes(16)))
    test_fork_proof_of_agreement = offence(
        ByeCode.BAD_FORK,
        Fork(ForkProof(MALLORY.author, 2, *TWO_BRANCHES[0][3:5], TWO_BRANCHES[1]._replace(first=3))),
    )
    test_handle_out_of_range = offence(
        ByeCode.LIMIT, Have((HaveItem(limits.MAX_HANDLES, 1, MALLORY.author),))
    )

    def test_previous_nobody_signed(self) -> None:
        """It would continue our log if its chain did."""
        ours, more = segments(MALLORY, 2, 2)
        self.cluster.checker.sign(ours)
        self.meet()
        self.stranger.say(ours)
        self.cluster.run(1.0)
        self.offend(ByeCode.BAD_SIGNATURE, lambda: self.stranger.say(more._replace(previous=bytes(32))))

    def test_message_before_hello(self) -> None:
        """Only HELLO and BYE may come first."""
        self.stranger.greeting = None
        self.meet()
        self.offend(ByeCode.UNEXPECTED, lambda: self.stranger.say(Want(())))

    def test_no_hello(self) -> None:
        """Who connects and says nothing is sent away."""
        self.stranger.greeting = None
        self.meet()
        self.cluster.run(limits.HANDSHAKE_SECONDS)
        self.assertEqual(self.stranger.farewell, ByeCode.TIMEOUT)

    def test_no_version_in_common(self) -> None:
        """The session does not open."""
        self.stranger.greeting = Hello(2, 3, (), "later", bytes(16))
        self.stranger.dial(self.ann)
        self.cluster.run(1.0)
        self.assertEqual(self.stranger.farewell, ByeCode.VERSION)
        self.assertNotIn(self.stranger.id, self.ann.peers.values())

    def test_silent_peer(self) -> None:
        """Who does not answer PING is taken for dead."""
        self.meet()
        self.stranger.answers.clear()
        self.cluster.run(limits.PING_SECONDS + limits.PING_DEADLINE_SECONDS + 1.0)
        self.assertEqual(self.stranger.farewell, ByeCode.TIMEOUT)


class NoOffenceTests(HostileCase):
    """What honest peers do too is no offence, however odd."""

    def harmless(self, *messages: Message | bytes) -> None:
        """The session stays, and nothing changes."""
        self.meet()
        before = self.state(self.ann)
        for message in messages:
            if isinstance(message, bytes):
                self.stranger.say_bytes(message)
            else:
                self.stranger.say(message)
        self.cluster.run(1.0)
        self.assertTrue(self.stranger.connected)
        self.assertEqual(self.state(self.ann), before)

    def test_unknown_messages(self) -> None:
        """Types from 64 up, and authors of reserved length, are passed over."""
        short = packb([5, b"short", 1, 0, bytes(32), bytes(64), b""])
        handles = packb([6, [[0, 5, b"short"], [0, 6]]])
        self.harmless(packb([64, "later"]), short, handles)

    def test_segment_from_the_far_future(self) -> None:
        """It is taken as an announcement, unverified."""
        self.harmless(GOOD._replace(first=2**50, signature=bytes(64)))

    def test_signed_head(self) -> None:
        """A segment without entries, of a log we do not hold, of one we hold, and a false one that is ahead."""
        self.harmless(
            signed_head(MALLORY, Head(7, bytes(32))),
            segments(OTHER, 1)[0]._replace(count=0, first=9, bodies=b""),
        )

    def test_old_entries_are_dropped_without_hashing(self) -> None:
        """A duplicate from before our head is not looked into."""
        self.meet()
        self.stranger.say(*segments(MALLORY, 2, 2))
        self.cluster.run(1.0)
        self.assertEqual(self.ann.heads.clock.seq(MALLORY.author), 4)
        self.stranger.say(segments(MALLORY, 2)[0]._replace(signature=bytes(64)))
        self.cluster.run(1.0)
        self.assertTrue(self.stranger.connected)

    def setUp(self) -> None:
        """As above; Mallory's entries are known to the checker."""
        super().setUp()
        for segment in segments(MALLORY, 2, 2):
            self.cluster.checker.sign(segment)


class LiarTests(HostileCase):
    """Claims are hints: what does not come is asked elsewhere, and ever more rarely here."""

    def claim(self, author: bytes, seq: int) -> None:
        """Say with the first RANGES that we hold this."""
        claims = Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=(Item(author, seq, bytes(8)),)),))
        self.stranger.answers[Hello] = lambda hello: self.stranger.say(claims)

    def test_stalled_source(self) -> None:
        """It claims to have everything and sends nothing: another peer is asked after a stall."""
        late = self.cluster.add(0)
        author = self.ann.local[0]
        self.claim(author, 1)
        late.start()
        self.stranger.dial(late)
        self.cluster.run(1.0)
        self.assertEqual(len(self.stranger.of(Want)), 1)
        self.cluster.connect(late, self.ann)
        self.cluster.run(2 * limits.STALL_SECONDS)
        self.assertEqual(late.heads.clock.seq(author), 1)

    def test_claims_far_ahead(self) -> None:
        """A seq that nobody wrote: asked for again with growing patience, and it holds nothing else up."""
        author = self.bob.local[0]
        self.claim(author, 2**50)
        self.meet()
        self.bob.append(author, [b"news"])
        self.cluster.run(1000.0)
        self.assertEqual(self.ann.heads.clock.seq(author), 1)
        self.assertLess(len(self.stranger.of(Want)), 20)
        self.assertTrue(self.stranger.connected)

    def test_claim_taken_back(self) -> None:
        """WANT is answered with what is held: then it is asked whether it has it without payloads, and no more."""
        author = OTHER.author
        self.claim(author, 9)
        self.stranger.answers[Want] = lambda want: self.stranger.say(Have((HaveItem(0, 0, author),)))
        self.meet()
        self.cluster.run(300.0)
        asked = [item.holes for want in self.stranger.of(Want) for item in want.items]
        self.assertEqual(asked, [False, True])
        self.assertEqual([*self.ann.replica.pulls.schedule.claimed], [])
        self.assertFalse(self.ann.replica.pulls.withdrawn)

    def test_claims_of_our_own_log(self) -> None:
        """Who claims to know more of a local writer than the writer is not believed; it is waited for once."""
        author = self.ann.local[0]
        self.claim(author, 100)
        self.meet()
        self.ann.append(author, [b"two"])
        self.cluster.run(limits.OWN_ENTRIES_SECONDS + 5.0)
        self.assertEqual(self.bob.heads.clock.seq(author), 2)
        self.ann.append(author, [b"three"])
        self.cluster.run(5.0)
        self.assertEqual(self.bob.heads.clock.seq(author), 3)
        self.assertEqual(self.stranger.of(Segment), [])
        self.assertEqual(self.ann.heads.clock.seq(author), 3)

    def test_own_entries_wait_for_reconcile(self) -> None:
        """A peer that never reconciles gets nothing of a local writer, and all else."""
        self.meet()
        self.stranger.say(
            Want((WantItem(self.ann.local[0], 1), WantItem(self.bob.local[0], 1), WantItem(OTHER.author, 1)))
        )
        self.bob.append(self.bob.local[0], [b"news"])
        self.ann.append(self.ann.local[0], [b"two"])
        self.cluster.run(5.0)
        self.assertEqual({segment.author for segment in self.stranger.of(Segment)}, {self.bob.local[0]})
        self.stranger.say(Ranges(1, (Range(b"", RangeKind.LIST),)))
        self.cluster.run(5.0)
        own = [(s.first, s.last) for s in self.stranger.of(Segment) if s.author == self.ann.local[0]]
        self.assertEqual(own, [(1, 1), (2, 2)])

    def test_wants_of_strange_authors_cost_no_memory(self) -> None:
        """WANT is always answered, and what it named is forgotten at the limit."""
        self.meet()
        for turn in range(3):
            names = [(turn * 1000 + n).to_bytes(32, "big") for n in range(1000)]
            self.stranger.say(Want(tuple(WantItem(name, 1) for name in names)))
        self.cluster.run(5.0)
        self.assertEqual(sum(len(have.items) for have in self.stranger.of(Have)), 3000)
        [session] = [s for s in self.ann.replica.core.sessions.values() if s.peer == self.stranger.id]
        self.assertTrue(session.outbox.idle)
        self.assertEqual(self.ann.replica.announcer.owed(session), [])

    def test_false_root_starts_no_storm(self) -> None:
        """A root that never matches costs one reconcile for two PINGs at most."""
        self.stranger.answers[Ping] = lambda ping: self.stranger.say(Pong(ping.token, bytes(16)))
        self.meet()
        self.cluster.run(600.0)
        pings = len(self.stranger.of(Ping))
        self.assertGreater(pings, 10)
        self.assertLessEqual(len(self.stranger.of(Ranges)), pings / 2 + 1)


class ForgerTests(HostileCase):
    """A dishonest author is found out; honest ones cannot be framed."""

    def test_two_branches_to_two_nodes(self) -> None:
        """Each node takes one; they find out from each other, and the proof reaches everyone."""
        self.cluster.checker.may_fork.add(MALLORY.author)
        left, right = segments(MALLORY, 3)[0], segments(MALLORY, 1, 1, 1)
        for segment in (left, *right):
            self.cluster.checker.sign(segment)
        other = Stranger(self.cluster, "other")
        self.cluster.net.reachable = lambda a, b: {a.name, b.name} != {"n0", "n1"}
        for link in self.cluster.net.between(self.ann, self.bob):
            link.cut()
        self.cluster.run(1.0)
        self.stranger.dial(self.ann)
        other.dial(self.bob)
        self.cluster.run(1.0)
        self.stranger.say(left)
        other.say(*right)
        self.cluster.run(1.0)
        self.assertEqual(self.bob.heads.clock.seq(MALLORY.author), 3)
        self.cluster.heal()
        self.cluster.settle()
        for node in (self.ann, self.bob):
            self.assertEqual(set(node.heads.forks), {MALLORY.author})
        self.assertEqual(len(self.stranger.of(Fork)), 1)
        self.assertTrue(self.stranger.connected)

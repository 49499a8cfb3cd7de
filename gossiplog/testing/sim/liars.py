"""Peers that do not mean well, as faults: what each says while it is connected.

Responsible for: one class per kind of lie; coming back as often as it is sent away.
Must not know: what the other side should make of it.
Invariant: it knows whatever it likes of the simulation, and changes nothing of it but through its connections.
"""

from __future__ import annotations

from random import Random

from gossiplog import limits
from gossiplog.gossip.messages import (
    Have,
    HaveItem,
    Hello,
    Item,
    Lazy,
    Message,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.log.body import encode_body
from gossiplog.log.items import join
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build
from gossiplog.testing.sim.cluster import Cluster
from gossiplog.testing.sim.node import SimNode
from gossiplog.testing.sim.stranger import Stranger
from gossiplog.wire.codec import encode

PERIOD_SECONDS = 0.7
"""Between two lies; also before it comes back."""

FAR = 2**50
"""A seq that nobody wrote."""


class Liar(Stranger):
    """I keep a connection to one node and :meth:`lie` on it."""

    def __init__(self, cluster: Cluster, random: Random) -> None:
        super().__init__(cluster, f"{type(self).__name__.lower()} at {cluster.world.now:.6f}")
        self.random = random
        self.node: SimNode | None = None

    def meet(self, node: SimNode) -> None:
        """Come, and come again, until told to :meth:`leave`."""
        self.node = node
        self._act()

    def leave(self) -> None:
        """Go for good."""
        self.node = None
        self.hang_up()

    def _act(self) -> None:
        node = self.node
        if node is None:
            return
        if not self.connected:
            self.dial(node)
        elif node.up:
            self.lie(node)
        self.cluster.world.after(PERIOD_SECONDS, self._act)

    def lie(self, node: SimNode) -> None:
        """Say something."""
        raise NotImplementedError

    def authors(self, node: SimNode) -> list[bytes]:
        """Everyone the node knows, and itself."""
        return sorted({*dict(node.heads.clock.range()), *node.local})

    def stored(self) -> list[Segment]:
        """Some segments that somebody holds."""
        holder = self.random.choice(self.cluster.nodes)
        authors = [author for author, _ in holder.backend.heads()]
        return (
            holder.backend.segments(self.random.choice(authors), 1, limits.MAX_SEGMENT_BYTES)
            if authors
            else []
        )


class Boaster(Liar):
    """I claim far more of every log than was ever written, and send nothing."""

    def lie(self, node: SimNode) -> None:
        """Another author each time, by both ways there are."""
        authors = self.authors(node)
        if authors:
            author = self.random.choice(authors)
            self.say(Have((HaveItem(0, FAR, author),)))
            self.say(Ranges(1, (Range(b"", RangeKind.DIFFERENCES, items=(Item(author, FAR, bytes(8)),)),)))


class Staller(Liar):
    """I claim what others really hold, take every WANT, and send nothing."""

    def lie(self, node: SimNode) -> None:
        """The highest heads there are."""
        heads: dict[bytes, int] = {}
        for other in self.cluster.nodes:
            for author, head in other.backend.heads():
                heads[author] = max(head.seq, heads.get(author, 0))
        items = [HaveItem(number, heads[author], author) for number, author in enumerate(sorted(heads))]
        for start in range(0, len(items), limits.MAX_HAVE_ITEMS):
            self.say(Have(tuple(items[start : start + limits.MAX_HAVE_ITEMS])))


class Forger(Liar):
    """I continue logs with entries their authors never signed."""

    def lie(self, node: SimNode) -> None:
        """The right place and chain; a signature of nothing, of another segment, or of another author."""
        authors = self.authors(node)
        if not authors:
            return
        author = self.random.choice(authors)
        head = node.heads.accepted(author)
        bodies = [encode_body(1, self.random.randbytes(9))]
        signatures = [bytes(64), *[segment.signature for segment in self.stored()]]
        [own], _ = build(Keypair(self.random.randbytes(32)), Head(head.seq, head.id), bodies)
        signature = self.random.choice([own.signature, *signatures])
        self.say(Segment(author, head.seq + 1, 1, head.id, signature, join(bodies)))


class Garbler(Liar):
    """I send messages with a byte changed, cut short or put in."""

    def lie(self, node: SimNode) -> None:
        """One of each kind, spoilt."""
        frame = bytearray(encode(self.random.choice(self._messages(node))))
        at = self.random.randrange(len(frame))
        kind = self.random.randrange(3)
        if kind == 0:
            frame[at] ^= 1 << self.random.randrange(8)
        elif kind == 1:
            del frame[at:]
        else:
            frame[at:at] = self.random.randbytes(3)
        self.say_bytes(bytes(frame))

    def _messages(self, node: SimNode) -> list[Message]:
        author = self.random.choice(self.authors(node) or [self.id])
        return [
            Hello(1, 1, (), "again", self.instance),
            Ranges(1, (Range(b"", RangeKind.LIST, items=(Item(author, 1, bytes(8)),)),)),
            Want((WantItem(author, 1),)),
            Lazy((author,)),
            Refuse((author, None)),
            Have((HaveItem(1, 2, author),)),
            Ping(1, bytes(16)),
            *self.stored(),
        ]


class Parrot(Liar):
    """I repeat what was said long ago, in any order, and ask for it again and again."""

    def lie(self, node: SimNode) -> None:
        """Old segments, and a WANT for all of them."""
        segments = self.stored()
        self.random.shuffle(segments)
        self.say(*segments)
        if segments:
            self.say(Want((WantItem(segments[0].author, 1),)))


class Misleader(Liar):
    """I answer each PING as if I held something else."""

    def __init__(self, cluster: Cluster, random: Random) -> None:
        super().__init__(cluster, random)
        self.answers[Ping] = lambda ping: self.say(Pong(ping.token, random.randbytes(16)))

    def lie(self, node: SimNode) -> None:
        """Ask for a comparison, and give it no end."""
        self.say(Ranges(1, (Range(b"", RangeKind.FINGERPRINT, self.random.randbytes(16)),)))


class Equivocator(Liar):
    """I have a log of my own with two branches, and a twin: each of us tells another node another one."""

    def __init__(self, cluster: Cluster, random: Random) -> None:
        super().__init__(cluster, random)
        self.twin = Stranger(cluster, f"{self.name} twin")
        self.keypair = Keypair(random.randbytes(32))
        cluster.checker.may_fork.add(self.keypair.author)
        self.heads = [Head(0, genesis_id(self.keypair.author))] * 2

    def meet(self, node: SimNode) -> None:
        """Connect to one, the twin to any other."""
        super().meet(node)
        self.twin.dial(self.random.choice([other for other in self.cluster.nodes if other is not node]))

    def leave(self) -> None:
        """Both go."""
        super().leave()
        self.twin.hang_up()

    def lie(self, node: SimNode) -> None:
        """Some entries more on each branch."""
        for number, teller in enumerate((self, self.twin)):
            bodies = [encode_body(number, self.random.randbytes(9)) for _ in range(self.random.randint(1, 3))]
            segments, self.heads[number] = build(self.keypair, self.heads[number], bodies)
            for segment in segments:
                self.cluster.checker.sign(segment)
            teller.say(*segments)


LIES: dict[str, type[Liar]] = {
    "boaster": Boaster,
    "staller": Staller,
    "forger": Forger,
    "garbler": Garbler,
    "parrot": Parrot,
    "misleader": Misleader,
    "equivocator": Equivocator,
}
"""Kinds of peers that do not mean well, by the names of their faults."""

"""Ring 4: a peer that does no more than "The least a peer must do" of the specification, and a whole node.

The peer knows the codec and the values, and nothing of ``gossiplog.gossip`` but the messages.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import BadSegmentError, PeerError
from gossiplog.gossip.messages import (
    Bye,
    Fork,
    Have,
    HaveItem,
    Hello,
    Item,
    Lazy,
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
from gossiplog.log.fingerprint import item
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, has_holes, id_at, tail_after, verify
from gossiplog.store.requests import Append
from gossiplog.wire.codec import decode, encode
from tests.stepping import SteppedNode
from tests.vectors.generate_session import log
from tests.vectors.stage import Script, Stage, derived

OURS, THEIRS, OTHER = (Keypair(derived(f"least {name}")) for name in ("peer", "node", "other"))


class LeastPeer(Script):
    """I hold a log of my own and those of others, all of which I want, and have one session."""

    def __init__(self, salt: bytes, dialled: bool) -> None:
        super().__init__("least", derived("least static"))
        self.salt = salt
        self.dialled = dialled
        self.logs: dict[bytes, list[Segment]] = {}
        self.heads: dict[bytes, Head] = {}
        self.proofs: dict[bytes, ForkProof] = {}
        self.claims: dict[bytes, int] = {}
        self.handles: dict[int, bytes] = {}
        self.lazy: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.owed: dict[bytes, int] = {}
        self.asked: set[int] = set()
        self.settled = False

    def established(self, end: Any) -> None:
        """Greet."""
        super().established(end)
        self.say(Hello(1, 1, (), "least", derived("least instance", 16)))

    def received(self, end: Any, frame: bytes) -> None:
        """A frame came."""
        try:
            message = decode(frame)
            hear = getattr(self, f"hear_{type(message).__name__.lower()}", None)
            if hear is not None:
                hear(message)
        except PeerError as error:
            self.say(Bye(error.code))
            self.end.close()
        self.pump()

    def append(self, text: bytes) -> None:
        """Write; it is durable at once."""
        [segment], _ = build(OURS, self.head(OURS.author), [encode_body(0, text)])
        self.keep(segment)

    def keep(self, segment: Segment) -> None:
        """This continues a log."""
        self.logs.setdefault(segment.author, []).append(segment)
        self.heads[segment.author] = verify(segment)
        self.owed.setdefault(segment.author, segment.first)
        self.pump()

    def head(self, author: bytes) -> Head:
        """How far a log is held."""
        return self.heads.get(author) or Head(0, genesis_id(author))

    def pump(self) -> None:
        """Send or announce what is owed and may go."""
        for author in [*self.owed]:
            seq = self.head(author).seq
            if author in self.refused or self.claims.get(author, 0) >= self.owed[author]:
                del self.owed[author]
            if author not in self.owed or (author == OURS.author and not self.settled):
                continue
            first = self.owed.pop(author)
            if author in self.lazy:
                self.say(Have((HaveItem(0, seq, author),)))
                continue
            for segment in self.logs[author]:
                if segment.last >= first:
                    before = max(first, segment.first) - 1
                    self.say(tail_after(segment, before, id_at(segment, before)))

    # -- clocks

    def stands_for(self, author: bytes) -> Item:
        """What a list says of an author."""
        if author in self.proofs:
            return Item(author, 0, bytes(8))
        head = self.heads[author]
        return Item(author, head.seq, sha256(self.salt + head.id).digest()[:8])

    def range(self, kind: RangeKind, lower: bytes, upper: bytes) -> Range:
        """Say what is held between two bounds."""
        known = sorted({*self.heads, *self.proofs})
        inside = [author for author in known if lower <= author and (not upper or author < upper)]
        if kind is RangeKind.LIST:
            return Range(upper, kind, items=tuple(map(self.stands_for, inside)))
        total = 0
        for author in inside:
            head = Head(0, bytes(32)) if author in self.proofs else self.heads[author]
            total += item(author, head.seq, head.id)
        summed = len(inside).to_bytes(8, "big") + (total % 2**2048).to_bytes(256, "big")
        return Range(upper, kind, sha256(self.salt + summed).digest()[:16])

    def hear_hello(self, hello: Hello) -> None:
        """Compare, if it is for me to begin."""
        if not hello.low <= 1 <= hello.high:
            self.end.close()
        elif self.dialled:
            self.say(Ranges(0, (self.range(RangeKind.LIST, b"", b""),)))

    def hear_ranges(self, message: Ranges) -> None:
        """Answer, if anything is asked."""
        answers: list[Range] = []
        lower = b""
        differs = False
        for part in message.ranges:
            answer = Range(part.upper, RangeKind.SKIP)
            if part.kind is RangeKind.FINGERPRINT:
                if part != self.range(part.kind, lower, part.upper):
                    answer = self.range(RangeKind.LIST, lower, part.upper)
                    differs = True
            elif part.kind is RangeKind.LIST:
                ours = self.range(part.kind, lower, part.upper).items
                answer = Range(part.upper, RangeKind.DIFFERENCES, items=self.differences(ours, part.items))
            if part.kind in (RangeKind.FINGERPRINT, RangeKind.LIST):
                self.asked.add(message.exchange)
            self.learn(part.items)
            answers.append(answer)
            lower = part.upper
        if not answers or answers[-1].upper:
            answers.append(Range(b"", RangeKind.SKIP))
        if message.exchange in self.asked:
            self.say(Ranges(message.exchange, tuple(answers), message.more))
        if not message.more:
            self.asked.discard(message.exchange)
            self.settled = self.settled or not differs

    def differences(self, ours: tuple[Item, ...], theirs: tuple[Item, ...]) -> tuple[Item, ...]:
        """Those of ours that the other side lacks."""
        said = {each.author: each for each in theirs}
        none = Item(b"", -1, b"")
        return tuple(
            each
            for each in ours
            if each != said.get(each.author) and (not each.seq or said.get(each.author, none).seq <= each.seq)
        )

    def learn(self, items: tuple[Item, ...]) -> None:
        """Ask for what is missing, or disputed."""
        for author, seq, _ in items:
            if author in self.proofs:
                if seq:
                    self.say(Fork(self.proofs[author]))
            elif not seq:
                self.say(Want((WantItem(author, max(1, self.head(author).seq)),)))
            else:
                self.claim(author, seq)

    def claim(self, author: bytes, seq: int) -> None:
        """The other side has more."""
        self.claims[author] = seq
        if seq > self.head(author).seq and author not in self.proofs:
            self.say(Want((WantItem(author, self.head(author).seq + 1),)))

    # -- the rest

    def hear_want(self, want: Want) -> None:
        """Always answered."""
        for author, first, _ in want.items:
            if author is None:
                continue
            self.lazy.discard(author)
            self.refused.discard(author)
            self.claims.pop(author, None)
            if author in self.proofs:
                self.say(Fork(self.proofs[author]))
            elif first <= self.head(author).seq:
                self.owed[author] = first
            else:
                self.say(Have((HaveItem(0, self.head(author).seq, author),)))

    def hear_lazy(self, lazy: Lazy) -> None:
        """Announce from now on."""
        self.lazy.update(author for author in lazy.authors if author is not None)
        self.refused -= self.lazy

    def hear_refuse(self, refuse: Refuse) -> None:
        """Be silent from now on."""
        self.refused.update(author for author in refuse.authors if author is not None)

    def hear_have(self, have: Have) -> None:
        """Ask for what is announced."""
        for handle, seq, author in have.items:
            if author is not None:
                self.handles[handle] = author
            self.claim(self.handles[handle], seq)

    def hear_segment(self, segment: Segment) -> None:
        """Keep what continues a log."""
        ours = self.head(segment.author)
        if segment.author in self.proofs or segment.last <= ours.seq:
            return
        if segment.first > ours.seq + 1:
            self.claim(segment.author, segment.last)
            return
        verify(segment)
        if has_holes(segment):
            raise BadSegmentError("payloads are missing")  # I never ask for it without them
        if id_at(segment, ours.seq) == ours.id:
            self.claims[segment.author] = segment.last
            self.keep(tail_after(segment, ours.seq, ours.id))

    def hear_fork(self, fork: Fork) -> None:
        """Keep what holds."""
        verify_proof(fork.proof)
        self.proofs[fork.proof.author] = fork.proof

    def hear_ping(self, ping: Ping) -> None:
        """I am here."""
        self.say(Pong(ping.token))


class LeastPeerTests(SynchronousTestCase):
    """It is a good peer: both sides get everything, and nobody ends the session."""

    def meet(self, peer: LeastPeer, *held: Segment) -> tuple[Stage, SteppedNode]:
        """Let them catch up."""
        stage = Stage()
        node = stage.node("node", derived("least node"), seeds=[THEIRS.seed], logs=held)
        for text in (b"one", b"two"):
            peer.logs, peer.owed = peer.logs, {}
            [segment], head = build(OURS, peer.head(OURS.author), [encode_body(0, text)])
            peer.logs.setdefault(OURS.author, []).append(segment)
            peer.heads[OURS.author] = head
        stage.connect(*((peer, node) if peer.dialled else (node, peer)), peer.salt)
        stage.play()
        self.check(stage, node, peer)
        return stage, node

    def check(self, stage: Stage, node: SteppedNode, peer: LeastPeer) -> None:
        """Both hold the same."""
        self.assertEqual(dict(node.heads.clock.items()), peer.heads)
        said = [decode(frame) for _, frame in stage.said]
        self.assertEqual([message for message in said if isinstance(message, Bye)], [])

    def test_either_side_dials(self) -> None:
        """Catching up, then news both ways."""
        for dialled in (True, False):
            peer = LeastPeer(derived("least salt"), dialled)
            stage, node = self.meet(peer, *log(THEIRS, 2, 1), *log(OTHER, 3))
            node.disk.write(Append(THEIRS.author, [encode_body(0, b"news")]), lambda _: None)
            peer.append(b"more news")
            stage.play()
            self.check(stage, node, peer)
            self.assertEqual(sum(head.seq for head in peer.heads.values()), 4 + 3 + 3)

    def test_more_authors_than_go_into_one_list(self) -> None:
        """The node begins with fingerprints; the peer answers with lists."""
        many = [log(Keypair(derived(f"least {number}")), 1)[0] for number in range(1100)]
        peer = LeastPeer(derived("least salt"), False)
        self.meet(peer, *many)
        self.assertEqual(len(peer.heads), 1100 + 1)

    def test_announced_and_refused(self) -> None:
        """What the node asks for is obeyed."""
        peer = LeastPeer(derived("least salt"), True)
        stage, _ = self.meet(peer)
        for message, kinds in ((Lazy((OURS.author,)), [Have]), (Refuse((OURS.author,)), [])):
            peer.received(peer.end, encode(message))
            del stage.said[:]
            peer.append(b"not sent")
            said = [type(decode(frame)) for who, frame in stage.said if who == peer.name]
            self.assertEqual(said, kinds)

    def test_a_fork_reaches_it(self) -> None:
        """And is passed on."""
        peer = LeastPeer(derived("least salt"), True)
        stage, node = self.meet(peer, *log(OTHER, 2))
        peer.say(*log(OTHER, 3, text="other"))
        stage.play()
        self.assertEqual([*peer.proofs], [OTHER.author])
        self.assertEqual([*node.heads.forks], [OTHER.author])

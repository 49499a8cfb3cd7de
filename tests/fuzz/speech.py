"""Messages made of bytes: right ones, wrong ones, and frames that are none, about authors that a node knows or not."""

from __future__ import annotations

from hashlib import sha256

from gossiplog.errors import InvalidValueError
from gossiplog.gossip.messages import (
    Address,
    Bye,
    Contact,
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Interest,
    Item,
    Lazy,
    Message,
    Peers,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.log.segment import Head, Segment, signed_head
from gossiplog.wire.codec import encode
from tests.fuzz.people import ANN, BOB, CAT, DAN, EVE, fork_of_cat, ids_of, log_of, made
from tests.fuzz.signed import altered
from tests.fuzz.target import Consumer

EVERYBODY = (ANN, BOB, CAT, DAN, EVE)
AUTHORS = tuple(sorted(pair.author for pair in EVERYBODY))
SEQS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 100, 2**50, 2**53 - 1)


class Speech:
    """I make the frames of one peer, whose session has the ``salt``."""

    def __init__(self, consumer: Consumer, salt: bytes = bytes(32)) -> None:
        self.consumer = consumer
        self.salt = salt

    def frame(self) -> bytes:
        """Any frame."""
        kind = self.consumer.number(8)
        if kind == 0:
            return self.consumer.some(120)
        try:
            frame = encode(self.message())
        except (InvalidValueError, TypeError, OverflowError, AttributeError, ValueError):
            return b"\x90"  # it was made of values that no frame has
        return self.consumer.spoil(frame) if kind == 1 else frame

    def message(self) -> Message:
        """Any message."""
        consumer = self.consumer
        kinds = (
            self.segment,
            self.segment,
            self.ranges,
            self.have,
            self.want,
            lambda: consumer.choose((Lazy, Refuse))(self.names()),
            lambda: Fill(self.author(), ((1 + consumer.number(9), 9 + consumer.number(9)),)),
            self.fork,
            lambda: Peers(self.contacts(), consumer.choose((None, Address(bytes(4), 1)))),
            self.ping,
            lambda: Bye(consumer.number(20), "bye"),
            self.hello,
        )
        return consumer.choose(kinds)()

    def contacts(self) -> tuple[Contact, ...]:
        """Return nodes that may be dialled, or not."""
        consumer = self.consumer
        ips = (bytes(4), bytes([198, 51, 100, 7]), bytes([10, 0, 0, 1]), bytes([1, 1, 1, 1]), bytes(16))
        return tuple(
            [
                Contact(
                    self.author(),
                    consumer.number(3),
                    (Address(consumer.choose(ips), 4000),) * consumer.number(3),
                )
                for _ in range(consumer.number(4))
            ]
        )

    def ping(self) -> Ping | Pong:
        consumer = self.consumer
        root = consumer.choose((b"", bytes(16), consumer.take(16)))
        return consumer.choose((Ping, Pong))(consumer.number(4), root)

    def author(self) -> bytes:
        return self.consumer.take(32) if self.consumer.chance(8) else self.consumer.choose(AUTHORS)

    def names(self) -> tuple[bytes | None, ...]:
        return tuple(
            None if self.consumer.chance(4) else self.author() for _ in range(self.consumer.number(4))
        )

    def hello(self) -> Hello:
        consumer = self.consumer
        versions = consumer.choose(((1, 1), (0, 9), (2, 3), (0, 0)))
        exceptions = tuple(name for name in self.names() if name is not None)
        root = consumer.choose((b"", bytes(16)))
        return Hello(
            *versions, (), "fuzz", consumer.take(2) * 8, Interest(consumer.number(2)), exceptions, root
        )

    def segment(self) -> Segment:
        """One of somebody's log; sometimes of another branch, a signed head, or altered."""
        consumer = self.consumer
        pair = consumer.choose(EVERYBODY)
        kind = consumer.number(6)
        if kind == 0:
            return altered(consumer, consumer.choose(log_of(pair)))
        if kind == 1:
            seq = 1 + consumer.number(len(ids_of(CAT)) - 1)
            return signed_head(CAT, Head(seq, ids_of(CAT)[seq]))
        if kind == 2:
            return consumer.choose(made(CAT, [1, 4], b"other"))
        return consumer.choose(log_of(pair))

    def fork(self) -> Fork:
        consumer = self.consumer
        proof = fork_of_cat()
        if consumer.chance(3):
            proof = proof._replace(segment=altered(consumer, proof.segment))
        if consumer.chance(3):
            proof = proof._replace(author=self.author(), seq=1 + consumer.number(5))
        return Fork(proof)

    def have(self) -> Have:
        consumer = self.consumer
        return Have(
            tuple(
                HaveItem(
                    consumer.choose((0, 1, 2, 65_535, 65_536)),
                    consumer.choose(SEQS),
                    None if consumer.chance(3) else self.author(),
                )
                for _ in range(1 + consumer.number(4))
            )
        )

    def want(self) -> Want:
        consumer = self.consumer
        return Want(
            tuple(WantItem(name, max(1, consumer.choose(SEQS)), consumer.chance(4)) for name in self.names())
        )

    def ranges(self) -> Ranges:
        consumer = self.consumer
        bounds = sorted({self.author()[: consumer.choose((1, 32, 31))] for _ in range(consumer.number(4))})
        parts = []
        lower = b""
        for upper in (*bounds, b""):
            kind = RangeKind(consumer.number(4))
            if kind is RangeKind.FINGERPRINT:
                parts.append(Range(upper, kind, consumer.choose((bytes(16), consumer.take(16)))))
            elif kind is RangeKind.SKIP:
                parts.append(Range(upper, kind))
            else:
                inside = [name for name in AUTHORS if lower <= name and (name < upper or not upper)]
                named = sorted({consumer.choose(inside) for _ in range(consumer.number(5))}) if inside else []
                parts.append(Range(upper, kind, items=tuple(map(self.item, named))))
            lower = upper
        return Ranges(consumer.number(5), tuple(parts), consumer.chance(3))

    def item(self, author: bytes) -> Item:
        """What a list says of an author: the truth, another id, or another seq."""
        consumer = self.consumer
        seq = consumer.choose(SEQS)
        [pair] = [pair for pair in EVERYBODY if pair.author == author]
        if consumer.chance(2) and seq < len(ids_of(pair)):
            return Item(author, seq, sha256(self.salt + ids_of(pair)[seq]).digest()[:8])
        return Item(author, seq, consumer.choose((bytes(8), consumer.take(8))))

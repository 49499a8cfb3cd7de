"""Rings 1 and 3: every message to bytes and back."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import limits
from gossiplog.errors import InvalidValueError, MalformedMessageError
from gossiplog.gossip import range_splitting as splitting
from gossiplog.gossip.messages import (
    RESERVED,
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
    Segment,
    Unknown,
    Want,
    WantItem,
)
from gossiplog.log.fork import ForkProof
from gossiplog.wire import codec
from gossiplog.wire.codec import decode, encode

AUTHOR = bytes(range(32))
OTHER = b"\xff" * 32

authors = st.binary(min_size=32, max_size=32)
ids = authors
seqs = st.integers(1, limits.MAX_SEQ)
seqs_or_none_held = st.integers(0, limits.MAX_SEQ)
counters = st.integers(0, 2**64 - 1)
roots = st.just(b"") | st.binary(min_size=16, max_size=16)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
signatures = st.binary(min_size=64, max_size=64)


def tuples(items: st.SearchStrategy[Any], most: int = 8) -> st.SearchStrategy[Any]:
    """Return tuples of a few items."""
    return st.lists(items, max_size=most).map(tuple)


@st.composite
def segments(draw: st.DrawFn, author: bytes | None = None) -> Segment:
    """Return segments whose header is in range; the bodies are any bytes."""
    count = draw(st.integers(0, limits.MAX_SEGMENT_ENTRIES))
    first = draw(st.integers(1 if count else 2, limits.MAX_SEQ + 1 - count))
    author = author if author is not None else draw(authors)
    return Segment(author, first, count, draw(ids), draw(signatures), draw(st.binary(max_size=300)))


@st.composite
def forks(draw: st.DrawFn) -> Fork:
    """Return proofs of the right shape."""
    author = draw(authors)
    return Fork(ForkProof(author, draw(seqs), draw(ids), draw(signatures), draw(segments(author))))


@st.composite
def reconciles(draw: st.DrawFn) -> Ranges:
    """Return adjacent ranges with ascending lists inside them."""
    bounds = sorted(draw(st.sets(st.binary(min_size=1, max_size=32), max_size=4)))
    if draw(st.booleans()):
        bounds.append(b"")
    ranges = []
    lower = b""
    for upper in bounds:
        kind = draw(st.sampled_from(RangeKind))
        fingerprint, items = b"", ()
        if kind is RangeKind.FINGERPRINT:
            fingerprint = draw(st.binary(min_size=16, max_size=16))
        elif kind is not RangeKind.SKIP:
            inside = [
                a for a in draw(st.sets(authors, max_size=5)) if a >= lower and (not upper or a < upper)
            ]
            items = tuple(
                Item(author, draw(seqs_or_none_held), draw(st.binary(min_size=8, max_size=8)))
                for author in sorted(inside)
            )
        ranges.append(Range(upper, kind, fingerprint, items))
        lower = upper
    return Ranges(draw(counters), tuple(ranges), draw(st.booleans()))


addresses = st.builds(
    Address, st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(1, 65_535)
)
contacts = st.builds(Contact, authors, counters, tuples(addresses).map(lambda some: some[:8]))
CONTACT = Contact(bytes(32), 2**64 - 1, (Address(bytes(16), 65_535),) * limits.MAX_CONTACT_ADDRESSES)
spans = st.tuples(seqs, seqs).map(lambda pair: (min(pair), max(pair)))
versions = st.tuples(st.integers(0, 65_535), st.integers(0, 65_535)).map(sorted)

STRATEGIES: dict[type[Message], st.SearchStrategy[Any]] = {
    Hello: st.builds(
        lambda low_high, *rest: Hello(*low_high, *rest),
        versions,
        tuples(texts),
        texts,
        st.binary(min_size=16, max_size=16),
        st.sampled_from(Interest),
        tuples(authors),
        roots,
        st.integers(0, 3),
    ),
    Ranges: reconciles(),
    Want: st.builds(
        Want, tuples(st.builds(WantItem, st.none() | authors, seqs, st.booleans())), st.just(0) | seqs
    ),
    Lazy: st.builds(Lazy, tuples(st.none() | authors), st.integers(0, 3)),
    Refuse: st.builds(Refuse, tuples(st.none() | authors), st.integers(0, 3)),
    Segment: segments(),
    Have: st.builds(
        Have,
        tuples(st.builds(HaveItem, counters, seqs_or_none_held, st.none() | authors | st.just(RESERVED))),
    ),
    Fill: st.builds(Fill, authors, tuples(spans)),
    Fork: forks(),
    Peers: st.builds(Peers, tuples(contacts), st.none() | addresses),
    Ping: st.builds(Ping, counters, roots),
    Pong: st.builds(Pong, counters, roots, st.booleans()),
    Bye: st.builds(Bye, st.integers(0, 65_535), texts),
}

LARGEST = {
    Hello: Hello(
        0,
        limits.MAX_VERSION,
        ("f" * limits.MAX_TEXT_BYTES,) * limits.MAX_FEATURES,
        "ä" * (limits.MAX_TEXT_BYTES // 2),
        bytes(16),
        Interest.WANTED,
        (AUTHOR,) * limits.MAX_EXCEPTIONS,
        bytes(16),
    ),
    Want: Want((WantItem(AUTHOR, limits.MAX_SEQ, True),) * limits.MAX_WANT_ITEMS, limits.MAX_SEQ),
    Lazy: Lazy((AUTHOR, None) * (limits.MAX_WANT_ITEMS // 2)),
    Refuse: Refuse((AUTHOR,) * limits.MAX_WANT_ITEMS),
    Segment: Segment(AUTHOR, 1, 1, bytes(32), bytes(64), b"\xc6" + bytes(4) + bytes(limits.MAX_BODY_BYTES)),
    Have: Have((HaveItem(2**32, limits.MAX_SEQ, AUTHOR),) * limits.MAX_HAVE_ITEMS),
    Fill: Fill(AUTHOR, ((1, limits.MAX_SEQ),) * limits.MAX_FILL_RANGES),
    Peers: Peers((CONTACT,) * limits.MAX_PEERS, Address(bytes(16), 65_535)),
    Bye: Bye(limits.MAX_CODE, "r" * limits.MAX_TEXT_BYTES),
}


def many_items(count: int, parts: int) -> Ranges:
    """Return a RANGES of ``count`` items spread over ``parts`` ranges."""
    each = count // parts
    ranges = []
    for part in range(parts):
        first = part * each
        last = count if part == parts - 1 else first + each
        items = tuple(Item(n.to_bytes(32, "big"), 0, bytes(8)) for n in range(first, last))
        upper = b"" if part == parts - 1 else last.to_bytes(32, "big")
        ranges.append(Range(upper, RangeKind.LIST, items=items))
    return Ranges(1, tuple(ranges), True)


def many_ranges(count: int) -> Ranges:
    """Return a RANGES of ``count`` fingerprints."""
    bounds = [n.to_bytes(3, "big") for n in range(1, count)] + [b""]
    return Ranges(1, tuple(Range(upper, RangeKind.FINGERPRINT, bytes(16)) for upper in bounds))


class RoundTrip(SynchronousTestCase):
    def test_there_is_a_row_for_every_message(self) -> None:
        kinds = set(get_args(Message)) - {Unknown}
        self.assertEqual({row.kind for row in codec._ROWS}, kinds)
        self.assertEqual(set(STRATEGIES), kinds)
        self.assertEqual([row.number for row in codec._ROWS], list(range(13)))

    def test_rows_say_what_is_written(self) -> None:
        for row in codec._ROWS:
            message = SMALL[row.kind]
            elements = msgpack.unpackb(encode(message))
            read = row.elements + row.optional
            self.assertEqual((elements[0], len(elements)), (row.number, read), row.kind)

    def test_large(self) -> None:
        for message in [
            *LARGEST.values(),
            many_items(limits.MAX_LIST_ITEMS, 1),
            many_ranges(limits.MAX_RANGES),
        ]:
            frame = encode(message)
            self.assertLessEqual(len(frame), limits.MAX_FRAME_BYTES)
            self.assertEqual(decode(frame), message)
        self.assertEqual(decode(encode(many_items(limits.MAX_LIST_ITEMS, 5))).ranges[4].upper, b"")

    def test_both_limits_of_ranges_fit_into_a_frame(self) -> None:
        lists = many_items(limits.MAX_LIST_ITEMS, 1).ranges[0]
        bounds = [b"\x01" + n.to_bytes(31, "big") for n in range(limits.MAX_RANGES - 1)]
        items = tuple(item._replace(seq=limits.MAX_SEQ) for item in lists.items)
        prints = [Range(bound, RangeKind.FINGERPRINT, bytes(16)) for bound in bounds[1:]]
        full = Ranges(
            2**63, (Range(bounds[0], RangeKind.LIST, items=items), *prints, Range(b"", RangeKind.SKIP))
        )
        self.assertLess(len(encode(full)), limits.MAX_FRAME_BYTES)
        ours = Ranges(
            2**63,
            (
                full.ranges[0]._replace(items=items[: splitting.MESSAGE_ITEMS]),
                *prints[: splitting.MESSAGE_RANGES],
                full.ranges[-1],
            ),
        )
        self.assertLess(len(encode(ours)), limits.MAX_FRAME_BYTES // 8)

    def test_one_more_than_a_peer_accepts_is_refused_by_us(self) -> None:
        authors = (AUTHOR,) * (limits.MAX_WANT_ITEMS + 1)
        text = "x" * (limits.MAX_TEXT_BYTES + 1)
        hello = LARGEST[Hello]
        for message in (
            hello._replace(features=("f",) * (limits.MAX_FEATURES + 1)),
            hello._replace(features=(text,)),
            hello._replace(agent=text),
            hello._replace(exceptions=(AUTHOR,) * (limits.MAX_EXCEPTIONS + 1)),
            many_items(limits.MAX_LIST_ITEMS + 1, 1),
            many_items(limits.MAX_LIST_ITEMS + 1, 7),
            many_ranges(limits.MAX_RANGES + 1),
            Want(tuple(WantItem(author, 1) for author in authors)),
            Lazy(authors),
            Lazy(authors[1:], 1),
            Refuse(authors),
            hello._replace(reserved=1),
            Have((HaveItem(0, 1),) * (limits.MAX_HAVE_ITEMS + 1)),
            Fill(AUTHOR, ((1, 1),) * (limits.MAX_FILL_RANGES + 1)),
            Peers((CONTACT,) * (limits.MAX_PEERS + 1)),
            Peers((CONTACT._replace(addresses=CONTACT.addresses * (limits.MAX_CONTACT_ADDRESSES + 1)),)),
            Bye(0, text),
            Bye(0, "ä" * (limits.MAX_TEXT_BYTES // 2) + "x"),
            Bye(0, "\ud800"),
        ):
            self.assertRaises(InvalidValueError, encode, message)

    def test_what_is_not_a_message_is_not_encoded(self) -> None:
        for other in (Unknown(64), (12, 0, ""), None, b"", Item(AUTHOR, 1, bytes(8))):
            self.assertRaises(InvalidValueError, encode, other)

    def test_segments_are_as_the_packer_writes_them(self) -> None:
        for size in (0, 1, 255, 256, 65_535, 65_536, 130_000):
            segment = Segment(AUTHOR, 2**40, 4096, OTHER, bytes(64), bytes(size))
            self.assertEqual(encode(segment), msgpack.packb((5, *segment)))

    def test_after_an_error_encoding_goes_on(self) -> None:
        self.assertRaises(OverflowError, encode, Ping(2**64, b""))
        self.assertRaises(TypeError, encode, Ping(1, object()))
        self.assertEqual(encode(Ping(1, b"")), b"\x93\x0a\x01\xc4\x00")

    def test_authors_of_have_are_said_once(self) -> None:
        have = Have((HaveItem(0, 5, AUTHOR), HaveItem(0, 6)))
        self.assertEqual(msgpack.unpackb(encode(have)), [6, [[0, 5, AUTHOR], [0, 6]]])

    def test_decoded_numbers_are_enums(self) -> None:
        hello = decode(encode(SMALL[Hello]))
        self.assertIs(type(hello.interest), Interest)
        ranges = decode(encode(many_ranges(1)))
        self.assertIs(type(ranges.ranges[0].kind), RangeKind)


SMALL: dict[type[Message], Any] = {
    **LARGEST,
    Ranges: many_ranges(1),
    Fork: Fork(ForkProof(AUTHOR, 1, bytes(32), bytes(64), Segment(AUTHOR, 2, 0, OTHER, bytes(64), b""))),
    Ping: Ping(1, bytes(16)),
    Pong: Pong(1, b"", True),
}


def _add_round_trips() -> None:
    for kind, strategy in STRATEGIES.items():

        @settings(derandomize=True, deadline=None, max_examples=60, database=None)
        @given(strategy)
        def check(self: SynchronousTestCase, message: Message) -> None:
            frame = encode(message)
            self.assertEqual(decode(frame), message)
            self.assertEqual(encode(decode(frame)), frame)
            for missing in {1, 2, len(frame) // 2, len(frame) - 1, len(frame)}:
                self.assertRaises(MalformedMessageError, decode, frame[:-missing])
            self.assertRaises(MalformedMessageError, decode, frame + b"\0")

        setattr(RoundTrip, f"test_{kind.__name__.lower()}", check)


_add_round_trips()

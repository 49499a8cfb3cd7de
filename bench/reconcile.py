"""Finding where two clocks differ: bytes and round trips, without a network.

Every message goes through the real codec.  Counted is what it takes on the wire: the frame, its 4 bytes of length, and
18 bytes for each Noise record.  A step is one message, or several of which all but the last say ``more``.  Steps of the
two sides alternate; two of them are one round trip.  Times are of the CPU: nothing here waits.
"""

from __future__ import annotations

import time
import tracemalloc
from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Hello, Item, Range, RangeKind, Ranges
from gossiplog.gossip.range_splitting import MESSAGE_ITEMS
from gossiplog.gossip.reconcile import Reconcile
from gossiplog.log.clock import Clock
from gossiplog.log.fingerprint import FingerprintTree
from gossiplog.log.leaf_sums import Away
from gossiplog.log.segment import Head
from gossiplog.wire.channel import MAX_RECORD_PLAINTEXT_BYTES
from gossiplog.wire.codec import decode, encode
from gossiplog.wire.noise import TAG_BYTES

SALT = bytes(range(32))
RECORD_BYTES = 2 + TAG_BYTES
UPDATES = 2000


class Conversation(NamedTuple):
    """What an exchange took, and what each side learned."""

    messages: int
    steps: int
    size: int
    seconds: float
    learned: tuple[dict[bytes, int], dict[bytes, int]]


def reconcile(authors: int, different: int, seed: int = 1) -> dict[str, Any]:
    """Two clocks of about ``authors`` that differ in ``different``: ahead here, ahead there, only here, only there."""
    random = Random(seed)
    clocks, expected = two_clocks(random, authors, different)
    sides = Heads(clocks[0], {}, set()), Heads(clocks[1], {}, set())
    first_root = timed(lambda: sides[0].root(SALT))
    same = sides[0].root(SALT) == sides[1].root(SALT)
    talk = converse(sides, Reconcile(SALT, starts_even=True).start(sides[0]))
    if talk.learned != expected:
        raise SystemExit("bench: the two sides did not find where they differ")
    plain = converse(sides, plain_list(sides[0]))
    hello_bytes = 2 * (len(encode(hello(sides[0].root(SALT)))) - len(encode(hello(b""))))
    return {
        "authors": authors,
        "different": different,
        # Roots that are equal in the two HELLOs settle it; a RANGES is sent only when one moved since.
        "bytes": hello_bytes if same else hello_bytes + talk.size,
        "round_trips": 1 if same else (talk.steps + 1) // 2,
        "ranges_bytes": talk.size,
        "messages": talk.messages,
        "seconds": round(talk.seconds, 4),
        "list_bytes": plain.size,
        "list_ratio": round(talk.size / plain.size, 4),
        "hello_roots_equal": same,
        "hello_root_bytes": hello_bytes,
        "first_root_ms": round(first_root * 1e3, 1),
        "root_us": round(timed(lambda: [sides[0].root(SALT) for _ in range(1000)]) * 1e3, 2),
        "update_us": round(update_seconds(random, clocks[0], sides[0]) * 1e6, 2),
        "tree_bytes_per_author": round(tree_bytes(clocks[1]) / max(1, len(clocks[1])), 1),
    }


def two_clocks(
    random: Random, authors: int, different: int
) -> tuple[tuple[Clock, Clock], tuple[dict[bytes, int], dict[bytes, int]]]:
    """Return two clocks, and what each side has to learn of the other: author -> seq."""
    ours: dict[bytes, Head] = {}
    theirs: dict[bytes, Head] = {}
    missing: tuple[dict[bytes, int], dict[bytes, int]] = {}, {}
    chosen = set(random.sample(range(authors), different))
    for number in range(authors):
        author = random.randbytes(32)
        head = Head(int(10 ** random.uniform(0, 4)), random.randbytes(32))  # most logs are short
        ours[author] = theirs[author] = head
        if number in chosen:
            more = Head(head.seq + random.randrange(1, 100), random.randbytes(32))
            kind = random.randrange(4)
            behind, side = (theirs, 1) if kind % 2 else (ours, 0)
            if kind < 2:
                (ours, theirs)[1 - side][author] = more
                missing[side][author] = more.seq
            else:
                del behind[author]
                missing[side][author] = head.seq
    return (Clock(ours), Clock(theirs)), missing


def converse(sides: tuple[Heads, Heads], opening: Iterator[Ranges | Away]) -> Conversation:
    """Carry an exchange through; side 0 begins, and each sends a message in its turn while it has any."""
    speakers = Reconcile(SALT, starts_even=True), Reconcile(SALT, starts_even=False)
    learned: tuple[dict[bytes, int], dict[bytes, int]] = {}, {}
    outgoing = deque([opening]), deque[Iterator[Ranges | Away]]()
    messages = steps = size = speaker = 0
    started = time.process_time()
    while outgoing[0] or outgoing[1]:
        said = outgoing[speaker]
        message = next(said[0], None) if said else None
        if said and message is None:
            said.popleft()
            continue
        speaker = 1 - speaker
        if message is None:
            continue
        assert isinstance(message, Ranges)  # all heads are in memory
        frame = encode(message)
        messages += 1
        steps += not message.more
        size += wire_bytes(frame)
        heard = decode(frame)
        assert isinstance(heard, Ranges)
        step = speakers[speaker].receive(heard, sides[speaker])
        learned[speaker].update(step.ahead)
        outgoing[speaker].append(step.replies)
    return Conversation(messages, steps, size, time.process_time() - started, learned)


def plain_list(holdings: Heads) -> Iterator[Ranges]:
    """What a plain exchange of vector clocks begins with: everything."""
    items = [Item(author, *holdings.item(author, SALT)) for author in holdings.authors()]
    skipped: tuple[Range, ...] = ()
    for at in range(0, len(items), MESSAGE_ITEMS):
        part = tuple(items[at : at + MESSAGE_ITEMS])
        upper = items[at + MESSAGE_ITEMS].author if at + MESSAGE_ITEMS < len(items) else b""
        rest = (Range(b"", RangeKind.SKIP),) if upper else ()
        yield Ranges(0, (*skipped, Range(upper, RangeKind.LIST, items=part), *rest), bool(upper))
        skipped = (Range(upper, RangeKind.SKIP),)


def wire_bytes(frame: bytes) -> int:
    """What a frame takes in the stream of an encrypted connection."""
    plain = len(frame) + 4
    return plain + RECORD_BYTES * -(-plain // MAX_RECORD_PLAINTEXT_BYTES)


def hello(root: bytes) -> Hello:
    """A greeting."""
    return Hello(1, 1, (), "gossiplog", bytes(16), root=root)


def update_seconds(random: Random, clock: Clock, holdings: Heads) -> float:
    """One changed head, until the tree has taken it in and the new sum of all is known."""
    authors = random.sample(list(clock), min(UPDATES, len(clock)))
    heads = [Head(clock.seq(author) + 1, random.randbytes(32)) for author in authors]
    started = time.process_time()
    for author, head in zip(authors, heads, strict=True):
        clock.advance(author, head)
        holdings.settle(author)
        holdings.tree.range()
    return (time.process_time() - started) / max(1, len(authors))


def tree_bytes(clock: Clock) -> int:
    """Memory of the tree, on top of the clock's."""
    tracemalloc.start()
    tree = FingerprintTree((author, head.seq, head.id) for author, head in clock.items())
    tree.range()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


def timed(action: Any) -> float:
    """Return the seconds that ``action`` takes."""
    started = time.process_time()
    action()
    return time.process_time() - started

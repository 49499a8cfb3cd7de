"""What both decoders say of the same bytes.

Responsible for: our verdicts, those of the second decoder, and where they differ.
Must not know: where the bytes come from.
Invariant: a verdict is all that a decoder read, in the names of the specification, or the code with which it refuses.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gossiplog.errors import (
    BadForkProofError,
    BadSegmentError,
    BadSignatureError,
    ByeCode,
    GossiplogError,
    MalformedMessageError,
)
from gossiplog.gossip.messages import Fork
from gossiplog.limits import MAX_SEQ
from gossiplog.log.body import decode_body
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.keys import verify_head
from gossiplog.log.segment import Segment, chain_ids, check_shape
from gossiplog.wire.codec import decode
from gossiplog.wire.frames import FrameReader
from tests.differential.inputs import Input
from tests.test_wire_vectors import plain

SECOND = Path(__file__).parent / "second" / "main.js"
OLDEST_NODE = 18
SIGNATURE_BYTES = 32 + 8 + 32 + 64
"""Author, seq, id and signature of a head."""


class Difference(NamedTuple):
    """Bytes that mean different things to the two."""

    kind: str
    data: bytes
    ours: Any
    theirs: Any


def _frames(data: bytes) -> Any:
    reader = FrameReader()
    frames = reader.feed(data)
    begun = reader.buffered_bytes + (4 if reader._size >= 0 else 0)
    return [[frame.hex() for frame in frames], begun]


def _message(data: bytes) -> Any:
    message = decode(data)
    return [type(message).__name__, plain(message)]


def _body(data: bytes) -> Any:
    return plain(decode_body(data))


def _cursor(data: bytes) -> Any:
    return [[author.hex(), seq, id8.hex()] for author, (seq, id8) in Cursor.load(data).items()]


def _segment(data: bytes) -> Any:
    segment = decode(data)
    if not isinstance(segment, Segment):
        raise BadSegmentError("another message")
    check_shape(segment)
    last = [segment.previous, *chain_ids(segment)][-1]
    try:
        verify_head(segment.author, segment.last, last, segment.signature)
    except BadSignatureError:
        return [last.hex(), False]
    return [last.hex(), True]


def _fork(data: bytes) -> Any:
    fork = decode(data)
    if not isinstance(fork, Fork):
        raise BadSegmentError("another message")
    verify_proof(fork.proof)
    return fork.proof.seq


def _file(data: bytes) -> Any:
    return plain(ForkProof.load(data))


def _signature(data: bytes) -> Any:
    seq = int.from_bytes(data[32:40], "big")
    if len(data) != SIGNATURE_BYTES or not 1 <= seq <= MAX_SEQ:
        raise MalformedMessageError("no signature of a head")
    verify_head(data[:32], seq, data[40:72], data[72:])
    return plain(seq)


KINDS: dict[str, Callable[[bytes], Any]] = {
    "frames": _frames,
    "message": _message,
    "body": _body,
    "cursor": _cursor,
    "segment": _segment,
    "fork": _fork,
    "file": _file,
    "signature": _signature,
}


def our_verdict(kind: str, data: bytes) -> Any:
    """Return what we make of it."""
    try:
        return KINDS[kind](data)
    except BadForkProofError:
        return {"refused": ByeCode.BAD_FORK}
    except GossiplogError as error:
        return {"refused": getattr(error, "code", ByeCode.MALFORMED)}


def why_not() -> str:
    """Return why the second decoder cannot run, nothing if it can."""
    node = shutil.which("node")
    if node is None:
        return "there is no node here: the second decoder is in JavaScript"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    if int(version.removeprefix("v").partition(".")[0] or 0) < OLDEST_NODE:
        return f"the second decoder needs node {OLDEST_NODE} or later; this is {version.strip()}"
    return ""


def their_verdicts(inputs: Iterable[Input]) -> list[Any]:
    """Return what the second decoder makes of each."""
    lines = "".join(f"{kind} {data.hex()}\n" for kind, data in inputs)
    done = subprocess.run(
        ["node", str(SECOND)], input=lines, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise AssertionError(f"the second decoder broke:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def differences(inputs: list[Input]) -> tuple[int, list[Difference]]:
    """Return how many inputs both accept, and those of which they think differently."""
    theirs = their_verdicts(inputs)
    assert len(theirs) == len(inputs), "the second decoder left something out"
    accepted = 0
    found = []
    for (kind, data), their in zip(inputs, theirs, strict=True):
        ours = json.loads(json.dumps(our_verdict(kind, data)))
        if ours != their:
            found.append(Difference(kind, data, ours, their))
        elif not (isinstance(ours, dict) and "refused" in ours):
            accepted += 1
    return accepted, found

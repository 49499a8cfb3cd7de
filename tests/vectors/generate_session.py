"""Write the vectors of sessions: ``python -m tests.vectors.generate_session`` in a checkout.

They are frozen: a change of these files is a change of the protocol, or of what it leaves to a node.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.interest import Choices
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
from gossiplog.log.body import encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.fork import ForkProof, build_proof
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build, drop_payloads, id_at, signed_head, tail_after, verify
from gossiplog.store.requests import Append
from gossiplog.testing.sim.node import SimNode
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode, encode
from tests.vectors.stage import Script, Stage, derived

VECTORS = Path(__file__).parent
NOW = 1_700_000_000_000

ANN, BOB, CAT, DAN, EVE = (
    Keypair(derived(f"session {name}")) for name in ("ann", "bob", "cat", "dan", "eve")
)


def log(pair: Keypair, *runs: int, text: str = "entry") -> list[Segment]:
    """Return a log in segments of so many entries."""
    head = Head(0, genesis_id(pair.author))
    made: list[Segment] = []
    for run in runs:
        bodies = [encode_body(NOW + head.seq + n, f"{text} {head.seq + n + 1}".encode()) for n in range(run)]
        segments, head = build(pair, head, bodies)
        made += segments
    return made


def plain(segment: Segment) -> dict[str, Any]:
    """Return a segment as JSON holds it."""
    return {
        name: value.hex() if isinstance(value, bytes) else value for name, value in segment._asdict().items()
    }


# -- a whole session


def transcript() -> dict[str, Any]:
    """Return one session of two nodes: they catch up, one appends, one changes its mind, and they part."""
    keys = {name: derived(f"session {name}") for name in ("network", "dialler", "listener")}
    ephemeral = {name: derived(f"session {name} ephemeral") for name in ("dialler", "listener")}
    channels = {
        name: Channel(name == "dialler", keys[name], keys["network"], ephemeral=ephemeral[name])
        for name in ephemeral
    }
    steps: list[dict[str, Any]] = []

    def shake(sender: str, receiver: str, data: bytes) -> None:
        steps.append({"from": sender, "bytes": data.hex()})
        channels[receiver].receive(data)

    shake("dialler", "listener", channels["dialler"].start())
    shake("listener", "dialler", channels["listener"].outgoing())
    shake("dialler", "listener", channels["dialler"].outgoing())

    stage = Stage()
    held = {
        "dialler": [*log(ANN, 2, 1), *log(CAT, 3)],
        "listener": [*log(BOB, 2), *log(CAT, 1), *log(DAN, 1, 2)],
    }
    writers = {"dialler": ANN, "listener": BOB}
    nodes = {
        name: stage.node(name, keys[name], seeds=[writers[name].seed], logs=held[name])
        for name in ("dialler", "listener")
    }
    salt = channels["dialler"].handshake_hash

    def play() -> None:
        stage.play()
        for name, frame in stage.said:
            step = {"from": name, "message": type(decode(frame)).__name__, "frame": frame.hex()}
            steps.append(step | {"bytes": channels[name].send(frame).hex()})
        stage.said.clear()

    def does(name: str, what: str, **more: str) -> None:
        steps.append({"at": name, "does": what, **more})

    stage.connect(nodes["dialler"], nodes["listener"], salt)
    play()
    body = encode_body(NOW, b"news")
    does("listener", "append", author=BOB.author.hex(), body=body.hex())
    nodes["listener"].disk.write(Append(BOB.author, [body]), lambda _: None)
    play()
    for what, choose in (("unfollow", Choices.unfollow), ("follow", Choices.follow)):
        does("listener", what, author=CAT.author.hex())
        nodes["listener"].choose(choose, CAT.author)
        play()
    does("dialler", "ask whether both are in sync")
    nodes["dialler"].handle(events.Probe(0))
    play()
    does("dialler", "stop")
    nodes["dialler"].handle(events.Closed(0, ByeCode.STOPPING, "stopping"))
    play()
    return {
        "network_key": keys["network"].hex(),
        "handshake_hash": salt.hex(),
        **{
            name: _party(nodes[name], keys[name], ephemeral[name], writers[name], held[name])
            for name in nodes
        },
        "steps": steps,
    }


def _party(
    node: SimNode, static: bytes, ephemeral: bytes, writer: Keypair, held: list[Segment]
) -> dict[str, Any]:
    return {
        "static": static.hex(),
        "ephemeral": ephemeral.hex(),
        "id": node.id.hex(),
        "instance": node.replica.greeting.ours.instance.hex(),
        "agent": node.name,
        "writer_seed": writer.seed.hex(),
        "holds": [plain(segment) for segment in held],
        "ends_with": [[author.hex(), [head.seq, head.id.hex()]] for author, head in node.heads.clock.items()],
    }


# -- what a node answers

SALT = derived("session handshake")
OURS = log(ANN, 3)
OWN = log(BOB, 2)
LEFT, RIGHT = log(CAT, 2), log(CAT, 3, text="other")
PROOF = cast(ForkProof, build_proof(LEFT[0], RIGHT[0]))
SPLIT = cast(ForkProof, build_proof(OURS[0], log(ANN, 4, text="other")[0]))
THEIRS = log(DAN, 2)
HELLO = Hello(1, 1, (), "script", derived("script instance", 16))
PULLS, PUSHES = (HELLO._replace(features=(feature,)) for feature in ("pull/1", "push/1"))
NAMES = tuple(n.to_bytes(32, "big") for n in range(limits.MAX_EXCEPTIONS))
UNSEEN = EVE.author
LIST = Ranges(0, (Range(b"", RangeKind.LIST),))


def _root() -> bytes:
    """Return the node's root fingerprint."""
    clock = Clock((log[0].author, verify(log[-1])) for log in (OURS, OWN, LEFT))
    return Heads(clock, {PROOF.author: PROOF}, set()).root(SALT)


ROOT = _root()


def listed(*items: Item, exchange: int = 0) -> Ranges:
    """Return a message of DIFFERENCES over everything, which asks for no answer."""
    return Ranges(exchange, (Range(b"", RangeKind.DIFFERENCES, items=items),))


def want(author: bytes | None, first: int, holes: bool = False, most: int = 0) -> Want:
    """Return a question about one author."""
    return Want((WantItem(author, first, holes),), most)


def have(handle: int, seq: int, author: bytes | None = None) -> Have:
    """Return an announcement of one author."""
    return Have((HaveItem(handle, seq, author),))


CASES: list[tuple[str, list[Any]]] = [
    ("nothing is said", [HELLO]),
    ("HELLO of versions 0 to 65,535", [HELLO._replace(low=0, high=65_535)]),
    ("HELLO of versions 2 to 3", [HELLO._replace(low=2, high=3)]),
    ("HELLO twice", [HELLO, HELLO]),
    ("PING before HELLO", [Ping(1)]),
    ("type 64 before HELLO", [b"\x91\x40"]),
    ("BYE before HELLO", [Bye(0)]),
    ("type 64", [HELLO, b"\x91\x40", Ping(1)]),
    ("type 13", [HELLO, b"\x91\x0d"]),
    ("an empty frame", [HELLO, b""]),
    (
        "PEERS",
        [HELLO, Peers((Contact(derived("node"), 0, (Address(bytes([192, 0, 2, 1]), 4000),)),)), Ping(1)],
    ),
    ("PONG that nobody asked for", [HELLO, Pong(7, bytes(16)), Ping(1)]),
    ("a feature that nobody knows", [HELLO._replace(features=("later/1",)), Ping(1)]),
    ("who only pulls has the same", [PULLS, Ranges(0, (Range(b"", RangeKind.FINGERPRINT, ROOT),)), Ping(1)]),
    ("PING of who only pulls, before anything was compared", [PULLS, Ping(1)]),
    ("who only pulls lacks something", [PULLS, LIST, Ping(1)]),
    ("SEGMENT of who only pulls", [PULLS, *THEIRS, Ping(1)]),
    ("FORK of who only pulls", [PULLS, Fork(SPLIT), want(ANN.author, 1)]),
    ("HAVE of who only pulls", [PULLS, have(0, 5, UNSEEN), Ping(1)]),
    ("WANT of who only pushes", [PUSHES, want(ANN.author, 1)]),
    ("WANT of a known fork, of who only pushes", [PUSHES, want(CAT.author, 1)]),
    ("FILL of who only pushes", [PUSHES, Fill(ANN.author, ((2, 2),))]),
    ("who only pushes has nothing more", [PUSHES, LIST, Ping(1)]),
    ("who only pushes and only pulls", [HELLO._replace(features=("push/1", "pull/1")), LIST, Ping(1)]),
    ("an empty list: it lacks all", [HELLO, LIST]),
    ("a list up to 80 only", [HELLO, Ranges(0, (Range(b"\x80", RangeKind.LIST),))]),
    ("no ranges", [HELLO, Ranges(0, ()), Ping(1)]),
    ("an odd number of the dialler's", [HELLO, LIST._replace(exchange=1)]),
    ("the highest number", [HELLO, LIST._replace(exchange=2**64 - 1)]),
    ("a number again", [HELLO, LIST, LIST]),
    (
        "nine steps that are not whole",
        [HELLO, *(Ranges(2 * n, (), True) for n in range(limits.MAX_STEPS + 1))],
    ),
    ("a fingerprint that is ours", [HELLO, Ranges(0, (Range(b"", RangeKind.FINGERPRINT, ROOT),))]),
    (
        "a fingerprint that is not ours",
        [HELLO, Ranges(0, (Range(b"", RangeKind.FINGERPRINT, derived("none", 16)),))],
    ),
    ("names without their end, and RANGES", [HELLO._replace(exceptions=NAMES), LIST]),
    (
        "names, one of them reserved, without their end",
        [HELLO._replace(exceptions=NAMES[1:], reserved=1), LIST],
    ),
    ("names with their end", [HELLO._replace(exceptions=NAMES), Refuse((ANN.author,)), LIST]),
    (
        "names of who wants only these, with their end",
        [HELLO._replace(interest=Interest.WANTED, exceptions=NAMES), Lazy((ANN.author, None)), LIST],
    ),
    ("a higher seq", [HELLO, listed(Item(UNSEEN, 9, bytes(8)))]),
    ("our seq and another check", [HELLO, listed(Item(ANN.author, 3, bytes(8)))]),
    ("a lower seq", [HELLO, listed(Item(ANN.author, 2, bytes(8)))]),
    ("a fork that is not known", [HELLO, listed(Item(ANN.author, 0, bytes(8)))]),
    ("a fork that is not known, with a check", [HELLO, listed(Item(ANN.author, 0, b"\7" * 8))]),
    ("a fork of an author that is not held", [HELLO, listed(Item(UNSEEN, 0, bytes(8)))]),
    ("a fork that is known, with a check", [HELLO, listed(Item(CAT.author, 0, b"\7" * 8)), Ping(1)]),
    ("a seq of a fork that is known", [HELLO, listed(Item(CAT.author, 2, bytes(8)))]),
    (
        "an item of an author that HELLO excepted",
        [HELLO._replace(exceptions=(ANN.author,)), listed(Item(ANN.author, 1, bytes(8)))],
    ),
    ("WANT from the start", [HELLO, want(ANN.author, 1)]),
    ("WANT from the middle of a segment", [HELLO, want(ANN.author, 2)]),
    ("WANT from behind the head", [HELLO, want(ANN.author, 4)]),
    ("WANT of one entry", [HELLO, want(ANN.author, 1, most=1)]),
    ("WANT of more than there is", [HELLO, want(ANN.author, 1, most=4)]),
    ("WANT of who is not held", [HELLO, want(UNSEEN, 1)]),
    ("WANT of a known fork", [HELLO, want(CAT.author, 1)]),
    ("WANT of nil", [HELLO, want(None, 1), want(None, limits.MAX_SEQ, True), Ping(1)]),
    ("WANT twice", [HELLO, Want((WantItem(ANN.author, 1), WantItem(ANN.author, 3)))]),
    ("WANT of a local writer's log, before anything was compared", [HELLO, want(BOB.author, 1), Ping(1)]),
    ("and after", [HELLO, want(BOB.author, 1), Ranges(0, ())]),
    (
        "WANT of a local writer's log of which more is claimed",
        [HELLO, Ranges(0, ()), have(0, 9, BOB.author), want(BOB.author, 1)],
    ),
    (
        "until the claim is taken back",
        [HELLO, Ranges(0, ()), have(0, 9, BOB.author), want(BOB.author, 1), have(0, 2)],
    ),
    ("REFUSE, then LAZY", [HELLO, Refuse((ANN.author,)), Lazy((ANN.author,))]),
    ("HAVE of more", [HELLO, have(0, 5, UNSEEN)]),
    ("HAVE of a handle that nobody has", [HELLO, have(65_535, 5), Ping(1)]),
    (
        "HAVE of a handle that a later format took",
        [HELLO, have(0, 0, UNSEEN), have(0, 1, RESERVED), have(0, 9), Ping(1)],
    ),
    ("handle 65,536", [HELLO, have(65_536, 1, UNSEEN)]),
    ("handle 65,536 without an author", [HELLO, have(65_536, 1)]),
    ("handle 2^64-1 of an author of a reserved length", [HELLO, have(2**64 - 1, 1, RESERVED)]),
    ("FILL", [HELLO, Fill(ANN.author, ((2, 2),))]),
    ("FILL of who is not held", [HELLO, Fill(UNSEEN, ((1, 9),))]),
    ("FILL of a known fork", [HELLO, Fill(CAT.author, ((1, 2),))]),
    (
        "FILL of a local writer's log, before anything was compared",
        [HELLO, Fill(BOB.author, ((1, 2),)), Ping(1)],
    ),
    ("FILL of a local writer's log, and after", [HELLO, Fill(BOB.author, ((1, 2),)), Ranges(0, ())]),
    ("SEGMENT of who is not held", [HELLO, *THEIRS, want(DAN.author, 2)]),
    ("SEGMENT beyond the head", [HELLO, tail_after(THEIRS[0], 1, id_at(THEIRS[0], 1))]),
    ("a signed head beyond ours", [HELLO, signed_head(DAN, verify(THEIRS[0]))]),
    ("SEGMENT that is held", [HELLO, *OURS, Ping(1)]),
    ("SEGMENT before the head, broken", [HELLO, OURS[0]._replace(count=1, bodies=b"?"), Ping(1)]),
    (
        "SEGMENT up to the head with another signature",
        [HELLO, OURS[0]._replace(signature=bytes(64)), Ping(1)],
    ),
    ("SEGMENT up to the head, broken", [HELLO, OURS[0]._replace(bodies=b"?")]),
    ("SEGMENT with a broken item", [HELLO, THEIRS[0]._replace(bodies=b"?")]),
    ("SEGMENT with a hole that nobody asked for", [HELLO, drop_payloads(THEIRS[0], [1])]),
    ("SEGMENT with another signature", [HELLO, THEIRS[0]._replace(signature=bytes(64))]),
    (
        "SEGMENT of 0 entries that begins with 1",
        [HELLO, b"\x97\x05\xc4\x20" + encode(OURS[0])[4:36] + b"\x01\x00" + encode(OURS[0])[38:]],
    ),
    ("SEGMENT of another branch", [HELLO, *log(ANN, 4, text="other")]),
    ("SEGMENT of a known fork", [HELLO, *LEFT, Ping(1)]),
    (
        "FORK",
        [
            HELLO,
            Fork(SPLIT),
            want(ANN.author, 1),
        ],
    ),
    ("FORK that is known", [HELLO, Fork(PROOF), Ping(1)]),
    (
        "FORK that proves nothing",
        [
            HELLO,
            Fork(
                cast(ForkProof, build_proof(*log(DAN, 2), *log(DAN, 3, text="other")))._replace(id=bytes(32))
            ),
        ],
    ),
    (
        "FORK of two seqs",
        [HELLO, Fork(ForkProof(ANN.author, 2, bytes(32), bytes(64), signed_head(ANN, verify(OURS[0]))))],
    ),
    (
        "FORK of an id of 31 bytes",
        [HELLO, encode(Fork(PROOF)).replace(b"\xc4\x20" + PROOF.id, b"\xc4\x1f" + PROOF.id[1:])],
    ),
    ("a root that is ours", [HELLO._replace(root=ROOT), want(BOB.author, 1)]),
    ("REFUSE nil", [HELLO, Ranges(0, ()), Refuse((None,)), Ping(1)]),
    ("BYE of an application", [HELLO, Bye(64, "enough")]),
]


def answered(says: list[Any]) -> tuple[list[bytes], int | None]:
    """Return what the node says to this after its own HELLO, and the code of its BYE."""
    stage = Stage()
    node = stage.node(
        "node", derived("node static"), seeds=[BOB.seed], logs=[*OURS, *OWN, *LEFT], forks=[PROOF]
    )
    script = Script("script", derived("script static"))
    stage.connect(script, node, SALT)
    script.say(*says)
    stage.play()
    said = [frame for who, frame in stage.said if who == "node"]
    byes = [message.code for message in map(decode, said) if isinstance(message, Bye)]
    return [frame for frame in said[1:] if not isinstance(decode(frame), Bye)], byes[0] if byes else None


def answers() -> dict[str, Any]:
    """Return a node and what it says to each of many peers."""
    cases = []
    for name, says in CASES:
        frames = [one if type(one) is bytes else encode(one) for one in says]
        said, code = answered(frames)
        cases.append(
            {
                "name": name,
                "says": [frame.hex() for frame in frames],
                "answers": [f.hex() for f in said],
                "ends": code,
            }
        )
    return {
        "handshake_hash": SALT.hex(),
        "writer_seed": BOB.seed.hex(),
        "holds": [plain(segment) for segment in [*OURS, *OWN, *LEFT]],
        "forked": encode(Fork(PROOF)).hex(),
        "cases": cases,
    }


def write() -> None:
    """Write both files."""
    for name, vectors in (("transcript", transcript()), ("answers", answers())):
        text = json.dumps(vectors, indent=1, ensure_ascii=False)
        (VECTORS / f"session_{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()

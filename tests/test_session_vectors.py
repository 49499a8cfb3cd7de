"""Ring 3: sessions are what they were.  Written by ``python -m tests.vectors.generate_session``, then frozen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.gossip.heads import Heads
from gossiplog.gossip.messages import Hello, Message, Ping, Pong, Ranges, Segment
from gossiplog.log.clock import Clock
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Head, verify
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode
from tests.vectors.generate_session import answered, transcript

VECTORS = Path(__file__).parent / "vectors"
SIDES = ("dialler", "listener")


def load(name: str) -> Any:
    """Read one file of vectors."""
    return json.loads((VECTORS / f"session_{name}.json").read_bytes())


class TranscriptVectors(SynchronousTestCase):
    """One session from its first byte to its last."""

    vector = load("transcript")

    def messages(self, side: str) -> list[Message]:
        """What one side said."""
        said = [step for step in self.vector["steps"] if step.get("from") == side and "frame" in step]
        return [decode(bytes.fromhex(step["frame"])) for step in said]

    def test_nodes_say_the_same_again(self) -> None:
        """Two real nodes, with the keys and logs of the file."""
        self.assertEqual(json.loads(json.dumps(transcript())), self.vector)

    def test_bytes_of_the_connection(self) -> None:
        """They are the handshake and the frames, under the keys of the file alone."""
        channels = {
            side: Channel(
                side == "dialler",
                bytes.fromhex(self.vector[side]["static"]),
                bytes.fromhex(self.vector["network_key"]),
                ephemeral=bytes.fromhex(self.vector[side]["ephemeral"]),
            )
            for side in SIDES
        }
        shaken = [channels["dialler"].start()]
        for step in self.vector["steps"]:
            if "from" not in step:
                continue
            sender = step["from"]
            other = SIDES[1 - SIDES.index(sender)]
            frames = channels[other].receive(bytes.fromhex(step["bytes"]))
            if "frame" in step:
                self.assertEqual([frame.hex() for frame in frames], [step["frame"]])
                self.assertEqual(channels[sender].send(*frames).hex(), step["bytes"])
                self.assertEqual(type(decode(frames[0])).__name__, step["message"])
            else:
                self.assertEqual(shaken[-1].hex(), step["bytes"])
                shaken.append(channels[other].outgoing())
        for side in SIDES:
            other = SIDES[1 - SIDES.index(side)]
            self.assertEqual(channels[side].handshake_hash.hex(), self.vector["handshake_hash"])
            self.assertEqual(channels[side].peer.hex(), self.vector[other]["id"])

    def test_what_is_said(self) -> None:
        """Every kind of message that a small catch-up needs, and what was sent is what the other side ends with."""
        kinds = {type(message).__name__ for side in SIDES for message in self.messages(side)}
        wanted = {"Hello", "Ranges", "Want", "Segment", "Have", "Refuse", "Lazy", "Ping", "Pong", "Bye"}
        self.assertEqual(kinds, wanted)
        for side, other in (SIDES, SIDES[::-1]):
            party = self.vector[side]
            clock = self.held(side)
            for segment in self.messages(other):
                if isinstance(segment, Segment):
                    head = clock.head(segment.author)
                    self.assertEqual(segment.first, (head.seq if head else 0) + 1)
                    clock.replace(segment.author, verify(segment))
            ends = Clock((bytes.fromhex(a), Head(s, bytes.fromhex(i))) for a, (s, i) in party["ends_with"])
            own = Keypair(bytes.fromhex(party["writer_seed"])).author
            self.assertEqual(
                {author: head for author, head in clock.items() if author != own},
                {author: head for author, head in ends.items() if author != own},
            )
            greeting, *rest = self.messages(side)
            assert isinstance(greeting, Hello)
            self.assertEqual((greeting.instance.hex(), greeting.agent), (party["instance"], party["agent"]))
            salt = bytes.fromhex(self.vector["handshake_hash"])
            self.assertEqual(greeting.root, Heads(self.held(side), {}, set()).root(salt))
            last = Heads(ends, {}, set()).root(salt)
            roots = [message.root for message in rest if isinstance(message, Ping | Pong)]
            self.assertEqual(roots, [last])
            for message in rest:
                if isinstance(message, Ranges):
                    before = Heads(self.held(side), {}, set())
                    for item in message.ranges[0].items:
                        self.assertEqual((item.seq, item.check), before.item(item.author, salt))

    def held(self, side: str) -> Clock:
        """What one side begins with."""
        clock = Clock()
        for fields in self.vector[side]["holds"]:
            values = [value if type(value) is int else bytes.fromhex(value) for value in fields.values()]
            segment = Segment(*values)
            clock.replace(segment.author, verify(segment))
        return clock


class AnswerVectors(SynchronousTestCase):
    """What a node says to a peer that says this, and whether it ends the session."""

    vectors = load("answers")

    def test_all(self) -> None:
        """Each with a node of its own."""
        self.assertGreater(len(self.vectors["cases"]), 60)
        for case in self.vectors["cases"]:
            said, code = answered([bytes.fromhex(frame) for frame in case["says"]])
            self.assertEqual([frame.hex() for frame in said], case["answers"], case["name"])
            self.assertEqual(code, case["ends"], case["name"])

    def test_every_code_that_a_peer_can_cause(self) -> None:
        """But those of the connection, of time, and of who it is."""
        self.assertEqual({case["ends"] for case in self.vectors["cases"]}, {None, 4, 5, 6, 8, 9, 10, 11})

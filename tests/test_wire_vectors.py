"""Ring 3: the bytes are what they were.  Written by ``python -m tests.vectors.generate_wire``, then frozen."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gossiplog.errors import HandshakeError, MalformedMessageError
from gossiplog.gossip.messages import Unknown
from gossiplog.wire.channel import Channel
from gossiplog.wire.codec import decode, encode
from gossiplog.wire.frames import FrameReader, frame

VECTORS = Path(__file__).parent / "vectors"


def load(name: str) -> Any:
    """Read one file of vectors."""
    return json.loads((VECTORS / name).read_bytes())


def plain(value: Any) -> Any:
    """Return a message as JSON can hold it: fields by name, bytes as hex, enums by value, large numbers as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Unknown):
        return {"type": plain(value.type)}  # how large it was is no part of it
    if hasattr(value, "_asdict"):
        fields = {name: plain(field) for name, field in value._asdict().items()}
        if not fields.get("reserved", 1):
            del fields["reserved"]  # said where there are such
        return fields
    if type(value) is int and value > 2**53:
        return str(value)  # beyond what numbers of JSON are read as everywhere
    return [plain(item) for item in value] if isinstance(value, tuple) else value


class Messages(SynchronousTestCase):
    def test_every_message(self) -> None:
        vectors = load("wire_messages.json")["messages"]
        for vector in vectors:
            data = bytes.fromhex(vector["hex"])
            message = decode(data)
            self.assertEqual(type(message).__name__, vector["message"], vector["name"])
            self.assertEqual(plain(message), vector["fields"], vector["name"])
            self.assertEqual(encode(message), data, vector["name"])
        self.assertEqual(len({vector["message"] for vector in vectors}), 13)

    def test_what_is_passed_over(self) -> None:
        for vector in load("wire_messages.json")["passed_over"]:
            message = decode(bytes.fromhex(vector["hex"]))
            self.assertEqual(type(message).__name__, vector["message"], vector["name"])
            self.assertEqual(plain(message), vector["fields"], vector["name"])
            if not isinstance(message, Unknown):
                self.assertEqual(decode(encode(message)), message, vector["name"])
                self.assertNotEqual(encode(message), bytes.fromhex(vector["hex"]), vector["name"])

    def test_what_is_refused(self) -> None:
        for vector in load("wire_messages.json")["refused"]:
            with self.assertRaises(MalformedMessageError, msg=vector["name"]):
                decode(bytes.fromhex(vector["hex"]))


class Frames(SynchronousTestCase):
    def test_stream(self) -> None:
        vector = load("wire_frames.json")
        bodies = [bytes.fromhex(body) for body in vector["bodies"]]
        stream = bytes.fromhex(vector["stream"])
        self.assertEqual(b"".join(map(frame, bodies)), stream)
        self.assertEqual(FrameReader().feed(stream), bodies)


class Handshake(SynchronousTestCase):
    def test_one_connection(self) -> None:
        vector = load("wire_channel.json")

        def value(name: str) -> bytes:
            return bytes.fromhex(vector[name])

        network = value("network_key")
        dialler = Channel(True, value("dialler_static"), network, ephemeral=value("dialler_ephemeral"))
        listener = Channel(False, value("listener_static"), network, ephemeral=value("listener_ephemeral"))
        self.assertEqual(dialler.start(), value("first"))
        self.assertEqual(listener.receive(value("first")), [])
        self.assertEqual(listener.outgoing(), value("second"))
        self.assertEqual(dialler.receive(value("second")), [])
        self.assertEqual(dialler.outgoing(), value("third"))
        self.assertEqual(listener.receive(value("third")), [])
        for side in (dialler, listener):
            self.assertEqual(side.handshake_hash, value("handshake_hash"))
        self.assertEqual((dialler.peer, listener.peer), (value("listener_id"), value("dialler_id")))
        for record in vector["records"]:
            sender, receiver = (dialler, listener) if record["from"] == "dialler" else (listener, dialler)
            body, data = bytes.fromhex(record["frame"]), bytes.fromhex(record["bytes"])
            self.assertEqual(sender.send(body), data)
            self.assertEqual(receiver.receive(data), [body])

    def test_turned_away(self) -> None:
        vector = load("wire_channel.json")
        network, static, ephemeral, first, refusal = (
            bytes.fromhex(text)
            for text in (
                *(vector[name] for name in ("network_key", "dialler_static", "dialler_ephemeral", "first")),
                vector["turned_away"]["bytes"],
            )
        )
        dialler = Channel(True, static, network, ephemeral=ephemeral)
        listener = Channel(False, bytes(32), network)
        listener.receive(dialler.start())
        self.assertEqual(listener.first, first[1:])
        self.assertEqual(listener.refuse(vector["turned_away"]["code"]), refusal)
        self.assertEqual(dialler.receive(refusal), [])
        self.assertEqual(dialler.take_refusal(), vector["turned_away"]["code"])

    def test_refused(self) -> None:
        vector = load("wire_channel.json")
        names = ("network_key", "listener_static", "listener_ephemeral", "first", "second")
        network, static, ephemeral, first, second = (bytes.fromhex(vector[name]) for name in names)
        for name, third in vector["refused_third"].items():
            listener = Channel(False, static, network, ephemeral=ephemeral)
            listener.receive(first)
            self.assertEqual(listener.outgoing(), second)
            self.assertRaises(HandshakeError, listener.receive, bytes.fromhex(third))
            self.assertFalse(listener.established, name)

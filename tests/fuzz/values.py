"""Targets: values, from a disk, from people and from logs."""

from __future__ import annotations

import json
import tempfile
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

from gossiplog.app.chat import line_of
from gossiplog.app.commands.authors import find_author
from gossiplog.app.commands.log import as_json
from gossiplog.app.commands.log import as_text as shown
from gossiplog.app.run_options import bound
from gossiplog.errors import (
    EndpointError,
    InvalidKeyError,
    InvalidValueError,
    MalformedBodyError,
)
from gossiplog.gossip.interest import Choices
from gossiplog.gossip.quotas import Quota
from gossiplog.limits import MAX_BODY_BYTES
from gossiplog.log import network
from gossiplog.log.body import decode_body, encode_body
from gossiplog.log.clock import Clock
from gossiplog.log.cursor import Cursor
from gossiplog.log.encodings import ENCODINGS
from gossiplog.log.entry import read_entries
from gossiplog.log.keys import KeyKind, format_key, parse_key
from gossiplog.log.network import Network
from gossiplog.log.segment import Head, build
from gossiplog.net.endpoints import check_client, check_server
from gossiplog.printable import printable
from gossiplog.store.names import check_writer_name, file_name, writer_name
from gossiplog.testing.sim.faults import KINDS
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.saved import load, save
from tests.fuzz.people import ANN, BOB, EVE, VECTORS, log_of, vectors
from tests.fuzz.survey import fast
from tests.fuzz.target import Target, as_text


def check_body(data: bytes) -> None:
    """A body decodes to what encodes again, or is malformed; a reader gets its entry with any encoding."""
    try:
        body = decode_body(data)
    except MalformedBodyError:
        body = None
    else:
        again = encode_body(*body)
        assert decode_body(again) == body and len(again) <= len(data)
    if len(data) > MAX_BODY_BYTES:
        return
    [segment], head = build(ANN, Head(4, bytes(32)), [data])
    for encoding in ENCODINGS.values():
        [entry] = read_entries(segment, encoding)
        assert (entry.author, entry.seq, entry.id) == (ANN.author, 5, head.id)
        if body is None:
            assert entry.malformed and entry.payload == data
        elif entry.malformed:
            assert entry.payload == body.payload and encoding.name != "bytes"
        else:
            assert entry.timestamp_ms == body.timestamp_ms and entry.after == body.after
        if encoding.name == "bytes":
            _check_line(printable(shown(entry)))
            _check_line(as_json(entry))
            assert json.loads(as_json(entry))["seq"] == 5 and "\n" not in as_json(entry)
        if encoding.name == "json":
            _check_line(line_of(entry) or "")


def _check_line(line: str) -> None:
    """Nothing in it steers a terminal, or cannot be written to one."""
    codes = list(map(ord, line))
    assert not any(code < 32 or 0x7F <= code < 0xA0 or code in (0x2028, 0x2029, 0x202E) for code in codes)
    line.encode()


def check_key(data: bytes) -> None:
    """A key's text has one meaning, and but for hex one form."""
    text = as_text(data)
    kinds = []
    for kind in KeyKind:
        try:
            key = parse_key(kind, text)
        except InvalidKeyError:
            continue
        kinds.append(kind)
        assert text == format_key(kind, key) or (text.lower() == key.hex() and len(kinds) <= len(KeyKind))
    assert len(kinds) in (0, 1) or "_" not in text


def check_network(data: bytes) -> None:
    """Any text is one network or none; Argon2id, which is slow, is left out."""
    text = as_text(data)
    with patch.object(network, "_key_of_name", lambda name: sha256(name).digest()):
        try:
            found = Network.parse(text)
        except InvalidValueError:
            return
        assert found == Network.parse(text)
        assert Network.parse(format_key(KeyKind.NETWORK, found.key)) == found
    assert found.key.hex() not in repr(found) and found.key != found.discovery_id


def check_cursor(data: bytes) -> None:
    """A cursor has one form; what follows it is refused."""
    try:
        cursor = Cursor.load(data)
    except InvalidValueError:
        return
    assert cursor.dump() == data and list(cursor) == sorted(cursor)


def check_choices(data: bytes) -> None:
    """What is loaded can be kept again, asked and changed."""
    try:
        choices = Choices.load(data, {BOB.author})
    except InvalidValueError:
        return
    again = Choices.load(choices.dump(), {BOB.author})
    assert (again.mode, again.chosen, again.blocked) == (choices.mode, choices.chosen, choices.blocked)
    assert choices.wants(BOB.author) and not any(map(choices.wants, choices.blocked - {BOB.author}))
    choices.unblock([*choices.blocked])
    choices.follow([ANN.author])
    assert choices.wants(ANN.author) and all(len(author) == 32 for author in choices.named())


def check_name(data: bytes) -> None:
    """A file in the directory of seeds is one writer's, or nobody's; no name leaves the directory."""
    text = as_text(data)
    name = writer_name(text)
    assert name is None or (file_name(name) == text and check_writer_name(name) == name)
    try:
        file = file_name(text)
    except InvalidValueError:
        return
    assert writer_name(file) == text and not file.startswith(".") and not {"/", "\0"} & set(file)


def check_argument(data: bytes) -> None:
    """What somebody typed is taken or refused; nothing that is printed steers a terminal."""
    text = as_text(data)
    _check_line(printable(text))
    for check in (check_client, check_server):
        try:
            assert check(text) == text and ":" in text
        except EndpointError:
            pass
    clock = Clock({pair.author: Head(log_of(pair)[-1].last, bytes(32)) for pair in (ANN, BOB)})
    try:
        assert find_author(clock, text) in clock
    except InvalidValueError:
        pass
    for quota in Quota:
        try:
            assert bound(quota)(text) > 0
        except InvalidValueError:
            pass


def check_scenario(data: bytes) -> None:
    """A file is a scenario, of the kinds of values that a simulation takes, or none; what is saved is read again."""
    with tempfile.TemporaryDirectory(dir=fast()) as place:
        file = Path(place) / "scenario.json"
        file.write_bytes(data)
        try:
            scenario = load(file)
        except InvalidValueError:
            return
        save(file, scenario)
        assert load(file) == scenario
    for write in scenario.writes:
        assert write.at < float("inf") and all(len(bytes(size)) < MAX_BODY_BYTES for size in write.sizes)
    for fault in scenario.faults:
        assert fault.kind in KINDS and fault.at + fault.seconds < float("inf")
        assert all(scenario.writers[number] >= 0 for number in fault.nodes)
    assert all(Quality(*quality).mean_delay < float("inf") for quality in scenario.qualities)


def _texts() -> list[bytes]:
    keys = vectors("log_keys")
    texts = [text for key in keys["keys"] for text in key["texts"].values()]
    texts += [key["author"] for key in keys["keys"]] + list(keys["not_author_texts"])
    return [text.encode("utf-8", "surrogatepass") for text in texts]


_BODIES = [bytes.fromhex(case["body"]) for cases in vectors("log_bodies").values() for case in cases]
_PAYLOADS = [
    encode_body(1, payload)
    for payload in (
        b'{"type":"chat-message","nickname":"a\\u001b[2J","text":"\\ud800\\u202e","timestamp":""}',
        b'{"a":[1,2.5e9,null]}',
        b"\x82\xa1a\x91\x01\x02\xc0",
        b"\xd6\xff\0\0\0\1",
        b"[" * 30,
        b"1" * 30,
    )
]
_ENDPOINTS = [
    b"tcp:4000",
    b"tcp:host:1",
    b"tcp:0:interface=\\:\\:1",
    b"unix:/a",
    b"ssl:a:1",
    b"tls:host:1",
    b"onion:a",
]
_CURSORS = [
    Cursor({pair.author: (3, bytes(8)) for pair in pairs}).dump() for pairs in ((), (ANN,), (ANN, BOB, EVE))
]
_CURSORS += [bytes.fromhex(text) for text in vectors("log_clocks")["not_cursors"].values()]


def _choices() -> list[bytes]:
    choices = Choices({BOB.author})
    choices.follow([ANN.author])
    choices.block([EVE.author])
    return [choices.dump(), Choices(set()).dump()]


def _scenarios() -> list[bytes]:
    small = {**json.loads((VECTORS.parent / "regressions" / "lost-message.json").read_bytes()), "about": ""}
    small |= {"edges": [[0, 1]], "qualities": [[0.1, 0.0, 1e6, 0.0]], "writers": [2, 0], "shared": [1, 0]}
    small |= {"starts": [0.0, 1.0], "clocks": [[0.0, 1.0], [0, 1]]}
    faults = [["crash", 1.0, [1], 2], ["cut", 2.0, [0, 1], 0.5]]
    return [json.dumps({**small, "faults": chosen}).encode() for chosen in ([], faults)]


TARGETS = [
    Target("scenario", check_scenario, _scenarios()),
    Target("body", check_body, _BODIES + _PAYLOADS),
    Target("key", check_key, _texts()),
    Target("network", check_network, [*_texts(), b"music", "é".encode(), b"\xed\xa0\x80"]),
    Target("cursor", check_cursor, _CURSORS),
    Target("choices", check_choices, _choices()),
    Target("name", check_name, [b"me", b"notes%20of%20%41nn", b"%c3%a9", b"%2e", "é ☃".encode()]),
    Target(
        "argument", check_argument, [*_texts(), *_ENDPOINTS, b"17", b"1.5", b"nan", b"\x1b[2J\xe2\x80\xae"]
    ),
]

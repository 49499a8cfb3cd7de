"""Write room.json: keys of rooms, tags and cards of members, and what they and a room say.

    python tests/vectors/generate_room.py

Written from the specification (docs/protocol/rooms.rst), not with the code that it tests.
"""

import hashlib
import hmac
import json
from pathlib import Path

import msgpack
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as seal

SEAT, TICKET = bytes(range(8)), bytes(range(100, 132))


def tag(words: str) -> bytes:
    return f"gossiplog/1 {words}".encode().ljust(32, b"\0")


def keyed(key: bytes, *parts: bytes) -> bytes:
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def main() -> None:
    keys = [
        {"key": None, "psk": hashlib.sha256(tag("open room")).hexdigest()},
        *[
            {"key": key.hex(), "psk": hashlib.sha256(tag("room") + key).hexdigest()}
            for key in (bytes(32), bytes(range(32)))
        ],
    ]
    members = []
    for network, room, number in ((bytes(range(32)), bytes(32), 9), (bytes(32), b"\7" * 32, 1)):
        discovery_id = hashlib.sha256(tag("discovery") + network).digest()
        node, nonce = number.to_bytes(32, "little"), bytes([number]) * 24
        members.append(
            {
                "network": network.hex(),
                "room": room.hex(),
                "node": node.hex(),
                "nonce": nonce.hex(),
                "tag": keyed(discovery_id, tag("meeting"), room).hex(),
                "card": (nonce + seal(node, room, nonce, keyed(network, tag("card")))).hex(),
            }
        )
    said = [
        ("ALIVE", [0]),
        ("SIT", [1, bytes(32), b"card"]),
        ("SEATS", [2, []]),
        ("SEATS", [2, [[SEAT, b"card"], [bytes(8), b""]]]),
        ("MEET", [3, SEAT, True]),
        ("LEFT", [4, SEAT]),
        ("ASKED", [5, SEAT]),
        ("PAIRED", [6, SEAT, TICKET, True, [bytes([192, 0, 2, 7]), 4000]]),
        ("PAIRED", [6, SEAT, TICKET, False, [bytes.fromhex("20010db8") + bytes(11) + b"\7", 443]]),
        ("PAIRED", [6, SEAT, TICKET, False, None]),
        ("REFUSED", [7, SEAT, 2]),
    ]
    passed_over = [[64, {}, 1], [8], [0, "more", [1, [2]]], [5, SEAT, None]]
    malformed = [
        [],
        ["x"],
        [1, bytes(31), b""],
        [1, bytes(32)],
        [1, bytes(32), bytes(129)],
        [2, [[SEAT]]],
        [2, [[SEAT, b""]] * 257],
        [3, SEAT, 1],
        [3, bytes(7), True],
        [6, SEAT, TICKET, True, [bytes(5), 1]],
        [6, SEAT, TICKET, True, [bytes(4), 0]],
        [6, SEAT, TICKET, True, [bytes(4), 65_536]],
        [7, SEAT, -1],
        [-1],
    ]
    made = {
        "keys": keys,
        "members": members,
        "messages": [{"name": name, "frame": msgpack.packb(said).hex()} for name, said in said],
        "passed_over": [msgpack.packb(each).hex() for each in passed_over],
        "malformed": [*[msgpack.packb(each).hex() for each in malformed], "", "c1", "9100" + "00"],
    }
    path = Path(__file__).parent / "room.json"
    path.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()

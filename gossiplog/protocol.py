"""What the specification speaks of, for tools and other implementations: values, messages and their bytes.

Applications need nothing of this; it changes with the protocol (``docs/protocol/``).
"""

from gossiplog.gossip.messages import (
    Bye,
    Fill,
    Fork,
    Have,
    HaveItem,
    Hello,
    Lazy,
    Message,
    Peers,
    Ping,
    Pong,
    Range,
    RangeKind,
    Ranges,
    Refuse,
    Unknown,
    Want,
    WantItem,
)
from gossiplog.log.body import Body, decode_body, encode_body
from gossiplog.log.fork import build_proof, verify_proof
from gossiplog.log.keys import KeyKind, Keypair, format_key, genesis_id, head_message, parse_key, verify_head
from gossiplog.log.place import Place, place_bytes, read_place
from gossiplog.log.segment import build, entries, verify
from gossiplog.wire.codec import decode, encode

__all__ = [
    "Body",
    "Bye",
    "Fill",
    "Fork",
    "Have",
    "HaveItem",
    "Hello",
    "KeyKind",
    "Keypair",
    "Lazy",
    "Message",
    "Peers",
    "Ping",
    "Place",
    "Pong",
    "Range",
    "RangeKind",
    "Ranges",
    "Refuse",
    "Unknown",
    "Want",
    "WantItem",
    "build",
    "build_proof",
    "decode",
    "decode_body",
    "encode",
    "encode_body",
    "entries",
    "format_key",
    "genesis_id",
    "head_message",
    "parse_key",
    "place_bytes",
    "read_place",
    "verify",
    "verify_head",
    "verify_proof",
]

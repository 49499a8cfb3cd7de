"""PEERS: who else is there, and where.

Responsible for: its frame.
Must not know: which addresses are worth anything.
Invariant: addresses are bytes and numbers; no text of a peer is ever taken for an endpoint.
"""

from __future__ import annotations

from typing import Any, Final

from gossiplog import limits
from gossiplog.errors import MalformedMessageError
from gossiplog.gossip.messages import Address, Contact, Peers
from gossiplog.wire.fields import MAX_UINT, Fields, counted, pack

_IP_LENGTHS: Final = (4, 16)
"""Of IPv4 and IPv6; other lengths are reserved, and passed over."""

_NODE_BYTES: Final = 32
_MOST_PORT: Final = 65535


def pack_peers(m: Peers) -> bytes:
    """Return the frame of PEERS."""
    contacts = [
        (contact.node, contact.age, counted(contact.addresses, limits.MAX_CONTACT_ADDRESSES))
        for contact in counted(m.contacts, limits.MAX_PEERS)
    ]
    return pack((9, contacts, m.seen))


def read_peers(fields: Fields) -> Peers:
    """Read the elements of PEERS; nodes and addresses of reserved lengths are left out."""
    contacts = []
    for _ in range(fields.array("contacts", limits.MAX_PEERS)):
        fields.array("contact", 3, 3)
        node, age = fields.binary("node"), fields.uint("age", 0, MAX_UINT)
        found = [
            _address(fields.next()) for _ in range(fields.array("addresses", limits.MAX_CONTACT_ADDRESSES))
        ]
        if len(node) == _NODE_BYTES:
            contacts.append(Contact(node, age, tuple([address for address in found if address is not None])))
    seen = fields.next()
    return Peers(tuple(contacts), None if seen is None else _address(seen))


def _address(item: Any) -> Address | None:
    if type(item) is not tuple or len(item) != 2:
        raise MalformedMessageError("address: not an array of 2 elements")
    ip, port = item
    if type(ip) is not bytes:
        raise MalformedMessageError("address: not bytes")
    if type(port) is not int or not 1 <= port <= _MOST_PORT:
        raise MalformedMessageError(f"port: not an integer from 1 to {_MOST_PORT}")
    return Address(ip, port) if len(ip) in _IP_LENGTHS else None

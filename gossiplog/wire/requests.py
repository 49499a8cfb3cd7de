"""Messages about the session itself: HELLO, WANT, LAZY, REFUSE, PING, PONG and BYE.

Responsible for: their elements, and the limits on their lists and texts.
Must not know: when they are sent and what follows from them.
Invariant: lists of authors hold only 32-byte authors (and nil where "all others" can be said).
"""

from __future__ import annotations

from typing import Final

from gossiplog import limits
from gossiplog.errors import MalformedMessageError
from gossiplog.gossip.messages import (
    RESERVED,
    Bye,
    Hello,
    Interest,
    Lazy,
    Ping,
    Pong,
    Refuse,
    Want,
    WantItem,
)
from gossiplog.wire.fields import MAX_UINT, Fields, checked_text, counted, pack

_ROOT_LENGTHS: Final = (0, 16)
"""A root fingerprint is empty while it is not known."""


def pack_hello(m: Hello) -> bytes:
    """Return the frame of HELLO."""
    features = [checked_text(feature) for feature in counted(m.features, limits.MAX_FEATURES)]
    exceptions = counted(m.exceptions + (RESERVED,) * m.reserved, limits.MAX_EXCEPTIONS)
    agent = checked_text(m.agent)
    return pack((0, m.low, m.high, features, agent, m.instance, int(m.interest), exceptions, m.root))


def read_hello(fields: Fields) -> Hello:
    """Read the elements of HELLO."""
    low = fields.uint("low", 0, limits.MAX_VERSION)
    high = fields.uint("high", low, limits.MAX_VERSION)
    features = fields.texts("features", limits.MAX_FEATURES)
    agent = fields.text("agent")
    instance = fields.binary("instance", 16)
    interest = Interest(fields.uint("interest", 0, Interest.WANTED))
    exceptions, reserved = fields.authors("exceptions", limits.MAX_EXCEPTIONS)
    root = fields.binary("root", *_ROOT_LENGTHS)
    return Hello(low, high, features, agent, instance, interest, exceptions, root, reserved)


def pack_want(m: Want) -> bytes:
    """Return the frame of WANT."""
    items = counted(m.items, limits.MAX_WANT_ITEMS)
    return pack((2, items, m.most) if m.most else (2, items))


def read_want(fields: Fields, more: int) -> Want:
    """Read the elements of WANT, of which ``most`` may be there."""
    items: list[WantItem] = []
    for _ in range(fields.array("items", limits.MAX_WANT_ITEMS)):
        item = fields.authored_item("item")
        if item is None:
            continue
        author, first, holes = item
        if author is not None and type(author) is not bytes:
            raise MalformedMessageError("item: not an author")
        if type(first) is not int or not 1 <= first <= limits.MAX_SEQ or type(holes) is not bool:
            raise MalformedMessageError("item: not a seq and whether holes are allowed")
        items.append(WantItem(author, first, holes))
    return Want(tuple(items), fields.uint("most", 0, limits.MAX_SEQ) if more else 0)


def _names(m: Lazy | Refuse) -> tuple[bytes | None, ...]:
    return counted(m.authors + (RESERVED,) * m.reserved, limits.MAX_WANT_ITEMS)


def pack_lazy(m: Lazy) -> bytes:
    """Return the frame of LAZY."""
    return pack((3, _names(m)))


def read_lazy(fields: Fields) -> Lazy:
    """Read the elements of LAZY."""
    return Lazy(*fields.authors_or_all("authors", limits.MAX_WANT_ITEMS))


def pack_refuse(m: Refuse) -> bytes:
    """Return the frame of REFUSE."""
    return pack((4, _names(m)))


def read_refuse(fields: Fields) -> Refuse:
    """Read the elements of REFUSE."""
    return Refuse(*fields.authors_or_all("authors", limits.MAX_WANT_ITEMS))


def pack_ping(m: Ping) -> bytes:
    """Return the frame of PING."""
    return pack((10, m.token, m.root))


def read_ping(fields: Fields) -> Ping:
    """Read the elements of PING."""
    return Ping(fields.uint("token", 0, MAX_UINT), fields.binary("root", *_ROOT_LENGTHS))


def pack_pong(m: Pong) -> bytes:
    """Return the frame of PONG."""
    return pack((11, m.token, m.root, True) if m.done else (11, m.token, m.root))


def read_pong(fields: Fields, more: int) -> Pong:
    """Read the elements of PONG, of which ``done`` may be there."""
    token, root = fields.uint("token", 0, MAX_UINT), fields.binary("root", *_ROOT_LENGTHS)
    return Pong(token, root, fields.flag("done") if more else False)


def pack_bye(m: Bye) -> bytes:
    """Return the frame of BYE."""
    return pack((12, int(m.code), checked_text(m.reason)))


def read_bye(fields: Fields) -> Bye:
    """Read the elements of BYE."""
    return Bye(fields.uint("code", 0, limits.MAX_CODE), fields.text("reason"))

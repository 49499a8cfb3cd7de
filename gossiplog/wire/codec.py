"""Messages to frames and back: one msgpack array per frame, ``[type, ...]``.

Responsible for: which type number is which message, and that whatever is wrong with a frame has one error.
Must not know: sessions, and what a message leads to.
Invariant: for every message ``decode(encode(message)) == message``; every byte string decodes or raises
:class:`gossiplog.errors.MalformedMessageError`, and costs little either way.  Whoever adds a message and no row finds
out when this module is imported.

What a later version may add is passed over: types from 64 up, elements after the ones read here, and authors
whose length is reserved (specification, "Growing").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, get_args

from msgpack.exceptions import UnpackException

from gossiplog import limits
from gossiplog.errors import InvalidValueError, MalformedMessageError
from gossiplog.gossip import messages as m
from gossiplog.wire import entries, peers, ranges, requests
from gossiplog.wire.fields import MAX_UINT, Fields, is_reserved

FIRST_FREE_TYPE: Final = 64
"""Types from here up are passed over by who does not know them; below, they belong to the version."""


class _Row(NamedTuple):
    number: int
    kind: type[m.Message]
    elements: int
    """How many elements are read, the type included; more are passed over, fewer are malformed."""
    encode: Callable[[Any], bytes]
    decode: Callable[..., m.Message]
    about_author: bool = False
    """Whether the second element is its author: of one whose length is reserved nothing more is read."""
    optional: int = 0
    """How many elements more are read if they are there; ``decode`` is told how many are."""


_ROWS: Final = (
    _Row(0, m.Hello, 9, requests.pack_hello, requests.read_hello),
    _Row(1, m.Ranges, 4, ranges.pack_ranges, ranges.read_ranges),
    _Row(2, m.Want, 2, requests.pack_want, requests.read_want, optional=1),
    _Row(3, m.Lazy, 2, requests.pack_lazy, requests.read_lazy),
    _Row(4, m.Refuse, 2, requests.pack_refuse, requests.read_refuse),
    _Row(5, m.Segment, 7, entries.pack_segment, entries.read_segment, True),
    _Row(6, m.Have, 2, entries.pack_have, entries.read_have),
    _Row(7, m.Fill, 3, entries.pack_fill, entries.read_fill, True),
    _Row(8, m.Fork, 6, entries.pack_fork, entries.read_fork, True),
    _Row(9, m.Peers, 3, peers.pack_peers, peers.read_peers),
    _Row(10, m.Ping, 3, requests.pack_ping, requests.read_ping),
    _Row(11, m.Pong, 3, requests.pack_pong, requests.read_pong, optional=1),
    _Row(12, m.Bye, 3, requests.pack_bye, requests.read_bye),
)
_BY_NUMBER: Final = {row.number: row for row in _ROWS}
_BY_KIND: Final[dict[type, _Row]] = {row.kind: row for row in _ROWS}

if not len(_ROWS) == len(_BY_NUMBER) == len(_BY_KIND) or {*_BY_KIND, m.Unknown} != {*get_args(m.Message)}:
    raise TypeError(
        "every message but Unknown needs a type number of its own, and how it is written and read"
    )


def encode(message: m.Message) -> bytes:
    """Return the frame of ``message``, without its length.

    :raises InvalidValueError: more items or longer texts than a peer would accept.

    >>> encode(m.Bye(1, "later")).hex()
    '930c01a56c61746572'
    """
    row = _BY_KIND.get(type(message))
    if row is None:
        raise InvalidValueError(f"a {type(message).__name__} is nothing that can be sent")
    return row.encode(message)


def decode(frame: bytes) -> m.Message:
    """Return the message in ``frame``, or :class:`Unknown` for one that this version passes over.

    :raises MalformedMessageError: the frame is not a message.

    >>> decode(bytes.fromhex("930c01a56c61746572"))
    Bye(code=1, reason='later')
    >>> decode(bytes.fromhex("9240c3"))
    Unknown(type=64, size_kib=0)
    """
    if frame.startswith(entries.USUAL_SEGMENT) and (segment := entries.read_usual_segment(frame)):
        return segment
    fields = Fields(frame)
    name = "frame"
    try:
        elements = fields.array("elements", limits.MAX_ELEMENTS, 1)
        number = fields.uint("type", 0, MAX_UINT)
        if number >= FIRST_FREE_TYPE:
            message: m.Message = m.Unknown(number)
            fields.skip(elements - 1)
        else:
            row = _BY_NUMBER.get(number)
            if row is None:
                raise MalformedMessageError(f"no message has type {number}")
            name = row.kind.__name__
            about = (fields.binary("author"),) if row.about_author and elements > 1 else ()
            if any(map(is_reserved, about)):
                message = m.Unknown(number)
                fields.skip(elements - 2)
            elif elements < row.elements:
                raise MalformedMessageError(f"{elements} elements instead of {row.elements}")
            else:
                more = min(elements - row.elements, row.optional)
                message = row.decode(fields, *about, *((more,) if row.optional else ()))
                fields.skip(elements - row.elements - more)
    except MalformedMessageError as error:
        raise MalformedMessageError(f"{name}: {error}") from None
    except (ValueError, UnpackException) as error:
        raise MalformedMessageError(f"{name}: not msgpack within the limits ({error!r})") from error
    if fields.position != len(frame):
        raise MalformedMessageError(f"{name}: {len(frame) - fields.position} bytes after the message")
    return m.Unknown(number, len(frame) // 1024) if type(message) is m.Unknown else message

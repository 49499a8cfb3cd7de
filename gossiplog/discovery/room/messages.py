"""What a room and its members say to each other, in frames of the channel.

Responsible for: the messages, their frames and limits.
Must not know: who is in a room, what becomes of a message.
Invariant: what is not one of these messages is a :class:`~gossiplog.errors.PeerError`; types that are not known, and
elements behind the known ones, are passed over, so that later versions may say more.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from msgpack import UnpackException

from gossiplog import limits
from gossiplog.addresses import LAST_PORT, Address
from gossiplog.discovery.room.key import TAG_BYTES
from gossiplog.errors import MalformedMessageError
from gossiplog.wire.fields import Fields, counted, pack

SEAT_BYTES: Final = 8
TICKET_BYTES: Final = 32
MOST_TYPE: Final = 2**16
MOST_ELEMENTS: Final = 16
_IP_LENGTHS: Final = (4, 16)


class Alive(NamedTuple):
    """I am still here; a room says it back."""


class Sit(NamedTuple):
    """A member: I am of the network ``tag``, and show ``card`` to who else is."""

    tag: bytes
    card: bytes


class Seats(NamedTuple):
    """The room: these sit there too, each a seat and a card: all who do, then who comes later."""

    seats: tuple[tuple[bytes, bytes], ...]


class Meet(NamedTuple):
    """A member: I want to meet who sits there, and would try the direct way (``punches``)."""

    seat: bytes
    punches: bool


class Left(NamedTuple):
    """The room: nobody sits there any more."""

    seat: bytes


class Asked(NamedTuple):
    """The room: who sits there wants to meet you."""

    seat: bytes


class Paired(NamedTuple):
    """The room: you both want to meet.

    ``ticket`` is for a connection to the room that is carried on to the other one; ``dials``: you are the initiator of
    the handshake; ``address``: the other one comes from there, and tries the direct way if you do.
    """

    seat: bytes
    ticket: bytes
    dials: bool
    address: Address | None


class Refused(NamedTuple):
    """The room: you cannot meet who sits there, for the reason ``code``."""

    seat: bytes
    code: int


GONE, FULL, SPENT = 1, 2, 3
"""Nobody sits there; there is no place for another pair; the network had its share for today."""

Message: TypeAlias = Alive | Sit | Seats | Meet | Left | Asked | Paired | Refused

_TYPES: Final[dict[type[Any], int]] = {
    Alive: 0, Sit: 1, Seats: 2, Meet: 3, Left: 4, Asked: 5, Paired: 6, Refused: 7,
}  # fmt: skip


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    if isinstance(message, Seats):
        counted(message.seats, limits.ROOM_KNOWN)
    return pack((_TYPES[type(message)], *message))


def decode(frame: bytes) -> Message | None:
    """Return the message of a frame, None for one of a type that is not known; PeerError for what is none."""
    try:
        fields = Fields(frame)
        size = fields.array("message", MOST_ELEMENTS, 1)
        kind = fields.uint("type", 0, MOST_TYPE)
        read = _READERS.get(kind)
        if read is None:
            return None
        message, count = read(fields, size - 1)
        fields.skip(size - 1 - count)
        if fields.position != len(frame):
            raise MalformedMessageError("bytes behind a message")
        return message
    except (UnpackException, ValueError, OverflowError, TypeError, RecursionError) as error:
        raise MalformedMessageError(f"no message of a room: {error}") from None


def _need(size: int, count: int) -> int:
    if size < count:
        raise MalformedMessageError(f"{size} elements instead of {count}")
    return count


def _alive(fields: Fields, size: int) -> tuple[Message, int]:
    return Alive(), 0


def _sit(fields: Fields, size: int) -> tuple[Message, int]:
    count = _need(size, 2)
    return Sit(fields.binary("tag", TAG_BYTES), _card(fields)), count


def _seats(fields: Fields, size: int) -> tuple[Message, int]:
    count = _need(size, 1)
    seats = []
    for _ in range(fields.array("seats", limits.ROOM_KNOWN)):
        fields.array("seat", 2, 2)
        seats.append((fields.binary("seat", SEAT_BYTES), _card(fields)))
    return Seats(tuple(seats)), count


def _meet(fields: Fields, size: int) -> tuple[Message, int]:
    count = _need(size, 2)
    return Meet(fields.binary("seat", SEAT_BYTES), fields.flag("punches")), count


def _left(fields: Fields, size: int) -> tuple[Message, int]:
    count = _need(size, 1)
    return Left(fields.binary("seat", SEAT_BYTES)), count


def _asked(fields: Fields, size: int) -> tuple[Message, int]:
    count = _need(size, 1)
    return Asked(fields.binary("seat", SEAT_BYTES)), count


def _paired(fields: Fields, size: int) -> tuple[Message, int]:
    count = _need(size, 4)
    seat, ticket = fields.binary("seat", SEAT_BYTES), fields.binary("ticket", TICKET_BYTES)
    dials, address = fields.flag("dials"), fields.next()
    return Paired(seat, ticket, dials, None if address is None else _address(address)), count


def _refused(fields: Fields, size: int) -> tuple[Message, int]:
    count = _need(size, 2)
    return Refused(fields.binary("seat", SEAT_BYTES), fields.uint("code", 0, MOST_TYPE)), count


_READERS: Final = {
    0: _alive, 1: _sit, 2: _seats, 3: _meet, 4: _left, 5: _asked, 6: _paired, 7: _refused,
}  # fmt: skip


def _card(fields: Fields) -> bytes:
    card = fields.binary("card")
    if len(card) > limits.ROOM_CARD_BYTES:
        raise MalformedMessageError(f"card: {len(card)} bytes; at most {limits.ROOM_CARD_BYTES} are allowed")
    return card


def _address(item: Any) -> Address:
    if type(item) is not tuple or len(item) != 2:
        raise MalformedMessageError("address: not an array of 2 elements")
    ip, port = item
    if type(ip) is not bytes or len(ip) not in _IP_LENGTHS:
        raise MalformedMessageError("address: not 4 or 16 bytes")
    if type(port) is not int or not 1 <= port <= LAST_PORT:
        raise MalformedMessageError(f"port: not an integer from 1 to {LAST_PORT}")
    return Address(ip, port)

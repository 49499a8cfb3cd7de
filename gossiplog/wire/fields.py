"""One frame's elements: packed at once, read one by one with their exact types.

Responsible for: the types, lengths and ranges of what is read, that reading is cheap whatever comes, and what of an
author of a reserved length is passed over.
Must not know: message types.
Invariant: no array is built that is longer than a list item, so nesting costs nothing; longer arrays are read
one element at a time, after their length was compared with a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from msgpack import Packer, Unpacker

from gossiplog.errors import InvalidValueError, MalformedMessageError
from gossiplog.limits import MAX_ITEM_ELEMENTS, MAX_TEXT_BYTES

AUTHOR_BYTES: Final = 32
ITEM_ELEMENTS: Final = 3
"""The longest item of any list: ``[author, seq, check]``."""

MAX_UINT: Final = 2**64 - 1

_USUAL_ITEMS: Final = (b"\x93\xc4\x20", b"\x93\xc0")
"""How an item of three elements begins whose author is 32 bytes, or nil."""

pack: Final[Callable[[Any], bytes]] = Packer(autoreset=True).pack
"""Pack one document; made once, because a packer is dear to make."""

_Items = TypeVar("_Items", bound=Sequence[Any])


def counted(items: _Items, most: int) -> _Items:
    """Return ``items``, or raise :class:`InvalidValueError` when a peer would refuse so many."""
    if len(items) > most:
        raise InvalidValueError(f"{len(items)} items in one message; at most {most} are allowed")
    return items


def checked_text(text: str) -> str:
    """Return ``text``, or raise :class:`InvalidValueError` when a peer would refuse it."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"a text that is not Unicode: {error}") from error
    if size > MAX_TEXT_BYTES:
        raise InvalidValueError(f"a text of {size} bytes; at most {MAX_TEXT_BYTES} are allowed")
    return text


class Fields:
    """The elements of one msgpack document, in order.

    An element of another type or range is a :class:`MalformedMessageError`; bytes that are not msgpack raise
    what msgpack raises, which :func:`gossiplog.wire.codec.decode` translates in one place.

    >>> fields = Fields(bytes([0x92, 7, 0xa1, 0x61]))
    >>> fields.array("message", 2), fields.uint("number", 0, 9), fields.text("letter"), fields.position
    (2, 7, 'a', 4)
    """

    __slots__ = ("_frame", "_tell", "_unpacker", "next")

    def __init__(self, frame: bytes) -> None:
        size = len(frame) or 1
        unpacker = Unpacker(
            use_list=False,
            read_size=size,
            max_buffer_size=size,
            max_bin_len=size,
            max_str_len=MAX_TEXT_BYTES,
            max_array_len=ITEM_ELEMENTS,
            max_map_len=0,
            max_ext_len=0,
        )
        unpacker.feed(frame)
        self._frame = frame
        self._unpacker = unpacker
        self._tell = unpacker.tell
        self.next = unpacker.unpack
        """Read any element: a scalar, or a tuple of at most three."""

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return int(self._tell())

    def skip(self, count: int) -> None:
        """Pass over elements of any shape without building them."""
        for _ in range(count):
            self._unpacker.skip()

    def array(self, name: str, most: int, least: int = 0) -> int:
        """Enter an array and return its length."""
        length = int(self._unpacker.read_array_header())
        if not least <= length <= most:
            raise MalformedMessageError(f"{name}: {length} elements instead of {least} to {most}")
        return length

    def uint(self, name: str, least: int, most: int) -> int:
        """Read an integer in an inclusive range; ``True`` and ``1.0`` are not integers."""
        value: Any = self.next()
        if type(value) is not int or not least <= value <= most:
            raise MalformedMessageError(f"{name}: not an integer from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Read a boolean."""
        value: Any = self.next()
        if type(value) is not bool:
            raise MalformedMessageError(f"{name}: not a boolean")
        return value

    def binary(self, name: str, *lengths: int) -> bytes:
        """Read a byte string of one of these lengths; of any length when none is given."""
        value: Any = self.next()
        if type(value) is not bytes or (lengths and len(value) not in lengths):
            raise MalformedMessageError(
                f"{name}: not {' or '.join(map(str, lengths)) or 'any number of'} bytes"
            )
        return value

    def text(self, name: str) -> str:
        """Read a string of at most ``MAX_TEXT_BYTES`` of UTF-8."""
        value: Any = self.next()
        if type(value) is not str:
            raise MalformedMessageError(f"{name}: not a string")
        return value

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """Read an array of strings."""
        return tuple([self.text(name) for _ in range(self.array(name, most))])

    def item(self, name: str, count: int) -> tuple[Any, ...]:
        """Read one list item: a short array of scalars, whose types the caller checks."""
        value: Any = self.next()
        if type(value) is not tuple or len(value) != count:
            raise MalformedMessageError(f"{name}: not an array of {count} elements")
        return value

    def authored_item(self, name: str) -> tuple[Any, ...] | None:
        """Read one list item of three elements that begins with its author; None if that has a reserved length.

        Of such an item nothing else is looked at, so that later formats may put there what they need.
        """
        if self._frame.startswith(_USUAL_ITEMS, self._tell()):
            item: tuple[Any, ...] = self.next()
            return item
        size = self.array(name, MAX_ITEM_ELEMENTS, 1)
        author: Any = self.next()
        if is_reserved(author):
            self.skip(size - 1)
            return None
        if size != ITEM_ELEMENTS:
            raise MalformedMessageError(f"{name}: {size} elements instead of {ITEM_ELEMENTS}")
        return (author, self.next(), self.next())

    def authors(self, name: str, most: int) -> tuple[tuple[bytes, ...], int]:
        """Read an array of authors; returns those of 32 bytes, and how many have a reserved length."""
        authors, reserved = self._authors(name, most)
        return tuple([author for author in authors if author is not None]), reserved

    def authors_or_all(self, name: str, most: int) -> tuple[tuple[bytes | None, ...], int]:
        """Read an array of authors or nil (all others), as :meth:`authors`."""
        authors, reserved = self._authors(name, most, nil=True)
        return tuple(authors), reserved

    def _authors(self, name: str, most: int, nil: bool = False) -> tuple[list[bytes | None], int]:
        authors: list[bytes | None] = []
        count = self.array(name, most)
        reserved = 0
        for _ in range(count):
            author: Any = self.next()
            if author is None and nil:
                authors.append(None)
            elif type(author) is not bytes:
                raise MalformedMessageError(f"{name}: not an author")
            elif len(author) == AUTHOR_BYTES:
                authors.append(author)
            else:
                reserved += 1
        return authors, reserved


def is_reserved(author: Any) -> bool:
    """Tell whether this names an author of a later format."""
    return type(author) is bytes and len(author) != AUTHOR_BYTES

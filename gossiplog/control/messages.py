"""What is said over a control socket: one JSON object in a line (docs/control.rst).

Responsible for: lines of requests, answers and news, their limits; keys, segments and errors in JSON.
Must not know: sockets, reactors, stores; what a request does.
Invariant: whatever bytes come, the result is a message or :class:`ControlError`; a line that breaks a limit is refused
before it is parsed, and no error travels but those that the other side may raise.

>>> encode({"id": 1, "do": "clock"})
b'{"id":1,"do":"clock"}\\n'
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from gossiplog import errors, limits
from gossiplog.arguments import check_seconds
from gossiplog.errors import ControlError, GossiplogError, InvalidValueError
from gossiplog.log.segment import Segment

Message: TypeAlias = dict[str, Any]

_PLAIN: Final = (str, int, float, bool)
_PARSE_ERRORS: Final = (ValueError, RecursionError, MemoryError)


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as a line; :class:`ControlError` if it is too long for one."""
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > limits.MAX_CONTROL_LINE_BYTES:
        raise ControlError(
            f"a message of {len(line):,} bytes is too long for a control socket, which takes "
            f"{limits.MAX_CONTROL_LINE_BYTES:,}: ask for less at once"
        )
    return line


def cost(line: bytes) -> int:
    """Return how many values a line has at most; O(n), without parsing it."""
    return line.count(b",") + line.count(b"[") + line.count(b"{")


def decode(line: bytes) -> Message:
    """Return the message of a line."""
    if cost(line) > limits.MAX_CONTROL_ITEMS:
        raise ControlError(f"a message has more than {limits.MAX_CONTROL_ITEMS:,} values")
    try:
        message = json.loads(line)
    except _PARSE_ERRORS as error:
        raise ControlError(f"a message is one JSON object in a line: {error}") from None
    if type(message) is not dict:
        raise ControlError("a message is one JSON object in a line")
    return message


class Asked:
    """I am what a request says beside what is to be done; who asks for what it does not say gets a ControlError."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = said

    def __contains__(self, name: str) -> bool:
        return self._said.get(name) is not None

    def value(self, name: str, kind: type, otherwise: Any = ...) -> Any:
        """Return what is said of exactly this type."""
        found = self._said.get(name)
        if found is None and otherwise is not ...:
            return otherwise
        if type(found) is not kind:
            raise ControlError(f"{name!r} is missing in the request, or no {kind.__name__}")
        return found

    def text(self, name: str, otherwise: Any = ...) -> str:
        """Return a text."""
        found: str = self.value(name, str, otherwise)
        return found

    def number(self, name: str, otherwise: Any = ...) -> int:
        """Return a whole number, 0 or more."""
        found: int = self.value(name, int, otherwise)
        if found is not None and found < 0:
            raise ControlError(f"{name!r} is negative")
        return found

    def seconds(self, name: str, otherwise: float) -> float:
        """Return a time to wait."""
        found = self._said.get(name)
        if found is None:
            return otherwise
        check_seconds(name, found)
        return float(found)

    def flag(self, name: str) -> bool:
        """Return whether it is said."""
        return bool(self.value(name, bool, False))

    def key(self, name: str) -> bytes:
        """Return 32 bytes, said in hex."""
        return key_of(self.value(name, str))

    def keys(self, name: str) -> list[bytes]:
        """Return several."""
        return [key_of(each) for each in self.value(name, list)]

    def parts(self, name: str) -> list[Asked]:
        """Return several things that are asked for."""
        found = self.value(name, list)
        if not all(type(each) is dict for each in found):
            raise ControlError(f"{name!r} is a list of objects in a message")
        return [Asked(each) for each in found]

    def content(self, name: str) -> bytes:
        """Return bytes."""
        return content_of(self.value(name, str))

    def contents(self, name: str) -> list[bytes]:
        """Return several."""
        return [content_of(each) for each in self.value(name, list)]


# -- values --------------------------------------------------------------------------------------------------------


def content(value: bytes) -> str:
    """Return bytes of any length as they travel."""
    return b64encode(value).decode()


def content_of(text: Any) -> bytes:
    """Return what :func:`content` made a text of."""
    try:
        return b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise ControlError("bytes are Base64 in a message") from None


def key_of(text: Any) -> bytes:
    """Return an author, a node or an id, said in 64 hex digits."""
    if type(text) is str and len(text) == 64:
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    raise ControlError("a key is 64 hex digits in a message")


def row(segment: Segment) -> list[Any]:
    """Return a segment as it travels."""
    author, first, count, previous, signature, bodies = segment
    return [author.hex(), first, count, previous.hex(), signature.hex(), content(bodies)]


def segment_of(said: Any) -> Segment:
    """Return what :func:`row` made a list of; nothing is verified."""
    try:
        author, first, count, previous, signature, bodies = said
        whole = int(first), int(count)
        return Segment(key_of(author), *whole, key_of(previous), bytes.fromhex(signature), content_of(bodies))
    except (ValueError, TypeError):
        raise ControlError("a segment is a list of six in a message") from None


BUSY: Final = "busy"
"""What is said to who may come again in a moment."""


def busy() -> ControlError:
    """Return the error of a node that has no room for one more client now."""
    error = ControlError("the node is busy with others")
    error.reason = BUSY  # type: ignore[attr-defined]
    return error


# -- errors --------------------------------------------------------------------------------------------------------


def failure(error: BaseException) -> Message:
    """Return an error as it travels: by its name and its attributes if it is one of ours."""
    if not isinstance(error, GossiplogError):
        return {
            "error": "ControlError",
            "message": f"the node failed: {type(error).__name__}: {error}"[:2000],
        }
    about = {name: _told(value) for name, value in vars(error).items() if not name.startswith("_")}
    return {
        "error": _public(type(error)).__name__,
        "message": str(error),
        "about": {name: value for name, value in about.items() if value is not None},
    }


def error_of(said: Any) -> GossiplogError:
    """Return the error that was sent; one that is not known here is a :class:`ControlError`."""
    if not isinstance(said, dict) or type(said.get("message")) is not str:
        return ControlError("the node says that it failed, and not why")
    found = getattr(errors, str(said.get("error")), None)
    kind = found if isinstance(found, type) and issubclass(found, GossiplogError) else ControlError
    error = kind.__new__(kind)
    Exception.__init__(error, said["message"])
    about = said.get("about")
    for name, value in about.items() if isinstance(about, dict) else ():
        if type(name) is str and name.isidentifier() and not name.startswith("_"):
            setattr(error, name, content_of(value["base64"]) if isinstance(value, dict) else value)
    return error


def _public(kind: type[GossiplogError]) -> type[GossiplogError]:
    found: type[GossiplogError] = GossiplogError
    for each in reversed(kind.__mro__):
        if issubclass(each, GossiplogError) and getattr(errors, each.__name__, None) is each:
            found = each
    return found


def _told(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": content(value)}
    return value if isinstance(value, _PLAIN) else None


def pairs(values: Mapping[bytes, int]) -> list[list[Any]]:
    """Return numbers by key as they travel."""
    return [[key.hex(), number] for key, number in values.items()]


def pairs_of(said: Sequence[Any]) -> dict[bytes, int]:
    """Return what :func:`pairs` made a list of."""
    try:
        return {key_of(key): int(number) for key, number in said}
    except (ValueError, TypeError):
        raise InvalidValueError("numbers by key are pairs in a message") from None

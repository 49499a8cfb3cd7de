"""What of a store is to be printed: arguments of the verb log.

Responsible for: reading them: moments, conditions.
Must not know: how entries are found, or printed.
Invariant: what is not understood is refused before anything is read.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gossiplog.errors import InvalidValueError
from gossiplog.log.encodings import DECODE_ERRORS, encoding
from gossiplog.log.entry import Entry

_AGO: Final = re.compile(r"(\d{1,9})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Where = Callable[[Entry], bool]


@dataclass(frozen=True)
class Chosen:
    """Which entries, and in which order."""

    newest: int | None = None
    reverse: bool = False
    since: datetime | None = None
    until: datetime | None = None
    where: Where = lambda entry: True

    @classmethod
    def of(cls, arguments: Namespace) -> Chosen:
        """Return what the arguments say."""
        said = arguments.where

        def where(entry: Entry) -> bool:
            return all(each(entry) for each in said)

        return cls(arguments.newest, arguments.reverse, arguments.since, arguments.until, where)


def read_moment(text: str) -> datetime:
    """Return the moment that is meant: in ISO 8601, local if it names no zone, or so long ago; InvalidValueError."""
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidValueError(
        f"a moment is 2026-11-30, 2026-11-30T12:00, 2026-11-30T12:00Z, or 2h for so long ago, not {text}"
    )


def read_where(text: str) -> Where:
    """Return whether an entry's payload is a JSON object in which FIELD (``a.b``: that within ``a``) is VALUE: as JSON,
    or as text; InvalidValueError."""
    field, sign, value = text.partition("=")
    if not sign or not field:
        raise InvalidValueError(f"a condition is FIELD=VALUE, not {text}")
    decode = encoding("json").decode
    wanted = [value]
    try:
        wanted.append(decode(value.encode(errors="surrogateescape")))
    except DECODE_ERRORS:
        pass

    def where(entry: Entry) -> bool:
        if entry.dropped or entry.malformed:
            return False
        try:
            found = decode(entry.payload)
        except DECODE_ERRORS:
            return False
        for name in [field] if isinstance(found, dict) and field in found else field.split("."):
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        return any(type(found) is type(each) and found == each for each in wanted) or _are_equal(
            found, wanted[-1]
        )

    return where


def _are_equal(one: Any, another: Any) -> bool:
    """Whether two numbers are, of which True and False are none."""
    numbers = {type(one), type(another)} <= {int, float}
    return numbers and bool(one == another)

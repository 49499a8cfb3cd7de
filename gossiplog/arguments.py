"""What applications give as arguments, looked at where they give it.

Responsible for: refusing what is of another type, with the name of the argument and what would be right.
Must not know: what arguments are for.
Invariant: what is refused is refused at once, and changes nothing; what is not refused is of exactly that type, so that
``True`` is no number and NaN no time.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from inspect import isasyncgenfunction, iscoroutinefunction
from math import isfinite
from reprlib import repr as shortened
from typing import Any

from gossiplog.errors import InvalidValueError


def check_type(name: str, value: object, kind: type[Any] | tuple[type[Any], ...], words: str) -> None:
    """Raise :class:`InvalidValueError` unless ``value`` is of a ``kind``, which is called so in ``words``."""
    if not isinstance(value, kind):
        raise wrong(name, words, value)


def check_flags(**flags: object) -> None:
    """Raise :class:`InvalidValueError` for arguments, by their names, that are neither True nor False."""
    for name, value in flags.items():
        check_type(name, value, bool, "True or False")


def check_number(name: str, value: object, least: int) -> None:
    """Raise :class:`InvalidValueError` unless ``value`` is an integer from ``least`` on."""
    if type(value) is not int or value < least:
        raise wrong(name, f"an integer, at least {least}", value)


def check_seconds(name: str, value: object) -> None:
    """Raise :class:`InvalidValueError` unless ``value`` is a time to wait."""
    if type(value) not in (int, float) or not (value >= 0 and isfinite(value)):  # type: ignore[operator,arg-type]
        raise wrong(name, "a number of seconds, at least 0", value)


def check_plain(name: str, function: Any, of: str, instead: str) -> None:
    """Raise :class:`InvalidValueError` unless ``function`` can be called with one thing, and needs no awaiting.

    ``instead`` is what else can be done.
    """
    if not callable(function) or any(map(_is_async, (function, getattr(function, "__call__", None)))):  # noqa: B004
        raise InvalidValueError(f"{name} is a plain function of {of}, not {shortened(function)}; {instead}")


def refuse_awaitable(name: str, returned: object) -> object:
    """Return what a function gave, unless that is to be awaited, which nobody would do."""
    if hasattr(type(returned), "__await__"):
        if isinstance(returned, Coroutine):
            returned.close()
        raise InvalidValueError(f"{name} is a plain function, and this one returned what has to be awaited")
    return returned


def _is_async(function: Any) -> bool:
    return iscoroutinefunction(function) or isasyncgenfunction(function)


def as_dict(name: str, items: Any) -> dict[Any, Any]:
    """Return a mapping, or what pairs make, as a dict; :class:`InvalidValueError` for anything else."""
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise wrong(name, "a mapping, or pairs", items)
    try:
        return dict(items)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            f"{name} is a mapping with authors for keys, or such pairs: {error}"
        ) from error


def wrong(name: str, words: str, value: object) -> InvalidValueError:
    """Return the error that says what an argument is to be, and what came."""
    return InvalidValueError(f"{name} is {words}; not {type(value).__name__} {shortened(value)}")

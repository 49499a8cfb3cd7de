"""Methods that wait for what they ask in the reactor's thread.

Responsible for: making one of a method that returns a Result, or of one that has to be called in that thread.
Must not know: whose methods.
Invariant: whoever has one has ``_it``, for which it stands, and ``_wait``, which calls in the thread and waits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from gossiplog.live.results import Result

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741


def waits(method: Callable[Concatenate[I, P], Result[R]]) -> Callable[Concatenate[Any, P], R]:
    """The same method of what we stand for, waited for."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self._wait(lambda: method(self._it, *args, **kwargs))
        return result

    return call


def called(method: Callable[Concatenate[I, P], R]) -> Callable[Concatenate[Any, P], R]:
    """The same method of what we stand for, called in its thread."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self._wait(lambda: method(self._it, *args, **kwargs))
        return result

    return call

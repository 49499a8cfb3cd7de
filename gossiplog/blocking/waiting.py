"""Methods that wait for what they ask in the reactor's thread.

Responsible for: making one of a method that returns a Result, or of one that has to be called in that thread; and an
iterator of what an async one gives.
Must not know: whose methods.
Invariant: whoever has one has ``_it``, for which it stands, and ``_wait``, which calls in the thread and waits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from gossiplog.live.results import Result

if TYPE_CHECKING:
    from gossiplog.notices import Lagged

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


class Told(Generic[R]):
    """I am what an async iterator of what happens gives, for threads that wait."""

    def __init__(self, wait: Callable[..., Any], it: Any, timeout: float | None) -> None:
        self._wait = wait
        self._it = it
        self._timeout = timeout

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R | Lagged:
        """The next one, when there is one; TimeoutError if there is none for so long."""
        try:
            found: R | Lagged = self._wait(self._it.__anext__, self._timeout)
        except StopAsyncIteration:
            raise StopIteration from None
        return found

    def close(self) -> None:
        """End the iteration, what is unread with it."""
        self._wait(self._it.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

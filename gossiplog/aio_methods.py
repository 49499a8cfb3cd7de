"""Methods of what an object of :mod:`gossiplog.aio` stands for.

Responsible for: making them methods of that object too, as coroutines where there is something to wait for.
Must not know: which.
Invariant: each has the arguments, the types and the text of the one it stands for, on the object in ``_it``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from gossiplog.live.results import Result

P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741


def coroutine(
    method: Callable[Concatenate[I, P], Result[R]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """The same method of what we stand for, as a coroutine."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await method(self._it, *args, **kwargs)

    return call


def same(method: Callable[Concatenate[I, P], R]) -> Callable[Concatenate[Any, P], R]:
    """The same method of what we stand for."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._it, *args, **kwargs)

    return call

"""What an application says about its node, looked at before anything is done.

Responsible for: :func:`check_settings`; :class:`NodeOptions`; :class:`Settings`, those that its driver has to know.
Must not know: what comes of it.
Invariant: a node that cannot be made as it was asked for leaves its store as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

from gossiplog import limits
from gossiplog.arguments import check_flags, check_type
from gossiplog.errors import InvalidValueError
from gossiplog.gossip.budget import check_memory
from gossiplog.gossip.modes import Mode
from gossiplog.gossip.quotas import Quotas
from gossiplog.live.results import check_reactor
from gossiplog.live.store import Store


class NodeOptions(TypedDict, total=False):
    """What is said of a :class:`gossiplog.Node` beside its store and network; its other front doors pass it on."""

    agent: str
    random: Callable[[], float] | None
    only_followed: bool | None
    quotas: Quotas | None
    max_memory: int | None
    mode: str


class Settings(NamedTuple):
    """``instance``: 16 bytes of this process; ``agent`` is what peers are told, ``random`` the jitter of dialling,
    ``max_memory`` for what peers make us keep.
    """

    instance: bytes
    agent: str
    random: Callable[[], float]
    max_memory: int
    mode: Mode


def check_settings(
    reactor: Any,
    store: Store,
    agent: str,
    random: Any,
    only_followed: bool | None,
    quotas: Quotas | None,
    max_memory: int | None,
    mode: str,
) -> None:
    """Raise :class:`InvalidValueError` for the first argument of a node that is none."""
    check_reactor(reactor)
    check_type("store", store, Store, "a Store, as open_store returns it")
    if not isinstance(agent, str) or len(agent) > limits.MAX_AGENT_CHARS:
        raise InvalidValueError(f"agent is a text of at most {limits.MAX_AGENT_CHARS} characters")
    try:
        agent.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"agent is no valid text: {error}") from None
    if not callable(random):
        raise InvalidValueError(f"random is a function that gives numbers in [0, 1), not {random!r}")
    if only_followed is not None:
        check_flags(only_followed=only_followed)
    if quotas is not None:
        check_type("quotas", quotas, Quotas, "Quotas")
    if max_memory is not None:
        check_memory(max_memory)
    Mode.parse(mode)

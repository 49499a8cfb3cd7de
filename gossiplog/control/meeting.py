"""Requests to meet peers: to catch up with one, and to get back what a copied store lacks.

Responsible for: doing so with the node that runs, as long as who asks is there.
Must not know: sockets, lines; how two nodes catch up.
Invariant: one at a time for each endpoint, and who waits for another waits no longer than it said.  The node is
connected and dials afterwards as it was and did before.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError

from gossiplog.control.desk import Answer, Asker, Desk
from gossiplog.control.messages import Asked
from gossiplog.errors import ControlError, NodeError
from gossiplog.net.catching_up import CatchUp, bring_back, recovered
from gossiplog.net.endpoints import check_client

SECONDS: Final = 30.0
"""In which something has to move, where nothing else is said."""

_turns: WeakValueDictionary[tuple[int, str], DeferredLock] = WeakValueDictionary()

Show = Callable[[str], None]


async def _in_turn(
    desk: Desk, endpoint: str, patience: float, work: Callable[[], Coroutine[Any, Any, Any]]
) -> Any:
    turn = _turns.setdefault((id(desk), endpoint), DeferredLock())
    try:
        await turn.acquire().addTimeout(patience, desk.store.reactor)
    except TimeoutError:
        raise NodeError(f"{endpoint}: somebody else syncs with it, for longer than {patience:g} s") from None
    try:
        return await work()
    finally:
        turn.release()


def _begun(desk: Desk, asker: Asker, work: Callable[[Show], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
    """Begin ``work``; it ends when the node stops, and when who asked for it goes away."""

    def show(words: str) -> None:
        if asker.is_gone:
            begun.cancel()
        else:
            progress = desk.node.progress
            asker.progress(progress.held, progress.known)

    begun: Deferred[Any] = Deferred.fromCoroutine(work(show))
    return desk.begin(begun)


def _sync(desk: Desk, asked: Asked, asker: Asker) -> Any:
    endpoint, patience = check_client(asked.text("endpoint")), asked.seconds("timeout", SECONDS)

    async def once(show: Show) -> dict[str, Any]:
        catching_up = CatchUp(desk.node, endpoint, patience, show)
        try:
            moved = await catching_up.run()
        finally:
            catching_up.leave()
        return {
            "moved": [*moved],
            "mode": None if catching_up.peer is None else catching_up.peer.mode,
            "over_quota": [[author.hex(), quota.value] for author, quota in desk.node.over_quota.items()],
        }

    return _begun(desk, asker, lambda show: _in_turn(desk, endpoint, patience, partial(once, show)))


def _recover(desk: Desk, asked: Asked, asker: Asker) -> Any:
    """Get back from all of them what they have; nothing is allowed before that."""
    endpoints = [check_client(each) for each in asked.value("endpoints", list)]
    if not endpoints:
        raise ControlError("nobody is named who may have the newest entries")
    patience = asked.seconds("timeout", SECONDS)

    async def all_of_them(show: Show) -> None:
        for each in endpoints:
            await _in_turn(desk, each, patience, partial(bring_back, desk.node, each, patience, show))
        await recovered(desk.store)

    return _begun(desk, asker, all_of_them)


ANSWERS: Final[Mapping[str, Answer]] = {"recover": _recover, "sync": _sync}

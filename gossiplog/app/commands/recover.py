"""The verb recover: a store that was copied, moved or restored may append again.

Responsible for: getting the newest own entries from peers before that, or taking the user's word.
Must not know: how a copy is recognised; how arguments are parsed.
Invariant: nothing is allowed before every peer named was in sync with the store, and every own entry that is known to
have been signed here is back, unless the user says that it is lost.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack, closing
from typing import Any

from gossiplog.app.commands.local import opened
from gossiplog.app.commands.replicate import counted, open_existing, react
from gossiplog.app.printing import StatusLine, say
from gossiplog.control.logs import NodeLogs
from gossiplog.control.opening import shown
from gossiplog.log.clock_view import HeadView
from gossiplog.log.keys import format_author
from gossiplog.net.catching_up import bring_back, recovered
from gossiplog.node import Node
from gossiplog.ticket import Ticket


def recover(arguments: Namespace) -> int:
    """Let the writers of a store append again, with what peers have of them; print where each goes on."""
    if arguments.alone:
        return _alone(arguments)
    logs = shown(arguments.store, arguments.wait)
    if logs is None:
        return react(_recover, arguments)
    with closing(logs):
        return _recover_there(arguments, logs)


def _alone(arguments: Namespace) -> int:
    with closing(opened(arguments.store, arguments.wait)) as logs:
        if not logs.copied:
            say(_no_need(logs.path))
            return 0
        writers = logs.writers()
        before = _seqs(writers, logs.clock)
        logs.recovered()
        _report(writers, before, logs.clock, logs.forks)
    return 0


async def _recover(reactor: Any, arguments: Namespace) -> None:
    async with AsyncExitStack() as stack:
        store = await open_existing(arguments, reactor)
        stack.push_async_callback(store.close)
        if not store.copied:
            say(_no_need(store.path))
            return
        writers, clock = await store.writers(), store._core.clock
        before = _seqs(writers, clock)
        for peer in arguments.peer:
            async with AsyncExitStack() as one:
                node = Node(reactor, store, network=arguments.network)
                one.push_async_callback(node.stop)
                with StatusLine() as show:
                    await bring_back(node, peer, arguments.timeout, show)
        await recovered(store)
        _report(writers, before, clock, store.forks)


def _recover_there(arguments: Namespace, logs: NodeLogs) -> int:
    """Let the node that has the store do it."""
    logs.require_network(Ticket.of(arguments.network).network)
    if not logs.copied:
        say(_no_need(logs.path))
        return 0
    writers = logs.writers()
    before = _seqs(writers, logs.clock)
    with StatusLine() as show:
        shown_so_far = counted(", ".join(arguments.peer), show)
        logs.line.ask("recover", endpoints=arguments.peer, timeout=arguments.timeout, progress=shown_so_far)
    after = NodeLogs(logs.line)
    _report(writers, before, after.clock, after.forks)
    return 0


def _no_need(path: str) -> str:
    return f"store {path} was not copied; nothing is to be done"


def _seqs(writers: Mapping[str, bytes], clock: HeadView) -> dict[bytes, int]:
    return {author: clock.seq(author) for author in writers.values()}


def _report(
    writers: Mapping[str, bytes], before: Mapping[bytes, int], now: HeadView, forks: Collection[bytes]
) -> None:
    for name, author in sorted(writers.items()):
        back = now.seq(author) - before[author]
        further = "its log is forked" if author in forks else f"goes on with {now.seq(author) + 1}"
        say(f"{format_author(author)} {name}: {back} entries came back, {further}")

"""The verb find: who is in a network, as they come and go.

Responsible for: a node that holds nothing, for as long as it takes, and a line for whatever it notices of others.
Must not know: how peers are found.
Invariant: nothing is written, nothing listens unless it is told to, and no entry is taken or given.
"""

from __future__ import annotations

from argparse import Namespace
from contextlib import AsyncExitStack
from typing import Any, Final

from twisted.internet.defer import Deferred

from gossiplog import notices
from gossiplog.app.commands.replicate import react
from gossiplog.app.finding import Finding
from gossiplog.app.foreground import first_of
from gossiplog.app.printing import FAILURE, as_json
from gossiplog.app.terminal import Terminal
from gossiplog.live.opening import open_store
from gossiplog.log.keys import KeyKind, format_key
from gossiplog.node import Node
from gossiplog.notices import Notice

LOOK_SECONDS: Final = 60.0
"""For a first look, if a way of finding peers never says that it has looked."""


def find(arguments: Namespace) -> int:
    """Show who is there until interrupted, or once."""
    finding = arguments.finding
    if not finding.is_asked and not arguments.peer:
        finding = Finding.of({**vars(finding), "lan": ""})
    return react(_find, arguments, finding)


async def _find(reactor: Any, arguments: Namespace, finding: Finding) -> int:
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor, stdin=None))
        store = await stack.enter_async_context(open_store("memory:", reactor))
        node = Node(
            reactor, store, network=arguments.network, agent="gossiplog find", only_followed=True, mode="pull"
        )
        stack.push_async_callback(node.stop)
        there: set[bytes] = set()

        def show(about: dict[str, Any] | None) -> None:
            if about is not None:
                terminal.put(as_json(about) if arguments.json else _words(about))

        def tell(notice: Notice) -> None:
            if isinstance(notice, notices.PeerUp):
                there.add(notice.peer.id)
            show(_about(notice))

        async def look() -> None:
            for endpoint in arguments.listen:
                await node.listen(endpoint)
            joined = await finding.join(node, listens=False)
            for endpoint in arguments.peer:
                node.connect(endpoint)
            if joined is not None:
                found = await joined.flush(LOOK_SECONDS)
                show({"event": "looked", "found": found.found, "connected": found.connected})
            if not arguments.once:
                await Deferred[None]()

        stack.callback(node.subscribe(tell))
        await first_of(look(), terminal.broken())
        return 0 if there else FAILURE


def _about(notice: Notice) -> dict[str, Any] | None:
    match notice:
        case notices.PeerFound(way, endpoint, node):
            named = None if node is None else format_key(KeyKind.NODE, node)
            return {"event": "found", "endpoint": endpoint, "way": way, "node": named}
        case notices.PeerLost(way, endpoint):
            return {"event": "lost", "endpoint": endpoint, "way": way}
        case notices.WayFailed(way, reason):
            return {"event": "failed", "way": way, "reason": reason}
        case notices.PeerUp(peer):
            named = format_key(KeyKind.NODE, peer.id)
            return {"event": "up", "endpoint": peer.address, "node": named, "agent": peer.agent}
        case notices.PeerDown(peer, _, reason):
            return {"event": "down", "node": format_key(KeyKind.NODE, peer.id), "reason": reason}
        case _:
            return None


def _words(about: dict[str, Any]) -> str:
    match about["event"]:
        case "found":
            return f"+ {about['endpoint']} found by {about['way']}"
        case "lost":
            return f"- {about['endpoint']} not found by {about['way']} any more"
        case "failed":
            return f"! {about['way']} does not work: {about['reason']}"
        case "up":
            return f"+ {about['node']} answers at {about['endpoint']} ({about['agent']})"
        case "down":
            return f"- {about['node']} is down: {about['reason']}"
        case _:
            return f"= looked around: {about['found']} found, {about['connected']} connected"

"""The verb find: who is in a network, as they come and go.

Responsible for: a node that holds nothing, for as long as it takes, and a line for whatever it notices of others.
Must not know: how peers are found.
Invariant: nothing is written, nothing listens unless it is told to, and no entry is taken or given.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

from twisted.internet.task import deferLater

from gossiplog import notices
from gossiplog.app.commands.replicate import react
from gossiplog.app.finding import Finding
from gossiplog.app.foreground import first_of
from gossiplog.app.printing import FAILURE, as_json
from gossiplog.app.terminal import Terminal
from gossiplog.live.opening import open_store
from gossiplog.log.keys import KeyKind, format_key
from gossiplog.net.dialer import Dialer
from gossiplog.node import Node
from gossiplog.notices import Notice

LOOK_SECONDS: Final = 60.0
"""For a first look, if a way of finding peers never says that it has looked."""

NAMED_SECONDS: Final = 0.2
"""How often peers that were named are looked after: nothing is told of a dial that shows who is a peer already."""


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
        named = _Named(node)

        def show(about: dict[str, Any] | None) -> None:
            if about is not None:
                terminal.put(as_json(about) if arguments.json else _words(about))

        def tell(notice: Notice) -> None:
            if isinstance(notice, notices.PeerUp):
                there.add(notice.peer.id)
            if not named.is_known(notice):
                show(_about(notice))

        async def look() -> None:
            for endpoint in arguments.listen:
                await node.listen(endpoint)
            joined = await finding.join(node, listens=False)
            for endpoint in arguments.peer:
                named.dial(endpoint)
            if joined is not None:
                found = await joined.flush(LOOK_SECONDS)
                show({"event": "looked", "found": found.found, "connected": found.connected})
            while True:
                for about in named.news():
                    show(about)
                if arguments.once:
                    return
                await deferLater(reactor, NAMED_SECONDS)

        stack.callback(node.subscribe(tell))
        await first_of(look(), terminal.broken())
        return 0 if there else FAILURE


class _Named:
    """I know what is to be said of the peers that were named to ``node``.

    One that is connected at another address is there too; why one does not answer is said once, until that changes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._dialers: list[Dialer] = []
        self._said: dict[str, bytes | str] = {}

    def dial(self, endpoint: str) -> None:
        """This one is named."""
        self._dialers.append(self._node.connect(endpoint))

    def is_known(self, notice: Notice) -> bool:
        """Whether this was said before."""
        match notice:
            case notices.DialFailed(endpoint, reason):
                known = self._said.get(endpoint) == reason
                self._said[endpoint] = reason
                return known
            case notices.PeerUp(peer):
                self._said[peer.address] = peer.id
            case notices.PeerDown(peer):
                self._said = {at: said for at, said in self._said.items() if said != peer.id}
        return False

    def news(self) -> Iterator[dict[str, Any]]:
        """Who answers where it was named, and has a session elsewhere."""
        peers = {peer.id: peer for peer in self._node.peers}
        for dialer in self._dialers:
            peer = None if dialer.peer is None else peers.get(dialer.peer)
            if peer is not None and self._said.get(dialer.endpoint) != peer.id:
                self._said[dialer.endpoint] = peer.id
                named = format_key(KeyKind.NODE, peer.id)
                yield {"event": "also", "endpoint": dialer.endpoint, "node": named, "agent": peer.agent}


def _about(notice: Notice) -> dict[str, Any] | None:
    match notice:
        case notices.PeerFound(way, endpoint, node):
            named = None if node is None else format_key(KeyKind.NODE, node)
            return {"event": "found", "endpoint": endpoint, "way": way, "node": named}
        case notices.PeerLost(way, endpoint):
            return {"event": "lost", "endpoint": endpoint, "way": way}
        case notices.WayFailed(way, reason):
            return {"event": "failed", "way": way, "reason": reason}
        case notices.DialFailed(endpoint, reason):
            return {"event": "silent", "endpoint": endpoint, "reason": reason}
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
        case "silent":
            return f"! {about['endpoint']} does not answer: {about['reason']}"
        case "up" | "also":
            return f"+ {about['node']} answers at {about['endpoint']} ({about['agent']})"
        case "down":
            return f"- {about['node']} is down: {about['reason']}"
        case _:
            return f"= looked around: {about['found']} found, {about['connected']} connected"

"""The node of another process, for scripts and threads.

Responsible for: :class:`AttachedNode`, that waits.
Must not know: how anything is done; each call is the one of the same name in ``gossiplog.control.attached_node``.
Invariant: what is asked goes through the thread of the store one is attached to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gossiplog.blocking.waiting import waits
from gossiplog.control import attached_node
from gossiplog.control.attached import require_network
from gossiplog.net.bans import Ban
from gossiplog.net.catching_up import Moved
from gossiplog.notices import Peer
from gossiplog.ticket import Ticket


class AttachedNode:
    """I am the node that has the store one is attached to; ``id`` is its."""

    def __init__(self, node: attached_node.AttachedNode, wait: Callable[..., Any]) -> None:
        self._it = node
        self._wait = wait
        self.id = node.id

    @property
    def peers(self) -> list[Peer]:
        """The peers with an open session."""
        peers: list[Peer] = self._wait(self._it.peers)
        return peers

    @property
    def bans(self) -> list[Ban]:
        """Nodes that are kept out."""
        bans: list[Ban] = self._wait(self._it.bans)
        return bans

    status = waits(attached_node.AttachedNode.status)
    connect = waits(attached_node.AttachedNode.connect)
    sync = waits(attached_node.AttachedNode.sync)
    disconnect = waits(attached_node.AttachedNode.disconnect)
    ban = waits(attached_node.AttachedNode.ban)
    unban = waits(attached_node.AttachedNode.unban)
    follow = waits(attached_node.AttachedNode.follow)
    unfollow = waits(attached_node.AttachedNode.unfollow)
    block = waits(attached_node.AttachedNode.block)
    unblock = waits(attached_node.AttachedNode.unblock)


def catch_up(store: Any, endpoints: Iterable[str], timeout: float, network: Any) -> Moved:
    """Let the node catch up with one after the other; what moved in all."""
    about = Ticket.of(network).network
    store._wait(lambda: require_network(store._it, about))
    moved = [store.node.sync(endpoint, timeout=timeout) for endpoint in endpoints]
    return Moved(*[round(sum(each), 3) for each in zip(*moved, strict=True)] or [0, 0, 0.0])

"""The node of another process, for asyncio.

Responsible for: :class:`AttachedNode`, that awaits.
Must not know: how anything is done; each call is the one of the same name in ``gossiplog.control.attached_node``.
Invariant: nothing is kept of what the node said.
"""

from __future__ import annotations

from typing import Any

from gossiplog.aio_methods import coroutine
from gossiplog.control import attached_node


class AttachedNode:
    """I am the node that has the store one is attached to; ``id`` is its."""

    def __init__(self, store: Any) -> None:
        """``store`` is the one on the reactor."""
        self._it: attached_node.AttachedNode = store.node
        self.id = self._it.id

    status = coroutine(attached_node.AttachedNode.status)
    peers = coroutine(attached_node.AttachedNode.peers)
    bans = coroutine(attached_node.AttachedNode.bans)
    connect = coroutine(attached_node.AttachedNode.connect)
    sync = coroutine(attached_node.AttachedNode.sync)
    disconnect = coroutine(attached_node.AttachedNode.disconnect)
    ban = coroutine(attached_node.AttachedNode.ban)
    unban = coroutine(attached_node.AttachedNode.unban)
    follow = coroutine(attached_node.AttachedNode.follow)
    unfollow = coroutine(attached_node.AttachedNode.unfollow)
    block = coroutine(attached_node.AttachedNode.block)
    unblock = coroutine(attached_node.AttachedNode.unblock)

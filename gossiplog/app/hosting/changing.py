"""A node that takes other options while it runs.

Responsible for: where it listens, whom it dials, its quotas and its memory; what it does not take is for whoever begins
it anew.
Must not know: where the options come from.
Invariant: a session that has nothing to do with what is changed goes on.
"""

from __future__ import annotations

from gossiplog.app.run_options import RunOptions
from gossiplog.errors import ByeCode
from gossiplog.gossip.events import Closed
from gossiplog.live.memory_size import default_memory
from gossiplog.node import Node


async def let_go(node: Node, before: RunOptions, after: RunOptions) -> None:
    """Listen and dial no more where ``after`` does not; others may want that port."""
    for endpoint in before.listen:
        if endpoint not in after.listen:
            await node._listeners.drop(endpoint)
    for dialer in node._driver.dialers.active:
        if dialer.endpoint in before.peer and dialer.endpoint not in after.peer:
            dialer.stop()
            if dialer.link is not None and dialer.link.session is not None:
                gone = Closed(dialer.link.session, ByeCode.NORMAL, "no peer of this node any more")
                node._driver.loop.handle(gone)


async def take(node: Node, before: RunOptions, after: RunOptions, authors: int) -> None:
    """Do what else ``after`` says; raises EndpointError.  ``authors`` are taken where it says nothing of that."""
    if after.quotas != before.quotas:
        node._room.choose(after.quotas.or_else(authors))
    if after.max_memory != before.max_memory:
        node._driver.replica.core.budget.limit(after.max_memory or default_memory())
    for endpoint in after.listen:
        if endpoint not in before.listen:
            await node.listen(endpoint)
    for peer in after.peer:
        if peer not in before.peer:
            node.connect(peer)

"""The node of another process, as whoever attached to its store may use it.

Responsible for: :class:`AttachedNode`: looking at it, its peers, who is kept out, which authors are wanted.
Must not know: how the node does it.
Invariant: each method is the one of :class:`gossiplog.Node` of that name, with its errors; what is no argument is
refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from gossiplog.arguments import check_flags, check_seconds
from gossiplog.log.keys import check_authors, check_node_id
from gossiplog.net.bans import OPERATOR, Ban, check_ban
from gossiplog.net.catching_up import Moved
from gossiplog.net.endpoints import check_client
from gossiplog.notices import Peer
from gossiplog.status import Status

if TYPE_CHECKING:
    from gossiplog.control.logs import NodeLogs
    from gossiplog.live.core import StoreCore
    from gossiplog.live.results import Result


class AttachedNode:
    """I am the node that has a store, in another process; ``id`` is its.

    Whatever is asked of me waits behind what else is asked of the store, and raises :class:`NodeGoneError` when the
    node stops.
    """

    def __init__(self, core: StoreCore, node: bytes) -> None:
        self._core = core
        self.id = node

    def status(self, *, authors: bool = True) -> Result[Status]:
        """As :meth:`gossiplog.Node.status`."""
        check_flags(authors=authors)
        return self._ask(lambda logs: Status.of_json(logs.status(authors=authors)))

    def peers(self) -> Result[list[Peer]]:
        """The peers with an open session."""
        return self.status(authors=False).addCallback(  # type: ignore[return-value]
            lambda status: [
                Peer(each.id, each.address, each.agent, each.dialled, each.mode) for each in status.peers
            ]
        )

    def bans(self) -> Result[list[Ban]]:
        """Nodes that are kept out."""
        return self.status(authors=False).addCallback(lambda status: [*status.bans])  # type: ignore[return-value]

    def connect(self, endpoint: str) -> Result[None]:
        """Keep a connection to an endpoint, ``tcp:HOST:PORT``, as long as the node runs.

        Raises :class:`EndpointError` for a text that is none; :meth:`disconnect` ends it.
        """
        check_client(endpoint)
        return self._line("connect", endpoint=endpoint)

    def sync(self, endpoint: str, *, timeout: float = 20.0) -> Result[Moved]:
        """Catch up with who answers at an endpoint, in both directions; what moved.

        Raises NodeError when nobody answers, or nothing moves for ``timeout`` seconds.  Other questions wait meanwhile.
        """
        check_client(endpoint)
        check_seconds("timeout", timeout)
        moved = self._line("sync", endpoint=endpoint, timeout=timeout)
        return moved.addCallback(lambda said: Moved(*said["moved"]))  # type: ignore[return-value]

    def disconnect(self, peer: bytes) -> Result[bool]:
        """As :meth:`gossiplog.Node.disconnect`."""
        check_node_id("peer", peer)
        return self._line("disconnect", node=peer.hex())

    def ban(self, peer: bytes, *, seconds: float = inf, reason: str = OPERATOR) -> Result[None]:
        """As :meth:`gossiplog.Node.ban`."""
        check_ban(peer, seconds, reason)
        said = {} if seconds == inf else {"seconds": seconds}
        return self._line("ban", node=peer.hex(), reason=reason, **said)

    def unban(self, peer: bytes) -> Result[bool]:
        """As :meth:`gossiplog.Node.unban`."""
        check_node_id("peer", peer)
        return self._line("unban", node=peer.hex())

    def follow(self, *authors: bytes) -> Result[None]:
        """As :meth:`gossiplog.Node.follow`."""
        return self._choose("follow", authors)

    def unfollow(self, *authors: bytes) -> Result[None]:
        """As :meth:`gossiplog.Node.unfollow`."""
        return self._choose("unfollow", authors)

    def block(self, *authors: bytes, delete: bool = False) -> Result[None]:
        """As :meth:`gossiplog.Node.block`."""
        check_flags(delete=delete)
        return self._choose("block", authors, delete)

    def unblock(self, *authors: bytes) -> Result[None]:
        """As :meth:`gossiplog.Node.unblock`."""
        return self._choose("unblock", authors)

    def _choose(self, change: str, authors: tuple[bytes, ...], delete: bool = False) -> Result[None]:
        check_authors("authors", authors)
        return self._ask(lambda logs: logs.choose(change, authors, delete=delete))

    def _line(self, do: str, **said: Any) -> Result[Any]:
        return self._ask(lambda logs: logs.line.ask(do, **said))

    def _ask(self, work: Callable[[NodeLogs], Any]) -> Result[Any]:
        asked: Callable[[Any], Any] = work
        return self._core.run(asked)

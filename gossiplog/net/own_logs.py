"""Whether a peer can give back what we lost of our own logs.

Responsible for: telling a peer that shows all it has of them from one that does not take them, or not now, and so shows
nothing.
Must not know: what is lost; who asks.
Invariant: nothing changes by it.
"""

from __future__ import annotations

from gossiplog.arguments import check_type
from gossiplog.errors import StoreCopiedError
from gossiplog.gossip.replica import Replica
from gossiplog.log.keys import short_key
from gossiplog.notices import Peer


def require_shown(replica: Replica, peer: Peer, path: str) -> None:
    """Raise :class:`StoreCopiedError` if ``peer`` does not want a log that is written in the store at ``path``."""
    check_type("peer", peer, Peer, "a Peer, such as PeerUp has")
    core = replica.core
    for session in core.sessions.values():
        for author in core.heads.local if session.peer == peer.id else ():
            if not session.wanted.wants(author):
                reason = (
                    f"{peer.address} does not take the log of {short_key(author)}, and shows nothing of it"
                )
                raise StoreCopiedError(path, reason)

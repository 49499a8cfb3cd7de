"""Whether a peer can give back what we lost of our own logs.

Responsible for: telling a peer that shows all it has of them from one that does not take them, or not now, and so shows
nothing; and from one of which nothing may come.
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


def require_gives(replica: Replica, peer: Peer, path: str) -> None:
    """Raise :class:`StoreCopiedError` if no entry may come from ``peer``."""
    check_type("peer", peer, Peer, "a Peer, such as PeerUp has")
    for session in replica.core.sessions.values():
        if session.peer == peer.id and not session.takes:
            raise StoreCopiedError(
                path, f"{peer.address} may send no entries here: one side only pulls, or pushes"
            )


def check_nothing_lost(replica: Replica, peer: Peer, path: str) -> None:
    """Raise :class:`StoreCopiedError` if ``peer`` has entries of a log that is written here, in the store at ``path``,
    which are not here and may not come: what is appended next forks that log.
    """
    for session in replica.core.sessions.values():
        lost = replica.catch_up.lost_of(session) if session.peer == peer.id else ()
        for author in lost:
            reason = f"{peer.address} has more entries of {short_key(author)}, and they may not come: sync both ways"
            raise StoreCopiedError(path, reason)

"""What a replica found out, in the words of applications.

Responsible for: the notices that come of effects about peers by their session, authors and quotas.
Must not know: when they are told, and to whom.
Invariant: a peer is told of by its address and id, never by the number of its session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gossiplog import notices
from gossiplog.gossip import events
from gossiplog.notices import Notice, Peer


def tell_failed(tell: Callable[[Notice], None], address: str, reason: str) -> None:
    """Tell that a dial was in vain."""
    tell(notices.DialFailed(address, reason))


def told(peers: Mapping[int, Peer], tell: Callable[[Notice], None]) -> dict[type[Any], Callable[[Any], None]]:
    """Return what to do with each of those effects: ``tell`` the notice; ``peers`` are the open sessions."""
    return {
        events.CaughtUp: lambda e: tell(notices.CaughtUp(peers[e.session])),
        events.InSync: lambda e: tell(notices.InSync(peers[e.session])),
        events.Forked: lambda e: tell(notices.AuthorForked(e.proof)),
        events.PayloadsFilled: lambda e: tell(notices.PayloadsFilled(*e)),
        events.QuotaExceeded: lambda e: tell(notices.QuotaExceeded(*e)),
        events.QuotaLifted: lambda e: tell(notices.QuotaLifted(*e)),
    }

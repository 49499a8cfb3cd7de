"""PEERS, between the replica and whoever keeps the address book.

Responsible for: the feature in HELLO, who may be told of other nodes, and passing on what is heard.
Must not know: addresses.
Invariant: a node that did not name the feature is told of nobody, and what it says in PEERS is passed over; so is what
comes while we have not joined.
"""

from __future__ import annotations

from gossiplog.gossip import events
from gossiplog.gossip.core import Core
from gossiplog.gossip.greeting import Greeting
from gossiplog.gossip.messages import Peers
from gossiplog.gossip.session import Session

FEATURE = "peers"
"""In HELLO: I take PEERS, and others may be told of me."""


class PeersExchange:
    """I carry PEERS."""

    def __init__(self, core: Core, greeting: Greeting) -> None:
        self._core = core
        self._greeting = greeting

    def name_feature(self, is_named: bool) -> None:
        """Whether the HELLO of the next sessions names the feature."""
        others = [each for each in self._greeting.ours.features if each != FEATURE]
        features = (*others, FEATURE) if is_named else tuple(others)
        self._greeting.ours = self._greeting.ours._replace(features=features)

    def peers(self, session: Session, message: Peers) -> None:
        """A peer tells of others."""
        if FEATURE in self._greeting.ours.features and FEATURE in session.features:
            self._core.emit(events.PeersHeard(session.number, message))

    def tell(self, event: events.TellPeers) -> None:
        """Tell a peer of others."""
        session = self._core.open_session(event.session)
        if session is not None and FEATURE in session.features:
            self._core.send(session, event.message)

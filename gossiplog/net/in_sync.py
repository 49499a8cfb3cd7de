"""Waiting until a peer and we hold the same.

Responsible for: :func:`in_sync`.
Must not know: how that is found out.
Invariant: it always fires: at the latest when the session ends, or the node stops.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gossiplog.arguments import check_type
from gossiplog.errors import GossiplogError, NodeStoppedError, OneWayError
from gossiplog.gossip.modes import Mode, anything_goes
from gossiplog.live.results import Result, deliver, fail_quietly
from gossiplog.live.subscriptions import Subscribers
from gossiplog.net.driver import Driver
from gossiplog.notices import InSync, Peer, PeerDown


def in_sync(driver: Driver, subscribers: Subscribers, peer: Peer, mode: str) -> Result[InSync]:
    """Fire once ``peer`` and the node of ``driver``, whose entries go in this ``mode``, hold the same."""
    check_type("peer", peer, Peer, "a Peer, such as PeerUp has")
    if peer not in driver.peers.values():
        return failed(driver, NodeStoppedError(f"there is no session with {peer.address}"))
    if not anything_goes(Mode(mode), Mode(peer.mode)):
        return failed(
            driver, OneWayError(f"{peer.address} and this node only {mode}: no entry may go either way")
        )
    notice: Deferred[InSync | PeerDown] = subscribers.next_of(
        (InSync, PeerDown), lambda notice: notice.peer == peer
    )
    result: Result[InSync] = Result(lambda _: notice.cancel(), driver.reactor)

    def found(value: InSync | PeerDown | Failure) -> None:
        if isinstance(value, PeerDown):
            gone = f"{peer.address} went away before both sides were in sync: {value.reason}"
            fail_quietly(result, NodeStoppedError(gone))
        elif isinstance(value, Failure):
            fail_quietly(result, value)
        else:
            deliver(result, value)

    notice.addBoth(found)
    driver.probe(peer)
    return result


def failed(driver: Driver, error: GossiplogError) -> Result[InSync]:
    """A result that failed, and that nobody has to look at."""
    result: Result[InSync] = Result(reactor=driver.reactor)
    fail_quietly(result, error)
    return result

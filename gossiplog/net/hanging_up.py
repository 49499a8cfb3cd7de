"""Ending the sessions with a node because somebody says so, or one that was begun for a while.

Responsible for: finding them, and who dials that node.
Must not know: why.
Invariant: sessions with others, and who dials them, are as they were.
"""

from __future__ import annotations

from gossiplog.errors import ByeCode
from gossiplog.gossip import events
from gossiplog.net.dialer import Dialer
from gossiplog.net.driver import Driver


def hang_up(driver: Driver, peer: bytes, code: int, reason: str) -> bool:
    """End all sessions with ``peer``, and dial what led to it no more; False if there was neither."""
    dialers = [dialer for dialer in driver.dialers.active if dialer.peer == peer]
    for dialer in dialers:
        dialer.stop()
    sessions = [number for number, known in driver.peers.items() if known.id == peer]
    for number in sessions:
        driver.loop.handle(events.Closed(number, code, reason))
    return bool(dialers or sessions)


def let_go(driver: Driver, dialer: Dialer) -> None:
    """Dial what ``dialer`` dials no more, and end the session on its link."""
    dialer.stop()
    for number in [number for number, link in driver.links.items() if link is dialer.link]:
        driver.loop.handle(events.Closed(number, ByeCode.NORMAL, "that was all"))

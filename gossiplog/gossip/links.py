"""What a topology has done about its links.

Responsible for: :class:`Dial`, :class:`Tell`, :class:`Drop`.
Must not know: who decides it, who does it.
Invariant: these are values.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from gossiplog.addresses import Address
from gossiplog.gossip.messages import Peers


class Dial(NamedTuple):
    """Dial ``address``; ``is_check``: only to see who is there, then hang up."""

    address: Address
    is_check: bool = False


class Tell(NamedTuple):
    """Send this to a peer."""

    session: int
    message: Peers


class Drop(NamedTuple):
    """End a session; ``is_full``: for want of room."""

    session: int
    is_full: bool


Action: TypeAlias = Dial | Tell | Drop

"""A peer, as far as it matters whether to keep the link.

Responsible for: who it is, where, and since when; when it brought news, and was told of others.
Must not know: which links are wanted.
Invariant: it is gone with its session.
"""

from __future__ import annotations

from gossiplog.addresses import Address, is_private


class Neighbour:
    """An open session: ``at`` is where the peer is, ``address`` where we dialled it, None if it dialled us.

    ``is_chosen``: by the owner, who connected it.  ``takes_peers``: it named the feature.
    """

    __slots__ = ("address", "at", "drop_at", "heard_at", "is_chosen", "news_at", "node", "session", "since",
                 "takes_peers", "told_at")  # fmt: skip

    def __init__(
        self,
        session: int,
        node: bytes,
        at: Address | None,
        address: Address | None,
        *,
        is_chosen: bool,
        takes_peers: bool,
        now: float,
    ) -> None:
        self.session = session
        self.node = node
        self.at = at
        self.address = address
        self.is_chosen = is_chosen
        self.takes_peers = takes_peers
        self.since = now
        self.news_at = float("-inf")
        self.told_at: float | None = None
        self.heard_at: float | None = None
        self.drop_at: float | None = None

    @property
    def is_near(self) -> bool:
        """Whether it is on a local network."""
        return self.at is not None and is_private(self.at.ip)

    @property
    def group(self) -> bytes:
        """The address group it is of, for the choice of who has to go."""
        return b"" if self.at is None else self.at.group

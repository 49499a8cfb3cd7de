"""A peer, as far as it matters whether to keep the link.

Responsible for: who it is, where, and since when; when it brought news, and is told of others; who of many goes first.
Must not know: which links are wanted.
Invariant: it is gone with its session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from gossiplog import limits
from gossiplog.addresses import Address, is_private
from gossiplog.back_off import doubled


class Neighbour:
    """An open session: ``at`` is where the peer is, ``address`` where we dialled it, None if it dialled us.

    ``is_chosen``: by the owner, who connected it.  ``takes_peers``: it named the feature.  ``group`` is the address
    group it is of, ``is_near`` whether it is on a local network.
    """

    __slots__ = ("_heard", "_told", "address", "at", "drop_at", "group", "heard_next", "is_chosen", "is_near",
                 "news_at", "node", "session", "since", "takes_peers", "tell_next")  # fmt: skip

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
        self.group = b"" if at is None else at.group
        self.is_near = at is not None and is_private(at.ip)
        self.since = now
        self.news_at = float("-inf")
        self.tell_next = self.heard_next = now
        self._told = self._heard = 0
        self.drop_at: float | None = None

    def tell(self, now: float) -> None:
        """It is told of others."""
        self._told += 1
        self.tell_next = now + _interval(self._told)

    def hear(self, now: float) -> None:
        """It told of others; a clock that goes a little faster than ours is no offence."""
        self._heard += 1
        self.heard_next = now + 0.9 * _interval(self._heard)


def _interval(count: int) -> float:
    """Between one PEERS to a peer, of so many, and the next: at first a node learns a lot."""
    return doubled(count - 1, limits.PEERS_FIRST_SECONDS, limits.PEERS_SECONDS)


def links_with(node: bytes, links: Iterable[Neighbour]) -> list[Neighbour]:
    """Those of ``links`` that lead to ``node``."""
    return [n for n in links if n.node == node]


def of_fullest(may_go: Iterable[Neighbour], links: Iterable[Neighbour], random: Random) -> Neighbour:
    """One of ``may_go``, of the address group that most of all ``links`` are in."""
    return random.choice(_of_fullest(may_go, links))


def _of_fullest(may_go: Iterable[Neighbour], links: Iterable[Neighbour]) -> list[Neighbour]:
    sizes = Counter(n.group for n in links)
    most = max(sizes[n.group] for n in may_go)
    return [n for n in may_go if sizes[n.group] == most]


def turned_out(neighbours: Iterable[Neighbour], most: int, now: float, random: Random) -> list[Neighbour]:
    """Those who have to go where ``most`` may stay: who dialled us, of the fullest address group; there one of the
    younger half of those who brought no news, or the youngest.

    The group comes first: whoever brings news from a few groups cannot keep out who is of another.  The older half
    stays: many that come at once take the places of each other, and not of who has been there.
    """
    found = [n for n in neighbours if not n.is_chosen]
    excess = len(found) - most
    going: list[Neighbour] = []
    while len(going) < excess:
        rest = [n for n in found if n not in going]
        fullest = _of_fullest([n for n in rest if n.address is None] or rest, rest)
        useless = sorted((n for n in fullest if now - n.news_at > limits.NEWS_SECONDS), key=lambda n: n.since)
        younger = useless[len(useless) // 2 :]
        going.append(random.choice(younger) if younger else max(fullest, key=lambda n: n.since))
    return going

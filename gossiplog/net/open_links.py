"""The connections of a node that are open, and how much went over all that there were.

Responsible for: adding up what connections count.
Must not know: what it was.
Invariant: in the order in which they came, as a set would not be; a sum never goes back, and costs a connection one
step, when it is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gossiplog.net.link import Link


class Traffic(NamedTuple):
    """Bytes in both directions, as they were on the wire, handshakes too, and entries that went out."""

    bytes_in: int = 0
    bytes_out: int = 0
    entries_out: int = 0


class OpenLinks(dict["Link", None]):
    """I have those that are open."""

    _over = Traffic()

    def over(self, link: Link) -> None:
        """One is over."""
        if link in self:
            del self[link]
            self._over = self._with([link])

    @property
    def traffic(self) -> Traffic:
        """What went over all.  O(connections that are open)."""
        return self._with(self)

    def _with(self, links: Iterable[Link]) -> Traffic:
        counts = [(link.channel.bytes_in, link.channel.bytes_out, link.entries_out) for link in links]
        return Traffic(*[sum(each) for each in zip(self._over, *counts, strict=True)])

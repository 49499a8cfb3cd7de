"""What went wrong in a node lately.

Responsible for: keeping the last few troubles, each once however often it happens again.
Must not know: who looks at them.
Invariant: at most ``MAX_TROUBLES`` are kept, each in at most ``MAX_PRINTED_CHARS`` that steer no terminal.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gossiplog import limits, notices
from gossiplog.log.keys import short_key
from gossiplog.notices import Notice
from gossiplog.printable import brief


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong, in words; ``event`` is the name of the notice, ``time_ms`` when it was last, of ``count``
    times."""

    event: str
    words: str
    time_ms: int
    count: int


class Troubles:
    """I am the memory of one node for what went wrong."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Trouble] = OrderedDict()

    def note(self, notice: Notice, time_ms: int) -> None:
        """Something happened; kept if it is a trouble.  O(1)."""
        words = _words(notice)
        if words is not None:
            key = type(notice).__name__, brief(words)
            before = self._known.pop(key, None)
            self._known[key] = Trouble(*key, time_ms, 1 if before is None else before.count + 1)
            if len(self._known) > limits.MAX_TROUBLES:
                self._known.popitem(last=False)

    def all(self) -> tuple[Trouble, ...]:
        """Return them, the last one last."""
        return (*self._known.values(),)


def _words(notice: Notice) -> str | None:
    match notice:
        case notices.PeerRejected(address, error):
            return f"{address}: {error}"
        case notices.DialFailed(address, reason):
            return f"{address}: {reason}"
        case notices.Banned(peer, reason, _):
            return f"{short_key(peer)}: {reason}"
        case notices.WayFailed(way, reason):
            return f"{way}: {reason}"
        case notices.ViewFailed(view, error):
            return f"{view}: {error}"
        case notices.AuthorForked(proof):
            return short_key(proof.author)
        case notices.QuotaExceeded(author, quota):
            return f"{short_key(author)}: {quota.value}"
        case notices.StoreFailing(error, _) | notices.StoreDamaged(_, error, _, _):
            return str(error)
        case _:
            return None

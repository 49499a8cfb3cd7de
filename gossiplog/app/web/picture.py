"""What the page shows of a node.

Responsible for: the status, without what would make it long; a page of logs; an entry as text.
Must not know: who looks.
Invariant: what comes out is bounded, whatever a node holds and others wrote, and every text of others is printable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gossiplog import limits
from gossiplog.errors import InvalidValueError
from gossiplog.log.entry import Entry
from gossiplog.log.keys import author_span, format_author
from gossiplog.node import Node
from gossiplog.printable import brief, printable
from gossiplog.status import AuthorStatus, Status

_KEPT: Final = frozenset(("peers", "bans", "dialled", "authors"))
"""Lists that are cut, or not shown."""


def overview(node: Node, status: Status) -> dict[str, Any]:
    """Return a status with at most ``WEB_ROWS`` of each list, and how many there are."""
    said = status.as_json()
    shown = {name: _fit(value) for name, value in said.items() if name not in _KEPT}
    forks = sorted(node.store.forks)
    usage, quotas = node.usage, node.quotas
    return shown | {
        "peers": [_fit(peer) for peer in said["peers"][: limits.WEB_ROWS]],
        "peer_count": len(said["peers"]),
        "bans": [_fit(ban) for ban in said["bans"][: limits.WEB_ROWS]],
        "ban_count": len(said["bans"]),
        "dial_count": len(said["dialled"]),
        "connected_count": sum(each["connected"] for each in said["dialled"]),
        "forks": [format_author(author) for author in forks[: limits.WEB_ROWS]],
        "over_quota_count": len(node.over_quota),
        "quotas": {
            "authors": [usage.authors, quotas.authors],
            "bytes": [usage.disk_bytes, quotas.bytes],
            "bytes_per_author": [None, quotas.bytes_per_author],
            "entries_per_second": [None, quotas.entries_per_second],
        },
    }


def _fit(value: Any) -> Any:
    """Make every text in a value printable."""
    match value:
        case str():
            return brief(value)
        case dict():
            return {name: _fit(each) for name, each in value.items()}
        case list():
            return [_fit(each) for each in value[: limits.WEB_ROWS]]
        case _:
            return value


SORTS: Final[dict[str, Callable[[AuthorStatus, int], Any]]] = {
    "entries": lambda log, growth: (-log.entries, log.author),
    "bytes": lambda log, growth: (-log.bytes, log.author),
    "growth": lambda log, growth: (-growth, log.author),
    "author": lambda log, growth: log.author,
}


def logs_page(
    logs: Sequence[AuthorStatus], before: Mapping[bytes, int], asked: Mapping[str, str]
) -> dict[str, Any]:
    """Return some ``logs`` as ``asked`` (``begins``, ``sort``, ``from``, ``limit``); ``before`` is what they had.

    O(n log n).
    """
    begins, sort = asked.get("begins", "").removeprefix("author_").lower(), asked.get("sort", "entries")
    first, limit = _number(asked, "from", 0, 10**9), _number(asked, "limit", limits.WEB_ROWS, limits.WEB_ROWS)
    if sort not in SORTS:
        raise InvalidValueError(f"sort is one of {', '.join(SORTS)}")
    found = _beginning(logs, begins)

    def growth(log: AuthorStatus) -> int:
        return log.entries - before.get(log.author, 0)

    order = SORTS[sort]
    found.sort(key=lambda log: order(log, growth(log) if sort == "growth" else 0))
    shown = [
        {
            "author": format_author(log.author),
            "entries": log.entries,
            "growth": growth(log),
            "bytes": log.bytes,
            "local": log.local,
            "forked": log.forked,
            "blocked": log.blocked,
            "over_quota": log.over_quota,
        }
        for log in found[first : first + limit]
    ]
    return {"logs": shown, "total": len(found)}


def _beginning(authors: Sequence[AuthorStatus], begins: str) -> list[AuthorStatus]:
    """Return those whose text begins so; by bounds, since to make the text of a key takes ten times as long."""
    span = author_span(begins)
    if span is None:
        return []
    lower, upper = span
    return [log for log in authors if lower <= log.author and (not upper or log.author < upper)]


def _number(asked: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise InvalidValueError(f"{name} is a number")
    return min(int(text or default), most)


def shown_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry of bytes as text: lines as they are, all else printable, a part of what is long."""
    kind, text = _shown(entry)
    return {
        "author": format_author(entry.author),
        "seq": entry.seq,
        "time": f"{entry.time:%Y-%m-%d %H:%M:%S} UTC",
        "kind": kind,
        "text": text,
    }


def _shown(entry: Entry) -> tuple[str, str]:
    if entry.dropped:
        return "none", "the payload was dropped"
    raw = bytes(entry.payload)
    part = raw[: limits.WEB_ENTRY_BYTES]
    try:
        whole = part.decode() if len(part) == len(raw) else part.decode(errors="ignore")
    except UnicodeDecodeError:
        return "binary", f"{len(raw):,} bytes: {part[:32].hex()}"
    lines = "\n".join(printable(line) for line in whole.split("\n"))
    return "text", lines if len(part) == len(raw) else f"{lines} ... ({len(raw):,} bytes)"

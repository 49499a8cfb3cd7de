"""What long work came to, as it travels over a control socket.

Responsible for: reports of verifying, backing up, compacting and importing, in both directions.
Must not know: sockets; who does the work.
Invariant: what is decoded is what was encoded, but for lists that are too long for a line, which are cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gossiplog.control.messages import error_of, failure, key_of, pairs, pairs_of
from gossiplog.errors import GossiplogError
from gossiplog.gossip.quotas import Quota, Quotas
from gossiplog.store.repair.verify import Damage, VerifyReport

if TYPE_CHECKING:  # most verbs need none of them
    from gossiplog.live.backing_up import BackedUp
    from gossiplog.live.compacting import Compacted
    from gossiplog.live.importing import Imported

_MOST: Final = 16_384
"""Authors or reasons in one answer, some megabytes."""

_QUOTAS: Final = tuple(quota.value for quota in Quota)


def damage(found: Damage) -> list[Any]:
    """Return damage as it travels."""
    author, first, last, reason = found
    return [None if author is None else author.hex(), first, last, reason]


def damage_of(said: Any) -> Damage:
    """Return what :func:`damage` made."""
    author, first, last, reason = said
    return Damage(None if author is None else key_of(author), first, last, reason)


def report(found: VerifyReport) -> dict[str, Any]:
    """Return a report as it travels."""
    return {
        "authors": found.authors,
        "segments": found.segments,
        "entries": found.entries,
        "item_bytes": found.item_bytes,
        "holes": pairs(found.holes),
        "forks": [author.hex() for author in found.forks],
        "cursors": found.cursors,
        "damages": [damage(each) for each in found.damages],
        "sound": found.sound,
    }


def report_of(said: Any) -> VerifyReport:
    """Return what :func:`report` made."""
    return VerifyReport(
        authors=said["authors"],
        segments=said["segments"],
        entries=said["entries"],
        item_bytes=said["item_bytes"],
        holes=pairs_of(said["holes"]),
        forks=[key_of(each) for each in said["forks"]],
        cursors=said["cursors"],
        damages=[damage_of(each) for each in said["damages"]],
        whole={},
        sound=said["sound"],
    )


def backed_up(done: BackedUp) -> dict[str, Any]:
    """Return what a backup came to as it travels."""
    return {
        "entries": done.entries,
        "authors": done.authors,
        "left_out": _reasons(done.left_out),
        "report": None if done.report is None else report(done.report),
    }


def backed_up_of(said: Any) -> BackedUp:
    """Return what :func:`backed_up` made."""
    from gossiplog.live.backing_up import BackedUp

    checked = None if said["report"] is None else report_of(said["report"])
    return BackedUp(said["entries"], said["authors"], _reasons_of(said["left_out"]), checked)


def compacted_of(said: Any) -> Compacted:
    """Return what a :class:`Compacted` became on the way."""
    from gossiplog.live.compacting import Compacted

    return Compacted(*said)


def imported(done: Imported, wrong: GossiplogError | None = None) -> dict[str, Any]:
    """Return what an import came to as it travels, and what ended it."""
    return {
        "entries": done.entries,
        "authors": [author.hex() for author in sorted(done.authors)[:_MOST]],
        "forks": done.forks,
        "refused": _reasons(done.refused),
        "filled": done.filled,
        "wrong": None if wrong is None else failure(wrong),
    }


def imported_of(said: Any) -> tuple[Imported, GossiplogError | None]:
    """Return what :func:`imported` made."""
    from gossiplog.live.importing import Imported

    authors = frozenset(key_of(each) for each in said["authors"])
    done = Imported(said["entries"], authors, said["forks"], _reasons_of(said["refused"]), said["filled"])
    return done, None if said["wrong"] is None else error_of(said["wrong"])


def quotas(bounds: Quotas) -> dict[str, Any]:
    """Return quotas as they travel."""
    return {name: getattr(bounds, name) for name in _QUOTAS if getattr(bounds, name) is not None}


def quotas_of(said: Any) -> Quotas:
    """Return what :func:`quotas` made; InvalidValueError for what is none."""
    return Quotas(**{name: said[name] for name in _QUOTAS if name in said})


def _reasons(reasons: dict[bytes | None, str]) -> list[list[Any]]:
    return [[None if author is None else author.hex(), why] for author, why in [*reasons.items()][:_MOST]]


def _reasons_of(said: Any) -> dict[bytes | None, str]:
    return {None if author is None else key_of(author): str(why) for author, why in said}

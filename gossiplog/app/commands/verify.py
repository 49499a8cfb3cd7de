"""The verb verify: is on disk what the authors signed?  And bringing a damaged store in order.

Responsible for: checking, repairing in the order that loses least, and saying what was found, done and left.
Must not know: how either is done.
Invariant: without ``--repair`` nothing is changed.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterable
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final

from gossiplog.app.commands.arguments import only_with, path
from gossiplog.app.commands.damage import DAMAGED
from gossiplog.app.commands.forks import fork_line
from gossiplog.app.commands.local import Opened, opened, opened_to_read
from gossiplog.app.printing import StatusLine, complain, say
from gossiplog.errors import StoreDamagedError
from gossiplog.log.keys import format_author
from gossiplog.store.door import directory_of, require_another
from gossiplog.store.repair.verify import Damage, OnProgress

if TYPE_CHECKING:
    from gossiplog.store.repair.repair import RepairReport

PROGRESS_SECONDS: Final = 0.2


def add_arguments(parser: ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument(
        "--repair",
        action="store_true",
        help="cut damaged logs of others, to be fetched again by sync; own logs are mended, never cut",
    )
    parser.add_argument(
        "--from",
        dest="donor",
        type=path,
        metavar="DIR",
        help="with --repair: another store that may have the own entries that are damaged here",
    )
    only_with(parser, "--repair", lambda said: bool(said.repair), "--from")


def verify(arguments: Namespace) -> int:
    """Check every chain, signature and head against the disk; exit status 3 when something is (still) wrong."""
    if arguments.repair:
        return _repair(arguments)
    try:
        logs = opened_to_read(arguments.store, arguments.wait)
    except StoreDamagedError as error:
        return _complain(f"{error}; --repair brings it in order")
    with closing(logs):
        report = logs.verify(_progress())
        place = logs.path
        for author, holes in sorted(report.holes.items()):
            say(f"without payload: {holes} entries of {format_author(author)}; sync asks peers for them")
        for author in report.forks:
            say(f"forked: {fork_line(logs, logs.fork_proof(author))}")
        if logs.copied:
            say(f"copied: {logs.copied}; writers may append again after gossiplog recover")
    if not report.ok:
        _say_damages(report.damages)
        return _complain(f"{place} is damaged in {len(report.damages)} places; --repair brings it in order")
    lacking = sum(report.holes.values())
    say(
        f"{report.entries} entries of {report.authors} authors in {report.segments} segments: "
        + (f"all is well but {lacking} payloads are missing" if lacking else "all is well")
    )
    return 0


def _repair(arguments: Namespace) -> int:
    with ExitStack() as stack:
        donor = None
        if arguments.donor is not None:
            require_another(arguments.store, arguments.donor, "--from takes entries of another one")
            donor = stack.enter_context(closing(opened_to_read(arguments.donor, arguments.wait))).segments
        try:
            logs = _sound(arguments.store, arguments.wait)
        except StoreDamagedError as error:
            return _complain(str(error))
        report = stack.enter_context(closing(logs)).repair(donor, _progress())
        _say_repair(report)
        if report.left:
            _say_damages(report.left)
            return _complain(
                _advice(logs.path, len(report.left), {damage.author for damage in report.left}, logs.local)
            )
        if logs.copied:
            say("writers may append again after gossiplog recover")
    return 0


def _sound(store: str, wait: float) -> Opened:
    """Open a store whose database file is in order, rebuilt if it was not."""
    try:
        logs = opened(store, wait)
        if logs.verify(_progress()).sound:
            return logs
        logs.close()
    except StoreDamagedError:
        pass
    from gossiplog.store.repair.salvage import salvage

    kept = salvage(directory_of(store), wait)
    say(f"rebuilt: {kept.rows} segments of {kept.authors} authors; the old file is {kept.aside}")
    return opened(store, wait)


def _say_repair(report: RepairReport) -> None:
    for author, (before, now) in sorted(report.cut.items()):
        if now < before:
            say(f"cut: {format_author(author)} from {before} to {now}; sync fetches the rest again")
        else:
            say(f"mended: {format_author(author)} has its head again")
    for author, first, last in report.mended:
        say(f"mended: {format_author(author)} {first} to {last}")
    for name in report.cursors:
        say(f"mended: the cursor {name!r}; who reads with it gets the entries of some authors again")
    if not (report.cut or report.mended or report.cursors or report.left):
        say("nothing is left to repair")


def _say_damages(damages: Iterable[Damage]) -> None:
    for author, first, last, reason in damages:
        where = "store" if author is None else f"{format_author(author)} {first}"
        say(f"damaged: {where}{f' to {last}' if last > first else ''}: {reason}")
    sys.stdout.flush()


def _advice(place: str, places: int, authors: Collection[bytes | None], local: Collection[bytes]) -> str:
    said = f"{place} is still damaged in {places} places"
    if any(author in local for author in authors):
        said += "; the log of a writer is never cut: --from takes a store that has its entries"
        said += ", and peers give an end that is damaged back (gossiplog recover)"
    return said


def _complain(words: str) -> int:
    complain(words)
    return DAMAGED


def _progress() -> OnProgress | None:
    status = StatusLine()
    return _Progress(status) if status.visible else None


class _Progress:
    """I show on a terminal how far a check is."""

    def __init__(self, status: StatusLine) -> None:
        self._status = status
        self._shown_at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total:
            self._status.clear()
        elif now - self._shown_at > PROGRESS_SECONDS:
            self._shown_at = now
            self._status.show(f"{done} of {total} entries checked")

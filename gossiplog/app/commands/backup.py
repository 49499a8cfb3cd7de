"""The verbs backup, restore and compact.

Responsible for: saying what came of them.
Must not know: how they are done, or whether a node has the store.
Invariant: the exit status is 3 when anything is missing in a backup, or damaged.
"""

from __future__ import annotations

import os
from argparse import Namespace
from contextlib import closing
from typing import Any, cast

from gossiplog.app.commands.damage import DAMAGED
from gossiplog.app.commands.local import opened, option
from gossiplog.app.printing import say
from gossiplog.live.backing_up import BackedUp, back_up, restore_store
from gossiplog.live.compacting import compact as compact_store
from gossiplog.live.hands import OwnHands
from gossiplog.log.keys import format_author
from gossiplog.store.door import directory_of


def backup(arguments: Namespace) -> int:
    """Bring a backup up to date; say what was new, and what it holds now."""
    with closing(opened(arguments.store, arguments.wait)) as logs:
        hands = OwnHands(cast(Any, logs))
        seeds, check = not arguments.no_seeds, not arguments.no_check
        done = back_up(hands, logs.path, directory_of(arguments.target), seeds=seeds, check=check)
    return _say(done, "backed up")


def restore(arguments: Namespace) -> int:
    """Make a store of a backup; say what is to be done next."""
    status = _say(restore_store(arguments.backup, arguments.store), "restored")
    if not status:
        where = option("--store", os.fspath(arguments.store))
        say(f"its writers append after: gossiplog recover {where} --network NETWORK PEER")
    return status


def compact(arguments: Namespace) -> int:
    """Make a store small; say how small."""
    with closing(opened(arguments.store, arguments.wait)) as logs:
        done = compact_store(OwnHands(cast(Any, logs)))
    say(f"compacted from {done.before} to {done.after} bytes")
    return 0


def _say(done: BackedUp, what: str) -> int:
    for author, reason in done.left_out.items():
        say(f"left out: {'store' if author is None else format_author(author)}: {reason}")
    report = done.report
    for damage in () if report is None else report.damages:
        say(f"damaged: {'store' if damage.author is None else format_author(damage.author)}: {damage.reason}")
    said = f"{what} {done.entries} entries of {done.authors} authors"
    if report is not None and report.ok:
        said += f"; {report.entries} entries of {report.authors} authors are there, checked"
    say(said)
    return DAMAGED if done.left_out or (report is not None and not report.ok) else 0

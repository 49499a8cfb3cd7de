"""The verb import: what a store from anybody has that is signed goes into one's own.

Responsible for: saying what was taken and what was refused.
Must not know: how it is taken.
Invariant: a store of one's own is there before anything is taken.
"""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing

from gossiplog.app.commands.damage import DAMAGED
from gossiplog.app.commands.follow import quotas_of
from gossiplog.app.commands.local import opened_to_read
from gossiplog.app.printing import say
from gossiplog.live.importing import import_store
from gossiplog.log.keys import format_author


def take(arguments: Namespace) -> int:
    """Take what another store has; say how much it was, and what was refused, with exit status 3."""
    with closing(opened_to_read(arguments.store, arguments.wait)):
        pass  # the error names the command that makes one
    taken = import_store(arguments.store, arguments.path, quotas=quotas_of(arguments), wait=arguments.wait)
    for author, reason in taken.refused.items():
        say(f"refused: {'store' if author is None else format_author(author)}: {reason}")
    say(f"imported {taken.entries} entries of {len(taken.authors)} authors, {taken.forks} forks")
    return DAMAGED if taken.refused else 0

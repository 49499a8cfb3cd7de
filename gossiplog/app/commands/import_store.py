"""The verb import: what a store or an export from anybody has that is signed goes into one's own.

Responsible for: saying what was taken and what was refused.
Must not know: how it is taken.
Invariant: a store of one's own is there before anything is taken.
"""

from __future__ import annotations

import os
from argparse import Namespace
from contextlib import closing
from typing import Any, cast

from gossiplog.app.commands.damage import DAMAGED
from gossiplog.app.commands.export import STANDARD, opened_file
from gossiplog.app.commands.local import opened, opened_to_read
from gossiplog.app.printing import complain, say
from gossiplog.app.run_options import quotas_of
from gossiplog.errors import BadExportError
from gossiplog.live.hands import OwnHands
from gossiplog.live.importing import Imported, import_store, import_stream
from gossiplog.log.keys import format_author


def take(arguments: Namespace) -> int:
    """Take what a store or an export has; say how much it was, and what was refused, with exit status 3."""
    if arguments.path == STANDARD or not os.path.isdir(arguments.path):
        return _take_export(arguments)
    with closing(opened_to_read(arguments.store, arguments.wait)):
        pass  # the error names the command that makes one
    return _say(
        import_store(arguments.store, arguments.path, quotas=quotas_of(vars(arguments)), wait=arguments.wait)
    )


def _take_export(arguments: Namespace) -> int:
    wrong: BadExportError | None = None
    with closing(opened(arguments.store, arguments.wait)) as logs:
        try:
            with opened_file(arguments.path) as stream:
                taken = import_stream(OwnHands(cast(Any, logs)), stream, quotas_of(vars(arguments)))
        except BadExportError as error:
            if error.taken is None:
                raise
            wrong, taken = error, error.taken
    status = _say(taken)
    if wrong is not None:
        complain(f"{arguments.path}: {wrong}")
        return 1
    return status


def _say(taken: Imported) -> int:
    for author, reason in taken.refused.items():
        say(f"refused: {'store' if author is None else format_author(author)}: {reason}")
    filled = f", {taken.filled} payloads that were missing" if taken.filled else ""
    say(f"imported {taken.entries} entries of {len(taken.authors)} authors, {taken.forks} forks{filled}")
    return DAMAGED if taken.refused else 0

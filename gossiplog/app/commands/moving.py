"""The verbs by which logs move between stores without a session: what they take.

Responsible for: their arguments and help.
Must not know: what they do, which is imported when one runs.
Invariant: none.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from gossiplog.app.commands.arguments import AddVerb, only_with, path
from gossiplog.app.run_options import add_quotas


def add_verbs(verb: AddVerb, later: Callable[[str, str], Callable[[Namespace], int]]) -> None:
    """Add the verbs."""
    taking = verb(
        "import",
        later("import_store", "take"),
        "take what another store or an export has that its authors signed; it may be anybody's, and is only read",
        "gossiplog import --store ~/notes /media/stick/notes\n  gossiplog import --store ~/notes ann.logs",
    )
    about = "directory of the other store, or file of an export (- is standard input)"
    taking.add_argument("path", type=path, metavar="PATH", help=about)
    add_quotas(taking)

    giving = verb(
        "export",
        later("export", "export"),
        "write what the store holds to a file that any other store can check and take with import",
        "gossiplog export --store ~/notes /media/stick/notes.logs\n"
        "  gossiplog export --store ~/notes --since theirs.txt - | ssh host gossiplog import -",
        lambda _: True,
    )
    giving.add_argument("file", type=path, metavar="FILE", help="a new file, or - for standard output")
    about = "only of this author: its id, or how it begins; may be repeated"
    giving.add_argument("--author", action="append", default=[], metavar="ID", help=about)
    about = (
        "only what is behind an earlier export, or behind a clock (gossiplog clock > FILE); may be repeated"
    )
    giving.add_argument("--since", action="append", default=[], type=path, metavar="FILE", help=about)

    saving = verb(
        "backup",
        later("backup", "backup"),
        "bring a backup of the store in another directory up to date, while a node has it too",
        "gossiplog backup --store ~/notes /media/disk/notes",
    )
    saving.add_argument(
        "target", type=path, metavar="TARGET", help="a new directory, or one that has the backup"
    )
    saving.add_argument("--no-seeds", action="store_true", help="without the secrets of the writers")
    saving.add_argument("--no-check", action="store_true", help="do not verify all of it afterwards")

    making = verb(
        "restore",
        later("backup", "restore"),
        "make a store of a backup; its writers append again after recover",
        "gossiplog restore --store ~/notes /media/disk/notes",
    )
    making.add_argument(
        "backup", type=path, metavar="BACKUP", help="directory of the backup, which is only read"
    )
    only_with(making, "a store that is there already", lambda said: False, "--wait")

    verb(
        "compact",
        later("backup", "compact"),
        "make the store's files as small as they can be, while a node has it too",
        "gossiplog compact --store ~/notes",
    )

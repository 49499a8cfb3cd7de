"""The arguments of the verbs search and views.

Responsible for: what they are called, and that a limit is one.
Must not know: how anything is found, or built; that is imported when a verb runs.
Invariant: importing this module costs no more than argparse.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Final

from gossiplog.app.commands.arguments import checked
from gossiplog.errors import InvalidValueError

LIMIT: Final = 20


def add(
    verb: Callable[..., ArgumentParser],
    search: Callable[[Namespace], int],
    views: Callable[[Namespace], int],
) -> None:
    """Define both verbs, which are not imported yet."""
    example = "gossiplog search --store ~/notes 'heron NOT swan'"
    parser = verb("search", search, "find entries by their words", example, lambda _: True)
    parser.add_argument("text", metavar="TEXT", help='words, or a query: heron NOT swan, "two words", her*')
    parser.add_argument(
        "--limit", type=checked(_read_limit), default=LIMIT, metavar="N", help=f"(default: {LIMIT})"
    )
    parser.add_argument("--newest", action="store_true", help="the newest first, not the best")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    about = "show what is computed from entries and kept beside them, build it anew, delete it"
    example = "gossiplog views --store ~/notes --rebuild birds:Birds"
    parser = verb("views", views, about, example)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--drop", metavar="NAME", help="delete the files of a view; it is built anew when it is opened"
    )
    what.add_argument(
        "--rebuild",
        metavar="MODULE:CLASS",
        help="build a view anew, now: MODULE is found as python finds it, from this directory too",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def _read_limit(text: str) -> int:
    try:
        if (limit := int(text)) > 0:
            return limit
    except ValueError:
        pass
    raise InvalidValueError(f"a number of entries, not {text}")

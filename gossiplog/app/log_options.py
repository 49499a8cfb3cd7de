"""What can be said on a command line about the log of a node.

Responsible for: ``--log-json`` and ``--log-level``, and how levels are written.
Must not know: Twisted, so that a command that needs no reactor starts without it.
Invariant: a level or a part that there is not is refused by its name.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Final, NamedTuple

from gossiplog.app.commands.arguments import checked
from gossiplog.errors import InvalidValueError

PARTS: Final = ("app", "control", "discovery", "gossip", "live", "net", "store", "views")
LEVELS: Final = ("debug", "info", "warn", "error")

JSON: Final = "log a JSON object in each line"
LEVEL: Final = (
    "log from this level on: debug, info (the default), warn or error; PART=LEVEL for a part of the program "
    f"({', '.join(PARTS)}); several with commas, or by repeating it"
)


class LogOptions(NamedTuple):
    """How a node logs: ``levels`` has a part and its level each, "" for all parts that are not named."""

    as_json: bool = False
    levels: tuple[tuple[str, str], ...] = ()


def read_levels(text: str) -> tuple[tuple[str, str], ...]:
    """Return what ``warn,net=debug`` says."""
    return tuple([_read_level(item.strip()) for item in text.split(",")])


def _read_level(text: str) -> tuple[str, str]:
    part, equals, level = text.rpartition("=")
    if equals and part not in PARTS:
        raise InvalidValueError(f"{part or 'nothing'!r} is no part; there are {', '.join(PARTS)}")
    if level not in LEVELS:
        raise InvalidValueError(f"{level!r} is no level; there are {', '.join(LEVELS)}")
    return part, level


def add_arguments(parser: ArgumentParser) -> None:
    """Add both options."""
    parser.add_argument("--log-json", action="store_true", help=JSON)
    parser.add_argument(
        "--log-level", type=checked(read_levels), action="append", default=[], metavar="LEVEL", help=LEVEL
    )


def log_options(as_json: bool, levels: Sequence[Sequence[tuple[str, str]]]) -> LogOptions:
    """Return what was said, in the order it was."""
    return LogOptions(as_json, tuple([level for said in levels for level in said]))

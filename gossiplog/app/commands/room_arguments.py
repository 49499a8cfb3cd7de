"""The arguments of the verb room, and of the twistd plugin for rooms.

Responsible for: what they are called, what is wrong with one.
Must not know: what a room does; it is imported when it runs.
Invariant: a room is open to everybody only if somebody says so.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from gossiplog.app import keyfile, log_options
from gossiplog.app.commands.arguments import checked, only_with
from gossiplog.app.run_options import read_listen
from gossiplog.errors import InvalidValueError

if TYPE_CHECKING:
    from gossiplog.discovery.room.bounds import RoomBounds
    from gossiplog.discovery.room.key import RoomKey

EXAMPLE: Final = (
    "(umask 077; gossiplog room --make-key > room.key) && gossiplog room --listen tcp:443 --key @room.key"
)
KEY_HELP: Final = "the key of the room, room_... or 64 hex digits, or @FILE that holds it"
OPEN_HELP: Final = "have no key: everybody may use the room"
LIMIT_HELP: Final = "change a bound, such as pairs=512; may be repeated (docs/howto/rooms.rst)"


def add(verbs: Any) -> None:
    """Add the verb and its arguments to those of the command (what ``add_subparsers`` returned)."""
    parser = verbs.add_parser(
        "room",
        help="run a room, where nodes meet that nobody can dial; it cannot read what they say",
        description="Run a room, where nodes meet that nobody can dial; it cannot read what they say.",
        epilog=f"example:\n  {EXAMPLE}",
    )
    parser.add_argument(
        "--listen",
        type=checked(read_listen),
        action="append",
        default=[],
        metavar="ENDPOINT",
        help="such as tcp:443",
    )
    parser.add_argument("--key", type=read_key, metavar="KEY", help=KEY_HELP)
    parser.add_argument("--open", action="store_true", help=OPEN_HELP)
    parser.add_argument(
        "--limit", action="append", default=[], metavar="NAME=NUMBER", type=_bound, help=LIMIT_HELP
    )
    parser.add_argument("--make-key", action="store_true", help="print a new key and exit")
    log_options.add_arguments(parser)
    parser.set_defaults(verb=_room)
    running = ("--listen", "--key", "--open", "--limit", "--log-json", "--log-level")
    only_with(parser, "a room that runs, without --make-key", lambda said: not said.make_key, *running)


def _room(arguments: Namespace) -> int:
    if not arguments.make_key:
        try:
            check_needed(arguments.listen, arguments.key, arguments.open)
        except InvalidValueError as error:
            arguments.wrong(str(error))
    return int(import_module("gossiplog.app.commands.room").room(arguments))


def check_needed(listen: Sequence[str], key: RoomKey | None, is_open: bool) -> None:
    """Raise :class:`InvalidValueError` for what is missing, or makes no sense together."""
    if not listen:
        raise InvalidValueError("--listen is needed, such as --listen tcp:443")
    if (key is None) != is_open:
        raise InvalidValueError("one of --key and --open is needed; gossiplog room --make-key prints a key")


def parse_key(text: str) -> RoomKey:
    """Return the key that a text says, or the file that it names."""
    from gossiplog.discovery.room.key import RoomKey

    return RoomKey.parse(keyfile.said(text))


read_key = checked(parse_key)


def parse_bounds(texts: Sequence[str]) -> RoomBounds:
    """Return the bounds that texts choose."""
    from gossiplog.discovery.room.bounds import RoomBounds

    return RoomBounds.parse(texts)


@checked
def _bound(text: str) -> str:
    parse_bounds([text])
    return text

"""The verb room.

Responsible for: a room until it is interrupted; its ready line.
Must not know: how arguments are parsed.
Invariant: when the verb ends, every connection of the room is closed.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from twisted.internet.defer import Deferred

from gossiplog.app.commands.replicate import react
from gossiplog.app.commands.room_arguments import parse_bounds
from gossiplog.app.log_options import log_options
from gossiplog.app.logs import Lines
from gossiplog.app.printing import StatusLine, say
from gossiplog.app.room_service import RoomServing
from gossiplog.discovery.room.key import RoomKey


def room(arguments: Namespace) -> int:
    """Run a room until SIGINT or SIGTERM; print the ready line."""
    if arguments.make_key:
        say(RoomKey.random().text)
        return 0
    lines = Lines(StatusLine(), log_options(arguments.log_json, arguments.log_level))
    return react(_room, arguments, log=lines)


async def _room(reactor: Any, arguments: Namespace) -> None:
    bounds = parse_bounds(arguments.limit)
    serving = RoomServing(reactor, arguments.listen, arguments.key or RoomKey(), bounds)
    try:
        say(await serving.start())
        sys.stdout.flush()
        await Deferred()
    finally:
        await serving.stop()

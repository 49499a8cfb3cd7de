"""The verb top: how a node is, on a screen that follows it.

Responsible for: what is on the screen; asking again and again; leaving.
Must not know: how a screen is shown (``app.screen``).
Invariant: no text of others is more than a part of its own line; whatever ends it, the terminal is as before.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from typing import Any, Final

from gossiplog.app.commands.operate import duration, node_of, short_of, size, store_in_words
from gossiplog.app.screen import Screen
from gossiplog.errors import InvalidValueError

LEAVE: Final = "q"
ADDRESS_CHARS: Final = 28


def top(arguments: Namespace) -> int:
    """Show how a node is until somebody leaves."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise InvalidValueError("top is for a terminal: gossiplog status prints the same once")
    with closing(node_of(arguments)) as logs, suppress(KeyboardInterrupt), Screen() as screen:
        before: dict[str, Any] | None = None
        while True:
            said = logs.status()
            screen.show(lines(said, before))
            before = said
            if screen.wait(arguments.every) == LEAVE:
                break
    return 0


def lines(said: dict[str, Any], before: dict[str, Any] | None) -> Iterator[str]:
    """Yield what is on the screen: how a node is now, and what changed since ``before``."""
    then = said if before is None else before
    seconds = max(0.001, (said["time_ms"] - then["time_ms"]) / 1000)
    yield (
        f"gossiplog {said['node'][5:13]} ({said['agent']}, {said['mode']})   up {duration(said['up_seconds'])}   "
        f"{datetime.fromtimestamp(said['time_ms'] / 1000):%H:%M:%S}   q leaves"
    )
    yield store_in_words(said)
    came = (said["entries"] - then["entries"]) / seconds
    yield (
        f"entries {said['entries']:,} of {said['log_count']:,} authors, {said['fork_count']:,} forked   "
        f"{came:+,.0f}/s   "
        + ("caught up" if said["caught_up"] else f"{said['to_come']:,} to come")
        + f"   {said['to_send']:,} to send"
    )
    disk, queues, commits = said["disk"], said["queues"], said["commits"]
    made = commits["count"] - then["commits"]["count"]
    mean = (commits["seconds"] - then["commits"]["seconds"]) / made if made > 0 else 0.0
    yield (
        f"commits {max(0, made) / seconds:,.1f}/s of {mean * 1000:.1f} ms, the longest "
        f"{commits['longest_seconds'] * 1000:.0f} ms   waiting: {queues['jobs']:,} jobs, {queues['messages']:,} "
        "messages"
    )
    yield (
        f"disk {size(disk['logs'])} logs, {size(disk['journal'])} journal, {size(disk['views'])} views, "
        f"{size(disk['free'])} free   memory for peers {size(queues['memory_bytes'])} of "
        f"{size(queues['max_memory_bytes'])}"
    )
    yield ""
    yield (
        f"{'PEER':8}  {'ADDRESS':{ADDRESS_CHARS}}  {'UP':>10}  {'TO COME':>10}  {'TO SEND':>10}  {'IN/s':>9}  "
        f"{'OUT/s':>9}  {'UNREAD':>9}"
    )
    known = {peer["id"]: peer for peer in then["peers"]}
    for peer in sorted(said["peers"], key=lambda each: -each["entries_to_come"] - each["entries_to_send"]):
        yield peer_line(peer, known.get(peer["id"], peer), seconds)
    for dialled in said["dialled"]:
        if not dialled["connected"]:
            yield f"{'-':8}  {dialled['endpoint']:.{ADDRESS_CHARS}}  is dialled"
    for banned in said["bans"]:
        yield f"{short_of(banned['peer'])}  banned: {banned['reason']}"
    yield ""
    for trouble in reversed(said["troubles"]):
        times = f" ({trouble['count']:,} times)" if trouble["count"] > 1 else ""
        when = datetime.fromtimestamp(trouble["time_ms"] / 1000)
        yield f"{when:%H:%M:%S} {trouble['event']}{times}: {trouble['words']}"


def peer_line(peer: dict[str, Any], before: dict[str, Any], seconds: float) -> str:
    """Return the line of a peer; one that came again counts anew."""
    bytes_in, bytes_out = (max(0, peer[way] - before[way]) / seconds for way in ("bytes_in", "bytes_out"))
    address = ("> " if peer["dialled"] else "< ") + peer["address"]
    return (
        f"{short_of(peer['id'])}  {address:{ADDRESS_CHARS}.{ADDRESS_CHARS}}  {duration(peer['up_seconds']):>10}  "
        f"{peer['entries_to_come']:>10,}  {peer['entries_to_send']:>10,}  {size(int(bytes_in)):>9}  "
        f"{size(int(bytes_out)):>9}  {size(peer['bytes_unread']):>9}"
    )

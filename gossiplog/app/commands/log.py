"""The verb log: entries for people and for programs.

Responsible for: choosing entries, in which order, and their text and JSON forms; following the store live.
Must not know: how arguments are parsed.
Invariant: no byte of an entry steers the terminal.
"""

from __future__ import annotations

from argparse import Namespace
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from gossiplog.app.commands.authors import find_author
from gossiplog.app.commands.damage import Damages
from gossiplog.app.commands.local import opened_to_read
from gossiplog.app.printing import as_json as json_line
from gossiplog.app.printing import say
from gossiplog.log.encodings import encoding
from gossiplog.log.entry import Entry, read_entries
from gossiplog.log.keys import format_author, parse_author, short_key
from gossiplog.store.logs import Logs
from gossiplog.store.repair.verify import Damage

if TYPE_CHECKING:
    from gossiplog.app.terminal import Terminal
    from gossiplog.live.reader import Reader

READ_BYTES: Final = 256 * 1024
"""Read from disk at once."""


def log(arguments: Namespace) -> int:
    """Print the entries of a store; with ``--follow`` go on with new ones."""
    form = as_json if arguments.json else as_text
    damages = Damages(arguments.store)
    if arguments.follow:
        from gossiplog.app.commands.replicate import react

        return react(_follow, arguments, form, damages) or damages.status
    with closing(opened_to_read(arguments.store, arguments.wait)) as logs:
        author = find_author(logs.clock, arguments.author) if arguments.author else None
        for damage in logs.damages:
            if author in (None, damage.author) or damage.author is None:
                damages(damage)
        entries = held(logs, author, damages)
        if arguments.sort == "time":
            entries = iter(sorted(entries, key=by_time))
        for entry in entries:
            say(form(entry))
    return damages.status


def held(logs: Logs, author: bytes | None, damaged: Callable[[Damage], object]) -> Iterator[Entry]:
    """Yield the entries of a store, author by author, each log ascending; ``damaged`` is told what is passed over."""
    raw = encoding("bytes")
    for one in [author] if author is not None else list(logs.clock):
        seq, end = 1, logs.clock.seq(one)
        while seq <= end:
            segments, damage = logs.around(one, seq, READ_BYTES)
            if damage is not None:
                damaged(damage)
                seq = damage.last + 1
            for segment in segments:
                yield from read_entries(segment, raw, seq, end)
                seq = segment.last + 1


def by_time(entry: Entry) -> tuple[int, bytes, int]:
    """Sort key: what the authors' own clocks said."""
    return entry.timestamp_ms, entry.author, entry.seq


def as_text(entry: Entry) -> str:
    """Return the line of an entry: local time and how far it is from UTC, short author, seq, text."""
    if entry.dropped:
        text = "(dropped)"
    else:
        text = entry.payload.decode(errors="backslashreplace")
        if entry.malformed:
            text = f"(malformed) {text}"
    return f"{local_time(entry.timestamp_ms)} {short_key(entry.author)} {entry.seq} {text}"


def as_json(entry: Entry) -> str:
    """Return an entry as a JSON object in one line; ``payload_base64`` stands for a payload that is not UTF-8."""
    about: dict[str, object] = {
        "author": format_author(entry.author),
        "seq": entry.seq,
        "id": entry.id.hex(),
        "timestamp_ms": entry.timestamp_ms,
    }
    if entry.dropped:
        about["dropped"] = True
    else:
        try:
            about["payload"] = entry.payload.decode()
        except UnicodeDecodeError:
            about["payload_base64"] = b64encode(entry.payload).decode()
    if entry.malformed:
        about["malformed"] = entry.malformed
    return json_line(about)


def local_time(timestamp_ms: int) -> str:
    """Return what an author's clock said, in local time."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return f"@{timestamp_ms}"  # an author may write anything


async def _follow(reactor: Any, arguments: Namespace, form: Callable[[Entry], str], damages: Damages) -> None:
    """Print entries and wait for more, as a node if a network is given."""
    from gossiplog.app.commands.replicate import open_existing, start_node
    from gossiplog.app.foreground import first_of
    from gossiplog.app.terminal import Terminal

    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor, stdin=None))
        store = await open_existing(arguments, reactor)
        stack.push_async_callback(store.close)
        store.damage.listen(damages)
        author = None
        if arguments.author and arguments.author.startswith("author_"):
            author = parse_author(arguments.author)  # its first entry may be still to come
        elif arguments.author:
            author = find_author(store.clock, arguments.author)
        if arguments.network:
            await start_node(stack, reactor, store, arguments)
        await first_of(_print(terminal, store.read(author, live=True), form), terminal.broken())


async def _print(terminal: Terminal, entries: Reader, form: Callable[[Entry], str]) -> None:
    async for entry in entries:
        await terminal.write(form(entry))

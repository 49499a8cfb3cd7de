"""The verb log: entries for people and for programs.

Responsible for: choosing entries, in which order, and their text and JSON forms; following the store live.
Must not know: how arguments are parsed.
Invariant: no byte of an entry steers the terminal.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gossiplog.app.commands.arguments import checked
from gossiplog.app.commands.authors import find_author, named
from gossiplog.app.commands.chosen import Chosen, Where, read_moment, read_where
from gossiplog.app.commands.damage import Damages
from gossiplog.app.commands.local import Opened, opened_to_read
from gossiplog.app.printing import as_json as json_line
from gossiplog.app.printing import complain, say
from gossiplog.errors import InvalidValueError
from gossiplog.log.encodings import DECODE_ERRORS, encoding
from gossiplog.log.entry import Entry, read_entries
from gossiplog.log.keys import format_author, parse_author, short_key
from gossiplog.store.repair.verify import Damage

if TYPE_CHECKING:
    from gossiplog.app.terminal import Terminal
    from gossiplog.live.store import Store

Form: TypeAlias = Callable[[Entry], str]

READ_BYTES: Final = 256 * 1024
"""Read from disk at once."""


def add_arguments(verb: ArgumentParser) -> None:
    """Define which entries can be asked for, and in which order."""
    order = "order: each author's by seq, or all by time (default: author; time with any of the next four)"
    verb.add_argument("--sort", choices=("author", "time"), help=order)
    about = "only the newest N"
    verb.add_argument("-n", dest="newest", metavar="N", type=checked(read_count), help=about)
    verb.add_argument("--reverse", action="store_true", help="the newest first")
    about = "only since this moment: 2026-11-30, 2026-11-30T12:00Z, or 2h for so long ago"
    verb.add_argument("--since", metavar="TIME", type=checked(read_moment), help=about)
    verb.add_argument("--until", metavar="TIME", type=checked(read_moment), help="only before this moment")
    about = "only JSON objects with this value; again for more conditions"
    verb.add_argument(
        "--where", metavar="FIELD=VALUE", type=checked(read_where), action="append", default=[], help=about
    )


def read_count(text: str) -> int:
    """Return how many are asked for; raises InvalidValueError."""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return int(text)
    raise InvalidValueError(f"a number of entries, not {text}")


def log(arguments: Namespace) -> int:
    """Print the entries of a store; with ``--follow`` go on with new ones."""
    form = as_json if arguments.json else as_text
    damages = Damages(arguments.store)
    by_time = _by_time(arguments)
    chosen = Chosen.of(arguments)
    if arguments.follow:
        from gossiplog.app.commands.replicate import react

        return react(_follow, arguments, form, damages) or damages.status
    with closing(opened_to_read(arguments.store, arguments.wait)) as logs:
        author = (
            find_author(named(logs.clock, arguments.author), arguments.author) if arguments.author else None
        )
        for damage in logs.damages:
            if author in (None, damage.author) or damage.author is None:
                damages(damage)
        if by_time:
            from gossiplog.app.commands.by_time import ByTime  # other orders start sooner

            authors = None if author is None else [author]
            with closing(ByTime(logs, authors, damages, chosen.until)) as sorted_logs:
                for ahead, seq, ms in sorted_logs.ahead:
                    complain(
                        f"entries of {short_key(ahead)} from {seq} on are left out: it says {local_time(ms)}, which "
                        "is ahead of the clock here; --until a later moment takes them, too"
                    )
                for entry in sorted_logs.entries(chosen):
                    say(form(entry))
        else:
            for entry in held(logs, author, damages):
                if chosen.where(entry):
                    say(form(entry))
    return damages.status


def _by_time(arguments: Namespace) -> bool:
    """Whether entries are to come by time; what means nothing together ends the command."""
    said = {"-n": arguments.newest is not None, "--since": arguments.since, "--until": arguments.until}
    options = [option for option, is_said in (said | {"--reverse": arguments.reverse}).items() if is_said]
    if options and arguments.sort == "author":
        arguments.wrong(f"{options[0]} is about the order by time: without --sort author")
    if arguments.follow and (last := [each for each in options if each != "-n"]):
        arguments.wrong(f"{last[0]} is about what is there: not with --follow")
    if arguments.follow and arguments.sort == "time" and not options:
        arguments.wrong("what is new comes as it comes: --sort time not with --follow, or say how many: -n")
    return bool(options) or arguments.sort == "time"


def held(logs: Opened, author: bytes | None, damaged: Callable[[Damage], object]) -> Iterator[Entry]:
    """Yield the entries of a store, author by author, each log ascending; ``damaged`` is told what is passed over."""
    raw = encoding("bytes")
    upper = b"" if author is None else author + b"\0"
    for one, (end, _) in logs.clock.range(author or b"", upper):
        seq = 1
        while seq <= end:
            segments, damage = logs.around(one, seq, READ_BYTES)
            if damage is not None:
                damaged(damage)
                seq = damage.last + 1
            for segment in segments:
                yield from read_entries(segment, raw, seq, end)
                seq = segment.last + 1


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
    """Return an entry as a JSON object in one line.

    A payload that is a JSON object or array is one in there; any other is text, or ``payload_base64`` if no UTF-8.
    """
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
            about["payload"] = _json_or_text(entry.payload)
        except UnicodeDecodeError:
            about["payload_base64"] = b64encode(entry.payload).decode()
    if entry.malformed:
        about["malformed"] = entry.malformed
    return json_line(about)


def _json_or_text(payload: bytes) -> Any:
    text = payload.decode()
    if text.startswith(("{", "[")):
        with suppress(*DECODE_ERRORS):
            return encoding("json").decode(payload)
    return text


def local_time(timestamp_ms: int) -> str:
    """Return what an author's clock said, in local time."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000).astimezone().isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return f"@{timestamp_ms}"  # an author may write anything


async def _follow(reactor: Any, arguments: Namespace, form: Form, damages: Damages) -> None:
    """Print entries and wait for more, as a node if a network is given."""
    from gossiplog.app.commands.replicate import complain_of_ways, open_or_attach, start_node
    from gossiplog.app.foreground import first_of
    from gossiplog.app.terminal import Terminal

    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor, stdin=None))
        store, is_attached = await open_or_attach(arguments, reactor)
        stack.push_async_callback(store.close)
        store.damage.listen(damages)
        where = Chosen.of(arguments).where
        author = None
        if arguments.author and arguments.author.startswith("author_"):
            author = parse_author(arguments.author)  # its first entry may be still to come
        elif arguments.author:
            text = arguments.author
            author = find_author(await store._core.run(lambda logs: named(logs.clock, text)), text)
        if arguments.network and not is_attached:
            await start_node(stack, reactor, store, arguments, complain_of_ways)
        await first_of(_print(terminal, store, author, arguments.newest, where, form), terminal.broken())


async def _print(
    terminal: Terminal, store: Store, author: bytes | None, newest: int | None, where: Where, form: Form
) -> None:
    """Print what is there, or the newest of it, and what comes."""
    cursor = None
    if newest is not None:
        page = await store.timeline(max(1, newest), authors=None if author is None else [author], where=where)
        cursor = page.cursor
        for entry in page.entries[:newest][::-1]:
            await terminal.write(form(entry))
    async for entry in store.read(author, after=cursor, live=True, where=where):
        await terminal.write(form(entry))

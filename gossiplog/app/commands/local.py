"""The verbs that need only a store: init, id, append, clock.

Responsible for: doing them, blocking, without a reactor.
Must not know: the network; how arguments are parsed.
Invariant: what is printed about an append is on disk by then.
"""

from __future__ import annotations

import io
import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final, TypeAlias, cast

from gossiplog.app import passphrases
from gossiplog.app.commands.damage import Damages
from gossiplog.app.printing import as_json, say
from gossiplog.control.logs import NodeLogs
from gossiplog.control.opening import node_id, open_here_or_there
from gossiplog.errors import (
    GossiplogError,
    PayloadTooLargeError,
    StoreNotClosedError,
    StoreNotFoundError,
    UnknownWriterError,
)
from gossiplog.limits import MAX_BODY_BYTES
from gossiplog.log.body import encode_bodies
from gossiplog.log.keys import KeyKind, format_author, format_key, short_key
from gossiplog.store.copy_guard.guard import is_from_here
from gossiplog.store.door import directory_of, is_in_directory
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Append, Appended

READ_BYTES: Final = 1 << 20
"""Lines read from standard input at once are committed at once, but no more than:"""

LINES_AT_ONCE: Final = 65_536
"""One message for a node that has the store."""


Opened: TypeAlias = Logs | NodeLogs
"""A store's logs, or those that a node shows while it has the store."""


def opened(path: str, wait: float, read_only: bool = False, init: bool = False) -> Opened:
    """Open an existing store; one that a node has is used through that."""
    try:
        return open_here_or_there(path, wait, read_only=read_only, init=init)
    except StoreNotFoundError as error:
        raise missing(error, path) from None


def opened_to_read(path: str, wait: float) -> Opened:
    """Open an existing store, anybody's, without a change to it; only what was left open here is taken over first."""
    try:
        return opened(path, wait, read_only=True)
    except StoreNotClosedError:
        if not is_from_here(directory_of(path)):
            raise
    return opened(path, wait)


def missing(error: StoreNotFoundError, path: str) -> StoreNotFoundError:
    """Return the error for a store that is not there, with the command that creates it."""
    if not is_in_directory(path):
        return error
    return StoreNotFoundError(f"{error}; gossiplog init {option('--store', path)} creates one")


def option(name: str, value: str) -> str:
    """Return an option as it can be typed, whatever characters its value has."""
    return shlex.quote(f"{name}={value}") if value.startswith("-") else f"{name} {shlex.quote(value)}"


def init(arguments: Namespace) -> int:
    """Create a store with its first writer; print where it is and who writes."""
    with closing(opened(arguments.store, arguments.wait, init=True)) as logs:
        if (passphrase := passphrases.given(arguments.passphrase_file)) is not None:
            logs.keys.unlock(passphrase)
        author = logs.writer(arguments.writer).author
        say(f"store {logs.path}")
        say(f"author {format_author(author)}")
    return 0


def show_id(arguments: Namespace) -> int:
    """Print the author id of a writer, or all ids of a store."""
    opening = opened if arguments.all else opened_to_read
    with closing(opening(arguments.store, arguments.wait)) as logs:
        if arguments.all:
            say(f"node {format_key(KeyKind.NODE, node_id(logs))}")
            for name, author in logs.writers().items():
                say(f"author {format_author(author)} {name}")
        else:
            say(format_author(_writer(logs, arguments.writer)))
    return 0


def append(arguments: Namespace) -> int:
    """Append the arguments, or lines from standard input as they come; print author and seq of each entry."""
    with closing(opened(arguments.store, arguments.wait)) as logs:
        passphrases.unlock(logs.keys, arguments.passphrase_file)
        author = logs.writer(arguments.writer).author
        batches = [[text.encode(errors="surrogateescape") for text in arguments.text]]
        for batch in batches if arguments.text else _lines():
            try:
                _append(logs, author, batch, arguments.json)
            except PayloadTooLargeError:
                for payload in batch:  # keep what stands before the large one
                    _append(logs, author, [payload], arguments.json)
    return 0


def _append(logs: Opened, author: bytes, payloads: Sequence[bytes], in_json: bool) -> None:
    [result] = logs.process([Append(author, encode_bodies(int(time.time() * 1000), payloads))]).results
    if isinstance(result, GossiplogError):
        raise result
    assert isinstance(result, Appended)
    try:
        for seq in range(result.first, result.last + 1):
            if in_json:
                say(as_json({"author": format_author(author), "seq": seq}))
            else:
                say(f"{short_key(author)} {seq}")
        sys.stdout.flush()
    except OSError as error:
        error.filename = f"{error.filename} (entries up to {result.last} are stored)"
        raise


def _lines() -> Iterator[list[bytes]]:
    """Yield the lines of standard input in batches, as they come."""
    rest = b""
    while some := cast(io.BufferedReader, sys.stdin.buffer).read1(READ_BYTES):
        *lines, rest = (rest + some).split(b"\n")
        for begin in range(0, len(lines), LINES_AT_ONCE):
            yield [line.removesuffix(b"\r") for line in lines[begin : begin + LINES_AT_ONCE]]
        if len(rest) > MAX_BODY_BYTES:
            raise PayloadTooLargeError(f"a line is longer than an entry of {MAX_BODY_BYTES} bytes")
    if rest:
        yield [rest.removesuffix(b"\r")]


def _writer(logs: Opened, name: str) -> bytes:
    writers = logs.writers()
    if name not in writers:
        known = ", ".join(writers) or "none"
        raise UnknownWriterError(f"store {logs.path} has no writer {name!r}; there is: {known}")
    return writers[name]


def clock(arguments: Namespace) -> int:
    """Print how far the store holds each log."""
    damages = Damages(arguments.store)
    with closing(opened_to_read(arguments.store, arguments.wait)) as logs:
        for damage in logs.damages:
            damages(damage)
        names = {author: name for name, author in logs.writers().items()}
        for author, head in logs.clock.range():
            about: dict[str, object] = {"author": format_author(author), "seq": head.seq}
            if author in names:
                about["writer"] = names[author]
            if author in logs.forks:
                about["forked"] = True
            if arguments.json:
                say(as_json(about))
            else:
                marks = [f"writer {names[author]}"] if author in names else []
                marks += ["forked"] if author in logs.forks else []
                say(f"{about['author']} {head.seq}" + (f" ({', '.join(marks)})" if marks else ""))
    return damages.status

"""The verb export: what a store holds into a file, or down a pipe, for whoever may have it.

Responsible for: reading what the other side has already, and saying what was written and what was not.
Must not know: what an export looks like.
Invariant: nothing but the export goes to standard output, if it goes there.
"""

from __future__ import annotations

import io
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, BinaryIO, Final, cast

from gossiplog.app.commands.authors import find_author, named
from gossiplog.app.commands.damage import DAMAGED
from gossiplog.app.commands.local import opened_to_read
from gossiplog.app.printing import complain, say
from gossiplog.errors import BadExportError, InvalidKeyError, InvalidValueError
from gossiplog.limits import MAX_CLAIMS
from gossiplog.live.exporting import Export, export_to
from gossiplog.live.hands import OwnHands
from gossiplog.log.keys import format_author, parse_author
from gossiplog.log.segment import Segment
from gossiplog.wire.export import MAGIC, ExportReader

STANDARD: Final = "-"

READ_BYTES: Final = 1 << 18

_LINE_BYTES: Final = 512


def export(arguments: Namespace) -> int:
    """Write what a store holds; say how much it was, and what was left out, with exit status 3."""
    since = Had(arguments.since)
    with closing(opened_to_read(arguments.store, arguments.wait)) as logs:
        chosen = [
            find_author({*named(logs.clock, text), *logs.forks}, text, "the store holds nothing of it")
            for text in arguments.author
        ]
        wanted = Export(OwnHands(cast(Any, logs)), chosen or None, since)
        is_stream = arguments.file == STANDARD
        done = export_to(wanted, standard_output() if is_stream else arguments.file)
    tell: Callable[[str], None] = complain if is_stream else say
    for author, reason in done.left_out.items():
        tell(f"left out: {format_author(author)}: {reason}")
    tell(
        f"exported {done.entries} entries of {done.authors} authors, {done.forks} forks, in {done.size} bytes"
    )
    return DAMAGED if done.left_out else 0


def standard_output() -> BinaryIO:
    """Return standard output, for bytes; not one that a person reads."""
    if sys.stdout.isatty():
        raise InvalidValueError("an export is not for a terminal: send it down a pipe, or name a file")
    return sys.stdout.buffer


@contextmanager
def opened_file(file: str) -> Iterator[BinaryIO]:
    """Open a file to read, or give standard input, of which a read returns what has come."""
    if file == STANDARD:
        yield cast(BinaryIO, _AsItComes())
        return
    with open(file, "rb", buffering=0) as stream:
        yield cast(BinaryIO, stream)


class _AsItComes:
    """I am standard input."""

    def read(self, size: int) -> bytes:
        """Return some bytes, none at the end."""
        return cast(io.BufferedReader, sys.stdin.buffer).read1(size)


class Had:
    """I am how far somebody has logs: earlier exports, whole or not, and clocks as the verb ``clock`` prints them."""

    def __init__(self, files: list[str]) -> None:
        self._seqs: dict[bytes, int] = {}
        for file in files:
            try:
                self._read(file)
            except (BadExportError, InvalidKeyError, ValueError) as error:
                raise InvalidValueError(
                    f"{file} is neither an export nor a clock (gossiplog clock > FILE): {error}"
                ) from error

    def seq(self, author: bytes) -> int:
        """Return the seq of the last entry, 0 if there is none."""
        return self._seqs.get(author, 0)

    def _read(self, file: str) -> None:
        with open(file, "rb") as stream:
            if stream.peek(len(MAGIC)).startswith(MAGIC):
                reader, wrong = ExportReader(), None
                while wrong is None and (piece := stream.read(READ_BYTES)):
                    found, wrong = reader.feed(piece)
                    for one in found:
                        if isinstance(one, Segment):
                            self._has(one.author, one.last)
                if wrong is not None:
                    raise wrong
                return
            while line := stream.readline(_LINE_BYTES):
                author, seq, *_ = line.decode().split(" ", 2)
                self._has(parse_author(author), int(seq))

    def _has(self, author: bytes, seq: int) -> None:
        if len(self._seqs) < MAX_CLAIMS:
            self._seqs[author] = max(seq, self.seq(author))

"""Finding entries by their words: a view on SQLite's FTS5.

Responsible for: :class:`Search`, and asking its index what people type.
Must not know: when entries come; who asks.
Invariant: what people type never fails for its signs: what is no query of FTS5 is searched for as the words in it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from gossiplog.arguments import check_number, check_type, wrong
from gossiplog.errors import InvalidValueError
from gossiplog.limits import MAX_SEARCH_CHARS, MAX_SEQ
from gossiplog.log.entry import Entry
from gossiplog.views.view import View

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SNIPPET_TOKENS: Final = 16
MARKS: Final = ("[", "]")
"""Around each word in a snippet that was searched for."""

_ORDERS: Final = {"rank": "rank", "newest": "ms DESC, found.rowid DESC"}

_OTHER_SHAPE: Final = (LookupError, TypeError, AttributeError)
"""What a function of an entry raises for one of another shape than it expects."""


class Hit(NamedTuple):
    """An entry that was found: ``snippet`` is what of its text is around the words, which are in brackets."""

    author: bytes
    seq: int
    timestamp_ms: int
    snippet: str

    @property
    def time(self) -> datetime:
        """``timestamp_ms`` in UTC: what the author's clock said."""
        try:
            return _EPOCH + timedelta(milliseconds=self.timestamp_ms)
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)


class Search(View):
    """I find entries by the words of ``text(entry)``; an entry of which that is no text is not found.

    ``name`` tells several of one store apart.  With another ``text`` take another ``version``: all is indexed anew.
    ``tokenize`` is FTS5's: "porter" knows English endings, "trigram" finds parts of words, at twice the room.
    """

    owned = ("found",)

    def __init__(
        self,
        text: Callable[[Entry], Any],
        *,
        name: str = "search",
        version: int = 1,
        encoding: str = "json",
        tokenize: str = "unicode61 remove_diacritics 2",
    ) -> None:
        if not callable(text):
            raise wrong("text", "a function of an entry, which returns its text", text)
        check_type("tokenize", tokenize, str, "what FTS5 takes, as 'porter'")
        if "'" in tokenize:
            raise InvalidValueError(f"tokenize has no quote: {tokenize!r:.80}")
        self.text = text
        self.name = name
        self.version = version
        self.encoding = encoding
        self.schema = (
            "CREATE VIRTUAL TABLE found USING fts5"
            f"(text, author UNINDEXED, seq UNINDEXED, ms UNINDEXED, tokenize='{tokenize}')"
        )

    def apply(self, db: sqlite3.Connection, entries: Sequence[Entry]) -> int:
        """Index the texts; return how many there are."""
        rows = []
        for entry in entries:
            try:
                text = self.text(entry)
            except _OTHER_SHAPE:
                continue
            if isinstance(text, str):
                rows.append(
                    (text.encode(errors="replace").decode(), entry.author, entry.seq, entry.timestamp_ms)
                )
        db.executemany("INSERT INTO found (text, author, seq, ms) VALUES (?, ?, ?, ?)", rows)
        return len(rows)


def check_search(text: str, limit: int, offset: int, order: str) -> None:
    """Raise :class:`InvalidValueError` for what cannot be searched for."""
    check_type("text", text, str, "a text")
    if len(text) > MAX_SEARCH_CHARS:
        raise InvalidValueError(
            f"the text of a search has at most {MAX_SEARCH_CHARS} characters, not {len(text)}"
        )
    check_number("limit", limit, 1)
    check_number("offset", offset, 0)
    if not isinstance(order, str) or order not in _ORDERS:
        raise wrong("order", " or ".join(map(repr, _ORDERS)), order)


def find(
    db: sqlite3.Connection, text: str, limit: int, offset: int, order: Literal["rank", "newest"]
) -> list[Hit]:
    """Return what is found by a query of FTS5, or by the words of what is none."""
    text = text.replace("\0", " ").encode(errors="replace").decode()
    try:
        return _matches(db, text, limit, offset, order)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR:
            raise
    return _matches(db, quoted(text), limit, offset, order)


def quoted(text: str) -> str:
    """Return the query that finds all words of a text, whatever signs are in it.

    >>> print(quoted("c++ or don't"))
    "c++" "or" "don't"
    """
    return " ".join('"' + word.replace('"', '""') + '"' for word in text.split()) or '""'


def _matches(db: sqlite3.Connection, query: str, limit: int, offset: int, order: str) -> list[Hit]:
    rows = db.execute(
        f"SELECT author, seq, ms, snippet(found, 0, ?, ?, '...', {_SNIPPET_TOKENS}) FROM found WHERE found MATCH ? "
        f"ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?",
        (*MARKS, query, min(limit, MAX_SEQ), min(offset, MAX_SEQ)),
    )
    return [Hit(*row) for row in rows]

"""Rings 1 and 6: finding entries by their words, whatever people type and write."""

from __future__ import annotations

import sqlite3
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import Entry, InvalidValueError, Search, SearchUnavailableError, ViewError, limits
from gossiplog.views.search import find
from tests.netcase import Author
from tests.viewcase import ViewCase


def text(entry: Entry) -> Any:
    return entry.payload["text"]


class FindTests(ViewCase):
    """A search of a store."""

    def setUp(self) -> None:
        super().setUp()
        texts = (
            "a heron and a swan",
            "heron alone, don't ask",
            "Blässhuhn c++ http://x.y",
            "a heron, a heron, a heron",
        )
        self.world.result(self.writer().append_many([{"text": each} for each in texts]))
        self.world.result(self.writer().append_many([{"text": None}, {"fish": 1}, 7, [], {"text": 8}]))
        self.search = self.view(Search(text))

    def find(self, what: str, **how: Any) -> list[int]:
        return [hit.seq for hit in self.world.result(self.search.find(what, **how))]

    def test_queries(self) -> None:
        for what, seqs in (
            ("heron NOT swan", [2, 4]),
            ("heron swan", [1]),
            ("swan OR alone", [1, 2]),
            ('"and a"', [1]),
            ("her*", [1, 2, 4]),
            ("HERON", [1, 2, 4]),
            ("blasshuhn", [3]),
            ("nothing", []),
        ):
            self.assertEqual(sorted(self.find(what)), seqs, what)

    def test_what_is_no_query_is_searched_for_as_words(self) -> None:
        for what, seqs in (
            ("don't", [2]),
            ("c++", [3]),
            ("http://x.y", [3]),
            ("author:heron", []),
            ("heron)", [1, 2, 4]),
            ('"alone', [2]),
            ("alone, don't", [2]),
            ("-", []),
            ("", []),
            ("\0", []),
            ("\ud800", []),
            ("AND AND", [1]),
            ("* ^ ()", []),
        ):
            self.assertEqual(sorted(self.find(what)), seqs, what)

    def test_order_limit_and_offset(self) -> None:
        self.assertEqual(self.find("heron")[0], 4)
        self.assertEqual(self.find("heron", order="newest"), [4, 2, 1])
        self.assertEqual(self.find("heron", order="newest", limit=1, offset=1), [2])

    def test_a_hit_says_where_it_is(self) -> None:
        [hit] = self.world.result(self.search.find("swan"))
        self.assertEqual((hit.author, hit.snippet), (self.writer().author, "a heron and a [swan]"))
        [entry] = [e for e in self.wait(self.all()) if e.seq == hit.seq]
        self.assertEqual((hit.timestamp_ms, hit.time), (entry.timestamp_ms, entry.time))

    async def all(self) -> list[Entry]:
        return [entry async for entry in self.store.read()]

    def test_what_is_too_long(self) -> None:
        self.search.find("x" * limits.MAX_SEARCH_CHARS)
        with self.assertRaises(InvalidValueError):
            self.search.find("x" * (limits.MAX_SEARCH_CHARS + 1))

    def test_entries_of_another_shape_are_no_error(self) -> None:
        self.assertEqual(self.rows(self.search, "SELECT * FROM _skipped"), [])
        self.assertEqual(self.rows(self.search, "SELECT count(*) FROM found"), [4])

    def test_new_entries_and_forgotten_ones(self) -> None:
        bob = Author()
        self.accept(bob, b'{"text":"an egret"}', b'{"text":"\\ud800 egret"}')
        self.world.result(self.search.ready())
        self.assertEqual(len(self.world.result(self.search.find("egret"))), 2)
        self.forget(bob.key)
        self.world.result(self.search.ready())
        self.assertEqual(self.world.result(self.search.find("egret")), [])
        self.assertEqual(self.find("swan"), [1])

    def test_several(self) -> None:
        parts = self.view(Search(text, name="parts", tokenize="trigram"))
        self.assertEqual([hit.seq for hit in self.world.result(parts.find("ron alo"))], [2])
        self.assertEqual(sorted(hit.seq for hit in self.world.result(parts.find("lone"))), [2])

    def test_a_function_that_fails(self) -> None:
        def broken(entry: Entry) -> str:
            raise RuntimeError("mine")

        search = self.view(Search(broken, name="broken"))
        self.assertEqual(self.rows(search, "SELECT DISTINCT error FROM _skipped"), ["RuntimeError: mine"])

    def test_without_fts5(self) -> None:
        class Poor(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if "USING fts5" in sql:
                    raise sqlite3.OperationalError("no such module: fts5")
                return super().execute(sql, *parameters)

        real = sqlite3.connect
        poor = patch("sqlite3.connect", lambda *a, **k: real(*a, factory=Poor, **k))
        with poor, self.assertRaises(SearchUnavailableError) as caught:
            self.world.result(self.store.view(Search(text, name="other")))
        self.assertIn("FTS5", str(caught.exception))

    def test_a_tokenizer_that_is_none(self) -> None:
        with self.assertRaises(ViewError):
            self.world.result(self.store.view(Search(text, name="other", tokenize="nonsense")))


class AnythingTests(SynchronousTestCase):
    """Whatever is typed."""

    @given(st.text(st.sampled_from("ab \"*^():-+{}'\0ANDORTNE,.;\ud800é"), max_size=30))
    def test_nothing_that_is_typed_is_an_error(self, what: str) -> None:
        db = sqlite3.connect(":memory:")
        self.addCleanup(db.close)
        db.execute(Search(text).schema)
        db.execute("INSERT INTO found VALUES ('a b', x'00', 1, 1)")
        for order in ("rank", "newest"):
            find(db, what, 10, 0, order)  # type: ignore[arg-type]

"""Ring 9: seven programs as they had to be written before there were doors for them, and what they are now.

``before/`` has them as they were, on ``open_store``, readers and cursors alone: each does what an example or a program
of a how-to does, and the document says how many lines either has.
"""

from __future__ import annotations

import io
import re
import shutil
import sqlite3
import sys
import tokenize
import urllib.request
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from gossiplog import blocking
from tests.documents import blocks
from tests.processes import ProcessTestCase

ROOT = Path(__file__).resolve().parent.parent
BEFORE = ROOT / "tests" / "before"

AFTER = {
    "screen": ("docs/howto/reading.rst:screen.py",),
    "web": ("docs/howto/asyncio.rst:web.py",),
    "cron": ("docs/howto/field-data.rst:measure.py", "docs/howto/field-data.rst:bring.py"),
    "birds": ("examples/birds.py",),
    "field_office": ("examples/field_office.py",),
    "board": ("docs/howto/order.rst:board.py",),
    "test_chat": ("docs/howto/testing.rst:test_chat.py",),
}


def source_of(place: str) -> str:
    """Return an example, or the block of a document that begins with the name of a file."""
    path, _, name = place.partition(":")
    if not name:
        return (ROOT / path).read_text()
    return next(block.text for block in blocks(ROOT / path) if block.text.startswith(f"# {name}\n"))


def count_lines(source: str) -> int:
    """Count lines with code: not those that are empty, a comment, or a text that is no value of anything."""
    found: set[int] = set()
    begins = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
            begins = begins or token.type == tokenize.NEWLINE
        elif token.type != tokenize.ENDMARKER:
            if not (begins and token.type == tokenize.STRING):
                found.update(range(token.start[0], token.end[0] + 1))
            begins = False
    return len(found)


class CountTests(ProcessTestCase):
    def test_lines(self) -> None:
        """Counted is code."""
        head, body = (
            '"""One\ntwo."""\n\n# three\na = (\n    1,\n)\n\n',
            'def f():\n    """Four."""\n    return a\n',
        )
        self.assertEqual((count_lines(head), count_lines(head + body)), (3, 5))

    def test_the_table(self) -> None:
        """It has the seven programs, and the lines that they have."""
        text = (ROOT / "docs" / "seven.rst").read_text()
        rows = re.findall(r"^``(\w+)`` .*?(\d+) +(\d+)$", text, re.M)
        said = {name: (int(before), int(after)) for name, before, after in rows}
        counted = {
            name: (
                count_lines((BEFORE / f"{name}.py").read_text()),
                sum(count_lines(source_of(each)) for each in places),
            )
            for name, places in AFTER.items()
        }
        self.assertEqual(said, counted)
        self.assertEqual(sorted(path.stem for path in BEFORE.glob("*.py")), sorted(AFTER))


class SameTests(ProcessTestCase):
    """Both do the same."""

    def run_both(self, name: str, begin: Callable[[Path], object] = lambda place: None) -> list[str]:
        """Run both versions, each in a directory of its own; return what they print."""
        printed = []
        sources = [(BEFORE / f"{name}.py").read_text(), *map(source_of, AFTER[name])]
        for number, source in enumerate(sources):
            place = self.place / f"run{number}"
            place.mkdir()
            begin(place)
            (place / "program.py").write_text(source)
            process = self.start(sys.executable, "program.py", cwd=place)
            self.assertEqual((process.finish(), process.err), (0, ""))
            printed.append(process.out)
        return printed

    def test_screen(self) -> None:
        def begin(place: Path) -> None:
            with blocking.Store(place / "square") as store:
                store.writer("ann", encoding="json").append_many([{"said": n} for n in range(9)])

        self.assertEqual(self.run_both("screen", begin), ["7\n8\nmore\n"] * 2)

    def test_board(self) -> None:
        before, after = self.run_both("board")
        self.assertEqual(before, after)
        self.assertEqual(len(after.splitlines()), 3)

    def test_birds(self) -> None:
        for note in ("at the weir, with young", "on the meadow"):
            self.assertEqual(self.example("birds", "see", "heron", note).finish(), 0)
        for asked in (["counts"], ["find", "weir NOT meadow"]):
            after, before = (
                self.example("birds", *asked),
                self.start(sys.executable, BEFORE / "birds.py", *asked),
            )
            self.assertEqual((after.finish(), before.finish(), before.err), (0, 0, ""))
            self.assertEqual(before.out, after.out)

    def test_field_office(self) -> None:
        with blocking.Store(self.place / "office") as store:
            readings = [{"celsius": n / 10} for n in range(1500)]
            store.writer("one", encoding="json").append_many([*readings, {"celsius": None}])
        rows = []
        for number, program in enumerate((BEFORE / "field_office.py", ROOT / "examples" / "field_office.py")):
            process = self.start(sys.executable, program, "office", f"{number}.sqlite")
            self.assertEqual((process.finish(), process.out), (0, "loaded 1501 entries\n"))
            with closing(sqlite3.connect(self.place / f"{number}.sqlite")) as database:
                rows.append(database.execute("SELECT * FROM readings ORDER BY seq").fetchall())
        self.assertEqual((len(rows[0]), rows[0]), (1500, rows[1]))

    def test_cron(self) -> None:
        self.run_gossiplog("init", "--store", "office")
        listening = "tcp:0:interface=127.0.0.1"
        office = self.gossiplog("run", "--store", "office", "--network", "field-2026", "--listen", listening)
        address = office.ready()["listening"][0]
        process = self.start(sys.executable, BEFORE / "cron.py", address)
        self.assertEqual((process.finish(), process.out), (0, "on disk: 1 to 100\nreceived 0\n"))
        for place, out in zip(AFTER["cron"], ("on disk: 101 to 200\n", "received 0 sent 100\n"), strict=True):
            (self.place / "program.py").write_text(source_of(place).replace("tcp:127.0.0.1:4000", address))
            process = self.start(sys.executable, "program.py")
            self.assertEqual((process.finish(), process.out), (0, out))
        self.assertEqual(office.interrupt(), 0)
        self.assertEqual(len(self.logged("office")), 200)

    def test_chat(self) -> None:
        process = self.start(sys.executable, "-m", "twisted.trial", BEFORE / "test_chat.py")
        self.assertEqual(process.finish(), 0, process.out)

    def test_web(self) -> None:
        if not all(map(find_spec, ("fastapi", "uvicorn", "websockets"))):
            self.skipTest("needs fastapi, uvicorn and websockets")
        shutil.copy(BEFORE / "web.py", self.place)
        process = self.start(sys.executable, "-m", "uvicorn", "web:app", "--port", "0")
        address = process.wait_for_error(r"running on (http://127.0.0.1:\d+)")[1]
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}/notes", b'{"seen": "heron"}', headers)
        for asked, answer in ((request, b'{"seq":1}'), (f"{address}/notes", b'[{"seen":"heron"}]')):
            with urllib.request.urlopen(asked, timeout=30) as response:
                self.assertEqual(response.read(), answer)
        process.terminate()

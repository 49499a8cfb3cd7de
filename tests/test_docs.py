"""Ring 9: what the documents say is so: every block is run, every table and link is compared with what it speaks of.

In a ``console`` block a line ``$ COMMAND`` is given to a shell, one shell per document, and the lines below it are
what it has to print, ``...`` standing for anything; see ``documents.VARYING`` for what may differ.  A ``python`` block
is a program; one that begins with ``# NAME.py`` is saved under that name for the shell.  Both see one directory per
document, in which there are only ``tests`` and ``examples`` at its start.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
from html import escape
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import gossiplog
from gossiplog import limits
from gossiplog.errors import ByeCode
from gossiplog.gossip import messages
from gossiplog.gossip.messages import RangeKind
from gossiplog.wire import codec
from tests.documents import (
    Shell,
    Step,
    anchor,
    blocks,
    cells,
    free_ports,
    matches,
    number,
    prose,
    steps,
    titles,
)
from tests.test_wheel import two_wheels

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path(os.environ.get("GOSSIPLOG_SOURCE", ROOT))
DOCUMENTS = [ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst"))]

CHECKOUT = "python3 tools/run.py "
"""Commands that set up an environment of their own are read here and run elsewhere."""


BEYOND_PYTHON = ("curl", "ssh-keygen")
"""Programs that commands in the documents use, and that not every system has."""


class BlockTests(SynchronousTestCase):
    """Every block of every document does what is printed there; one test per document, made below."""

    def check(self, path: Path) -> None:
        """Run all blocks of one document in order."""
        if any("uvicorn" in block.text for block in blocks(path)) and find_spec("uvicorn") is None:
            raise SkipTest("needs the extra frameworks")
        if any("import Dht" in block.text for block in blocks(path)) and find_spec("libtorrent") is None:
            raise SkipTest("needs the extra dht")
        if any("import Lan" in block.text for block in blocks(path)) and find_spec("zeroconf") is None:
            raise SkipTest("needs the extra lan")
        for program in BEYOND_PYTHON:
            used = any(re.search(rf"(?m)^\$ .*\b{program} ", block.text) for block in blocks(path))
            if used and shutil.which(program) is None:
                raise SkipTest(f"needs {program}")
        installs = any("-m venv" in block.text for block in blocks(path) if block.language == "console")
        if installs and "GOSSIPLOG_DAY" not in os.environ:
            raise SkipTest("takes a minute; see CONTRIBUTING.rst")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        if installs:
            two_wheels(directory)
        for name in ("tests", "examples"):
            (directory / name).symlink_to(ROOT / name)
        ports = free_ports()
        saved: set[str] = set()
        shell = Shell(directory, is_clean=installs)
        self.addCleanup(shell.close)
        for block in blocks(path):
            for port, free in ports.items():
                block = block._replace(text=re.sub(rf"\b{port}\b", free, block.text))
            place = f"{path.relative_to(ROOT)}:{block.line}"
            if block.language == "python":
                named = re.match(r"# (\w+\.py)\n", block.text)
                name = named[1] if named else "block.py"
                (directory / name).write_text(block.text)
                if named:
                    compile(block.text, place, "exec")
                    saved.add(name)
                else:
                    self.check_step(shell, path, Step(block.line, "python3 block.py", "..."))
            elif block.language == "console":
                for step in steps(block):
                    saved -= set(re.findall(r"\w+\.py", step.command))
                    saved -= {f"{name}.py" for name in re.findall(r"uvicorn (\w+):", step.command)}
                    if not step.command.startswith(CHECKOUT):
                        self.check_step(shell, path, step)
            else:
                self.assertIn(
                    block.language, ("text", "ini", "systemd", "yaml"), f"{place}: not a language that is run"
                )
        self.assertEqual(saved, set(), "programs that no console block runs")

    def check_step(self, shell: Shell, path: Path, step: Step) -> None:
        """Run one command and compare."""
        printed, status = shell.run(step.command, step.output)
        shown = (
            f"{path.relative_to(ROOT)}:{step.line}: $ {step.command}\n"
            f"--- wanted\n{step.output}\n--- printed\n{printed}"
        )
        self.assertEqual(status, 0, f"exit status {status}\n{shown}")
        self.assertTrue(step.output == "..." or matches(step.output, printed), shown)


def _test_of(path: Path) -> None:
    name = "_".join(path.relative_to(ROOT).with_suffix("").parts).replace("-", "_").lower()

    def test(self: BlockTests) -> None:
        self.check(path)

    test.__doc__ = f"Run the blocks of {path.relative_to(ROOT)}."
    setattr(BlockTests, f"test_{name}", test)


for _path in DOCUMENTS:
    if any(block.language in ("python", "console") for block in blocks(_path)):
        _test_of(_path)


class TableTests(SynchronousTestCase):
    """The tables of the specification are those of the code."""

    wire = ROOT / "docs" / "protocol" / "wire.rst"
    session = ROOT / "docs" / "protocol" / "session.rst"
    rooms = ROOT / "docs" / "protocol" / "rooms.rst"
    security = ROOT / "docs" / "security.rst"

    def test_limits(self) -> None:
        """Every limit is listed once, with its value."""
        rows = [
            row
            for path in (self.wire, self.session, self.rooms)
            for row in cells(path, "name", "value", "of what")
        ]
        listed = {name: number(value) for name, value, _ in rows}
        self.assertEqual(len(listed), len(rows))
        ours = {name: value for name, value in vars(limits).items() if name.isupper()}
        self.assertEqual(sorted(listed.keys() ^ ours.keys()), [])
        self.assertEqual(
            {name: (listed[name], ours[name]) for name in ours if listed[name] != ours[name]}, {}
        )

    def test_limits_and_their_tests(self) -> None:
        """The page on security has every limit too, with its value and at least one test of it."""
        rows = re.findall(
            r"^   \* - ``([A-Z_]+)``\n     - (.+)\n     - [^\0]+?\n     - (``test_[^\0]+?)\n(?=   \*|\n)",
            self.security.read_text(),
            re.MULTILINE,
        )
        listed = {name: number(value) for name, value, _ in rows}
        self.assertEqual(len(listed), len(rows))
        self.assertEqual(listed, {name: value for name, value in vars(limits).items() if name.isupper()})
        unnamed = [name for name, _, tests in rows if not re.fullmatch(r"(``[\w.]+``,?\s*)+", tests)]
        self.assertEqual(unnamed, [])

    def test_codes(self) -> None:
        """Every code of BYE is listed, in order."""
        rows = cells(self.session, "code", "name", "why the session ends")
        self.assertEqual([(int(code), name) for code, name, _ in rows], [(c.value, c.name) for c in ByeCode])

    def test_messages(self) -> None:
        """Every message is listed with its type, its elements and how many of them are needed."""
        rows = cells(self.wire, "message", "type", "elements after the type", "at least")
        listed = [(name, int(kind), int(least)) for name, kind, _, least in rows]
        self.assertEqual(
            listed, [(row.kind.__name__.upper(), row.number, row.elements) for row in codec._ROWS]
        )
        elements = {name: tuple(names.split(", ")) for name, _, names, _ in rows}
        for kind in (row.kind for row in codec._ROWS if row.kind is not messages.Fork):
            self.assertEqual(sorted(elements[kind.__name__.upper()]), sorted({*kind._fields} - {"reserved"}))
        self.assertEqual(elements["FORK"], gossiplog.ForkProof._fields)

    def test_layouts(self) -> None:
        """Each message has a section whose layout begins with its type number."""
        text = self.wire.read_text()
        for row in codec._ROWS:
            name = row.kind.__name__.upper()
            section = re.search(rf"^(?:.*, )?{name}(?:, .*)?\n~+\n", text, re.MULTILINE)
            self.assertIsNotNone(section, name)
            assert section is not None
            self.assertRegex(text[section.end() :][:200], rf"(?m)^   \[{row.number}, ")

    def test_vectors(self) -> None:
        """Every file of vectors has a section."""
        sections = titles(ROOT / "docs" / "protocol" / "vectors.rst")
        names = [path.name for path in sorted((ROOT / "tests" / "vectors").glob("*.json"))]
        missing = [name for name in names if not any(title.endswith(anchor(name)) for title in sections)]
        self.assertEqual((missing, bool(names)), ([], True))

    def test_range_kinds(self) -> None:
        """The kinds of ranges are listed with their numbers."""
        kinds = ", ".join(f"{kind.value} {kind.name}" for kind in RangeKind)
        self.assertIn(kinds, self.wire.read_text())


class TextTests(SynchronousTestCase):
    """Links lead somewhere, the first commands exist, the words are ours."""

    def test_columns_of_tables(self) -> None:
        """No text reaches from one column into the next: that table would not be shown; README is built by nobody."""
        for path in DOCUMENTS:
            ruler, rows = "", list[str]()
            for line in path.read_text().splitlines():
                if re.fullmatch(r" *=+(  +=+)+", line):
                    ruler = "" if ruler and len(rows) > 1 else line
                    rows = []
                elif ruler:
                    rows.append(line)
                    gaps = [found.span() for found in re.finditer(r"(?<==) +", ruler)]
                    torn = [line for begin, end in gaps if line[begin:end].strip()]
                    self.assertEqual(torn, [], path.name)

    def test_links_between_documents(self) -> None:
        """Each link names a file that is there, and a section of it if it names one."""
        broken = []
        for path in DOCUMENTS:
            targets = re.findall(r"`[^`<]+<([^`>]+)>`__?", prose(path))
            targets += re.findall(r"^\.\. (?:include|image):: (\S+)$", path.read_text(), re.MULTILINE)
            for target in targets:
                if re.match(r"[a-z]+:", target):
                    continue
                file, _, section = target.partition("#")
                other = (path.parent / file).resolve() if file else path
                if not (other.exists() or (SOURCE / other.relative_to(ROOT)).exists()):
                    broken.append(f"{path.relative_to(ROOT)}: no file {target}")
                elif section and section not in titles(other):
                    broken.append(f"{path.relative_to(ROOT)}: no section {target}")
        self.assertEqual(broken, [], "\n" + "\n".join(broken))

    def test_links_inside_documents(self) -> None:
        """Each reference without a target names a section of its own document."""
        broken = [
            f"{path.relative_to(ROOT)}: {name}"
            for path in DOCUMENTS
            for name in re.findall(r"(?<!`)`([^`<]+)`_(?!_)", prose(path))
            if anchor(name.replace("\n", " ")) not in titles(path)
        ]
        self.assertEqual(broken, [], "\n" + "\n".join(broken))

    def test_every_document_is_linked(self) -> None:
        """Whoever begins with README.rst finds every other document."""
        seen: set[Path] = set()
        todo = [ROOT / "README.rst"]
        while todo:
            path = todo.pop()
            if path not in seen and path.suffix == ".rst" and path.exists():
                seen.add(path)
                targets = re.findall(r"`[^`<]+<([^`>:#]+)(?:#[^`>]*)?>`__?", prose(path))
                targets += re.findall(r"^\.\. include:: (\S+)$", path.read_text(), re.MULTILINE)
                todo += [(path.parent / target).resolve() for target in targets]
        outside = {ROOT / "docs" / "index.rst"}  # for Sphinx
        self.assertEqual(sorted(set(DOCUMENTS) - seen - outside), [])

    def test_first_commands(self) -> None:
        """README.rst begins with commands whose files are there, each in one line."""
        found = [
            step.command
            for block in blocks(ROOT / "README.rst")
            if block.language == "console"
            for step in steps(block)
            if step.command.startswith(CHECKOUT)
        ]
        names = [shlex.split(command)[2:] for command in found]
        self.assertEqual(
            names,
            [
                ["python", "examples/persisted_chat.py", "alice", "bob"],
                ["python", "examples/persisted_chat.py", "bob", "alice"],
                ["tox"],
            ],
        )
        self.assertTrue((ROOT / "examples" / "persisted_chat.py").exists())
        if not (SOURCE / "setup.cfg").exists():
            raise SkipTest("needs the checkout; GOSSIPLOG_SOURCE can say where it is")
        self.assertTrue((SOURCE / "tools" / "run.py").exists())
        self.assertTrue((SOURCE / "tox.ini").exists())

    def test_the_picture_shows_the_text(self) -> None:
        """What README.rst shows of the chat is in the picture; ``docs/make_chat_picture.py`` makes both."""
        picture = (ROOT / "docs" / "chat.svg").read_text()
        [chat] = [block for block in blocks(ROOT / "README.rst") if block.language == "text"]
        wanted = [f">{escape(line)}</text>" for line in chat.text.splitlines()]
        self.assertEqual([line for line in wanted if line not in picture], [])

    def test_diagrams_are_those_of_the_code(self) -> None:
        """``docs/make_diagrams.py`` draws them from its tables; what it draws is what is there."""
        drawing = runpy.run_path(str(ROOT / "docs" / "make_diagrams.py"))
        self.assertGreaterEqual(len(drawing["PICTURES"]), 4)
        for file, draw in drawing["PICTURES"].items():
            self.assertEqual((ROOT / "docs" / "diagrams" / file).read_text(), draw(), file)

    def test_words(self) -> None:
        """Words that say nothing stay out."""
        pattern = re.compile(r"\b(manager|handler|engine|utils?|helper)s?\b", re.IGNORECASE)
        found = [
            f"{path.relative_to(ROOT)}: {word[0]}"
            for path in DOCUMENTS
            for word in pattern.finditer(prose(path))
        ]
        self.assertEqual(found, [])

    def test_named_tests_exist(self) -> None:
        """A test that the documents name as ``module.Class.test`` is there."""
        missing = []
        for path in DOCUMENTS:
            for module, case, name in re.findall(r"``(test_\w+)\.(\w+)\.(test_\w+)``", path.read_text()):
                file = ROOT / "tests" / f"{module}.py"
                source = file.read_text() if file.exists() else ""
                after = re.search(
                    rf"^class {case}\b[^\0]*?^    ((async )?def {name}\b|{name} = )", source, re.MULTILINE
                )
                if after is None or re.search(r"^class ", after[0][6:], re.MULTILINE):
                    missing.append(f"{path.relative_to(ROOT)}: {module}.{case}.{name}")
        self.assertEqual(missing, [])

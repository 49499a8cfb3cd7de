"""Ring 8: ``tools/run.py`` runs and installs nothing whose hash is not known."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import shutil
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.processes import Process, ProcessTestCase
from tests.test_shape import SOURCE

TOOLS = SOURCE / "tools"

STUB = """
import json, os, sys
with open(os.environ["TOLD"], "a") as told:
    told.write(json.dumps(sys.argv[1:]) + "\\n")
"""


class RunTests(ProcessTestCase):
    """In a checkout of its own, with a pip that only remembers what it was told."""

    def setUp(self) -> None:
        super().setUp()
        if not (TOOLS / "run.py").exists():
            raise SkipTest("needs the checkout; GOSSIPLOG_SOURCE can say where it is")

    def checkout(self, digest: str | None = None) -> None:
        """Make it; ``digest`` is what is expected of pip, if not that of the stub."""
        tools = self.place / "tools"
        tools.mkdir()
        wheel = tools / "pip-1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as stub:
            stub.writestr("pip/__main__.py", STUB)
        digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
        source = (TOOLS / "run.py").read_text()
        source, count = re.subn(r'(?m)^PIP_SHA256 = ".*"$', f'PIP_SHA256 = "{digest}"', source)
        self.assertEqual(count, 1)
        (tools / "run.py").write_text(source)
        for name in ("setup.cfg", "pyproject.toml", "tools/requirements.txt"):
            shutil.copy(SOURCE / name, self.place / name)

    def run_it(self) -> tuple[Process, list[list[str]]]:
        """Run a command with it; return the process and what pip was told."""
        told = self.place / "told"
        process = self.start(
            *(sys.executable, "tools/run.py", "python", "-c", "print('hello')"), env={"TOLD": str(told)}
        )
        process.finish()
        return process, [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []

    def test_what_pip_is_told(self) -> None:
        """Everything from elsewhere by its hash; then ourselves, with nothing from there; the second time nothing."""
        self.checkout()
        process, told = self.run_it()
        self.assertEqual(process.out, "hello\n", process.err)
        pinned, ours = told
        self.assertIn("--require-hashes", pinned)
        self.assertEqual(pinned[-1], str(self.place / "tools" / "requirements.txt"))
        self.assertLess({"--no-index", "--no-build-isolation"}, set(ours))
        self.assertEqual(len(self.run_it()[1]), 2)

    def test_another_pip(self) -> None:
        """It is not even started."""
        self.checkout("0" * 64)
        process, told = self.run_it()
        self.assertEqual((process.finish(), told), (1, []))
        self.assertIn("is not the file whose hash stands in tools/run.py", process.err)
        self.assertFalse((self.place / ".venv" / "complete").exists())

    def test_pins(self) -> None:
        """Each has one version and hashes; all that setup.cfg asks for is there, and what finds peers near by.

        No registry is named.
        """
        wheel = max(TOOLS.glob("pip-*.whl"))
        self.assertIn(hashlib.sha256(wheel.read_bytes()).hexdigest(), (TOOLS / "run.py").read_text())
        text = (TOOLS / "requirements.txt").read_text()
        pins = [
            pin.strip() for pin in re.sub(r"\s*\\\n\s*", " ", text).splitlines() if not pin.startswith("#")
        ]
        for pin in pins:
            self.assertRegex(pin, r"\A[\w.-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+\Z")
        named = {pin.partition("==")[0].replace(".", "-") for pin in pins}
        setup = ConfigParser()
        setup.read(SOURCE / "setup.cfg")
        asked = setup["options"]["install_requires"] + setup["options.extras_require"]["lan"]
        for line in asked.split("\n"):
            if line.strip():
                self.assertIn(re.split(r"[ >=]", line.strip())[0].replace(".", "-"), named)
        for line in (TOOLS / "requirements.in").read_text().splitlines():
            self.assertIn(re.split(r"[ >=]", line)[0], named | {"#"})


class StagedTests(SynchronousTestCase):
    """``tools/staged_trial.py --needs-reactor``."""

    def test_classes_that_run_on_the_reactor(self) -> None:
        """Wherever their base is; of a module no other class."""
        if not (TOOLS / "staged_trial.py").exists():
            raise SkipTest("needs the checkout; GOSSIPLOG_SOURCE can say where it is")
        place = Path(self.mktemp())
        (place / "tests" / "far").mkdir(parents=True)
        for name, text in (
            ("test_own", "from twisted.trial.unittest import TestCase, SynchronousTestCase as Plain\n"),
            ("test_own", "class One(TestCase): pass\nclass Other(Plain): pass\nclass Third(One): pass\n"),
            ("far/test_taken", "from tests.case import Case as Mine\nclass Two(Mine): pass\n"),
            ("case", "from twisted.trial import unittest\nclass Case(unittest.TestCase): pass\n"),
            ("test_plain", "from tests.test_own import Other\nimport unittest\nclass A(Other): pass\n"),
            (
                "test_plain",
                "class TestCase: pass\nclass B(TestCase): pass\nclass C(unittest.TestCase): pass\n",
            ),
        ):
            with (place / "tests" / f"{name}.py").open("a") as file:
                file.write(text)
        self.assertEqual(
            runpy.run_path(str(TOOLS / "staged_trial.py"))["classes_with_reactor"](place),
            {
                "tests.far.test_taken": ["tests.far.test_taken.Two"],
                "tests.test_own": ["tests.test_own.One", "tests.test_own.Third"],
            },
        )


class PythonTests(SynchronousTestCase):
    def test_each_version_that_is_promised_is_run(self) -> None:
        """The classifiers, ``python_requires`` and tox name the same Pythons, and tox runs every test with each."""
        if not (SOURCE / "tox.ini").exists():
            raise SkipTest("needs the checkout; GOSSIPLOG_SOURCE can say where it is")
        setup, tox = ConfigParser(), ConfigParser(interpolation=None)
        setup.read(SOURCE / "setup.cfg")
        tox.read(SOURCE / "tox.ini")
        promised = re.findall(r"Python :: (3\.\d+)$", setup["metadata"]["classifiers"], re.MULTILINE)
        self.assertEqual(setup["options"]["python_requires"], f">={promised[0]}")
        minors = ",".join(version.removeprefix("3.") for version in promised)
        section = tox[f"testenv:py3{{{minors}}}"]
        self.assertEqual(section["commands"], "{[testenv:tests]commands}")

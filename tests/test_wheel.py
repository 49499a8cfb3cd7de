"""Ring 11: sdist and wheel hold what they should, and the wheel works where nothing else is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from twisted.trial.unittest import SkipTest, SynchronousTestCase

SOURCE = Path(os.environ.get("GOSSIPLOG_SOURCE", Path(__file__).resolve().parent.parent))
NOT_SOURCE = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "node_modules", "__pycache__", "_trial_temp*"
)
PLUGIN = "twisted/plugins/gossiplog_plugin.py"
STEP_SECONDS = 120
"""For a step that hangs; the slowest takes a quarter of it."""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without our import path and return what it printed; fail with that if it fails."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_SECONDS,
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """Call one of setuptools' build hooks and return the file it made."""
    call = f"import setuptools.build_meta as b, sys; b.build_{kind}(sys.argv[1])"
    run(sys.executable, "-c", call, out, cwd=source)
    [made] = out.iterdir()
    return made


@cache
def built() -> tuple[Path, Path]:
    """Build the sdist from a copy of the checkout, and the wheel from the sdist, once for all tests."""
    if not (SOURCE / "setup.cfg").exists():
        raise SkipTest("needs the checkout; GOSSIPLOG_SOURCE can say where it is")
    try:
        if int(version("setuptools").partition(".")[0]) < 77:
            raise SkipTest("needs setuptools 77 or later: install gossiplog[test]")
    except PackageNotFoundError:
        raise SkipTest("needs setuptools: install gossiplog[test]") from None
    place = Path(tempfile.mkdtemp(dir=os.getcwd()))
    shutil.copytree(SOURCE, place / "copy", ignore=NOT_SOURCE)
    sdist = build("sdist", place / "copy", place / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "unpacked", filter="data")
    [unpacked] = (place / "unpacked").iterdir()
    return sdist, build("wheel", unpacked, place / "wheel")


def two_wheels(place: Path) -> None:
    """Put the wheel into a directory, and one that says to be of the version after it."""
    wheel = built()[1]
    name, old, rest = wheel.name.split("-", 2)
    new = ".".join([*old.split(".")[:-1], str(int(old.split(".")[-1]) + 1)])
    shutil.copy(wheel, place)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(place / f"{name}-{new}-{rest}", "w") as other:
        for entry in one.infolist():
            content = one.read(entry)
            if ".dist-info/" in entry.filename:
                content = content.replace(f"{name}-{old}".encode(), f"{name}-{new}".encode())
                content = content.replace(f"\nVersion: {old}\n".encode(), f"\nVersion: {new}\n".encode(), 1)
            other.writestr(entry.filename.replace(f"{name}-{old}", f"{name}-{new}"), content)


class ContentTests(SynchronousTestCase):
    """What is in the two files."""

    def test_wheel(self) -> None:
        """The whole package, its type marker, its page and the plugin; no tests, and nothing that hides Twisted."""
        names = set(zipfile.ZipFile(built()[1]).namelist())
        package = {
            path.relative_to(SOURCE).as_posix()
            for path in (SOURCE / "gossiplog").rglob("*")
            if path.suffix == ".py"
            or path.name == "py.typed"
            or (path.parent.name == "static" and path.is_file())
        }
        self.assertEqual({name for name in names if ".dist-info/" not in name}, package | {PLUGIN})

    def test_sdist(self) -> None:
        """Everything that tests, documents and examples need, and nothing that a tool left behind."""
        with tarfile.open(built()[0]) as archive:
            names = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
        wanted = {
            "gossiplog/py.typed",
            "gossiplog/app/web/static/index.html",
            "contrib/systemd/gossiplog.service",
            "tests/test_wheel.py",
            "LICENSE",
            "CHANGELOG.rst",
            "pyproject.toml",
            PLUGIN,
        }
        self.assertEqual(wanted - names, set())
        tops = {name for name in ("tests", "examples", "docs", "bench") if (SOURCE / name).is_dir()}
        self.assertEqual(tops - names, set())
        left = {"node_modules", "__pycache__", ".tox", ".venv"}
        self.assertEqual([name for name in names if left & set(PurePosixPath(name).parts)], [])


class InstalledTests(SynchronousTestCase):
    """A new environment with the wheel and what it depends on, used from another directory."""

    def test_commands(self) -> None:
        """``gossiplog --help`` works, and twistd knows the service."""
        wheel = built()[1]
        place = Path(tempfile.mkdtemp(dir=os.getcwd()))
        [pip] = (SOURCE / "tools").glob("pip-*.whl")
        run(sys.executable, "-m", "venv", "--without-pip", place / "venv", cwd=place)
        scripts = place / "venv" / "bin"
        install = ("install", "--no-compile", "--quiet", "--retries", "1", wheel)
        try:
            run(scripts / "python", pip / "pip", *install, cwd=place)
        except AssertionError as error:
            if "NameResolutionError" in str(error):
                raise SkipTest("no package index is found here") from None
            raise
        elsewhere = place / "elsewhere"
        elsewhere.mkdir()
        self.assertIn("gossiplog", run(scripts / "gossiplog", "--help", cwd=elsewhere))
        self.assertRegex(run(scripts / "twistd", "--help", cwd=elsewhere), r"(?m)^\s+gossiplog\s+\w")
        found = run(scripts / "python", "-c", "import gossiplog; print(gossiplog.__file__)", cwd=elsewhere)
        self.assertTrue(found.startswith(str(place)), found)

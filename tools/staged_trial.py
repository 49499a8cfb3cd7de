"""Run the tests away from the checkout, against the installed wheel: ``staged_trial.py DIR [OPTIONS] [TESTS]``.

Copies what the tests read (themselves, examples, documents, benchmarks) to DIR and runs trial there with the
options and tests given.  ``--needs-reactor`` stands for the modules whose tests use a reactor: those with an
asynchronous ``TestCase``.  With ``--coverage`` trial runs under coverage and writes its data into the checkout.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READ_BY_TESTS = ("tests", "examples", "docs", "bench", "README.rst", "CHANGELOG.rst", "CONTRIBUTING.rst")
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "node_modules", "_build", "_trial_temp*", ".hypothesis")


def stage(directory: Path) -> None:
    """Copy what the tests read to an emptied directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name in READ_BY_TESTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=LEFT_BEHIND)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, directory / name)


def needs_reactor(path: Path) -> bool:
    """Return whether a test module names trial's asynchronous ``TestCase``."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module == "twisted.trial.unittest":
            if any(alias.name == "TestCase" for alias in node.names):
                return True
        elif isinstance(node, ast.Attribute) and node.attr == "TestCase":
            return True
    return False


def main() -> None:
    """Stage the tests, then become trial."""
    directory, arguments = Path(sys.argv[1]), sys.argv[2:]
    stage(directory)
    if "--needs-reactor" in arguments:
        arguments.remove("--needs-reactor")
        modules = [path for path in sorted(directory.glob("tests/**/test_*.py")) if needs_reactor(path)]
        if not modules:
            sys.exit("staged_trial.py: no test needs a reactor")
        arguments += [".".join(path.relative_to(directory).with_suffix("").parts) for path in modules]
    under = []
    if "--coverage" in arguments:
        arguments.remove("--coverage")
        under = ["-m", "coverage", "run", f"--rcfile={ROOT}/pyproject.toml", f"--data-file={ROOT}/.coverage"]
    os.chdir(directory)
    os.execv(sys.executable, [sys.executable, *under, "-m", "twisted.trial", *arguments])


if __name__ == "__main__":
    main()

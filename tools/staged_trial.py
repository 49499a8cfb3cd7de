"""Run the tests away from the checkout, against the installed wheel: ``staged_trial.py DIR [OPTIONS] [TESTS]``.

Copies what the tests read (themselves, examples, documents, benchmarks) to DIR and runs trial there with the
options and tests given.  ``tests`` stands for all modules, ``--needs-reactor`` for the classes that come of trial's
asynchronous ``TestCase``; either way each module is run on its own.  With ``--coverage`` trial runs under coverage, in
one process, and writes its data into the checkout.
"""

from __future__ import annotations

import ast
import gc
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from twisted.scripts.trial import run as run_trial

ROOT = Path(__file__).resolve().parent.parent
READ_BY_TESTS = (
    "tests",
    "examples",
    "docs",
    "bench",
    "contrib",
    "README.rst",
    "CHANGELOG.rst",
    "CONTRIBUTING.rst",
)
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "node_modules", "_build", "_trial_temp*", ".hypothesis")
MOST_AT_ONCE = 4
"""Modules: their tests start processes and sync to disk, and wait for that with deadlines."""

TOLD = 20
"""Modules of which is said how much of a core they took, of those that took most."""

ASYNCHRONOUS = "twisted.trial.unittest.TestCase"

IMPORTED_BY_MOST = ("gossiplog.node", "gossiplog.testing", "hypothesis", "twisted.trial.reporter")
"""None of them imports a reactor: which one that is, options of trial say."""


def stage(directory: Path) -> None:
    """Copy what the tests read to an emptied directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name in READ_BY_TESTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=LEFT_BEHIND)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, directory / name)


def modules(directory: Path) -> dict[str, list[str]]:
    """Return the test modules, and what of each is run: all."""
    return {name: [name] for name in files(directory) if name.rpartition(".")[2].startswith("test_")}


def files(directory: Path) -> dict[str, Path]:
    """Return the files below ``tests``, by the names of the modules in them."""
    found = sorted(directory.glob("tests/**/*.py"))
    return {".".join(path.relative_to(directory).with_suffix("").parts): path for path in found}


def classes_with_reactor(directory: Path) -> dict[str, list[str]]:
    """Return the test modules with classes that come of trial's asynchronous ``TestCase``, and those classes.

    To all others it is the same which reactor trial has, for they run none or start processes.
    """
    bases: dict[str, list[str]] = {}
    for module, path in files(directory).items():
        tree, known = ast.parse(path.read_bytes()), {}
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        known |= {node.name: f"{module}.{node.name}" for node in classes}
        for node in classes:
            named = [ast.unparse(base).partition(".") for base in node.bases]
            bases[known[node.name]] = [known.get(first, first) + dot + rest for first, dot, rest in named]

    def is_asynchronous(name: str) -> bool:
        return name == ASYNCHRONOUS or any(map(is_asynchronous, bases.get(name, ())))

    found = {
        name: [one for one in bases if one.rpartition(".")[0] == name and is_asynchronous(one)]
        for name in modules(directory)
    }
    return {name: classes for name, classes in found.items() if classes}


def run_apart(options: list[str], tests: dict[str, list[str]]) -> list[str]:
    """Run each module in a trial of its own, some more at once than there are cores; return those that failed.

    Some wait for processes and disks most of the time.

    Each is in a child by fork, which finds imported what nearly all need, and nothing else is shared.  What a module
    prints comes in one piece, when it is done.  (trial's own ``--jobs`` talks to its workers over file descriptors that
    the tests of processes close.)
    """
    sys.path[0] = os.getcwd()
    for module in IMPORTED_BY_MOST:
        import_module(module)
    gc.freeze()
    sys.stdout.flush()
    waiting, failed, costs = [*tests][::-1], [], []
    with DefaultSelector() as running:
        while waiting or running.get_map():
            while waiting and len(running.get_map()) < min(MOST_AT_ONCE, (os.cpu_count() or 1) + 2):
                name = waiting.pop()
                output, its_end = os.pipe()
                child = os.fork()
                if not child:
                    os.dup2(its_end, 1)
                    os.dup2(its_end, 2)
                    os.close(its_end)
                    sys.argv = ["trial", f"--temp-directory=_trial_temp-{name}", *options, *tests[name]]
                    run_trial()
                os.close(its_end)
                running.register(output, EVENT_READ, (name, child, bytearray()))
            for key, _ in running.select():
                name, child, said = key.data
                if more := os.read(key.fd, 1 << 16):
                    said += more
                    continue
                running.unregister(key.fd)
                os.close(key.fd)
                sys.stdout.buffer.write(said)
                sys.stdout.flush()
                _, status, used = os.wait4(child, 0)
                costs.append((used.ru_utime + used.ru_stime, name))
                if status:
                    failed.append(name)
    for seconds, name in sorted(costs, reverse=True)[:TOLD]:
        print(f"{seconds:.1f} s of a core: {name}")
    return sorted(failed)


def main() -> None:
    """Stage the tests and run them."""
    directory, arguments = Path(sys.argv[1]), sys.argv[2:]
    stage(directory)
    os.chdir(directory)
    if "--needs-reactor" in arguments or arguments[-1:] == ["tests"]:
        tests = classes_with_reactor(Path()) if "--needs-reactor" in arguments else modules(Path())
        if not tests:
            sys.exit("staged_trial.py: no test needs a reactor")
        arguments = [argument for argument in arguments if argument not in ("--needs-reactor", "tests")]
        if "--coverage" not in arguments:
            failed = run_apart(arguments, tests)
            sys.exit(f"staged_trial.py: failed: {', '.join(failed)}" if failed else None)
        arguments += [one for of_module in tests.values() for one in of_module]
    under = []
    if "--coverage" in arguments:
        arguments.remove("--coverage")
        under = ["-m", "coverage", "run", f"--rcfile={ROOT}/pyproject.toml", f"--data-file={ROOT}/.coverage"]
    os.execv(sys.executable, [sys.executable, *under, "-m", "twisted.trial", *arguments])


if __name__ == "__main__":
    main()

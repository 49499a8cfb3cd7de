"""How peers find each other, shown again: the figures of every host test, and the three tutorials between hosts.

    GOSSIPLOG_HOSTS=1 python -m tests.found [PAGE]

runs the modules of :data:`MODULES` one after the other, as root, prints a table and writes ``docs/found.rst``, or PAGE.
It takes about a quarter of an hour; the exit status is 1 if a test failed.

Responsible for: running them, and the page.
Must not know: what is measured.
Invariant: what is on the page was printed in this run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tests.lans import Lans, reason
from tests.processes import Process
from tests.tutorials import STORIES, Scene

PAGE = Path(__file__).resolve().parent.parent / "docs" / "found.rst"
MODULES = {
    "On the local network": "tests.test_lan_hosts",
    "A machine that moves": "tests.test_roaming_hosts",
    "A DHT, and a router that passes connections on": "tests.test_found_hosts",
    "A room, and routers of every kind": "tests.test_room_hosts",
}
MANY_LINES = 6
"""More than that stand below the table."""

HEAD = """\
Finding peers, shown
====================

How nodes found each other between hosts of their own, network namespaces on one machine, with real processes: three
tutorials from which this library grew, and what was measured.  All of this page but these words was written by one
command, as root:

.. code-block:: text

   $ GOSSIPLOG_HOSTS=1 python -m tests.found

What cannot be tried on one machine: the DHT of BitTorrent itself, Wi-Fi, macOS, Windows, the routers of providers.

.. contents::
   :local:
"""
TUTORIALS = """\
In the order of time, in seconds: ``$`` is a command on that host, ``<`` is typed, ``|`` is printed, ``^C`` ends it.
Nobody is given an address.
"""


class Row(NamedTuple):
    """What one test printed, and how it ended."""

    test: str
    about: str
    figures: list[str]
    outcome: str


def figures(module: str) -> list[Row]:
    """Run a module; what each of its tests said."""
    command = ["nice", sys.executable, "-m", "twisted.trial"]
    with tempfile.TemporaryDirectory() as place:
        command += [f"--temp-directory={place}/trial", module]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print("\n".join(done.stdout.partition("\n=====")[1:]), flush=True)
    return rows(module, done.stdout)


def rows(module: str, report: str) -> list[Row]:
    """Read what trial reports."""
    found: list[Row] = []
    group = ""
    for line in report.partition("\n=====")[0].splitlines():
        begun = re.fullmatch(r"    (test_\w+) \.\.\.(.*)", line)
        if begun is not None:
            method = getattr(getattr(import_module(module), group, None), begun[1], None)
            about = ((method and method.__doc__) or "").strip().splitlines()
            found.append(Row(f"{group}.{begun[1]}", about[0] if about else "", [], ""))
            line = begun[2]
        elif re.fullmatch(r"  \w+", line):
            group = line.strip()
            continue
        if found and not found[-1].outcome:
            said, _, outcome = line.rstrip().partition("[")
            is_over = re.fullmatch(r"(OK|FAIL|ERROR|SKIPPED|TODO)\]", outcome)
            said = (said if is_over else line).strip()
            if said:
                found[-1].figures.append(said)
            if is_over:
                found[-1] = found[-1]._replace(outcome=is_over[1])
    return found


def table(rows: list[Row]) -> list[str]:
    """A table of them, and below it what is long."""
    lines = [
        ".. list-table::",
        "   :widths: 45 45 10",
        "   :header-rows: 1",
        "",
        "   * - test",
        "     - measured",
    ]
    lines.append("     - outcome")
    long: list[Row] = []
    for row in rows:
        is_long = len(row.figures) > MANY_LINES
        if is_long:
            long.append(row)
        shown = ["see below"] if is_long else [f"``{figure}``" for figure in row.figures] or [""]
        lines += [f"   * - ``{row.test}``{': ' * bool(row.about)}{row.about}".replace("\\", "\\\\")]
        lines += [
            f"     - {shown[0]}".rstrip(),
            *[line for each in shown[1:] for line in ("", f"       {each}")],
        ]
        lines += [f"     - {row.outcome}"]
    for row in long:
        lines += [
            "",
            f"``{row.test}``:",
            "",
            ".. code-block:: text",
            "",
            *[f"   {each}" for each in row.figures],
        ]
    return lines


def transcript(title: str) -> list[str]:
    """Tell a story on three hosts."""
    lans, processes = Lans(), list[Process]()

    def start(*command: str | Path, cwd: Path) -> Process:
        processes.append(Process(command, cwd))
        return processes[-1]

    with tempfile.TemporaryDirectory() as place:
        try:
            hosts = dict(zip(("alice", "bob", "carol"), lans.office(3), strict=True))
            scene = Scene(hosts, Path(place), start)
            STORIES[title](scene)
        finally:
            for process in processes:
                process.abandon()
            lans.close()
    return scene.lines


def heading(text: str, mark: str) -> list[str]:
    """A heading."""
    return ["", text, mark * len(text), ""]


def main(page: Path) -> int:
    """Show all of it, and write it down."""
    lines = [*HEAD.splitlines(), *heading("Three tutorials", "-"), *TUTORIALS.splitlines()]
    for title, story in STORIES.items():
        told = transcript(title)
        print("\n".join(["", title, *told]), flush=True)
        about = (story.__doc__ or "").strip()
        lines += [
            *heading(title, "~"),
            about,
            "",
            ".. code-block:: text",
            "",
            *[f"   {line}" for line in told],
        ]
    lines += heading("Measured", "-")
    cores, load = os.cpu_count(), os.getloadavg()[0]
    lines += [
        f"On {cores} cores, which others used too: {load:.0f} processes wanted one when this began.",
        "",
    ]
    failed = 0
    for title, module in MODULES.items():
        found = figures(module)
        failed += sum(row.outcome != "OK" for row in found) + (not found)
        lines += [*heading(title, "~"), f"``{module}``:", "", *table(found)]
        for row in found:
            print(f"{row.outcome:8} {row.test:48} {'; '.join(row.figures[:MANY_LINES])}", flush=True)
    page.write_text("\n".join(line.rstrip() for line in lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    if why := reason():
        sys.exit(f"tests.found: {why}")
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE))

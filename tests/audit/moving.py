"""Backups, exports, imports and restores that are killed at any moment, or whose disk is full, again and again.

A node in a process of its own has the store, and entries are appended to it all the while.  Whatever was cut short:
what is there is sound and forks nobody, and the same verb, said once more, comes to its end with everything.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

from gossiplog import blocking
from gossiplog.errors import StoreCopiedError
from gossiplog.log.body import encode_body
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Append
from tests.audit.case import Case, Outcome
from tests.processes import environment
from tests.serving import NETWORK

ENTRIES, ENTRY_BYTES = 400, 20_000
SMALL_DISK = "size=3m"
"""Less than the store needs."""

NODE = """
import sys
from gossiplog import blocking
with blocking.Store(sys.argv[1], wait=60) as store, blocking.Node(store, network=sys.argv[2]):
    print("ready", flush=True)
    sys.stdin.read()
"""


class Wrong(Exception):
    """What must not be."""


class Ground:
    """I am a directory with a store, the node that has it, and who appends to it meanwhile."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = place / "store"
        with blocking.Store(self.store) as store:
            self.author = store.writer().author
            store.writer().append_many([os.urandom(ENTRY_BYTES) for _ in range(ENTRIES)])
        self.node = self._started()
        self.appended = ENTRIES
        self._is_over = threading.Event()
        self._appending = threading.Thread(target=self._append, daemon=True)
        self._appending.start()

    def _started(self) -> subprocess.Popen[bytes]:
        node = subprocess.Popen(
            [sys.executable, "-c", NODE, str(self.store), NETWORK],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert node.stdout is not None
        if node.stdout.readline() != b"ready\n":
            raise Wrong("the node does not start again")
        return node

    def kill_the_node(self) -> None:
        """In the middle of whatever it does; another one takes its place."""
        self.node.kill()
        self.node.communicate()
        self.node = self._started()

    def _append(self) -> None:
        while not self._is_over.wait(0.05):
            try:
                with blocking.attach(self.store, timeout=20) as store:
                    self.appended = max(self.appended, store.writer().append(b"x"))
            except Exception:
                continue  # the node was killed meanwhile

    def start(self, *said: str) -> subprocess.Popen[bytes]:
        """Begin with a verb."""
        verb, *rest = said
        return subprocess.Popen(
            [sys.executable, "-m", "gossiplog.app.cli", verb, *rest],
            cwd=self.place,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def done(self, *said: str) -> str:
        """Do it to its end, which has to be a good one."""
        process = self.start(*said)
        out, err = process.communicate()
        if process.returncode:
            raise Wrong(f"{' '.join(said)}: {err.decode().strip()[-300:]}")
        return out.decode()

    def check(self, store: Path, least: int) -> None:
        """What is there is sound, holds so much, and appends nothing for who writes elsewhere."""
        with closing(open_logs(store)) as logs:
            if not logs.verify().ok:
                raise Wrong(f"{store.name} is damaged")
            if logs.clock.seq(self.author) < least:
                raise Wrong(f"{store.name} has {logs.clock.seq(self.author)} entries, not {least}")
            if self.author in logs.local:
                [result] = logs.process([Append(self.author, [encode_body(1, b"no")])]).results
                if not isinstance(result, StoreCopiedError):
                    raise Wrong(f"{store.name} appends, and forks its log")

    def close(self) -> None:
        """It is over; the store that all were made of is well."""
        self._is_over.set()
        self._appending.join()
        assert self.node.stdin is not None
        self.node.stdin.close()
        self.node.wait()
        with closing(open_logs(self.store)) as logs:
            if not logs.verify().ok or logs.clock.seq(self.author) < self.appended or logs.forks:
                raise Wrong("the store is not what was appended to it")


def _tried(ground: Ground, name: str, fresh: Path) -> tuple[tuple[str, ...], Callable[[], None]]:
    """Return a verb, and what has to be true once it was cut short, and said again."""
    store, saved, file = str(ground.store), str(fresh / "saved"), str(fresh / "all.logs")
    before = ground.appended
    if name == "backup":
        return ("backup", "--store", store, saved), lambda: ground.check(fresh / "saved", before)
    if name == "export":

        def imported() -> None:
            ground.done("import", "--store", str(_made(ground, fresh / "taken")), file)
            ground.check(fresh / "taken", before)

        return ("export", "--store", store, file), imported
    if name == "import":
        ground.done("export", "--store", store, file)
        taken = _made(ground, fresh / "taken")
        return ("import", "--store", str(taken), file), lambda: ground.check(taken, before)
    ground.done("backup", "--store", store, "--no-check", saved)
    return ("restore", "--store", str(fresh / "again"), saved), lambda: ground.check(fresh / "again", before)


def _made(ground: Ground, store: Path) -> Path:
    if not store.exists():
        ground.done("init", "--store", str(store))
    return store


VERBS = ("backup", "export", "import", "restore")


def killed(seconds: float) -> Outcome:
    """Kill the verb, or the node that does it, after any part of the time that it takes."""
    random, count, took = Random(1), Counter[str](), 2.0
    with tempfile.TemporaryDirectory() as place:
        ground = Ground(Path(place))
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end or sum(count.values()) < len(VERBS):
                name = VERBS[sum(count.values()) % len(VERBS)]
                fresh = Path(place) / f"{sum(count.values())}"
                fresh.mkdir()
                said, is_right = _tried(ground, name, fresh)
                process = ground.start(*said)
                time.sleep(random.uniform(0.2, took))
                if random.random() < 0.3:
                    ground.kill_the_node()
                process.send_signal(signal.SIGKILL)
                process.communicate()
                if name == "export" and (fresh / "all.logs").exists():
                    (fresh / "all.logs").rename(fresh / "whole.logs")  # it was faster
                    ground.done(
                        "import", "--store", str(_made(ground, fresh / "first")), str(fresh / "whole.logs")
                    )
                began = time.monotonic()
                _again(ground, said)
                took = max(0.5, time.monotonic() - began)
                is_right()
                count[name] += 1
                shutil.rmtree(fresh)
            ground.close()
        except Wrong as wrong:
            ground.node.kill()
            return Outcome(str(wrong), False)
    return Outcome(", ".join(f"{number} of {name}" for name, number in count.items()), True)


def full(seconds: float) -> Outcome:
    """Let each write to a disk without room for it, and again when there is some."""
    if os.geteuid():
        return Outcome("to mount a small disk takes root: not tried", True)
    count = Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        ground = Ground(Path(place))
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end or sum(count.values()) < len(VERBS):
                name = VERBS[sum(count.values()) % len(VERBS)]
                small, wide = Path(place) / "small", Path(place) / "wide"
                for each in (small, wide):
                    each.mkdir(exist_ok=True)
                subprocess.run(["mount", "-t", "tmpfs", "-o", SMALL_DISK, "none", small], check=True)
                try:
                    _on_a_full_disk(ground, name, small)
                finally:
                    subprocess.run(["umount", "-l", small], check=True)
                    shutil.rmtree(wide)
                count[name] += 1
            ground.close()
        except Wrong as wrong:
            ground.node.kill()
            return Outcome(str(wrong), False)
    return Outcome(", ".join(f"{number} of {name}" for name, number in count.items()), True)


def _on_a_full_disk(ground: Ground, name: str, small: Path) -> None:
    if name in ("import", "restore"):  # what they read is elsewhere
        said, _ = _tried(ground, name, small.with_name("wide"))
        target = small / "target"
        if name == "import":
            _made(ground, target)
        said = (said[0], "--store", str(target), said[-1])
        is_right: Callable[[], None] = partial(ground.check, target, ENTRIES)
    else:
        said, is_right = _tried(ground, name, small)
    process = ground.start(*said)
    told = b"".join(process.communicate())
    if process.returncode == 0 or not (b"no space left" in told or b"the disk has no room" in told):
        raise Wrong(f"{' '.join(said)} on a full disk: status {process.returncode}, {told.decode()[-300:]}")
    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
    _again(ground, said)
    is_right()


def _again(ground: Ground, said: tuple[str, ...]) -> None:
    """Say it once more; what came to its end before writes nothing over what it made."""
    process = ground.start(*said)
    _, err = process.communicate()
    if process.returncode and b"is there already" not in err and b"is another store" not in err:
        raise Wrong(f"{' '.join(said)}, said again: {err.decode().strip()[-300:]}")


BOUND = "what is there is sound and forks nobody, and the same verb again comes to its end"

CASES = [
    Case("moving-killed", "backup, export, import and restore are killed, or the node", BOUND, killed),
    Case("moving-full", "backup, export, import and restore fill their disk", BOUND, full),
]

"""Drivers for the systems people replicate logs with today.

Each system runs as two real node processes over loopback TCP, with its data on
disk, the way its own documentation says to use it, so that a benchmark can run
it interleaved with ours::

    run("hypercore", "catchup", count=100_000, size=100, workdir=Path("/tmp/b"))

``count`` is always the number of entries in all, over all authors.  Installing
(once, from the npm registry): ``python -m bench.peers install``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PEERS", "WORKLOADS", "NotInstalled", "Peer", "PeerFailed", "installed", "run"]

HERE = Path(__file__).resolve().parent

#: What a workload measures.
WORKLOADS = {
    "catchup": "an empty reader fetches count entries, by default from one author",
    "authors": "an empty reader fetches count entries spread evenly over many authors",
    "payload": "catch-up of large entries, for bytes per second",
    "append": "local appends, each awaited",
    "append-batches": "local appends in batches of 1000, four in flight",
    "live": "append to reader latency, one append every 10 ms",
}
LOCAL = ("append", "append-batches")


@dataclass(frozen=True)
class Peer:
    """One system: its packages, and what they promise, from its package.json."""

    versions: dict[str, str]
    durable: str
    verified: str
    encrypted: str
    workloads: tuple[str, ...]
    #: How many feeds the system's own benchmarks have.
    authors: int


def _peer(name: str, *workloads: str, authors: int = 1) -> Peer:
    package = json.loads((HERE / name / "package.json").read_text())
    return Peer(
        package["dependencies"], **package["promises"], workloads=workloads, authors=authors
    )


#: The peers by name; versions has the system itself first.
PEERS: dict[str, Peer] = {
    "hypercore": _peer("hypercore", "catchup", "payload", *LOCAL, "live"),
    "corestore": _peer("corestore", *WORKLOADS),
    "multifeed": _peer("multifeed", *WORKLOADS, authors=20),
    "scuttleup": _peer("scuttleup", *WORKLOADS),
    "ssb-db2": _peer("ssb-db2", "catchup", "authors", *LOCAL, "live", authors=20),
}


class NotInstalled(RuntimeError):
    """The peer's packages are not there; the message says how to install them."""


class PeerFailed(RuntimeError):
    """A driver ended without its result; the message holds what it said."""


def installed(peer: str) -> bool:
    """Whether the packages of this peer are there, at the versions of `PEERS`."""
    for package, version in PEERS[peer].versions.items():
        found = HERE / peer / "node_modules" / package / "package.json"
        if not found.is_file() or json.loads(found.read_text())["version"] != version:
            return False
    return shutil.which("node") is not None


def run(
    peer: str,
    workload: str,
    *,
    count: int,
    size: int,
    authors: int = 1,
    workdir: Path,
    timeout: float = 900.0,
) -> dict[str, Any]:
    """Run one workload once and return the driver's figures.

    The sender's log is written once per set of parameters and kept below
    `workdir`; the reader always starts from an empty directory, removed after.
    Raises `NotInstalled`, `PeerFailed`, or `TimeoutError` after `timeout` seconds.
    """
    if peer not in PEERS:
        raise ValueError(f"no peer {peer!r}: one of {', '.join(PEERS)}")
    if workload not in PEERS[peer].workloads:
        raise ValueError(f"{peer} runs {', '.join(PEERS[peer].workloads)}, not {workload!r}")
    if not 0 < authors <= count:
        raise ValueError(f"{count} entries cannot come from {authors} authors")
    if authors > 1 and "authors" not in PEERS[peer].workloads:
        raise ValueError(f"{peer} replicates one author at a time")
    if not installed(peer):
        raise NotInstalled(f"{peer} is not installed: python -m bench.peers install {peer}")

    workdir = workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{peer}-", dir=workdir) as scratch:
        fresh = Path(scratch)
        sizes = {"workload": workload, "count": count, "size": size, "authors": authors}
        if workload in LOCAL:
            return _result(peer, ["prepare", *_flags(dir=fresh / "log", **sizes)], timeout)

        if workload == "live":  # the sender's log grows: never kept
            sizes["count"] = authors
            sender = fresh / "log"
        else:
            name = "-".join(map(str, (peer, *PEERS[peer].versions.values(), *sizes.values())))
            sender = workdir / name
        if not (sender / "about.json").is_file():
            _result(peer, ["prepare", *_flags(dir=fresh / "log", **sizes)], timeout)
            if workload != "live":
                shutil.rmtree(sender, ignore_errors=True)
                (fresh / "log").rename(sender)

        with _process(peer, ["serve", *_flags(dir=sender, expect=count)], timeout) as serving:
            port = serving.line("port")["port"]
            asked = _flags(dir=fresh / "copy", about=sender / "about.json", port=port, expect=count)
            if workload != "live":
                return _result(peer, ["fetch", *asked], timeout)
            with _process(peer, ["live", *asked], timeout) as reading:
                reading.line("ready")
                serving.say("go")
                return reading.line("peer")


def _flags(**named: object) -> list[str]:
    return [part for name, value in named.items() for part in (f"--{name}", str(value))]


class _Process:
    """A driver's process, in a group of its own: it says JSON lines on stdout."""

    def __init__(self, peer: str, arguments: list[str], timeout: float) -> None:
        self._what = f"{peer} {arguments[0]}"
        self._timeout = timeout
        self._late = False
        self._errors = tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            ["node", str(HERE / peer / "drive.js"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            process_group=0,
        )

    def say(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def line(self, key: str) -> dict[str, Any]:
        """The next JSON object having `key`; other lines of stdout are chatter."""
        assert self._child.stdout is not None
        clock = threading.Timer(self._timeout, self._expire)
        clock.start()
        try:
            for text in self._child.stdout:
                if text.startswith("{"):
                    found: dict[str, Any] = json.loads(text)
                    if key in found:
                        return found
        finally:
            clock.cancel()
        if self._late:
            raise TimeoutError(f"{self._what} took more than {self._timeout} s")
        self._child.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")[-2000:]
        raise PeerFailed(f"{self._what} ended with {self._child.returncode}: {said}")

    def _expire(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the process: politely (stdin ends), then by force."""
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._kill()
            self._child.wait()
        self._child.stdout.close()
        self._errors.close()


@contextmanager
def _process(peer: str, arguments: list[str], timeout: float) -> Iterator[_Process]:
    process = _Process(peer, arguments, timeout)
    try:
        yield process
    except BaseException:
        process._kill()
        raise
    finally:
        process.close()


def _result(peer: str, arguments: list[str], timeout: float) -> dict[str, Any]:
    with _process(peer, arguments, timeout) as process:
        return process.line("peer")

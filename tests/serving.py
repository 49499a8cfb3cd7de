"""A process with nodes, for tests that use their stores from outside; run it: ``python -m tests.serving``.

Responsible for: a node on each store whose path is a line of standard input; a child by fork for each line "fork".
Must not know: what is done with them.
Invariant: a line of standard output for each, once its control socket is there; the end of the input ends it in order.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import tests
from gossiplog import blocking
from tests.processes import Process

NETWORK = "both ways"


CHILD_SECONDS = 20
"""A child by fork does nothing for so long, and ends."""


def main() -> None:
    """Serve until the input ends."""
    with ExitStack() as stack:
        for line in sys.stdin:
            if line == "fork\n":
                if os.fork() == 0:
                    os.closerange(0, 3)
                    signal.alarm(CHILD_SECONDS)
                    signal.pause()
                print("forked", flush=True)
                continue
            store = stack.enter_context(blocking.Store(line.strip()))
            node = stack.enter_context(blocking.Node(store, network=NETWORK))
            print(f"serving {node.listen('tcp:0:interface=127.0.0.1')}", flush=True)


def _start() -> Process:
    return Process([sys.executable, "-m", "tests.serving"], Path(tests.__file__).parent.parent)


@cache
def server() -> Process:
    """Return the process that serves, one for this test run."""
    process = _start()
    atexit.register(process.abandon)
    return process


class ServedCase(SynchronousTestCase):
    """Stores that nodes in another process have."""

    def serve_alone(self, path: str) -> Process:
        """Let a node in a process of its own have the store at ``path``; it may be killed."""
        process = _start()
        self.addCleanup(process.abandon)
        process.send(os.path.abspath(path))
        process.wait_for("serving")
        return process

    def serve(self, path: str) -> str:
        """Let a node have the store at ``path``; return the address that it listens on."""
        process = server()
        process.send(os.path.abspath(path))
        return process.wait_for(r"serving (\S+)")[1]


if __name__ == "__main__":
    main()

"""Opening a store with what the machine has for it.

Responsible for: the ssh-agent, which signs for writers that have no seed in the store.
Must not know: who opens it; reactors.
Invariant: nobody is asked for anything before a writer of the agent's signs.
"""

from __future__ import annotations

from gossiplog.paths import AnyPath
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.ssh_agent import SSHAgent


def open_here(
    place: AnyPath,
    init: bool = True,
    read_only: bool = False,
    wait: float = 0.0,
    state: AnyPath | None = None,
) -> Logs:
    """Open a store as :func:`gossiplog.store.logs.open_logs` does; the ssh-agent signs for whom it has no seed."""
    logs = open_logs(place, init, read_only, wait, state)
    logs.keys.use(SSHAgent())
    return logs

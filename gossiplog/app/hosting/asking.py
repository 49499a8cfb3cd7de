"""What a host that runs says of itself.

Responsible for: finding it by the stores that a file names, and asking it which networks it runs.
Must not know: what is done with the answer.
Invariant: nothing is changed, and no store is opened.
"""

from __future__ import annotations

from typing import Any

from gossiplog.app.hosting.file import HostFile
from gossiplog.app.hosting.plan import Digests
from gossiplog.control.line import dial
from gossiplog.errors import GossiplogError


def asked(file: HostFile) -> Digests | None:
    """Return what the host of this file runs now, None where none does that has one of the stores."""
    for hosted in file.networks.values():
        said = _ask(hosted.store)
        if isinstance(said, dict) and said.get("file") == file.path and isinstance(said["networks"], dict):
            found: Digests = said["networks"]
            return found
    return None


def _ask(store: str) -> Any:
    try:
        line = dial(store, store, 0.0)
        if line is None:
            return None
        try:
            return line.ask("host")
        finally:
            line.close()
    except GossiplogError:
        return None  # it is no store, not ours, or of another version

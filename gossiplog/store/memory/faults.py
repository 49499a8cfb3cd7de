"""Faults of a disk that is only memory.

Responsible for: their names.
Must not know: who asks for them.
Invariant: what a reopened store holds is decided when the fault happens.
"""

from __future__ import annotations

from enum import Enum


class DiskFault(Enum):
    """What a commit meets on a failing disk."""

    FULL = "no room: nothing is written, the store goes on"
    LOST = "the sync failed and nothing was kept"
    KEPT = "the sync failed, and a reopened store holds the commit all the same"

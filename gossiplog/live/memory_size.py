"""How much memory and disk there is.

Responsible for: what this machine has, or what this process may use of it, and what of that is for peers, and for what
comes from them, by default; that what was freed goes back.
Must not know: what it is used for.
Invariant: wherever the system does not say, the default is as if there were plenty.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from shutil import disk_usage
from typing import Final

from gossiplog import limits

SHARE: Final = 4
"""Of the memory there is, one part in so many is for peers: the rest is for the clock, the application, and others."""


LARGE_BYTES: Final = 512 * 1024
"""What is larger than this, glibc is to take from the system and to give back to it, each by itself."""

_M_MMAP_THRESHOLD: Final = -3


def part_large() -> None:
    """Keep large buffers from leaving holes in the heap.

    glibc begins so, and stops after the first large buffer was freed: from then on a thousand peers with a large entry
    each make a process a third larger than all that it keeps.  For the whole process; other systems do as they do.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return


def default_memory(root: Path = Path("/")) -> int:
    """Return what peers may make a node keep if nobody said how much."""
    return min(limits.MAX_MEMORY_BYTES, max(limits.MIN_MEMORY_BYTES, _share(root)))


def default_authors(root: Path = Path("/")) -> int:
    """Return how many authors of others a node takes if nobody said how many."""
    each = limits.AUTHOR_MEMORY_BYTES + limits.FORK_MEMORY_BYTES
    return min(limits.MAX_AUTHORS, max(1, _share(root) // each))


def default_disk(path: str | None, base_bytes: int, held_bytes: int) -> int | None:
    """Return what all logs in a store may take on disk, if nobody said how much.

    It held ``base_bytes`` in the beginning and holds ``held_bytes`` now; what it added is part of what it may take.
    None where the store is on no disk.
    """
    if path is None:
        return None
    try:
        free_bytes = disk_usage(path).free
    except OSError:
        return None
    return max(1, base_bytes + int(max(0, free_bytes + held_bytes - base_bytes) * limits.DISK_SHARE))


def _share(root: Path) -> int:
    known = [size for size in (_installed(), *_group_limits(root)) if size]
    return min(known, default=limits.MAX_MEMORY_BYTES * SHARE) // SHARE


def _installed() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on this system
        return 0


def _group_limits(root: Path) -> list[int]:
    """What Linux's control groups allow this process, in both versions and at every level."""
    found = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / "sys/fs/cgroup" / controllers
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            # in a container the path may be that outside, and what counts is at the top
            places = [top / Path(path.lstrip("/")), top]
            for place in {
                each for start in places for each in (start, *start.parents) if top in (each, *each.parents)
            }:
                try:
                    found.append(int((place / name).read_text()))
                except (OSError, ValueError):  # none here, or "max"
                    continue
    return found

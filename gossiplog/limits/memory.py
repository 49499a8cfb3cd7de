"""Limits of what a node keeps in memory."""

from __future__ import annotations

from typing import Final

MAX_MEMORY_BYTES: Final = 512 << 20
"""What all peers together may make a node keep, if nothing else was chosen and the machine has four times as much:
claims of a million authors and a half."""

MIN_MEMORY_BYTES: Final = 32 << 20
"""The least that can be chosen: a few peers with a large entry each, and what one message makes of itself."""

MIN_SHARE_BYTES: Final = 256 * 1024
"""Nobody more is let in where each would have less: with 64 MiB there are 256 sessions."""

LOADS_AT_ONCE: Final = 4
"""Reads for peers that the store is given at once, up to 1.5 MiB each: its thread never waits for the next.  While
others wait each is a fourth as long."""

SHORT_READ_BYTES: Final = 64 * 1024
"""Backlog read for a peer at once while memory is short, and only when it took what it was given."""

MAX_OWED_REFERENCES: Final = 65_536
"""Named entries that did not come while they were waited for, and are noticed if they come later, in some 30 MB; of
more, those are forgotten first that one author named."""

TIMELINE_MEMORY_BYTES: Final = 32 << 20
"""Unpacked zones that a timeline keeps from one page to the next: as many as 160 logs written at the same time need."""

ZONE_ENTRIES: Final = 1024
ZONE_BYTES: Final = 128 * 1024
"""What a zone of the index has at most, if it is not one stored row: that much is read to find an entry in it, and a
zone takes some 150 bytes on disk."""

ORDER_MEMORY_BYTES: Final = 32 << 20
"""Rows that a reader in causal order has open, one of each log: those of a hundred logs."""

ORDER_MARKS: Final = 64
"""Of one log it is remembered so many times when entries came: more often it need not be known for half a minute."""

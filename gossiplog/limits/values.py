"""Limits of entries, segments and names."""

from __future__ import annotations

from typing import Final

MAX_SEQ: Final = 2**53 - 1
"""Every language with doubles can hold it exactly."""

MAX_BODY_BYTES: Final = 1 << 20
"""One entry must fit one frame and one row without streaming."""

MAX_SEGMENT_ENTRIES: Final = 4096
"""Bounds hashing before the signature is checked: about 4 ms of one core."""

MAX_SEGMENT_BYTES: Final = 129 * 1024
"""Item bytes of a segment of more than one entry."""

SEGMENT_TARGET_BYTES: Final = 131_200
"""What we build and merge up to: room for two payloads of 64 KiB with all that is around them, as many who cut files
choose; and the row still has eight 16 KiB pages."""

MAX_PROOF_FILE_BYTES: Final = 192 * 1024
"""A fork proof as a file: the largest has 128 KiB and 200 bytes, which are 174 KiB as lines of Base64."""

MAX_WRITERS: Final = 16_384
"""Local writers of a store: each is a file that is read at every opening, in 0.1 ms."""

MAX_VALUE_BYTES: Final = 64 * 1024 * 1024
"""A value that a store keeps of itself: the choices about a million authors have 34 MB."""

MAX_KEPT_PLACES: Final = 262_144
"""Authors of all cursors that a store knows from memory, in some 50 MB; the cursor saved last is always known."""

CHECKED_ENDS_BYTES: Final = 8 * 1024 * 1024
"""The last rows of logs of others, read when a store is opened so that nothing is claimed that is not there: 40 ms."""

REMOVED_AT_ONCE: Final = 4096
"""Authors of a cursor that is removed, in one commit: 300 KB of write-ahead log."""

MAX_REFERENCES: Final = 64
"""``after`` triples in one body."""

MAX_TIPS: Final = 16
"""Entries that ``Store.heads`` gives: room for as many again of the writer's own choice, and the body stays small."""

MAX_TIPS_READ: Final = 1024
"""Logs of which it reads the last row, those that were written to last: a second or two the first time, and afterwards
those that changed."""

MAX_OTHER_KEYS: Final = 256
"""Keys of all maps in one msgpack payload that are neither text nor bytes: anybody can choose them so that each is
compared with all before it, and a MiB of such payloads then takes no longer than one of empty maps."""

MAX_WAITING_NOTICES: Final = 1024
"""What happened in a node and an application did not read yet; then the oldest is lost, and the reader is told."""

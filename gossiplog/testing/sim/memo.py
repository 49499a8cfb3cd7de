"""Doing once what a thousand simulated nodes would each do with the same bytes.

Responsible for: a shared memory of decoded SEGMENT frames and of verified segments, while a large simulation runs.
Must not know: nodes, sessions.
Invariant: what is answered is what the function itself would answer, for equal bytes; failures are not remembered.
Nodes share the immutable values they hold, which also keeps a large simulation in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from gossiplog.gossip import replica
from gossiplog.gossip.messages import Message
from gossiplog.log.segment import verify, verify_whole
from gossiplog.store import checked_rows as vouching
from gossiplog.store import merging
from gossiplog.store.repair import verify as verifying
from gossiplog.testing.sim import invariants, node
from gossiplog.testing.sim.patching import patched
from gossiplog.wire.codec import decode

REMEMBERED = 1 << 16
"""Frames and segments: far more than are on their way at once."""

_SEGMENT_TYPE = 5


@contextmanager
def shared() -> Iterator[None]:
    """Within it, simulated nodes verify each segment once between them."""
    verified = lru_cache(REMEMBERED)(verify)
    verified_whole = lru_cache(REMEMBERED)(verify_whole)
    decoded = lru_cache(REMEMBERED)(decode)

    def take(frame: bytes) -> Message:
        return decoded(frame) if frame[1:2] == bytes([_SEGMENT_TYPE]) else decode(frame)

    verifying_modules = (invariants, merging, verifying, vouching)
    patches = {(module, "verify"): verified for module in verifying_modules}
    with patched({**patches, (replica, "verify_whole"): verified_whole, (node, "decode"): take}):
        yield

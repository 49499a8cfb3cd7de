"""First messages of handshakes that came already.

Responsible for: telling a first message that is new from one that somebody recorded and sends again.
Must not know: what is in one; it is told the time.
Invariant: a message is remembered for ``FIRST_MESSAGE_SECONDS`` at least, unless ``MAX_FIRST_MESSAGES`` others came
meanwhile; at most twice as many are held.
"""

from __future__ import annotations

from gossiplog import limits

_TAG_BYTES = 16
"""The end of a first message is the tag of its AEAD: it differs for any two that differ."""


class FirstMessages:
    """I remember, in two generations: when the newer is full or old, the older is forgotten.

    >>> seen = FirstMessages(0.0)
    >>> seen.repeated(bytes(48), 1.0), seen.repeated(bytes(48), 2.0)
    (False, True)
    """

    def __init__(self, now: float) -> None:
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()
        self._since = now

    def repeated(self, message: bytes, now: float) -> bool:
        """Whether ``message`` came already; from now on it did."""
        if now - self._since >= limits.FIRST_MESSAGE_SECONDS or len(self._newer) >= limits.MAX_FIRST_MESSAGES:
            self._older, self._newer, self._since = self._newer, set(), now
        tag = message[-_TAG_BYTES:]
        if tag in self._newer or tag in self._older:
            return True
        self._newer.add(tag)
        return False

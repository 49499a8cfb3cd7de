"""Signing by somebody who keeps the seed: an agent, a token, another process.

Responsible for: what a :class:`Signer` has to do, and heads that one signs.
Must not know: sockets; which signers there are.
Invariant: what a signer returns is taken only if it is the author's signature of exactly what was asked for.
"""

from __future__ import annotations

from typing import Protocol

from gossiplog.errors import BadSignatureError, GossiplogError, SignerError
from gossiplog.log.keys import SIGNATURE_BYTES, head_message, short_key, verify_head


class Signer(Protocol):
    """I sign for authors whose seeds I keep to myself."""

    def sign(self, author: bytes, message: bytes) -> bytes:
        """Return the Ed25519 signature of ``author`` over exactly ``message``, 64 bytes.

        Called in the store's thread, which does nothing else meanwhile: be quick.  Raises :class:`SignerError` where
        that cannot be done.
        """


class SignerKey:
    """I sign the heads of one author, by a signer that is asked for each time."""

    def __init__(self, author: bytes, name: str) -> None:
        self.author = author
        self.signer: Signer | None = None
        self._name = name

    def sign_head(self, seq: int, entry_id: bytes) -> bytes:
        """Sign the head ``(seq, entry_id)``; raises :class:`SignerError`."""
        who = f"the key of writer {self._name!r}, {short_key(self.author)}"
        if self.signer is None:
            raise SignerError(
                f"{who}, is not in the store, and there is nobody to ask: open_store(signer=...)"
            )
        try:
            signature = self.signer.sign(self.author, head_message(seq, entry_id))
        except GossiplogError:
            raise
        except Exception as error:
            raise SignerError(f"{who}: {type(error).__name__}: {error}") from error
        try:
            verify_head(self.author, seq, entry_id, signature)
        except BadSignatureError:
            raise SignerError(
                f"{who}: what was returned is not its signature of {SIGNATURE_BYTES} bytes; nothing was written"
            ) from None
        return signature

"""The keys of the writers of a store that a node has, for who would have the store otherwise.

Responsible for: what :class:`gossiplog.store.writer_keys.WriterKeys` does, over a control socket.
Must not know: what is done.
Invariant: no seed comes or goes over the socket.
"""

from __future__ import annotations

from gossiplog.control.line import Line


class NodeKeys:
    """I am the keys as the node has them."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @property
    def is_locked(self) -> bool:
        """Whether seeds of the node's writers wait for a passphrase."""
        return bool(self._line.ask("store")["locked"])

    @property
    def is_protected(self) -> bool:
        """Whether they are under one."""
        return bool(self._line.ask("store")["protected"])

    @property
    def seed_count(self) -> int:
        """How many of the node's writers have their seeds there."""
        return int(self._line.ask("store")["seeds"])

    def unlock(self, passphrase: str) -> None:
        """Let the node's writers sign, until it ends."""
        self._line.ask("unlock", passphrase=passphrase)

    def protect(self, new: str | None, old: str | None = None) -> None:
        """Put the node's seeds under another passphrase, or none."""
        self._line.ask("protect", passphrase=new, old=old)

"""Whose logs a node wants.

Responsible for: the rule "everything but" or "only", and what two rules have in common.
Must not know: sessions, how the rule is said on the wire.
Invariant: a blocked author is never wanted, whatever else is said.

>>> rule = Interest()
>>> rule.wants(b"ann"), Interest(only=frozenset({b"bob"})).wants(b"ann")
(True, False)
"""

from __future__ import annotations

from typing import NamedTuple


class Interest(NamedTuple):
    """A rule about authors: all of them, or ``only`` these; never the ``blocked`` ones."""

    only: frozenset[bytes] | None = None
    blocked: frozenset[bytes] = frozenset()

    def wants(self, author: bytes) -> bool:
        """Whether entries of ``author`` are taken and kept up to date."""
        return author not in self.blocked and (self.only is None or author in self.only)

    def common(self, other: Interest) -> Interest:
        """The rule of the authors that both want."""
        if self.only is None:
            only = other.only
        elif other.only is None:
            only = self.only
        else:
            only = self.only & other.only
        return Interest(only, self.blocked | other.blocked)

    def follow(self, author: bytes) -> Interest:
        """Want ``author`` too, blocked before or not."""
        only = None if self.only is None else self.only | {author}
        return Interest(only, self.blocked - {author})

    def unfollow(self, author: bytes) -> Interest:
        """Want ``author`` no longer."""
        if self.only is None:
            return self.block(author)
        return Interest(self.only - {author}, self.blocked)

    def block(self, author: bytes) -> Interest:
        """Refuse ``author`` until it is followed again."""
        return Interest(self.only, self.blocked | {author})

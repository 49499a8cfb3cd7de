"""Which authors a node wants.

Responsible for: :class:`Wanted`, what one side of a session wants, as the wire says it; :class:`Choices`, what the
owner of a node chose, as it is kept on disk.
Must not know: sessions, what is held, quotas.
Invariant: a local writer is always wanted; a blocked author never, whatever else was said of it.

>>> ann, bob = bytes(32), bytes([1]) * 32
>>> choices = Choices(set())
>>> choices.unfollow([ann])
>>> choices.wants(ann), choices.wants(bob)
(False, True)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from enum import IntEnum
from typing import Final

import msgpack
from sortedcontainers import SortedSet

from gossiplog import limits
from gossiplog.errors import BlockedAuthorError, InvalidValueError, LimitExceededError, LocalAuthorError
from gossiplog.log.keys import KEY_BYTES, short_key
from gossiplog.store.requests import INTEREST

KEPT_AS: Final = INTEREST
"""The name under which a store keeps the choices."""

_VERSION: Final = 1


class Interest(IntEnum):
    """What a node wants of authors that it does not name."""

    ALL = 0
    WANTED = 1


class Wanted:
    """I say which authors one side wants: all but those named (``ALL``), or only those (``WANTED``)."""

    __slots__ = ("authors", "mode")

    def __init__(self, mode: Interest = Interest.ALL, authors: Iterable[bytes] = ()) -> None:
        self.mode = mode
        self.authors: SortedSet[bytes] = SortedSet(authors)

    @property
    def is_everything(self) -> bool:
        """Whether no author is left out."""
        return self.mode is Interest.ALL and not self.authors

    def wants(self, author: bytes) -> bool:
        """Tell whether an author is wanted."""
        return (author in self.authors) == (self.mode is Interest.WANTED)

    def say(self, author: bytes, wanted: bool) -> bool:
        """An author is wanted, or is not; returns whether that is new.

        :raises LimitExceededError: that would be more than ``MAX_NAMED_AUTHORS`` names; nothing has changed.
        """
        if self.wants(author) == wanted:
            return False
        if author in self.authors:
            self.authors.discard(author)
        elif len(self.authors) >= limits.MAX_NAMED_AUTHORS:
            raise LimitExceededError(f"an interest of more than {limits.MAX_NAMED_AUTHORS} names")
        else:
            self.authors.add(author)
        return True

    def __eq__(self, other: object) -> bool:
        """Tell whether both want the same authors, in the same words."""
        if not isinstance(other, Wanted):
            return NotImplemented
        return self.mode is other.mode and self.authors == other.authors

    __hash__ = None  # type: ignore[assignment]  # it changes


class Choices:
    """I am what the owner of a node said about authors; ``local`` is the live set of those who write here.

    ``mode`` decides about authors of whom nothing was said.
    """

    def __init__(self, local: AbstractSet[bytes], mode: Interest = Interest.ALL) -> None:
        self.mode = mode
        self.local = local
        self.chosen: dict[bytes, bool] = {}
        self.blocked: set[bytes] = set()

    def wants(self, author: bytes) -> bool:
        """Tell whether an author is wanted."""
        if author in self.local:
            return True
        return author not in self.blocked and self.chosen.get(author, self.mode is Interest.ALL)

    def named(self) -> set[bytes]:
        """Return the authors of whom ``mode`` alone would say the wrong thing.  O(authors named)."""
        named = self.chosen.keys() | self.blocked | self.local
        return {author for author in named if self.wants(author) != (self.mode is Interest.ALL)}

    def follow(self, authors: Sequence[bytes]) -> None:
        """Want these; BlockedAuthorError for one that is blocked, and nothing has changed."""
        self._check(authors, local=True)
        for author in authors:
            if author in self.blocked:
                raise BlockedAuthorError(f"author {short_key(author)} is blocked; unblock it first")
        self.chosen.update(dict.fromkeys(authors, True))

    def unfollow(self, authors: Sequence[bytes]) -> None:
        """Do not want these; LocalAuthorError for one that writes here, and nothing has changed."""
        self._check(authors)
        self.chosen.update(dict.fromkeys(authors, False))

    def block(self, authors: Sequence[bytes]) -> None:
        """Do not want these, whatever is said of following them; LocalAuthorError as in :meth:`unfollow`."""
        self._check(authors)
        self.blocked.update(authors)

    def unblock(self, authors: Sequence[bytes]) -> None:
        """Want these again, unless they are not followed."""
        self._check(authors, local=True)
        self.blocked.difference_update(authors)

    def dump(self) -> bytes:
        """Return me as bytes: a msgpack array of version, mode, and the authors followed, unfollowed and blocked."""
        followed, unfollowed = (
            sorted(author for author, wanted in self.chosen.items() if wanted is sought)
            for sought in (True, False)
        )
        dumped: bytes = msgpack.packb([_VERSION, int(self.mode), followed, unfollowed, sorted(self.blocked)])
        return dumped

    @classmethod
    def load(cls, dumped: bytes | None, local: AbstractSet[bytes]) -> Choices:
        """Return what :meth:`dump` wrote, the choices of somebody who said nothing for None.

        :raises InvalidValueError: these bytes are something else.
        """
        if dumped is None:
            return cls(local)
        try:
            version, mode, followed, unfollowed, blocked = msgpack.unpackb(dumped)
            if version != _VERSION:
                raise ValueError(version)
            choices = cls(local, Interest(mode))
            choices.chosen = dict.fromkeys(followed, True) | dict.fromkeys(unfollowed, False)
            choices.blocked = set(blocked)
            choices._check([*choices.chosen, *choices.blocked], local=True)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise InvalidValueError("these bytes do not say which authors are wanted") from error
        return choices

    def _check(self, authors: Sequence[bytes], local: bool = False) -> None:
        for author in authors:
            if type(author) is not bytes or len(author) != KEY_BYTES:
                raise InvalidValueError(f"an author is {KEY_BYTES} bytes; parse_author reads the text form")
            if not local and author in self.local:
                raise LocalAuthorError(f"author {short_key(author)} writes here, and is always wanted")
        if len({*self.chosen, *self.blocked, *authors}) > limits.MAX_CHOSEN_AUTHORS:
            raise InvalidValueError(f"more than {limits.MAX_CHOSEN_AUTHORS} authors are named one by one")

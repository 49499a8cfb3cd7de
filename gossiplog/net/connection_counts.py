"""Connections by the place they come from.

Responsible for: who is next when all places take turns, and who has to go when there are too many.
Must not know: why there are too many.
Invariant: whoever is alone at a place goes after all of whom there are more at theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Member = TypeVar("Member")


class ConnectionCounts(Generic[Member]):
    """I am some connections, each at a place.  Each method takes O(1), but for ``turns``, ``members``, ``everyone``."""

    def __init__(self) -> None:
        self._places: dict[str, dict[Member, None]] = {}
        self._where: dict[Member, str] = {}
        self._by_size: dict[int, dict[str, None]] = {}
        self._most = 0

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, member: object) -> bool:
        return member in self._where

    def at(self, where: str) -> int:
        """How many there are at a place."""
        return len(self._places.get(where, ()))

    def add(self, member: Member, where: str) -> None:
        """One more, who is not here yet."""
        members = self._places.setdefault(where, {})
        members[member] = None
        self._where[member] = where
        self._resized(where, len(members) - 1, len(members))

    def remove(self, member: Member) -> bool:
        """One less; False for who was not here."""
        where = self._where.pop(member, None)
        if where is None:
            return False
        members = self._places[where]
        del members[member]
        if not members:
            del self._places[where]
        self._resized(where, len(members) + 1, len(members))
        return True

    def members(self, where: str) -> list[Member]:
        """Who is at a place, the oldest first.  O(these)."""
        return list(self._places.get(where, ()))

    def everyone(self) -> list[Member]:
        """All, the oldest of each place first.  O(these)."""
        return [member for members in self._places.values() for member in members]

    def newest(self, where: str) -> Member:
        """Who came last to a place where there is somebody."""
        return next(reversed(self._places[where]))

    def fullest(self) -> Member:
        """Who has to go first: the oldest at the place with the most."""
        return next(iter(self._places[next(iter(self._by_size[self._most]))]))

    def turns(self) -> Iterator[tuple[str, Member]]:
        """The oldest of each place; whose place came first goes first.  :meth:`served` says that one had its turn."""
        for where in tuple(self._places):
            members = self._places.get(where)
            if members:
                yield where, next(iter(members))

    def served(self, member: Member) -> None:
        """That was the turn of its place: the next one is behind all others.  Takes it away."""
        where = self._where[member]
        self.remove(member)
        members = self._places.pop(where, None)
        if members is not None:
            self._places[where] = members

    def _resized(self, where: str, before: int, after: int) -> None:
        if before:
            places = self._by_size[before]
            del places[where]
            if not places:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[where] = None
        self._most = max(self._most, after)
        if self._most not in self._by_size:  # the place that had the most has one less
            self._most = after

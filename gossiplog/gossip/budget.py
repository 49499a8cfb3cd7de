"""How much memory the sessions of one node may take up, and who has to give some back.

Responsible for: what each session is charged with, its fair share, and whose turn it is when there is no more.
Must not know: what a session keeps, and how it gives that back.
Invariant: nobody is told to give anything back who has no more than its fair share.

>>> budget = Budget(100 << 20)
>>> for session in (1, 2): budget.open(session, now=0.0)
>>> budget.charge(1, 90 << 20, now=1.0), budget.charge(2, 1 << 20, now=1.0), budget.greediest(2.0)
(None, None, None)
>>> budget.charge(2, 20 << 20, now=2.0), budget.greediest(2.0)
(None, 1)
"""

from __future__ import annotations

from gossiplog import limits
from gossiplog.errors import InvalidValueError

SESSION_BYTES = 24 * 1024
"""What a session takes up that keeps nothing: 11 KB, and what its connection may keep before it is told."""


class _Account:
    """What one session is charged with: its state, and what its connection keeps, which may outlive it."""

    __slots__ = ("above_since", "link_bytes", "state_bytes")

    def __init__(self) -> None:
        self.state_bytes = SESSION_BYTES
        self.link_bytes = 0
        self.above_since: float | None = None

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.state_bytes + self.link_bytes


class MemoryPool:
    """I am the memory for the peers of several nodes: each has its part in any case, and what the others do not need.

    >>> pool = MemoryPool(64 << 20)
    >>> ann, bob = Budget(), Budget()
    >>> ann.share(pool), bob.share(pool), ann.most_bytes >> 20
    (None, None, 64)
    >>> bob.open(1, now=0.0), bob.charge(1, 50 << 20, now=0.0), ann.most_bytes >> 20, bob.most_bytes >> 20
    (None, None, 32, 64)
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self.members = 0


class Budget:
    """I am the memory for the peers of one node: at most ``most_bytes``."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = limits.MAX_MEMORY_BYTES if most_bytes is None else most_bytes
        check_memory(self._most_bytes)
        self.common_bytes = 0
        self.session_bytes = 0
        """The sum of all accounts."""
        self._accounts: dict[int, _Account] = {}
        self._pool: MemoryPool | None = None
        self._told_bytes = 0

    def share(self, pool: MemoryPool | None) -> None:
        """Have from now on what ``pool`` leaves, at most what I had before; None: all of that again."""
        if self._pool is not None:
            self._pool.used_bytes -= self._told_bytes
            self._pool.members -= 1
        self._pool, self._told_bytes = pool, 0
        if pool is not None:
            pool.members += 1
            self._tell()

    def limit(self, most_bytes: int) -> None:
        """Have another bound."""
        check_memory(most_bytes)
        self._most_bytes = most_bytes

    def _tell(self) -> None:
        if self._pool is not None:
            self._pool.used_bytes += self.used_bytes - self._told_bytes
            self._told_bytes = self.used_bytes

    # -- what is charged

    def has_place(self) -> bool:
        """Whether one more session can have enough to work with."""
        return (len(self._accounts) + 1) * limits.MIN_SHARE_BYTES <= self.most_bytes

    def open(self, session: int, now: float) -> None:
        """A session begins."""
        self._accounts[session] = _Account()
        self.session_bytes += SESSION_BYTES
        self._tell()

    def charge(
        self, session: int, state_bytes: int | None = None, link_bytes: int | None = None, *, now: float
    ) -> None:
        """``session`` keeps so much, beside :data:`SESSION_BYTES`; ``link_bytes`` are its connection's.  O(1)."""
        account = self._accounts.get(session)
        if account is None:
            return
        self.session_bytes -= account.bytes
        if state_bytes is not None:
            account.state_bytes = SESSION_BYTES + state_bytes
        if link_bytes is not None:
            account.link_bytes = link_bytes
        self.session_bytes += account.bytes
        self._tell()
        if account.bytes <= self.share_bytes:
            account.above_since = None
        elif account.above_since is None:
            account.above_since = now

    def close(self, session: int) -> None:
        """A session is over; its connection may be there for a while."""
        account = self._accounts.get(session)
        if account is not None:
            self.session_bytes -= account.state_bytes
            account.state_bytes = 0
            self._tell()
            if not account.link_bytes:
                self.gone(session)

    def gone(self, session: int) -> None:
        """A connection is gone, and its session with it."""
        account = self._accounts.pop(session, None)
        if account is not None:
            self.session_bytes -= account.bytes
            self._tell()

    # -- who may have how much

    @property
    def most_bytes(self) -> int:
        """What all may take up together."""
        pool = self._pool
        if pool is None:
            return self._most_bytes
        free_bytes = pool.most_bytes - pool.used_bytes + self._told_bytes
        return min(self._most_bytes, max(free_bytes, pool.most_bytes // pool.members))

    @property
    def used_bytes(self) -> int:
        """What all take up together."""
        return self.common_bytes + self.session_bytes

    @property
    def share_bytes(self) -> int:
        """The fair share of each session."""
        return max(0, self.most_bytes - self.common_bytes) // max(1, len(self._accounts))

    @property
    def is_short(self) -> bool:
        """Whether so much is taken that nobody should keep what can be done without."""
        return self.used_bytes > self.most_bytes // 4 * 3

    def held_bytes(self, session: int) -> int:
        """What ``session`` is charged with."""
        return self._accounts[session].bytes

    def room_bytes(self, session: int) -> int:
        """How much more ``session`` may take of what can be done without: up to its share, or what nobody needs."""
        free = self.most_bytes // 4 * 3 - self.used_bytes
        return max(0, free, self.share_bytes // 4 * 3 - self.held_bytes(session))

    def greediest(self, now: float) -> int | None:
        """Who has to give back, if too much is taken: who is most above its share, and for longest.  O(sessions).

        Time counts, so that one who needs much for a moment does not pay for many who keep nearly as much for good.
        """
        if self.used_bytes <= self.most_bytes:
            return None
        share = self.share_bytes
        greed = {}
        for session, account in self._accounts.items():
            if account.state_bytes and account.bytes > share:
                since = now if account.above_since is None else account.above_since
                greed[session] = (account.bytes - share) * (1.0 + max(0.0, now - since))
        return max(greed, key=lambda session: greed[session], default=None)


def check_memory(most_bytes: int) -> None:
    """Raise :class:`InvalidValueError` for what is no budget."""
    if type(most_bytes) is not int or most_bytes < limits.MIN_MEMORY_BYTES:
        raise InvalidValueError(
            f"max_memory is a number of bytes, at least {limits.MIN_MEMORY_BYTES}, not {most_bytes!r}"
        )

"""The choices of a store's owner, as they are kept; others who share the store may choose too.

Responsible for: writing choices down, one write at a time; doing what was chosen here again on top of what others
chose meanwhile; what that changed.
Must not know: the reactor, nodes.
Invariant: a change is in force when :meth:`KeptChoices.change` returns, and stays so, whatever others choose meanwhile,
until it is durable; no choice of anybody is written over by who has not heard of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from gossiplog import limits
from gossiplog.errors import InvalidValueError, StoreError, StoreFullError, StoreUnreachableError
from gossiplog.gossip.interest import KEPT_AS, Choices
from gossiplog.live.append_gate import Timers
from gossiplog.store.requests import CommitReport, Moved, SetMeta

Change: TypeAlias = Callable[[Choices, Sequence[bytes]], object]
"""Such as ``Choices.follow``."""


class _Pending(NamedTuple):
    change: Change
    authors: Sequence[bytes]
    done: Callable[[Any], None]


class KeptChoices:
    """I keep ``choices``, of which ``kept`` is what is durable."""

    def __init__(
        self,
        choices: Choices,
        kept: bytes | None,
        write: Callable[[SetMeta, Callable[[Any], None]], object],
        told: Callable[[Sequence[bytes]], object],
        timers: Timers,
    ) -> None:
        """``write`` asks the store's thread; ``told`` hears of whom something else was chosen; ``timers`` is a
        reactor."""
        self.choices = choices
        self._kept = kept
        self._write = write
        self._told = told
        self._pending: list[_Pending] = []
        self._writing = 0
        self._timers = timers
        self._retry: Any = None

    def change(self, change: Change, authors: Sequence[bytes], done: Callable[[Any], None]) -> None:
        """Choose something; ``done`` hears when it is durable, or why it is not.  Raises what ``change`` does."""
        change(self.choices, authors)
        self._told(authors)
        self._pending.append(_Pending(change, authors, done))
        if not self._writing:
            self._put()

    def committed(self, report: CommitReport) -> None:
        """The store wrote something: others may have chosen."""
        if KEPT_AS in report.values:
            self._heard(report.values[KEPT_AS])

    def close(self) -> None:
        """Try no more to write what the store had no room for."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _heard(self, value: bytes | None) -> None:
        if value != self._kept:
            self._take(value)

    def _put(self) -> None:
        self.close()
        if not self._pending:
            return
        self._writing = len(self._pending)
        value = self.choices.dump()
        try:
            self._write(SetMeta(KEPT_AS, value, (self._kept,)), lambda reply: self._answered(value, reply))
        except StoreError as error:  # it was closed
            self._answered(value, error)

    def _again(self) -> None:
        self._retry = None
        if not self._writing:
            self._put()

    def _answered(self, value: bytes, reply: Any) -> None:
        if isinstance(reply, Moved):
            self._heard(reply.value)
        done, rest = self._pending[: self._writing], self._pending[self._writing :]
        self._writing = 0
        if isinstance(reply, Moved):
            done = []
        elif isinstance(reply, StoreFullError | StoreUnreachableError):
            # it stays in force, and is written later
            self._pending = [*(each._replace(done=_ignore) for each in done), *rest]
            self._retry = self._timers.callLater(limits.RETRY_WRITE_SECONDS, self._again)
        else:
            self._pending = rest
            self._kept = self._kept if isinstance(reply, BaseException) else value
        if not isinstance(reply, BaseException):
            self._put()
        for each in done:
            each.done(reply)

    def _take(self, value: bytes | None) -> None:
        """Begin with what others chose, and choose the same again."""
        self._kept = value
        before, theirs = self.choices, Choices.load(value, self.choices.local)
        pending, self._pending = self._pending, []
        failed: list[tuple[_Pending, InvalidValueError]] = []
        written = self._writing
        for place, each in enumerate(pending):
            try:
                each.change(theirs, each.authors)
            except InvalidValueError as refused:  # somebody blocked whom we follow
                failed.append((each, refused))
                self._writing -= place < written
            else:
                self._pending.append(each)
        changed = [
            author for author in _named(before, theirs) if _said(before, author) != _said(theirs, author)
        ]
        before.chosen, before.blocked = theirs.chosen, theirs.blocked
        if changed:
            self._told(sorted(changed))
        for each, error in failed:
            each.done(error)


def _ignore(reply: object) -> None:
    """Whoever asked knows that it was not durable."""


def _named(*several: Choices) -> set[bytes]:
    return {author for choices in several for author in (*choices.chosen, *choices.blocked)}


def _said(choices: Choices, author: bytes) -> tuple[bool | None, bool]:
    return choices.chosen.get(author), author in choices.blocked

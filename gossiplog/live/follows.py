"""Which authors the owner of a store wants: said once, kept on disk, heard by every node on the store.

Responsible for: :class:`Follows`: changing the choices, writing them down, deleting what is not wanted any more.
Must not know: what a node does about it.
Invariant: a change is in force before the method that makes it returns; what it returns fires once it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, TypeAlias

from gossiplog.arguments import check_flags
from gossiplog.errors import InvalidValueError, StoreDamagedError, StoreError
from gossiplog.gossip.interest import KEPT_AS, Choices, Interest
from gossiplog.live.job_queue import Answer
from gossiplog.live.kept_choices import Change, KeptChoices
from gossiplog.live.logger import NodeLog
from gossiplog.live.results import Result, deliver
from gossiplog.live.store_thread import StoreThread
from gossiplog.store.logs import Logs
from gossiplog.store.requests import CommitReport, Forget, Request

if TYPE_CHECKING:
    from gossiplog.gossip.events import ForkFound, InterestChanged, Lightened
    from gossiplog.log.fork import ForkProof

    Told: TypeAlias = InterestChanged | Lightened | ForkFound
    Listener: TypeAlias = Callable[[Told], None]

_log = NodeLog()


class Follows:
    """I am the choices of one store.

    Several authors may be named at once; when one cannot be, nothing changes.
    """

    def __init__(
        self,
        choices: Choices,
        kept: bytes | None,
        write: Callable[[Request, Answer], None],
        check: Callable[[], None],
        reactor: Any,
    ) -> None:
        """``kept`` is what the store has of the choices; ``check`` raises where nothing can be written, before anything
        changes."""
        self.choices = choices
        self._kept = KeptChoices(choices, kept, write, self._changed, reactor)
        self._write = write
        self._check = check
        self._reactor = reactor
        self._listeners: list[Listener] = []

    @classmethod
    def on(
        cls,
        thread: StoreThread,
        local: AbstractSet[bytes],
        check: Callable[[], None],
        reactor: Any,
    ) -> Follows:
        """Return the choices that a store keeps; StoreDamagedError when they make no sense."""

        def load(logs: Logs) -> tuple[Choices, bytes | None]:
            kept = logs.meta(KEPT_AS)
            try:
                return Choices.load(kept, local), kept
            except InvalidValueError as error:
                raise StoreDamagedError(f"{logs.path} is damaged: {error}") from error

        choices, kept = thread.now(load)
        return cls(choices, kept, thread.write, check, reactor)

    def follow(self, *authors: bytes) -> Result[None]:
        """Want these authors; :class:`BlockedAuthorError` for one that is blocked."""
        return self._change(Choices.follow, authors)

    def unfollow(self, *authors: bytes) -> Result[None]:
        """Do not want these authors any more; what is held stays.

        :class:`LocalAuthorError` for one that writes here.
        """
        return self._change(Choices.unfollow, authors)

    def block(self, *authors: bytes, delete: bool = False) -> Result[None]:
        """Neither take, nor send, nor announce these authors, whatever is followed; ``delete`` what is held of them.

        :class:`LocalAuthorError` for one that writes here.
        """
        check_flags(delete=delete)
        return self._change(Choices.block, authors, authors if delete else ())

    def unblock(self, *authors: bytes) -> Result[None]:
        """Take back :meth:`block`; what was deleted comes again from peers, if the author is wanted."""
        return self._change(Choices.unblock, authors)

    def only_followed(self, only: bool) -> Result[None] | None:
        """Want nobody but those followed, or everybody but those unfollowed; None when it is so already.

        :class:`InvalidValueError` while a node runs on the store: peers were told otherwise.
        """
        self._check()
        check_flags(only=only)
        mode = Interest.WANTED if only else Interest.ALL
        if mode is self.choices.mode:
            return None
        if self._listeners:
            raise InvalidValueError("a node runs on this store: stop it, and start it with another interest")

        def choose(choices: Choices, _: Sequence[bytes]) -> None:
            choices.mode = mode

        return self._change(choose, ())

    # -- for the store and its nodes

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell ``listener`` of every change at once; returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def committed(self, report: CommitReport) -> None:
        """The store wrote something."""
        self._kept.committed(report)

    def close(self) -> None:
        """The store is closed."""
        self._kept.close()

    def joined(self, author: bytes) -> None:
        """A new local writer is wanted from now on."""
        self._changed((author,))

    def forked(self, proof: ForkProof) -> None:
        """The owner of the store has a proof."""
        if self._listeners:  # who has no node does not import what nodes are told
            from gossiplog.gossip.events import ForkFound

            self.tell(ForkFound(proof))

    def _changed(self, authors: Sequence[bytes]) -> None:
        if self._listeners:
            from gossiplog.gossip.events import InterestChanged

            self.tell(InterestChanged(tuple(authors)))

    def tell(self, event: Told) -> None:
        """Something changed."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # the others must hear all the same
                _log.failure(
                    "a listener was not told of {kind}", event="listener_failed", kind=type(event).__name__
                )

    def _change(
        self, change: Change, authors: Sequence[bytes], deleted: Iterable[bytes] = ()
    ) -> Result[None]:
        self._check()
        result: Result[None] = Result(lambda _: None, self._reactor)
        left = [*deleted]

        def done(reply: Any) -> None:
            """Delete the next one, now that whoever else has the store hears first that it is not wanted."""
            if isinstance(reply, BaseException) or not left:
                deliver(result, reply, lambda _: None)
                return
            try:
                self._write(Forget(left.pop(0)), done)
            except StoreError as error:
                done(error)

        self._kept.change(change, authors, done)
        return result

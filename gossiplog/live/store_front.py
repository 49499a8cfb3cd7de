"""A store as its owner and its node see it, whoever runs its thread.

Responsible for: putting together what is known of a store, its queue of work and the gate for appends.
Must not know: reactors and threads, which are arguments; peers.
Invariant: what a delivery says is known here before anybody is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gossiplog.live.append_gate import AppendGate, Timers
from gossiplog.live.job_queue import Answer
from gossiplog.store.held import Held
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Append, Delivery


class Thread(Protocol):
    """Who does a store's work."""

    def write(self, request: Any, answer: Answer, brings: int = 0) -> None:
        """Queue a request for a commit; peers brought so much of it."""

    def call(self, work: Callable[[Logs], Any], answer: Answer) -> None:
        """Queue any other work."""


class StoreFront:
    """I am in front of one store's thread.  ``copied`` is why it may be a copy, ``""`` if it is not."""

    def __init__(self, thread: Thread, held: Held, copied: str, timers: Timers) -> None:
        self.held = held
        self.copied = copied
        self.write = thread.write
        self.call = thread.call
        self.gate = AppendGate(timers, held.clock, held.forks, thread.write)

    def append(self, request: Append, answer: Answer) -> None:
        """Append, once no entries of that log are known to come back."""
        self.gate.append(request, answer)

    def own_ahead(self, author: bytes, seq: int, proven: bool) -> None:
        """A peer says that it holds a local log up to ``seq``; ``proven``: signed here, and nowhere whole.

        Let appends wait for what comes back, or refuse them from now on.
        """
        if not proven:
            self.gate.claimed(author, seq)
            return

        def done(reason: Any) -> None:
            if isinstance(reason, str):
                self.copied = reason
            self.gate.release(author)

        self.call(lambda logs: logs.overtaken(author, seq), done)

    def delivered(self, delivery: Delivery) -> Delivery:
        """This was done; return it with what else is known of it now."""
        if delivery.report is None:
            return delivery
        has_room = self.held.committed(delivery.report)
        self.gate.moved(delivery.report.heads)
        return delivery._replace(has_room=has_room)

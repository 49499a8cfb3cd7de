"""Who watches a simulated node.

Responsible for: the calls by which a node tells what it does.
Must not know: what anyone makes of them.
Invariant: everything is told at the moment it happens; a watcher changes nothing, and may raise to stop the simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.messages import Message
from gossiplog.live.job_queue import WriteJob
from gossiplog.store.requests import CommitReport

NodeT = TypeVar("NodeT", contravariant=True)
"""What is watched."""


class Watcher(Protocol[NodeT]):
    """Who is told what a node does, as it does it."""

    def started(self, node: NodeT) -> None:
        """It runs, from what its disk holds."""

    def committed(self, node: NodeT, jobs: Sequence[WriteJob], outcome: CommitReport) -> None:
        """This is durable; the node does not know it yet."""

    def acknowledged(self, node: NodeT, author: bytes, last: int) -> None:
        """An append succeeded, says the node to its application."""

    def sent(self, node: NodeT, session: int, message: Message, size: int) -> None:
        """A message leaves the node."""

    def received(self, node: NodeT, sender: str, message: Message, size: int) -> None:
        """A message came from the party of this name."""

    def handled(self, node: NodeT, event: Event, effects: Sequence[Effect]) -> None:
        """An event is done, and its effects."""

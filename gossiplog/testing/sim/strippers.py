"""Nodes that relay everything but the payloads of others.

Responsible for: two ways to take payloads from a network: openly, and so that no rule of the protocol is broken.
Must not know: what honest nodes do about it.
Invariant: what it sends is valid: every hash is what its author signed.  Its own entries it gives whole, or nobody
would bother with it.
"""

from __future__ import annotations

from typing import Any

from gossiplog.gossip import events
from gossiplog.gossip.messages import Segment
from gossiplog.live.job_queue import Answer
from gossiplog.log.segment import drop_payloads
from gossiplog.store.requests import Accept, FillRow, SetMeta
from gossiplog.testing.sim.node import SimNode

SHARE = 0.7
"""Of the payloads of others that are dropped; of a quarter of the segments, all."""


class Stripper(SimNode):
    """I replace payloads in whatever I send: news, answers to WANT and to FILL."""

    def _send(self, effect: events.Send) -> None:
        message = effect.message
        if isinstance(message, Segment):
            effect = effect._replace(message=self._stripped(message))
        super()._send(effect)

    def _stripped(self, segment: Segment) -> Segment:
        if segment.author in self.heads.local or not segment.count:
            return segment
        share = 1.0 if self.random.random() < 0.25 else SHARE
        seqs = range(segment.first, segment.last + 1)
        return drop_payloads(segment, [seq for seq in seqs if self.random.random() < share])


class Forgetter(Stripper):
    """I drop payloads before they are on my disk, pass no news on, and take none back: as if I had never had them."""

    _written: Segment | None = None

    def _send(self, effect: events.Send) -> None:
        if effect.message is not self._written:  # which is passed on from memory, with its payloads
            SimNode._send(self, effect)

    def start(self) -> None:
        """Run, with a store that keeps half of what it is given."""
        super().start()
        write = self.front.write

        def forget(request: Any, answer: Answer, brings: int = 0) -> None:
            if isinstance(request, Accept):
                self._written = request.segment
                request = request._replace(segment=self._stripped(request.segment))
            elif isinstance(request, FillRow):
                request = SetMeta("nothing", None)
            write(request, answer, brings)

        self.front.write = forget

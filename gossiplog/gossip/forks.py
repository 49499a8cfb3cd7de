"""Authors that forked their log.

Responsible for: FORK; what shows a fork, and what follows: the author is frozen, and everybody told.
Must not know: how two segments are compared; where proofs are kept.
Invariant: an author is frozen for a verified proof and nothing else; no peer is blamed for one side of a fork.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossiplog.gossip import events
from gossiplog.gossip.allowance import FORK_POINTS, echo, hashed
from gossiplog.gossip.announcer import Announcer
from gossiplog.gossip.catch_up import CatchUp
from gossiplog.gossip.core import Core
from gossiplog.gossip.hole_filling import HoleFilling
from gossiplog.gossip.interest_exchange import InterestExchange
from gossiplog.gossip.liveness import Liveness
from gossiplog.gossip.messages import Fork
from gossiplog.gossip.outbox import PROOF
from gossiplog.gossip.pulls import Pulls
from gossiplog.gossip.session import Phase, Session
from gossiplog.gossip.write_queue import WriteQueue
from gossiplog.log.disk_cost import proof_bytes
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.segment import Segment, segment_bytes


class Forks:
    """I freeze the authors of one replica that forked."""

    def __init__(
        self,
        core: Core,
        pulls: Pulls,
        catch_up: CatchUp,
        liveness: Liveness,
        announcer: Announcer,
        interest: InterestExchange,
        hole_filling: HoleFilling,
        writes: WriteQueue,
    ) -> None:
        self._core = core
        self._pulls = pulls
        self._catch_up = catch_up
        self._liveness = liveness
        self._announcer = announcer
        self._interest = interest
        self._hole_filling = hole_filling
        self._writes = writes
        self._examined: set[bytes] = set()

    # -- what shows one

    def disagree(self, session: Session, authors: Sequence[bytes]) -> None:
        """Same seq, another id, or a fork known to one side: show what we have, so that a proof can be made."""
        core = self._core
        for author in authors:
            if not (core.wanted.wants(author) and session.wanted.wants(author)):
                self._interest.pass_over(session, author)
            elif author in core.heads.forks:
                session.outbox.prove(author)
            elif session.takes and self._interest.has_room(author):
                self._announcer.doubt(session, author)  # who knows the fork answers with the proof

    def suspect(self, session: Session, segment: Segment) -> None:
        """A verified segment is not what we hold: let the store compare, one of each author at a time."""
        if segment.author not in self._examined and self._interest.has_room(segment.author):
            self._examined.add(segment.author)
            self._core.emit(events.Examine(session.number, segment))
            self._writes.add(session, segment_bytes(segment))

    def examined(self, event: events.Examined) -> None:
        """The store compared."""
        self._examined.discard(event.segment.author)
        self._writes.done(segment_bytes(event.segment))
        if event.proof is not None and event.proof.author not in self._core.heads.forks:
            session = self._core.sessions.get(event.session)
            self._prove(event.proof, session, knows=False, points=hashed(event.segment))

    def fork(self, session: Session, message: Fork) -> None:
        """A peer shows a proof."""
        core, proof = self._core, message.proof
        if not core.wanted.wants(proof.author) or self._interest.is_beyond(proof.author, proof_bytes(proof)):
            self._interest.pass_over(session, proof.author)
        elif proof.author not in core.heads.forks and not core.is_read_only:
            verify_proof(proof)
            self._prove(proof, session)

    def found(self, event: events.ForkFound) -> None:
        """The owner of the node has a proof."""
        self._freeze(event.proof, None)

    def _prove(
        self, proof: ForkProof, session: Session | None, *, knows: bool = True, points: float = 0.0
    ) -> None:
        """Freeze the author of a proof that came of a peer, who ``knows`` it, or whose segment of ``points`` showed it.

        Without room, want the author no more.
        """
        if self._interest.has_room(proof.author, proof_bytes(proof)):
            if session is not None:
                self._liveness.progressed(session, FORK_POINTS + points + hashed(proof.segment))
            self._freeze(proof, session if knows else None)
        elif session is not None:
            session.unwanted_items += 1

    # -- what follows

    def _freeze(self, proof: ForkProof, source: Session | None) -> None:
        core, author = self._core, proof.author
        if author in core.heads.forks:
            return
        core.heads.freeze(author)
        self._core.ledger.proven(author, proof_bytes(proof))
        write = events.StoreFork(proof)
        core.emit(write)
        core.told_all += 1
        core.emit(events.Forked(proof))
        self._writes.add(source, write.size_bytes)
        for session in core.sessions.values():
            core.drop(session, author)
            if session is not source and session.wanted.wants(author):
                session.allowance.echo(echo(Fork(proof)))
                session.outbox.owe(author, PROOF)
            if session.phase is Phase.OPEN:
                self._hole_filling.filled_up(session, author)
                self._pulls.schedule.drop(session.number, author)
                core.send_waiting(session)
                self._catch_up.check(session)
        self._pulls.ask()

    def written(self, event: events.ForkWritten) -> None:
        """The proof is kept, or all is as if it had never come: what shows the fork is asked for again, once there is
        room."""
        self._core.ledger.proof_done(event.author)
        if event.is_kept and event.author not in self._core.heads.forks:
            self._core.heads.freeze(event.author)  # it was deleted, and then the proof was written
        if not event.is_kept:
            self._core.heads.thaw(event.author)
            for session in self._core.sessions.values():
                session.outbox.forget(event.author)

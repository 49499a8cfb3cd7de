"""What comes in from peers: claims, segments, fork proofs; and what became of it on our disk.

Responsible for: asking for what we miss, accepting segments, following their commits, freezing forked authors.
Must not know: sockets, files; how what we pass on is sent.
Invariant: an unverified byte changes nothing but counters; what was accepted and then lost is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gossiplog import limits
from gossiplog.errors import UnaskedHolesError
from gossiplog.gossip import events
from gossiplog.gossip.acceptance import Extends, Verdict, judge
from gossiplog.gossip.allowance import FORK_POINTS, echo, hashed, price
from gossiplog.gossip.events import StoreSegment
from gossiplog.gossip.heads import Heads
from gossiplog.gossip.hole_filling import HoleFilling
from gossiplog.gossip.messages import Fork, Have, Message
from gossiplog.gossip.outbox import PROOF
from gossiplog.gossip.plumtree import explored_seq
from gossiplog.gossip.quotas import Quota
from gossiplog.gossip.session import Pause, Phase, Session
from gossiplog.log.disk_cost import proof_bytes, row_bytes
from gossiplog.log.fork import ForkProof, verify_proof
from gossiplog.log.segment import Segment, segment_bytes, verify_whole


class Receiver(HoleFilling):
    """I take what the peers of one replica offer.  ``verify`` may be another that says the same as its default."""

    def __init__(self, holdings: Heads) -> None:
        super().__init__(holdings)
        self.verify = verify_whole
        self.read_only = False
        self.pending_bytes = 0
        self._bringing: dict[int, None] = {}
        self._ask_after = 0.0
        self._asks_later = False
        self._looks_at_withdrawn = False
        self._fresh_holes: dict[bytes, None] = {}
        self._examined_now: set[bytes] = set()

    def _left(self, session: Session) -> None:
        super()._left(session)
        self._seek_fresh_holes(tuple(self._fresh_holes))

    # -- claims

    def _learn(self, session: Session, author: bytes, seq: int, *, may_wait: bool = False) -> None:
        """The peer says that it holds ``author`` up to ``seq``: a hint where to ask, nothing more.

        ``may_wait``: it is news, which another peer may be about to send.
        """
        if not (self.wanted.wants(author) and session.wanted.wants(author)):
            session.unwanted_items += 1  # who does not want it has nothing of it for us, whatever it says
            return
        behind = seq > self.holdings.clock.seq(author) and author not in self.holdings.forks
        if behind and author not in session.lost_own and self._takes(author):
            own = author in self.holdings.local
            session.caught_up = False
            if may_wait and not own and self._comes_otherwise(session, author):
                if self.schedule.hold(session.number, author, seq):
                    self._expect(session, author)
                return
            self.schedule.claim(session.number, author, seq, first=own)
            if own:
                self._emit(events.OwnAhead(author, seq))

    def _have(self, session: Session, have: Have) -> None:
        withdrawn = False
        for author, seq in session.read_have(have):
            claimed = self.schedule.missing(session.number).get(author, 0)
            if seq < claimed:  # it had more, or said so, or has it with holes only
                self._withhold(session, author, claimed)
                self.schedule.drop(session.number, author)
                withdrawn = True
            if seq >= self.holdings.accepted_seq(author):
                session.knows(author)
            self._has_more(session, author, seq)
            self._learn(session, author, seq, may_wait=True)
        if withdrawn:
            self._pump(session)  # of a local writer it may have asked for what waited for that
        if session.missed_handles:
            self.schedule.sources[session.number].claims_more = True
        self._ask()
        self._check_caught_up(session)

    def _ask(self) -> None:
        """Send WANT for every author that has a free place with a peer ahead of us."""
        if self.read_only:
            return
        if self.now < self._ask_after:
            self._ask_later()
            return
        for number, authors in self.schedule.next_wants(self.holdings.accepted_seq, self.now):
            by_most: dict[int, list[bytes]] = {}
            for author in authors:
                by_most.setdefault(self.ledger.most(author, self.now), []).append(author)
            for most, some in by_most.items():
                self._pull(self.sessions[number], some, most)

    def _withhold(self, session: Session, author: bytes, seq: int) -> None:
        """The peer takes back what it claimed: ask for it with holes when nobody else has it."""
        if self.schedule.pulls_holes(session.number, author):
            return  # it was asked so, and has nothing at all
        self.withdrawn.note(session.number, author, seq, self.now)
        self._watch_withdrawn()

    def _watch_withdrawn(self) -> None:
        if self.withdrawn and not self._looks_at_withdrawn:
            self._looks_at_withdrawn = True
            self._at(self.now + limits.STALL_SECONDS, self._look_at_withdrawn)

    def _look_at_withdrawn(self) -> None:
        self._looks_at_withdrawn = False
        if not self.read_only:
            for number, author in self.withdrawn.open(self._may_lack, self.now):
                session = self.sessions[number]
                session.let_lack(author)
                self._pull(session, (author,), self.ledger.most(author, self.now), holes=True)
        for session in self.open_sessions():
            self._check_caught_up(session)
        self._watch_withdrawn()

    def _may_lack(self, number: int, author: bytes) -> bool:
        """Whether entries of ``author`` are welcome from this peer without their payloads."""
        wanted = self._takes(author) and self.sessions[number].wanted.wants(author)
        return wanted and author not in self.holdings.forks

    def _seek_fresh_holes(self, authors: Iterable[bytes]) -> None:
        """Ask for the payloads of those that were taken without, as soon as no more of them comes."""
        for author in authors if self._fresh_holes else ():
            if author in self._fresh_holes and author not in self.schedule.pulled_from:
                del self._fresh_holes[author]
                self._seek_payloads_of(author)

    def _ask_later(self) -> None:
        """Ask when the disk had its time; it may fail once more until then."""
        if self.sessions and not self._asks_later:
            self._asks_later = True
            self._at(self._ask_after, self._ask_now)

    def _ask_now(self) -> None:
        self._asks_later = False
        self._ask()

    def _rest(self) -> None:
        super()._rest()
        self._asks_later = False
        self._looks_at_withdrawn = False

    # -- segments

    def awaited(self, number: int, messages: Iterable[Message]) -> list[Segment]:
        """The segments among ``messages`` of one session that are going to be verified, as it looks now.  O(n)."""
        session = self.sessions.get(number)
        if session is None or session.phase is not Phase.OPEN or self.read_only:
            return []
        found: list[Segment] = []
        following: dict[bytes, int] = {}
        for message in messages:
            if type(message) is Segment:
                author = message.author
                first = following.get(author) or self.holdings.accepted_seq(author) + 1
                is_wanted = self.wanted.wants(author) and author not in self.holdings.forks
                if message.first == first and is_wanted and not self._is_beyond(author, len(message.bodies)):
                    following[author] = message.last + 1
                    found.append(message)
        return found

    def _segment(self, session: Session, segment: Segment) -> None:
        author = segment.author
        if self.read_only or author in self.holdings.forks:
            return
        if not self.wanted.wants(author):
            session.unwanted_items += 1
            return
        if self._is_beyond(author, row_bytes(len(segment.bodies))):
            session.unwanted_items += 1
            self.schedule.drop(session.number, author)
            return
        ours = self.holdings.accepted(author)
        asked = author in session.lacking.open
        if author in self.holdings.holed and segment.count and segment.first <= ours.seq:
            self._fill_from(session, segment)
        if not segment.count:
            self._filled_up(session, author)
        holes = self.schedule.pulls_holes(session.number, author)
        try:
            verdict = judge(segment, ours, self.verify, holes=holes)
        except UnaskedHolesError:
            if not session.may_lack(author):
                raise
            if not asked:
                session.allowance.spend(hashed(segment))
            self._learn(session, author, segment.last)  # it was asked for such, if not for these
            self._ask()
            return
        if isinstance(verdict, Extends):
            if verdict.holed and author in self.holdings.local:
                self._lost_own(session, verdict.head.seq, author)
            else:
                self._accept(session, verdict)
            return
        if segment.first <= ours.seq + 1 and segment.last >= ours.seq and not (asked or session.is_answer):
            session.allowance.spend(hashed(segment))
        if verdict is Verdict.AHEAD:
            self._learn(session, author, segment.last)
            self._ask()
            if segment.count and not asked and not self.schedule.pulls(session.number, author):
                self._brought_again(session, author)
        elif verdict is Verdict.DUPLICATE:
            if segment.count and not asked:
                self._brought_again(session, author)
        elif verdict is Verdict.SUSPECT and author not in self._examined_now and self._has_room(author):
            self._examined_now.add(author)
            self._emit(events.Examine(session.number, segment))
            self._bring(session, segment_bytes(segment))

    def _accept(self, session: Session, news: Extends) -> None:
        segment, head, holed = news
        author = segment.author
        if not self._takes(author, row_bytes(len(segment.bodies))):
            session.unwanted_items += 1
            return
        self.ledger.accepted(segment, self.now)
        if session.wanted.wants(author):
            self.schedule.hold(session.number, author, head.seq)
        backlog = self.schedule.pulls(session.number, author)
        self._brought(session, author, pushed=not backlog)
        self.holdings.accept(author, head)
        if holed:
            self.holdings.lacks(author)
            self._fresh_holes[author] = None
        self._progressed(session, 1 + price(segment) + hashed(segment))  # the signature, and all it leads to
        self._emit(StoreSegment(segment, head))
        self._bring(session, segment_bytes(segment))
        self.schedule.accepted(session.number, author, head.seq, self.now)
        if backlog and not self.schedule.pulls(session.number, author):
            session.answers.done(author)
        self._relay(segment, session, backlog, holed)
        if not backlog and segment.first <= explored_seq(head.seq):
            self._explore(author)
        if self.ledger.has_come(author, head.seq, pulled=author in self.schedule.pulled_from):
            self._refuse(author, Quota.RATE)
        self._ask()

    def _lost_own(self, session: Session, seq: int, author: bytes) -> None:
        """We signed entries that nobody has whole: never taken, and proof that the log cannot be continued here."""
        self.schedule.drop(session.number, author)
        session.lost_own.add(author)
        self._emit(events.OwnAhead(author, seq, proven=True))
        self._check_caught_up(session)

    def _bring(self, session: Session | None, size: int) -> None:
        """The store is given so many bytes, because of what came from ``session``."""
        self.pending_bytes += size
        if session is not None:
            self._bringing[session.number] = None
        self._throttle()

    def _throttle(self) -> None:
        """Stop reading from peers that bring entries while the store is behind; the others need not wait for that."""
        if self.pending_bytes > limits.PENDING_WRITE_BYTES:
            self._reading = False
            for number in self._bringing:
                session = self.sessions.get(number)
                if session is not None:
                    self._pause(session, Pause.STORE)
        elif self.pending_bytes <= limits.PENDING_WRITE_LOW_BYTES:
            self._bringing.clear()
            if not self._reading:
                self._reading = True
                self.schedule.resume(self.now)
                for session in self.sessions.values():
                    self._read_on(session, Pause.STORE)

    # -- the store answers

    def _committed(self, event: events.Committed) -> None:
        self.pending_bytes -= event.done_bytes
        self._throttle()
        if not event.segments and not event.stale:
            return  # of a commit, what it put on disk is told first, and then each write on its own
        changed = dict.fromkeys(segment.author for segment in event.segments)
        own = changed.keys() - self.holdings.ahead.keys() - self.holdings.forks
        for author in changed:
            self.holdings.settle(author)
            self.schedule.durable(author, self.holdings.clock.seq(author))
            self.withdrawn.durable(author, self.holdings.clock.seq(author))
        self._seek_fresh_holes(changed)
        for segment in event.segments:
            self.ledger.committed(segment, last=segment.author not in self.holdings.ahead)
            # what was accepted went on its way then
            if segment.author in own and self.wanted.wants(segment.author):
                self._relay(segment, None, backlog=False)
        if event.stale:
            self._lose(event.stale)
        for session in self.open_sessions():
            if not session.outbox.idle and any(session.outbox.owes(author) for author in changed):
                self._pump(session)
            self._check_caught_up(session)
        self._ask()

    def _commit_failed(self, event: events.CommitFailed) -> None:
        self.read_only = event.final
        # a full disk stays full for a while: what comes again at once would fail again
        self._ask_after = self.now + limits.RETRY_WRITE_SECONDS
        self._lose(None)
        self._ask()

    def _lose(self, authors: tuple[bytes, ...] | None) -> None:
        """What was accepted (of ``authors``) is not going to be on disk."""
        lost = tuple(self.holdings.ahead) if authors is None else authors
        for author in (None,) if authors is None else authors:
            self.holdings.revert(author)
            self.ledger.lost(author)
        self.schedule.reask(lost)
        for session in self.sessions.values():
            session.outbox.sweep(self._sent_all)

    # -- forks

    def _disagree(self, session: Session, authors: Sequence[bytes]) -> None:
        """Same seq, another id, or a fork known to one side: show what we have, so that a proof can be made."""
        for author in authors:
            if not (self.wanted.wants(author) and session.wanted.wants(author)):
                session.unwanted_items += 1
                continue
            if author in self.holdings.forks:
                session.outbox.prove(author)
            elif self._has_room(author):  # who knows the fork answers with the proof
                session.owe(session.doubts, author)

    def _examined(self, event: events.Examined) -> None:
        self.pending_bytes -= segment_bytes(event.segment)
        self._examined_now.discard(event.segment.author)
        self._throttle()
        if event.proof is not None and event.proof.author not in self.holdings.forks:
            session = self.sessions.get(event.session)
            self._prove(event.proof, session, knows=False, points=hashed(event.segment))

    def _fork(self, session: Session, message: Fork) -> None:
        proof = message.proof
        if not self.wanted.wants(proof.author) or self._is_beyond(proof.author, proof_bytes(proof)):
            session.unwanted_items += 1
        elif proof.author not in self.holdings.forks and not self.read_only:
            verify_proof(proof)
            self._prove(proof, session)

    def _prove(
        self, proof: ForkProof, session: Session | None, *, knows: bool = True, points: float = 0.0
    ) -> None:
        """Freeze the author of a proof that came of a peer, who ``knows`` it, or whose segment of ``points`` showed it.

        Without room, want the author no more.
        """
        if self._has_room(proof.author, proof_bytes(proof)):
            if session is not None:
                self._progressed(session, FORK_POINTS + points + hashed(proof.segment))
            self._freeze(proof, session if knows else None)
        elif session is not None:
            session.unwanted_items += 1

    def _freeze(self, proof: ForkProof, source: Session | None) -> None:
        author = proof.author
        if author in self.holdings.forks:
            return
        self.holdings.freeze(author)
        self.ledger.proven(author, proof_bytes(proof))
        write = events.StoreFork(proof)
        self._emit(write)
        self._relayed += 1
        self._emit(events.Forked(proof))
        self._bring(source, write.size_bytes)
        for session in self.sessions.values():
            session.drop(author)
            session.announce.pop(author, None)
            if session is not source and session.wanted.wants(author):
                session.allowance.echo(echo(Fork(proof)))
                session.outbox.owe(author, PROOF)
            if session.phase is Phase.OPEN:
                self._filled_up(session, author)
                self.schedule.drop(session.number, author)
                self._pump(session)
                self._check_caught_up(session)
        self._ask()

    def _fork_written(self, event: events.ForkWritten) -> None:
        """If it could not be, all is as if the proof had never come: what shows the fork is asked for again, once there
        is room."""
        self.ledger.proof_done(event.author)
        if event.is_kept and event.author not in self.holdings.forks:
            self.holdings.freeze(event.author)  # it was deleted, and then the proof was written
        if not event.is_kept:
            self.holdings.thaw(event.author)
            for session in self.sessions.values():
                session.outbox.forget(event.author)

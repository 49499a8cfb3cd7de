"""What always holds, checked after every event (``docs/security.rst``, "What always holds").

Responsible for: knowing what every author really signed, and saying at once when a node contradicts it, goes back,
forgets what it acknowledged, or keeps more than the limits allow.
Must not know: scenarios; why a node does what it does.
Invariant: what is checked after an event costs in proportion to what the event touched and to the open sessions.

Which of the sentences of "What always holds" is checked where:

1. a log is a verified prefix, without gaps       :meth:`Invariants.committed` (continues the disk, was signed);
   of what its author signed                      ``Cluster.check_agreement`` (every disk verifies, at rest);
                                                  :meth:`Invariants.sent` (no holes that were not asked for)
2. the clock never goes back, and is the disk's   :meth:`Invariants.handled` (each commit); :meth:`Invariants.started`
   after a restart                                (equal, and nothing durable is lost)
3. no second id for a seq of a local writer       :meth:`Invariants.sign`, called for each commit and for what a failed
   reaches a disk or leaves the process           one kept; :meth:`Invariants.sent` (durable before it leaves)
4. an unverified byte changes only counters       :meth:`Invariants.handled` (an offence leaves heads and forks, and
                                                  writes nothing); :meth:`Invariants.committed` (nobody else's entries)
5. connected nodes come to agree, then rest       ``Cluster.settle`` and ``Cluster.check_agreement``; ``simulator.run``
                                                  (no PING had to find a difference, unless messages were lost)
6. memory is bounded by ``limits.py``             :func:`bounds`
7. what was acknowledged is there                 :meth:`Invariants.acknowledged`, :meth:`Invariants.started`; at rest
                                                  everywhere: ``Cluster.check_agreement``
8. what a mode forbids never crosses the wire     :class:`~gossiplog.testing.sim.one_way.OneWay`;
                                                  :meth:`Invariants.committed` (who takes none stores none)
9. the same seed gives the same trace             ``World.note`` hashes all lines; ``tests.test_simulator`` compares
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gossiplog import limits
from gossiplog.gossip import budget, events
from gossiplog.gossip import memory_pressure as shedding
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.messages import Fill, Message, Pong, Ranges, Want
from gossiplog.gossip.outbox import HEADER_BYTES, size_bytes
from gossiplog.gossip.replica import Replica
from gossiplog.gossip.session import Phase
from gossiplog.live.job_queue import WriteJob
from gossiplog.log.segment import Segment, chain_ids, count_holes, verify
from gossiplog.store.requests import CommitReport
from gossiplog.testing.sim.disk import appended
from gossiplog.testing.sim.figures import Figures
from gossiplog.testing.sim.loop import Carrier
from gossiplog.testing.sim.one_way import OneWay
from gossiplog.testing.sim.trace import describe

SLACK_BYTES = 512
"""What one segment that is passed on may make a session keep."""


class InvariantError(AssertionError):
    """Something that always holds does not."""


class Invariants:
    """I watch all nodes of one simulation.

    With ``every`` above 1, for large ones, the bounds of a node are looked at after every so manieth event, and no
    trace is written; everything else stays as it is.
    """

    def __init__(self, figures: Figures, every: int = 1) -> None:
        self.figures = figures
        self._every = every
        self._handled = 0
        self.may_fork: set[bytes] = set()
        self.signed: dict[tuple[bytes, int], set[bytes]] = {}
        self.acked: dict[bytes, int] = {}
        self._acked_at: dict[tuple[str, bytes], int] = {}
        self._clocks: dict[str, dict[bytes, int]] = {}
        self._disks: dict[str, dict[bytes, int]] = {}
        self._verified: set[Segment] = set()
        self._states: dict[str, tuple[object, ...]] = {}
        self._order: dict[str, dict[tuple[int, bytes], int]] = {}
        self._lets_lack: dict[str, set[tuple[int, bytes]]] = {}
        self._asked_to_fill: dict[str, set[tuple[int, bytes]]] = {}
        self.dishonest: set[str] = set()
        self._one_way = OneWay()

    def sign(self, segment: Segment) -> None:
        """An author made this."""
        for seq, entry_id in enumerate(chain_ids(segment), segment.first):
            known = self.signed.setdefault((segment.author, seq), set())
            known.add(entry_id)
            if len(known) > 1 and segment.author not in self.may_fork:
                raise InvariantError(f"a second entry {seq} of {segment.author.hex()[:8]} was signed")

    def restored(self, node: Carrier) -> None:
        """The disk of ``node`` was put back to an earlier state, on purpose."""
        self._disks[node.name] = {author: head.seq for author, head in node.backend.heads()}
        self._acked_at = {key: seq for key, seq in self._acked_at.items() if key[0] != node.name}

    # -- told by nodes (gossiplog.testing.sim.node.Watcher)

    def started(self, node: Carrier) -> None:
        """2 and 7: it begins with what the disk holds, and all that was acknowledged is there."""
        clock = {author: head.seq for author, head in node.heads.clock.range()}
        disk = {author: head.seq for author, head in node.backend.heads()}
        for author in node.local:
            known = self._disks.get(node.name, {}).get(author, 0)
            if disk.get(author, 0) > known:  # a commit that failed and was kept all the same
                for segment in node.backend.segments(author, known + 1, limits.MAX_FRAME_BYTES):
                    self.sign(segment)
        self._require(clock == disk, node, "does not begin with what its disk holds")
        for (name, author), seq in self._acked_at.items():
            if name == node.name:
                self._require(
                    disk.get(author, 0) >= seq, node, f"lost entry {seq}, which it had acknowledged"
                )
        for author, seq in self._disks.get(node.name, {}).items():
            self._require(disk.get(author, 0) >= seq, node, f"lost entry {seq}, which was durable")
        self._one_way.started(node)
        if self.figures.spread is not None:
            self.figures.spread.started(node, disk)
        self._disks[node.name] = disk
        self._clocks[node.name] = clock
        self._order[node.name] = {}
        self._lets_lack[node.name] = set()
        self._asked_to_fill[node.name] = set()

    def committed(self, node: Carrier, jobs: Sequence[WriteJob], outcome: CommitReport) -> None:
        """1 and 3: what reaches a disk continues it, and is what the author signed."""
        own = appended(jobs)
        disk = self._disks[node.name]
        if not node.mode.takes:
            others = [segment for segment in outcome.segments if segment.author not in own]
            self._require(not others, node, "takes entries, which its mode forbids")
        for author in outcome.forgotten:
            disk.pop(author, None)
        for segment in outcome.segments:
            author = segment.author
            self._require(segment.first == disk.get(author, 0) + 1, node, f"has a gap before {segment.first}")
            if author in own:
                self.sign(segment)
            for seq, entry_id in enumerate(chain_ids(segment), segment.first):
                self._require(
                    entry_id in self.signed.get((author, seq), ()),
                    node,
                    f"stored an entry {seq} nobody signed",
                )
            disk[author] = segment.last
        if self.figures.spread is not None and outcome.segments:
            self.figures.spread.committed(node, outcome.segments)

    def acknowledged(self, node: Carrier, author: bytes, last: int) -> None:
        """7: what is acknowledged is durable."""
        self._require(
            self._disks[node.name].get(author, 0) >= last, node, "acknowledged before it was durable"
        )
        self._acked_at[node.name, author] = max(last, self._acked_at.get((node.name, author), 0))
        self.acked[author] = max(last, self.acked.get(author, 0))

    def sent(self, node: Carrier, session: int, message: Message, size: int) -> None:
        """1 and 3: what leaves a node verifies, goes in order, and own entries are durable before."""
        self.figures.sent(node, message, size)
        if node.name in self.dishonest:
            return
        for fault in self._one_way.sent(node, session, message):
            self._require(False, node, fault)
        for author in spoken_of(message):
            self._require(
                node.replica.core.wanted.wants(author), node, "sends or asks for what it does not want"
            )
        if type(message) is Segment and message.count:
            place = session, message.author
            before = self._order[node.name].get(place, 0)
            is_asked = place in self._asked_to_fill[node.name]
            in_order = is_asked or message.last > before
            self._require(in_order, node, f"sends {message.last} after {before}, unasked")
            self._order[node.name][place] = max(before, message.last)
            may_lack = is_asked or place in self._lets_lack[node.name]
            self._require(may_lack or not count_holes(message), node, "sends holes that nobody asked for")
        if type(message) is Segment and message not in self._verified:
            head = verify(message)
            if message.count:
                known = self.signed.get((message.author, head.seq), ())
                self._require(head.id in known, node, "sends what nobody signed")
            self._verified.add(message)
        if type(message) is Segment and message.author in node.heads.local:
            durable = self._disks[node.name].get(message.author, 0)
            adopted = node.heads.accepted_seq(message.author)
            self._require(
                message.last <= max(durable, adopted), node, "sends an own entry before it is durable"
            )

    def received(self, node: Carrier, sender: str, message: Message, size: int) -> None:
        """Only counted: what came decides nothing yet."""
        self.figures.received(node, sender, message, size)

    def handled(self, node: Carrier, event: Event, effects: Sequence[Effect]) -> None:
        """2, 4 and 6: the clock grew, an offence changed nothing, memory is bounded."""
        if self._every == 1:
            node.world.note(f"{node.name} {describe(event)}")
            for effect in effects:
                node.world.note(f"{node.name} -> {describe(effect)}")
        if isinstance(event, events.CommitFailed) or (isinstance(event, events.Committed) and event.stale):
            self._order[node.name].clear()  # what comes again is passed on again
        if isinstance(event, events.Received) and isinstance(event.message, Want):
            for item in event.message.items:
                place = event.session, item.author or b""
                self._order[node.name].pop(place, None)
                lets_lack = self._lets_lack[node.name]
                (lets_lack.add if item.holes else lets_lack.discard)(place)
        if isinstance(event, events.Received) and isinstance(event.message, Fill):
            self._asked_to_fill[node.name].add((event.session, event.message.author))
        if isinstance(event, events.Received) and isinstance(event.message, Pong):
            self.figures.healed += any(
                isinstance(effect, events.Send) and isinstance(effect.message, Ranges) for effect in effects
            )
        if isinstance(event, events.Forgotten):
            for author in event.authors:
                self._clocks[node.name].pop(author, None)
            order = self._order[node.name]  # nor of what was passed on: it may come again
            for key in [key for key in order if key[1] in event.authors]:
                del order[key]
        if isinstance(event, events.Committed):
            clock = self._clocks[node.name]
            for segment in event.segments:
                if self.figures.spread is not None:
                    self.figures.spread.durable(node, segment)
                seq = node.heads.clock.seq(segment.author)
                self._require(seq >= clock.get(segment.author, 0), node, "has a clock that went back")
                clock[segment.author] = seq
        for fault in self._one_way.handled(node, event, effects):
            self._require(False, node, fault)
        state = (len(node.heads.forks), tuple(node.heads.ahead.items()))
        if any(isinstance(effect, events.PeerRejected) for effect in effects):
            self._require(state == self._states.get(node.name), node, "was changed by an offence")
            self._require(
                not any(isinstance(effect, events.StoreSegment | events.StoreFork) for effect in effects),
                node,
                "wrote because of an offence",
            )
        self._states[node.name] = state
        self._handled += 1
        # a commit that deletes is told in two events: between them the clock is ahead of what was accepted
        if self._handled % self._every == 0 and not isinstance(event, events.Forgotten):
            for fault in bounds(node.replica):
                self._require(False, node, fault)

    def _require(self, holds: bool, node: Carrier, fault: str) -> None:
        if not holds:
            raise InvariantError(f"{node.name} {fault}")


def spoken_of(message: Message) -> list[bytes]:
    """The authors of which a node sends something, or wants it."""
    if type(message) is Segment:
        return [message.author]
    if type(message) is Want:
        return [item.author for item in message.items if item.author is not None]
    return []


def bounds(replica: Replica) -> list[str]:
    """6: what of a replica is larger than ``limits.py`` allows, or contradicts itself."""
    faults = []
    largest = limits.MAX_FRAME_BYTES + HEADER_BYTES
    core, heads, schedule = replica.core, replica.core.heads, replica.pulls.schedule
    seq_of = heads.clock.seq
    for author, head in heads.ahead.items():
        if head.seq < heads.clock.seq(author):
            faults.append("accepted less than is durable")
    if not 0 <= replica.writes.pending_bytes <= limits.PENDING_WRITE_BYTES + largest * 2:
        faults.append(f"has {replica.writes.pending_bytes} bytes pending")
    if set(schedule.sources) != {s.number for s in core.sessions.values() if s.phase is Phase.OPEN}:
        faults.append("has sources that are not its open sessions")
    for author, puller in schedule.pulled_from.items():
        if author not in schedule.sources[puller].open:
            faults.append("pulls an author that is not open")
    for number, source in schedule.sources.items():
        if len(source.open) > limits.OPEN_WANTS_PER_PEER:
            faults.append(f"has {len(source.open)} authors open with one peer")
        if any(schedule.pulled_from.get(author) != number for author in source.open):
            faults.append("pulls an author twice")
        if any(number not in schedule.claimants(author) for author in source.claims):
            faults.append("forgot who claims an author")
        if len(source.claims) > limits.MAX_CLAIMS + len(heads.local):
            faults.append(f"remembers {len(source.claims)} claims of one peer")
        if any(author not in source.claims for author in source.todo):
            faults.append("is going to ask for what nobody claims")
        if source.entries_ahead != sum(seq - seq_of(author) for author, seq in source.claims.items()):
            faults.append("lost count of what one peer has more")
    most: dict[bytes, int] = {}
    for source in schedule.sources.values():
        for author, seq in source.claims.items():
            most[author] = max(seq, most.get(author, 0))
    to_come = sum(seq - seq_of(author) for author, seq in most.items())
    if schedule.entries_to_come != to_come and not schedule.buries:
        faults.append("lost count of what is to come")
    if set(schedule.claimed) != {*most} and not schedule.buries:
        faults.append("remembers who claims what nobody claims")
    if len(replica.plumtree.parents) > limits.MAX_PARENTS:
        faults.append("remembers too many parents")
    if replica.plumtree.eager_sources != sum(
        s.phase is Phase.OPEN and s.takes and not replica.plumtree.of[s].is_lazy
        for s in core.sessions.values()
    ):
        faults.append("lost count of who pushes")
    if core.budget.session_bytes != sum(a.bytes for a in core.budget._accounts.values()):
        faults.append("lost count of its memory")
    if core.budget.greediest(core.now) is not None:
        faults.append("keeps more than it has memory for")
    slack = (shedding.RELAYED_AT_ONCE - 1) * SLACK_BYTES
    for session in core.sessions.values():
        kept_bytes = replica.memory_pressure.kept_bytes(session)
        if session.phase is Phase.OPEN:
            kept_bytes += schedule.held_bytes(session.number)
        if kept_bytes + budget.SESSION_BYTES > core.budget.held_bytes(session.number) + slack:
            faults.append(f"is charged too little for the {kept_bytes} bytes of a session")
        outbox = session.outbox
        if outbox.ready_bytes > limits.READ_AHEAD_BYTES * 3 + largest:
            faults.append(f"read {outbox.ready_bytes} bytes ahead")
        ready = (*outbox.ready_news, *outbox.ready)
        counted = (outbox.ready_bytes, outbox._ready_of)
        if counted != (sum(map(size_bytes, ready)), Counter(s.author for s in ready)):
            faults.append("lost count of what it read ahead")
        if outbox.ready and outbox.credit_bytes > 0 and session.phase is Phase.OPEN:
            faults.append("holds back what could go")
        if max(len(outbox.news), len(outbox.backlog), len(session.service)) > limits.MAX_OWED_AUTHORS:
            faults.append("remembers too many authors for one peer")
        handles = replica.announcements.of[session].handles, replica.announcer.of[session].handles
        if max(len(table) for table in handles) > limits.MAX_HANDLES:
            faults.append("remembers too many handles")
        if len(session.wanted.authors) > limits.MAX_NAMED_AUTHORS:
            faults.append("remembers too many names of one peer's interest")
        if outbox.news.keys() & outbox.backlog.keys():
            faults.append("owes an author twice")
    if not core.sessions and replica.deadline is not None:
        faults.append("has a timer without a session")
    return faults

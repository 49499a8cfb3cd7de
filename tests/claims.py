"""What gossip is held to: what every author signed, and what nodes say of each other.

Responsible for: the model of :mod:`tests.test_gossip_model`, and the claims "caught up" and "in sync".
Must not know: which steps are taken.
Invariant: what is compared comes from disks and from messages, never from what a node believes of its peers.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossiplog.gossip import events
from gossiplog.gossip.events import Effect, Event
from gossiplog.gossip.messages import Hello, Message, Pong
from gossiplog.store.requests import CommitReport
from gossiplog.testing.sim.disk import Job
from gossiplog.testing.sim.figures import Figures
from gossiplog.testing.sim.invariants import Invariants
from gossiplog.testing.sim.loop import Carrier
from tests.stepping import End


def prefix(shorter: Sequence[bytes], longer: Sequence[bytes]) -> bool:
    """Tell whether one log begins with the whole of another."""
    return list(longer[: len(shorter)]) == list(shorter)


class Histories:
    """I am the model: what every author signed, branch by branch, as lists of ids."""

    def __init__(self, may_fork: set[bytes]) -> None:
        self.branches: dict[bytes, list[list[bytes]]] = {}
        self._may_fork = may_fork

    def signed(self, author: bytes, log: list[bytes]) -> None:
        """Who can sign for ``author`` has this on disk: it continues one branch, or begins another."""
        branches = self.branches.setdefault(author, [])
        for place, branch in enumerate(branches):
            if prefix(log, branch):
                return
            if prefix(branch, log):
                branches[place] = log
                return
        branches.append(log)
        assert len(branches) == 1 or author in self._may_fork, "an author signed a seq twice"

    def check(self, author: bytes, log: list[bytes]) -> None:
        """This is on a disk: without gaps, what the author signed."""
        assert any(prefix(log, branch) for branch in self.branches[author]), "no prefix of what was signed"


class Claims(Invariants):
    """I am the simulator's checker, and hold nodes to what they say of each other.

    ``deleted`` is what was ever to be deleted; ``durable`` and ``shown`` are how far a disk and a clock are known to
    have come, by node and author.
    """

    def __init__(self, figures: Figures) -> None:
        super().__init__(figures)
        self.deleted: set[tuple[str, bytes]] = set()
        self.durable: dict[tuple[str, bytes], int] = {}
        self.shown: dict[tuple[str, bytes], int] = {}

    def started(self, node: Carrier) -> None:
        """Its clock is what its disk holds; a failed sync may have kept that something was deleted on purpose."""
        held = dict(node.backend.heads())
        for key in self.deleted:
            if key[0] == node.name and key[1] not in held:
                self._disks[node.name].pop(key[1], None)
                self.durable.pop(key, None)
        super().started(node)
        self.shown = {key: seq for key, seq in self.shown.items() if key[0] != node.name}

    def committed(self, node: Carrier, jobs: Sequence[Job], outcome: CommitReport) -> None:
        """What was deleted on purpose begins anew."""
        super().committed(node, jobs, outcome)
        for author in outcome.forgotten:
            self.durable.pop((node.name, author), None)

    def sent(self, node: Carrier, session: int, message: Message, size: int) -> None:
        """Remember what a node holds when it greets and when it answers a PING."""
        super().sent(node, session, message, size)
        if isinstance(message, Hello | Pong):
            holdings = node.heads
            holds = {author: head for author, head in holdings.clock.items() if author not in holdings.forks}
            heard = end_of(node, session).other.heard
            if isinstance(message, Hello):
                heard.greeted = holds
            else:
                heard.pongs.append(holds)

    def handled(self, node: Carrier, event: Event, effects: Sequence[Effect]) -> None:
        """Hold it to "caught up" and "in sync"; what it deleted after it had greeted is not expected of anyone."""
        super().handled(node, event, effects)
        if isinstance(event, events.Forgotten):
            for author in event.authors:
                self.shown.pop((node.name, author), None)
            for session in node.ends:
                end = end_of(node, session)
                end.heard.exempt.update(event.authors)
                end.other.heard.exempt.update(event.authors)
        for effect in effects:
            if isinstance(effect, events.CaughtUp):
                check_caught_up(node, effect.session)
            elif isinstance(effect, events.InSync):
                check_in_sync(node, effect.session)


def end_of(node: Carrier, session: int) -> End:
    """A node's side of a session."""
    end: object = node.ends[session]
    assert isinstance(end, End)
    return end


def both_want(node: Carrier, session: int, author: bytes) -> bool:
    """Whether an author is to be compared: both want it, nobody changed that meanwhile, and it is not forked."""
    if author in end_of(node, session).heard.exempt or author in node.heads.forks:
        return False
    return node.replica.core.wanted.wants(author) and node.replica.core.sessions[session].wanted.wants(author)


def check_caught_up(node: Carrier, session: int) -> None:
    """On disk is everything that the peer had when it last told of it."""
    for author, seq in end_of(node, session).heard.claims.items():
        if both_want(node, session, author):
            ours = node.disk.logs.clock.seq(author)
            if node.heads.clock.seq(author) > ours:
                continue  # it was deleted this moment, and the node is yet to hear of it
            assert ours >= seq, f"{node.name} is not caught up: {author.hex()[:4]} is at {ours}, not {seq}"


def check_in_sync(node: Carrier, session: int) -> None:
    """Both hold the same."""
    theirs = end_of(node, session).heard.at_pong
    for author in {*theirs, *node.heads.clock}:
        if both_want(node, session, author):
            assert node.heads.clock.head(author) == theirs.get(author), f"{node.name} is not in sync"

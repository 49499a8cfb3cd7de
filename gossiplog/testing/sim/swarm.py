"""A thousand nodes that look for each other.

Responsible for: running the topologies of many nodes against each other, in virtual time: dials, PEERS, caps, deaths.
Must not know: logs; the graph that comes out is what a scenario of entries can be run on.
Invariant: the same seed gives the same graph.

A dial takes a round trip of ``TRIP_SECONDS``; one that finds nobody takes ten.  Every node has one address, in an
address group of its own unless it is given others.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from gossiplog.addresses import Address
from gossiplog.gossip.links import Dial, Drop, Tell
from gossiplog.gossip.messages import Peers
from gossiplog.gossip.neighbour import Neighbour
from gossiplog.gossip.topology import Topology

TRIP_SECONDS = 0.05


class Member:
    """One node: its topology, where it listens, and its sessions."""

    def __init__(self, number: int, address: Address, random: Random) -> None:
        self.number = number
        self.node = number.to_bytes(32, "big")
        self.address = address
        self.topology = Topology(self.node, random)
        self.topology.own = (address,)
        self.is_alive = True
        self.sessions: dict[int, tuple[Member, int]] = {}
        self.step_at = float("inf")


class Swarm:
    """I run members.

    ``lie`` may put another PEERS in the place of one that a member tells, or say nothing (None).  Members in
    ``closing`` end each session that another dialled as soon as it is open; what members in ``leading`` bring is new.
    """

    def __init__(self, seed: int, lie: Callable[[Member, Peers], Peers | None] | None = None) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.members: list[Member] = []
        self.dials = 0
        self.closing: set[Member] = set()
        self.leading: set[Member] = set()
        self._lie = lie
        self._at: dict[Address, Member] = {}
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._next_session = 0

    def add(self, address: Address, bootstrap: Iterable[Member] = (), wanted: int = 8) -> Member:
        """One more node, which knows the addresses of ``bootstrap`` and keeps links there."""
        member = Member(len(self.members), address, Random(self.random.random()))
        self.members.append(member)
        self._at[address] = member
        member.topology.join(wanted, self.now)
        for other in bootstrap:
            self.connect(member, other, is_chosen=True)
        self._wake(member)
        return member

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(self._queue)
            action(*arguments)
        self.now = end

    def meet(self, one: Member, other: Member) -> None:
        """The owner of ``one`` connects it to ``other``."""
        self.connect(one, other, is_chosen=True)

    def kill(self, members: Iterable[Member]) -> None:
        """These are gone, without a word."""
        for member in members:
            member.is_alive = False
            for session, (other, theirs) in tuple(member.sessions.items()):
                self._end(member, session, other, theirs)

    @property
    def alive(self) -> list[Member]:
        """Who is left."""
        return [member for member in self.members if member.is_alive]

    def degrees(self) -> list[int]:
        """How many links each has who is left."""
        return [len(member.sessions) for member in self.alive]

    def components(self) -> list[int]:
        """The sizes of the parts that hang together, the largest first."""
        seen: set[int] = set()
        sizes = []
        for member in self.alive:
            if member.number in seen:
                continue
            seen.add(member.number)
            size, waiting = 0, deque([member])
            while waiting:
                size += 1
                for other, _ in waiting.popleft().sessions.values():
                    if other.number not in seen:
                        seen.add(other.number)
                        waiting.append(other)
            sizes.append(size)
        return sorted(sizes, reverse=True)

    def edges(self) -> list[tuple[int, int]]:
        """The pairs that have a session."""
        pairs = {tuple(sorted((m.number, o.number))) for m in self.alive for o, _ in m.sessions.values()}
        return sorted((a, b) for a, b in pairs)

    # --

    def later(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do this after so long."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, action, arguments))

    def _wake(self, member: Member) -> None:
        """Let it act now."""
        member.step_at = self.now
        self.later(0.0, self._step, member, self.now)

    def _step(self, member: Member, when: float) -> None:
        if not member.is_alive or member.step_at != when:
            return
        for action in member.topology.step(self.now):
            if isinstance(action, Dial):
                self.dials += 1
                target = self._at.get(action.address)
                trips = 2.0 if target is not None and target.is_alive else 10.0
                self.later(TRIP_SECONDS * trips, self._dialled, member, action)
            elif isinstance(action, Tell):
                self.later(TRIP_SECONDS, self._told, member, action)
            elif isinstance(action, Drop):
                self.end(member, action.session, is_full=action.is_full)
        deadline = member.topology.deadline(self.now)
        member.step_at = float("inf")
        if deadline is not None:
            member.step_at = max(deadline, self.now + 0.001)
            self.later(member.step_at - self.now, self._step, member, member.step_at)

    def _dialled(self, member: Member, dial: Dial) -> None:
        if not member.is_alive:
            return
        other = self._at.get(dial.address)
        if other is not None and not other.is_alive:
            other = None
        member.topology.dialled(dial.address, other.node if other else None, self.now)
        if other is not None and other is not member and not dial.is_check and not self.linked(member, other):
            session = self.connect(member, other, is_chosen=False)
            if other in self.closing:
                self.later(TRIP_SECONDS, self.end, member, session)
        self._wake(member)

    def linked(self, member: Member, other: Member) -> bool:
        """Whether there is a session between them."""
        return any(peer is other for peer, _ in member.sessions.values())

    def connect(self, member: Member, other: Member, *, is_chosen: bool) -> int:
        """``member`` dials ``other``, and is let in; returns its number of the session."""
        ours, theirs = self._next_session, self._next_session + 1
        self._next_session += 2
        member.sessions[ours] = (other, theirs)
        other.sessions[theirs] = (member, ours)
        at = Address(member.address.ip, 50_000)
        self._open(member, ours, other, other.address, other.address, is_chosen=is_chosen)
        self._open(other, theirs, member, at, None, is_chosen=False)
        return ours

    def _open(
        self,
        member: Member,
        session: int,
        peer: Member,
        at: Address,
        dialled: Address | None,
        *,
        is_chosen: bool,
    ) -> None:
        neighbour = Neighbour(
            session, peer.node, at, dialled, is_chosen=is_chosen, takes_peers=True, now=self.now
        )
        if peer in self.leading:
            neighbour.news_at = float("inf")
        member.topology.opened(neighbour, self.now)
        self._wake(member)

    def end(self, member: Member, session: int, *, is_full: bool = False) -> None:
        """``member`` ends a session, if it is not over; ``is_full``: it has no room."""
        if session in member.sessions:
            other, theirs = member.sessions[session]
            self._end(member, session, other, theirs, is_full=is_full)

    def _end(self, member: Member, ours: int, other: Member, theirs: int, *, is_full: bool = False) -> None:
        for who, session, is_told in ((member, ours, False), (other, theirs, is_full)):
            if who.sessions.pop(session, None) is not None:
                who.topology.closed(session, self.now, is_full=is_told)
                if who.is_alive:
                    self._wake(who)

    def _told(self, member: Member, tell: Tell) -> None:
        if tell.session not in member.sessions:
            return
        other, theirs = member.sessions[tell.session]
        message = tell.message if self._lie is None else self._lie(member, tell.message)
        if message is not None:
            other.topology.heard(theirs, message, self.now)
            self._wake(other)

"""Swarms to measure: how they grow, liars among them, and what entries cost over the graph that comes of it.

Responsible for: the scenarios of ``python -m bench swarm`` and of the tests, which are smaller.
Must not know: what figures are good.
Invariant: the same arguments give the same figures.

>>> swarm = grow(20, seed=1)
>>> swarm.run(30.0)
>>> swarm.components()
[20]
"""

from __future__ import annotations

from random import Random

from gossiplog.addresses import Address
from gossiplog.gossip.messages import Contact, Peers
from gossiplog.testing.sim.steady import Cost, Steady, measure
from gossiplog.testing.sim.swarm import Member, Swarm

LIARS_GROUPS = 16
"""Address groups that those who lie have."""


def place(number: int) -> Address:
    """Where member ``number`` is; 250 of 25,000 are in one address group."""
    high, low = divmod(number, 250)
    return Address(bytes([20 + high % 100, low, high // 100, 1]), 4000)


def grow(count: int, seed: int, *, islands: int = 1) -> Swarm:
    """So many join, two a second, each by the address of one that is there; of ``islands``, of its own."""
    random, swarm = Random(seed), Swarm(seed)
    for number in range(count):
        others = swarm.members[number % islands :: islands]
        swarm.add(place(number), [random.choice(others)] if others else [])
        swarm.run(0.5)
    return swarm


def grow_with_liars(
    count: int, seed: int, *, are_allied: bool = True, is_pushed: bool = False
) -> tuple[Swarm, list[Member]]:
    """Every other one lies, all from 16 address groups; returns the honest as well.

    They tell of addresses where nobody is, in 16 groups too; ``are_allied``: a third of them only of each other.
    ``is_pushed``: in the end they fill the places of everybody.  The honest come by the address of an honest one.
    """
    random = Random(seed)
    honest: list[Member] = []
    lying: list[Member] = []

    def lie(member: Member, said: Peers) -> Peers:
        if member.number % 2 == 0:
            return said
        if are_allied and member.number % 3 == 0:
            others = random.sample(lying, min(64, len(lying)))
            return Peers(tuple(Contact(each.node, 0, (each.address,)) for each in others), said.seen)
        nobody = (
            Address(bytes([150, number % LIARS_GROUPS, *random.randbytes(2)]), 4000) for number in range(64)
        )
        return Peers(tuple(Contact(random.randbytes(32), 0, (each,)) for each in nobody), said.seen)

    swarm = Swarm(seed, lie)
    for number in range(count):
        of_group, group = divmod(number // 2, LIARS_GROUPS)
        address = Address(bytes([200, group, *of_group.to_bytes(2, "big")]), 4000)
        lies = number % 2 == 1
        member = swarm.add(address if lies else place(number), [random.choice(honest)] if honest else [])
        (lying if lies else honest).append(member)
        swarm.run(0.5)
    if is_pushed:
        for member in honest:
            for other in random.sample(lying, min(60, len(lying))):
                if not swarm.linked(other, member):
                    swarm.connect(other, member, is_chosen=False)
    return swarm, honest


def honest_links(honest: list[Member]) -> list[int]:
    """With how many of the honest each of them has a session."""
    numbers = {member.number for member in honest}
    return [sum(other.number in numbers for other, _ in each.sessions.values()) for each in honest]


def deliver(swarm: Swarm, seed: int, authors: int) -> Cost:
    """What entries cost over the graph of ``swarm`` as it is, each second one of each of so many authors."""
    steady = Steady(nodes=len(swarm.members), authors=authors, warm_up=10.0, window=5.0)
    return measure(steady, seed, swarm.edges())

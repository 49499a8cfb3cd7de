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

from gossiplog import limits
from gossiplog.addresses import Address
from gossiplog.gossip.messages import Contact, Peers
from gossiplog.testing.sim.steady import Cost, Steady, measure
from gossiplog.testing.sim.swarm import Member, Swarm

LIARS_GROUPS = 16
"""Address groups that those who lie have."""

HABITS = {
    "nobody": "tell of addresses where nobody is, in 16 groups more",
    "allied": "tell of each other only",
    "mixed": "a third of each other, the rest of nobody",
    "mute": "tell of nobody else",
    "closing": "tell of each other, and end what others dial",
    "holding": "dial all the honest again and again, with twice as many ids as there are places, and bring news",
    "early": "tell of each other, and came before the first honest one",
}
"""What those who lie do."""

GROWTH_SECONDS = 500.0
"""In which a swarm of more than a thousand has grown."""

PUSH_SECONDS = 20.0
"""Between two times that those who hold dial all."""


def place(number: int) -> Address:
    """Where member ``number`` is; 250 of 25,000 are in one address group."""
    high, low = divmod(number, 250)
    return Address(bytes([20 + high % 100, low, high // 100, 1]), 4000)


def grow(count: int, seed: int, *, islands: int = 1) -> Swarm:
    """So many join, in 500 seconds or two a second, each by the address of one that is there, and of its island."""
    random, swarm = Random(seed), Swarm(seed)
    wait = min(0.5, GROWTH_SECONDS / count)
    for number in range(count):
        others = swarm.members[number % islands :: islands]
        swarm.add(place(number), [random.choice(others)] if others else [])
        swarm.run(wait)
    return swarm


def grow_with_liars(count: int, seed: int, habit: str = "mixed") -> tuple[Swarm, list[Member]]:
    """Every other one lies as ``HABITS`` says, all from 16 address groups; returns the honest as well.

    The honest come by the address of an honest one.
    """
    random = Random(seed)
    honest: list[Member] = []
    lying: list[Member] = []

    def lie(member: Member, said: Peers) -> Peers | None:
        if member not in liars:
            return said
        told = [Contact(member.node, 0, (member.address,))]
        if habit in ("allied", "early", "closing") or (habit == "mixed" and member.number % 3 == 0):
            told += [
                Contact(each.node, 0, (each.address,)) for each in random.sample(lying, min(63, len(lying)))
            ]
        elif habit != "mute":
            for group in range(63):
                address = Address(bytes([150, group % LIARS_GROUPS, *random.randbytes(2)]), 4000)
                told.append(Contact(random.randbytes(32), 0, (address,)))
        return Peers(tuple(told), said.seen)

    def add_liar() -> None:
        of_group, group = divmod(len(lying), LIARS_GROUPS)
        address = Address(bytes([200, group, *of_group.to_bytes(2, "big")]), 4000)
        known = [random.choice(honest or lying)] if honest or lying else []
        wanted = 0 if habit == "holding" else limits.LINKS_WANTED
        lying.append(swarm.add(address, known, wanted))
        liars.add(lying[-1])

    def push() -> None:
        for liar in lying:
            for member in honest:
                if not swarm.linked(liar, member):
                    swarm.connect(liar, member, is_chosen=False)
        swarm.later(PUSH_SECONDS, push)

    liars: set[Member] = set()
    swarm = Swarm(seed, lie)
    if habit == "closing":
        swarm.closing = liars
    elif habit == "holding":
        swarm.leading = liars
    for number in range(count):
        if number < count // 2 if habit == "early" else number % 2 == 1:
            add_liar()
        else:
            honest.append(swarm.add(place(number), [random.choice(honest)] if honest else []))
            if habit == "early" and len(honest) == 1:
                swarm.meet(lying[0], honest[0])
        swarm.run(0.5)
    if habit == "holding":
        while len(lying) < 2 * limits.MAX_FOUND_LINKS:
            add_liar()
        push()
    return swarm, honest


def honest_links(honest: list[Member]) -> list[int]:
    """With how many of the honest each of them has a session."""
    numbers = {member.number for member in honest}
    return [sum(other.number in numbers for other, _ in each.sessions.values()) for each in honest]


def deliver(swarm: Swarm, seed: int, authors: int) -> Cost:
    """What entries cost over the graph of ``swarm`` as it is, each second one of each of so many authors.

    Between two floods: the one after the eighth entry of each author is over, that after the 64th not yet due.
    """
    steady = Steady(nodes=len(swarm.members), authors=authors, warm_up=20.0, window=5.0)
    return measure(steady, seed, swarm.edges())

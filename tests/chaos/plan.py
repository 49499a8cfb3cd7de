"""What happens in a soak, and when: drawn from a seed.

Responsible for: the kinds of trouble, how often and how long each is, who is connected with whom.
Must not know: processes.
Invariant: a seed, a length and a number of parties always give the same plan.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

KINDS: Final = {
    "kill": 6,  # SIGKILL, and a new start after a while
    "term": 3,  # SIGTERM, the same
    "pause": 4,  # SIGSTOP, SIGCONT after a while
    "slow": 5,  # a wire delays
    "cut": 5,  # a wire is cut, and refuses
    "hole": 5,  # a wire swallows everything
    "full": 3,  # the disk is full
    "inodes": 1,  # the disk takes no new file
    "descriptors": 2,  # the process gets no new descriptor
    "reader": 2,  # another program reads the database
    "burst": 5,  # large and small commits in turn
    "interest": 4,  # somebody is unfollowed or blocked, and wanted again
    "quota": 2,  # a new start with quotas, and another without
    "command": 4,  # commands on the store, between two lives of its node
    "backup": 3,  # a copy of the closed store is kept
    "restore": 1,  # and put back
    "flip": 1,  # a byte of the database is another after kill -9
    "flipwal": 2,  # or of the write-ahead log
}
"""Each kind of trouble, and how often it comes compared with others."""

PARTIES: Final = ("embedded", "embedded", "embedded", "run", "embedded", "twistd", "embedded", "embedded")
"""Of what kind the parties are, again from the start if there are more."""

GAP_SECONDS: Final = 1.2
"""Between two troubles, on average."""


class Step(NamedTuple):
    """One trouble: when it begins, how long it is, whom it is about, and a number for what else is to be chosen."""

    at: float
    kind: str
    whom: int
    seconds: float
    draw: int

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.kind:12} {self.whom:3} for {self.seconds:4.1f} s  ({self.draw})"


class Plan(NamedTuple):
    """``wires`` are pairs: who dials, and who listens.  ``whom`` of a step that is about a wire is a wire's number."""

    seed: int
    seconds: float
    kinds: tuple[str, ...]
    clocks: tuple[int, ...]
    """Days that the clock of each party is wrong."""
    wires: tuple[tuple[int, int], ...]
    steps: tuple[Step, ...]


def draw(seed: int, seconds: float, parties: int) -> Plan:
    """Return the plan of a seed."""
    random = Random(seed)
    kinds = tuple(PARTIES[number % len(PARTIES)] for number in range(parties))
    clocks = tuple(random.choice((0, 0, 0, -400, 15_000)) for _ in kinds)
    ring = [(number, (number + 1) % parties) for number in range(parties)]
    chords = [tuple(random.sample(range(parties), 2)) for _ in range(parties)]
    wires = tuple(dict.fromkeys([*ring, *chords]))
    steps = []
    at = 2.0
    while at < seconds - 1:
        [kind] = random.choices(list(KINDS), list(KINDS.values()))
        whom = random.randrange(len(wires) if kind in ("slow", "cut", "hole") else parties)
        steps.append(Step(round(at, 1), kind, whom, round(random.uniform(0.5, 8), 1), random.randrange(1000)))
        at += random.expovariate(1 / GAP_SECONDS)
    return Plan(seed, seconds, kinds, clocks, wires, tuple(steps))  # type: ignore[arg-type]

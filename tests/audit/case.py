"""One attack, and the bound that holds against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Outcome(NamedTuple):
    """What came of an attack: a figure with its unit, and whether the bound held."""

    figure: str
    held: bool


class Case(NamedTuple):
    """An attack on real processes.

    ``name`` is what the command takes, ``attack`` and ``bound`` are for people, ``run`` takes about how many seconds
    the attack may go on.
    """

    name: str
    attack: str
    bound: str
    run: Callable[[float], Outcome]

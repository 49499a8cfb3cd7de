"""How long to wait before something is tried again.

Responsible for: :func:`back_off`, and :func:`doubled` without chance.
Must not know: what is tried.
Invariant: longer after each failure, up to a bound; never quite as long as somebody else who failed at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable


def back_off(times: int, first: float, most: float, chance: Callable[[], float]) -> float:
    """Return for how long, after ``times`` failures before this one; ``chance`` gives numbers in [0, 1).

    >>> [back_off(times, 1.0, 60.0, lambda: 0.5) for times in (0, 1, 2, 9)]
    [0.75, 1.5, 3.0, 45.0]
    """
    return doubled(times, first, most) * (0.5 + chance() / 2)


def doubled(times: int, first: float, most: float) -> float:
    """Return ``first``, doubled so many ``times``, ``most`` at the most.

    >>> [doubled(times, 1.0, 60.0) for times in (0, 1, 2, 9, 10**6)]
    [1.0, 2.0, 4.0, 60.0, 60.0]
    """
    return float(min(first * 2.0 ** min(times, 30), most))

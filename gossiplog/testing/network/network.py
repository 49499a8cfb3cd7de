"""A network for the tests of an application: real stores and nodes, lines in memory, time that passes when told.

Responsible for: :class:`Network`: its machines, the lines between them, and letting time pass.
Must not know: what runs on the machines.
Invariant: everything follows from the seed and what is called; nothing sleeps, and nothing happens but while a test
lets time pass.

>>> with Network(seed=1) as network:
...     ann, bob = network.machine("ann"), network.machine("bob")
...     network.cut(ann, bob)
...     network.advance(60.0)
...     network.now
60.0
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine
from itertools import combinations
from math import inf
from types import TracebackType
from typing import Any, Final, TypeAlias, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from gossiplog.arguments import check_flags, check_seconds, check_type, wrong
from gossiplog.errors import InvalidValueError, WrongCallerError
from gossiplog.live.results import Result, deliver, fail_quietly
from gossiplog.testing.network.machine import Machine
from gossiplog.testing.network.reactor import VirtualReactor
from gossiplog.testing.sim.disk import Speed
from gossiplog.testing.sim.pipes import Quality
from gossiplog.testing.sim.wires import Net, Station
from gossiplog.testing.sim.world import World

T = TypeVar("T")

Named: TypeAlias = Machine | str
"""A machine, or its name."""

PATIENCE_SECONDS: Final = 3600.0
"""Virtual time in which what a test waits for comes: back-off and timeouts of a node fit in many times."""

LOOK_SECONDS: Final = 1.0
"""Between two looks at a condition while nothing happens: it may be one of the time."""

BUSY_EVENTS: Final = 1_000_000
"""So many events at one instant are a loop that waits for nothing."""

LINE: Final = Quality()
DISK: Final = Speed()

_NAME: Final = re.compile("[a-z][a-z0-9-]{0,39}")


class StuckError(AssertionError):
    """What a test waits for does not come."""


class Network:
    """I am a network of machines in memory, in virtual time; ``quality`` is that of all lines that have no other.

    Two networks of one ``seed`` with which the same is done give the same ``trace``.
    """

    def __init__(self, seed: int = 0, *, quality: Quality = LINE) -> None:
        if type(seed) is not int:
            raise wrong("seed", "an integer", seed)
        _check_quality(quality)
        self.world = World(seed)
        self.random = self.world.child()
        self._net = Net(self.world)
        self._net.default = quality
        self._net.reachable = self._reaches
        self._machines: dict[str, Machine] = {}
        self._book: dict[str, VirtualReactor] = {}
        self._cut: set[frozenset[str]] = set()
        self._waiting: dict[Deferred[None], Callable[[], bool]] = {}
        self._failures: list[Failure] = []
        self._passes = False
        self._closed = False

    # -- machines

    def machine(self, name: str, *, disk: Speed = DISK) -> Machine:
        """One more machine; others dial it as ``tcp:NAME:PORT``.  ``disk``: how fast its disk is."""
        check_type("name", name, str, "text")
        if not _NAME.fullmatch(name) or name == "localhost":
            raise InvalidValueError(
                f"name is 1 to 40 of a-z, 0-9 and -, and begins with a letter; not {name!r}"
            )
        if name in self._machines:
            raise InvalidValueError(f"there is a machine {name!r} already")
        check_type("disk", disk, Speed, "a Speed")
        if self._closed:
            raise WrongCallerError("the network is closed: make another one")
        number = len(self._machines) + 1
        address = f"10.0.{number // 256}.{number % 256}"
        self._machines[name] = Machine(self._net, name, address, disk, self._book)
        return self._machines[name]

    @property
    def machines(self) -> list[Machine]:
        """Those there are, in the order in which they were made."""
        return [*self._machines.values()]

    # -- lines

    def become(self, a: Named, b: Named, quality: Quality) -> None:
        """Let the line between two machines be like this, for what is sent from now on."""
        _check_quality(quality)
        pair = self._pair(a, b)
        self._net.qualities[pair] = quality
        for line in self._net.between(self._known(a).reactor, self._known(b).reactor):
            line.become(quality)

    def cut(self, a: Named, b: Named, *, silent: bool = False) -> None:
        """Break the connections between two machines, and let none be made until :meth:`heal`.

        ``silent``: a cable was pulled.  Nobody is told; what was sent comes after healing, to who has not given up.
        """
        check_flags(silent=silent)
        self._part({self._pair(a, b)}, silent)

    def partition(self, *groups: Collection[Named], silent: bool = False) -> None:
        """Cut every line between machines of different groups; who is in none reaches everyone."""
        check_flags(silent=silent)
        names = [[self._known(one).name for one in self._group(group)] for group in groups]
        every = [name for group in names for name in group]
        if len(set(every)) < len(every):
            raise InvalidValueError("a machine is in one group at most")
        pairs = {frozenset((a, b)) for one, two in combinations(names, 2) for a in one for b in two}
        self._part(pairs, silent)

    def heal(self, *machines: Named) -> None:
        """Join what was cut: the line between two machines, or all that are cut."""
        if machines and len(machines) != 2:
            raise InvalidValueError(f"heal takes the two machines of a line, or none; not {len(machines)}")
        healed = {self._pair(*machines)} if machines else set(self._cut)
        self._cut -= healed
        self.world.note(f"heal {_shown(healed)}")
        for line in self._net.links:
            if self._net.reachable(*(end.party for end in line.ends)):
                for end in line.ends:
                    end.way.release()

    # -- time

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.world.now

    @property
    def trace(self) -> str:
        """The hash of all that happened."""
        return self.world.trace

    @property
    def recent(self) -> list[str]:
        """What happened last, in words."""
        return [*self.world.recent]

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        check_seconds("seconds", seconds)
        until = self.now + seconds
        self._pass(until, lambda: False)

    def run_until(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Let time pass until ``condition()`` holds; :class:`StuckError` if it does not in so many seconds."""
        _check_condition(condition)
        check_seconds("seconds", seconds)
        if not self._pass(self.now + seconds, condition, looks=True):
            raise self._stuck(f"{condition} does not hold", seconds)

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float = PATIENCE_SECONDS) -> T:
        """Let time pass until ``coroutine`` is done, and return what it does; :class:`StuckError` if it is not in time.

        ``network.run(test())`` is the whole of a test that is written with ``await``.
        """
        _check_coroutine(coroutine)
        try:
            check_seconds("seconds", seconds)
        except InvalidValueError:
            coroutine.close()
            raise
        outcome: list[Any] = []
        running = self._begin(coroutine)
        running.addBoth(outcome.append)
        try:
            if not self._pass(self.now + seconds, lambda: bool(outcome)):
                raise self._stuck(f"{coroutine!r} is not done", seconds)
        finally:
            running.cancel()
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        value: T = outcome[0]
        return value

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Result[T]:
        """Let ``coroutine`` run beside the test, until it ends or what is returned is cancelled.

        What it fails with is raised where the test lets time pass, but for that its machine crashed.
        """
        _check_coroutine(coroutine)
        running = self._begin(coroutine)
        result: Result[T] = Result(lambda _: running.cancel())

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError) and not self._is_of_a_crash(failure):
                self._failures.append(failure)
            fail_quietly(result, failure)

        running.addCallbacks(lambda value: deliver(result, value), failed)
        return result

    def sleep(self, seconds: float) -> Deferred[None]:
        """Wait, in a coroutine, until so much time has passed."""
        check_seconds("seconds", seconds)
        passed: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self.world.after(seconds, lambda: passed.callback(None))
        return passed

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Wait, in a coroutine, until ``condition()`` holds."""
        _check_condition(condition)
        holds: Deferred[None] = Deferred(lambda _: forget())

        def forget() -> None:
            self._waiting.pop(holds, None)

        self._waiting[holds] = condition
        self._look()
        return holds

    # -- the end

    def close(self) -> None:
        """End every process at once; nothing more happens on them."""
        for machine in self.machines:
            machine.crash(silent=True)
        self._closed = True
        self._raise_failures()

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._failures.clear()  # the first is enough
        self.close()

    # --

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run it until it waits for something."""
        try:
            before = self._enter(nested=True)
        except WrongCallerError:
            coroutine.close()
            raise
        try:
            return Deferred.fromCoroutine(coroutine)
        finally:
            self._passes = before

    def _enter(self, *, nested: bool = False) -> bool:
        """Time begins to pass; return whether it did already."""
        if self._closed:
            raise WrongCallerError("the network is closed: make another one")
        if self._passes and not nested:
            raise WrongCallerError(
                "time passes already: in a coroutine, await network.sleep(seconds) or network.until(condition) instead"
            )
        before, self._passes = self._passes, True
        return before

    def _pass(self, until: float, is_done: Callable[[], bool], *, looks: bool = False) -> bool:
        """Let time pass until ``is_done()``, or that time; tell which.  ``looks``: also while nothing happens."""
        self._enter()
        world, at, events = self.world, self.now, 0
        try:
            while True:
                self._raise_failures()
                if is_done():
                    return True
                look = min(until, world.now + LOOK_SECONDS) if looks or self._waiting else until
                if not world.step(look):
                    world.now = look
                    if look >= until:
                        return is_done()
                self._look()
                at, events = (at, events + 1) if world.now == at else (world.now, 0)
                if events > BUSY_EVENTS:
                    raise self._stuck("something is done again and again, waiting for nothing", 0.0)
        finally:
            self._passes = False

    def _look(self) -> None:
        """Tell those who wait for something that holds now."""
        for waiting, condition in [*self._waiting.items()]:
            try:
                holds = condition()
            except Exception:
                self._waiting.pop(waiting, None)
                waiting.errback()
                continue
            if holds and self._waiting.pop(waiting, None) is not None:
                waiting.callback(None)

    def _is_of_a_crash(self, failure: Failure) -> bool:
        """Whether a program went on, after a time of the network's, on a machine that had crashed."""
        value = failure.value
        return isinstance(value, WrongCallerError) and value.args in [
            (one.last_words,) for one in self.machines
        ]

    def _raise_failures(self) -> None:
        failures, self._failures = self._failures, []
        if failures:
            failures[0].raiseException()

    def _stuck(self, what: str, seconds: float) -> StuckError:
        lines = "\n  ".join(self.world.recent)
        return StuckError(f"{what} after {seconds:g} s, at {self.now:g} s.  What happened last:\n  {lines}")

    def _part(self, pairs: set[frozenset[str]], silent: bool) -> None:
        self._cut |= pairs
        self.world.note(f"cut {_shown(pairs)}")
        for line in self._net.impossible():
            if not silent:
                line.cut()
            else:
                for end in line.ends:
                    end.way.hold()

    def _reaches(self, a: Station, b: Station) -> bool:
        return frozenset((a.name, b.name)) not in self._cut

    def _pair(self, a: Named, b: Named) -> frozenset[str]:
        pair = frozenset((self._known(a).name, self._known(b).name))
        if len(pair) < 2:
            raise InvalidValueError("a line is between two machines")
        return pair

    def _known(self, one: Named) -> Machine:
        found = self._machines.get(
            one.name if isinstance(one, Machine) else one if isinstance(one, str) else ""
        )
        if found is None or (isinstance(one, Machine) and one is not found):
            raise wrong("a machine", f"one of this network's: {', '.join(self._machines) or 'none yet'}", one)
        return found

    @staticmethod
    def _group(group: Any) -> Collection[Named]:
        if isinstance(group, str | Machine) or not isinstance(group, Collection):
            raise wrong("a group", "a list of machines", group)
        return group


def _shown(pairs: set[frozenset[str]]) -> str:
    return " ".join(sorted("-".join(sorted(pair)) for pair in pairs))


def _check_coroutine(coroutine: object) -> None:
    if not isinstance(coroutine, Coroutine):
        raise wrong("coroutine", "what a function made with async def returns", coroutine)


def _check_condition(condition: object) -> None:
    if not callable(condition):
        raise wrong("condition", "a function without arguments", condition)


def _check_quality(quality: object) -> None:
    check_type("quality", quality, Quality, "a Quality")
    for name, value in quality._asdict().items():  # type: ignore[attr-defined]
        unlimited = name == "bytes_per_second" and value == inf
        if not unlimited:
            check_seconds(f"quality.{name}", value)
    if not quality.bytes_per_second:  # type: ignore[attr-defined]
        raise InvalidValueError("quality.bytes_per_second is more than 0; a line that carries nothing is cut")

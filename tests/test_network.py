"""Ring 6: ``gossiplog.testing.Network``: real stores and nodes, in virtual time, on machines that crash."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gossiplog import (
    InvalidValueError,
    Node,
    Store,
    StoreClosedError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
    Writer,
    WrongCallerError,
    limits,
    open_store,
)
from gossiplog.notices import PeerDown
from gossiplog.testing import Machine, Network, Quality, Speed, StuckError

KEY = "0" * 64


class Home:
    """I am what runs on a machine: a store, its writer and a node that others can dial."""

    def __init__(self, machine: Machine, store: Store, node: Node, writer: Writer) -> None:
        self.machine = machine
        self.store = store
        self.node = node
        self.writer = writer
        self.told: list[Any] = []
        node.subscribe(self.told.append)

    @classmethod
    async def open(cls, machine: Machine, *others: Machine) -> Home:
        store = open_store("notes", machine.reactor)
        node = Node(machine.reactor, store, network=KEY)
        await node.listen("tcp:4000")
        for other in others:
            node.connect(f"tcp:{other.name}:4000")
        return cls(machine, store, node, await store.writer(encoding="utf-8"))

    def has(self, writer: Writer) -> int:
        return self.store.clock.seq(writer.author)

    async def payloads(self, writer: Writer) -> list[str]:
        return [entry.payload async for entry in self.store.read(writer.author, encoding="utf-8")]


class NetworkCase(SynchronousTestCase):
    """A network with three machines."""

    def setUp(self) -> None:
        self.network = Network(seed=1)
        self.addCleanup(self.network.close)
        self.machines = self.ann, self.bob, self.cleo = [
            self.network.machine(name) for name in ("ann", "bob", "cleo")
        ]

    async def line(self) -> list[Home]:
        """Ann and Cleo dial Bob."""
        return [
            await Home.open(self.bob),
            await Home.open(self.ann, self.bob),
            await Home.open(self.cleo, self.bob),
        ]


class LineTests(NetworkCase):
    """Connections are made, take time, break and come back."""

    def test_through_a_third(self) -> None:
        async def test() -> None:
            bob, ann, cleo = await self.line()
            await ann.writer.append("hello")
            await self.network.until(lambda: cleo.has(ann.writer) == 1)
            self.assertEqual(await cleo.payloads(ann.writer), ["hello"])
            self.assertEqual(len(bob.node.peers), 2)

        self.network.run(test())
        self.assertLess(self.network.now, 1.0)

    def test_cut_and_healed(self) -> None:
        """Both are told; nothing crosses, and nothing connects, until it is healed."""

        async def test() -> None:
            bob, ann, _ = await self.line()
            await self.network.until(lambda: len(bob.node.peers) == 2 and len(ann.node.peers) == 1)
            self.network.cut(self.ann, "bob")
            await ann.writer.append("later")
            await self.network.sleep(300.0)
            self.assertEqual([type(notice) for notice in ann.told if type(notice) is PeerDown], [PeerDown])
            self.assertEqual((ann.node.peers, len(bob.node.peers), bob.has(ann.writer)), ([], 1, 0))
            self.network.heal(self.bob, self.ann)
            await self.network.until(lambda: bob.has(ann.writer) == 1)

        self.network.run(test())

    def test_a_pulled_cable(self) -> None:
        """For a few seconds nobody notices, and what was sent comes; after minutes the nodes have given up."""

        async def test() -> None:
            bob, ann, _ = await self.line()
            await self.network.until(lambda: len(bob.node.peers) == 2 and len(ann.node.peers) == 1)
            await self.network.sleep(5.0)
            ann.told.clear()
            for seconds, is_noticed in ((5.0, False), (600.0, True)):
                before = bob.has(ann.writer)
                self.network.cut(self.ann, self.bob, silent=True)
                await ann.writer.append("on its way")
                await self.network.sleep(seconds)
                self.assertEqual(bob.has(ann.writer), before)
                self.network.heal()
                await self.network.until(lambda before=before: bob.has(ann.writer) > before)  # type: ignore[misc]
                self.assertEqual(any(type(notice) is PeerDown for notice in ann.told), is_noticed)

        self.network.run(test())

    def test_a_line_that_passes_in_one_direction(self) -> None:
        """Both sides notice, whoever dialled, and what was sent comes when it passes again."""

        async def test() -> None:
            bob, ann, _ = await self.line()
            for deaf in (self.ann, self.bob):
                await self.network.until(lambda: len(bob.node.peers) == 2 and len(ann.node.peers) == 1)
                await self.network.sleep(5.0)
                before = bob.has(ann.writer)
                self.network.cut(self.ann, self.bob, silent=True)
                [line] = self.network._net.between(self.ann.reactor, self.bob.reactor)
                for end in line.ends:
                    if end.party is deaf.reactor:
                        end.way.release()
                await ann.writer.append("on its way")
                await self.network.sleep(limits.PING_SECONDS + limits.PING_DEADLINE_SECONDS + 10.0)
                self.assertEqual((len(bob.node.peers), len(ann.node.peers)), (1, 0))
                self.network.heal()
                await self.network.until(lambda before=before: bob.has(ann.writer) > before)  # type: ignore[misc]

        self.network.run(test())

    def test_partitions(self) -> None:
        """Within a group all goes on; a second partition adds to the first, and one line of it can be healed."""

        async def test() -> None:
            bob, ann, cleo = await self.line()
            cleo.node.connect("tcp:ann:4000")
            self.network.partition([self.ann, "bob"], [self.cleo])
            await ann.writer.append("one")
            await self.network.sleep(60.0)
            self.assertEqual((bob.has(ann.writer), cleo.has(ann.writer)), (1, 0))
            self.network.partition(["ann"], ["bob"])
            self.network.heal("ann", "cleo")
            await self.network.until(lambda: cleo.has(ann.writer) == 1)
            await ann.writer.append("two")
            await self.network.until(lambda: cleo.has(ann.writer) == 2)
            self.assertEqual(bob.has(ann.writer), 1)

        self.network.run(test())

    def test_attempt_that_is_on_its_way(self) -> None:
        """A line that is cut while somebody dials gives no connection."""
        self.network.become(self.ann, self.bob, Quality(delay=2.0))

        async def test() -> None:
            bob = await Home.open(self.bob)
            await Home.open(self.ann, self.bob)
            await self.network.sleep(1.0)
            self.network.cut(self.ann, self.bob)
            await self.network.sleep(20.0)
            self.assertEqual(bob.node.peers, [])

        self.network.run(test())

    def test_quality(self) -> None:
        """A megabyte takes what it takes on a narrow line, and on one that got wider meanwhile."""
        for seconds, quality in ((90.0, None), (30.0, Quality(0.1, 0.0, 1e6))):
            with Network(2, quality=Quality(0.1, 0.05, 10_000.0)) as network:
                ann, bob = network.machine("ann"), network.machine("bob")

                async def test(
                    network: Network, ann: Machine, bob: Machine, quality: Quality | None
                ) -> float:
                    there = await Home.open(bob)
                    here = await Home.open(ann, bob)
                    await here.writer.append("x" * 1_000_000)
                    await network.sleep(10.0)
                    self.assertEqual(there.has(here.writer), 0)
                    if quality is not None:
                        network.become("ann", "bob", quality)
                    await network.until(lambda: there.has(here.writer) == 1)
                    return network.now

                took = network.run(test(network, ann, bob, quality))
                self.assertTrue(seconds < took < 1.5 * seconds if quality is None else took < seconds, took)

    def test_connections_that_do_not_last(self) -> None:
        with Network(3, quality=Quality(lasts=20.0)) as network:
            ann, bob = network.machine("ann"), network.machine("bob")

            async def test() -> None:
                there, here = await Home.open(bob), await Home.open(ann, bob)
                for number in range(20):
                    await here.writer.append(str(number))
                    await network.sleep(10.0)
                await network.until(lambda: there.has(here.writer) == 20)
                self.assertGreater(sum(type(notice) is PeerDown for notice in here.told), 3)

            network.run(test())

    def test_no_such_machine(self) -> None:
        async def test() -> None:
            home = await Home.open(self.ann)
            home.node.connect("tcp:nobody:4000")
            home.node.connect("tcp:cleo:4000")
            await self.network.sleep(100.0)
            self.assertEqual(home.node.peers, [])

        self.network.run(test())


class MachineTests(NetworkCase):
    """What a disk keeps, and what a crash takes."""

    def test_crash(self) -> None:
        """What was reported as written is there; the writer goes on behind it; others connect again."""

        async def test() -> None:
            bob, ann, _ = await self.line()
            await ann.writer.append("kept")
            await self.network.until(lambda: bob.has(ann.writer) == 1)
            lost = ann.writer.append("lost")
            self.ann.crash()
            again = await Home.open(self.ann, self.bob)
            self.assertEqual(again.writer.author, ann.writer.author)
            self.assertEqual(again.node.id, ann.node.id)
            self.assertEqual(await again.payloads(again.writer), ["kept"])
            await again.writer.append("next")
            await self.network.until(lambda: bob.has(ann.writer) == 2)
            self.assertEqual(await bob.payloads(ann.writer), ["kept", "next"])
            self.assertFalse(lost.called)

        self.network.run(test())

    def test_crashes_at_any_moment(self) -> None:
        """Whatever was acknowledged before is there after."""
        for seed in range(10):
            with Network(seed) as network:
                machine = network.machine("ann")
                random = Random(seed)
                acknowledged = 0

                async def write(machine: Machine) -> None:
                    nonlocal acknowledged
                    home = await Home.open(machine)
                    while True:
                        acknowledged = await home.writer.append("x")

                for _ in range(5):
                    writing = network.start(write(machine))
                    network.advance(random.random())
                    machine.crash()
                    writing.cancel()

                    async def check(machine: Machine, least: int) -> None:
                        async with machine.open_store("notes") as store:
                            writer = await store.writer()
                            self.assertGreaterEqual(store.clock.seq(writer.author), least)
                            self.assertTrue((await store.verify()).ok)

                    network.run(check(machine, acknowledged))
                self.assertGreater(acknowledged, 20)

    def test_who_is_told_of_a_crash(self) -> None:
        """Whoever is connected, at once; but for one that is silent, which is found out."""
        for silent, most in ((False, 1.0), (True, 300.0)):
            with Network(4) as network:
                ann, bob = network.machine("ann"), network.machine("bob")

                async def test(network: Network, ann: Machine, bob: Machine, silent: bool) -> float:
                    there = await Home.open(bob)
                    await Home.open(ann, bob)
                    await network.until(lambda: bool(there.node.peers))
                    crashed = network.now
                    ann.crash(silent=silent)
                    await network.until(lambda: not there.node.peers)
                    return network.now - crashed

                took = network.run(test(network, ann, bob, silent))
                self.assertTrue(took < most and (took > 10.0) == silent, took)

    def test_what_was_in_memory(self) -> None:
        """Nothing of a process that crashed does anything, and using it is an error that says so."""

        async def test() -> None:
            home = await Home.open(self.ann)
            self.ann.crash()
            for use in (
                lambda: home.writer.append("x"),
                lambda: home.store.read(),
                lambda: home.node.connect("tcp:bob:1"),
                lambda: open_store("other", home.node.reactor),
            ):
                error = self.assertRaises(WrongCallerError, use)
                self.assertIn("machine ann crashed", str(error))

        self.network.run(test())

    def test_what_ran_on_it(self) -> None:
        """A program that goes on after its machine crashed comes to nothing, and that is no failure of the test."""
        seen: list[str] = []

        async def program() -> None:
            home = await Home.open(self.ann)
            try:
                while True:
                    await home.writer.append("x")
                    await self.network.sleep(1.0)
            except WrongCallerError:
                seen.append("crashed")
                raise

        for times in (1, 2):
            self.network.start(program())
            self.network.advance(10.0)
            self.ann.crash()
            self.network.advance(10.0)
            self.assertEqual(seen, ["crashed"] * times)

    def test_stores_on_a_disk(self) -> None:
        """One process has a store at a time; closed, it is there to be opened; one in memory is new each time."""

        async def test() -> None:
            self.assertRaises(StoreNotFoundError, self.ann.open_store, "notes", init=False)
            self.assertRaises(StoreNotFoundError, self.ann.open_store, "notes", read_only=True)
            async with open_store("notes", self.ann.reactor) as store:
                await (await store.writer()).append(b"one")
                self.assertRaises(StoreLockedError, self.ann.open_store, "notes")
            self.assertRaises(StoreClosedError, store.read)
            async with self.ann.open_store("notes", read_only=True) as store:
                self.assertEqual(store.clock.total(), 1)
            async with self.bob.open_store("notes") as store:
                self.assertEqual(store.clock.total(), 0)
            for _ in range(2):
                store = open_store("memory:", self.ann.reactor)
                self.assertEqual(store.clock.total(), 0)
                await (await store.writer()).append(b"one")

        self.network.run(test())

    def test_what_is_derived(self) -> None:
        """An index of a store is in the memory of the process, and made anew by the next one."""

        async def test() -> None:
            home = await Home.open(self.ann)
            await home.writer.append_many(["one", "two", "three"])
            self.assertEqual([entry.seq for entry in (await home.store.timeline()).entries], [3, 2, 1])
            self.ann.crash()
            async with self.ann.open_store("notes") as store:
                self.assertEqual([entry.seq for entry in (await store.timeline()).entries], [3, 2, 1])

        self.network.run(test())

    def test_full_disk(self) -> None:
        async def test() -> None:
            home = await Home.open(self.ann)
            self.ann.disk_full = True
            with self.assertRaises(StoreFullError):
                await home.writer.append("no room")
            self.ann.disk_full = False
            self.assertEqual(await home.writer.append("room"), 1)

        self.network.run(test())

    def test_slow_disk(self) -> None:
        slow = self.network.machine("slow", disk=Speed(stall=3.0, stall_chance=1.0))

        async def test() -> float:
            home = await Home.open(slow)
            began = self.network.now
            await home.writer.append("x")
            return self.network.now - began

        self.assertGreaterEqual(self.network.run(test()), 3.0)

    def test_wrong_clock(self) -> None:
        """Entries have the time on their author's clock, which is right but for its error."""

        async def test() -> None:
            home = await Home.open(self.ann)
            for error in (0.0, 3600.0, -1e12):
                self.ann.clock_error = error
                await home.writer.append("x")
            first, second, third = [entry.timestamp_ms async for entry in home.store.read()]
            self.assertEqual(first // 10_000, 176_722_560)
            self.assertLess(abs(second - first - 3_600_000), 1000)
            self.assertEqual(third, 0)

        self.network.run(test())


class TimeTests(NetworkCase):
    """It passes when told, and only then."""

    def test_nothing_sleeps(self) -> None:
        """No thread, no real timer: hours of a chat with nobody there are done at once."""

        def forbidden(*_: Any) -> None:
            raise AssertionError("somebody sleeps")

        threads = threading.active_count()
        with patch.object(time, "sleep", forbidden):
            self.network.run(Home.open(self.ann, self.bob))
            self.network.advance(7200.0)
        self.assertEqual((self.network.now > 7200.0, threading.active_count()), (True, threads))

    def test_run_until(self) -> None:
        home = self.network.run(Home.open(self.ann))
        appended = home.writer.append("x")
        self.assertEqual(home.store.clock.total(), 0)
        self.network.run_until(lambda: home.store.clock.total() == 1)
        self.network.advance(1.0)
        self.assertEqual(self.successResultOf(appended), 1)

    def test_what_never_comes(self) -> None:
        """It is an AssertionError, which says what happened last; the coroutine is cancelled."""
        ended = []

        async def wait() -> None:
            try:
                await Deferred()
            finally:
                ended.append(self.network.now)

        self.network.cut(self.ann, self.bob)
        error = self.assertRaises(StuckError, self.network.run, wait(), 10.0)
        self.assertIsInstance(error, AssertionError)
        self.assertIn("cut ann-bob", str(error))
        self.assertEqual(ended, [10.0])
        self.assertRaises(StuckError, self.network.run_until, lambda: False, 5.0)
        self.assertEqual(self.network.now, 15.0)

    def test_a_loop_that_waits_for_nothing(self) -> None:
        async def spin() -> None:
            while True:
                await self.network.sleep(0)

        with patch("gossiplog.testing.network.network.BUSY_EVENTS", 1000):
            error = self.assertRaises(StuckError, self.network.run, spin())
        self.assertIn("again and again", str(error))

    def test_failures(self) -> None:
        """Of the test itself; of a condition, where it is waited for; of what runs beside it, where time passes."""

        async def fail(seconds: float) -> None:
            await self.network.sleep(seconds)
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, self.network.run, fail(1.0))
        self.assertRaises(ZeroDivisionError, self.network.run_until, lambda: bool(1 / 0))

        async def wait() -> None:
            with self.assertRaises(ZeroDivisionError):
                await self.network.until(lambda: self.network.now > 2 and bool(1 / 0))

        self.network.run(wait())
        self.network.start(fail(0.0))
        self.network.start(fail(5.0)).cancel()
        self.network.start(fail(10.0))
        self.assertRaises(ZeroDivisionError, self.network.advance, 1.0)
        self.network.advance(5.0)
        self.assertRaises(ZeroDivisionError, self.network.advance, 10.0)

        async def give() -> int:
            await self.network.sleep(1.0)
            return 7

        async def both() -> int:
            return await self.network.start(give()) + await give()

        self.assertEqual(self.network.run(both()), 14)

    def test_failure_of_the_last_moment(self) -> None:
        """Leaving the network raises it, unless something else failed already."""

        async def fail() -> None:
            raise ZeroDivisionError

        def leave(error: type[BaseException] | None) -> None:
            with Network(1) as network:
                network.start(fail())
                if error is not None:
                    raise error

        self.assertRaises(ZeroDivisionError, leave, None)
        self.assertRaises(KeyError, leave, KeyError)

    def test_time_within_time(self) -> None:
        async def nested(call: Callable[[], object]) -> None:
            call()

        async def nothing() -> None:
            """Nothing."""

        for call in (
            lambda: self.network.advance(1.0),
            lambda: self.network.run_until(lambda: True),
            lambda: self.network.run(nothing()),
        ):
            error = self.assertRaises(WrongCallerError, self.network.run, nested(call))
            self.assertIn("await network.sleep", str(error))
        self.network.advance(1.0)

    def test_closed(self) -> None:
        network = Network(1)
        network.close()
        network.close()
        self.assertRaises(WrongCallerError, network.advance, 1.0)
        self.assertRaises(WrongCallerError, network.machine, "ann")

    def test_misuse(self) -> None:
        """Each says what would be right, and changes nothing."""
        other = Network(1).machine("ann")
        network, trace = self.network, self.network.trace
        for call in (
            lambda: Network("1"),  # type: ignore[arg-type]
            lambda: Network(True),
            lambda: Network(1, quality=0.1),  # type: ignore[arg-type]
            lambda: Network(1, quality=Quality(delay=-1.0)),
            lambda: Network(1, quality=Quality(jitter=float("nan"))),
            lambda: Network(1, quality=Quality(bytes_per_second=0.0)),
            lambda: network.machine("ann"),
            lambda: network.machine("localhost"),
            lambda: network.machine("Ann"),
            lambda: network.machine(""),
            lambda: network.machine("dora", disk=1),  # type: ignore[arg-type]
            lambda: network.cut("ann", "nobody"),
            lambda: network.cut("ann", "ann"),
            lambda: network.cut(other, "bob"),
            lambda: network.cut("ann", 5),  # type: ignore[arg-type]
            lambda: network.cut("ann", "bob", silent=1),  # type: ignore[arg-type]
            lambda: network.partition("ann", "bob"),
            lambda: network.partition(["ann"], ["bob", "ann"]),
            lambda: network.partition(["ann"], ["nobody"]),
            lambda: network.heal("ann"),
            lambda: network.become("ann", "bob", 5),  # type: ignore[arg-type]
            lambda: network.advance(-1.0),
            lambda: network.advance(float("inf")),
            lambda: network.run(test),  # type: ignore[arg-type]
            lambda: network.run_until(True),  # type: ignore[arg-type]
            lambda: network.until(None),  # type: ignore[arg-type]
            lambda: network.start(5),  # type: ignore[arg-type]
            lambda: network.sleep("1"),  # type: ignore[arg-type]
            lambda: self.ann.crash(silent=None),  # type: ignore[arg-type]
        ):
            self.assertRaises(InvalidValueError, call)
        self.assertEqual((network.trace, len(network.machines)), (trace, 3))


async def test() -> None:
    """What is not called."""


def play(seed: int) -> tuple[str, list[str]]:
    """Return the trace of a day in the life of five machines."""
    with Network(seed, quality=Quality(lasts=60.0)) as network:
        machines = [network.machine(name) for name in "abcde"]
        homes: dict[Machine, Home] = {}

        async def live() -> None:
            for _ in range(40):
                machine = network.random.choice(machines)
                deed = network.random.choice(["write", "write", "cut", "heal", "crash", "part"])
                if machine not in homes:
                    homes[machine] = await Home.open(machine, *machines)
                elif deed == "write":
                    await homes[machine].writer.append(deed)
                elif deed == "cut":
                    network.cut(*network.random.sample(machines, 2), silent=network.random.random() < 0.5)
                elif deed == "heal":
                    network.heal()
                elif deed == "part":
                    network.partition(machines[:2], machines[2:])
                else:
                    del homes[machine]
                    machine.crash()
                await network.sleep(network.random.expovariate(0.2))
            network.heal()
            for machine in machines:
                if machine not in homes:
                    homes[machine] = await Home.open(machine, *machines)
            first, *others = homes.values()
            await network.until(lambda: all(other.store.clock == first.store.clock for other in others))

        network.run(live())
        return network.trace, network.recent


class SeedTests(SynchronousTestCase):
    """One seed, one run."""

    def test_same_seed_same_trace(self) -> None:
        traces = [play(seed) for seed in (1, 1, 2)]
        self.assertEqual(traces[0], traces[1])
        self.assertNotEqual(traces[0], traces[2])

    def test_nothing_from_elsewhere(self) -> None:
        """Stores and nodes take the time on the wall and chance from their machine, and no other."""

        def ours(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
            def called(*about: Any) -> Any:
                caller = sys._getframe(1).f_globals["__name__"]
                self.assertFalse(caller.startswith("gossiplog"), f"{caller} calls {name}")
                return real(*about)

            return called

        with contextlib.ExitStack() as stack:
            for module, name in ((os, "urandom"), (random, "random"), (time, "time"), (time, "monotonic")):
                stack.enter_context(patch.object(module, name, ours(name, getattr(module, name))))
            play(5)

    def test_in_another_process(self) -> None:
        """In which sets have another order."""
        code = "from tests.test_network import play; print(play(7)[0])"
        seen = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": str(number)},
                capture_output=True,
                check=True,
                text=True,
            ).stdout
            for number in (1, 2)
        }
        self.assertEqual(len(seen), 1)

    def test_without_a_reactor(self) -> None:
        """In the process of a plain test runner no reactor is installed, and nothing is left."""
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", PLAIN],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))


PLAIN = """
import sys, threading
from gossiplog import Node, open_store
from gossiplog.testing import Network

async def test(network, ann, bob):
    async with open_store("notes", ann.reactor) as here, open_store("notes", bob.reactor) as there:
        writer = await here.writer()
        key = "0" * 64
        async with Node(ann.reactor, here, network=key) as node, Node(bob.reactor, there, network=key) as other:
            other.connect(await node.listen("tcp:4000"))
            await writer.append(b"one")
            await network.until(lambda: there.clock == here.clock)
            bob.crash()  # amid all that

with Network(1) as network:
    network.run(test(network, network.machine("ann"), network.machine("bob")))
assert "twisted.internet.reactor" not in sys.modules
assert threading.active_count() == 1
"""

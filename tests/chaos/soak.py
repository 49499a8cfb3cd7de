"""Playing a plan with real processes.

Responsible for: the order of a soak: begin, trouble, heal, wait until all are equal and quiet, end, check.
Must not know: how a process or a wire is made to do something.
Invariant: whatever happens, no process and no disk outlives it.
"""

from __future__ import annotations

import heapq
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.chaos.embedded import NETWORK
from tests.chaos.party import Party, Record
from tests.chaos.plan import Plan
from tests.chaos.settling import check_store, clock_of, differences, held_bytes
from tests.members import resident_bytes
from tests.processes import environment, free_port

EQUAL_SECONDS: Final = 90.0
"""In which all are equal after the last trouble: dialling again alone may take half a minute."""
LAST_WORDS_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 8.0
QUIET_BYTES: Final = 1500
"""A second and wire, when nothing happens: PINGs."""
VAIN_FACTOR: Final = 4
VAIN_BYTES: Final = 2 << 20
"""What comes to who takes but so many entries a second: a new session floods first, over each wire."""
MOST_RESIDENT_BYTES: Final = 250 << 20
MOST_DESCRIPTORS: Final = 100
FIRST_PORT: Final = 20_000
PORTS: Final = 64
"""For each of two hundred soaks at once, below those that systems give out."""


class Soak:
    """I play one plan."""

    def __init__(self, plan: Plan, place: Path) -> None:
        self.plan, self.place = plan, place
        self.random = Random(plan.seed)
        self.record = Record()
        free = (port for port in range(FIRST_PORT + os.getpid() % 200 * PORTS, 65_000) if free_port(port))
        ports = [next(free) for _ in plan.kinds]
        doors = [next(free) for _ in plan.wires]
        pairs = [f"{door}:{ports[to]}" for door, (_, to) in zip(doors, plan.wires, strict=True)]
        self.wires: Any = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.wires", *pairs],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.parties: list[Party] = []
        for number, kind in enumerate(plan.kinds):
            peers = [door for door, (one, _) in zip(doors, plan.wires, strict=True) if one == number]
            days = plan.clocks[number]
            self.parties.append(Party(number, kind, place, ports[number], peers, days, self.record))
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._readers: list[Any] = []
        self._busy: set[int] = set()
        self._in_vain: list[int] = []

    def play(self) -> dict[str, object]:
        """Do it all; return figures."""
        try:
            assert self.wires.stdout.readline() == "ready\n"
            for party in self.parties:
                party.start()
            self._trouble()
            self._heal()
            figures = self._settle()
            for party in self.parties:
                party.end()
            self._mend_own_logs()
            for party in self.parties:
                party.check_log()
            gone = [check_store(party, self.record) for party in self.parties]
            return {
                "seed": self.plan.seed,
                "acknowledged": len(self.record.names),
                "doubtful": len(self.record.doubtful),
                "gone of these": max(gone),
                "KB in vain over rates": sum(self._in_vain) >> 10,
                **figures,
                "findings": len(self.record.findings),
            }
        finally:
            self._clean()

    # -- trouble

    def _trouble(self) -> None:
        began = time.monotonic()
        for number, step in enumerate(self.plan.steps):
            heapq.heappush(self._later, (step.at, number, lambda step=step: self._begin(step)))  # type: ignore[misc]
        while self._later:
            at, _, do = heapq.heappop(self._later)
            time.sleep(max(0.0, at - (time.monotonic() - began)))
            do()
            for party in self.parties:
                if party.died and party.number not in self._busy:  # a store that failed, or a full disk
                    party.end()
                    party.start()

    def _begin(self, step: Any) -> None:
        """Begin a trouble, and plan its end."""
        over = self._trouble_of(step)
        if over is not None:
            heapq.heappush(self._later, (step.at + step.seconds, 10**6 + len(self._later) + step.draw, over))

    def _trouble_of(self, step: Any) -> Callable[[], None] | None:
        if step.kind in ("slow", "cut", "hole"):
            self._wire(step.whom, step.kind, step.draw / 2000 if step.kind == "slow" else None)
            return lambda: self._wire(step.whom, "open")
        if step.whom in self._busy:
            return None
        party, random = self.parties[step.whom], Random(step.draw)
        self._busy.add(step.whom)

        def over() -> None:
            self._busy.discard(step.whom)
            party.free()
            party.signal(signal.SIGCONT)
            if party.died:
                party.end()
            if party.process is None:
                party.start()

        match step.kind:
            case "kill" | "flip" | "flipwal":
                party.kill()
                if step.kind != "kill":
                    party.flip("-wal" if step.kind == "flipwal" else "", random)
                    if step.draw % 2:
                        party.mend()
            case "term" | "backup" | "command" | "restore":
                party.end()
                if step.kind == "backup":
                    party.keep()
                elif step.kind == "restore":
                    party.put_back()
                elif step.kind == "command":
                    party.command(step.draw % 50)
                    peer = random.choice(self.parties)
                    if peer is not party:
                        address = f"tcp:127.0.0.1:{peer.port}"
                        party.run("sync", "--network", NETWORK, "--timeout", "3", address)
            case "pause":
                party.signal(signal.SIGSTOP)
            case "full" | "inodes":
                party.limit_disk(step.kind == "inodes")
                party.tell("burst")
            case "descriptors":
                party.limit_descriptors()
                party.tell("burst")
            case "reader":  # who opens the store meanwhile waits for it
                party.end()
                reader = party.reader()
                party.start()
                return lambda: (reader.close(), over())[1]
            case "burst":
                party.tell("burst")
            case "interest":
                author = random.choice(self.parties).author
                if author and author != party.author:
                    party.tell(f"{random.choice(('unfollow', 'block'))} {author}")
                    return lambda: (party.tell(f"want {author}"), over())[1]
            case "quota":
                party.end()
                party.quotas = random.choice(({"entries_per_second": 20.0}, {"bytes": 300_000}))
                before = self._received(party), held_bytes(party)
                party.start()
                return lambda: (self._end_quota(party, *before), over())[1]
        return over

    def _end_quota(self, party: Party, received: int, held: int) -> None:
        """Look whether peers sent far more than was taken."""
        party.end()
        received, held = self._received(party) - received, held_bytes(party) - held
        if "entries_per_second" in party.quotas:
            self._in_vain.append(received - held)
            if received > VAIN_FACTOR * held + VAIN_BYTES:
                self.record.found(f"{party.name} was sent {received} bytes and took {held}, over its rate")
        party.quotas.clear()

    def _received(self, party: Party) -> int:
        """How many bytes its wires brought to a party."""
        wires = zip(self.plan.wires, self._passed(), strict=True)
        return sum(
            passed[0] * (to == party.number) + passed[1] * (one == party.number)
            for (one, to), passed in wires
        )

    def _wire(self, number: int, state: str, delay: float | None = None) -> None:
        more = "" if delay is None else f" {delay}"
        self.wires.stdin.write(f"{number} {state}{more}\n")
        self.wires.stdin.flush()

    # -- the end

    def _heal(self) -> None:
        """Take all limits back; stores that were changed from outside are mended and recovered, the others run on."""
        for number in range(len(self.plan.wires)):
            self._wire(number, "open")
        for party in self.parties:
            party.free()
            party.signal(signal.SIGCONT)
            if party.died:
                party.end()
            if party.process is None:
                party.start()
        self._wait(LAST_WORDS_SECONDS)
        authors = {author for party in self.parties for author in party.authors}
        for party in self.parties:
            for author in authors.difference(party.authors):
                party.tell(f"want {author}")
            party.tell("quiet")
        suspicious = [party for party in self.parties if party.suspicious]
        for party in suspicious:  # all before the first recovers: what is damaged nobody can be given
            party.end()
            party.mend()
            party.start()
            party.tell("quiet")
        for party in suspicious:
            party.end()
            self._recover(party)
            party.start()
            party.tell("quiet")

    def _recover(self, party: Party) -> None:
        """Every entry of an own log that others have comes back."""
        others = [peer for peer in self.parties if peer is not party]
        clocks = [clock_of(peer) or {} for peer in others]
        status, _, said = party.run(
            "recover", "--network", NETWORK, *[f"tcp:127.0.0.1:{peer.port}" for peer in others]
        )
        if "which was signed here" in said:
            party.given_up = True
            party.run("recover", "--alone")
        elif status:
            self.record.found(f"{party.name} does not recover: {said}")
        ours = clock_of(party) or {}
        for author in party.authors:
            most = max(clock.get(author, (0, ""))[0] for clock in clocks)
            back = ours.get(author, (0, ""))[0]
            if back < most:
                self.record.found(f"{party.name} got {back} of its own {author[:8]} back, others have {most}")

    def _mend_own_logs(self) -> None:
        """What is damaged of an own log comes back from another store."""
        for party in self.parties:
            others = [one for one in self.parties if one is not party]
            donor = min(others, key=lambda one: one.suspicious)
            if party.suspicious and party.run("verify")[0] == 3:
                party.run("verify", "--repair", "--from", str(donor.store))

    def _settle(self) -> dict[str, object]:
        """Wait until all are equal, then look whether they are quiet and small."""
        began = time.monotonic()
        while left := differences(self.parties):
            if time.monotonic() - began > EQUAL_SECONDS:
                for words in left[:40]:
                    self.record.found(f"not equal after {EQUAL_SECONDS:g} s: {words}")
                break
            self._wait(LOOK_SECONDS)
        equal = time.monotonic() - began
        before = self._passed()
        self._wait(QUIET_SECONDS)
        rates = [(sum(b) - sum(a)) / QUIET_SECONDS for a, b in zip(before, self._passed(), strict=True)]
        if max(rates) > QUIET_BYTES:
            self.record.found(
                f"not quiet: {sum(rates):.0f} bytes/s over {len(rates)} wires, {max(rates):.0f} at most"
            )
        resident, descriptors = [], []
        for party in self.parties:
            if party.process is None or party.died:
                self.record.found(f"{party.name} does not live in the end")
                continue
            resident.append(resident_bytes(party.process.pid))
            descriptors.append(party.descriptors())
        if max(resident) > MOST_RESIDENT_BYTES or max(descriptors) > MOST_DESCRIPTORS:
            self.record.found(f"large: {resident} bytes, {descriptors} descriptors")
        return {
            "equal after": f"{equal:.0f} s",
            "bytes/s in the end": f"{sum(rates):.0f} ({max(rates):.0f} at most on a wire)",
            "largest": f"{max(resident) >> 20} MB",
            "descriptors": max(descriptors),
        }

    def _passed(self) -> list[list[int]]:
        self.wires.stdin.write("count\n")
        self.wires.stdin.flush()
        passed: list[list[int]] = json.loads(self.wires.stdout.readline())
        return passed

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def _clean(self) -> None:
        for party in self.parties:
            with suppress(OSError):
                party.signal(signal.SIGCONT)
                party.kill()
            if not self.record.findings:
                party.unmount()
        self.wires.kill()
        self.wires.wait()
        self.wires.stdin.close()
        self.wires.stdout.close()

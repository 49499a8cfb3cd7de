"""``kill -9`` again and again: at every phase that a store goes through, and at random moments.

    python -m tests.killing [KILLS]

kills 300 processes, or as many as said, checks their store after each, and prints how many died in what.  The exit
status is 1 when anything acknowledged was lost, any seq signed twice, or any store damaged.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from gossiplog.log.segment import chain_ids, verify
from gossiplog.store.logs import Logs, open_logs
from gossiplog.store.requests import Accept
from tests.processes import environment

ALL = 1 << 30
KILLS = 300
TRIES = 4
"""Lives, each drawn anew, in which a phase may come by."""

LIFES = 12
"""Deaths of one store, before another one is begun."""


HOME = "home"
"""The directory of every victim: the names of what is opened belong to the phases."""


class Victim:
    """I am a store whose processes are killed, and everything that they ever said of it."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True)
        self.store, self.peer, self.backup = (place / name for name in ("store", "peer", "backup"))
        self.acknowledged = 0
        self._ids: dict[tuple[str, int], str] = {}
        self._seqs: dict[str, int] = {}
        self._lives = 0

    def live(self, seed: int, fatal: str = "", count: int = 1, lines: int = 0) -> bool:
        """Run one process until it dies at a phase, or after it said so many lines; tell whether it was killed."""
        self._lives += 1
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.mortal", self.store, self.peer, str(seed), fatal, str(count)],
            cwd=Path(__file__).resolve().parent.parent,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert child.stdout is not None
        for said, line in enumerate(child.stdout, 1):
            if said == lines:
                child.kill()
            if line.endswith(b"\n"):
                self._heard(line.decode())
        child.stdout.close()
        status = child.wait()
        if status not in (0, -signal.SIGKILL):
            raise AssertionError(f"the process that was to die at {fatal!r} failed by itself: {status}")
        return status != 0

    def phases(self, seed: int) -> dict[str, int]:
        """Live in order; return how often each phase came."""
        told = subprocess.run(
            [sys.executable, "-m", "tests.mortal", self.store, self.peer, str(seed), "-"],
            cwd=Path(__file__).resolve().parent.parent,
            stdout=subprocess.PIPE,
            env=environment(),
            check=True,
            text=True,
        ).stdout
        lines = [line.split(maxsplit=2) for line in told.splitlines()]
        for line in lines:
            if line[0] != "phase":
                self._heard(" ".join(line))
        return {phase: int(times) for word, times, phase in lines if word == "phase"}

    def check(self) -> None:
        """Open what is left: in order, nothing said is lost, and every seq has the one id it ever had."""
        with Opened(self.store) as logs:
            if not self.store.joinpath("seeds").exists() and not self.acknowledged:
                return
            report = logs.verify()
            assert report.ok, report.damages
            assert dict(logs._backend.heads()) == dict(logs.clock.items())
            held = {author.hex(): head.seq for author, head in logs.clock.items()}
            for author, seq in self._seqs.items():
                assert held.get(author, 0) >= seq, f"acknowledged {seq} of {author}, held is {held}"
            for author in logs.clock:
                for segment in logs.segments(author, 1, ALL):
                    for seq, entry_id in enumerate(chain_ids(segment), segment.first):
                        self._note(author.hex(), seq, entry_id.hex())

    def back_up(self) -> None:
        """Keep the store as it is now."""
        shutil.rmtree(self.backup, ignore_errors=True)
        shutil.copytree(self.store, self.backup)

    def put_back(self) -> None:
        """Put the older state back in the place of the store; a peer has everything since."""
        shutil.rmtree(self.peer, ignore_errors=True)
        with Opened(self.store) as logs, Opened(self.peer) as peer:
            for author in logs.clock:
                for segment in logs.segments(author, 1, ALL):
                    peer.process([Accept(segment, verify(segment))])
        aside = self.store.rename(self.store.with_name("aside"))  # or the copy may get its very inodes
        shutil.copytree(self.backup, self.store)
        shutil.rmtree(aside)
        with Opened(self.store) as logs:
            assert logs.copied
            self._seqs = {author.hex(): logs.clock.seq(author) for author in logs.clock}

    def _heard(self, line: str) -> None:
        author, seq, entry_id = line.split()
        self._note(author, int(seq), entry_id)
        self._seqs[author] = max(self._seqs.get(author, 0), int(seq))
        self.acknowledged += 1

    def _note(self, author: str, seq: int, entry_id: str) -> None:
        known = self._ids.setdefault((author, seq), entry_id)
        assert known == entry_id, f"{author} signed {seq} twice"


class Opened:
    """I open a store for a while."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Logs:
        self._logs = open_logs(self._path)
        return self._logs

    def __exit__(self, *_: object) -> None:
        self._logs.close()


class Fate(NamedTuple):
    """A phase and how often it came by when it kills."""

    phase: str
    count: int


def scenario(victim: Victim, draw: random.Random, fate: Fate) -> bool:
    """Bring a store to where ``fate`` can come, let it come, check; tell whether it did."""
    doing = fate.phase.partition(":")[0]
    if doing not in ("opening", "first writer"):
        victim.phases(draw.randrange(1 << 30))
    if doing in ("adopt", "recover"):
        victim.back_up()
        victim.phases(draw.randrange(1 << 30))
        victim.put_back()
    seed = draw.randrange(1 << 30)
    killed = victim.live(seed, *fate) or victim.live(seed, *fate)  # some come at a later opening only
    victim.check()
    if not killed:  # or in the first life only
        fresh = Victim(victim.store.parent / "fresh" / HOME)
        killed = fresh.live(seed, *fate)
        fresh.check()
    return killed


def all_phases(place: Path) -> dict[str, int]:
    """Return every phase that a store goes through, in its first life, in later ones and put back; how often each."""
    model = Victim(place / HOME)
    lives = [model.phases(1)]
    model.back_up()
    lives.append(model.phases(2))
    model.put_back()
    lives.append(model.phases(3))
    return {phase: times for life in reversed(lives) for phase, times in sorted(life.items())}


def main(kills: int = KILLS) -> int:
    """Kill so many, in each phase and at random moments; print what they died in."""
    draw = random.Random(kills)
    died: Counter[str] = Counter()
    missed: list[str] = []
    acknowledged = 0
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        phases = all_phases(place / "model")
        chosen = draw.sample(sorted(phases), min(len(phases), kills * 2 // 3))
        for phase in chosen:
            for count in (draw.randint(1, min(phases[phase], 6)), *[1] * TRIES):
                victim = Victim(place / "phase" / HOME)
                killed = scenario(victim, draw, Fate(phase, count))
                acknowledged += victim.acknowledged
                shutil.rmtree(place / "phase")
                if killed:
                    died[phase.partition(":")[0]] += 1
                    break
            else:
                missed.append(phase)
        while sum(died.values()) < kills:
            victim = Victim(place / "random" / HOME)
            for _ in range(min(LIFES, kills - sum(died.values()))):
                died["random moment"] += victim.live(draw.randrange(1 << 30), lines=draw.randint(1, 400))
                victim.check()
            acknowledged += victim.acknowledged
            shutil.rmtree(place / "random")
    for doing, times in died.most_common():
        print(f"{times:5} killed in {doing}")
    print(f"{len(chosen) - len(missed)} of {len(phases)} phases; did not come by: {missed}")
    print(
        f"{sum(died.values())} kills, {acknowledged} entries acknowledged, "
        "0 lost, 0 signed twice, 0 stores damaged"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

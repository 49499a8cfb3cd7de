"""Giving a target inputs for some time: with atheris, which follows the code's branches, or by plain mutation.

Both end at the first finding, which is shrunk.  Plain mutation is the same for the same seed and number of
executions; atheris is where it has the processor to itself.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz.target import Target

MOST_SECONDS = 20.0
"""Of processor time for one input; the largest takes a tenth of a second, ten times that under atheris."""

MOST_BYTES = 4096
SHRINK_SECONDS = 20.0

REGRESSIONS = Path(__file__).parent / "regressions"

_BYTES = (0, 1, 2, 0x1F, 0x20, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC7, 0xCF, 0xDC, 0xFF)


def regressions(name: str) -> list[bytes]:
    """Return what was found in a target before."""
    files = sorted(REGRESSIONS.glob(f"{name}-*.hex"))
    return [bytes.fromhex(file.read_text()) for file in files]


class Outcome(NamedTuple):
    """What came of a run: how many inputs, and the finding with where it came from."""

    executions: int
    finding: bytes | None = None
    trace: str = ""


def failure(target: Target, data: bytes) -> tuple[str, str] | None:
    """Run once; the kind of failure (error and line) and its trace, ``None`` if there is none."""
    started = time.process_time()
    try:
        target.check(data)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} {frame.filename}:{frame.lineno}", traceback.format_exc()
    taken = time.process_time() - started
    return ("slow", f"took {taken:.1f} s of processor time") if taken > MOST_SECONDS else None


def shrink(target: Target, data: bytes) -> bytes:
    """Return less that fails in the same way: pieces left out, then bytes made zero."""
    first = failure(target, data)
    if first is None:
        return data
    until = time.monotonic() + SHRINK_SECONDS

    def fails(shorter: bytes) -> bool:
        found = failure(target, shorter) if time.monotonic() < until else None
        return found is not None and found[0] == first[0]

    size = len(data)
    while size:
        at = 0
        while at < len(data):
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    for at in range(len(data)):
        zeroed = data[:at] + b"\0" + data[at + 1 :]
        if data[at] and fails(zeroed):
            data = zeroed
    return data


def mutate(random: Random, corpus: list[bytes]) -> bytes:
    """Return an input made of the corpus, or of nothing."""
    if random.random() < 0.1:
        return random.randbytes(random.randrange(100))
    data = bytearray(random.choice(corpus))
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        at = random.randrange(len(data) + 1)
        kind = random.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = random.choice(_BYTES)
        elif kind == 2:
            data[at:at] = random.randbytes(random.randint(1, 8))
        elif kind == 3:
            del data[at : at + random.randint(1, 8)]
        elif kind == 4:
            other = random.choice(corpus)
            data[at:] = other[random.randrange(len(other) + 1) :]
        else:
            data[at:at] = data[at : at + random.randint(1, 32)]
    return bytes(data[:MOST_BYTES])


def plain(target: Target, seconds: float, seed: int, corpus: list[bytes], most: int | None = None) -> Outcome:
    """Run the corpus, then what is made from it, for so long or ``most`` times."""
    random = Random(f"{target.name} {seed}")
    corpus = corpus or [b""]
    until = time.monotonic() + seconds
    done = 0
    while time.monotonic() < until and done != most:
        data = corpus[done] if done < len(corpus) else mutate(random, corpus)
        done += 1
        found = failure(target, data)
        if found is not None:
            return Outcome(done, shrink(target, data), found[1])
    return Outcome(done)


def guided(target: Target, seconds: float, seed: int, place: Path, ended: Callable[[Outcome], None]) -> None:
    """Let atheris run the inputs in ``place`` and what it makes of them, and keep there what reached new code.

    ``ended`` is told and must leave the process: atheris never returns.
    """
    import atheris

    until = time.monotonic() + seconds
    done = 0

    def once(data: bytes) -> None:
        nonlocal done
        done += 1
        found = failure(target, data)
        if found is not None:
            ended(Outcome(done, shrink(target, data), found[1]))
        if time.monotonic() > until:
            ended(Outcome(done))

    settings = [
        f"-seed={seed % 2**31 or 1}",
        f"-max_len={MOST_BYTES}",
        "-timeout=600",
        "-print_final_stats=0",
    ]
    atheris.Setup(["fuzz", *settings, "-verbosity=0", str(place)], once)
    atheris.Fuzz()

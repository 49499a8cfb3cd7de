"""A change of passphrase whose process is killed, at any moment; files of seeds that ask for everything."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from gossiplog.errors import StoreFormatError, WrongPassphraseError
from gossiplog.limits import MAX_PASSPHRASE_BYTES, MAX_PASSPHRASE_PASSES
from gossiplog.log import passphrase as passphrases
from gossiplog.log.kept_key import SealedSeed, Slot, dump
from gossiplog.log.keys import Keypair
from gossiplog.log.passphrase import Cost
from gossiplog.store.logs import open_logs
from gossiplog.store.secret_files import _check
from tests.audit.case import Case, Outcome

WRITERS = 5
KILLED_WITHIN_SECONDS = 0.05
MOST_SECONDS = 30.0
"""The bound of what a store's files may make one try of a passphrase take, on a machine that is busy."""


def _unlocks(path: Path, text: str) -> bool:
    with closing(open_logs(path)) as logs:
        try:
            logs.keys.unlock(text)
        except WrongPassphraseError:
            return False
        return not logs.keys.is_locked


def killed(seconds: float) -> Outcome:
    """Change the passphrase in a child and kill it, again and again; see which one opens all seeds then."""
    draw, ends_at = random.Random(1), time.monotonic() + seconds
    neither = cut_short = times = number = 0
    with tempfile.TemporaryDirectory() as place, patch.object(passphrases, "COST", Cost(1, 8192)):
        path = Path(place) / "store"
        with closing(open_logs(path)) as logs:
            for name in range(WRITERS):
                logs.writer(f"w{name}")
            logs.keys.protect("0")
        while time.monotonic() < ends_at:
            old, new = str(number), str(number + 1)
            child = os.fork()
            if not child:
                with closing(open_logs(path)) as logs:
                    logs.keys.protect(new, old)
                os._exit(0)
            time.sleep(draw.random() * KILLED_WITHIN_SECONDS)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            with_two = sum(len(file.read_bytes()) > 200 for file in (path / "seeds").iterdir())
            times, cut_short = times + 1, cut_short + (with_two > 0)
            if _unlocks(path, new):
                number += 1
            elif not _unlocks(path, old):
                neither += 1
                break
    return Outcome(f"{times:,} kills, {cut_short} in the middle, {neither} with neither", neither == 0)


def costly(seconds: float) -> Outcome:
    """Try a passphrase on seeds that cost as much as any may, and on some that ask for more."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "store"
        with closing(open_logs(path)) as logs:
            logs.writer("own")
        took = []
        for cost in (Cost(MAX_PASSPHRASE_PASSES, MAX_PASSPHRASE_BYTES), Cost(2**32 - 1, 2**41)):
            for name in range(16):
                author = Keypair(os.urandom(32)).author
                slots = tuple(Slot(cost, os.urandom(16), bytes(24), bytes(48)) for _ in range(2))
                kept = dump(SealedSeed(author, slots))
                (path / "seeds" / f"w{name}").write_bytes(kept + _check(kept))
            began = time.monotonic()
            with closing(open_logs(path)) as logs:
                try:
                    logs.keys.unlock("guess")
                except (StoreFormatError, WrongPassphraseError):
                    took.append(time.monotonic() - began)
    return Outcome(
        f"{took[0]:.1f} s, {took[1]:.2f} s", len(took) == 2 and took[0] < MOST_SECONDS and took[1] < 1
    )


CASES = [
    Case(
        "keys-killed",
        "kill -9 at any moment of a change of passphrase",
        "the old or the new one opens all",
        killed,
    ),
    Case(
        "keys-costly", "files of seeds that ask for much, and for more", f"{MOST_SECONDS:.0f} s, 1 s", costly
    ),
]

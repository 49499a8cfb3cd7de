"""A reply is never before its question, although the clock of who replies is an hour behind.

    python questions.py

Ann asks, and bob, whose clock is wrong, replies.  By the clocks the reply is an hour older than the question.  Bob's
entry names ann's, and so it comes behind that one in causal order, in each store that has both: in cleo's, too, who has
them from bob.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from gossiplog import PlacedEntry, aio, import_store
from gossiplog.app.printing import say


async def main(place: Path) -> None:
    ann, bob, cleo = (place / name for name in ("ann", "bob", "cleo"))

    async with aio.Store(ann) as store:
        writer = await store.writer(encoding="json")
        await writer.append("Who has seen the heron?")

    await copy(ann, bob)
    async with aio.Store(bob) as store:
        [question] = [entry async for entry in store.read(encoding="json")]
        writer = await store.writer("bob", encoding="json")
        with patch("time.time", return_value=time.time() - 3600):
            await writer.append("At the weir, at six.", after=[question])

        by_clock = sorted(
            [entry async for entry in store.read(encoding="json")], key=lambda entry: entry.time
        )
        say(f"By the clocks:       {' '.join(entry.payload for entry in by_clock)}")

    await copy(bob, cleo)
    for name in (bob, cleo):
        async with aio.Store(name) as store:
            entries = [entry async for entry in store.read(order="causal", encoding="json")]
            assert all(isinstance(entry, PlacedEntry) for entry in entries)
            said = " ".join(entry.payload for entry in entries)
            say(f"{f'In order, at {name.name}:':20} {said}")


async def copy(source: Path, target: Path) -> None:
    """Take over what another store has; peers would do that with a node."""
    await asyncio.to_thread(import_store, target, source)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="See that a reply is never before its question.")
    parser.add_argument("--dir", type=Path, help="where the stores are left (default: nowhere)")
    given = parser.parse_args()
    if given.dir is not None:
        asyncio.run(main(given.dir))
    else:
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(main(Path(directory)))

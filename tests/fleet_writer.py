"""A relay that takes entries of its peers as fast as it can, and says what is durable: to be killed.

``python -m tests.fleet_writer PLACE STATE NUMBER ROUND``
"""

from __future__ import annotations

import sys
from pathlib import Path

from gossiplog.log.segment import verify
from gossiplog.store.logs import Logs
from gossiplog.store.postgres.backend import PostgresBackend
from gossiplog.store.requests import Accept
from gossiplog.testing.chain import Chain


def main() -> None:
    """Write for ever."""
    place, state, number, round_ = sys.argv[1:]
    logs = Logs(PostgresBackend(place, Path(state), init=True, wait=10.0))
    chains = [Chain(100 * (10 * int(number) + int(round_)) + each + 1) for each in range(5)]
    while True:
        segments = [segment for chain in chains for segment in chain.write_each(2)]
        logs.process([Accept(segment, verify(segment)) for segment in segments])
        for segment in segments:
            sys.stdout.write(f"{segment.author.hex()} {segment.last}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

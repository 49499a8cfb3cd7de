"""Members that make a node keep as much as they can for little, and whether the quotas count it."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from gossiplog.gossip.quotas import Usage
from gossiplog.limits import AUTHOR_MEMORY_BYTES
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, build
from gossiplog.store.logs import open_logs
from gossiplog.store.requests import Request
from tests.audit.case import Case, Outcome
from tests.disks import GAPS, KINDS, MERGED, batches, proofs, sizes_of
from tests.members import Member, resident_bytes
from tests.processes import Process

NETWORK = bytes(32)
SCALE = 1000
AUTHORS = 200_000
BOUND = 0.2
FEW_BYTES = 256 * 1024
"""Of gaps that do not count."""

NODE = """
from twisted.internet import reactor
from gossiplog import Node, open_store
store = open_store("store", reactor)
node = Node(reactor, store, network="{network}")
node.listen("tcp:0:interface=127.0.0.1").addCallback(
    lambda address: print("ready", address, *node.usage, node.usage.memory_bytes, flush=True)
)
reactor.run()
"""


def disk(kinds: Iterable[str]) -> Callable[[float], Outcome]:
    """The worst of these, each in a store of its own."""

    def run(seconds: float) -> Outcome:
        worst = (0.0, "")
        made = {**KINDS, **GAPS}
        held = True
        for kind in kinds:
            with tempfile.TemporaryDirectory(prefix="quotas-") as place:
                sizes = sizes_of(
                    made[kind](SCALE), Path(place) / "kind", merge=kind == MERGED or kind in GAPS
                )
            worst = max(worst, (abs(sizes.error), kind))
            held = held and abs(sizes.counted - sizes.recounted) <= FEW_BYTES
            held = held and sizes.file <= (1 + BOUND) * sizes.most_counted
            held = held and abs(sizes.error) <= BOUND
            print(
                f"    {kind}: {sizes.counted:,} counted ({sizes.recounted:,} when opened, "
                f"{sizes.most_counted:,} at most), "
                f"{sizes.used:,} used ({sizes.error:+.1%}), {sizes.file:,} in the file",
                flush=True,
            )
        return Outcome(f"{worst[0]:.0%} ({worst[1]})", held)

    return run


def memory(requests: Callable[[], Iterable[Request]]) -> Callable[[float], Outcome]:
    """A node on such a store, beside one on an empty one."""

    def run(seconds: float) -> Outcome:
        empty, _ = _resident(())
        resident, usage = _resident(requests())
        taken = resident - empty
        error = usage.memory_bytes / taken - 1
        figure = f"{usage.authors:,} authors take {taken:,} bytes, {usage.memory_bytes:,} are counted"
        return Outcome(f"{error:+.0%}: {figure}", abs(error) <= BOUND)

    return run


def arrived(seconds: float) -> Outcome:
    """A node that a member just gave them all, beside one with nothing."""
    empty, _ = _resident(())
    full, _ = _resident((), AUTHORS)
    counted, taken = AUTHORS * AUTHOR_MEMORY_BYTES, full - empty
    error = counted / taken - 1
    return Outcome(f"{error:+.0%}: they take {taken:,} bytes, {counted:,} are counted", abs(error) <= BOUND)


def _give(member: Member, count: int) -> None:
    for start in range(0, count, 100):
        pairs = [Keypair((number + 1).to_bytes(32, "big")) for number in range(start, start + 100)]
        member.say(*[build(pair, Head(0, genesis_id(pair.author)), [b"x"])[0][0] for pair in pairs])
    member.alive()
    time.sleep(2)  # until what is on its way is on disk


def _resident(requests: Iterable[Request], arriving: int = 0) -> tuple[int, Usage]:
    """What a node takes that has a session, and so has compared what it holds; and was given so many authors."""
    with tempfile.TemporaryDirectory(prefix="quotas-") as place:
        with closing(open_logs(Path(place) / "store")) as logs:
            for batch in batches(requests):
                logs.process(batch)
        process = Process([sys.executable, "-c", NODE.format(network=NETWORK.hex())], Path(place))
        try:
            address, *numbers = process.wait_for(r"ready (.*)\n")[1].split()
            with closing(Member(int(address.rpartition(":")[2]), NETWORK)) as member:
                member.alive()
                _give(member, arriving)
                *held, memory_bytes = map(int, numbers)
                usage = Usage(*held)
                assert usage.memory_bytes == memory_bytes
                return resident_bytes(process.popen.pid), usage
        finally:
            process.abandon()


CASES = (
    Case("quotas-disk", "stores full of each kind of thing that costs a member little", "20 %", disk(KINDS)),
    Case("quotas-gaps", "rows between those that are deleted or merged away", "20 %", disk(GAPS)),
    Case(
        "quotas-memory",
        f"{AUTHORS:,} authors of one entry",
        "20 %",
        memory(lambda: KINDS["one-entry authors"](AUTHORS // 200)),
    ),
    Case("quotas-arrived", f"{AUTHORS:,} authors of one entry, just after they came", "20 %", arrived),
    Case(
        "quotas-forked",
        f"{AUTHORS // 4:,} forked authors with an entry",
        "20 %",
        memory(lambda: proofs(AUTHORS // 4, 1, with_log=True)),
    ),
)

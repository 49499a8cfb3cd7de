"""Two honest nodes that are connected, and a member at each: both members give theirs the same, as fast as they can, or
the two branches of the same authors.

All four are told apart by process but for the members, which are threads.  Nobody may be sent away, and both nodes hold
the same in the end.

    python -m tests.audit.fed KIND [SECONDS]

prints the figures of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from gossiplog.gossip.messages import Message
from gossiplog.gossip.session import Pause
from gossiplog.log.body import encode_body
from gossiplog.log.keys import Keypair, genesis_id
from gossiplog.log.segment import Head, Segment, build
from tests.audit.allowance import NETWORK
from tests.audit.case import Case, Outcome
from tests.members import Member
from tests.processes import environment

AT_ONCE = 50
PATIENCE_SECONDS = 240.0


def _log(entries: int, text: bytes = b"") -> Callable[[Keypair], Segment]:
    bodies = [encode_body(number, text) for number in range(entries)]
    return lambda pair: build(pair, Head(0, genesis_id(pair.author)), bodies)[0][0]


class Kind(NamedTuple):
    """What is given to each of the two of one author after the other, and how many of these a second."""

    one: Callable[[Keypair], Segment]
    other: Callable[[Keypair], Segment]
    rate: int
    forks: bool = False


KINDS = {
    "eight-entries": Kind(_log(8), _log(8), 1500),
    "full-segments": Kind(_log(4096), _log(4096), 60),
    "branches": Kind(_log(4096, b"l"), _log(4096, b"r"), 40, forks=True),
    "tiny-branches": Kind(_log(1, b"l"), _log(1, b"r"), 500, forks=True),
}


def node(place: str, dial: str = "") -> None:
    """One of the nodes: it prints its port, and from then on how it stands, four times a second."""
    from twisted.internet import reactor as installed

    from gossiplog import Node, PeerDown, PeerRejected, open_store

    reactor: Any = installed
    store = open_store(place, reactor=reactor)
    running = Node(reactor, store, network=NETWORK)
    ends: list[str] = []

    def told(notice: Any) -> None:
        honest = isinstance(notice, PeerDown) and notice.peer.agent != "member"
        if honest or isinstance(notice, PeerRejected):
            ends.append(str(notice)[:120])

    running.subscribe(told)

    def report() -> None:
        sessions = running._driver.replica.core.sessions.values()
        waits = sum(1 for session in sessions if session.agent != "member" and Pause.COST in session.pauses)
        figures = {"authors": len(store.clock), "forks": len(store.forks), "ends": ends, "waits": waits}
        print(json.dumps(figures), flush=True)
        reactor.callLater(0.25, report)

    def listening(address: str) -> None:
        print(address.rpartition(":")[2], flush=True)
        report()

    running.listen("tcp:0:interface=127.0.0.1").addCallback(listening)
    if dial:
        running.connect(f"tcp:127.0.0.1:{dial}")
    reactor.run()


class Watched:
    """I read what a node prints: its port, then how it stands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self.port = int(self._stdout.readline())
        self.last: dict[str, Any] = {}
        self.waits = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(ValueError):  # the end
            for line in self._stdout:
                self.last = json.loads(line)
                self.waits += self.last["waits"]


@contextmanager
def _process(*arguments: str) -> Iterator[Watched]:
    command = [sys.executable, "-m", "tests.audit.fed", "node", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            yield Watched(process)
        finally:
            process.kill()
            process.wait()


def _feed(member: Member, messages: list[Segment]) -> None:
    """Say all of it, and take what is said meanwhile."""

    def drain() -> None:
        with suppress(OSError, ValueError):
            while True:
                member.listen()

    threading.Thread(target=drain, daemon=True).start()
    for start in range(0, len(messages), AT_ONCE):
        part: list[Message] = [*messages[start : start + AT_ONCE]]
        member.say(*part)


def run(name: str, seconds: float) -> Outcome:
    """Give both what takes about so long, and wait until they hold the same."""
    kind = KINDS[name]
    pairs = [Keypair(os.urandom(32)) for _ in range(max(200, int(seconds * kind.rate)))]
    parts = [[make(pair) for pair in pairs] for make in (kind.one, kind.other)]
    with ExitStack() as stack:
        places = [stack.enter_context(tempfile.TemporaryDirectory(prefix="gossiplog-audit-")) for _ in parts]
        one = stack.enter_context(_process(places[0]))
        nodes = [one, stack.enter_context(_process(places[1], str(one.port)))]
        time.sleep(1.0)
        begun = time.monotonic()
        for each, part in zip(nodes, parts, strict=True):
            member = Member(each.port, NETWORK.key)
            stack.callback(member.close)
            threading.Thread(target=_feed, args=(member, part), daemon=True).start()
        what = "forks" if kind.forks else "authors"
        while time.monotonic() - begun < seconds + PATIENCE_SECONDS:
            time.sleep(0.25)
            if all(each.last.get(what, 0) == len(pairs) for each in nodes):
                break
        took = time.monotonic() - begun
        held = [each.last.get(what, 0) for each in nodes]
        ends = [end for each in nodes for end in each.last.get("ends", ["said nothing"])]
        waits = sum(each.waits for each in nodes)
    figure = f"{held[0]:,} and {held[1]:,} of {len(pairs):,} {what} after {took:.0f} s; sent away {len(ends)} times"
    if waits:
        figure += f"; waited for about {waits / 4:.1f} s"
    if ends:
        figure += f": {ends[0]}"
    return Outcome(figure, held == [len(pairs)] * 2 and not ends)


def _case(name: str) -> Case:
    what = "two branches of each author, one to each" if KINDS[name].forks else "the same authors"
    attack = f"members give two honest nodes {what}, at full speed: {name}"
    return Case(
        f"fed-{name}", attack, "nobody is sent away, both hold all", lambda seconds: run(name, seconds)
    )


CASES = tuple(_case(name) for name in KINDS)

if __name__ == "__main__":
    if sys.argv[1] == "node":
        node(*sys.argv[2:])
    else:
        print(run(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 20.0))

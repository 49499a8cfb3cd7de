"""Real processes on five hosts with 100 ms and 2 % loss between them; opt-in, since it takes minutes and root.

    GOSSIPLOG_HOSTS=1 python -m twisted.trial tests.test_real_network

The hosts are in a ring with one chord, so most of what is said is relayed.  Who waits, waits for a line.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Collection

from tests.hosts import Hosts, missing
from tests.processes import Process, ProcessTestCase

COUNT = 5
LINKS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (1, 3))
PORT = 4000
LINES = 20
FLOOD = 1000
"""Lines of which the process that is killed has said some.  No more are read ahead from its input."""

PATIENCE_SECONDS = 240.0
"""For connections that go silent: 50 seconds until they are given up, a minute of back-off, a TCP that retries."""


def reason() -> str:
    """Why this is not run; empty when it is."""
    if not os.environ.get("GOSSIPLOG_HOSTS"):
        return "opt-in, as it takes minutes and root: set GOSSIPLOG_HOSTS=1"
    return missing()


class RealNetworkTests(ProcessTestCase):
    """Five people chat, each on a host of their own."""

    skip = reason() or None

    def setUp(self) -> None:
        super().setUp()
        self.hosts = Hosts(COUNT)
        self.addCleanup(self.hosts.close)  # before the processes are: cleanups run backwards
        for number in range(COUNT):
            self.run_gossiplog("init", "--store", f"store{number}")
        self.said = [0] * COUNT
        self.chats = [self.chat(number) for number in range(COUNT)]

    def chat(self, number: int) -> Process:
        """Start the process of a host."""
        process = self.start(
            *self.hosts.on(number, sys.executable, "-m", "gossiplog.app.cli", "chat", "--network", "77" * 32),
            *("--store", f"store{number}", "--nick", f"host{number}"),
            *("--listen", f"tcp:{PORT}:interface={self.hosts.address(number)}"),
            *(
                f"--peer=tcp:{self.hosts.address(target)}:{PORT}"
                for caller, target in LINKS
                if caller == number
            ),
        )
        process.patience = PATIENCE_SECONDS
        return process

    def say(self, number: int, lines: int = LINES) -> None:
        """Append so many lines on a host."""
        start = self.said[number]
        self.said[number] += lines
        self.chats[number].send(*(f"line {line}." for line in range(start, start + lines)))

    def last_line(self, number: int) -> str:
        """The last line said on a host; who shows it showed all before."""
        return rf"^host{number}> line {self.said[number] - 1}\.$"

    def all_show_all(self, group: Collection[int]) -> None:
        """Wait until every host of a group shows the last line of every other."""
        for number in group:
            self.chats[number].wait_for_all(*(self.last_line(other) for other in group if other != number))

    def speak_apart(self, *groups: Collection[int]) -> None:
        """Partition the network; everyone says something, and within each group it arrives."""
        self.hosts.partition(*groups)
        for group in groups:
            for number in group:
                self.say(number)
        for group in groups:
            self.all_show_all(group)

    def heal(self, *groups: Collection[int]) -> float:
        """Connect the groups, wait until everyone shows everything; return the seconds that took."""
        for group in groups:
            for number in group:
                for other in set(range(COUNT)) - set(group):
                    self.assertNotIn(self.said[other] - 1, self.shown(number, other))
        before = time.monotonic()
        self.hosts.heal()
        for group in groups:
            others = [number for number in range(COUNT) if number not in group]
            for number in group:
                self.chats[number].wait_for_all(*map(self.last_line, others))
        return time.monotonic() - before

    def killed(self, number: int, neighbour: int) -> None:
        """Kill a process amid its appends, when a neighbour has shown some of them; start it again."""
        told = self.said[number] + LINES
        self.say(number, FLOOD)
        self.chats[neighbour].wait_for(rf"^host{number}> line {told}\.$")
        self.chats[number].kill()
        heard = self.shown(neighbour, number)
        self.assertLess(max(heard), self.said[number] - 1)
        self.chats[number] = self.chat(number)
        self.chats[number].wait_for(rf"^host{number}> line {max(heard)}\.$")

    def shown(self, number: int, author: int) -> list[int]:
        """Which lines of an author a host's process showed, in its order."""
        return [
            int(line)
            for line in re.findall(rf"^host{author}> line (\d+)\.$", self.chats[number].out, re.MULTILINE)
        ]

    def clock(self, store: str) -> dict[str, int]:
        """How far a store holds whom."""
        lines = self.run_gossiplog("clock", "--json", "--store", store).splitlines()
        return {line["author"]: line["seq"] for line in map(json.loads, lines)}

    def test_partitions_and_a_kill(self) -> None:
        """One that nobody notices, with a kill -9 in it, and one that ends connections: all come to hold the same."""
        figures = {}
        before = time.monotonic()
        for number in range(COUNT):
            self.say(number)
        self.all_show_all(range(COUNT))
        figures["from the start"] = time.monotonic() - before

        before = time.monotonic()
        for number in range(COUNT):
            self.say(number)
        self.all_show_all(range(COUNT))
        figures["connected"] = time.monotonic() - before

        groups: tuple[Collection[int], ...] = ((0, 1), (2, 3, 4))
        self.speak_apart(*groups)
        self.killed(3, neighbour=2)
        self.say(3)
        for number in (2, 4):
            self.chats[number].wait_for(self.last_line(3))
        figures["after a partition that no connection noticed"] = self.heal(*groups)

        groups = ((0, 4), (1, 2, 3))
        self.speak_apart(*groups)
        for link in LINKS:
            if not any(set(link) <= set(group) for group in groups):
                for number in link:
                    self.chats[number].wait_for(r"^-- peer \w+ is down")
        figures["after one that ended the connections"] = self.heal(*groups)

        for number, chat in enumerate(self.chats):
            chat.send("/quit")
            self.assertEqual(chat.finish(), 0, chat.err)
            for author in range(COUNT):
                lines = self.shown(number, author)
                self.assertEqual(lines, sorted(set(lines)))
        stores = [f"store{number}" for number in range(COUNT)]
        clocks = [self.clock(store) for store in stores]
        self.assertEqual(clocks, clocks[:1] * COUNT)
        held = [self.logged(store) for store in stores]
        self.assertEqual(held, held[:1] * COUNT)
        there = {(said["nickname"], said["text"]) for said in map(json.loads, held[0].values())}
        self.assertEqual(len(there), len(held[0]))
        for number in range(COUNT):
            for author in range(COUNT):
                for line in self.shown(number, author):
                    self.assertIn((f"host{author}", f"line {line}."), there)
        for store in stores:
            self.run_gossiplog("verify", "--store", store)
        print(f"\n{self.hosts}")
        for what, seconds in figures.items():
            print(f"everyone shows everything, {what}: {seconds:.1f} s")
        lost = sum(self.said) - len(there)
        print(f"{lost} of {FLOOD} lines had not been appended when their process was killed")
        print(f"{len(there)} entries in each of {COUNT} stores; all verified, all the same")

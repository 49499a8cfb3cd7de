"""Two nodes behind routers of every kind, and a room; opt-in, since it takes minutes and root.

    GOSSIPLOG_HOSTS=1 python -m twisted.trial tests.test_room_hosts

prints for each pair of routers which way the session goes, and how long it took.
"""

from __future__ import annotations

import sys
import time
from typing import Any
from unittest.mock import patch

from gossiplog.discovery.room.key import RoomKey
from tests import hosts
from tests.nats import KINDS, ROOM, Nats, reason
from tests.processes import Process, ProcessTestCase

KEY = RoomKey(bytes(range(32))).text
DIRECT = {"preserve", "cone"}
"""Between two of these there is a direct way."""


class MatrixTests(ProcessTestCase):
    """A session in every cell."""

    skip = reason() or None

    def setUp(self) -> None:
        super().setUp()
        for name, value in (("DELAY_SECONDS", 0.02), ("LOSS_PERCENT", 0)):
            patcher = patch.object(hosts, name, value)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.nats = Nats()
        self.addCleanup(self.nats.close)  # before the processes are: cleanups run backwards
        self.room = self.run_on(2, "room", "--listen", f"tcp:443:interface={ROOM}", "--key", KEY)
        self.room.wait_for("gossiplog room ready")

    def run_on(self, number: int, *arguments: str) -> Process:
        process: Process = self.start(
            *self.nats.on(number, sys.executable, "-m", "gossiplog.app.cli", *arguments)
        )
        return process

    def meet(self, cell: str) -> tuple[list[str], float]:
        """Let two new nodes meet, and each have what the other wrote; returns where each says the other is, and the
        seconds from the first ready line."""
        nodes = []
        for number in (0, 1):
            store = f"{cell}-{number}"
            self.run_gossiplog("init", "--store", store)
            self.run_gossiplog("append", "--store", store, f"from {number}")
            room = f"tcp:{ROOM}:443#{KEY}"
            said = ("--store", store, "--network", "77" * 32, "--room", room)
            nodes.append(self.run_on(number, "run", *said, "--log-json", "--log-level", "info,gossip=debug"))
        for node in nodes:
            node.ready()
        began = time.monotonic()
        found = [node.wait_for_error(r'"event": "peer_up".*"address": "([^"]+)"')[1] for node in nodes]
        seconds = time.monotonic() - began
        for node in nodes:
            node.wait_for_error('"event": "new_entries"')
        for node in nodes:
            node.interrupt()
        return found, seconds

    def check(self, *, rejects: bool) -> None:
        wrong: list[Any] = []
        print(f"\nrouters that {'reject' if rejects else 'drop'} what nobody asked for")
        for one in KINDS:
            for other in KINDS:
                for number, kind in enumerate((one, other)):
                    self.nats.route(number, kind, rejects=rejects)
                found, seconds = self.meet(f"{one}-{other}")
                ways = ["room" if at.endswith("(a room)") else "direct" for at in found]
                print(f"{one:10} {other:10} {ways[0]:7} {seconds:5.2f} s  {found[0]}  {found[1]}", flush=True)
                expected = "direct" if {one, other} <= DIRECT else "room"
                if ways != [expected, expected]:
                    wrong.append((one, other, found))
        self.assertEqual(wrong, [])

    def test_routers_that_drop(self) -> None:
        self.check(rejects=False)

    def test_routers_that_reject(self) -> None:
        self.check(rejects=True)

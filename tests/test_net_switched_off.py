"""A node without options: no socket, thread, descriptor or timer for finding peers."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from gossiplog import Node, open_store

DESCRIPTORS = "/proc/self/fd"


def sockets() -> list[str]:
    """The sockets of this process by which a packet could leave the machine: all but those of the file system."""
    local = set(re.findall(r" (\d+)(?: \S+)?$", Path("/proc/net/unix").read_text(), re.MULTILINE))
    found = []
    for number in os.listdir(DESCRIPTORS):
        try:
            target = os.readlink(f"{DESCRIPTORS}/{number}")
        except OSError:
            continue  # the listing itself
        if target.startswith("socket:[") and target[8:-1] not in local:
            found.append(target)
    return sorted(found)


class SwitchedOffTests(TestCase):
    """With real descriptors and threads."""

    skip = None if os.path.isdir(DESCRIPTORS) else "no list of open descriptors on this system"

    def setUp(self) -> None:
        self.reactor: Any = reactor

    async def test_nothing_is_open(self) -> None:
        """A node that neither listens nor dials adds no socket, no thread, and does not look where the machine is."""
        async with open_store(self.mktemp(), self.reactor) as store:
            await store.writer()
            before, threads, calls = sockets(), threading.active_count(), len(self.reactor.getDelayedCalls())
            async with Node(self.reactor, store, network="garden") as node:
                self.assertEqual(sockets(), before)
                self.assertEqual(threading.active_count(), threads)
                self.assertIsNone(node._meeting._roaming._watch)
                self.assertLessEqual(len(self.reactor.getDelayedCalls()), calls + 1)
                await node.listen("tcp:0:interface=127.0.0.1")
                self.assertEqual(len(sockets()), len(before) + 1)

    async def test_what_joining_adds_goes(self) -> None:
        """Without ways it opens nothing; after leaving nothing of it is left but a look at the addresses."""
        async with open_store(self.mktemp(), self.reactor) as store:
            await store.writer()
            before, threads = sockets(), threading.active_count()
            async with Node(self.reactor, store, network="garden") as node:
                joined = node.join()
                await joined.flush(timeout=5.0)
                self.assertEqual(sockets(), before)
                self.assertEqual(threading.active_count(), threads)
                await joined.leave()
                self.assertEqual(sockets(), before)
            passed: Deferred[None] = Deferred()
            self.reactor.callLater(0, passed.callback, None)
            await passed
            self.assertEqual((sockets(), threading.active_count()), (before, threads))

"""What ``test_chat.py`` of docs/howto/testing.rst does, with real nodes on real ports, in real time.

Only a process that is killed crashes: the second test needs one.
"""

import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gossiplog import Node, Store, Writer, open_store


class Chat:
    def __init__(self, name: str, store: Store, writer: Writer, node: Node, address: str) -> None:
        self.name = name
        self.store = store
        self.writer = writer
        self.node = node
        self.address = address
        self.lines: list[str] = []

    @classmethod
    async def open(cls, reactor: Any, path: str, name: str, others: list[str]) -> "Chat":
        store = open_store(path, reactor)
        node = Node(reactor, store, network="chat-of-our-street", agent=name)
        address = await node.listen("tcp:0:interface=127.0.0.1")
        for other in others:
            node.connect(other)
        return cls(name, store, await store.writer(encoding="json"), node, address)

    async def say(self, text: str) -> None:
        await self.writer.append({"username": self.name, "message": text})

    async def show(self) -> None:
        async for entry in self.store.read(live=True, encoding="json"):
            match entry.payload:
                case {"username": str(name), "message": str(text)}:
                    self.lines.append(f"{name}> {text}")


CRASHES = """
import os, signal, sys
from twisted.internet.task import react
from test_chat import Chat
async def main(reactor):
    chat = await Chat.open(reactor, sys.argv[1], "ann", [])
    await chat.say("nobody hears me")
    os.kill(os.getpid(), signal.SIGKILL)
react(main)
"""


class ChatTests(TestCase):
    async def join(self, name: str, *others: Chat, path: str = "") -> Chat:
        chat = await Chat.open(reactor, path or tempfile.mkdtemp(), name, [other.address for other in others])
        showing = Deferred.fromCoroutine(chat.show())
        self.addCleanup(lambda: showing)
        self.addCleanup(chat.store.close)
        return chat

    async def until(self, chat: Chat, lines: list[str]) -> None:
        for _ in range(200):
            if chat.lines == lines:
                return
            await deferLater(reactor, 0.05)
        self.fail(f"{chat.name} sees {chat.lines}")

    async def test_catches_up_through_a_third(self) -> None:
        bob = await self.join("bob")
        ann = await self.join("ann", bob)
        path = tempfile.mkdtemp()
        cleo = await self.join("cleo", bob, path=path)
        await cleo.store.close()  # a line cannot be cut: she goes, and comes back
        await ann.say("lunch at one?")
        await self.until(bob, ["ann> lunch at one?"])
        assert cleo.lines == []
        await ann.store.close()
        cleo = await self.join("cleo", bob, path=path)
        await self.until(cleo, ["ann> lunch at one?"])

    async def test_what_was_said_is_kept(self) -> None:
        path = tempfile.mkdtemp()
        here = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
        crashed = subprocess.run([sys.executable, "-c", CRASHES, path], env=here, check=False)
        assert crashed.returncode == -signal.SIGKILL
        ann = await self.join("ann", path=path)
        bob = await self.join("bob", ann)
        await self.until(bob, ["ann> nobody hears me"])

"""Two nodes, or a node and a script, on one connection of which every byte follows from fixed keys.

Responsible for: nodes with given keys, logs and proofs; delivering and committing in a fixed order; keeping frames.
Must not know: what is shown by it.
Invariant: nothing here is random, so the same scenario gives the same frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, cast

from nacl.bindings import crypto_scalarmult_base

from gossiplog.gossip.interest import Interest
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import Keypair
from gossiplog.log.segment import Segment, verify
from gossiplog.store.logs import Logs
from gossiplog.store.memory.backend import MemoryBackend
from gossiplog.store.requests import Accept, AddFork
from gossiplog.testing.sim.pipes import OVERHEAD_BYTES
from gossiplog.testing.sim.wires import Net
from gossiplog.testing.sim.world import World
from gossiplog.wire.codec import encode
from tests.stepping import End, SteppedNode, Wire

QUIET_SECONDS = 0.2
"""After what was said last: announcements are out, and nothing is late yet."""


def derived(name: str, size: int = 32) -> bytes:
    """Return fixed bytes that look random."""
    return b"".join(sha256(f"{name} {part}".encode()).digest() for part in range(size // 32 + 1))[:size]


class _Audience:
    """I watch and do nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Stage:
    """I hold the time, the nodes and one connection; ``said`` has (who, frame) of all that was sent, in order."""

    def __init__(self) -> None:
        self.world = World(0)
        self.net = Net(self.world)
        self.said: list[tuple[str, bytes]] = []
        self.nodes: list[SteppedNode] = []
        self._ends: tuple[End, ...] = ()

    def node(
        self,
        name: str,
        static: bytes,
        *,
        seeds: Iterable[bytes] = (),
        logs: Iterable[Segment] = (),
        forks: Iterable[ForkProof] = (),
        interest: Interest = Interest.ALL,
    ) -> SteppedNode:
        """Return a node that runs, with these writers and what it holds."""
        backend = MemoryBackend(name)
        store = Logs(backend, lambda size: derived(name, size))
        store.process([Accept(segment, verify(segment)) for segment in logs])
        store.process([AddFork(proof) for proof in forks])
        backend = backend.reopen()
        for seed in seeds:
            backend.secrets.create_seed(Keypair(seed).author.hex()[:8], seed)
        node = SteppedNode(self.world, self.net, name, backend, cast(Any, _Audience()))
        node.id = crypto_scalarmult_base(static)
        if interest is Interest.WANTED:
            node.only_followed()
        node.random = cast(Any, _Given(derived(f"{name} instance", 16)))
        node.start()
        node.disk.random = cast(Any, _Given(b""))
        self.nodes.append(node)
        return node

    def connect(self, dialler: Any, listener: Any, salt: bytes) -> None:
        """Let two parties meet; ``salt`` is their handshake hash."""
        wire = _Wire(self, dialler, listener, salt)
        self._ends = wire.ends
        for end in wire.ends:
            end.party.established(cast(Any, end))

    def play(self) -> None:
        """Deliver and commit until nothing is left to do, and once more after a while."""
        for _ in range(2):
            while self._step():
                pass
            self.world.run(self.world.now + QUIET_SECONDS)
        while self._step():
            pass

    def _step(self) -> bool:
        for node in self.nodes:
            if node.busy_disk:
                node.steps.step()
                return True
        for end in self._ends:
            if end.can_take:
                end.take()
                return True
        return False


class _Given:
    """I am what a node and its disk take for random."""

    def __init__(self, instance: bytes) -> None:
        self._instance = instance

    def randbytes(self, size: int) -> bytes:
        """Return the instance number, which is all that a session shows."""
        return self._instance[:size]

    def random(self) -> float:
        """Return what makes a disk neither stall nor join segments."""
        return 0.5


class _Wire(Wire):
    """I am the connection, with a handshake hash that was agreed on."""

    def __init__(self, stage: Stage, dialler: Any, listener: Any, salt: bytes) -> None:
        self.world = stage.world
        self.salt = salt
        self.ends = (_End(self, dialler, True), _End(self, listener, False))
        for end in self.ends:
            cast(_End, end).stage = stage
        stage.net.links.append(cast(Any, self))


class _End(End):
    """I keep what is written."""

    stage: Stage

    def write(self, frame: bytes) -> None:
        """Send a frame."""
        if not (self.closing or self.gone):
            self.stage.said.append((self.party.name, frame))
        super().write(frame)

    def take(self) -> None:
        """Let the next frame arrive, whatever it is."""
        frame = self.waiting.popleft()
        if frame is None:
            self.die()
            self.other.die()
            return
        self.other.was_read(len(frame) + OVERHEAD_BYTES)
        if not self.closing:
            self.party.received(cast(Any, self), frame)


class Script:
    """I am a party without a node: I say what I am told, and listen."""

    def __init__(self, name: str, static: bytes) -> None:
        self.name = name
        self.id = crypto_scalarmult_base(static)
        self.net = cast(Any, None)
        self.end: Any = None

    def say(self, *messages: Any) -> None:
        """Send messages, or frames of any content."""
        for message in messages:
            self.end.write(message if type(message) is bytes else encode(message))

    def established(self, end: Any) -> None:
        """The connection is up."""
        self.end = end

    def received(self, end: Any, frame: bytes) -> None:
        """A frame came."""

    drained = lost = trickled = lambda self, end: None

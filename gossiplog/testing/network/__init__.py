"""Real stores and nodes on machines in memory: their reactor, their connections, their disks, in virtual time.

Responsible for: exporting these; reading order: ``sockets`` (a connection), ``reactor``, ``thread``,
``machine``, ``network``.
Must not know: what the bytes mean.
Invariant: the same calls in the same order give the same run; no socket, no thread, no real time.

>>> reactor = VirtualReactor()
>>> reactor.run(60.0)
>>> reactor.seconds()
60.0
"""

from gossiplog.testing.network.machine import Machine
from gossiplog.testing.network.network import Network, StuckError
from gossiplog.testing.network.reactor import VirtualReactor
from gossiplog.testing.network.sockets import CHUNK_BYTES, WINDOW_BYTES, Side
from gossiplog.testing.network.thread import VirtualThread

__all__ = [
    "CHUNK_BYTES",
    "WINDOW_BYTES",
    "Machine",
    "Network",
    "Side",
    "StuckError",
    "VirtualReactor",
    "VirtualThread",
]

"""A reactor for tests: connections in memory, time that passes when told, a store's thread without a thread.

Responsible for: exporting these; reading order: ``sides`` (a connection), ``reactor``, ``disk``.
Must not know: what the bytes mean.
Invariant: the same calls in the same order give the same run; no socket, no thread, no real time.

>>> reactor = VirtualReactor()
>>> reactor.run(60.0)
>>> reactor.seconds()
60.0
"""

from gossiplog.testing.links.disk import VirtualThread
from gossiplog.testing.links.reactor import VirtualReactor
from gossiplog.testing.links.sides import CHUNK_BYTES, WINDOW_BYTES, Side

__all__ = ["CHUNK_BYTES", "WINDOW_BYTES", "Side", "VirtualReactor", "VirtualThread"]

"""gossiplog for scripts and threads: the same stores and nodes, with calls that return when it is done.

``with blocking.Store("notes") as store`` and, of whoever meets peers, ``with blocking.Node(store, network="garden") as
node``.  Any thread may call; a call ends with what it waits for, with Ctrl-C and with its timeout.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gossiplog.blocking.reader import Batches, Reader
from gossiplog.blocking.store import Store, Writer

if TYPE_CHECKING:
    from gossiplog.blocking.node import Events, Node

__all__ = ["Batches", "Events", "Node", "Reader", "Store", "Writer"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what meets peers when it is used: who only appends and reads starts sooner."""
        if name in __all__:
            value = globals()[name] = getattr(import_module("gossiplog.blocking.node"), name)
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

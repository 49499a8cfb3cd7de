"""gossiplog for scripts and threads: the same stores and nodes, with calls that return when it is done.

``with blocking.Store("notes") as store`` and, of whoever meets peers, ``with blocking.Node(store, network="garden") as
node``.  Any thread may call; a call ends with what it waits for, with Ctrl-C and with its timeout.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from gossiplog.blocking.reader import Batches, Reader
from gossiplog.blocking.store import AttachedStore, Store, Writer, attach

if TYPE_CHECKING:
    from gossiplog.blocking.attached import AttachedNode
    from gossiplog.blocking.node import Events, Node
    from gossiplog.blocking.views import Changes, LiveSearch, LiveView

__all__ = [
    "AttachedNode",
    "AttachedStore",
    "Batches",
    "Changes",
    "Events",
    "LiveSearch",
    "LiveView",
    "Node",
    "Reader",
    "Store",
    "Writer",
    "attach",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what meets peers, and views, when it is used: who only appends and reads starts sooner."""
        if name in __all__:
            home = {"AttachedNode": "attached", "Events": "node", "Node": "node"}.get(name, "views")
            value = globals()[name] = getattr(import_module(f"gossiplog.blocking.{home}"), name)
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

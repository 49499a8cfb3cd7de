"""Scuttlebutt-style gossip replication of signed append-only logs, built on vector clocks.

Reading order for a newcomer: ``log.clock`` (who holds what), ``log.segment`` (the unit of everything),
``gossip.replica`` (how it spreads), ``store.logs`` (how it is kept), ``node`` (what an application holds).

A public name is imported when it is first used: a program that needs no reactor starts without Twisted, in less than
half the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gossiplog.errors import GossiplogError
    from gossiplog.gossip.quotas import Quota, Quotas
    from gossiplog.log.body import Reference
    from gossiplog.log.clock import Clock, Cursor, Order
    from gossiplog.log.entry import Entry
    from gossiplog.log.fork import ForkProof
    from gossiplog.log.keys import format_author, parse_author, short_key
    from gossiplog.log.network import Network
    from gossiplog.log.segment import Head, Segment
    from gossiplog.net.awaiting import Result
    from gossiplog.net.livestore import Store, open_store
    from gossiplog.net.notices import Peer
    from gossiplog.net.reading import Reader
    from gossiplog.net.writing import Writer
    from gossiplog.node import Node

__all__ = [
    "Clock",
    "Cursor",
    "Entry",
    "ForkProof",
    "GossiplogError",
    "Head",
    "Network",
    "Node",
    "Order",
    "Peer",
    "Quota",
    "Quotas",
    "Reader",
    "Reference",
    "Result",
    "Segment",
    "Store",
    "Writer",
    "format_author",
    "open_store",
    "parse_author",
    "short_key",
]

_HOME = {
    "Clock": "log.clock",
    "Cursor": "log.clock",
    "Entry": "log.entry",
    "ForkProof": "log.fork",
    "GossiplogError": "errors",
    "Head": "log.segment",
    "Network": "log.network",
    "Node": "node",
    "Order": "log.clock",
    "Peer": "net.notices",
    "Quota": "gossip.quotas",
    "Quotas": "gossip.quotas",
    "Reader": "net.reading",
    "Reference": "log.body",
    "Result": "net.awaiting",
    "Segment": "log.segment",
    "Store": "net.livestore",
    "Writer": "net.writing",
    "format_author": "log.keys",
    "open_store": "net.livestore",
    "parse_author": "log.keys",
    "short_key": "log.keys",
}
"""The module of each public name."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name."""
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        return value

    def __dir__() -> list[str]:
        """What is here, imported or not."""
        return sorted({*globals(), *__all__})

"""Scuttlebutt-style gossip replication of signed append-only logs, built on vector clocks.

Reading order for a newcomer: ``log.clock`` (who holds what), ``log.segment`` (the unit of everything),
``gossip.replica`` (how it spreads), ``store.logs`` (how it is kept), ``node`` (what an application holds).
"""

from gossiplog.errors import GossiplogError
from gossiplog.log.body import Reference
from gossiplog.log.clock import Clock, Cursor, Order
from gossiplog.log.entry import Entry
from gossiplog.log.fork import ForkProof
from gossiplog.log.keys import format_author, parse_author, short_key
from gossiplog.log.network import Network
from gossiplog.log.segment import Head, Segment
from gossiplog.net.awaiting import Result
from gossiplog.net.livestore import Store, Writer, open_store
from gossiplog.net.notices import Peer
from gossiplog.net.reading import Reader
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

"""Scuttlebutt-style gossip replication of signed append-only logs, built on vector clocks.

Reading order for a newcomer: ``log.clock`` (who holds what), ``log.segment`` (the unit of everything),
``gossip.replica`` (how it spreads), ``store.logs`` (how it is kept), ``node`` (what an application holds).

A public name is imported when it is first used: a program that needs no reactor starts without Twisted, in less than
half the time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gossiplog.discovery.dht import Dht
    from gossiplog.discovery.lan import Lan
    from gossiplog.discovery.mapping import PortMapping
    from gossiplog.discovery.room.way import Room
    from gossiplog.errors import (
        AppendOutcomeUnknown,
        BadExportError,
        BadForkProofError,
        BadSegmentError,
        BadSignatureError,
        BlockedAuthorError,
        ByeCode,
        ChannelError,
        ControlError,
        CursorMismatchError,
        EncodingError,
        EndpointError,
        EntryNotHeldError,
        ForkedWriterError,
        FrameTooLargeError,
        GossiplogError,
        HandshakeError,
        HostFileError,
        InvalidKeyError,
        InvalidReferenceError,
        InvalidValueError,
        KeyFileError,
        KeyLockedError,
        LimitExceededError,
        LocalAuthorError,
        LostRaceError,
        MalformedBodyError,
        MalformedMessageError,
        MissingExtraError,
        NetworkMismatchError,
        NodeError,
        NodeGoneError,
        NodeStoppedError,
        NotABackupError,
        OneWayError,
        PayloadTooLargeError,
        PeerError,
        PeerTimeoutError,
        ReplayError,
        SearchUnavailableError,
        SharedStoreError,
        SignerError,
        StoreClosedError,
        StoreCopiedError,
        StoreDamagedError,
        StoreError,
        StoreFailedError,
        StoreFormatError,
        StoreFullError,
        StoreInheritedError,
        StoreInUseError,
        StoreLockedError,
        StoreNotClosedError,
        StoreNotFoundError,
        StoreUnreachableError,
        StoreUnsafeError,
        StoreWentBackError,
        UnaskedHolesError,
        UnexpectedMessageError,
        UnknownWriterError,
        VersionMismatchError,
        ViewError,
        ViewFailedError,
        ViewQueryError,
        WhereFailedError,
        WrongCallerError,
        WrongNetworkError,
        WrongPassphraseError,
        WrongProtocolError,
    )
    from gossiplog.gossip.quotas import Quota, Quotas, Usage
    from gossiplog.live.backing_up import BackedUp, restore_store
    from gossiplog.live.batches import Batch, Batches
    from gossiplog.live.commits import CommitStatus
    from gossiplog.live.compacting import Compacted
    from gossiplog.live.exporting import Exported
    from gossiplog.live.importing import Imported, import_store
    from gossiplog.live.live_search import LiveSearch
    from gossiplog.live.live_view import Changes, LiveView
    from gossiplog.live.opening import open_store
    from gossiplog.live.page import Page
    from gossiplog.live.reader import Reader
    from gossiplog.live.results import Result
    from gossiplog.live.store import Store
    from gossiplog.live.subscriptions import Events
    from gossiplog.live.writer import Writer
    from gossiplog.log.body import Reference
    from gossiplog.log.clock import Clock, Order
    from gossiplog.log.cursor import Cursor
    from gossiplog.log.entry import Entry, PlacedEntry
    from gossiplog.log.fork import ForkProof
    from gossiplog.log.keys import format_author, parse_author, short_key
    from gossiplog.log.network import Network
    from gossiplog.log.segment import Head, Segment
    from gossiplog.log.signer import Signer
    from gossiplog.net.bans import Ban
    from gossiplog.net.catching_up import Moved
    from gossiplog.net.dialer import Dialer
    from gossiplog.net.joining import Flushed, Joined
    from gossiplog.net.meeting import Found
    from gossiplog.net.ways import Finder, Way
    from gossiplog.node import Node
    from gossiplog.notices import (
        AuthorForked,
        Banned,
        CaughtUp,
        DialFailed,
        EntryAhead,
        InSync,
        Lagged,
        NetworkChanged,
        NewEntries,
        Notice,
        PayloadsFilled,
        Peer,
        PeerDown,
        PeerFound,
        PeerLost,
        PeerProgress,
        PeerRejected,
        PeerUp,
        Progress,
        QuotaExceeded,
        QuotaLifted,
        Reachability,
        Reordered,
        StoreDamaged,
        StoreFailing,
        StoreReachable,
        StrangersTurnedAway,
        TimelineProgress,
        ViewFailed,
        ViewProgress,
        ViewSkipped,
        WayFailed,
    )
    from gossiplog.status import AuthorStatus, DialStatus, DiskStatus, PeerStatus, QueueStatus, Status
    from gossiplog.store.ssh_agent import SSHAgent
    from gossiplog.ticket import Ticket
    from gossiplog.troubles import Trouble
    from gossiplog.views.search import Hit, Search
    from gossiplog.views.view import Change, View

__all__ = [
    "AppendOutcomeUnknown",
    "AuthorForked",
    "BadExportError",
    "BadForkProofError",
    "BadSegmentError",
    "BadSignatureError",
    "BackedUp",
    "Ban",
    "Banned",
    "Batch",
    "Batches",
    "BlockedAuthorError",
    "ByeCode",
    "CaughtUp",
    "Change",
    "Changes",
    "ChannelError",
    "ControlError",
    "Clock",
    "Compacted",
    "Cursor",
    "CursorMismatchError",
    "Dht",
    "DialFailed",
    "Dialer",
    "EncodingError",
    "EndpointError",
    "Entry",
    "EntryAhead",
    "EntryNotHeldError",
    "Events",
    "Finder",
    "Flushed",
    "ForkProof",
    "ForkedWriterError",
    "Found",
    "Exported",
    "FrameTooLargeError",
    "GossiplogError",
    "HandshakeError",
    "Head",
    "Hit",
    "HostFileError",
    "Imported",
    "InSync",
    "InvalidKeyError",
    "InvalidReferenceError",
    "InvalidValueError",
    "Joined",
    "KeyFileError",
    "KeyLockedError",
    "Lagged",
    "Lan",
    "LimitExceededError",
    "LiveSearch",
    "LiveView",
    "LocalAuthorError",
    "LostRaceError",
    "MalformedBodyError",
    "MalformedMessageError",
    "MissingExtraError",
    "Moved",
    "Network",
    "NetworkChanged",
    "NetworkMismatchError",
    "NewEntries",
    "Node",
    "NodeError",
    "NodeGoneError",
    "NodeStoppedError",
    "NotABackupError",
    "OneWayError",
    "Notice",
    "Order",
    "Page",
    "PayloadTooLargeError",
    "PayloadsFilled",
    "Peer",
    "PeerDown",
    "PeerError",
    "PeerFound",
    "PeerLost",
    "PeerProgress",
    "PeerRejected",
    "PeerTimeoutError",
    "PeerUp",
    "PlacedEntry",
    "PortMapping",
    "Progress",
    "Quota",
    "QuotaExceeded",
    "QuotaLifted",
    "Quotas",
    "Reachability",
    "Reader",
    "Reference",
    "Reordered",
    "ReplayError",
    "Result",
    "Room",
    "SSHAgent",
    "Search",
    "SearchUnavailableError",
    "Segment",
    "Store",
    "SharedStoreError",
    "Signer",
    "SignerError",
    "StoreClosedError",
    "StoreCopiedError",
    "StoreDamaged",
    "StoreDamagedError",
    "StoreError",
    "StoreFailedError",
    "StoreFailing",
    "StoreFormatError",
    "StoreFullError",
    "StoreInUseError",
    "StoreInheritedError",
    "StoreLockedError",
    "StoreNotClosedError",
    "StoreNotFoundError",
    "StoreReachable",
    "StoreUnreachableError",
    "StoreUnsafeError",
    "StoreWentBackError",
    "StrangersTurnedAway",
    "Ticket",
    "TimelineProgress",
    "UnaskedHolesError",
    "UnexpectedMessageError",
    "UnknownWriterError",
    "Usage",
    "VersionMismatchError",
    "View",
    "ViewError",
    "ViewFailed",
    "ViewFailedError",
    "ViewProgress",
    "ViewQueryError",
    "ViewSkipped",
    "Way",
    "WayFailed",
    "WhereFailedError",
    "Writer",
    "WrongCallerError",
    "WrongPassphraseError",
    "WrongNetworkError",
    "WrongProtocolError",
    "format_author",
    "import_store",
    "open_store",
    "parse_author",
    "restore_store",
    "short_key",
    "AuthorStatus",
    "CommitStatus",
    "DialStatus",
    "DiskStatus",
    "PeerStatus",
    "QueueStatus",
    "Status",
    "Trouble",
]

_HOME = {
    "Ban": "net.bans",
    "Batch": "live.batches",
    "Batches": "live.batches",
    "Change": "views.view",
    "Changes": "live.live_view",
    "Clock": "log.clock",
    "Cursor": "log.cursor",
    "Dht": "discovery.dht",
    "Dialer": "net.dialer",
    "Entry": "log.entry",
    "PlacedEntry": "log.entry",
    "PortMapping": "discovery.mapping",
    "Events": "live.subscriptions",
    "Finder": "net.ways",
    "Flushed": "net.joining",
    "ForkProof": "log.fork",
    "Found": "net.meeting",
    "Head": "log.segment",
    "Hit": "views.search",
    **dict.fromkeys(("BackedUp", "restore_store"), "live.backing_up"),
    "Compacted": "live.compacting",
    "Exported": "live.exporting",
    "Imported": "live.importing",
    "Lan": "discovery.lan",
    "Room": "discovery.room.way",
    "LiveSearch": "live.live_search",
    "LiveView": "live.live_view",
    "Joined": "net.joining",
    "Moved": "net.catching_up",
    "Network": "log.network",
    "Node": "node",
    "Order": "log.clock",
    "Page": "live.page",
    **dict.fromkeys(("Quota", "Quotas", "Usage"), "gossip.quotas"),
    "Reader": "live.reader",
    "Reference": "log.body",
    "Result": "live.results",
    "SSHAgent": "store.ssh_agent",
    "Search": "views.search",
    "Segment": "log.segment",
    "Signer": "log.signer",
    "Store": "live.store",
    "Ticket": "ticket",
    "View": "views.view",
    "Way": "net.ways",
    "Writer": "live.writer",
    "import_store": "live.importing",
    "open_store": "live.opening",
    **dict.fromkeys(("format_author", "parse_author", "short_key"), "log.keys"),
    "CommitStatus": "live.commits",
    **dict.fromkeys(
        ("AuthorStatus", "DialStatus", "DiskStatus", "PeerStatus", "QueueStatus", "Status"), "status"
    ),
    "Trouble": "troubles",
}
"""The module of each public name that is neither an error nor a notice."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name."""
        if name in __all__:
            for home in (_HOME[name],) if name in _HOME else ("errors", "notices"):
                module = import_module(f"{__name__}.{home}")
                if hasattr(module, name):
                    value = globals()[name] = getattr(module, name)
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """What is here, imported or not."""
        return sorted({*globals(), *__all__})

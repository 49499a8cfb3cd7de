"""libtorrent, as a node of the BitTorrent DHT and nothing else.

Responsible for: one session of it, with all else switched off; what it says, on the reactor.
Must not know: what is looked for.
Invariant: it has one thread, and one UDP port for each address it is told to use; nothing accepts TCP.  It never calls
into Python: whoever ends a session waits for its thread and holds the interpreter's lock, which a callback would wait
for.  So what it has to say is fetched.  A child by fork leaves it alone.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from gossiplog import limits
from gossiplog.store.owning_process import hold, leak

_OFF: Final = dict.fromkeys(
    (
        "enable_lsd",
        "enable_upnp",
        "enable_natpmp",
        "enable_incoming_tcp",
        "enable_outgoing_tcp",
        "enable_incoming_utp",
        "enable_outgoing_utp",
        "enable_ip_notifier",
        "dht_privacy_lookups",
    ),
    False,
)
_SETTINGS: Final[dict[str, Any]] = _OFF | {
    "enable_dht": True,
    "user_agent": "",
    "handshake_client_version": "",
    "peer_fingerprint": "",
    "connections_limit": 0,
    "active_limit": 0,
    "aio_threads": 0,
    "hashing_threads": 0,
    "max_retry_port_bind": 0,
    "alert_queue_size": limits.MAX_DHT_ALERTS,
    "dht_max_torrents": limits.MAX_DHT_KEPT,
    "dht_max_dht_items": limits.MAX_DHT_KEPT,
    "dht_max_infohashes_sample_count": 0,  # who collects keys does not get them here
    "dht_upload_rate_limit": limits.DHT_BYTES_PER_SECOND,
}

_OWN_TABLE: Final[dict[str, Any]] = dict.fromkeys(
    (
        "dht_restrict_routing_ips",
        "dht_restrict_search_ips",
        "dht_prefer_verified_node_ids",
        "dht_enforce_node_id",
        "dht_ignore_dark_internet",
    ),
    False,
) | {"dht_block_ratelimit": limits.DHT_PACKETS_OF_ONE}
"""Rules against crowds at one address, which nodes of one office, or one machine, would break."""

_LISTENS: Final = (socket.SOL_SOCKET, socket.SO_ACCEPTCONN)

BUSY_SECONDS: Final = 0.1
IDLE_SECONDS: Final = 1.0
"""Between two looks at what it has to say, while an answer is waited for and else."""


_ASKING: Final = frozenset({"get_peers", "announce", "obfuscated_get_peers"})


class Heard:
    """I am what a session had to say.

    ``is_in``: what is announced from now on is not lost.  ``answers``: each is what one node says of who is there.
    ``announced``: who announced itself to us, as a node of the table, under which key.  ``is_asking``: whether
    something is still being asked, and ``received``: messages of others so far; both None where that was not the
    question.
    """

    def __init__(self) -> None:
        self.is_in = False
        self.answers: list[list[tuple[str, int]]] = []
        self.announced: list[tuple[bytes, str, int]] = []
        self.is_asking: bool | None = None
        self.received: int | None = None

    def take(self, alert: Any) -> None:
        """Take note of it: what it says is gone with the session."""
        match type(alert).__name__:
            case "dht_bootstrap_alert":
                self.is_in = True
            case "dht_get_peers_reply_alert":
                self.answers.append([(str(host), int(port)) for host, port in alert.peers()])
            case "dht_announce_alert":
                self.announced.append((bytes.fromhex(str(alert.info_hash)), str(alert.ip), int(alert.port)))
            case "dht_stats_alert":
                asking = any(each["type"] in _ASKING for each in alert.active_requests)
                self.is_asking = asking or bool(self.is_asking)
            case "session_stats_alert":
                self.received = int(alert.values["dht.dht_messages_in"])
            case "listen_succeeded_alert":
                close_listener(alert.address, alert.port)


class TorrentSession:
    """I am a session; ``heard`` is told what it said."""

    def __init__(
        self,
        reactor: Any,
        hosts: Sequence[str],
        port: int,
        bootstrap: Sequence[tuple[str, int]],
        heard: Callable[[Heard], None],
        *,
        is_private: bool,
    ) -> None:
        libtorrent: Any = import_module("libtorrent")
        kinds = libtorrent.alert.category_t
        settings = _SETTINGS | {
            "listen_interfaces": ",".join(join(host, port) for host in hosts),
            "dht_bootstrap_nodes": ",".join(join(*each) for each in bootstrap),
            "alert_mask": kinds.dht_notification
            | kinds.dht_operation_notification
            | kinds.error_notification
            | kinds.status_notification,
        }
        self._reactor = reactor
        self._heard = heard
        self._hash = libtorrent.sha1_hash
        self._session: Any = libtorrent.session(settings | (_OWN_TABLE if is_private else {}))
        self._call: Any = reactor.callLater(0, self._fetch)
        self._interval = BUSY_SECONDS
        hold(self)

    def announce(self, key: bytes, port: int) -> None:
        """Say under ``key`` that we are at ``port``, and look who else is there."""
        self._session.dht_announce(self._hash(key), port, 0)

    def look_up(self, key: bytes) -> None:
        """Ask who is under ``key``."""
        self._session.dht_get_peers(self._hash(key))

    def ask(self) -> None:
        """Let it say what it is doing, and how much it sent and received."""
        self._session.post_session_stats()
        self._session.post_dht_stats()

    def hurry(self, is_awaited: bool) -> None:
        """An answer is waited for, or no longer."""
        self._interval = BUSY_SECONDS if is_awaited else IDLE_SECONDS
        if is_awaited and self._call is not None and self._call.active():
            self._call.reset(0)

    def stop(self) -> None:
        """Its thread and its ports are gone when this returns, which takes milliseconds."""
        self._cancel()
        self._session = None

    def give_up(self) -> None:
        """In a child by fork: its thread is not here."""
        self._cancel()
        session, self._session = self._session, None
        if session is not None:
            leak(session)

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _fetch(self) -> None:
        self._call = self._reactor.callLater(self._interval, self._fetch)
        said = Heard()
        for alert in self._session.pop_alerts():
            said.take(alert)
        self._heard(said)


def join(host: str, port: int) -> str:
    """A host and a port, as libtorrent reads them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def close_listener(host: str, port: int) -> None:
    """Let nobody connect there: libtorrent listens for TCP as well, only to turn everybody away.

    Elsewhere than on Linux nothing tells which of our descriptors that is; there it goes on turning them away.
    """
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return
    for number in descriptors:
        try:
            copy = os.dup(number) if stat.S_ISSOCK(os.fstat(number).st_mode) else None
        except OSError:
            continue  # closed since
        if copy is None:
            continue
        with socket.socket(fileno=copy) as found, suppress(OSError):
            is_tcp = found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockname()[:2] == (host, port) and found.getsockopt(*_LISTENS):
                found.shutdown(socket.SHUT_RDWR)

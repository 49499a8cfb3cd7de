"""What the kernel is asked for, for each connection.

Responsible for: options of TCP sockets, where the other side is and how far away, how many sockets there may be, and
why one was closed.
Must not know: what a connection carries.
Invariant: where a connection is no socket of ours (a test, a tunnel, another system), nothing happens.
"""

from __future__ import annotations

import socket
import sys
from struct import Struct
from typing import Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import BaseProtocol
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.addresses import Address
from gossiplog.errors import InvalidValueError

if sys.platform == "win32":
    resource = None
else:
    import resource

UNLIMITED: Final = 1 << 20
"""Descriptors, where nothing bounds them."""

_TCP_INFO_RTT: Final = Struct("68xI")
"""Where Linux's ``struct tcp_info`` has ``tcpi_rtt``, in microseconds."""

PART_BYTES: Final = 64
"""What each write takes up that waits, beside its bytes."""


def tune(transport: Any) -> None:
    """For a new connection: news waits neither for more to send with it, nor behind much that was not sent."""
    sock = _socket_of(transport)
    if sock is None or sock.family == socket.AF_UNIX:
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    unsent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if unsent is not None:
        sock.setsockopt(socket.IPPROTO_TCP, unsent, limits.SOCKET_BUFFER_BYTES)


def narrow(transport: Any) -> None:
    """Once bytes went both ways: let little lie in the kernel's buffers if the other side is near.

    One that is far away needs large ones, since what is on its way lies in them too: with 64 KiB a connection of 100 ms
    carries less than 1 MB/s.
    """
    sock = _socket_of(transport)
    if sock is not None and round_trip(sock) < limits.NEAR_SECONDS:
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, buffer, limits.SOCKET_BUFFER_BYTES)


def lengthen(port: Any) -> None:
    """For a port that listens: let more connections wait than Twisted's 50, for they may come faster than turns."""
    sock = _socket_of(port)
    if sock is not None:
        sock.listen(limits.LISTEN_BACKLOG)


def descriptors() -> int:
    """Return how many files this process may have open, without what it needs for itself."""
    if resource is None:
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else max(soft - limits.RESERVED_DESCRIPTORS, soft // 2)


def take_descriptors() -> None:
    """For a program: allow this process as many open files as a node can use, if the system lets it."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = limits.RESERVED_DESCRIPTORS + 2 * limits.MAX_CONNECTIONS
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def round_trip(sock: socket.socket) -> float:
    """Return the seconds to the other side and back as the kernel measured them; 0 where it does not say."""
    if sock.family == socket.AF_UNIX or not hasattr(socket, "TCP_INFO"):
        return 0.0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT.size)
        return float(_TCP_INFO_RTT.unpack(info)[0]) / 1e6
    except OSError:  # it is gone already
        return 0.0


def unsent_bytes(transport: Any) -> int:
    """Return about what a transport of Twisted keeps of what was written to it; 0 for one that does not show it."""
    parts = getattr(transport, "_tempDataBuffer", ())
    begun = len(getattr(transport, "dataBuffer", b""))  # of which a part may have gone, which frees nothing
    return begun + int(getattr(transport, "_tempDataLen", 0)) + PART_BYTES * len(parts)


def failing(reason: Failure) -> str:
    """Return what went wrong with a connection, in words; ``""`` when somebody just closed it, or the line broke."""
    error: Any = reason.value
    if isinstance(error, ConnectionDone | ConnectionLost | ConnectionAborted):
        return ""
    kind = type(error).__module__.partition(".")[0]
    if kind == "OpenSSL":
        said = error.args[0] if error.args and isinstance(error.args[0], list) else [error.args]
        return f"TLS: {', '.join(str(part[-1]) for part in said if part) or 'the connection broke off'}"
    if kind == "service_identity":
        return f"TLS: the certificate is of somebody else: {error}"
    return reason.getErrorMessage()


def _socket_of(transport: Any) -> socket.socket | None:
    sock = getattr(transport, "socket", None)
    return sock if isinstance(sock, socket.socket) else None


def address_of(end: BaseProtocol) -> Address | None:
    """Return where the other end of a connection is; None when that is no IP address."""
    transport: Any = end.transport
    peer = transport.getPeer()
    try:
        return Address.of(getattr(peer, "host", ""), getattr(peer, "port", 0))
    except InvalidValueError:
        return None

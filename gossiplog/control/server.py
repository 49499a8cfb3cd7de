"""The node's side of a control socket: all who are connected.

Responsible for: who is served; bounds on what all of them together may cost; the orderly end.
Must not know: what a request does (``answers``), what one client says (``connection``).
Invariant: only processes of our own user are answered.  A request that was begun is answered before the socket is gone.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorSocket

from gossiplog import limits
from gossiplog.control.connection import FEW_BYTES, Connection
from gossiplog.control.desk import Desk, Served
from gossiplog.control.listener import Listener
from gossiplog.control.messages import busy
from gossiplog.control.place import ControlSocket
from gossiplog.errors import GossiplogError, StoreUnsafeError
from gossiplog.live.forked_reactor import let_go
from gossiplog.live.logger import NodeLog, Said
from gossiplog.store.owning_process import hold
from gossiplog.store.requests import Delivery

_log = NodeLog()


def serve(reactor: Any, node: Served) -> Control | Unserved:
    """Serve a node and its store to processes of our user; what cannot be served says ``why``."""
    path = node.store._core.directory
    if path is None or not IReactorSocket.providedBy(reactor):
        return Unserved("the store is in no directory")
    control = Control(reactor, Desk(node))
    try:
        control.listen(ControlSocket(path))
    except GossiplogError as error:
        control.stop()
        why = str(error)
        words = "others cannot use store {path} while its node runs: {why}"
        _log.warn(words, event="no_control", path=node.store.path, why=why)
        return Unserved(why)
    return control


class Unserved:
    """I am in the place of a control socket that could not be had."""

    def __init__(self, why: str) -> None:
        self.why = why

    def stop(self) -> Deferred[None]:
        """There is nothing to stop."""
        return succeed(None)


class Control:
    """I serve one store and its node to processes of our user, until :meth:`stop`."""

    why = ""

    def __init__(self, reactor: Any, desk: Desk) -> None:
        """Begin without a socket: :meth:`listen`."""
        self.reactor = reactor
        self.desk = desk
        self.buffered_bytes = 0
        self.connections: dict[Connection, None] = {}
        self._waiting: dict[Connection, None] = {}  # in order, as a set is not
        self._under_way = 0
        self._place: ControlSocket | None = None
        self._listener: Listener | None = None
        self._is_stopping = False
        self._said = Said()
        self._unlisten = desk.core.listen(self._delivered)
        hold(self)

    def listen(self, place: ControlSocket) -> None:
        """Serve who connects to ``place``, which is mine from now on."""
        self._place = place
        self._listener = Listener(self.reactor, place.socket, self.greet)

    def greet(self, user: int | None) -> Connection:
        """Return the protocol for a connection of a process of ``user``, None where the system does not say."""
        own = os.geteuid()
        if user not in (None, own):
            return Connection(self, StoreUnsafeError(f"the store is of user {own}, and you are user {user}"))
        return Connection(self, None if self._has_place() else busy())

    def _has_place(self) -> bool:
        """Whether one more is served; if need be for the one of those that ask nothing that is missed least."""
        if len(self.connections) < limits.MAX_CONTROL_CLIENTS:
            return True
        resting = [
            (rest, number, each) for number, each in enumerate(self.connections) if (rest := each.rest)
        ]
        if not resting:
            return False
        _, _, least = min(resting)
        least.give_way()
        self.forget(least)
        if self._said.is_new("full", ""):
            words = (
                "{count} programs are connected to store {path}: those that ask nothing give way to others"
            )
            _log.warn(
                words, event="control_full", count=limits.MAX_CONTROL_CLIENTS, path=self.desk.store.path
            )
        return True

    def stop(self) -> Deferred[Any]:
        """Take no more requests; fires when those that were begun are answered."""
        if self._is_stopping:
            return succeed(None)
        self._is_stopping = True
        self.desk.stop()
        self._unlisten()
        if self._listener is not None and self._place is not None:
            self._listener.stop()
            self._place.close()
        return DeferredList([connection.end() for connection in self.connections], consumeErrors=True)

    def give_up(self) -> None:
        """In a child by fork: let go of the socket and of the connections, which are the parent's."""
        let_go(self.reactor, [self._listener, *[each.transport for each in self.connections]])

    @property
    def greeting(self) -> dict[str, Any]:
        """What a node says of itself."""
        node = self.desk.node
        return {
            "gossiplog": {
                "control": limits.CONTROL_VERSION,
                "node": node.id.hex(),
                "network": node.network.discovery_id.hex(),
                "store": self.desk.store.path,
                "paged": not self.desk.core.clock.is_whole,
            }
        }

    def has_room(self, connection: Connection, weight: int) -> bool:
        """Return whether a request of this weight may begin; else ``connection`` is told when others are done."""
        room = limits.CONTROL_BUFFER_BYTES - self.buffered_bytes
        if weight <= room or weight <= FEW_BYTES or not self._under_way:
            return True
        self._waiting[connection] = None
        return False

    def begun(self, weight: int) -> None:
        """A request began."""
        self._under_way += 1
        self.buffered_bytes += weight

    def done(self, weight: int) -> None:
        """It is answered: those that wait try again, in their order."""
        self._under_way -= 1
        self.buffered_bytes -= weight
        waiting, self._waiting = self._waiting, {}
        for connection in waiting:
            connection.try_again()

    def joined(self, connection: Connection) -> None:
        """There is one more."""
        self.connections[connection] = None

    def forget(self, connection: Connection) -> None:
        """It is gone."""
        self.connections.pop(connection, None)
        self._waiting.pop(connection, None)

    def counted(self) -> None:
        """Somebody keeps more than before: above the bound, whoever keeps most is let go."""
        kept = sum(connection.kept_bytes for connection in self.connections)
        if kept > limits.CONTROL_BUFFER_BYTES:
            max(self.connections, key=lambda connection: connection.kept_bytes).let_go()

    def _delivered(self, delivery: Delivery) -> None:
        report = delivery.report
        if report is not None and (report.heads or report.forgotten or report.forked):
            for connection in self.connections:
                connection.tell(report)

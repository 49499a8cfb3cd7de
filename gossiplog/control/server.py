"""The node's side of a control socket: who is connected, and what each is told.

Responsible for: connections, their lines, one request of each at a time; news for those that watch; bounds on what all
of them together may cost; the orderly end.
Must not know: what a request does (``answers``).
Invariant: only processes of our own user are answered.  Whoever sends what makes no sense, much, or nothing, and
whoever does not read, holds up nobody but himself.  A request that was begun is answered before the socket is gone.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorSocket
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.control.answers import ANSWERS
from gossiplog.control.desk import Desk, Served
from gossiplog.control.line import BUSY
from gossiplog.control.listener import Listener
from gossiplog.control.messages import Asked, cost, decode, encode, failure
from gossiplog.control.place import ControlSocket
from gossiplog.errors import ControlError, GossiplogError, StoreUnsafeError
from gossiplog.live.forked_reactor import let_go
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog
from gossiplog.net.sockets import unsent_bytes
from gossiplog.store.owning_process import hold
from gossiplog.store.requests import Delivery

_log = NodeLog()

NEWS_AUTHORS: Final = 4096
"""In one line of news; the others are in the next ones, when this one was read."""


def serve(reactor: Any, node: Served) -> Control | Unserved:
    """Serve a node and its store to processes of our user; what cannot be served says ``why``."""
    path = node.store._core.disk
    if path is None or not IReactorSocket.providedBy(reactor):
        return Unserved("the store is in no directory")
    control = Control(reactor, Desk(node))
    try:
        control.listen(ControlSocket(node.store.path))
    except GossiplogError as error:
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
        self._place: ControlSocket | None = None
        self._listener: Listener | None = None
        self._is_stopping = False
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
        return Connection(self, busy() if len(self.connections) >= limits.MAX_CONTROL_CLIENTS else None)

    def stop(self) -> Deferred[Any]:
        """Take no more requests; fires when those that were begun are answered."""
        if self._is_stopping:
            return succeed(None)
        self._is_stopping = True
        self._unlisten()
        if self._listener is not None and self._place is not None:
            self._listener.stop()
            self._place.close()
        return DeferredList([connection.end() for connection in self.connections], consumeErrors=True)

    def give_up(self) -> None:
        """In a child by fork: let go of the socket and of the connections, which are the parent's."""
        let_go(self.reactor, [self._listener, *[each.transport for each in self.connections]])

    def greeting(self) -> dict[str, Any]:
        """Return what a node says of itself."""
        node = self.desk.node
        return {
            "gossiplog": {
                "control": limits.CONTROL_VERSION,
                "node": node.id.hex(),
                "network": node.network.discovery_id.hex(),
                "store": self.desk.store.path,
            }
        }

    def _delivered(self, delivery: Delivery) -> None:
        report = delivery.report
        if report is not None and (report.heads or report.forgotten or report.forked):
            for connection in self.connections:
                connection.tell(report.heads, report.forgotten, report.forked)


def busy() -> ControlError:
    """Return what is told to who may come again in a moment."""
    error = ControlError("the node is busy with others")
    error.reason = BUSY  # type: ignore[attr-defined]
    return error


class Connection(Protocol):
    """I am one client."""

    transport: Any

    def __init__(self, control: Control, refusal: GossiplogError | None = None) -> None:
        """``refusal`` is why it is not served."""
        self._control = control
        self._refusal = refusal
        self._buffer = bytearray()
        self._looked = 0
        self._counted_bytes = 0
        self._number: Any = None
        self._is_served = False
        self._is_asking = False
        self._is_paused = False  # it does not read what it was sent
        self._is_over = False
        self._idle: list[Deferred[None]] = []
        self._watches = False
        self._news: dict[bytes, None] = {}
        self._forgotten: dict[bytes, None] = {}
        self._forked: dict[bytes, None] = {}
        self._alarm: Any = None

    # -- the transport

    def connectionMade(self) -> None:
        """Say what we are, or why not."""
        self.transport.registerProducer(self, True)
        self._control.connections[self] = None
        if self._refusal is not None:
            self._send({"error": failure(self._refusal)})
            self._hang_up()
        else:
            self._is_served = True
            self._send(self._control.greeting())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone; what it asked for is done all the same."""
        self._control.connections.pop(self, None)
        self._is_over = True
        self._watches = self._is_paused = False
        self._buffer.clear()
        self._count()
        self._set_alarm(None)
        self._rest()

    def dataReceived(self, data: bytes) -> None:
        """Part of a request."""
        if not self._is_served or self._is_over:
            return
        self._buffer += data
        self._count()
        self._go_on()

    def pauseProducing(self) -> None:
        """The client does not read what it was sent."""
        self._is_paused = True
        self._count()
        self._set_alarm(limits.CONTROL_UNREAD_SECONDS)
        if self._control.buffered_bytes > limits.CONTROL_BUFFER_BYTES:
            self._control.reactor.callLater(0, self.transport.abortConnection)

    def resumeProducing(self) -> None:
        """It has read everything."""
        self._is_paused = False
        self._count()
        self._set_alarm(None)
        self._flush_news()
        self._go_on()

    def stopProducing(self) -> None:
        """It is gone."""

    # -- requests

    def _go_on(self) -> None:
        """Begin with the next request, if it is there and the one before is answered and read."""
        while not (self._is_asking or self._is_paused or self._is_over):
            end = self._buffer.find(b"\n", self._looked)
            if end < 0:
                self._looked = len(self._buffer)
                if self._looked > limits.MAX_CONTROL_LINE_BYTES:
                    self._refuse(ControlError("a request is longer than a line may be"))
                self._set_alarm(limits.CONTROL_SILENT_SECONDS if self._buffer else None)
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._looked = 0
            self._set_alarm(None)
            self._ask(line)
        if not self._is_over:
            (self.transport.pauseProducing if self._is_asking else self.transport.resumeProducing)()

    def _ask(self, line: bytes) -> None:
        control = self._control
        self._number = None
        weight = len(line) + limits.CONTROL_ITEM_BYTES * cost(line)
        self._count()
        try:
            said = decode(line)
            self._number = said.get("id")
            if control.buffered_bytes + weight > limits.CONTROL_BUFFER_BYTES:
                raise busy()
            answer = ANSWERS.get(str(said.get("do")))
            if answer is None:
                raise ControlError(
                    f"this node knows no request {said.get('do')!r:.80}; it may be an older one"
                )
        except ControlError as error:
            self._answer({"error": failure(error)})
            return
        control.buffered_bytes += weight
        self._is_asking = True
        done = maybeDeferred(answer, control.desk, Asked(said), self)
        done.addCallbacks(lambda value: {"is": value}, self._failed)
        done.addBoth(partial(self._done, weight))

    def _failed(self, reason: Failure) -> dict[str, Any]:
        if not isinstance(reason.value, GossiplogError) and not pass_on(self._control.reactor, reason.value):
            _log.failure("a request over the control socket failed", reason, event="request_failed")
        return {"error": failure(reason.value or ControlError("it failed"))}

    def _done(self, weight: int, said: dict[str, Any]) -> None:
        self._control.buffered_bytes -= weight
        self._is_asking = False
        self._answer(said)
        self._rest()
        self._go_on()

    def _answer(self, said: dict[str, Any]) -> None:
        try:
            line = encode({"id": self._number, **said})
        except ControlError as error:
            line = encode({"id": self._number, "error": failure(error)})
        if not self._is_over:
            self.transport.write(line)

    def _send(self, message: dict[str, Any]) -> None:
        if not self._is_over:
            self.transport.write(encode(message))

    def _refuse(self, error: ControlError) -> None:
        self._send({"id": None, "error": failure(error)})
        self._hang_up()

    # -- who asks (answers.Asker)

    def progress(self, done: int, total: int) -> None:
        """So much of what was asked is done."""
        if self._is_asking and not self._is_paused:
            self._send({"id": self._number, "progress": [done, total]})

    @property
    def is_gone(self) -> bool:
        """Whether it does not ask any more."""
        return self._is_over

    def watch(self) -> None:
        """Tell it what is new from now on."""
        self._watches = True

    def tell(self, heads: Any, forgotten: Any, forked: Any) -> None:
        """Something is new on disk; kept, by author, until the client reads."""
        if self._watches:
            self._forgotten.update(dict.fromkeys(forgotten))
            self._news.update(dict.fromkeys(heads))
            self._forked.update(dict.fromkeys(forked))
            self._flush_news()

    def _flush_news(self) -> None:
        clock = self._control.desk.core.clock
        while (self._news or self._forgotten or self._forked) and not (self._is_paused or self._is_over):
            some = [*self._news][:NEWS_AUTHORS]
            for author in some:
                del self._news[author]
            heads = [(author, clock.head(author)) for author in some]
            self._send(
                {
                    "news": {
                        "heads": [[author.hex(), head.seq, head.id.hex()] for author, head in heads if head],
                        "forgotten": [author.hex() for author in self._forgotten],
                        "forked": [author.hex() for author in self._forked],
                    }
                }
            )
            self._forgotten.clear()
            self._forked.clear()

    # -- the end

    def end(self) -> Deferred[None]:
        """Finish what was begun, then hang up."""
        over: Deferred[None] = Deferred()
        self._idle.append(over)
        if not self._is_asking:
            self._rest()
        return over

    def _rest(self) -> None:
        """Nothing is being done for it."""
        idle, self._idle = self._idle, []
        if idle:
            self._hang_up()
        for over in idle:
            over.callback(None)

    def _hang_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._is_served = False
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            self._set_alarm(limits.CONTROL_SILENT_SECONDS)

    def _set_alarm(self, seconds: float | None) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        if seconds is not None:
            self._alarm = self._control.reactor.callLater(seconds, self.transport.abortConnection)

    def _count(self) -> None:
        """Count what it sent and is not done, and, once it does not read, what it was sent."""
        size = len(self._buffer) + (unsent_bytes(self.transport) if self._is_paused else 0)
        self._control.buffered_bytes += size - self._counted_bytes
        self._counted_bytes = size

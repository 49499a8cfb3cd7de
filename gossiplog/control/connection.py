"""One client of a control socket.

Responsible for: its lines, one request of it at a time, and news if it watches; when it is let go.
Must not know: what a request does (``answers``); the other clients.
Invariant: whoever sends what makes no sense, much, or nothing, and whoever does not read, holds up nobody but himself.
What is kept for it is told to the owner, who may let it go.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import twisted.internet.protocol as twisted
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from gossiplog import limits
from gossiplog.control.answers import ANSWERS, ROWS_BYTES
from gossiplog.control.desk import Desk
from gossiplog.control.messages import Asked, cost, decode, encode, failure
from gossiplog.errors import ControlError, GossiplogError
from gossiplog.live.interrupts import pass_on
from gossiplog.live.logger import NodeLog
from gossiplog.log.segment import Head
from gossiplog.net.sockets import unsent_bytes
from gossiplog.store.requests import CommitReport

_log = NodeLog()

FEW_BYTES: Final = 64 * 1024
"""That anybody may make us keep, whatever others do."""

NEWS_AUTHORS: Final = 4096
"""In one line of news; the others are in the next ones, when this one was read."""


class Owner(Protocol):
    """Who serves all clients of a node."""

    reactor: Any
    desk: Desk

    @property
    def greeting(self) -> dict[str, Any]:
        """What a node says of itself."""

    def joined(self, connection: Connection) -> None:
        """There is one more."""

    def forget(self, connection: Connection) -> None:
        """It is gone."""

    def counted(self) -> None:
        """More is kept than before."""

    def has_room(self, connection: Connection, weight: int) -> bool:
        """Whether a request may begin; else it is told later."""

    def begun(self, weight: int) -> None:
        """A request began."""

    def done(self, weight: int) -> None:
        """It is answered."""


class Connection(twisted.Protocol):
    """I am one client."""

    transport: Any

    def __init__(self, control: Owner, refusal: GossiplogError | None = None) -> None:
        """``refusal`` is why it is not served."""
        self._control = control
        self._refusal = refusal
        self._buffer = bytearray()
        self._looked = 0
        self.kept_bytes = 0
        self._begun: tuple[Callable[[], Any], int] | None = None  # a request that waits for its turn
        self._number: Any = None
        self._rests_since = 0.0
        self._has_asked = self._is_asking = False
        self._is_paused = False  # it does not read what it was sent
        self._is_over = False
        self._idle: list[Deferred[None]] = []
        self._watches = False
        self._news: dict[bytes, tuple[Head, int]] = {}  # and from where it came
        self._forgotten: dict[bytes, None] = {}
        self._forked: dict[bytes, None] = {}
        self._alarm: Any = None

    # -- the transport

    def connectionMade(self) -> None:
        """Say what we are, or why not."""
        self.transport.registerProducer(self, True)
        self._rests_since = self._control.reactor.seconds()
        self._control.joined(self)
        if self._refusal is not None:
            self._send({"error": failure(self._refusal)})
            self._hang_up()
        else:
            self._send(self._control.greeting)

    def connectionLost(self, reason: Failure = twisted.connectionDone) -> None:
        """It is gone; what it asked for is done all the same."""
        self._control.forget(self)
        self._is_over = True
        self._watches = self._is_paused = False
        self._buffer.clear()
        self._count()
        self._set_alarm(None)
        self._rest()

    def dataReceived(self, data: bytes) -> None:
        """Part of a request."""
        if self._is_over:
            return
        self._buffer += data
        self._count()
        self._go_on()

    def pauseProducing(self) -> None:
        """The client does not read what it was sent."""
        self._is_paused = True
        self._set_alarm(limits.CONTROL_UNREAD_SECONDS)
        self._count()

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
                elif not self._buffer:
                    self._set_alarm(None)
                elif self._alarm is None:
                    self._set_alarm(limits.CONTROL_SILENT_SECONDS)
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._looked = 0
            self._set_alarm(None)
            self._ask(line)
        if not self._is_over:
            (self.transport.pauseProducing if self._is_asking else self.transport.resumeProducing)()

    def _ask(self, line: bytes) -> None:
        self._has_asked = True
        self._number = None
        weight = len(line) + limits.CONTROL_ITEM_BYTES * cost(line)
        try:
            said = decode(line)
            self._number = said.get("id")
            answer = ANSWERS.get(str(said.get("do")))
            if answer is None:
                raise ControlError(
                    f"this node knows no request {said.get('do')!r:.80}; it may be an older one"
                )
        except ControlError as error:
            self._answer({"error": failure(error)})
            return
        read = said.get("bytes")
        weight += 2 * min(read, ROWS_BYTES) if type(read) is int else 0
        self._is_asking = True
        self._begun = partial(answer, self._control.desk, Asked(said), self), weight
        self.try_again()

    def try_again(self) -> None:
        """Begin what waits for its turn, if there is room for it now."""
        if self._begun is None or self._is_over or not self._control.has_room(self, self._begun[1]):
            return
        (work, weight), self._begun = self._begun, None
        self._control.begun(weight)
        done = maybeDeferred(work)
        done.addCallbacks(lambda value: {"is": value}, self._failed)
        done.addBoth(partial(self._done, weight))

    def _failed(self, reason: Failure) -> dict[str, Any]:
        if not isinstance(reason.value, GossiplogError) and not pass_on(self._control.reactor, reason.value):
            _log.failure("a request over the control socket failed", reason, event="request_failed")
        return {"error": failure(reason.value or ControlError("it failed"))}

    def _done(self, weight: int, said: dict[str, Any]) -> None:
        self._is_asking = False
        self._rests_since = self._control.reactor.seconds()
        self._answer(said)
        self._rest()
        self._go_on()
        self._control.done(weight)

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

    @property
    def rest(self) -> tuple[int, float] | None:
        """How little it would be missed, the least first: who never asked, who asked once, who hears news; then by the
        time since when.  None for who is served, or may be just about to ask."""
        seconds = self._control.reactor.seconds() - self._rests_since
        if self._is_asking or self._is_over or seconds < limits.CONTROL_SILENT_SECONDS:
            return None
        return 2 if self._watches else int(self._has_asked), self._rests_since

    def watch(self) -> None:
        """Tell it what is new from now on."""
        self._watches = True

    def tell(self, report: CommitReport) -> None:
        """Something is new on disk; kept, by author, until the client reads."""
        if self._watches:
            for author in report.forgotten:
                self._forgotten[author] = None
                self._news.pop(author, None)
            for author, head in report.heads.items():
                before = None if author in report.forgotten else report.before.get(author)
                told = self._news.get(author) or (before, 0 if before is None else before.seq)
                self._news[author] = head, told[1]
            self._forked.update(dict.fromkeys(report.forked))
            self._flush_news()

    def _flush_news(self) -> None:
        while (self._news or self._forgotten or self._forked) and not (self._is_paused or self._is_over):
            some = [*self._news][:NEWS_AUTHORS]
            heads = [(author, *self._news.pop(author)) for author in some]
            self._send(
                {
                    "news": {
                        "heads": [
                            [author.hex(), head.seq, head.id.hex(), seq] for author, head, seq in heads
                        ],
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
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            self._set_alarm(limits.CONTROL_SILENT_SECONDS)

    def _set_alarm(self, seconds: float | None) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        if seconds is not None:
            self._alarm = self._control.reactor.callLater(seconds, self.transport.abortConnection)

    def give_way(self) -> None:
        """Another one comes, and there are too many: say so, and hang up."""
        if self._is_paused:
            self.let_go()
        else:
            seconds = f"{limits.CONTROL_SILENT_SECONDS:g} s"
            self._refuse(
                ControlError(f"others wait, and this connection asked nothing for {seconds}: connect again")
            )

    def let_go(self) -> None:
        """There is no room for what it makes us keep."""
        self._is_over = True
        self._buffer.clear()
        self.kept_bytes = 0
        self._control.reactor.callLater(0, self.transport.abortConnection)

    def _count(self) -> None:
        """Count what it sent and is not done, and, once it does not read, what it was sent."""
        before = self.kept_bytes
        self.kept_bytes = len(self._buffer) + (unsent_bytes(self.transport) if self._is_paused else 0)
        if self.kept_bytes > max(before, FEW_BYTES):
            self._control.counted()

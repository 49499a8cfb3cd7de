"""NAT-PMP: asking the gateway to pass connections on (RFC 6886).

Responsible for: its four messages, and asking until there is an answer.
Must not know: which ports are wanted, and for how long.
Invariant: only who was asked is heard; there is a socket only while an answer is waited for.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from gossiplog.errors import EndpointError

PORT: Final = 5351
_ADDRESS: Final = struct.pack(">BB", 0, 0)
_FIRST_SECONDS: Final = 0.25
_TRIES: Final = 3
"""Sent again after a quarter of a second and twice that; a router that speaks it answers in milliseconds."""

_RESULTS: Final = {
    1: "another version",
    2: "not allowed",
    3: "its own network is down",
    4: "no room",
    5: "not known to it",
}


class NatPmp:
    """I ask the ``gateway``, an IPv4 address, from ``source``."""

    name = "NAT-PMP"

    def __init__(self, reactor: Any, source: str, gateway: str) -> None:
        self._reactor = reactor
        self._source = source
        self._gateway = gateway

    async def external(self) -> str:
        """The address of the router on its other side."""
        answer = await self._ask(_ADDRESS, 12)
        return str(IPv4Address(answer[8:12]))

    async def map(self, port: int, seconds: int) -> int:
        """Have TCP connections passed on to ``port`` here; returns the port on the other side."""
        answer = await self._ask(_map(port, port, seconds), 16)
        _, external, granted = struct.unpack(">HHI", answer[8:16])
        if not (external and granted):
            raise EndpointError("the router granted nothing")
        return int(external)

    async def unmap(self, port: int, external: int) -> None:
        """No longer."""
        await self._ask(_map(port, 0, 0), 16)

    async def _ask(self, request: bytes, size: int) -> bytes:
        exchange = _Exchange(self._reactor, self._gateway, request, size)
        try:
            port = self._reactor.listenUDP(0, exchange, interface=self._source)
        except CannotListenError as error:
            raise EndpointError(str(error)) from error
        try:
            answer = await exchange.answer
        finally:
            exchange.stop()
            port.stopListening()
        [result] = struct.unpack(">H", answer[2:4])
        if result:
            raise EndpointError(f"the router says: {_RESULTS.get(result, f'result {result}')}")
        return answer


def _map(port: int, external: int, seconds: int) -> bytes:
    return struct.pack(">BBHHHI", 0, 2, 0, port, external, seconds)


class _Exchange(DatagramProtocol):
    """I am one request, and the answer to it, which has ``size`` bytes."""

    noisy = False
    transport: Any

    def __init__(self, reactor: Any, gateway: str, request: bytes, size: int) -> None:
        self.answer: Deferred[bytes] = Deferred(lambda _: None)
        self._reactor = reactor
        self._gateway = gateway
        self._request = request
        self._size = size
        self._left = _TRIES
        self._call: Any = None

    def startProtocol(self) -> None:
        """Ask."""
        self.transport.connect(self._gateway, PORT)
        self._send()

    def stop(self) -> None:
        """Ask no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Something came; from a refused request there is only the beginning."""
        kind, whole = 128 + self._request[1], len(datagram) >= self._size
        if datagram[:2] != bytes((0, kind)) or len(datagram) < 8 or self.answer.called:
            return
        if kind == 130 and whole and datagram[8:10] != self._request[4:6]:
            return  # about another port
        if whole or datagram[2:4] != b"\0\0":
            self.answer.callback(datagram)

    def connectionRefused(self) -> None:
        """Nobody is there."""
        self.stopProtocol()

    def stopProtocol(self) -> None:
        """The same, as reactors say it that take a refused datagram for the end of the port."""
        self.stop()
        self._fail("it does not speak NAT-PMP")

    def _send(self) -> None:
        if not self._left:
            self._fail("no answer to NAT-PMP")
            return
        try:
            self.transport.write(self._request)
        except OSError as error:
            self._fail(str(error))
        if self.answer.called:  # nobody is there, as the system says meanwhile
            return
        self._call = self._reactor.callLater(_FIRST_SECONDS * 2 ** (_TRIES - self._left), self._send)
        self._left -= 1

    def _fail(self, why: str) -> None:
        if not self.answer.called:
            self.answer.errback(EndpointError(why))

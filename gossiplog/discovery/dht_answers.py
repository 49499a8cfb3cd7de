"""What a distributed hash table says, and how much of it is believed.

Responsible for: the addresses of bootstrap nodes; which of the addresses that strangers name are handed on.
Must not know: how one asks.
Invariant: of one answer at most ``MAX_DHT_ANSWER`` addresses are handed on, of one look at most ``MAX_DHT_FOUND``, of
one address group ``MAX_BOOK_PER_GROUP``; none at a port of the system's, and none of a private network unless the whole
table is in one.

Anybody can answer anything.  One node that lies has its share of one answer, however long that is, and which addresses
of an answer are taken is chance.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from random import Random
from typing import Final, NamedTuple

from gossiplog import limits
from gossiplog.addresses import (
    FIRST_FREE_PORT,
    LAST_PORT,
    OPEN_PORT,
    Address,
    is_private,
    is_public,
    parse_ip,
)
from gossiplog.errors import InvalidValueError

_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_NUMERIC: Final = re.compile(r"[0-9.]+")
_HOST_AND_PORT: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+)):([0-9]{1,5})")


_TRIED: Final = 4 * limits.MAX_DHT_ANSWER
"""Of one answer so many are looked at: some are of no use."""


class Bootstrap(NamedTuple):
    """A node through which one gets into the table."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Bootstrap:
        """Read ``HOST:PORT``; raises :class:`InvalidValueError`.

        >>> Bootstrap.parse("dht.example:6881"), Bootstrap.parse("[2001:db8::1]:6881").host
        (Bootstrap(host='dht.example', port=6881), '2001:db8::1')
        """
        match = _HOST_AND_PORT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InvalidValueError(f"a bootstrap node is HOST:PORT or [IPV6]:PORT, not {text!r:.80}")
        host, port = match[1] or match[2], int(match[3])
        if not 1 <= port <= LAST_PORT:
            raise InvalidValueError(f"the port of a bootstrap node is from 1 to {LAST_PORT}, not {port}")
        ip = parse_ip(host)
        if ip is None and (match[1] or _NUMERIC.fullmatch(host) or not _HOST.fullmatch(host)):
            raise InvalidValueError(f"{host!r:.80} is neither an IP address nor the name of a host")
        if ip is not None and (ip_address(ip).is_unspecified or ip_address(ip).is_multicast):
            raise InvalidValueError(f"no host has the address {host}")
        return cls(host, port)


class Answers:
    """I choose what to believe of a table; ``bootstrap``: where its nodes are that its owner named, if it has one."""

    def __init__(self, bootstrap: Iterable[bytes], random: Random) -> None:
        ips = tuple(bootstrap)
        self._random = random
        self._may_be_private = bool(ips) and not any(map(is_public, ips))
        self._may_be_here = any(ip_address(ip).is_loopback for ip in ips)
        self._chosen: set[Address] = set()
        self._groups: Counter[bytes] = Counter()

    @property
    def is_private(self) -> bool:
        """Whether the table is one of somebody's own, not that of the Internet."""
        return self._may_be_private

    def begin(self) -> None:
        """A new look begins."""
        self._chosen.clear()
        self._groups.clear()

    def choose(self, said: Sequence[tuple[str, int]]) -> list[Address]:
        """Of one answer, what to hand on."""
        most = min(limits.MAX_DHT_FOUND - len(self._chosen), limits.MAX_DHT_ANSWER)
        some = self._random.sample(said, min(len(said), _TRIED))
        checked = dict.fromkeys(self._checked(host, port) for host, port in some)
        new: list[Address] = []
        for address in checked:
            if address is None or address in self._chosen or len(new) >= most:
                continue
            if self._groups[address.group] < limits.MAX_BOOK_PER_GROUP:
                self._groups[address.group] += 1
                self._chosen.add(address)
                new.append(address)
        return new

    def _checked(self, host: str, port: int) -> Address | None:
        try:
            address = Address.of(host, port)
        except InvalidValueError:
            return None
        if port < FIRST_FREE_PORT and port != OPEN_PORT:
            return None
        if is_public(address.ip):
            return address
        if ip_address(address.ip).is_loopback:
            return address if self._may_be_here else None
        return address if self._may_be_private and is_private(address.ip) else None

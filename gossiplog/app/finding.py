"""How a program is told in which ways its node finds peers.

Responsible for: the options about that, for argparse and for twistd alike, and joining as they say.
Must not know: what a program does with its peers.
Invariant: what is wrong with an option, or not installed, is said before anything starts; nothing optional is imported
unless it is asked for.

A new way is a row in :data:`OPTIONS`, a field of :class:`Finding`, and what :meth:`Finding.ways` makes of it.
"""

from __future__ import annotations

import socket
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from gossiplog.app import keyfile
from gossiplog.app.options import Option, add_all
from gossiplog.errors import EndpointError, GossiplogError, InvalidValueError, MissingExtraError
from gossiplog.limits import LINKS_WANTED, MAX_CONNECTIONS, MAX_FOUND_LINKS

if TYPE_CHECKING:
    import gossiplog.net.joining
    import gossiplog.node
    from gossiplog.net.ways import Way


def _name(text: str) -> str:
    if not text:
        return ""
    from gossiplog.discovery.lan_record import check_name

    return check_name(text)


def _bootstrap(text: str) -> str:
    from gossiplog.discovery.dht_answers import Bootstrap

    Bootstrap.parse(text)
    return text


def _links(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_FOUND_LINKS:
        return int(text)
    raise InvalidValueError(f"a number of links from 1 to {MAX_FOUND_LINKS}, not {text!r:.80}")


def _max_links(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_CONNECTIONS:
        return int(text)
    raise InvalidValueError(f"a number of links from 1 to {MAX_CONNECTIONS}, not {text!r:.80}")


def _room(text: str) -> str:
    from gossiplog.discovery.room.way import parse_room

    said = keyfile.said(text)
    parse_room(said)
    return said


OPTIONS: Final = (
    Option(
        *(
            "--lan",
            "NAME",
            "find peers on the local network, and be found there; --lan=NAME: as NAME.local too",
            _name,
        ),
        is_bare=True,
    ),
    Option("--dht", "", "find peers through the BitTorrent DHT, and be found there"),
    Option(
        *(
            "--dht-bootstrap",
            "HOST:PORT",
            "the same, through a DHT of your own with this node in it; may be repeated",
            _bootstrap,
        ),
        repeats=True,
    ),
    Option(
        *(
            "--room",
            "ENDPOINT#KEY",
            "meet peers that nobody can dial in this room, or @FILE that says which; may be repeated",
            _room,
        ),
        repeats=True,
        within=keyfile.within,
    ),
    Option("--map-port", "", "have the router pass connections on to the ports listened on"),
    Option("--no-exchange", "", "neither tell peers of others that were met, nor take what they tell"),
    Option(
        "--links", "N", f"look for peers until there are so many (default: {LINKS_WANTED})", _links, kind=int
    ),
    Option(
        *(
            "--max-links",
            "N",
            f"keep so many with peers that nobody named (default: {MAX_FOUND_LINKS}); for a relay",
            _max_links,
        ),
        kind=int,
    ),
)


@dataclass(frozen=True)
class Finding:
    """What was said: each field is an option; ``lan`` is "" without a name, None where it is not wanted."""

    lan: str | None = None
    dht: bool = False
    dht_bootstrap: tuple[str, ...] = ()
    room: tuple[str, ...] = ()
    map_port: bool = False
    no_exchange: bool = False
    links: int = LINKS_WANTED
    max_links: int = MAX_FOUND_LINKS

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Finding:
        """What these options say, by field; raises :class:`GossiplogError` for what does not work here.

        Nothing starts, but what needs a package that is not installed is said by now.
        """
        known = {each.name for each in fields(cls)}
        given: dict[str, Any] = {}
        for field, value in said.items():
            if field in known and value is not None:
                given[field] = tuple(value) if isinstance(value, list) else value
        found = cls(**given)
        if found.max_links < found.links:
            raise InvalidValueError(
                f"--max-links is at least --links: {found.max_links} with peers that nobody named, {found.links} wanted"
            )
        found.ways()
        return found

    @property
    def is_asked(self) -> bool:
        """Whether any way is to be used."""
        return bool(self.ways())

    @property
    def finds(self) -> bool:
        """Whether that may find somebody whom nobody named."""
        return self.lan is not None or self.dht or bool(self.dht_bootstrap or self.room)

    def ways(self) -> list[Way]:
        """The ways of finding peers, new ones each time."""
        ways: list[Way] = []
        if self.lan is not None:
            from gossiplog.discovery.lan import Lan

            ways.append(Lan(self.lan or None))
        if self.dht or self.dht_bootstrap:
            from gossiplog.discovery.dht import Dht

            ways.append(Dht(self.dht_bootstrap))
        for room in self.room:
            from gossiplog.discovery.room.way import Room

            ways.append(Room(room))
        if self.map_port:
            from gossiplog.discovery.mapping import PortMapping

            ways.append(PortMapping())
        return ways

    @property
    def needs_port(self) -> bool:
        """Whether it is of no use unless others can dial us."""
        return self.lan is not None or self.dht or bool(self.dht_bootstrap) or self.map_port

    async def join(
        self, node: gossiplog.node.Node, listening: list[str] | None = None, *, listens: bool = True
    ) -> gossiplog.net.joining.Joined | None:
        """Let ``node`` find peers; None if it is to have nobody but those named.

        If others have to be able to dial it, and it is ``listening`` nowhere, it listens on a free port, whose address
        is added there; unless it ``listens`` to nobody.
        """
        ways = self.ways()
        if not ways and self.no_exchange:
            return None
        listening = [] if listening is None else listening
        if listens and self.needs_port and not listening:
            listening.append(await listen_anywhere(node))
        return node.join(
            *ways,
            links=self.links,
            max_links=self.max_links,
            tell_peers=not self.no_exchange,
        )


async def listen_anywhere(node: gossiplog.node.Node) -> str:
    """Listen on a free port of every address, of IPv6 too where that is there."""
    if socket.has_ipv6:
        try:
            return await node.listen(r"tcp:0:interface=\:\:")
        except EndpointError:
            pass  # the system has it switched off
    return await node.listen("tcp:0")


def add_options(parser: ArgumentParser) -> None:
    """Add the options to a parser; :func:`parse` reads them."""
    parser.set_defaults(finding=Finding())
    add_all(parser, OPTIONS)


def parse(
    parser: ArgumentParser, words: Sequence[str] | None = None, *, near: bool = False
) -> tuple[Namespace, Finding]:
    """Parse the command line of a program with a parser that has the options; ends it if something is wrong.

    ``near``: where no way is asked for, peers are found on the local network, if what that needs is installed.
    """
    arguments = parser.parse_args(spelled(sys.argv[1:] if words is None else words))
    try:
        found = Finding.of(vars(arguments))
        if near and not found.is_asked:
            with suppress(MissingExtraError):
                found = Finding.of({**vars(arguments), "lan": ""})
        return arguments, found
    except GossiplogError as error:
        parser.error(str(error))


def spelled(words: Sequence[str]) -> list[str]:
    """``--lan`` alone as ``--lan=``, so that what comes next is not taken for its value.

    >>> spelled(["--lan", "tcp:192.0.2.7:4000", "--", "--lan"])
    ['--lan=', 'tcp:192.0.2.7:4000', '--', '--lan']
    """
    bare = {option.name for option in OPTIONS if option.is_bare}
    end = words.index("--") if "--" in words else len(words)
    return [f"{word}=" if word in bare and at < end else word for at, word in enumerate(words)]

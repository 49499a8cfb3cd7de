"""How a node is run: what it takes and gives, where it listens, whom it dials, how it finds others.

Responsible for: the options about that, for the command, for twistd and for a file of hosted networks alike;
:class:`RunOptions`, what was said.
Must not know: who asks; what a node does about it.
Invariant: an option of a node stands in :data:`OPTIONS`, or in those of ``finding``, and in no other place; what checks
a value is imported with the first one.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from gossiplog.app import finding
from gossiplog.app.finding import Finding
from gossiplog.app.options import Option, add_all
from gossiplog.app.passphrases import PASSPHRASE
from gossiplog.errors import InvalidValueError
from gossiplog.gossip.budget import check_memory
from gossiplog.gossip.quotas import Quota, Quotas

if TYPE_CHECKING:
    from gossiplog.live.store import Store
    from gossiplog.log.network import Network
    from gossiplog.node import Node
    from gossiplog.ticket import Ticket


def bound(quota: Quota) -> Callable[[str], Any]:
    """Return what reads the number of a quota; it raises InvalidValueError."""

    def read(text: str) -> Any:
        try:
            number: Any = float(text) if quota is Quota.RATE else int(text)
            Quotas(**{quota.value: number})
        except ValueError:
            raise InvalidValueError(f"a positive number, not {text}") from None
        return number

    return read


def read_memory(text: str) -> int:
    """Return the bytes that peers may take up; raises InvalidValueError."""
    try:
        size = int(text)
    except ValueError:
        raise InvalidValueError(f"a number of bytes, not {text}") from None
    check_memory(size)
    return size


def read_peer(text: str) -> str:
    """Return an endpoint to dial; raises EndpointError."""
    from gossiplog.net.endpoints import check_client

    return check_client(text)


def read_listen(text: str) -> str:
    """Return an endpoint to listen on; raises EndpointError."""
    from gossiplog.net.endpoints import check_server

    return check_server(text)


def _within(text: str, directory: str) -> str:
    from gossiplog.net.endpoints import within

    return within(text, directory)


ADDRESSES: Final = (
    Option(
        *("--listen", "ENDPOINT", "accept peers here, such as tcp:4000; may be repeated", read_listen),
        repeats=True,
        within=_within,
    ),
    Option(
        *(
            "--peer",
            "ENDPOINT",
            "keep a connection to this peer, such as tcp:HOST:PORT; may be repeated",
            read_peer,
        ),
        repeats=True,
        within=_within,
    ),
)

ADDRESS_OPTIONS: Final = tuple(option.name for option in (*ADDRESSES, *finding.OPTIONS))
"""What :func:`add_addresses` adds."""

MODES: Final = (
    Option("--pull", "", "only take: send no entry to anybody"),
    Option("--push", "", "only give: take no entry from anybody"),
)

ONLY_FOLLOWED: Final = Option(
    "--only-followed",
    "",
    "want nobody but the authors followed, from now on (gossiplog follow --everyone takes it back)",
)

QUOTAS: Final = {
    quota: Option(name, "N", about, bound(quota), kind=float if quota is Quota.RATE else int)
    for quota, name, about in (
        (Quota.AUTHORS, "--max-authors", "keep anything of at most so many other authors"),
        (
            Quota.AUTHOR_BYTES,
            "--max-author-bytes",
            "keep at most so many bytes on disk of each other author",
        ),
        (Quota.BYTES, "--max-bytes", "take nothing more when all takes so many bytes on disk"),
        (Quota.RATE, "--max-author-rate", "take at most so many entries per second of each author"),
    )
}

MEMORY: Final = Option(
    *(
        "--max-memory",
        "N",
        "let peers take up at most so many bytes of memory (a quarter of the machine's, at most 512 MiB)",
        read_memory,
    ),
    kind=int,
)

OPTIONS: Final = (*ADDRESSES, *MODES, ONLY_FOLLOWED, *QUOTAS.values(), MEMORY, PASSPHRASE)
"""All but those of ``finding``."""


@dataclass(frozen=True)
class RunOptions:
    """How a node is run; without ``finding`` it has no peers but those named.

    ``mode`` and ``only_followed`` are as :class:`gossiplog.Node` takes them, and so are ``quotas`` and ``max_memory``.
    """

    listen: tuple[str, ...] = ()
    peer: tuple[str, ...] = ()
    mode: str = "both"
    only_followed: bool | None = None
    quotas: Quotas = field(default_factory=Quotas)
    max_memory: int | None = None
    finding: Finding | None = None
    passphrase: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> RunOptions:
        """What these options say, by field; raises :class:`GossiplogError` for what does not work here."""
        modes = [option.field for option in MODES if said.get(option.field)]
        if len(modes) > 1:
            raise InvalidValueError(f"{' and '.join(option.name for option in MODES)} exclude each other")
        return cls(
            listen=tuple(said.get("listen") or ()),
            peer=tuple(said.get("peer") or ()),
            mode=modes[0] if modes else "both",
            only_followed=said.get(ONLY_FOLLOWED.field) or None,
            quotas=quotas_of(said),
            max_memory=said.get(MEMORY.field),
            finding=Finding.of(said),
            passphrase=said.get(PASSPHRASE.field),
        )

    def node(self, reactor: Any, store: Store, network: Network | Ticket) -> Node:
        """Return a node that takes and gives as this says, and has no peers yet."""
        from gossiplog.node import Node

        return Node(
            reactor,
            store,
            network=network,
            only_followed=self.only_followed,
            quotas=self.quotas,
            max_memory=self.max_memory,
            mode=self.mode,
        )


def quotas_of(said: Mapping[str, Any]) -> Quotas:
    """What these options say of quotas."""
    return Quotas(**{quota.value: said.get(option.field) for quota, option in QUOTAS.items()})


# -- argparse ------------------------------------------------------------------------------------------------------


def add_addresses(parser: ArgumentParser) -> None:
    """Add where it listens, whom it dials, and how it finds others."""
    parser.set_defaults(listen=[], peer=[])
    add_all(parser, ADDRESSES)
    finding.add_options(parser)


def add_limits(parser: ArgumentParser) -> None:
    """Add the options of a verb that runs a node: which way entries go, whom it wants, and how much it takes."""
    add_all(parser.add_mutually_exclusive_group(), MODES)
    add_all(parser, [ONLY_FOLLOWED])
    add_quotas(parser)
    add_all(parser, [MEMORY])


def add_quotas(parser: ArgumentParser) -> None:
    """Add the options of a verb that takes what others have: how much of it."""
    add_all(parser, QUOTAS.values())

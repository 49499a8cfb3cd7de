"""What a node says of itself on a local network, and what of it one believes.

Responsible for: the tag that shows members which service is of their network, which of its addresses are dialled, and
what a name may be.
Must not know: multicast DNS; who says it.
Invariant: what is said names neither the network nor the node, and is another one each time; nobody's word leads beyond
the subnets of this machine.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

from gossiplog import limits
from gossiplog.addresses import Address, in_subnets
from gossiplog.errors import InvalidValueError
from gossiplog.log.keys import tag_for

VERSION: Final = b"1"
SALT_BYTES: Final = 8
_TAG: Final = tag_for("lan")
_TAG_BYTES: Final = 16
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
HERE: Final = "127.0.0.1"
"""Stands for a machine that is in no network: whoever hears of it is on the same one."""


def tag(discovery_id: bytes, salt: bytes) -> bytes:
    """What only members of the network can tell from 16 bytes of chance."""
    return hmac.digest(discovery_id, _TAG + salt, sha256)[:_TAG_BYTES]


def properties(discovery_id: bytes, salt: bytes) -> dict[str, bytes]:
    """The TXT record of a service."""
    return {"v": VERSION, "s": salt, "t": tag(discovery_id, salt)}


def is_ours(said: Mapping[bytes, bytes | None], discovery_id: bytes) -> bool:
    """Whether a TXT record is of a node of our network, or copied from one."""
    salt, tagged = said.get(b"s"), said.get(b"t")
    if said.get(b"v") != VERSION or not salt or len(salt) != SALT_BYTES or not tagged:
        return False
    return hmac.compare_digest(tag(discovery_id, salt), tagged)


def to_dial(hosts: Iterable[str], own: Collection[str], subnets: Sequence[str]) -> list[str]:
    """Those of a service's addresses that may be dialled, at most ``MAX_CONTACT_ADDRESSES``.

    ``own`` are the addresses of this machine.  They are left out, unless the service has no others: then it is here.
    A bridge for containers has the same address on every machine.

    >>> to_dial(["10.9.0.2", "172.17.0.1"], ["10.9.0.1", "172.17.0.1"], ["10.9.0.1/24", "172.17.0.1/16"])
    ['10.9.0.2']
    >>> to_dial(["8.8.8.8", "127.0.0.1"], ["10.9.0.1"], ["10.9.0.1/24"]), to_dial(["127.0.0.1"], [], [])
    ([], ['127.0.0.1'])
    """
    said = list(dict.fromkeys(hosts))
    if not own:
        return [host for host in said if host == HERE]
    others = [host for host in said if host not in own]
    if not others:
        return said[:1]
    near = [host for host in others if "%" not in host and in_subnets(Address.of(host, 1).ip, subnets)]
    return near[: limits.MAX_CONTACT_ADDRESSES]


def check_name(name: str) -> str:
    """Return ``name`` without ``.local``, in small letters; raises :class:`InvalidValueError` for what can be none."""
    if not isinstance(name, str):
        raise InvalidValueError(f"a name on the local network is text, not {type(name).__name__}")
    short = name.lower().removesuffix(".").removesuffix(".local")
    if not _NAME.fullmatch(short):
        raise InvalidValueError(
            f"{name!r:.80} can be no name on the local network: 1 to 63 letters, digits and dashes, no dash at an end"
        )
    return short

"""What the owner of a node does from its page.

Responsible for: the actions, what they take, and saying what was done.
Must not know: who may (``guard``).
Invariant: what is no action's argument is refused before anything is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from twisted.internet.defer import Deferred

from gossiplog.app.web.site import Act
from gossiplog.errors import InvalidValueError
from gossiplog.log.keys import KeyKind, parse_author, parse_key, short_key
from gossiplog.net.endpoints import check_client
from gossiplog.node import Node


def acts(node: Node) -> dict[str, Act]:
    """Return the actions of ``node`` by name."""
    of_authors = {
        "follow": node.follow,
        "unfollow": node.unfollow,
        "block": node.block,
        "unblock": node.unblock,
    }
    found = {name: partial(_of_author, change) for name, change in of_authors.items()}
    return {
        name: partial(_begun, act)
        for name, act in {
            **found,
            "append": partial(_append, node),
            "connect": partial(_connect, node),
            "disconnect": partial(_disconnect, node),
            "ban": partial(_ban, node),
            "unban": partial(_unban, node),
        }.items()
    }


def _begun(act: Callable[[Mapping[str, Any]], Any], what: Mapping[str, Any]) -> Deferred[str]:
    return Deferred.fromCoroutine(act(what))


async def _append(node: Node, what: Mapping[str, Any]) -> str:
    writer = await node.store.writer()
    text = _text(what, "text")
    try:
        payload = text.encode()
    except UnicodeEncodeError:
        raise InvalidValueError("text is no text: it has half a character in it") from None
    return f"entry {await writer.append(payload)} of {short_key(writer.author)}"


async def _of_author(change: Callable[[bytes], Awaitable[None]], what: Mapping[str, Any]) -> str:
    author = parse_author(_text(what, "author"))
    await change(author)
    return short_key(author)


async def _connect(node: Node, what: Mapping[str, Any]) -> str:
    endpoint = check_client(_text(what, "endpoint"))
    node.connect(endpoint)
    return f"{endpoint} is dialled"


async def _disconnect(node: Node, what: Mapping[str, Any]) -> str:
    peer = _peer(what)
    return _done(peer, node.disconnect(peer), "is not connected, and nothing dialled leads to it")


async def _ban(node: Node, what: Mapping[str, Any]) -> str:
    peer, seconds = _peer(what), what.get("seconds")
    node.ban(peer, seconds=inf if seconds is None else seconds)
    return f"node {short_key(peer)}"


async def _unban(node: Node, what: Mapping[str, Any]) -> str:
    peer = _peer(what)
    return _done(peer, node.unban(peer), "was not banned, and had no offences")


def _peer(what: Mapping[str, Any]) -> bytes:
    return parse_key(KeyKind.NODE, _text(what, "node"))


def _done(peer: bytes, is_done: bool, why_not: str) -> str:
    if not is_done:
        raise InvalidValueError(f"node {short_key(peer)} {why_not}")
    return f"node {short_key(peer)}"


def _text(what: Mapping[str, Any], name: str) -> str:
    value = what.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidValueError(f"{name} is a text")
    return value

"""The verbs for a node that runs: status, peers, connect, disconnect, ban, unban, top.

Responsible for: asking the node over its control socket, and what is printed of the answer.
Must not know: what a node does about it.
Invariant: what is printed was said by the node that has the store; without one they fail and say so.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from typing import Any, Final

from gossiplog.app.commands.arguments import AddVerb, checked, seconds
from gossiplog.app.printing import as_json, say
from gossiplog.control.logs import NodeLogs
from gossiplog.control.opening import shown
from gossiplog.errors import ControlError, InvalidValueError
from gossiplog.log.keys import KeyKind, parse_key, short_key
from gossiplog.store.door import place_of

SHORTEST: Final = 4
"""Characters of a node's id that may stand for it."""

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def add_verbs(verb: AddVerb, endpoint: Callable[[str], str], top: Callable[[Namespace], int]) -> None:
    """Add the verbs; ``endpoint`` reads one, and ``top`` is the verb of that name, which is not imported yet."""

    def reads(_: Namespace) -> bool:
        return True

    about, example = "show how the node that has the store is", "gossiplog status --store ~/notes"
    status = verb("status", show_status, about, example, reads)
    status.add_argument("--json", action="store_true", help="print one JSON object (docs/control.rst)")
    status.add_argument("--authors", action="store_true", help="with every log: its entries and bytes")
    peers = verb("peers", show_peers, "list the peers of the node", "gossiplog peers --store ~/notes", reads)
    peers.add_argument("--json", action="store_true", help="print one JSON object per line")
    about = "show how the node is on a screen that follows it; q or Ctrl-C leaves"
    following = verb("top", top, about, "gossiplog top --store ~/notes", reads)
    following.add_argument(
        "--every", type=seconds, default=1.0, metavar="SECONDS", help="between two looks (default: 1)"
    )
    about = "let the node keep a connection to an endpoint, until it stops"
    adding = verb("connect", connect, about, "gossiplog connect --store ~/notes tcp:example.org:4000")
    adding.add_argument("endpoint", type=endpoint, metavar="ENDPOINT", help="such as tcp:HOST:PORT")
    for name, run, about in (
        ("disconnect", disconnect, "end the sessions with a node, and dial what led to it no more"),
        ("ban", ban, "keep a node out, until the one that has the store stops or for --for SECONDS"),
        ("unban", unban, "let a node come back at once, its offences forgotten"),
    ):
        parser = verb(name, run, about, f"gossiplog {name} --store ~/notes 62ohto7d")
        parser.add_argument("node", metavar="NODE", help="a node's id, or how it begins")
        if name == "ban":
            parser.add_argument(
                "--for", dest="seconds", type=checked(read_seconds), metavar="SECONDS", help="so long"
            )


def read_seconds(text: str) -> int:
    """Return how long; raises InvalidValueError."""
    if text.isascii() and text.isdecimal() and 0 < len(text) < 10:
        return int(text)
    raise InvalidValueError(f"a number of seconds, not {text}")


def node_of(arguments: Namespace) -> NodeLogs:
    """Return what the node that has the store shows; ControlError when none has it."""
    logs = shown(arguments.store, arguments.wait)
    if logs is None:
        raise ControlError(f"no node has store {place_of(arguments.store)} open: gossiplog run starts one")
    return logs


def show_status(arguments: Namespace) -> int:
    """Print how a node is."""
    with closing(node_of(arguments)) as logs:
        said = logs.status(authors=arguments.authors)
    if arguments.json:
        say(as_json(said))
    else:
        for line in in_words(said):
            say(line)
    return 0


def in_words(said: dict[str, Any]) -> Iterator[str]:
    """Yield a status in lines."""
    yield f"node {said['node']} ({said['agent']}, {said['mode']}), up {duration(said['up_seconds'])}"
    yield store_in_words(said)
    yield f"listens on {', '.join(said['listening']) or 'nothing: it only dials'}"
    behind = "caught up" if said["caught_up"] else f"{said['to_come']:,} to come"
    yield (
        f"{said['entries']:,} entries of {said['log_count']:,} authors, {said['fork_count']:,} forked; {behind}, "
        f"{said['to_send']:,} to send, {said['rate']:,.0f}/s"
    )
    disk, queues, commits = said["disk"], said["queues"], said["commits"]
    yield (
        f"disk: logs {size(disk['logs'])}, journal {size(disk['journal'])}, views {size(disk['views'])}, "
        f"other {size(disk['other'])}; {size(disk['free'])} free"
    )
    yield (
        f"queues: {queues['jobs']:,} jobs of the store, {queues['messages']:,} messages; memory for peers "
        f"{size(queues['memory_bytes'])} of {size(queues['max_memory_bytes'])}"
    )
    mean = commits["seconds"] / commits["count"] if commits["count"] else 0.0
    yield (
        f"commits: {commits['count']:,} of {commits['entries']:,} entries; {mean * 1000:.1f} ms each, the longest "
        f"{commits['longest_seconds'] * 1000:.1f} ms, the last {commits['last_seconds'] * 1000:.1f} ms"
    )
    yield from map(peer_in_words, said["peers"])
    for dialled in said["dialled"]:
        if not dialled["connected"]:
            yield f"dialling {dialled['endpoint']}"
    for ban_ in said["bans"]:
        how_long = "" if ban_["seconds"] is None else f" for {duration(ban_['seconds'])}"
        yield f"banned {ban_['peer']}{how_long}: {ban_['reason']}"
    for author in said["authors"]:
        marks = [name for name in ("local", "forked", "blocked") if author[name]]
        marks += [f"over the quota {author['over_quota']}"] if author["over_quota"] else []
        words = f" ({', '.join(marks)})" if marks else ""
        yield f"{author['author']} {author['entries']:,} entries, {size(author['bytes'])}{words}"


def store_in_words(said: dict[str, Any]) -> str:
    """Return the line of the store: where it is, and what keeps its writers from signing."""
    copied = f", a copy: {said['copied']}" if said["copied"] else ""
    return f"store {said['store']}{copied}" + (", locked: gossiplog key unlock" if said.get("locked") else "")


def peer_in_words(peer: dict[str, Any]) -> str:
    """Return the line of a peer."""
    way = "dialled" if peer["dialled"] else "dialled us"
    only = "" if peer["mode"] == "both" else f", only {peer['mode']}s"
    return (
        f"peer {short_of(peer['id'])} at {peer['address']} ({way}{only}), up {duration(peer['up_seconds'])}: "
        f"{peer['entries_to_come']:,} to come, {peer['entries_to_send']:,} to send; in {size(peer['bytes_in'])}, "
        f"out {size(peer['bytes_out'])}, unread {size(peer['bytes_unread'])}"
    )


def show_peers(arguments: Namespace) -> int:
    """Print the peers of a node."""
    with closing(node_of(arguments)) as logs:
        peers = logs.status()["peers"]
        if not (peers or arguments.json):
            say("no peers")
        for peer in peers:
            say(as_json(peer) if arguments.json else peer_in_words(peer))
    return 0


def connect(arguments: Namespace) -> int:
    """Let the node dial."""
    with closing(node_of(arguments)) as logs:
        logs.line.ask("connect", endpoint=arguments.endpoint)
    say(f"{arguments.endpoint} is dialled until it answers")
    return 0


def disconnect(arguments: Namespace) -> int:
    """End the sessions with a node."""
    return _about_node(
        arguments, "disconnect", "disconnected", "is not connected, and nothing dialled leads to it"
    )


def ban(arguments: Namespace) -> int:
    """Keep a node out."""
    said = {} if arguments.seconds is None else {"seconds": arguments.seconds}
    return _about_node(arguments, "ban", "banned", "", **said)


def unban(arguments: Namespace) -> int:
    """Let a node in again."""
    return _about_node(arguments, "unban", "may come back", "was not banned, and had no offences")


def _about_node(arguments: Namespace, do: str, done: str, otherwise: str, **said: Any) -> int:
    with closing(node_of(arguments)) as logs:
        status = logs.status()
        known = {each["id"] for each in status["peers"]} | {each["peer"] for each in status["bans"]}
        node = find_node({parse_key(KeyKind.NODE, each) for each in known}, arguments.node)
        found = logs.line.ask(do, node=node.hex(), **said)
    say(f"node {short_key(node)} {otherwise if found is False else done}")
    return 0


def find_node(known: Collection[bytes], text: str) -> bytes:
    """Return the node of a full id, or of the start of one that is connected or banned."""
    if text.startswith("node_") or len(text) == 64:
        return parse_key(KeyKind.NODE, text)
    found = [node for node in known if short_key(node).startswith(text[:8]) and len(text) >= SHORTEST]
    if len(found) != 1:
        reason = "it stands for several" if found else "no peer and nobody banned is called so"
        raise InvalidValueError(f"unknown node {text!r}: {reason}")
    return found[0]


def short_of(text: str) -> str:
    """Return the short form of a node's id."""
    return short_key(parse_key(KeyKind.NODE, text))


def size(count: int) -> str:
    """Return bytes for people."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """Return a time for people: the two largest units."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])

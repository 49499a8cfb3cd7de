"""The verbs that meet peers: sync, run, chat.

Responsible for: a node for as long as the verb takes.
Must not know: how arguments are parsed.
Invariant: the reactor is imported when a verb starts, never with this module; when a verb ends, its node is stopped
and its store closed.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AsyncExitStack, closing
from time import monotonic
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogEvent

from gossiplog.app import chat as chatting
from gossiplog.app.commands.damage import Damages
from gossiplog.app.commands.local import missing, option
from gossiplog.app.finding import Finding
from gossiplog.app.foreground import Main, foreground
from gossiplog.app.happenings import describe
from gossiplog.app.log_options import log_options
from gossiplog.app.logs import Lines
from gossiplog.app.passphrases import unlock_store
from gossiplog.app.printing import FAILURE, StatusLine, as_json, complain, say
from gossiplog.app.run_options import ADDRESSES, OPTIONS, RunOptions
from gossiplog.app.service import Serving, open_patiently
from gossiplog.app.terminal import Terminal
from gossiplog.control.attached import attach, require_network
from gossiplog.control.logs import NodeLogs
from gossiplog.control.messages import key_of
from gossiplog.control.opening import is_shown, shown
from gossiplog.errors import ByeCode, StoreInUseError, StoreLockedError, StoreNotFoundError
from gossiplog.gossip.quotas import Quota, Quotas, why_full
from gossiplog.live.opening import open_store
from gossiplog.live.store import Store
from gossiplog.log.keys import short_key
from gossiplog.log.network import Network
from gossiplog.net.catching_up import CatchUp, Moved, catch_up_with_all
from gossiplog.node import Node
from gossiplog.notices import Notice, PeerDown, PeerUp, WayFailed
from gossiplog.store.lock import TRY_SECONDS, Patience
from gossiplog.ticket import Ticket

NAMED_AUTHORS = 4
"""Of those that are over a quota, so many are named."""

_ANY = Quotas(authors=1, bytes_per_author=1, bytes=1, entries_per_second=1)
"""Of a node that was started by somebody else: it does not say which of its bounds were asked for."""

_ONLY = {
    "pull": "only pulls: it has what was here, and nothing came from it",
    "push": "only pushes: what it had is here, and it took nothing",
}
"""What is said of a peer that did not do both, though it was asked to."""


def react(main: Main, *arguments: Any, log: Callable[[LogEvent], None] | None = None) -> int:
    """Run ``main(reactor, *arguments)`` on the reactor; return its exit status."""
    try:
        task.react(foreground(main, log), arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    raise AssertionError("react always exits")


async def open_existing(arguments: Namespace, reactor: Any) -> Store:
    """Open an existing store on a reactor."""
    try:
        return await open_patiently(arguments.store, reactor, init=False, wait=arguments.wait)
    except StoreNotFoundError as error:
        raise missing(error, arguments.store) from None


async def open_or_attach(arguments: Namespace, reactor: Any) -> tuple[Store, bool]:
    """Open an existing store, or attach to the node that has it; whether it is that.

    The node does what it was started for: nobody else is listened for or dialled then.
    """
    patience = Patience(arguments.wait)
    while True:
        began = monotonic()
        if is_shown(arguments.store):
            if arguments.listen or arguments.peer or arguments.finding.is_asked:
                raise StoreInUseError(
                    f"a node has store {arguments.store}: without --listen, --peer and options that find peers "
                    "(gossiplog connect adds peers)"
                )
            store = attach(arguments.store, reactor, wait=arguments.wait)
            if arguments.network:
                require_network(store, Ticket.of(arguments.network).network)
            return store, True
        try:
            return open_store(arguments.store, reactor, init=False), False
        except StoreNotFoundError as error:
            raise missing(error, arguments.store) from None
        except StoreLockedError as error:
            await deferLater(reactor, min(patience.bear(error, began), TRY_SECONDS))


def complain_of_ways(notice: Notice) -> None:
    """Say of a way of finding peers that it does not work."""
    if isinstance(notice, WayFailed):
        complain(describe(notice) or "")


async def start_node(
    stack: AsyncExitStack,
    reactor: Any,
    store: Store,
    arguments: Namespace,
    tell: Callable[[Notice], None] = lambda notice: None,
) -> Node:
    """Start a node as the arguments say, to be stopped with ``stack``; ``tell`` hears of all that happens."""
    node = Node(reactor, store, network=arguments.network, agent=getattr(arguments, "nick", "gossiplog"))
    stack.push_async_callback(node.stop)
    node.subscribe(tell)
    for endpoint in arguments.listen:
        await node.listen(endpoint)
    await arguments.finding.join(node, arguments.listen)  # first, since it may know names to dial
    for endpoint in arguments.peer:
        node.connect(endpoint)
    return node


def sync(arguments: Namespace) -> int:
    """Catch up with one peer, or all found, in both directions unless told otherwise; print what moved.

    The node that has the store does it, if one has.
    """
    logs = shown(arguments.store, arguments.wait)
    if logs is None:
        return react(_sync, arguments)
    with closing(logs):
        return _sync_there(arguments, logs)


async def _sync(reactor: Any, arguments: Namespace) -> int:
    network, peer = _whom(arguments)
    options = RunOptions.of(vars(arguments))
    async with AsyncExitStack() as stack:
        store = await open_existing(arguments, reactor)
        stack.push_async_callback(store.close)
        node = options.node(reactor, store, network)
        stack.push_async_callback(node.stop)
        known = set(store.forks)
        finding = options.finding
        if peer:
            node.subscribe(complain_of_ways)
        joined = await finding.join(node) if finding is not None and finding.is_asked else None
        try:
            with StatusLine() as show:
                if joined is not None and not peer:
                    moved, met = await catch_up_with_all(node, joined, arguments.timeout, show)
                else:
                    catching_up = CatchUp(node, peer, arguments.timeout, show)
                    moved = await catching_up.run()
                    met = [] if catching_up.peer is None else [catching_up.peer]
        finally:
            over = node.over_quota
            for words in refused(over, options.quotas):
                complain(words)
    modes = {peer or each.address: each.mode for each in met if options.mode == "both" or not peer}
    if not peer and not arguments.json:
        say(f"in sync with {', '.join(modes)}")
    _report(arguments, moved, store.forks - known, modes if options.mode == "both" else {})
    return 0 if all(getattr(options.quotas, quota.value) for quota in over.values()) else FAILURE


def _whom(arguments: Namespace) -> tuple[Network, str]:
    """Return the network, and the endpoint that is dialled there; "" for whoever is found."""
    ticket = Ticket.of(arguments.network)
    peer = arguments.peer or next(iter(ticket.addresses), "")
    if not peer and not Finding.of(vars(arguments)).finds:
        arguments.wrong(
            "the following arguments are required: PEER, a ticket with an address, or --lan, --dht or --room"
        )
    return ticket.network, str(peer)


def _sync_there(arguments: Namespace, logs: NodeLogs) -> int:
    """Let the node do it."""
    network, peer = _whom(arguments)
    logs.require_network(network)
    if own := [*_options_of_a_node(arguments)]:
        raise StoreInUseError(
            f"a node has store {logs.path}, and syncs as it was started: without {', '.join(own)}, or stop it first"
        )
    known = logs.forks
    with StatusLine() as show:
        said = logs.line.ask("sync", endpoint=peer, timeout=arguments.timeout, progress=counted(peer, show))
    for words in refused({key_of(author): Quota(quota) for author, quota in said["over_quota"]}, _ANY):
        complain(words)
    _report(arguments, Moved(*said["moved"]), NodeLogs(logs.line).forks - known, {peer: said["mode"]})
    return 0


def counted(peer: str, show: Callable[[str], None] | None) -> Callable[[int, int], None] | None:
    """Return what shows how far a node is that syncs with ``peer``; None where nobody looks."""
    return None if show is None else lambda held, known: show(f"{peer}: {held:,} of {known:,} entries")


def _options_of_a_node(arguments: Namespace) -> Iterator[str]:
    """Yield those that were said and that a node takes when it starts."""
    said = vars(arguments)
    yield from (option.name for option in OPTIONS if option not in ADDRESSES and said.get(option.field))
    if Finding.of(said).is_asked:
        yield "options that find peers"


def _report(arguments: Namespace, moved: Moved, forked: Set[bytes], modes: Mapping[str, str | None]) -> None:
    """Print what came of it; ``forked`` are the logs that were not known to be.

    ``modes`` are those of the peers, None or none where entries were to go one way only.
    """
    for author in sorted(forked):
        complain(
            f"author {short_key(author)} has forked its log; see gossiplog forks {option('--store', arguments.store)}"
        )
    for peer, mode in modes.items():
        if mode in _ONLY:
            complain(f"{peer} {_ONLY[mode]}")
    if arguments.json:
        say(as_json(moved._asdict()))
    else:
        say(f"received {moved.received} entries, sent {moved.sent}, in {moved.seconds:.2f} s")


def refused(over: Mapping[bytes, Quota], asked: Quotas) -> Iterator[str]:
    """Say of whom nothing is taken, in a line for each quota; where nobody asked for it, that there is no room."""
    for quota in sorted(set(over.values()), key=lambda quota: quota.value):
        authors = sorted(short_key(author) for author, which in over.items() if which is quota)
        named = ", ".join(authors[:NAMED_AUTHORS]) + (", ..." if len(authors) > NAMED_AUTHORS else "")
        why = why_full(quota, asked)
        yield f"not all was taken of {len(authors):,} author{'s' * (len(authors) > 1)} ({named}): {why}"


def run(arguments: Namespace) -> int:
    """Run a node until SIGINT or SIGTERM; print the ready line."""
    return _serve(arguments, init=False)


def join(arguments: Namespace) -> int:
    """As :func:`run`, with a new store if there is none."""
    return _serve(arguments, init=True)


def _serve(arguments: Namespace, init: bool) -> int:
    status = StatusLine()
    lines = Lines(status, log_options(arguments.log_json, arguments.log_level))
    return react(_run, arguments, status, init, log=lines)


async def _run(reactor: Any, arguments: Namespace, status: StatusLine, init: bool) -> None:
    serving = Serving(
        reactor,
        arguments.store,
        arguments.network,
        RunOptions.of(vars(arguments)),
        init=init,
        wait=arguments.wait,
        state=getattr(arguments, "state", None),
        show=status.show if status.visible else None,
        watching=arguments.watching,
    )
    try:
        say(await serving.start())
        sys.stdout.flush()
        await Deferred()
    except StoreNotFoundError as error:
        raise missing(error, arguments.store) from None
    finally:
        await serving.stop()


def chat(arguments: Namespace) -> int:
    """Chat in a network until the input ends."""
    damages = Damages(arguments.store)
    return react(_chat, arguments, damages) or damages.status


async def _chat(reactor: Any, arguments: Namespace, damages: Damages) -> None:
    async with AsyncExitStack() as stack:
        terminal = await stack.enter_async_context(Terminal(reactor))
        store, is_attached = await open_or_attach(arguments, reactor)
        stack.push_async_callback(store.close)
        store.damage.listen(damages)
        await unlock_store(store, arguments.passphrase_file)
        writer = await store.writer(arguments.writer, encoding="json")

        present: set[bytes] = set()

        def tell(notice: Notice) -> None:
            match notice:
                case PeerUp(peer):
                    wanted = peer.id not in present
                    present.add(peer.id)
                case PeerDown(peer, code):
                    wanted = code != ByeCode.DUPLICATE  # else one of two connections, the other stays
                    if wanted:
                        present.discard(peer.id)
                case WayFailed():  # who asked to find others, and sees nobody, wants to know why
                    wanted = True
                case _:
                    wanted = arguments.verbose
            words = describe(notice)
            if wanted and words is not None:
                terminal.put(f"-- {words}")

        seen = await chatting.show_history(terminal, store)
        if not is_attached:
            await start_node(stack, reactor, store, arguments, tell)
        await chatting.talk(terminal, store, writer, arguments.nick, seen)

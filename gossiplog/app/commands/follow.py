"""The verbs that say which authors a store wants: follow, unfollow, block and unblock.

Responsible for: changing the choices that a store keeps, without a node; the arguments for them.
Must not know: what a node does about it.
Invariant: what is printed is on disk by then.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import closing

from gossiplog.app.commands.arguments import AddVerb
from gossiplog.app.commands.authors import find_author, named
from gossiplog.app.commands.local import Opened, opened, opened_to_read
from gossiplog.app.printing import say
from gossiplog.control.logs import NodeLogs
from gossiplog.errors import GossiplogError, StoreInUseError
from gossiplog.gossip.interest import KEPT_AS, Choices, Interest
from gossiplog.log.keys import format_author, parse_author
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Forget, Moved, Request, SetMeta


def add_verbs(verb: AddVerb) -> None:
    """Add the four verbs; ``verb`` gives a parser for each."""
    following = verb(
        "follow",
        follow,
        "want entries of authors; without an ID print what is wanted",
        "gossiplog follow --store ~/notes --only author_62ohto7dipnx...\n  gossiplog follow --store ~/notes",
        lambda said: not (said.id or said.only or said.everyone),
    )
    mode = following.add_mutually_exclusive_group()
    mode.add_argument("--only", action="store_true", help="want nobody but the authors followed")
    mode.add_argument(
        "--everyone", action="store_true", help="want everybody but those unfollowed (the default)"
    )
    following.add_argument(
        "id", nargs="*", metavar="ID", help="an author's id, or how it begins if some is held"
    )
    about = "an author's id, or how it begins"
    for name, run, summary in (
        ("unfollow", unfollow, "want no entries of authors; what is held stays"),
        ("block", block, "neither take nor pass on entries of authors, whatever is followed"),
        ("unblock", unblock, "take back block"),
    ):
        parser = verb(name, run, summary, f"gossiplog {name} --store ~/notes 62ohto7d")
        parser.add_argument("id", nargs="+", metavar="ID", help=about)
        if name == "block":
            parser.add_argument("--delete", action="store_true", help="delete what is held of them")


# -- verbs -------------------------------------------------------------------------------------------------------


def follow(arguments: Namespace) -> int:
    """Want authors, or only those followed, or everyone; print what is wanted if nothing was asked for."""

    def change(choices: Choices, authors: Sequence[bytes]) -> None:
        if arguments.only or arguments.everyone:
            choices.mode = Interest.WANTED if arguments.only else Interest.ALL
        choices.follow(authors)

    if arguments.id or arguments.only or arguments.everyone:
        return _choose(arguments, change, "follow")
    with closing(opened_to_read(arguments.store, arguments.wait)) as logs:
        _show(_choices(logs))
    return 0


def unfollow(arguments: Namespace) -> int:
    """Want no entries of authors."""
    return _choose(arguments, Choices.unfollow, "unfollow")


def block(arguments: Namespace) -> int:
    """Neither take nor pass on entries of authors."""
    return _choose(arguments, Choices.block, "block", delete=arguments.delete)


def unblock(arguments: Namespace) -> int:
    """Take back block."""
    return _choose(arguments, Choices.unblock, "unblock")


def _choose(
    arguments: Namespace,
    change: Callable[[Choices, Sequence[bytes]], None],
    name: str,
    *,
    delete: bool = False,
) -> int:
    with closing(opened(arguments.store, arguments.wait)) as logs:
        kept = logs.meta(KEPT_AS)
        choices = Choices.load(kept, logs.local)
        before = choices.mode
        known = [*logs.local, *choices.chosen, *choices.blocked]
        authors = [_author(logs, known, text) for text in arguments.id]
        held = {author: logs.clock.seq(author) for author in authors}
        change(choices, authors)
        if isinstance(logs, NodeLogs):
            only = None if before is choices.mode else choices.mode is Interest.WANTED
            logs.choose(name, authors, only=only, delete=delete)
        else:
            _keep(logs, choices, kept, authors if delete else ())
    if getattr(arguments, "only", False) or getattr(arguments, "everyone", False):
        say(_mode(choices))
    for author in authors:
        say(f"{format_author(author)} {name}ed" + (f", {held[author]} entries deleted" if delete else ""))
    return 0


def _keep(logs: Logs, choices: Choices, kept: bytes | None, deleted: Sequence[bytes]) -> None:
    """Write choices down in the place of those that are ``kept``, and delete what is held of some authors."""
    written: list[Request] = [SetMeta(KEPT_AS, choices.dump(), (kept,))]
    for requests in (written, [Forget(author) for author in deleted]):
        for result in logs.process(requests).results if requests else ():
            if isinstance(result, Moved):
                raise StoreInUseError("others who share the store chose at the same moment: try again")
            if isinstance(result, GossiplogError):
                raise result
    while deleted and logs.reclaim():
        pass


def _choices(logs: Opened) -> Choices:
    return Choices.load(logs.meta(KEPT_AS), logs.local)


def _author(logs: Opened, known: Sequence[bytes], text: str) -> bytes:
    """Return the author of a full id, held or not, or of the start of one that is held or was named before."""
    if text.startswith("author_") or len(text) == 64:
        return parse_author(text)
    held = named(logs.clock, text)
    among = [author for author in {*held, *known} if format_author(author).partition("_")[2].startswith(text)]
    return among[0] if len(among) == 1 and not held else find_author(held, text)


def _mode(choices: Choices) -> str:
    return "everyone" if choices.mode is Interest.ALL else "only those followed"


def _show(choices: Choices) -> None:
    say(_mode(choices))
    for author in sorted({*choices.chosen, *choices.blocked}):
        words = (
            [] if author not in choices.chosen else ["followed" if choices.chosen[author] else "unfollowed"]
        )
        words += ["blocked"] if author in choices.blocked else []
        say(f"{format_author(author)} {', '.join(words)}")

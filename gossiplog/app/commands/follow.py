"""The verbs that say which authors a store wants, follow, unfollow, block and unblock; and the options about that.

Responsible for: changing the choices that a store keeps, without a node; the arguments for them and for quotas.
Must not know: what a node does about it.
Invariant: what is printed is on disk by then.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final, TypeAlias

from gossiplog.app.commands.arguments import checked
from gossiplog.app.commands.authors import find_author
from gossiplog.app.commands.local import Opened, opened, opened_to_read
from gossiplog.app.printing import say
from gossiplog.control.logs import NodeLogs
from gossiplog.errors import GossiplogError, InvalidValueError
from gossiplog.gossip.budget import check_memory
from gossiplog.gossip.interest import KEPT_AS, Choices, Interest
from gossiplog.gossip.quotas import Quota, Quotas
from gossiplog.log.keys import format_author, parse_author
from gossiplog.store.logs import Logs
from gossiplog.store.requests import Forget, Request, SetMeta

AddVerb: TypeAlias = Callable[..., ArgumentParser]
"""``(name, run, summary, example, reads)``, of which the last tells when the verb changes nothing in the store."""

QUOTAS: Final = {
    Quota.AUTHORS: ("--max-authors", "keep anything of at most so many other authors"),
    Quota.AUTHOR_BYTES: ("--max-author-bytes", "keep at most so many bytes on disk of each other author"),
    Quota.BYTES: ("--max-bytes", "take nothing more when all takes so many bytes on disk"),
    Quota.RATE: ("--max-author-rate", "take at most so many entries per second of each author"),
}


MEMORY: Final = (
    "--max-memory",
    "let peers take up at most so many bytes of memory (a quarter of the machine's, at most 512 MiB)",
)


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


MODES: Final = {
    "pull": ("--pull", "only take: send no entry to anybody"),
    "push": ("--push", "only give: take no entry from anybody"),
}


def add_limits(parser: ArgumentParser) -> None:
    """Add the options of a verb that runs a node: which way entries go, whom it wants, and how much it takes."""
    modes = parser.add_mutually_exclusive_group()
    for mode, (option, about) in MODES.items():
        modes.add_argument(option, dest="mode", action="store_const", const=mode, default="both", help=about)
    parser.add_argument(
        "--only-followed",
        action="store_true",
        default=None,
        help="want nobody but the authors followed, from now on (gossiplog follow --everyone takes it back)",
    )
    add_quotas(parser)


def add_quotas(parser: ArgumentParser) -> None:
    """Add the options of a verb that takes what others have: how much of it."""
    for quota, (option, about) in QUOTAS.items():
        parser.add_argument(
            option, dest=f"max_{quota.value}", type=checked(bound(quota)), metavar="N", help=about
        )
    option, about = MEMORY
    parser.add_argument(option, type=checked(read_memory), metavar="N", help=about)


def quotas_of(arguments: Namespace) -> Quotas:
    """Return what :func:`add_limits` read."""
    return Quotas(**{quota.value: getattr(arguments, f"max_{quota.value}", None) for quota in Quota})


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
        choices = _choices(logs)
        before = choices.mode
        known = [*logs.clock, *logs.local, *choices.chosen, *choices.blocked]
        authors = [_author(logs, known, text) for text in arguments.id]
        held = {author: logs.clock.seq(author) for author in authors}
        change(choices, authors)
        if isinstance(logs, NodeLogs):
            only = None if before is choices.mode else choices.mode is Interest.WANTED
            logs.choose(name, authors, only=only, delete=delete)
        else:
            _keep(logs, choices, authors if delete else ())
    if getattr(arguments, "only", False) or getattr(arguments, "everyone", False):
        say(_mode(choices))
    for author in authors:
        say(f"{format_author(author)} {name}ed" + (f", {held[author]} entries deleted" if delete else ""))
    return 0


def _keep(logs: Logs, choices: Choices, deleted: Sequence[bytes]) -> None:
    """Write choices down, and delete what is held of some authors."""
    requests: list[Request] = [SetMeta(KEPT_AS, choices.dump()), *map(Forget, deleted)]
    for result in logs.process(requests).results:
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
    named = [author for author in set(known) if format_author(author).partition("_")[2].startswith(text)]
    return named[0] if len(named) == 1 and named[0] not in logs.clock else find_author(logs.clock, text)


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

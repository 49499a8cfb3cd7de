"""The command ``gossiplog``.

Responsible for: its arguments, its help, and that every failure is one line on standard error with an exit status.
Must not know: what the verbs do (``commands``).
Invariant: ``main`` returns an exit status and never raises.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from gossiplog.app import log_options, passphrases, watching
from gossiplog.app.commands import (
    fleet_arguments,
    follow,
    forks,
    key,
    local,
    log,
    moving,
    operate,
    simulate_arguments,
    verify,
    view_arguments,
)
from gossiplog.app.commands.arguments import (
    STATE,
    WAIT_SECONDS,
    checked,
    only_with,
    path,
    read_wait,
    require_used,
    sentence,
)
from gossiplog.app.commands.node_arguments import network, peer, ticket, timeout
from gossiplog.app.commands.room_arguments import add as add_room
from gossiplog.app.finding import Finding, add_options, spelled
from gossiplog.app.printing import complain, forget_output, open_standard_files, report, say
from gossiplog.app.run_options import ADDRESS_OPTIONS, add_addresses, add_limits
from gossiplog.errors import StoreUnsafeError
from gossiplog.store.copy_guard.guard import is_from_here
from gossiplog.store.directory import DATABASE

STORE: Final = ".gossiplog"

USAGE: Final = 2
INTERRUPTED: Final = 130

EPILOG: Final = """\
exit status: 0 done, 1 failed (one line on standard error says why), 2 wrong usage, 3 there is damage,
130 interrupted, 141 nobody read the output.
environment: GOSSIPLOG_STORE is the default of --store, GOSSIPLOG_NETWORK of --network; GOSSIPLOG_PASSPHRASE is the
passphrase of the writers' seeds.  A key on a command line can be seen by every user of the machine: use the
environment, or --network @FILE.

example:
  gossiplog init && gossiplog append "hello" && gossiplog log"""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and that takes nothing for an option but what is one as a whole."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)
        self.set_defaults(wrong=self.error, parser=self)
        self.said: set[str] = set()

    def error(self, message: str) -> NoReturn:
        if "unrecognized arguments: -" in message or "ignored explicit argument" in message:
            message += "; text that begins with a dash goes behind --"
        elif "expected one argument" in message:
            message += "; one that begins with a dash is said with ="
        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(USAGE)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        self.said.update(action.option_strings)  # which no Namespace tells from a default
        return super()._get_values(action, arg_strings)

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        return []  # or "-hello" is -h, and shows the help in the place of what was asked for


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    open_standard_files()
    try:
        try:
            status = _run(argv)
        except SystemExit as end:  # argparse is done, or was not understood
            status = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain("interrupted")
        status = INTERRUPTED
    except BaseException as error:
        status = report(error)
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        forget_output()  # that was told
    return status


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(spelled(sys.argv[1:] if argv is None else argv))
    require_used(arguments, arguments.parser.said)
    if "store" in arguments and arguments.store is None:
        arguments.store = _default_store(arguments.reads(arguments))
    if "finding" in arguments:
        arguments.finding = Finding.of(vars(arguments))
    if "watching" in arguments:
        arguments.watching = watching.watching_of(arguments)
    verb: Callable[[argparse.Namespace], int] = arguments.verb
    return verb(arguments)


def _default_store(only_read: bool) -> str:
    """Return the store of the current directory, which nobody named: whoever made that directory may have made it."""
    if os.path.islink(STORE):
        raise StoreUnsafeError(
            f"{STORE} is a symbolic link; name it with --store if you mean what it leads to"
        )
    if not only_read and os.path.lexists(os.path.join(STORE, DATABASE)) and not is_from_here(STORE):
        raise StoreUnsafeError(
            f"{STORE} came from elsewhere, by a copy or as a part of what was cloned or unpacked: "
            f"name it with --store {STORE} if you want to write to it"
        )
    return STORE


def _never(arguments: argparse.Namespace) -> bool:
    return False


def _later(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """Return a verb that is imported when it runs: the others start without Twisted."""
    return lambda arguments: int(getattr(import_module(f"gossiplog.app.commands.{module}"), name)(arguments))


def _recover(arguments: argparse.Namespace) -> int:
    if arguments.alone == bool(arguments.peer):
        arguments.wrong("one of PEER and --alone is required")
    if arguments.peer and not arguments.network:
        arguments.wrong("the following arguments are required: --network")
    return _later("recover", "recover")(arguments)


# -- arguments ---------------------------------------------------------------------------------------------------


class _Version(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        say(f"gossiplog {import_module('importlib.metadata').version('gossiplog')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gossiplog",
        description="Append-only logs that replicate themselves between peers.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(
        name: str,
        run: Callable[[argparse.Namespace], int],
        summary: str,
        example: str,
        reads: Callable[[argparse.Namespace], bool] = _never,
        *,
        has_store: bool = True,
    ) -> _Parser:
        """Add a verb; ``reads`` tells when it changes nothing in the store."""
        added: _Parser = verbs.add_parser(
            name,
            help=summary,
            description=sentence(summary),
            epilog=f"example:\n  {example}",
        )
        added.set_defaults(verb=run, reads=reads)
        if not has_store:
            return added
        added.add_argument(
            "--store",
            metavar="DIR",
            type=path,
            default=os.environ.get("GOSSIPLOG_STORE") or None,
            help="directory of the store (default: $GOSSIPLOG_STORE, else .gossiplog)",
        )
        added.add_argument(
            "--wait",
            type=checked(read_wait),
            default=WAIT_SECONDS,
            metavar="SECONDS",
            help=f"wait so long while another process has the store (default: {WAIT_SECONDS:g})",
        )
        return added

    init = verb("init", local.init, "create a store", "gossiplog init --store ~/notes")
    _writer(init)
    passphrases.add_option(init)

    about = "print the id of a writer"
    ids = verb("id", local.show_id, about, "gossiplog id --store ~/notes --all", lambda said: not said.all)
    _writer(ids)
    ids.add_argument("--all", action="store_true", help="print the node's id and every writer's, with names")
    only_with(ids, "one writer, without --all", lambda said: not said.all, "--writer")

    append = verb(
        "append",
        local.append,
        "append entries: the arguments, or else the lines of standard input",
        'gossiplog append --store ~/notes "buy milk" && uptime | gossiplog append --writer load',
    )
    about = "each is one entry; put -- before those that begin with a dash"
    append.add_argument("text", nargs="*", metavar="TEXT", help=about)
    _writer(append)
    _json(append)
    passphrases.add_option(append)

    showing = verb(
        "log",
        log.log,
        "print entries, each author's in order, or all by time",
        "gossiplog log --store ~/notes -n 50 --where room=kitchen\n"
        "  gossiplog log --store ~/notes --follow --network garden --peer tcp:example.org:4000",
        lambda said: not said.follow,
    )
    showing.add_argument("--author", metavar="ID", help="only of this author: its id, or how it begins")
    log.add_arguments(showing)
    showing.add_argument("--follow", action="store_true", help="go on with new entries until interrupted")
    _json(showing)
    network(showing, required=False)
    add_addresses(showing)
    only_with(showing, "--follow", lambda said: bool(said.follow), "--network", *ADDRESS_OPTIONS)

    about = "print how far the store holds each log"
    _json(verb("clock", local.clock, about, "gossiplog clock --store ~/notes", lambda _: True))

    summary = "check every chain and signature on disk, and repair what is damaged"
    example = "gossiplog verify --store ~/notes"
    verify.add_arguments(verb("verify", verify.verify, summary, example, lambda said: not said.repair))

    moving.add_verbs(verb, _later)
    key.add_verb(verb)

    summary = "show the authors that signed two logs, with proofs as files"
    example = "gossiplog forks --store ~/notes\n  gossiplog forks --store ~/notes --export 62ohto7d ann.proof"
    forks.add_arguments(verb("forks", forks.forks, summary, example, lambda said: said.add is None))

    follow.add_verbs(verb)
    view_arguments.add(verb, _later("search", "search"), _later("views", "views"))
    operate.add_verbs(verb, peer, _later("top", "top"))

    sync = verb(
        "sync",
        _later("replicate", "sync"),
        "catch up with one peer, or with those found, in both directions",
        "gossiplog sync --store ~/notes --network garden tcp:example.org:4000\n"
        "  gossiplog sync --store ~/notes --network garden --lan",
    )
    about = "endpoint such as tcp:HOST:PORT (default: the first of a ticket, or who is found with --lan, --dht, --room)"
    sync.add_argument("peer", nargs="?", type=peer, metavar="PEER", help=about)
    timeout(sync)
    network(sync)
    add_limits(sync)
    add_options(sync)
    _json(sync)

    recover = verb(
        "recover",
        _recover,
        "let the writers of a copied, moved or restored store append again, with their newest entries from peers",
        "gossiplog recover --store ~/notes --network garden tcp:example.org:4000",
    )
    recover.add_argument("peer", nargs="*", type=peer, metavar="PEER", help="endpoint; all named are asked")
    recover.add_argument("--alone", action="store_true", help="ask nobody: there is no other copy")
    timeout(recover)
    network(recover, required=False)
    only_with(recover, "asking a PEER", lambda said: not said.alone, "--network", "--timeout")

    run = verb(
        "run",
        _later("replicate", "run"),
        "run a node until it is interrupted",
        "gossiplog run --store ~/notes --network garden --listen tcp:4000 --peer tcp:example.org:4000",
    )
    _state(run)
    network(run)
    add_addresses(run)
    passphrases.add_option(run)
    add_limits(run)
    watching.add_arguments(run)

    hosting = verb(
        "host",
        _later("host", "host"),
        "run many networks in one process, as a file says, until it is interrupted; SIGHUP reads the file again",
        "gossiplog host --check gossiplog.toml && gossiplog host gossiplog.toml",
        has_store=False,
    )
    hosting.add_argument(
        "file", type=path, metavar="FILE", help="which networks, in TOML (docs/howto/hosting.rst)"
    )
    about = "say what the file does, and what would change for a host that runs; change nothing"
    hosting.add_argument("--check", action="store_true", help=about)
    log_options.add_arguments(hosting)
    only_with(hosting, "a host that runs", lambda said: not said.check, "--log-json", "--log-level")

    find = verb(
        "find",
        _later("find", "find"),
        "show who else is in a network, live, without a store: as they come, go and answer",
        "gossiplog find --network garden --lan",
        has_store=False,
    )
    find.add_argument(
        "--once", action="store_true", help="end when the first look is over; 1 if nobody answered"
    )
    network(find)
    add_addresses(find)
    _json(find)

    invite = verb(
        "invite",
        _later("invite", "invite"),
        "print a ticket: a network and where its nodes are, for who is to join; whoever has it can read everything",
        "gossiplog invite --network garden tcp:example.org:4000",
        has_store=False,
    )
    invite.add_argument("address", nargs="*", type=peer, metavar="ENDPOINT", help="a node's, tcp:HOST:PORT")
    invite.add_argument("--qr", action="store_true", help="as a QR code too, on whatever the output is")
    network(invite, required=False)

    join = verb(
        "join",
        _later("replicate", "join"),
        "create the store if there is none, and run a node in the network of a ticket until it is interrupted",
        "gossiplog join --store ~/notes gossip-...",
    )
    join.add_argument(
        "network", type=ticket, metavar="TICKET", help="what gossiplog invite printed, or @FILE"
    )
    _state(join)
    add_addresses(join)
    passphrases.add_option(join)
    add_limits(join)
    watching.add_arguments(join)

    chat = verb(
        "chat",
        _later("replicate", "chat"),
        "chat with everyone in a network; /quit or the end of the input ends it",
        "gossiplog chat --store ~/notes --network garden --nick ann --peer tcp:example.org:4000",
    )
    chat.add_argument("--nick", required=True, help="what others see as your name")
    chat.add_argument("--verbose", action="store_true", help="say when a peer is lost or does not answer")
    _writer(chat)
    passphrases.add_option(chat)
    network(chat)
    add_addresses(chat)
    fleet_arguments.add(verb, _later("fleet", "fleet"))
    add_room(verbs)
    simulate_arguments.add(verbs)
    return parser


def _writer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--writer", default="default", metavar="NAME", help="local author (default: default)")


def _state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", metavar="DIR", type=path, help=STATE)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


if __name__ == "__main__":
    sys.exit(main())

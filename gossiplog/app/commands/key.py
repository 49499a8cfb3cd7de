"""The verb key: what becomes of the seeds of a store's writers.

Responsible for: its arguments, and doing each action.
Must not know: how a seed is protected.
Invariant: neither a seed nor a passphrase is taken from a command line.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Final

from gossiplog.app import keyfile, passphrases
from gossiplog.app.commands.arguments import AddVerb, checked, only_with
from gossiplog.app.commands.local import Opened, opened, option
from gossiplog.app.printing import say
from gossiplog.control.logs import NodeLogs
from gossiplog.errors import ControlError, InvalidKeyError, KeyLockedError, SignerError, StoreInUseError
from gossiplog.log.kept_key import ForeignKey
from gossiplog.log.keys import Keypair, format_author
from gossiplog.store.logs import Logs
from gossiplog.store.ssh_agent import SSHAgent

MOST_CHARS: Final = 4096
"""Of words, with what stands around them."""

NEW: Final = "--new-passphrase-file"

_OF: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("--writer",): ("export", "import", "agent"),
    ("--author",): ("agent",),
    ("--words",): ("export", "import"),
    ("--words-file",): ("import",),
    (NEW,): ("protect",),
}
"""Of which actions options are."""


def add_verb(verb: AddVerb) -> None:
    """Add the verb."""
    keys = verb(
        "key",
        key,
        "protect the seeds of the writers by a passphrase, have them as words, or have none: keys of an ssh-agent",
        "gossiplog key protect --store ~/notes\n  gossiplog key unlock --store ~/notes --passphrase-file secret",
    )
    actions = {**ACTIONS, **MAKING}
    about = "\n".join(f"{name}: {action.__doc__}" for name, action in actions.items())
    keys.add_argument("action", choices=[*actions], metavar="ACTION", help=", ".join(actions))
    keys.epilog = f"actions:\n{about}\n\n{keys.epilog}"
    passphrases.add_option(keys)
    keys.add_argument(
        "--writer", default="default", metavar="NAME", help="local author of export, import and agent"
    )
    about = "which key of the ssh-agent: its comment, or as an author (default: the only one)"
    keys.add_argument("--author", metavar="KEY", help=about)
    keys.add_argument(
        "--words", action="store_true", help="as 24 words, as which export and import have a seed anyway"
    )
    about = "file with the words for import (default: standard input, or asked on the terminal)"
    keys.add_argument("--words-file", dest="seed", type=checked(_seed_in), metavar="FILE", help=about)
    about = "file with the passphrase that protect changes it to (default: asked on the terminal)"
    keys.add_argument(
        NEW, dest="new_passphrase", type=checked(keyfile.passphrase), metavar="FILE", help=about
    )
    for options, of in _OF.items():
        only_with(keys, " and ".join(of), partial(_is_of, of), *options)


def _is_of(actions: tuple[str, ...], arguments: Namespace) -> bool:
    return arguments.action in actions


def key(arguments: Namespace) -> int:
    """Do one action."""
    if (make := MAKING.get(arguments.action)) is not None:
        made = make(arguments)  # before there is a store
        with closing(opened(arguments.store, arguments.wait, init=True)) as logs:
            _take(_ours(logs), made, arguments)
    else:
        with closing(opened(arguments.store, arguments.wait)) as logs:
            ACTIONS[arguments.action](logs, arguments)
    return 0


def _protect(logs: Opened, arguments: Namespace) -> None:
    """put all seeds under a passphrase, or under another one"""
    old, new = passphrases.given(arguments.passphrase_file), arguments.new_passphrase
    if not logs.keys.is_protected:
        old, new = None, new or old
    elif old is None:
        old = passphrases.asked()
    new = new or passphrases.asked("New passphrase", twice=True)
    if new is None:
        raise KeyLockedError(f"no new passphrase: give it with {NEW}, or on a terminal")
    logs.keys.protect(new, old)
    say(f"{_seeds(logs)} protected by the passphrase, which nobody can help with who forgets it")


def _unprotect(logs: Opened, arguments: Namespace) -> None:
    """keep all seeds as they are, from now on"""
    if logs.keys.is_protected:
        logs.keys.protect(None, passphrases.given(arguments.passphrase_file) or passphrases.asked())
    say(f"{_seeds(logs)} kept without a passphrase")


def _unlock(logs: Opened, arguments: Namespace) -> None:
    """let the node that has the store sign, until it ends"""
    if not isinstance(logs, NodeLogs):
        raise ControlError(
            f"no node has store {logs.path}: each verb and program takes the passphrase itself"
        )
    passphrases.unlock(logs.keys, arguments.passphrase_file)
    if logs.keys.is_locked:
        raise KeyLockedError(f"no passphrase: give it with {passphrases.PASSPHRASE.name}, or on a terminal")
    say(f"{_seeds(logs)} unlocked in the node")


def _export(logs: Opened, arguments: Namespace) -> None:
    """print the seed of a writer as 24 words: whoever reads them has the writer"""
    ours = _ours(logs)
    passphrases.unlock(logs.keys, arguments.passphrase_file)
    from gossiplog.log.words import to_words

    say(to_words(ours.keys.keypair(arguments.writer).seed))


def _import(arguments: Namespace) -> Keypair:
    """make a writer of 24 words, and a store if there is none; it appends after recover"""
    return Keypair(arguments.seed or _typed_seed())


def _agent(arguments: Namespace) -> ForeignKey:
    """make a writer of an Ed25519 key of the ssh-agent, which signs for it; it appends after recover"""
    known, said = SSHAgent().authors(), arguments.author
    if not known:
        raise SignerError("the ssh-agent has no Ed25519 key, or is locked: ssh-add")
    found = [author for author, comment in known.items() if said in (None, comment, format_author(author))]
    if len(found) != 1:
        which = "several keys" if found else "no key of that name"
        shown = ", ".join(f"{format_author(author)} ({comment})" for author, comment in known.items())
        raise SignerError(f"the ssh-agent has {which}: say --author, one of {shown}")
    return ForeignKey(found[0])


def _take(logs: Logs, made: Keypair | ForeignKey, arguments: Namespace) -> None:
    passphrases.unlock(logs.keys, arguments.passphrase_file)
    logs.import_key(arguments.writer, made)
    say(f"{format_author(made.author)} {arguments.writer}")
    where = option("--store", arguments.store)
    say(
        f"it appends after: gossiplog recover {where} --network NETWORK PEER (or --alone, if it never wrote elsewhere)"
    )


def _ours(logs: Opened) -> Logs:
    """Return logs that no node has: a secret goes over no socket."""
    if isinstance(logs, NodeLogs):
        raise StoreInUseError(f"a node has store {logs.path}: stop it first, seeds go over no socket")
    return logs


def _seed_in(path: str) -> bytes:
    from gossiplog.log.words import from_words

    return from_words(keyfile.said(f"{keyfile.MARK}{path}"))


def _typed_seed() -> bytes:
    from gossiplog.log.words import from_words

    try:
        text = passphrases.asked("24 words") if sys.stdin.isatty() else sys.stdin.read(MOST_CHARS)
    except UnicodeDecodeError:
        raise InvalidKeyError("what came on standard input is no text") from None
    return from_words(text or "")


ACTIONS: Final[Mapping[str, Callable[[Opened, Namespace], None]]] = {
    "protect": _protect,
    "unprotect": _unprotect,
    "unlock": _unlock,
    "export": _export,
}

MAKING: Final[Mapping[str, Callable[[Namespace], Keypair | ForeignKey]]] = {
    "import": _import,
    "agent": _agent,
}
"""What makes a writer."""


def _seeds(logs: Opened) -> str:
    count = logs.keys.seed_count
    return f"{count:,} seed{'s are' if count != 1 else ' is'}"

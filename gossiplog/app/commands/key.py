"""The verb key: what becomes of the seeds of a store's writers.

Responsible for: its arguments, and doing each action.
Must not know: how a seed is protected.
Invariant: neither a seed nor a passphrase is taken from a command line.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

from gossiplog.app import keyfile, passphrases
from gossiplog.app.commands.arguments import checked
from gossiplog.app.commands.local import Opened, opened
from gossiplog.app.commands.moving import AddVerb
from gossiplog.app.printing import say
from gossiplog.control.logs import NodeLogs
from gossiplog.errors import ControlError, KeyLockedError

NEW: Final = "--new-passphrase-file"


def add_verb(verb: AddVerb) -> None:
    """Add the verb."""
    keys = verb(
        "key",
        key,
        "protect the seeds of the writers by a passphrase",
        "gossiplog key protect --store ~/notes\n  gossiplog key unlock --store ~/notes --passphrase-file secret",
    )
    about = "\n".join(f"{name}: {action.__doc__}" for name, action in ACTIONS.items())
    keys.add_argument("action", choices=[*ACTIONS], metavar="ACTION", help=", ".join(ACTIONS))
    keys.epilog = f"actions:\n{about}\n\n{keys.epilog}"
    passphrases.add_option(keys)
    about = "file with the passphrase that protect changes it to (default: asked on the terminal)"
    keys.add_argument(
        NEW, dest="new_passphrase", type=checked(keyfile.passphrase), metavar="FILE", help=about
    )


def key(arguments: Namespace) -> int:
    """Do one action."""
    with closing(opened(arguments.store, arguments.wait)) as logs:
        ACTIONS[arguments.action](logs, arguments)
    return 0


def _protect(logs: Opened, arguments: Namespace) -> None:
    """put all seeds under a passphrase, or under another one"""
    old, new = passphrases.given(arguments.passphrase_file), arguments.new_passphrase
    if not logs.protected:
        old, new = None, new or old
    elif old is None:
        old = passphrases.asked()
    new = new or passphrases.asked("New passphrase", twice=True)
    if new is None:
        raise KeyLockedError(f"no new passphrase: give it with {NEW}, or on a terminal")
    logs.protect(new, old)
    say(f"{_seeds(logs)} protected by the passphrase, which nobody can help with who forgets it")


def _unprotect(logs: Opened, arguments: Namespace) -> None:
    """keep all seeds as they are, from now on"""
    if logs.protected:
        logs.protect(None, passphrases.given(arguments.passphrase_file) or passphrases.asked())
    say(f"{_seeds(logs)} kept without a passphrase")


def _unlock(logs: Opened, arguments: Namespace) -> None:
    """let the node that has the store sign, until it ends"""
    if not isinstance(logs, NodeLogs):
        raise ControlError(
            f"no node has store {logs.path}: each verb and program takes the passphrase itself"
        )
    passphrases.unlock(logs, arguments.passphrase_file)
    if logs.locked:
        raise KeyLockedError(f"no passphrase: give it with {passphrases.PASSPHRASE.name}, or on a terminal")
    say(f"{_seeds(logs)} unlocked in the node")


ACTIONS: Final[Mapping[str, Callable[[Opened, Namespace], None]]] = {
    "protect": _protect,
    "unprotect": _unprotect,
    "unlock": _unlock,
}


def _seeds(logs: Opened) -> str:
    count = len(logs.writers())
    return f"{count:,} seed{'s are' if count != 1 else ' is'}"

"""Where the command and the twistd plugin have a passphrase from.

Responsible for: a file, the environment, a credential of systemd, the terminal, in this order.
Must not know: what it is for.
Invariant: it stands on no command line, is shown by no terminal and is in no error.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any, Final, Protocol

from gossiplog.app import keyfile
from gossiplog.app.options import Option, add_all
from gossiplog.errors import InvalidValueError

VARIABLE: Final = "GOSSIPLOG_PASSPHRASE"
CREDENTIAL: Final = "passphrase"
"""The name of systemd's credential, which is a file in ``$CREDENTIALS_DIRECTORY``."""

PASSPHRASE: Final = Option(
    "--passphrase-file",
    "FILE",
    f"file with the passphrase of writers' seeds (default: ${VARIABLE}, systemd's credential {CREDENTIAL})",
    keyfile.passphrase,
    within=lambda text, directory: os.path.join(directory, text),
)
"""What it is read as is the passphrase."""


class Lockable(Protocol):
    """Keys that may wait for a passphrase."""

    @property
    def is_locked(self) -> bool:
        """Whether they do."""

    def unlock(self, passphrase: str) -> None:
        """Let them sign."""


def add_option(parser: ArgumentParser) -> None:
    """Add the option of a verb that may sign something."""
    parser.set_defaults(**{PASSPHRASE.field: None})
    add_all(parser, [PASSPHRASE])


def given(said: str | None) -> str | None:
    """Return the passphrase that was ``said`` by an option, or is in the environment or a credential."""
    if said is None:
        said = os.environ.get(VARIABLE) or None
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if said is None and directory and os.path.exists(path := os.path.join(directory, CREDENTIAL)):
        said = keyfile.passphrase(path)
    return said


def asked(prompt: str = "Passphrase", *, twice: bool = False) -> str | None:
    """Ask on the terminal, without an echo; None where nobody sits at one.

    :raises InvalidValueError: asked ``twice``, two different answers came.
    """
    if not (sys.stdin.isatty() or sys.stderr.isatty()):
        return None
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return None
    from getpass import getpass

    with suppress(EOFError):
        text = getpass(f"{prompt}: ")
        if twice and getpass(f"{prompt}, again: ") != text:
            raise InvalidValueError("these were two different passphrases; nothing was changed")
        return text
    return None


def unlock(keys: Lockable, said: str | None) -> None:
    """Let writers sign, if they wait for a passphrase and one can be had."""
    if keys.is_locked and (text := given(said) or asked()) is not None:
        keys.unlock(text)


async def unlock_store(store: Any, said: str | None) -> None:
    """Do the same for an open store."""
    if store._core.held.locked and (text := given(said) or asked()) is not None:
        await store.unlock(text)

"""What the definitions of arguments share.

Responsible for: making argparse say what a check says.
Must not know: which arguments there are.
Invariant: a check raises GossiplogError for what it does not take.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import Any, Final, Protocol

from gossiplog.errors import GossiplogError, InvalidValueError
from gossiplog.paths import typed


class AddVerb(Protocol):
    """How the command adds a verb; ``reads`` tells when it changes nothing in the store."""

    def __call__(
        self,
        name: str,
        run: Callable[[Namespace], int],
        summary: str,
        example: str,
        reads: Callable[[Namespace], bool] = ...,
    ) -> ArgumentParser: ...


def checked(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return ``check`` as the type of an argument."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except GossiplogError as error:
            raise ArgumentTypeError(str(error)) from None

    return convert


def sentence(text: str) -> str:
    """Return what the command says of an option as twistd does: a sentence."""
    return f"{text[0].upper()}{text[1:]}."


path = checked(typed)
"""The type of an argument that is a path."""

STATE: Final = (
    "with --store postgresql:///?service=NAME, which relays share: the directory of what is this one's, its key "
    "and its address book; created if it is missing"
)

WAIT_SECONDS: Final = 10.0
"""One command is through by then, also with a slow disk; who forgot a node that runs does not wait much longer."""


def read_wait(text: str) -> float:
    """Return how many seconds to wait for a store that is open elsewhere; raises InvalidValueError."""
    try:
        if 0 <= (seconds := float(text)) < 1e9:
            return seconds
    except ValueError:
        pass
    raise InvalidValueError(f"a number of seconds, not {text}")


def seconds(text: str) -> float:
    """The type of an argument that is a time."""
    number = float(text)
    if not 0 < number < 1e9:
        raise ArgumentTypeError(f"a positive number of seconds, not {text}")
    return number

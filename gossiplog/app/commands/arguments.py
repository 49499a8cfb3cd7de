"""What the definitions of arguments share.

Responsible for: making argparse say what a check says.
Must not know: which arguments there are.
Invariant: a check raises GossiplogError for what it does not take.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Collection
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


def only_with(parser: ArgumentParser, words: str, when: Callable[[Namespace], bool], *options: str) -> None:
    """Let it be wrong usage to say one of ``options`` unless ``when``, where nothing would come of it.

    ``words``: what they are for.
    """
    parser.set_defaults(uses=[*(parser.get_default("uses") or ()), (words, when, options)])


def require_used(arguments: Namespace, said: Collection[str]) -> None:
    """End with wrong usage if an option was ``said`` of which nothing would come."""
    for words, when, options in getattr(arguments, "uses", ()):
        for each in options:
            if each in said and not when(arguments):
                arguments.wrong(f"{each} is for {words}, and would do nothing here")


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

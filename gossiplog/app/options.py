"""What an option is, for a command line, for twistd and for a file alike.

Responsible for: :class:`Option`, and giving a table of them to argparse and to ``twisted.python.usage``.
Must not know: which options there are.
Invariant: an option is written once, in a table; what is wrong with a value is a GossiplogError that ``read`` raises.
"""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from gossiplog.app.commands.arguments import checked, sentence
from gossiplog.errors import GossiplogError


def _anywhere(text: str, directory: str) -> str:
    return text


class Option(NamedTuple):
    """An option: ``metavar`` is "" for a flag; ``read`` checks the value, and raises a GossiplogError.

    ``is_bare``: its value may be left out, and is behind ``=``; ``repeats``: it may be said several times; ``kind``:
    str, int or float, as a file says it; ``within`` makes a path in it one from a directory on.
    """

    name: str
    metavar: str
    about: str
    read: Callable[[str], Any] = str
    is_bare: bool = False
    repeats: bool = False
    kind: type = str
    within: Callable[[str, str], str] = _anywhere

    @property
    def key(self) -> str:
        """What it is called where there are no dashes in front."""
        return self.name.removeprefix("--")

    @property
    def field(self) -> str:
        """What it is called in a program."""
        return self.key.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        """Whether it has no value."""
        return not self.metavar


# -- argparse ------------------------------------------------------------------------------------------------------


def add_all(parser: Any, options: Iterable[Option]) -> None:
    """Add options to a parser, or a group of one; what is not said is not in its namespace."""
    for option in options:
        how: dict[str, Any] = {"dest": option.field, "default": SUPPRESS, "help": option.about}
        if option.is_flag:
            parser.add_argument(option.name, action="store_true", **how)
        else:
            action = "append" if option.repeats else "store"
            parser.add_argument(
                option.name, type=checked(option.read), action=action, metavar=option.metavar, **how
            )


# -- twistd ---------------------------------------------------------------------------------------------------------


def usage_flags(options: Iterable[Option]) -> list[list[Any]]:
    """The flags among options, as ``twisted.python.usage`` takes them."""
    return [[option.key, None, sentence(option.about)] for option in options if option.is_flag]


def usage_parameters(options: Iterable[Option]) -> list[list[Any]]:
    """Those with one value; those that are repeated are methods: :func:`usage_repeated`."""
    return [
        [option.key, None, None, sentence(option.about), option.read]
        for option in options
        if not (option.is_flag or option.repeats)
    ]


def usage_repeated(options: Iterable[Option], name: str) -> Callable[[Any, str], None]:
    """A method ``opt_...`` for an option that is repeated."""
    [option] = [option for option in options if option.name == name]

    def take(said: Any, text: str) -> None:
        from twisted.python.usage import UsageError

        try:
            said[option.key] = (*said.get(option.key, ()), option.read(text))
        except GossiplogError as error:
            raise UsageError(f"{name}: {error}") from None

    take.__doc__ = sentence(option.about)
    return take


def usage_said(options: Iterable[Option], said: Any) -> dict[str, Any]:
    """What the options of twistd say, by field; None for what they do not."""
    values = {option: said.get(option.key) for option in options}
    return {option.field: bool(value) if option.is_flag else value for option, value in values.items()}

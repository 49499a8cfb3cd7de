"""The file that says which networks a process hosts.

Responsible for: reading it, and finding all that is wrong with it at once.
Must not know: what is done about it.
Invariant: what is returned can be begun as a whole: no two networks have one store or one port.  A file that others may
change is refused, and so is one with a key in it that others may read; no key is in any error.

The keys of a network are ``store``, ``network`` and the options of ``gossiplog run``, as on its command line.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from gossiplog import limits
from gossiplog.app import finding, keyfile, run_options, watching
from gossiplog.app.hosting.lines import Key, lines_of
from gossiplog.app.hosting.ports import overlap, place_of
from gossiplog.app.options import Option
from gossiplog.app.passphrases import PASSPHRASE
from gossiplog.app.run_options import MEMORY, RunOptions
from gossiplog.app.watching import Watching
from gossiplog.errors import GossiplogError, HostFileError, InvalidValueError
from gossiplog.log.network import Network
from gossiplog.log.ticket_text import is_ticket
from gossiplog.paths import absolute
from gossiplog.store import door
from gossiplog.store.directory import DATABASE, LOCK
from gossiplog.store.folder import require_outside

if TYPE_CHECKING:
    from gossiplog.ticket import Ticket

TABLE: Final = "network"

ENVIRONMENT: Final = "$"
"""In front of the name of a variable that holds a key, as ``@`` is in front of a file's."""

OPTIONS: Final = {option.key: option for option in (*run_options.OPTIONS, *finding.OPTIONS, PASSPHRASE)}
"""Of each network."""

COMMON: Final = {option.key: option for option in (MEMORY, *watching.OPTIONS)}
"""Of the host."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_KEY: Final = re.compile(r"network_|[0-9a-fA-F]{64}\Z")
"""How a text begins, beside a ticket, that lets who reads it into a network."""

_TWICE: Final = re.compile("twice|Duplicate|mutate|redefine|overwrite")
"""In what ``tomllib`` says with names of keys, which may be anything."""

_KINDS: Final = {str: "a text", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Hosted:
    """One network: what it is called here, where its store is, how its node is run.

    ``state``: the directory of a relay, whose store is a database.
    """

    name: str
    store: str
    network: Network | Ticket
    options: RunOptions
    state: str | None = None


@dataclass(frozen=True)
class HostFile:
    """What the file at ``path`` says; ``max_memory`` is for the peers of all networks together."""

    path: str
    networks: Mapping[str, Hosted] = field(default_factory=dict)
    watching: Watching = field(default_factory=Watching)
    max_memory: int | None = None


def read(path: str) -> HostFile:
    """Read the file; raises :class:`HostFileError` with all that is wrong with it."""
    path = absolute(path)
    try:
        with open(
            os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb"
        ) as file:  # no pipe is waited for
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise HostFileError(path, [(None, "it is no file")])
            content = file.read(limits.MAX_HOST_FILE_BYTES + 1)
    except OSError as error:
        raise HostFileError(path, [(None, f"{error.strerror or error}")]) from None
    if len(content) > limits.MAX_HOST_FILE_BYTES:
        raise HostFileError(path, [(None, f"it has more than {limits.MAX_HOST_FILE_BYTES:,} bytes")])
    try:
        text = content.decode("utf-8-sig")  # as some editors write it
        said = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError says where
        line = re.search(r"at line (\d+)", str(error))
        words = "something is said twice" if _TWICE.search(str(error)) else error
        raise HostFileError(path, [(int(line[1]) if line else None, f"no TOML: {words}")]) from None
    return _Reading(path, stat.S_IMODE(mode), text).file(said)


class _Reading:
    """I read one file, and note all that is wrong."""

    def __init__(self, path: str, mode: int, text: str) -> None:
        self._path = path
        self._directory = os.path.dirname(path)
        self._is_read_by_others = bool(mode & stat.S_IROTH)
        self._text = text
        self._wrong: list[tuple[Key, str]] = []
        self._places: list[tuple[str, str, str]] = []
        self._listening: list[tuple[Key, str]] = []
        if mode & (stat.S_IWOTH | stat.S_IWGRP):
            self._complain((), f"it may be changed by other users: chmod go-w {path}")

    def file(self, said: dict[str, Any]) -> HostFile:
        networks = said.pop(TABLE, {})
        common = self._values((), said, COMMON, TABLE)
        found: dict[str, Hosted] = {}
        if not isinstance(networks, dict) or not networks:
            self._complain((TABLE,), f"each network is a table, such as [{TABLE}.garden]; there is none")
            networks = {}
        for name, about in networks.items():
            key = (TABLE, name)
            if not _is_name(name):
                words = "a name has at most 64 letters, digits, dots, dashes and underscores, and is no key"
                self._complain(key, words)
            elif not isinstance(about, dict):
                self._complain(key, f"a network is a table: [{TABLE}.{name}]")
            else:
                hosted = self._network(key, about)
                if hosted is not None:
                    found[name] = hosted
        watched = self._made((), lambda: Watching.of(common)) or Watching()
        memory = common.get(MEMORY.field)
        if memory is not None and memory < len(networks) * limits.MIN_HOSTED_BYTES:
            self._complain(
                (MEMORY.key,),
                f"for {len(networks)} networks it is at least {limits.MIN_HOSTED_BYTES} for each",
            )
        self._listening += [((name,), at) for name in ("metrics", "web") if (at := getattr(watched, name))]
        self._check_apart()
        if self._wrong:
            raise self._error()
        return HostFile(self._path, found, watched, memory)

    def _network(self, key: Key, about: dict[str, Any]) -> Hosted | None:
        faults, name = len(self._wrong), key[-1]
        store = self._needed(key, about, "store", lambda text: door.within(text, self._directory))
        network = self._needed(key, about, "network", self._key)
        state = self._needed(key, about, "state", self._directory_of) if "state" in about else None
        if state is not None:
            self._places.append((name, "state", state))
        values = self._values(key, about, OPTIONS, "store", "network", "state")
        if store is not None and door.is_in_directory(store):  # one in a database has several relays
            self._places.append((name, "store", store))
        self._listening += [((*key, "listen"), endpoint) for endpoint in values.get("listen", ())]
        options = self._made(key, lambda: RunOptions.of(values))
        if len(self._wrong) > faults or options is None:
            return None
        return Hosted(name, str(store), network, options, state)

    def _needed(self, key: Key, about: dict[str, Any], name: str, read: Any) -> Any:
        """Take what every network says."""
        value = about.pop(name, None)
        if not isinstance(value, str):
            self._complain((*key, name) if value is not None else key, f"{name} is a text, and is needed")
            return None
        return self._made((*key, name), lambda: read(value))

    def _directory_of(self, text: str) -> str:
        door.state_of(text)
        return os.path.join(self._directory, text)

    def _key(self, text: str) -> Network | Ticket:
        if text.startswith(ENVIRONMENT):
            name = text.removeprefix(ENVIRONMENT)
            if not name:
                raise InvalidValueError(f"the name of a variable follows {ENVIRONMENT}")
            if name not in os.environ:
                raise InvalidValueError(f"there is no variable {name} in the environment")
            return keyfile.network(os.environ[name])
        if self._is_read_by_others and (is_ticket(text) or _KEY.match(text)):
            raise InvalidValueError(
                f"a key is in a file that other users may read: chmod 600 {self._path}, or say @FILE"
            )
        return keyfile.network(keyfile.within(text, self._directory))

    # -- options

    def _values(
        self, key: Key, said: Mapping[str, Any], options: Mapping[str, Option], *others: str
    ) -> dict[str, Any]:
        """What is said of these options, by field."""
        found = {}
        for name, value in said.items():
            option = options.get(name)
            if option is None:
                self._complain((*key, name), f"there is no such key{_near(name, [*options, *others])}")
                continue
            taken = self._made((*key, name), lambda: self._value(option, value))  # noqa: B023 it is called here
            if taken is not None:
                found[option.field] = taken
        return found

    def _value(self, option: Option, value: Any) -> Any:
        if option.is_flag:
            if type(value) is bool:
                return value
            raise InvalidValueError("true or false")
        if option.is_bare and type(value) is bool:
            return option.read("") if value else None
        if option.repeats:
            if type(value) is list and all(type(each) is str for each in value):
                return tuple([option.read(option.within(each, self._directory)) for each in value])
            raise InvalidValueError("a list of texts")
        if type(value) is not option.kind and not (option.kind is float and type(value) is int):
            raise InvalidValueError(f"{_KINDS[option.kind]}, not {type(value).__name__}")
        return option.read(option.within(str(value), self._directory))

    # -- of several

    def _check_apart(self) -> None:
        """Note stores and ports of which there are two, and stores that are inside of others."""
        first: dict[str, tuple[str, str]] = {}
        for name, what, directory in self._places:
            known = first.setdefault(os.path.realpath(directory), (name, what))
            if known != (name, what):
                self._complain((TABLE, name, what), f"it is the {known[1]} of {TABLE}.{known[0]} too")
        for name, what, directory in self._places:
            outer = next((first[above] for above in _above(directory) if above in first), None)
            if outer is not None:
                self._complain((TABLE, name, what), f"it is inside of the {outer[1]} of {TABLE}.{outer[0]}")
            else:
                self._made((TABLE, name, what), partial(require_outside, directory, LOCK, DATABASE))
        bound = [(key, at, place) for key, at in self._listening if (place := place_of(at)) is not None]
        for (key, _, place), (second, at, there) in combinations(bound, 2):
            if overlap(place, there):
                self._complain(second, f"{at} is where {'.'.join(key)} listens too")

    # -- what is wrong

    def _made(self, key: Key, make: Any) -> Any:
        try:
            return make()
        except GossiplogError as error:
            self._complain(key, str(error))

    def _complain(self, key: Key, words: str) -> None:
        self._wrong.append((key, words))

    def _error(self) -> HostFileError:
        lines = lines_of(self._text)
        problems = [
            (lines.get(key), f"{_shown(key)}: {words}" if key else words) for key, words in self._wrong
        ]
        return HostFileError(self._path, sorted(problems, key=lambda problem: problem[0] or 0))


def _above(path: str) -> Iterator[str]:
    """Yield the directories in which a path is, the nearest first."""
    at = os.path.realpath(path)
    while (above := os.path.dirname(at)) != at:
        yield above
        at = above


def _is_name(text: str) -> bool:
    """Whether a network may be called so; what lets others in is told to nobody."""
    return bool(_NAME.fullmatch(text)) and not (is_ticket(text) or _KEY.match(text))


def _shown(key: Key) -> str:
    """Return a key for people: what may be anything, also what should stand at the right of it, as a question mark."""
    known = {TABLE, "store", "network", "state", *OPTIONS, *COMMON}
    is_shown = [
        part in known or _likely(part, [*known]) != [] or (at == 1 and key[0] == TABLE and _is_name(part))
        for at, part in enumerate(key)
    ]
    return ".".join([part if shown else "?" for part, shown in zip(key, is_shown, strict=True)])


def _likely(name: str, names: list[str]) -> list[str]:
    return get_close_matches(name.replace("_", "-").lower(), names, 1)


def _near(name: str, names: list[str]) -> str:
    found = _likely(name, names)
    return f": {found[0]}?" if found else f"; there are {', '.join(sorted(names))}"


def describe(file: HostFile) -> Iterator[str]:
    """Say what is hosted, a line for each network, without its key."""
    for hosted in file.networks.values():
        options = hosted.options
        where = f"listens on {', '.join(options.listen)}" if options.listen else "listens nowhere"
        dials = f", dials {', '.join(options.peer)}" if options.peer else ""
        is_new = door.is_in_directory(hosted.store) and not os.path.lexists(
            os.path.join(hosted.store, DATABASE)
        )
        yield f"{hosted.name}: {'new ' * is_new}store {hosted.store}, {where}{dials}"

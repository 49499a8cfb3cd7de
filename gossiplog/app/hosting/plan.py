"""What another file would change for networks that are hosted.

Responsible for: comparing two files, and saying in words what follows.
Must not know: whether anything runs, how it is changed.
Invariant: a network of which nothing is said otherwise is not touched.  What is compared are digests, which may be told
to whoever asks: no key can be found from them, but a name that can be guessed anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from gossiplog.app.hosting.file import Hosted, HostFile
from gossiplog.app.run_options import RunOptions
from gossiplog.ticket import Ticket

Digests: TypeAlias = Mapping[str, Mapping[str, str]]
"""What a file says: of each network, a digest of each thing; of the host itself under ""."""

START: Final = "start"
STOP: Final = "stop"
RESTART: Final = "restart"
CHANGE: Final = "change"

IN_PLACE: Final = frozenset({"listen", "peer", "quotas", "max_memory"})
"""What a node takes while it runs."""

_WORDS: Final = {
    START: "starts",
    STOP: "stops",
    RESTART: "starts anew, with another {what}",
    CHANGE: "goes on, with another {what}",
}


class Step(NamedTuple):
    """One network that is not to go on as it is; ``what`` of it is said otherwise."""

    name: str
    kind: str
    what: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = ", ".join(name.replace("_", "-") for name in self.what)
        return f"{self.name or 'the host'}: {_WORDS[self.kind].format(what=what)}"


def digests(file: HostFile, *, told: bool = False) -> dict[str, dict[str, str]]:
    """Return what a file says, to be compared; without passphrases, which can be guessed, for what is ``told``."""
    host = {"watching": _digest(file.watching), "max_memory": _digest(file.max_memory)}
    return {"": host, **{name: _digests(hosted, told) for name, hosted in file.networks.items()}}


def _digests(hosted: Hosted, told: bool) -> dict[str, str]:
    ticket = Ticket.of(hosted.network)
    names = [field.name for field in fields(RunOptions) if not (told and field.name == "passphrase")]
    options = {name: _digest(getattr(hosted.options, name)) for name in names}
    return {
        "store": _digest((hosted.store, hosted.state)),
        "network": _digest((ticket.network.discovery_id, ticket.addresses)),
        **options,
    }


def _digest(value: object) -> str:
    return sha256(repr(value).encode(errors="surrogateescape")).hexdigest()[:16]


def steps(before: Digests, after: Digests) -> Iterator[Step]:
    """Yield what changes, those that stop first."""
    for name in sorted(before.keys() - after.keys()):
        yield Step(name, STOP)
    for name in sorted(before.keys() & after.keys()):
        what = tuple(key for key in after[name] if before[name].get(key) != after[name][key])
        if what:
            kind = CHANGE if not name or IN_PLACE.issuperset(what) else RESTART
            yield Step(name, kind, what)
    for name in sorted(after.keys() - before.keys()):
        yield Step(name, START)

"""Seeds and a node key in memory.

Responsible for: what :class:`gossiplog.store.interface.Secrets` says, for as long as the process lives.
Must not know: rows.
Invariant: a seed is never written over but on purpose.
"""

from __future__ import annotations

from typing import Final

from gossiplog.errors import InvalidValueError
from gossiplog.log.kept_key import check_kept
from gossiplog.store.names import check_writer_name

_SECRET_BYTES: Final = 32


class MemorySecrets:
    """I keep secrets in memory."""

    def __init__(self) -> None:
        self._seeds: dict[str, bytes] = {}
        self._node_key: bytes | None = None

    def copy(self) -> MemorySecrets:
        """Return others that begin with the same."""
        copy = MemorySecrets()
        copy._seeds = dict(self._seeds)
        copy._node_key = self._node_key
        return copy

    def seed(self, name: str) -> bytes | None:
        """Return a writer's seed."""
        return self._seeds.get(check_writer_name(name))

    def seed_names(self) -> list[str]:
        """Return the names of all writers, sorted."""
        return sorted(self._seeds)

    def create_seed(self, name: str, seed: bytes) -> None:
        """Keep a new writer's seed."""
        if check_writer_name(name) in self._seeds:
            raise InvalidValueError(f"the writer {name!r} exists already")
        self._seeds[name] = check_kept(seed)

    def replace_seed(self, name: str, seed: bytes) -> None:
        """Keep a writer's seed in another form."""
        if check_writer_name(name) not in self._seeds:
            raise InvalidValueError(f"there is no writer {name!r}")
        self._seeds[name] = check_kept(seed)

    def node_key(self) -> bytes | None:
        """Return the node's secret."""
        return self._node_key

    def create_node_key(self, secret: bytes) -> None:
        """Keep the node's secret."""
        if self._node_key is not None:
            raise InvalidValueError("the node has a key already")
        self._node_key = _secret(secret)

    def replace_node_key(self, secret: bytes) -> None:
        """Keep another secret for the node."""
        self._node_key = _secret(secret)


def _secret(secret: bytes) -> bytes:
    if type(secret) is not bytes or len(secret) != _SECRET_BYTES:
        raise InvalidValueError(f"a secret is {_SECRET_BYTES} bytes")
    return secret

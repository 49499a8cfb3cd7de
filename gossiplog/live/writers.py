"""The writers of an open store, as an application has them.

Responsible for: :class:`Writers`.
Must not know: how a writer appends, or what signs for it.
Invariant: one name with one encoding is one object.
"""

from __future__ import annotations

from gossiplog.live.core import StoreCore
from gossiplog.live.results import Result, deliver
from gossiplog.live.writer import Writer
from gossiplog.log.encodings import encoding as find_encoding
from gossiplog.log.kept_key import ForeignKey
from gossiplog.log.keys import HeadSigner
from gossiplog.store.logs import Logs
from gossiplog.store.names import check_writer_name


class Writers:
    """I make the writers of one store, and know them again."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._made: dict[tuple[str, str], Writer] = {}

    def find(self, name: str, encoding: str) -> Result[Writer]:
        """Return the writer ``name``, its key pair made the first time."""
        chosen = find_encoding(encoding)
        key = (check_writer_name(name), chosen.name)
        self._core.check_open()
        result: Result[Writer] = Result(lambda _: None, self._core.reactor)
        if key in self._made:
            result.callback(self._made[key])
            return result

        def read(signer: HeadSigner) -> Writer:
            return self._made.setdefault(key, Writer(self._core, name, signer.author, chosen))

        def made(value: HeadSigner | BaseException) -> None:
            if not isinstance(value, BaseException):
                self._core.held.joined(value.author)
                self._core.interest.joined(value.author)
            deliver(result, value, read)

        self._core.thread.call(lambda logs: logs.writer(name), made)
        return result

    def add(self, author: bytes, name: str) -> Result[None]:
        """Take a writer whose key somebody else keeps."""

        def take(logs: Logs) -> str:
            logs.import_key(name, ForeignKey(author))
            return logs.copied

        def taken(copied: str) -> None:
            self._core.front.copied = copied
            self._core.held.joined(author)
            self._core.interest.joined(author)

        return self._core.run(take).addCallback(taken)  # type: ignore[return-value]

"""One connection to a database, that comes back when it was lost.

Responsible for: connecting, asking again what can be asked twice, saying what an error of the database means to us.
Must not know: tables.
Invariant: a password is in no place that a command line or a log shows; a COMMIT is never cancelled, and never sent
twice.  While whoever tries again finds nobody, nobody else waits for an answer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from gossiplog.errors import (
    InvalidValueError,
    LostRaceError,
    MissingExtraError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)

try:
    import psycopg
    from psycopg import errors as sqlstate
    from psycopg import waiting
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import Conninfo, TransactionStatus
except ImportError as error:
    raise MissingExtraError(
        "a store on PostgreSQL needs psycopg: pip install 'gossiplog[postgres]'"
    ) from error

CONNECT_SECONDS: Final = 3
"""For a connection; the hosts of a service are tried one after the other, each for so long."""


_PATIENCE: Final = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""A host that is gone without a word is noticed in so many seconds, whatever waits for it; unless
the connection string says otherwise (a service file cannot)."""


_ANSWER_SECONDS: Final = 30.0
"""Without a word from the database while it is to answer, even where the network says that all was delivered: a commit
that waits for a standby that is gone, a proxy that stands still.  Then the connection is given up, not the COMMIT."""

_LOCK_SECONDS: Final = 5.0
"""For a lock that somebody else holds: a relay holds one for milliseconds, an operator's session for hours."""

_IDLE_SECONDS: Final = 10.0
"""Between two statements of a transaction of ours: the database ends it for a relay that stands still, and gives others
the heads that it holds."""


_ELSEWHERE: Final = (
    psycopg.OperationalError,
    sqlstate.IdleInTransactionSessionTimeout,
    sqlstate.ReadOnlySqlTransaction,  # a standby: the primary is another host now
)

_NO_USE: Final = (sqlstate.LockNotAvailable,)
"""Asking again at once would only wait once more."""


def _session() -> str:
    """Return what our statements count on, whatever an administrator made the default of a role or a database."""
    return (
        f"SET lock_timeout = {1000 * _LOCK_SECONDS:.0f}; "
        f"SET idle_in_transaction_session_timeout = {1000 * _IDLE_SECONDS:.0f}; "
        "SET statement_timeout = 0; "  # reading all heads takes long; silence is bounded here
        "SET default_transaction_isolation = 'read committed'; "
        "SET default_transaction_deferrable = off; SET standard_conforming_strings = on"
    )


class _Bounded(psycopg.Connection[Any]):
    """I wait for an answer for so long and no longer, and never cancel what was asked, whoever presses Ctrl-C: a COMMIT
    that is cancelled while it waits for a standby is done, on the primary alone."""

    patience = _ANSWER_SECONDS

    def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
        """Do what is to be done with the connection."""
        bounded = _bounded(gen, self.patience)
        return waiting.wait(bounded, self.pgconn.socket, interval=self.patience / _LOOKS)


_LOOKS: Final = 4
"""How often a connection is looked at before it is given up."""


def _bounded(gen: Generator[Any, Any, Any], patience: float) -> Generator[Any, Any, Any]:
    asked = next(gen)
    silent = 0
    while True:
        ready = yield asked
        silent = 0 if ready else silent + 1
        if silent == _LOOKS:
            raise psycopg.OperationalError(f"no answer in {patience:g} seconds")
        try:
            asked = gen.send(ready)
        except StopIteration as end:
            return end.value


class Reach:
    """I say to all connections to one database, for a relay that tries again and again, that it was in vain."""

    lost: StoreUnreachableError | None = None


class Connection:
    """I ask one database.  ``path`` is what it is called in errors."""

    def __init__(self, conninfo: str, path: str, reach: Reach | None = None, *, to_any: bool = False) -> None:
        """Connect to the primary, or ``to_any`` server: a standby that is behind looks like a database that went back.

        :class:`StoreUnreachableError` if that is not possible now, or ``reach`` says so.
        """
        self.path = path
        self._conninfo = conninfo
        self._reach = reach
        self._to_any = to_any
        self._closed = False
        self._connection = self._connect()

    def _connect(self) -> psycopg.Connection[Any]:
        if self._reach is not None and self._reach.lost is not None:
            raise StoreUnreachableError(str(self._reach.lost))
        said = conninfo_to_dict(self._conninfo)
        options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, **_PATIENCE, **said}
        options["client_encoding"] = "UTF8"  # else text of a database in SQL_ASCII is bytes
        if not self._to_any:
            options["target_session_attrs"] = "read-write"
        try:
            connection = _Bounded.connect(**options, autocommit=True)
            connection.patience = _ANSWER_SECONDS
            connection.execute(_session())
        except psycopg.Error as error:
            raise self.unreachable(error) from error
        connection.prepare_threshold = 1
        return connection

    def unreachable(self, error: Exception) -> StoreUnreachableError:
        """Return what is said of a database that does not answer."""
        return StoreUnreachableError(f"{self.path} cannot be reached: {' '.join(str(error).split())}")

    def _meaning(self, error: psycopg.Error) -> StoreError:
        """Return what an error says of the store, nothing of which was done; the connection is given up if need be."""
        if isinstance(error, sqlstate.DiskFull):
            self._roll_back()
            return StoreFullError(f"{self.path}: no space left; nothing was written")
        if isinstance(error, _ELSEWHERE) or self._connection.closed:
            self.drop()
            return self.unreachable(error)
        self._roll_back()
        if isinstance(error, sqlstate.InsufficientPrivilege):
            return StoreError(
                f"{self.path}: {error.diag.message_primary}; the tables are made and changed by a role that may CREATE "
                "there, and a relay's has SELECT, INSERT, UPDATE and DELETE on them"
            )
        return StoreError(f"{self.path}: {' '.join(str(error).split())}")

    @property
    def raw(self) -> psycopg.Connection[Any]:
        """The connection itself, a new one where that was lost."""
        self.require_open()
        if self._connection.closed or self._connection.info.transaction_status is not TransactionStatus.IDLE:
            self.drop()
            self._connection = self._connect()
        return self._connection

    @contextmanager
    def itself(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection itself, of which errors are ours."""
        try:
            yield self.raw
        except psycopg.Error as error:
            raise self._meaning(error) from error

    def ask(self, question: str, parameters: Sequence[object] = ()) -> list[Any]:
        """Return the rows of a question that changes nothing; it is asked again on a new connection."""
        for is_last in (False, True):
            try:
                with self.raw.cursor(binary=True) as cursor:
                    return cursor.execute(question, parameters).fetchall()
            except psycopg.Error as error:
                meant = self._meaning(error)
                if is_last or not isinstance(meant, StoreUnreachableError) or isinstance(error, _NO_USE):
                    raise meant from error
        raise AssertionError

    def do(self, statement: str, parameters: Sequence[object]) -> int:
        """Change what can be changed twice, and nobody is told of; return how many rows."""
        with self.transaction() as cursor:
            return cursor.execute(statement, parameters).rowcount

    @contextmanager
    def transaction(
        self, authors: Sequence[bytes] = (), keys: Sequence[str] = ()
    ) -> Iterator[psycopg.Cursor[Any]]:
        """A transaction: it is done when the block ends, and leaves nothing when that raises.

        :raises LostRaceError: of ``authors`` and the values ``keys``: it is not known whether it was done, or others
            were in its way.
        :raises StoreUnreachableError: it was not done.
        """
        connection = self._begun()
        try:
            with connection.cursor(binary=True) as cursor:
                yield cursor
        except (sqlstate.DeadlockDetected, sqlstate.SerializationFailure) as error:
            self._roll_back()
            raise LostRaceError(tuple(authors), tuple(keys)) from error
        except psycopg.Error as error:
            raise self._meaning(error) from error
        except BaseException:
            self._roll_back()
            raise
        try:
            connection.execute("COMMIT", prepare=False)
        except psycopg.Error as error:
            self.drop()
            raise LostRaceError(tuple(authors), tuple(keys)) from error
        except BaseException:  # Ctrl-C: the database may be doing it
            self.drop()
            raise

    def _begun(self) -> psycopg.Connection[Any]:
        """Return a connection in a transaction, of which nothing is done yet: that is asked for again too."""
        for is_last in (False, True):
            try:
                connection = self.raw
                connection.execute("BEGIN")
            except psycopg.OperationalError as error:
                self.drop()
                if is_last:
                    raise self.unreachable(error) from error
            else:
                return connection
        raise AssertionError

    def _roll_back(self) -> None:
        if self._connection.info.transaction_status is TransactionStatus.IDLE:
            return
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self.drop()

    def require_open(self) -> None:
        """Raise :class:`StoreClosedError` after :meth:`close`."""
        if self._closed:
            raise StoreClosedError(f"store {self.path} is closed")

    def drop(self) -> None:
        """Give this connection up; the next question opens another one."""
        with suppress(psycopg.Error, OSError):
            self._connection.close()

    def close(self) -> None:
        """Ask nothing any more."""
        if not self._closed:
            self._closed = True
            self.drop()


def named(place: str) -> str:
    """Return how a database is called: what connects to it, without what nobody is to read.

    :raises InvalidValueError: it is no connection string, or has a password in it.
    """
    why: str | None = None
    try:
        said = conninfo_to_dict(place)
        shown = {
            option.keyword.decode()
            for option in Conninfo.parse(place.encode(errors="surrogateescape"))
            if option.dispchar != b"*"
        }
    except psycopg.Error as error:
        why = "" if "@" in place or "pass" in place else f": {error}"  # which shows pieces of it
    if why is not None:
        raise InvalidValueError(
            f"not a PostgreSQL connection string, such as postgresql:///?service=relays{why}"
        )
    if said.keys() - shown:
        raise InvalidValueError(
            "a password is not given here, where others can read it: put it into ~/.pgpass (PGPASSFILE), or all of it "
            "into a service file, ~/.pg_service.conf (PGSERVICEFILE), of which the name is said: "
            "postgresql:///?service=relays"
        )
    return " ".join(f"{name}={value}" for name, value in said.items()) or "the default database"

"""The logs of a store that a node has, for who would have opened them otherwise.

Responsible for: the interface of :class:`gossiplog.store.logs.Logs`, as far as others than a node use it, over a
control socket.
Must not know: reactors; how the node does what is asked.
Invariant: no secret comes over the socket, and nothing is signed on this side.  What is said to be written is on the
node's disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from gossiplog import limits
from gossiplog.control.keys import NodeKeys
from gossiplog.control.line import Line, OnProgress
from gossiplog.control.messages import (
    content,
    content_of,
    error_of,
    key_of,
    pairs_of,
    segment_of,
)
from gossiplog.control.node_clock import NodeClock
from gossiplog.control.outcomes import (
    backed_up_of,
    compacted_of,
    damage_of,
    imported_of,
    quotas,
    report_of,
)
from gossiplog.errors import (
    AppendOutcomeUnknown,
    BadExportError,
    ControlError,
    GossiplogError,
    NetworkMismatchError,
    NodeGoneError,
    PayloadTooLargeError,
    StoreInUseError,
)
from gossiplog.gossip.quotas import Quotas
from gossiplog.log.clock import Clock
from gossiplog.log.cursor import Cursor
from gossiplog.log.fork import ForkProof, decode_proof, encode_proof
from gossiplog.log.keys import format_author
from gossiplog.log.network import Network
from gossiplog.log.segment import Head, Segment, Unfolded, unfold
from gossiplog.store.logs import NETWORK
from gossiplog.store.reading_around import Stretch
from gossiplog.store.repair.verify import Damage, VerifyReport
from gossiplog.store.requests import AddFork, Append, Appended, CommitReport, Done, Reply, Request, SetCursor

if TYPE_CHECKING:  # most verbs need none of them
    from gossiplog.live.backing_up import BackedUp
    from gossiplog.live.compacting import Compacted
    from gossiplog.live.importing import Imported
    from gossiplog.views.search import Hit

_ABOUT_AUTHOR: Final = ("entries", "bytes", "local", "forked", "blocked", "over_quota")


class Known(NamedTuple):
    """A local author, of which the node has the key."""

    author: bytes


class NodeLogs:
    """I am the logs of a store as the node that has it shows them."""

    disk: str | None = None
    directory: str | None = None
    shared: None = None
    begins: None = None  # what others write there is the node's to hear

    def __init__(self, line: Line, news: Line | None = None, views: str | None = None) -> None:
        """``line`` is mine from now on; so is ``news``, on which somebody else hears what is new.

        ``views`` is a directory for what is derived, without which it is in memory.
        """
        self.line = line
        self._views = views
        self._news = news
        self.vouching = _Rows(line)
        self.weighing = _NoWeighing()

    @property
    def path(self) -> str:
        """Where the store is."""
        return self.line.path

    def require_network(self, network: Network) -> None:
        """Raise :class:`NetworkMismatchError` if the node is in another network."""
        if self.line.about.get("network") != network.discovery_id.hex():
            raise NetworkMismatchError(f"the node that has store {self.path} is in another network")

    def own_place(self) -> tuple[str, bytes] | None:
        """Nothing is kept beside the logs by who does not have the store, but where that was said."""
        return None if self._views is None else (self._views, b"")

    @cached_property
    def _about(self) -> dict[str, Any]:
        about: dict[str, Any] = self.line.ask("store")
        return about

    @property
    def copied(self) -> str:
        """Why the store may be a copy of one that is in use elsewhere, ``""`` if it is not."""
        return str(self._about["copied"])

    @cached_property
    def damages(self) -> list[Damage]:
        """What was found to be damaged when the node opened the store."""
        return [damage_of(each) for each in self._about["damages"]]

    @cached_property
    def forks(self) -> set[bytes]:
        """The authors whose logs are known as forked."""
        return {key_of(each) for each in self._about["forks"]}

    @cached_property
    def clock(self) -> Clock | NodeClock:
        """How far each log is on the node's disk, as of when it was asked for, or of the last news; where the node does
        not have all of that in memory, as of now."""
        there = NodeClock(self.line)
        return there if self.line.about.get("paged") else Clock(there.range())

    def status(self, *, authors: bool = False) -> dict[str, Any]:
        """Return how the node is, as its :meth:`gossiplog.Node.status` in JSON."""
        said: dict[str, Any] = self.line.ask("status")
        said["authors"] = [_author(*each) for each in self._authors()] if authors else []
        return said

    def _authors(self) -> Iterator[list[Any]]:
        after = None
        while True:
            page = self.line.ask("authors", after=after)
            yield from page
            if len(page) < limits.CONTROL_PAGE:
                return
            after = page[-1][0]

    # -- writers and keys

    @property
    def local(self) -> set[bytes]:
        """The authors that write here."""
        return set(self.writers().values())

    def writers(self) -> dict[str, bytes]:
        """Return the authors that write here, by name."""
        return {name: key_of(author) for name, author in self.line.ask("writers").items()}

    def writer(self, name: str) -> Known:
        """Return the writer ``name``, created (and durable) if there is none."""
        return Known(key_of(self.line.ask("writer", name=name)))

    @property
    def keys(self) -> NodeKeys:
        """The keys of the writers, which stay where they are."""
        return NodeKeys(self.line)

    def node_id(self) -> bytes:
        """Return the id of the node."""
        return key_of(self.line.about["node"])

    def recovered(self) -> None:
        """Let every writer append again, in a copy."""
        self.line.ask("recovered")

    # -- requests

    def process(self, requests: Sequence[Request]) -> CommitReport:
        """Do what may be asked of a node; what it cannot do has an exception as its result."""
        try:
            answer = self.line.ask("write", requests=[self._said(each) for each in requests])
        except ControlError as error:
            if type(error) is ControlError and "too long" in str(error):
                raise PayloadTooLargeError(f"{error}, in less entries") from None
            if isinstance(error, NodeGoneError) and not error.nothing_done:
                raise AppendOutcomeUnknown(f"{error}; what was to be written may be there or not") from error
            raise
        results = [_reply(each) for each in answer["results"]]
        return self.report(results, answer["heads"], forked=answer["forked"])

    def _said(self, request: Request) -> dict[str, Any]:
        match request:
            case Append(author, bodies):
                return {"append": author.hex(), "bodies": [content(body) for body in bodies]}
            case AddFork(proof):
                return {"fork": content(encode_proof(proof))}
            case SetCursor(name, cursor):
                return {"cursor": name, "is": None if cursor is None else content(cursor.dump())}
            case _:
                raise self._in_use(type(request).__name__)

    def report(
        self,
        results: list[Reply],
        heads: Sequence[Any],
        forgotten: Sequence[str] = (),
        forked: Sequence[str] = (),
    ) -> CommitReport:
        """Return what is told of a commit of the node, which my clock follows.

        Its segments have no bodies: they only say what there is to be read.
        """
        gone = tuple(key_of(each) for each in forgotten)
        clock = self.clock if isinstance(self.clock, Clock) else None
        for author in gone:
            if clock is not None:
                clock.discard(author)
            self.forks.discard(author)
        moved: dict[bytes, Head] = {}
        before: dict[bytes, Head | None] = {}
        segments = []
        for each, seq, id_, *from_seq in heads:
            author, head = key_of(each), Head(seq, key_of(id_))
            held = clock.seq(author) if clock is not None else from_seq[0]
            if head.seq > held:
                segments.append(Segment(author, held + 1, head.seq - held, b"", b"", b""))
                moved[author] = head
                before[author] = Head(held, b"") if held else None
                if clock is not None:
                    clock.set(author, head)
        self.forks.update(new := [key_of(each) for each in forked])
        return CommitReport(results, segments, moved, gone, forked=tuple(new), before=before)

    def choose(
        self, change: str, authors: Sequence[bytes], *, only: bool | None = None, delete: bool = False
    ) -> None:
        """Change which authors are wanted, as the method ``change`` of a node does."""
        said = [author.hex() for author in authors]
        self.line.ask("interest", change=change, authors=said, only=only, delete=delete)

    # -- reading

    def around(
        self, author: bytes, first: int, limit_bytes: int, last: int | None = None, *, reverse: bool = False
    ) -> Stretch:
        """Return rows from the next place on that can be read, and what was passed over."""
        said: dict[str, Any] = {
            "author": author.hex(),
            "first": first,
            "bytes": limit_bytes,
            "last": last,
            "reverse": reverse,
        }
        return _stretch(self.line.ask("rows", **said))

    def segments(self, author: bytes, first: int, limit_bytes: int, last: int | None = None) -> list[Segment]:
        """Return stored neighbours from the one that contains ``first`` on."""
        said: dict[str, Any] = {"author": author.hex(), "first": first, "bytes": limit_bytes, "last": last}
        return [segment_of(each) for each in self.line.ask("segments", **said)]

    def fork_proof(self, author: bytes) -> ForkProof:
        """Return the proof that ``author`` has forked its log."""
        return decode_proof(content_of(self.line.ask("fork", author=author.hex())))

    def holes(self) -> dict[bytes, int]:
        """Return how many entries of each author lack their payload."""
        return pairs_of(self.line.ask("holes"))

    def meta(self, key: str) -> bytes | None:
        """Return a value of the store itself."""
        if key == NETWORK:
            return key_of(self.line.about["network"])
        found = self.line.ask("meta", key=key)
        return None if found is None else content_of(found)

    def cursor(self, name: str) -> Cursor:
        """Return a reader's cursor, empty if there is none."""
        return Cursor.load(content_of(self.line.ask("cursor", name=name)))

    def verify(self, progress: OnProgress | None = None) -> VerifyReport:
        """Check every chain, signature and head against the disk, in the node."""
        return report_of(self.line.ask("verify", progress=progress))

    # -- what the node does itself

    is_of_node = True

    def find(self, text: str, limit: int, order: str) -> Iterator[Hit]:
        """Yield entries by their words, as the index of the command in the node has them."""
        from gossiplog.views.search import Hit

        for offset in range(0, limit, limits.CONTROL_HITS):
            some = min(limit - offset, limits.CONTROL_HITS)
            page = self.line.ask("search", text=text, limit=some, offset=offset, order=order)
            yield from (Hit(key_of(author), *about) for author, *about in page)
            if len(page) < some:
                return

    def backup(self, target: str, seeds: bool, check: bool) -> BackedUp:
        """Let the node back the store up."""
        return backed_up_of(self.line.ask("backup", target=target, seeds=seeds, check=check))

    def compact(self) -> Compacted:
        """Let the node compact the store."""
        return compacted_of(self.line.ask("compact"))

    def import_(self, pieces: Iterable[bytes], bounds: Quotas) -> Imported:
        """Send an export to the node, as it comes.

        :raises BadExportError: with what was ``taken``.
        """
        said = quotas(bounds)
        for piece in chain(pieces, [b""]):
            answer = self.line.ask("import", data=content(piece), quotas=said)
            if answer is not None:
                break
        done, wrong = imported_of(answer)
        if wrong is not None:
            if isinstance(wrong, BadExportError):
                wrong.taken = done
            raise wrong
        return done

    # -- what only who has the store does

    def merge_some(self, limit_bytes: int) -> bool:
        """The node does that."""
        return False

    def reclaim(self, thorough: bool = False) -> bool:
        """The node does that."""
        return False

    def import_key(self, *_: object) -> NoReturn:
        """Not under a node, which would not ask peers for what they have first."""
        raise StoreInUseError(f"stop the node before a writer of elsewhere comes to store {self.path}")

    def repair(self, *_: object) -> NoReturn:
        """Not under a node: the clock goes back."""
        raise StoreInUseError(f"stop the node before store {self.path} is repaired")

    def bind_network(self, discovery_id: bytes) -> NoReturn:
        """A store has one node."""
        raise self._in_use("a node")

    def _in_use(self, what: str) -> GossiplogError:
        return StoreInUseError(
            f"a node has store {self.path} open, and does not do this for others ({what}): stop it"
        )

    def close(self) -> None:
        """Hang up."""
        self.line.close()
        if self._news is not None:
            self._news.close()


class _Rows:
    """I am the rows of a store at a node, for an index."""

    def __init__(self, line: Line) -> None:
        self._line = line

    unfold: Callable[[Segment], Unfolded] = staticmethod(unfold)

    def unchecked(self, author: bytes, first: int, limit_bytes: int, last: int) -> Stretch:
        """Return rows that nobody is shown."""
        said: dict[str, Any] = {
            "author": author.hex(),
            "first": first,
            "bytes": limit_bytes,
            "last": last,
            "unchecked": True,
        }
        return _stretch(self._line.ask("rows", **said))


class _NoWeighing:
    """The node weighs."""

    def settled(self) -> None:
        """Nothing new."""


def _author(author: str, *about: Any) -> dict[str, Any]:
    return {"author": format_author(key_of(author)), **dict(zip(_ABOUT_AUTHOR, about, strict=True))}


def _stretch(said: Any) -> Stretch:
    return Stretch(
        [segment_of(each) for each in said["segments"]], said["damage"] and damage_of(said["damage"])
    )


def _reply(said: Any) -> Reply:
    if "error" in said:
        return error_of(said)
    return Appended(said["first"], said["last"]) if "first" in said else Done()

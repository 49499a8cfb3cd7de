"""What may be asked over a control socket, and what is answered.

Responsible for: each request by its name: doing it with the store, or with the node on it, as a program within the
process would.
Must not know: sockets, lines; who asks.
Invariant: what is done is what the method of :class:`gossiplog.Store` or :class:`gossiplog.Node` does, with its errors.
No seed, no node key and no network key is in any answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from math import inf
from typing import Any, Final

from twisted.internet.defer import DeferredList

from gossiplog import limits
from gossiplog.control import meeting, moving, searching
from gossiplog.control.desk import Answer, Asker, Desk
from gossiplog.control.messages import Asked, content, failure, pairs, row
from gossiplog.control.outcomes import damage, report
from gossiplog.errors import (
    ControlError,
    GossiplogError,
    InvalidValueError,
    MalformedBodyError,
    StoreInUseError,
)
from gossiplog.gossip.interest import KEPT_AS
from gossiplog.live.machine import wall_ms
from gossiplog.live.results import Result
from gossiplog.log.body import decode_body, encode_bodies
from gossiplog.log.clock_view import HeadView, whole
from gossiplog.log.cursor import Cursor
from gossiplog.log.disk_cost import whole_weights
from gossiplog.log.fork import decode_proof, encode_proof
from gossiplog.log.segment import Head
from gossiplog.net.bans import OPERATOR
from gossiplog.status import authors_of
from gossiplog.store.directory import DRAFT
from gossiplog.store.logs import Logs
from gossiplog.store.reading_around import Stretch
from gossiplog.store.requests import SetCursor
from gossiplog.views.states import drop, put, states_of

PROGRESS_SECONDS: Final = 0.2
ROWS_BYTES: Final = 1 << 20
"""Read for one answer at most, and a row more."""


# -- the store -----------------------------------------------------------------------------------------------------


def _store(desk: Desk, asked: Asked, asker: Asker) -> Any:
    def told(keys: tuple[bool, bool, int]) -> Any:
        return {
            "copied": desk.store.copied,
            "locked": keys[0],
            "protected": keys[1],
            "seeds": keys[2],
            "damages": [damage(each) for each in desk.store.damage.known],
            "forks": [author.hex() for author in desk.store.forks],
        }

    asked_for = desk.core.run(
        lambda logs: (logs.keys.is_locked, logs.keys.is_protected, logs.keys.seed_count)
    )
    return asked_for.addCallback(told)


def _clock(desk: Desk, asked: Asked, asker: Asker) -> Any:
    begin = asked.content("from") if "from" in asked else b""
    end = asked.content("below") if "below" in asked else b""

    def told(found: Iterable[tuple[bytes, Head]]) -> list[Any]:
        return [[author.hex(), head.seq, head.id.hex()] for author, head in found]

    clock = whole(desk.core.clock)
    if clock is not None:
        return told(_page(clock, begin, end))
    return desk.core.run(lambda logs: _page(logs.clock, begin, end)).addCallback(told)


def _page(clock: HeadView, begin: bytes, end: bytes = b"") -> list[tuple[bytes, Head]]:
    return [*islice(clock.range(begin, end), limits.CONTROL_PAGE)]


def _writers(desk: Desk, asked: Asked, asker: Asker) -> Any:
    told = desk.store.writers()
    return told.addCallback(lambda found: {name: author.hex() for name, author in found.items()})


def _writer(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.store.writer(asked.text("name")).addCallback(lambda writer: writer.author.hex())


def _unlock(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.store.unlock(asked.text("passphrase"))


def _protect(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.store.protect(asked.value("passphrase", str, None), old=asked.value("old", str, None))


def _recovered(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.store.recovered()


def _write(desk: Desk, asked: Asked, asker: Asker) -> Any:
    """Do several things, in one commit if they come at once; each has its own result."""
    requests = asked.parts("requests")
    authors: dict[bytes, None] = {}
    before = set(desk.core.forks)
    waits = [_begin(desk, each, authors) for each in requests]

    def done(results: list[tuple[bool, Any]]) -> Any:
        local = [author for author in authors if author in desk.core.local]
        heads = [(author, desk.core.clock.head(author)) for author in local]
        return {
            "results": [value if fine else failure(value.value) for fine, value in results],
            "heads": [[author.hex(), head.seq, head.id.hex()] for author, head in heads if head is not None],
            "forked": [author.hex() for author in desk.core.forks - before],
        }

    return DeferredList(waits, consumeErrors=True).addCallback(done)


def _begin(desk: Desk, asked: Asked, authors: dict[bytes, None]) -> Result[Any]:
    try:
        if "append" in asked:
            author = asked.key("append")
            authors[author] = None
            return desk.core.append(author, _bodies(desk, asked)).addCallback(  # type: ignore[return-value]
                lambda seqs: {"first": seqs.start, "last": seqs.stop - 1}
            )
        if "fork" in asked:
            done: Result[Any] = desk.store.add_fork(decode_proof(asked.content("fork")))
        else:
            cursor = Cursor.load(asked.content("is")) if "is" in asked else None
            done = desk.core.set(SetCursor(asked.text("cursor"), cursor))
        return done.addCallback(lambda _: {})  # type: ignore[return-value]
    except GossiplogError:
        failed: Result[Any] = Result(reactor=desk.store.reactor)
        failed.errback()
        return failed


def _bodies(desk: Desk, asked: Asked) -> list[bytes]:
    if "payloads" in asked:
        return encode_bodies(wall_ms(desk.store.reactor), asked.contents("payloads"))
    bodies = asked.contents("bodies")
    for body in bodies:
        try:
            decode_body(body)
        except MalformedBodyError as error:
            raise InvalidValueError(f"nothing is signed that is no body: {error}") from None
    return bodies


# -- reading -------------------------------------------------------------------------------------------------------


def _rows(desk: Desk, asked: Asked, asker: Asker) -> Any:
    author, first = asked.key("author"), asked.number("first")
    size, last = min(asked.number("bytes"), ROWS_BYTES), asked.number("last", None)
    unchecked, reverse = asked.flag("unchecked"), asked.flag("reverse")

    def read(logs: Any) -> Stretch:
        if unchecked:
            stretch: Stretch = logs.vouching.unchecked(author, first, size, last)
            return stretch
        around: Stretch = logs.around(author, first, size, last, reverse=reverse)
        return around

    def told(stretch: Stretch) -> Any:
        found = None if stretch.damage is None else damage(stretch.damage)
        return {"segments": [row(each) for each in stretch.segments], "damage": found}

    return desk.core.run(read).addCallback(told)


def _segments(desk: Desk, asked: Asked, asker: Asker) -> Any:
    about = asked.key("author"), asked.number("first"), min(asked.number("bytes"), ROWS_BYTES)
    last = asked.number("last", None)
    found = desk.core.run(lambda logs: logs.segments(*about, last))
    return found.addCallback(lambda segments: [row(each) for each in segments])


def _fork(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.store.fork_proof(asked.key("author")).addCallback(lambda proof: content(encode_proof(proof)))


def _holes(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.store.holes().addCallback(pairs)


def _meta(desk: Desk, asked: Asked, asker: Asker) -> Any:
    """What the store keeps of its own: only which authors are wanted."""
    if asked.text("key") != KEPT_AS:
        raise ControlError("that is not for others")
    return content(desk.store.interest.choices.dump())


def _cursor(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.store.cursor(asked.text("name")).addCallback(lambda cursor: content(cursor.dump()))


def _verify(desk: Desk, asked: Asked, asker: Asker) -> Any:
    shown_at = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at > PROGRESS_SECONDS or done >= total:
            shown_at = now
            desk.store.reactor.callFromThread(asker.progress, done, total)

    return desk.core.run(lambda logs: logs.verify(progress)).addCallback(report)


def _watch(desk: Desk, asked: Asked, asker: Asker) -> Any:
    asker.watch()


def _views(desk: Desk, asked: Asked, asker: Asker) -> Any:
    known = desk.core.clock.total()
    return desk.core.derive(lambda place: [[*state] for state in states_of(place, known)])


def _drop_view(desk: Desk, asked: Asked, asker: Asker) -> Any:
    name = _closed_view(desk, asked)
    return desk.core.derive(lambda place: drop(place, name))


def _put_view(desk: Desk, asked: Asked, asker: Asker) -> Any:
    """Put what was built beside in the place of a view; without ``draft`` only say whether that may be."""
    name, version = _closed_view(desk, asked), asked.number("version")
    draft = asked.text("draft", "")
    if not draft:
        return None
    if os.sep in draft or not draft.startswith(DRAFT):
        raise ControlError(f"a view is built in a directory {DRAFT}... of the store")
    return desk.core.derive(lambda place: put(place, os.path.join(desk.store.path, draft), name, version))


def _closed_view(desk: Desk, asked: Asked) -> str:
    name = asked.text("name")
    if desk.core.views.is_open(name):
        raise StoreInUseError(f"the view {name!r} is open in the node that has store {desk.store.path}")
    return name


# -- the node ------------------------------------------------------------------------------------------------------


def _interest(desk: Desk, asked: Asked, asker: Asker) -> Any:
    """Want authors, or not, as the method of that name does."""
    change, authors = asked.text("change"), asked.keys("authors")
    interest = desk.store.interest
    if "only" in asked:
        interest.only_followed(asked.flag("only"))
    if change == "block":
        return interest.block(*authors, delete=asked.flag("delete"))
    if change not in ("follow", "unfollow", "unblock"):
        raise ControlError(f"no such change: {change}")
    return getattr(interest, change)(*authors)


def _status(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.node.status(authors=False).as_json()


def _authors(desk: Desk, asked: Asked, asker: Asker) -> Any:
    """A page of them: to put ten thousand keys into words takes longer than others should wait."""
    begin, refused = asked.key("after") + b"\0" if "after" in asked else b"", desk.node.over_quota
    clock, weights = whole(desk.core.clock), whole_weights(desk.core.weigh())

    def told(page: tuple[list[tuple[bytes, Head]], Callable[[bytes], int]]) -> list[Any]:
        return [[author.hex(), *about] for author, *about in authors_of(desk.core, refused, *page)]

    def look(logs: Logs) -> tuple[list[tuple[bytes, Head]], Callable[[bytes], int]]:
        heads = _page(logs.clock, begin)
        sizes = logs.weighing.of([author for author, _ in heads])
        return heads, lambda author: sizes.get(author, 0)

    if clock is not None and weights is not None:
        return told((_page(clock, begin), weights.of))
    return desk.core.run(look).addCallback(told)


def _host(desk: Desk, asked: Asked, asker: Asker) -> Any:
    """Which networks the process of the node hosts, by digests; None where it hosts none."""
    return None if desk.core.hosting is None else desk.core.hosting()


def _connect(desk: Desk, asked: Asked, asker: Asker) -> Any:
    desk.node.connect(asked.text("endpoint"))


def _disconnect(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.node.disconnect(asked.key("node"))


def _ban(desk: Desk, asked: Asked, asker: Asker) -> Any:
    seconds, reason = asked.seconds("seconds", inf), asked.text("reason", OPERATOR)
    desk.node.ban(asked.key("node"), seconds=seconds, reason=reason)


def _unban(desk: Desk, asked: Asked, asker: Asker) -> Any:
    return desk.node.unban(asked.key("node"))


ANSWERS: Final[Mapping[str, Answer]] = {
    **meeting.ANSWERS,
    **moving.ANSWERS,
    **searching.ANSWERS,
    "authors": _authors,
    "ban": _ban,
    "clock": _clock,
    "connect": _connect,
    "cursor": _cursor,
    "disconnect": _disconnect,
    "drop_view": _drop_view,
    "fork": _fork,
    "holes": _holes,
    "host": _host,
    "interest": _interest,
    "meta": _meta,
    "protect": _protect,
    "put_view": _put_view,
    "recovered": _recovered,
    "rows": _rows,
    "segments": _segments,
    "status": _status,
    "store": _store,
    "unban": _unban,
    "unlock": _unlock,
    "verify": _verify,
    "views": _views,
    "watch": _watch,
    "write": _write,
    "writer": _writer,
    "writers": _writers,
}
"""What may be asked, by its name."""

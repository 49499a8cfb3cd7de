"""Signatures checked on a second core, while the reactor deals with what they sign.

Responsible for: verifying many small segments at once in a thread, and handing over what came of each.
Must not know: where segments come from, what is done with them.
Invariant: :meth:`SignatureChecks.verify` returns and raises what :func:`gossiplog.log.segment.verify_whole` does,
whoever does it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from gossiplog.log.segment import Head, Segment, verify_whole

LEAST = 4
"""Fewer are not worth the thread: waking it takes about as long as a signature."""

SMALL_BYTES = 16 * 1024
"""Above, hashing takes longer than the signature, and holds the interpreter's lock."""


class _Work:
    """Segments by their ``id()``: ``todo`` until either side takes them, ``theirs`` unless the reactor did,
    ``done`` what the thread has told."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.todo = {id(segment): segment for segment in segments}
        self.theirs = set(self.todo)
        self.told: SimpleQueue[tuple[int, Head | Exception]] = SimpleQueue()
        self.done: dict[int, Head | Exception] = {}


class SignatureChecks:
    """I verify for one reactor.  I have a thread from when there is enough to do until :meth:`close`."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._work: _Work | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def ahead(self, segments: Sequence[Segment]) -> Iterator[None]:
        """Meanwhile :meth:`verify` is asked about ``segments``, most likely in this order: begin with the last.

        What nobody has begun with when the block ends is left undone.
        """
        small = [segment for segment in segments if len(segment.bodies) <= SMALL_BYTES]
        if len(small) < LEAST or self._work is not None:
            yield
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="gossiplog signatures", daemon=True)
            self._thread.start()
        self._work = work = _Work(small)
        self._queue.put(work)
        try:
            yield
        finally:
            self._work = None
            work.todo.clear()

    def verify(self, segment: Segment) -> Head:
        """Return the head that ``segment`` proves, or raise why it proves none."""
        work, key = self._work, id(segment)
        if work is None or key not in work.theirs:
            return verify_whole(segment)
        if work.todo.pop(key, None) is not None:
            work.theirs.discard(key)
            return verify_whole(segment)
        while key not in work.done:  # at most the one that the thread is busy with
            number, told = work.told.get()
            work.done[number] = told
        found = work.done[key]
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """End the thread, once it is done with what it has."""
        if self._thread is not None:
            self._queue.put(None)

    # -- in the thread

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            while work.todo:
                try:
                    key, segment = work.todo.popitem()
                except KeyError:  # the reactor took it in this moment
                    break
                try:
                    work.told.put((key, verify_whole(segment)))
                except Exception as error:
                    work.told.put((key, error))

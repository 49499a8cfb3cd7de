"""A store's views thread: what is derived from its entries is computed here, beside the store's own thread.

Responsible for: running jobs in order in one thread, with the place of derived state; handing results back.
Must not know: reactors; what is derived; the store.
Invariant: only this thread touches what is open in the place.  Nobody waits for a thread that is gone: what is left
when it ends fails.  A fork waits for the job that runs, and the child leaves what is open alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from gossiplog.errors import StoreClosedError
from gossiplog.store.owning_process import Home, hold

if TYPE_CHECKING:
    from gossiplog.views.place import Place

Work: TypeAlias = "Callable[[Place], Any]"

Answer: TypeAlias = Callable[[Any], None]
"""Called with what the work returned or raised, where the owner of the thread wants it."""


class ViewsThread:
    """I do what is asked of me, one after the other, until :meth:`close`."""

    def __init__(self, place: Place, tell: Callable[..., object], name: str) -> None:
        """``tell(answer, value)`` calls an answer elsewhere; it raises RuntimeError when there is nobody any more."""
        self._place = place
        self._tell = tell
        self._name = name
        self._home = Home(name)
        self._busy = hold(self)
        self._closed = False
        self._jobs: queue.SimpleQueue[tuple[Work, Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Work, answer: Answer) -> None:
        """Queue ``work``; ``answer`` is always called, unless this raises."""
        self._home.check()
        if self._closed:
            raise StoreClosedError(f"{self._name} is closed")
        self._jobs.put((work, answer))

    def close(self, answer: Answer) -> None:
        """Finish what is queued, close the place, end the thread; then ``answer`` is called with None."""
        if not self._closed:
            self._closed = True
            self._jobs.put((lambda place: place.close(), answer))
            self._jobs.put(None)

    def end(self, seconds: float) -> bool:
        """Close, and wait for that here for so long; tell whether it is done.  In a child nothing is."""
        if not self._home.is_here:
            return True
        self.close(lambda _: None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self.abandon()
            return False
        return True

    def abandon(self) -> None:
        """What is being done has taken too long: nothing of it is kept, should it ever end."""
        self._place.abandon()

    def give_up(self) -> None:
        """In a child by fork, where there is no such thread."""
        self._place.give_up()

    # -- in the thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, answer = job
            value: Any
            try:
                with self._busy:
                    value = work(self._place)
            except BaseException as error:
                value = error
            with suppress(Exception):  # its reactor is gone: nobody hears of it
                self._tell(answer, value)
            del work, answer, value, job  # not until the next one comes

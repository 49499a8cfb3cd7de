"""What ``measure.py`` and ``bring.py`` of docs/howto/field-data.rst do, from one cron job, on a reactor of its own."""

import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from gossiplog import (
    DialFailed,
    NewEntries,
    Node,
    Notice,
    PeerUp,
    Store,
    StoreLockedError,
    open_store,
)


def opened(reactor: Any, patience: float) -> Store:
    while True:
        try:
            return open_store("station", reactor)
        except StoreLockedError:  # the run before this one
            if patience <= 0:
                raise
            patience -= 0.1
            time.sleep(0.1)


async def main(reactor: Any, address: str) -> None:
    async with opened(reactor, 5) as store:
        writer = await store.writer("thermometer", encoding="json")
        seqs = await writer.append_many([{"celsius": 12.5 + n / 10} for n in range(100)])
        print("on disk:", seqs.start, "to", seqs.stop - 1)
        received = 0
        over: Deferred[str] = Deferred()

        def end(why: str) -> None:
            if not over.called:
                over.callback(why)

        def listen(notice: Notice) -> None:
            nonlocal received
            match notice:
                case NewEntries():
                    received += notice.last - notice.first + 1
                    if timer.active():
                        timer.reset(20)
                case PeerUp(peer):
                    node.when_in_sync(peer).addCallbacks(
                        lambda _: end(""), lambda failure: end(str(failure.value))
                    )
                case DialFailed():
                    end(str(notice.reason))

        async with Node(reactor, store, network="field-2026") as node:
            timer = reactor.callLater(20, end, "nothing moved for 20 seconds")
            node.subscribe(listen)
            node.connect(address)
            problem = await over
            if timer.active():
                timer.cancel()
        print(f"not this time: {problem}" if problem else f"received {received}")


react(main, sys.argv[1:])

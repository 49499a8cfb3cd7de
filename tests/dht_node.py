"""A process with one way of finding peers through a DHT, and what it costs; it prints a JSON line for each event.

    python -m tests.dht_node BOOTSTRAP PORT

``PORT`` 0 only looks.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred

from gossiplog import Dht, Network
from gossiplog.discovery.torrent_session import Heard

LOOKS_SECONDS = 70.0
"""Until the three looks of the beginning are over."""

IDLE_SECONDS = 60.0
counted: dict[str, int] = {}


def reactor() -> Any:
    from twisted.internet import reactor as installed

    return installed


def rss_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def say(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


class Counting(Heard):
    """I note how much a session sent and received."""

    def take(self, alert: Any) -> None:
        super().take(alert)
        if type(alert).__name__ == "session_stats_alert":
            counted.update(
                {name[4:]: value for name, value in alert.values.items() if name.startswith("dht.dht_")}
            )


class Finding:
    """What a way of finding uses of a node."""

    def __init__(self) -> None:
        self.reactor = reactor()
        self.network = Network.from_key(bytes(32))
        self.node = bytes(32)
        self.began = time.monotonic()
        self.seen: set[tuple[str, int]] = set()

    def found(self, host: str, port: int, node: bytes | None = None) -> None:
        if (host, port) not in self.seen:
            self.seen.add((host, port))
            say("found", host=host, port=port, seconds=round(time.monotonic() - self.began, 3))

    def failed(self, reason: str) -> None:
        say("failed", reason=reason)


async def main(bootstrap: str, port: int) -> None:
    before, threads = rss_kb(), len(os.listdir("/proc/self/task"))
    finding: Any = Finding()
    way = Dht([bootstrap])
    way.announce([("10.9.0.250", port)] if port else [])
    way.start(finding)
    await way.look()
    cost = {"kb": rss_kb() - before, "threads": len(os.listdir("/proc/self/task")) - threads}
    say("looked", seconds=round(time.monotonic() - finding.began, 3), **cost)
    for until in (LOOKS_SECONDS, IDLE_SECONDS):
        await wait(until)
        assert way._session is not None
        way._session.ask()
        way._session.hurry(True)
        await wait(0.5)
        way._session.hurry(False)
        used = resource.getrusage(resource.RUSAGE_SELF)
        say("cost", cpu=used.ru_utime + used.ru_stime, at=time.monotonic(), **counted)


def wait(seconds: float) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    reactor().callLater(seconds, waiting.callback, None)
    return waiting


if __name__ == "__main__":
    import gossiplog.discovery.torrent_session as module

    module.Heard = Counting  # type: ignore[misc]
    Deferred.fromCoroutine(main(sys.argv[1], int(sys.argv[2]))).addErrback(
        lambda f: (f.printTraceback(), reactor.stop())
    )
    reactor().run()

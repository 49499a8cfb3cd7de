"""Ring 8: the API from asyncio code, in a process of its own with the asyncio reactor on asyncio's loop."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = '''
import asyncio
import sys

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.slow_callback_duration = 60.0

from twisted.internet import asyncioreactor

asyncioreactor.install(loop)

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from gossiplog import Network, Node, open_store
from gossiplog.errors import NodeStoppedError, StoreClosedError
from gossiplog.notices import CaughtUp, NewEntries, PeerUp


async def collect(reader, count):
    """Entries, in an asyncio task."""
    got = []
    async for entry in reader:
        got.append(entry.payload)
        if len(got) == count:
            return got


async def twisted_coroutine(writer, reader):
    """The same API awaited from a Twisted coroutine in the same process."""
    await writer.append("from twisted")
    async for entry in reader:
        return entry.payload


async def main(directory):
    network = Network.from_key(bytes(32))
    stores = [open_store(f"{directory}/{name}", reactor) for name in "ab"]
    a, b = [Node(reactor, store, network=network) for store in stores]
    writer = await stores[0].writer(encoding="utf-8")

    # many appends at once, a list, an await on what is there already
    assert await asyncio.gather(*(writer.append(str(number)) for number in range(20))) == list(range(1, 21))
    done = writer.append_many(["x", "y"])
    await asyncio.sleep(0.05)
    assert await done == range(21, 23)

    # a live reader in a task, cancelled while it waits, without losing anything
    live = stores[1].read(live=True, encoding="utf-8")
    first = asyncio.create_task(collect(live, 22))
    caught = asyncio.ensure_future(b.when(CaughtUp))
    up = asyncio.ensure_future(b.when(PeerUp))
    b.connect(await a.listen("tcp:0:interface=127.0.0.1"))
    peer = (await asyncio.wait_for(up, 30)).peer
    async with asyncio.timeout(30):
        await caught
        assert await first == [str(number) for number in range(20)] + ["x", "y"]
    waiting = asyncio.create_task(collect(live, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    try:
        await waiting
        raise AssertionError("not cancelled")
    except asyncio.CancelledError:
        pass
    try:
        async with asyncio.timeout(0.01):
            await b.when(where=lambda notice: False)
        raise AssertionError("no timeout")
    except TimeoutError:
        pass

    # news, and being in sync
    async with asyncio.TaskGroup() as group:
        news = group.create_task(collect(live, 2))
        group.create_task(asyncio.wait_for(writer.append("one"), 30))
        group.create_task(asyncio.wait_for(writer.append("two"), 30))
    assert news.result() == ["one", "two"], news.result()
    await asyncio.wait_for(b.when_in_sync(peer), 30)
    assert stores[0].clock == stores[1].clock

    # a Twisted coroutine started by a task, in which more results are awaited
    own = await stores[1].writer(encoding="utf-8")
    tail = stores[0].read(own.author, tail=True, encoding="utf-8")
    both = Deferred.fromCoroutine(twisted_coroutine(own, tail))
    assert await both.asFuture(loop) == "from twisted"

    # a Twisted coroutine that is resumed inside a task, because the task stops the node
    async def hears_the_end():
        try:
            await b.when(where=lambda notice: False)
        except NodeStoppedError:
            return (await stores[1].verify()).damages

    hears = Deferred.fromCoroutine(hears_the_end())
    await asyncio.gather(a.stop(), b.stop())
    assert await hears.asFuture(loop) == []
    forever = asyncio.create_task(collect(live, 9))
    await asyncio.sleep(0)
    for store in stores:
        await store.close()
    assert await forever is None
    try:
        writer.append("late")
        raise AssertionError("closed")
    except StoreClosedError:
        pass


task = loop.create_task(main(sys.argv[1]))
task.add_done_callback(lambda _: reactor.stop())
reactor.run()
task.result()
print("well")
'''


class AsyncioTests(SynchronousTestCase):
    """One program that uses everything, as an asyncio application would."""

    def test_program(self) -> None:
        path = self.mktemp()
        os.mkdir(path)
        found = os.pathsep.join(directory or os.getcwd() for directory in sys.path)
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error::RuntimeWarning", "-c", SCRIPT, path],
            env={**os.environ, "PYTHONPATH": found},
            capture_output=True,
            timeout=100,
            check=False,
        )
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr.decode()), (0, b"well\n", ""))

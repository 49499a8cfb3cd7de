"""Rings 1 and 6: results that Twisted and asyncio wait for, whoever resumes whom."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gossiplog.live.results import Ending, Result


def on_asyncio(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run under a loop of its own; no Twisted reactor is involved in a Result."""
    loop = asyncio.new_event_loop()  # asyncio.run would take the reactor's loop away from the thread
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


class TwistedTests(SynchronousTestCase):
    """A Result in a Twisted coroutine is a Deferred."""

    def test_value(self) -> None:
        result: Result[int] = Result()

        async def wait() -> int:
            return await result

        waiting = Deferred.fromCoroutine(wait())
        self.assertNoResult(waiting)
        result.callback(7)
        self.assertEqual(self.successResultOf(waiting), 7)

    def test_value_that_is_there(self) -> None:
        result: Result[int] = Result()
        result.callback(7)

        async def wait() -> int:
            return await result

        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(wait())), 7)

    def test_callbacks_before_and_a_paused_result(self) -> None:
        """A callback may give another Deferred: the wait is for that."""
        result: Result[int] = Result()
        later: Deferred[int] = Deferred()
        result.addCallback(lambda _: later)

        async def wait() -> int:
            return await result

        result.callback(1)
        waiting = Deferred.fromCoroutine(wait())
        self.assertNoResult(waiting)
        later.callback(2)
        self.assertEqual(self.successResultOf(waiting), 2)

    def test_failure(self) -> None:
        result: Result[int] = Result()

        async def wait() -> int:
            try:
                return await result
            except ValueError:
                return -1

        waiting = Deferred.fromCoroutine(wait())
        result.errback(ValueError())
        self.assertEqual(self.successResultOf(waiting), -1)

    def test_cancelling_the_coroutine_cancels_the_result(self) -> None:
        cancelled = []
        result: Result[int] = Result(cancelled.append)

        async def wait() -> int:
            return await result

        waiting = Deferred.fromCoroutine(wait())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(cancelled, [result])


class AsyncioTests(SynchronousTestCase):
    """A Result in an asyncio task is a future."""

    def test_value_and_failure(self) -> None:
        async def main() -> list[Any]:
            loop = asyncio.get_running_loop()
            good: Result[int] = Result()
            bad: Result[int] = Result()
            loop.call_soon(good.callback, 7)
            loop.call_soon(bad.errback, ValueError("no"))
            values: list[Any] = [await good]
            try:
                await bad
            except ValueError as error:
                values.append(str(error))
            ready: Result[int] = Result()
            ready.callback(8)
            return [*values, await ready]

        self.assertEqual(on_asyncio(main()), [7, "no", 8])

    def test_wait_for_gather_and_shield(self) -> None:
        async def main() -> list[Any]:
            loop = asyncio.get_running_loop()
            results: list[Result[int]] = [Result() for _ in range(3)]
            for number, result in enumerate(results):
                loop.call_later(0, result.callback, number)
            gathered = list(await asyncio.gather(results[0], results[1]))
            return [*gathered, await asyncio.wait_for(asyncio.shield(results[2]), 5)]

        self.assertEqual(on_asyncio(main()), [0, 1, 2])

    def test_timeout_cancels_the_result(self) -> None:
        cancelled = []
        result: Result[int] = Result(cancelled.append)

        async def main() -> str:
            try:
                async with asyncio.timeout(0):
                    await result
            except TimeoutError:
                return "timeout"
            return "value"

        self.assertEqual(on_asyncio(main()), "timeout")
        self.assertEqual(cancelled, [result])

    def test_cancelled_task(self) -> None:
        cancelled = []
        result: Result[int] = Result(cancelled.append)

        async def wait() -> int:
            return await result

        async def main() -> bool:
            task = asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return task.cancelled()
            return False

        self.assertTrue(on_asyncio(main()))
        self.assertEqual(cancelled, [result])

    def test_late_value_of_a_cancelled_wait(self) -> None:
        """What comes after the task gave up is dropped, and is no error."""
        result: Result[int] = Result(lambda _: None)

        async def main() -> None:
            task = asyncio.ensure_future(asyncio.wait_for(result, 60))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        on_asyncio(main())
        self.assertTrue(result.called)


class MixedTests(SynchronousTestCase):
    """The same Results in coroutines of both kinds, each resumed from within the other."""

    def test_twisted_coroutine_resumed_inside_a_task(self) -> None:
        """The task is the current one while the Twisted coroutine runs on and waits again."""
        first: Result[str] = Result()
        second: Result[str] = Result()

        async def twisted() -> str:
            return await first + await second

        async def main() -> str:
            waiting = Deferred.fromCoroutine(twisted())
            first.callback("a")
            asyncio.get_running_loop().call_soon(second.callback, "b")
            return await waiting.asFuture(asyncio.get_running_loop())

        self.assertEqual(on_asyncio(main()), "ab")

    def test_twisted_coroutine_started_inside_a_task(self) -> None:
        result: Result[int] = Result()

        async def twisted() -> int:
            return await result + 1

        async def main() -> int:
            waiting = Deferred.fromCoroutine(twisted())
            result.callback(1)
            return await waiting.asFuture(asyncio.get_running_loop())

        self.assertEqual(on_asyncio(main()), 2)


class EndingTests(SynchronousTestCase):
    """An end that comes once."""

    def test_everyone_hears(self) -> None:
        ending = Ending()
        early = [ending.wait(), ending.wait()]
        for result in early:
            self.assertNoResult(result)
        ending.come()
        ending.come(Failure(ValueError()))
        for result in [*early, ending.wait()]:
            self.assertIsNone(self.successResultOf(result))
        self.assertTrue(ending.over)

    def test_failure_reaches_everyone(self) -> None:
        ending = Ending()
        early = ending.wait()
        ending.come(Failure(ValueError()))
        self.failureResultOf(early, ValueError)
        self.failureResultOf(ending.wait(), ValueError)

    def test_who_stops_waiting_takes_nothing_from_the_others(self) -> None:
        ending = Ending()
        one, other = ending.wait(), ending.wait()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        ending.come()
        self.assertIsNone(self.successResultOf(other))

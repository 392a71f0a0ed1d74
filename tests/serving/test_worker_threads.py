"""Threads of one purpose are full by themselves: those of another go on."""

import asyncio
import threading

from lockstep.serving.http_request import Reply
from lockstep.serving.worker_threads import WorkerThreads


def test_slow_work_of_one_purpose_leaves_the_other_free():
    async def scenario():
        slow, quick = WorkerThreads("slow", 1, 4), WorkerThreads("quick", 2, 4)
        go = threading.Event()

        def work():
            assert go.wait(30)
            return Reply(200, b"late")

        waiting = [slow.begin(work) for _ in range(4)]
        assert slow.are_full
        assert not quick.are_full
        assert (await quick.begin(lambda: Reply(200, b"now"))).body == b"now"
        go.set()
        assert [one.body for one in await asyncio.gather(*waiting)] == [b"late"] * 4
        assert not slow.are_full
        assert (await slow.begin(lambda: Reply(200, b"again"))).body == b"again"
        for threads in (slow, quick):
            threads.end()

    asyncio.run(scenario())

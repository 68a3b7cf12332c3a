"""Changes reach every listener, over one watching thread."""

from __future__ import annotations

import asyncio
import threading

from stoker.console.live import Changes
from stoker.control.changes import Changes as Counter


async def test_all_listeners_hear_of_a_change_over_one_thread() -> None:
    counter = Counter()
    changes = Changes(counter.wait)
    streams = [changes.stream(for_s=20) for _ in range(30)]
    for stream in streams:
        assert "retry" in await anext(stream)
    threads = [thread for thread in threading.enumerate() if thread.name == "console-changes"]
    assert len(threads) == 1
    await asyncio.sleep(0.05)  # the watcher has read the counter
    counter.bump()
    heard = await asyncio.wait_for(asyncio.gather(*(anext(stream) for stream in streams)), 10)
    assert set(heard) == {"event: change\ndata: 1\n\n"}
    for stream in streams:
        await stream.aclose()
    counter.bump()
    await asyncio.to_thread(threads[0].join, 10)
    assert not threads[0].is_alive()


async def test_a_stream_ends_by_itself_so_that_servers_can_stop() -> None:
    changes = Changes(Counter().wait)
    assert len([event async for event in changes.stream(for_s=0.05)]) == 1

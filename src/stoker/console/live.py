"""Changes, told to open pages as server-sent events: one watcher thread for all of them, not one each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable

WAIT_S = 10.0  # how long the watcher blocks on the counter at a time
STREAM_S = 50.0  # a stream ends by itself after so long and the browser asks again, so servers stop quickly


class Changes:
    """Fans the app's change counter out to the streams. The watcher runs only while somebody listens."""

    def __init__(self, wait_change: Callable[[int, float], int]) -> None:
        self._wait_change = wait_change
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()
        self._watching = False

    async def stream(self, for_s: float = STREAM_S) -> AsyncGenerator[str, None]:
        """Server-sent events: ``change`` with the counter as data, and a comment first so that proxies let go."""
        listener = _Listener(asyncio.get_running_loop())
        self._add(listener)
        ends = listener.loop.time() + for_s
        try:
            yield "retry: 1000\n: listening\n\n"
            while (left := ends - listener.loop.time()) > 0:
                try:
                    counter = await asyncio.wait_for(listener.queue.get(), left)
                except TimeoutError:
                    return
                yield f"event: change\ndata: {counter}\n\n"
        finally:
            self._remove(listener)

    def _add(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.add(listener)
            if self._watching:
                return
            self._watching = True
        threading.Thread(target=self._watch, name="console-changes", daemon=True).start()

    def _remove(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def _watch(self) -> None:
        seen = self._wait_change(0, 0.0)
        while True:
            now = self._wait_change(seen, WAIT_S)
            with self._lock:
                if not self._listeners:
                    self._watching = False
                    return
                if now != seen:
                    for listener in self._listeners:
                        listener.tell(now)
            seen = now


class _Listener:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue: asyncio.Queue[int] = asyncio.Queue()

    def tell(self, counter: int) -> None:
        try:
            self.loop.call_soon_threadsafe(self.queue.put_nowait, counter)
        except RuntimeError:  # its event loop has closed: the server is stopping
            return

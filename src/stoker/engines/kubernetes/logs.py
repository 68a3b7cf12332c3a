"""Capture: a pod's log in a file of the platform's machine, so that it has byte offsets and outlives the pod.

Kubernetes gives a log from its beginning, or from a second on, never from a byte. So what has been copied is
skipped when a stream begins anew; where the node has rotated the log meanwhile, its end is looked for in the new.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from stoker.engines.kubernetes.api import Api, Refused
from stoker.engines.kubernetes.marked import Splitter
from stoker.engines.kubernetes.names import CONTAINER
from stoker.errors import Away

_QUIET_S = 0.15  # a stream silent for so long has told everything so far
_CATCH_UP_S = 5.0
_LOCK_POLL_S = 0.05
_HEAD = _TAIL = 1024  # bytes by which a log is recognised
_ROTATED = b"\n[stoker] the node rotated this log; some of it may be missing here\n"


class Capture:
    """Of one pod. In `folder`: `name` with what the user sees, ``probe.jsonl`` with reports that came marked."""

    def __init__(self, api: Api, pod_path: str, folder: Path, name: str, mark: str) -> None:
        self._api, self._path = api, f"{pod_path}/log"
        self._output, self._probe = folder / name, folder / "probe.jsonl"
        self._raw = folder / f"{name}.raw" if mark else self._output  # the log as it came
        self._done, self._lock = folder / f"{name}.done", folder / f"{name}.lock"
        self._mark, self._splitter, self._split_until = mark, Splitter(mark), 0
        self._turn, self._finishing = asyncio.Lock(), asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self.caught_up = asyncio.Event()

    @property
    def done(self) -> bool:
        return self._done.exists()

    @property
    def following(self) -> bool:
        return self._follower is not None and not self._follower.done()

    async def follow(self) -> None:
        """Copy on as the log grows; returns when everything until now is here."""
        if self.done:
            return
        if not self.following:
            self.caught_up.clear()
            self._follower = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.caught_up.wait(), _CATCH_UP_S)

    def stop(self) -> None:
        if self._follower is not None:
            self._follower.cancel()

    async def finish(self) -> None:
        """Copy the rest of a log that does not grow any more. Raises Away, Refused."""
        async with self._finishing:
            if self.following and self._follower is not None:
                await asyncio.wait((self._follower,), timeout=_CATCH_UP_S)
                self.stop()
            if not self.done:
                await self._copy(follow=False)
                self.close()

    def close(self) -> None:
        """Nothing more will come."""
        if self.done:
            return
        _append(self._output, self._splitter.flush())
        _append(self._output, b"")
        self._done.touch(mode=0o600)
        if self._raw != self._output:
            self._raw.unlink(missing_ok=True)

    async def _run(self) -> None:
        with contextlib.suppress(Away, Refused):  # whoever waits reads what is there, and asks again
            await self._copy(follow=True)
        self.caught_up.set()

    async def _copy(self, *, follow: bool) -> None:
        async with self._turn, _only_us(self._lock):
            if self.done:
                return
            if self._raw != self._output and _size(self._raw) != self._split_until:
                self._split_again()
            have = _size(self._raw)
            query = {"container": CONTAINER, **({"follow": "true"} if follow else {})}
            async with self._api.stream(self._path, **query) as stream:
                if have and not await self._skip(stream, have):
                    await self._resume_rotated()
                    return
                while chunk := await self._next(stream):
                    self._take(chunk)

    async def _next(self, stream: asyncio.StreamReader | object) -> bytes:
        """The next piece; marks that we have caught up when it does not come at once."""
        reading = asyncio.ensure_future(stream.readany())  # type: ignore[union-attr]
        try:
            done, _ = await asyncio.wait((reading,), timeout=_QUIET_S)
            if not done:
                self.caught_up.set()
            return bytes(await reading)
        finally:
            reading.cancel()

    async def _skip(self, stream: object, have: int) -> bool:
        """Pass over what is here already; False when the log begins otherwise than it did."""
        head = _piece(self._raw, 0, min(_HEAD, have))
        seen = b""
        while have > 0:
            chunk = await self._next(stream)
            if not chunk:
                return len(seen) >= len(head) and seen[: len(head)] == head  # shorter than before: rotated
            seen = (seen + chunk)[:_HEAD]
            if not seen.startswith(head[: len(seen)]) and not head.startswith(seen[: len(head)]):
                return False
            if len(chunk) > have:
                self._take(chunk[have:])
            have -= len(chunk)
        return True

    async def _resume_rotated(self) -> None:
        have = _size(self._raw)
        tail = _piece(self._raw, max(0, have - _TAIL), _TAIL)
        whole = bytearray()
        async with self._api.stream(self._path, container=CONTAINER) as stream:
            while chunk := await stream.readany():
                whole += chunk
        place = whole.rfind(tail)
        self._take(bytes(whole[place + len(tail) :]) if place >= 0 else _ROTATED + bytes(whole))

    def _take(self, data: bytes) -> None:
        if self._raw == self._output:
            _append(self._output, data)
            return
        _append(self._raw, data)
        self._split(data)

    def _split(self, data: bytes) -> None:
        self._split_until += len(data)
        output, reports = self._splitter.feed(data)
        _append(self._output, output)
        if reports:
            _append(self._probe, reports)

    def _split_again(self) -> None:
        """After a restart: output and reports once more, from the log as it came."""
        self._splitter, self._split_until = Splitter(self._mark), 0
        self._output.unlink(missing_ok=True)
        self._probe.unlink(missing_ok=True)
        if not self._raw.exists():
            return
        with self._raw.open("rb") as file:
            while chunk := file.read(1 << 20):
                self._split(chunk)


@contextlib.asynccontextmanager
async def _only_us(path: Path) -> AsyncIterator[None]:
    """While a platform that is just ending copies the same log, this one waits."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _locked(descriptor):  # noqa: ASYNC110
            await asyncio.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def _piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)

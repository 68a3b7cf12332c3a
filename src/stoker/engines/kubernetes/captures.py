"""Captures: the logs of all ranks of all attempts, each in a file of the platform's machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from stoker.engine import Key
from stoker.engines.kubernetes.api import Api, Refused
from stoker.engines.kubernetes.ledger import Record
from stoker.engines.kubernetes.logs import Capture
from stoker.engines.kubernetes.observe import over
from stoker.errors import Away

_log = logging.getLogger(__name__)
_LOG_TRIES = 3


class Captures:
    def __init__(self, api: Api, namespace: str, node_is_ready: Callable[[str], bool]) -> None:
        """`node_is_ready`: whether the node of this name answers."""
        self._api, self._namespace, self._node_is_ready = api, namespace, node_is_ready
        self._captures: dict[tuple[Key, int], Capture] = {}

    async def read_on(self, record: Record, rank: int) -> None:
        """Bring the local copy of a rank's log up to now, as far as it can be had."""
        pod = record.pods.get(rank)
        if pod is None:
            return
        try:
            if record.end is not None or over(pod):
                await self._collect(record, rank)
            else:
                await self.follow(record, rank)
        except (Away, Refused) as error:
            _log.debug("the log of job %s cannot be read now: %s", record.key, error)

    async def follow(self, record: Record, rank: int) -> None:
        await self._of(record, rank).follow()

    async def collect(self, record: Record) -> None:
        """The whole logs of an ended attempt. Raises Away where another try may help."""
        for rank in range(len(record.nodes)):
            await self._collect(record, rank)

    async def collect_quietly(self, record: Record) -> None:
        try:
            await self.collect(record)
        except (Away, Refused) as error:
            _log.info("the log of job %s is fetched later: %s", record.key, error)

    async def _collect(self, record: Record, rank: int) -> None:
        """The whole log of an ended pod, here for good. Raises Away only where another try may help."""
        capture, pod = self._of(record, rank), record.pods.get(rank)
        if capture.done:
            return
        if pod is None:
            capture.close()
            return
        for left in reversed(range(_LOG_TRIES)):
            try:
                await capture.finish()
            except Refused:  # the container never began, or is gone already
                capture.close()
            except Away:
                if not self._node_is_ready(record.nodes[rank]):
                    capture.close()
                elif not left:
                    raise
                else:
                    await asyncio.sleep(1.0)
                    continue
            return

    def _of(self, record: Record, rank: int) -> Capture:
        found = self._captures.get((record.key, rank))
        if found is None:
            record.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = f"/api/v1/namespaces/{self._namespace}/pods/{record.names[rank]}"
            name = stream_file(rank)
            found = Capture(self._api, path, record.folder, name, record.plan.mark if rank == 0 else "")
            self._captures[record.key, rank] = found
        return found

    def forget(self, record: Record) -> None:
        """The copied logs stay."""
        for rank in range(len(record.nodes)):
            if capture := self._captures.pop((record.key, rank), None):
                capture.stop()

    def close(self) -> None:
        for capture in self._captures.values():
            capture.stop()


def stream_file(rank: int) -> str:
    """The copied log of a rank: the first one's is the job's output."""
    return "stdout" if rank == 0 else f"rank-{rank}"


def log_path(folder: Path, rank: int) -> Path:
    return folder / stream_file(rank)

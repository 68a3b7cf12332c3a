"""Clean the records of a file, in several processes where that pays, and hand the chunks back in order."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from stoker.recipes.curation.cleaning import Cleaned, Cleaner, CurateConfig
from stoker.recipes.curation.record import Kind

_CHUNK_BYTES = 1 << 20  # of lines; a longer line is a chunk of its own
_ALONE = 16 << 20  # a file smaller than this is done before workers have started
_AHEAD = 3  # chunks in the works for each process, so memory stays bounded


def cleaned_chunks(records: Path, kind: Kind, config: CurateConfig) -> Iterator[Cleaned]:
    """The records of `records` cleaned, chunk by chunk, in the order of the file."""
    workers = config.workers or _fitting(records)
    if workers == 1:
        cleaner = Cleaner(kind, config)
        yield from map(cleaner.clean, _chunks(records))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(kind, config))
    try:
        yield from _in_order(pool, records, workers * _AHEAD)
    finally:
        pool.shutdown(cancel_futures=True)


def _fitting(records: Path) -> int:
    if records.stat().st_size < _ALONE:
        return 1
    return len(os.sched_getaffinity(0))


def _in_order(pool: ProcessPoolExecutor, records: Path, ahead: int) -> Iterator[Cleaned]:
    waiting: deque[Future[Cleaned]] = deque()
    for chunk in _chunks(records):
        waiting.append(pool.submit(_clean, chunk))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _chunks(records: Path) -> Iterator[list[bytes]]:
    with records.open("rb") as file:
        while lines := file.readlines(_CHUNK_BYTES):
            yield lines


_cleaner: Cleaner  # of a worker process


def _start(kind: Kind, config: CurateConfig) -> None:
    global _cleaner  # noqa: PLW0603 - a worker process has no other place to keep it
    _cleaner = Cleaner(kind, config)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits for work for ever, also when the process that would send it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _clean(lines: list[bytes]) -> Cleaned:
    return _cleaner.clean(lines)

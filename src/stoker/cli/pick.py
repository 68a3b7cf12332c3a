"""Which jobs the words of a command line mean."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stoker.client import Client
from stoker.errors import BadInput, NotFound, TooLarge
from stoker.job import Job
from stoker.spelling import MAX_ARRAY, parse_array

_RANGE = re.compile(r"^(\d{1,18})-(\d{1,18})$", re.ASCII)
_ELEMENTS = re.compile(r"^(\d{1,18})_\[([0-9,:%-]+)\]$", re.ASCII)


def one_job(client: Client, label: str) -> Job:
    """The job of `label`; of several with one name the newest. Raises NotFound."""
    return max(client.jobs.resolve(label), key=lambda job: job.id)


def some_jobs(client: Client, labels: Iterable[str]) -> list[Job]:
    """All jobs that `labels` mean: ``17``, ``17_3``, ``17_[1-5]``, ``20-25``, a name. Each once, in order."""
    found: dict[int, Job] = {}
    for label in labels:
        for job in _meant(client, label):
            found.setdefault(job.id, job)
    return list(found.values())


def _meant(client: Client, label: str) -> list[Job]:
    if match := _ELEMENTS.match(label):
        indices = set(parse_array(match[2])[0])
        return [job for job in client.jobs.resolve(match[1]) if job.array_index in indices]
    if match := _RANGE.match(label):
        return _between(client, int(match[1]), int(match[2]))
    return client.jobs.resolve(label)


def _between(client: Client, first: int, last: int) -> list[Job]:
    """The caller's jobs with ids from `first` to `last`."""
    if last < first:
        raise BadInput(f'"{first}-{last}" runs backwards; write {last}-{first}')
    if last - first >= MAX_ARRAY:
        raise TooLarge(f'"{first}-{last}" is over {MAX_ARRAY} jobs; cancel them by name')
    found: list[Job] = []
    before: int | None = last + 1
    while before is not None and before > first:
        page = client.jobs.list(limit=1000, before=before)
        found += [job for job in page if job.id >= first]
        before = page[-1].id if len(page) == 1000 else None
    if not found:
        raise NotFound(f"no job of yours from {first} to {last}; see: stoker jobs -a")
    return found[::-1]

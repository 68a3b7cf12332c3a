"""Readers of inference demand: replicas or requests over time, from a file or from what endpoints had.

| columns | what is needed |
|---|---|
| time, replicas | that many, from then on |
| time, qps | requests a second over those that one replica answers, or in proportion, the ceiling at the peak |
| timestamp_anon, value | Alibaba's GenAI trace: the sum of each hour, the ceiling at the peak |
| JSON of ``stoker jobs --json`` | as many as replicas of endpoints ran |

Times are seconds or ISO 8601. After its end the demand begins anew; where less than two hours are missing to whole
days, it is taken to repeat day by day.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from stoker.errors import BadInput
from stoker.job import Job
from stoker.schedule.lend import DAY
from stoker.simulate.inference import Demand, answering
from stoker.simulate.readers import listed_jobs, moment_of, problem

ENDPOINT = "stoker/endpoint"  # label of jobs that are replicas
_TIMES = ("time", "timestamp", "timestamp_anon")
_HOUR = 3600.0
_MISSING_S = 2 * _HOUR
_MOST = 100_000  # replicas


def read_demand(path: Path, *, ceiling: int = 0, per_replica: float = 0.0) -> Demand:
    """The demand in `path`. `ceiling`: replicas at the peak, where the file tells requests; `per_replica`: requests
    a second that one answers. Raises BadInput that says what is wrong, and in which line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or "").lower()
        raise BadInput(f"demand {path} cannot be read: {why}") from None
    if text.lstrip().startswith(("[", "{")):
        return demand_of(listed_jobs(text, f"demand {path}"), str(path))
    rows = csv.DictReader(io.StringIO(text))
    columns = [(name or "").strip() for name in rows.fieldnames or ()]
    rows.fieldnames = columns
    time = next((name for name in _TIMES if name in columns), "")
    value = next((name for name in ("replicas", "qps", "value") if name in columns), "")
    if not time or not value:
        raise BadInput(
            f"demand {path} has the columns {', '.join(columns)[:80] or 'none'};"
            " wanted: time and one of replicas, qps, value"
        )
    at, values = _series(path, rows, time, value)
    if value == "replicas":
        return _demand(at, [math.ceil(one) for one in values], _period(at))
    if value == "value":
        at, values = _hourly(at, values)
    return _demand(at, _replicas(values, str(path), ceiling, per_replica), _period(at))


def demand_of(jobs: Sequence[Job], name: str = "history", begin: float | None = None) -> Demand:
    """As many as replicas of endpoints ran. `begin`: where time zero is, seconds since the epoch; None: when the
    first came. Raises BadInput where there were none."""
    spans = [
        (job.started_at, job.ended_at)
        for job in jobs
        if ENDPOINT in job.spec.labels and job.started_at is not None and job.ended_at is not None
    ]
    if not spans:
        raise BadInput(f"demand {name} has no replica of an endpoint that has ended")
    zero = min(start for start, _ in spans) if begin is None else begin
    steps = answering([(max(0.0, start - zero), max(0.0, end - zero)) for start, end in spans])
    last = max(end for _, end in spans) - zero
    if last <= 0:
        raise BadInput(f"demand {name} ended before the jobs of the trace began")
    return Demand([at for at, _ in steps], [there for _, there in steps], _rounded(max(last, steps[-1][0])))


def _series(path: Path, rows: csv.DictReader[str], time: str, value: str) -> tuple[list[float], list[float]]:
    """Seconds since the first, ascending, and what was there."""
    found: list[tuple[float, float]] = []
    for number, row in enumerate(rows, start=2):
        try:
            one = moment_of((row[time] or "").strip()), float(row[value] or "")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise BadInput(f"demand {path}, line {number}: {problem(error)}") from None
        if not math.isfinite(one[0]) or not 0 <= one[1] < math.inf:
            raise BadInput(f"demand {path}, line {number}: {value} is {row[value]}; it has to be 0 or more")
        found.append(one)
    if not found or max(amount for _, amount in found) <= 0:
        raise BadInput(f"demand {path} holds no demand")
    found.sort(key=lambda one: one[0])
    return [at - found[0][0] for at, _ in found], [amount for _, amount in found]


def _replicas(values: Sequence[float], name: str, ceiling: int, per_replica: float) -> list[int]:
    if not ceiling and not per_replica:
        raise BadInput(
            f"demand {name} tells requests; give --ceiling, the replicas that its peak needs,"
            " or --replica-qps, the requests a second that one answers"
        )
    one = per_replica or max(values) / ceiling
    return [math.ceil(value / one - 1e-9) for value in values]


def _demand(at: Sequence[float], replicas: Sequence[int], period: float) -> Demand:
    if max(replicas) > _MOST:
        raise BadInput(f"{max(replicas):,} replicas are needed at the peak; allowed is up to {_MOST:,}")
    last: Mapping[float, int] = dict(zip(at, replicas, strict=True))  # of several at one moment
    kept = [at for at in last if at < period]
    return Demand(kept, [last[at] for at in kept], period)


def _period(at: Sequence[float]) -> float:
    """A last row at the end of whole days only says until when the one before it holds."""
    if at[-1] and at[-1] % DAY == 0:
        return at[-1]
    gaps = [after - before for before, after in pairwise(at) if after > before]
    return _rounded(at[-1] + (median(gaps) if gaps else DAY))


def _rounded(seconds: float) -> float:
    days = math.ceil(seconds / DAY) * DAY
    return days if days - seconds <= _MISSING_S else seconds


def _hourly(at: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The sum of each hour; an hour without rows has the one before."""
    sums: dict[int, float] = {}
    for moment, value in zip(at, values, strict=True):
        sums[int(moment // _HOUR)] = sums.get(int(moment // _HOUR), 0.0) + value
    found: list[float] = []
    for hour in range(max(sums) + 1):
        found.append(sums.get(hour, found[-1] if found else 0.0))
    return [hour * _HOUR for hour in range(len(found))], found

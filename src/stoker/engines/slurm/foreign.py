"""What others run and wait for in this Slurm: seen, counted and shown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stoker.engines.slurm.details import Detail
from stoker.engines.slurm.hostlist import expand
from stoker.engines.slurm.squeue import Row, devices_asked
from stoker.errors import BadInput
from stoker.foreign import ForeignJob, Held
from stoker.job import JobState

_RUNNING = frozenset(("RUNNING", "SUSPENDED", "SIGNALING", "STAGE_OUT", "RESIZING", "STOPPED", "CONFIGURING"))
_WAITING = frozenset(("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"))


def foreign_jobs(
    engine: str, rows: Iterable[Row], details: Mapping[int, Detail], gres: str, skew: float
) -> Iterator[ForeignJob]:
    """`skew` is added to the cluster's times. A job newer than `details` holds nodes, but no one says how much."""
    for row in rows:
        state = _state(row.state)
        if state is None:
            continue
        held = () if state is JobState.PENDING else _held(row, details.get(row.id))
        yield ForeignJob(
            engine,
            row.label,
            row.name,
            row.user,
            state,
            held,
            queue=row.partition,
            submitted_at=moved(row.submitted_at, skew),
            started_at=moved(row.started_at, skew) if held else None,
            nodes=row.nodes,
            devices=sum(one.devices for one in held) or devices_asked(row, gres),
            reason=row.reason if state is JobState.PENDING else "",
        )


def _state(word: str) -> JobState | None:
    if word in _RUNNING:
        return JobState.RUNNING
    if word in _WAITING:
        return JobState.PENDING
    return JobState.STOPPING if word == "COMPLETING" else None


def _held(row: Row, detail: Detail | None) -> tuple[Held, ...]:
    """On the nodes that the queue names, whatever stands in the details: a job's name could look like one."""
    try:
        nodes = expand(row.nodelist)
    except BadInput:
        nodes = ()
    told = {one.node: one for one in detail.held} if detail else {}
    return tuple(told.get(node, Held(node)) for node in nodes)


def moved(moment: float | None, skew: float) -> float | None:
    return moment + skew if moment is not None else None

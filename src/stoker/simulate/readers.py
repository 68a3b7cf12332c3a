"""Readers of traces. The columns tell the format; a new one adds a Format to `FORMATS`.

| format | from | what is a job's work |
|---|---|---|
| muri | Muri's and other SIGCOMM artefacts | iterations x iteration_time (ms) x 1.015 |
| chronus | Chronus' Philly trace (EuroSys'21) | duration (s) |
| openb | Alibaba's 2023 GPU trace | deletion_time - scheduled_time (s) |
| acme | Shanghai AI Laboratory's Seren and Kalos | duration (s) |
| sacct | ``sacct -aXP -o JobID,JobName,User,Account,Submit,Start,End,ReqTRES,NNodes,Timelimit`` | End - Start |
| history | ``stoker jobs --json`` | ended_at - started_at |
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from stoker.errors import BadInput
from stoker.job import Job, JobSpec, Resources
from stoker.simulate.trace import Trace, TracedJob
from stoker.typed import read
from stoker.units import parse_bytes

Row = Mapping[str, str]

MURI_SLOWER = 1.015  # the artefact's factor between measured and simulated iterations
# Seconds a start takes, by model and 1, 2, 4, 8, 16, 32 devices (muri's overheads); others take 10.
_MURI_STARTS: Mapping[str, Sequence[float]] = {
    "vgg16": (7, 7, 8, 9, 9, 10),
    "vgg19": (7, 7, 8, 9, 10, 10),
    "resnet18": (4, 5, 5, 7, 7, 7),
    "shufflenet_v2_x1_0": (4, 4, 5, 5, 7, 8),
    "a2c": (38, 39, 39, 46, 46, 46),
    "dqn": (5, 5, 6, 6, 8, 8),
}
_LEAST_WORK_S = 1.0  # what ended at once has been there for a moment


class _Skip(Exception):
    """This row is no job that ran, for this reason."""


@dataclass(frozen=True)
class Format:
    name: str
    columns: frozenset[str]  # those that it is known by
    job: Callable[[Row, int], TracedJob]  # row and devices of a node -> job; raises _Skip, ValueError, KeyError


def read_trace(path: Path, *, devices_per_node: int = 8) -> Trace:
    """The trace in `path`. Jobs that never ran are left out and counted in its notes; a job of more devices than
    `devices_per_node` is a gang on whole nodes.

    Raises BadInput naming the row that cannot be read, or the columns of an unknown format.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else (error.strerror or "").lower()
        raise BadInput(f"trace {path} cannot be read: {why}") from None
    if text.lstrip().startswith(("[", "{")):
        return _history(path, text)
    first = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter="|" if "|" in first else ",")
    columns = {(name or "").strip() for name in rows.fieldnames or ()}
    form = next((form for form in FORMATS if form.columns <= columns), None)
    if form is None:
        raise BadInput(f"trace {path} has the columns {_some(sorted(columns))}; known formats: {_known()}")
    return _trace(path, form, rows, devices_per_node)


def _trace(path: Path, form: Format, rows: csv.DictReader[str], devices_per_node: int) -> Trace:
    jobs: list[TracedJob] = []
    skipped: dict[str, int] = {}
    for number, row in enumerate(rows):
        try:
            job = form.job({(name or "").strip(): value or "" for name, value in row.items()}, devices_per_node)
        except _Skip as why:
            skipped[str(why)] = skipped.get(str(why), 0) + 1
            continue
        except (BadInput, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"trace {path}, line {number + 2}: {problem(error)}, read as {form.name}") from None
        if not (math.isfinite(job.submitted_at) and math.isfinite(job.work) and job.work >= 0):
            raise BadInput(f"trace {path}, line {number + 2}: its times are no finite numbers, read as {form.name}")
        jobs.append(job)
    notes = tuple(f"{count} left out: {why}" for why, count in skipped.items())
    return _ordered(path.stem, jobs, notes, str(path))


def _ordered(name: str, jobs: Sequence[TracedJob], notes: Sequence[str], where: str) -> Trace:
    """By submission, from time zero on, with ids in that order: first come is decided by id."""
    if not jobs:
        raise BadInput(f"trace {where} holds no job that ran{'; ' + notes[0] if notes else ''}")
    begin = min(job.submitted_at for job in jobs)
    ordered = sorted(jobs, key=lambda job: job.submitted_at)
    moved = [
        replace(job, id=number, submitted_at=job.submitted_at - begin, deadline=_since(job.deadline, begin))
        for number, job in enumerate(ordered, start=1)
    ]
    return Trace(name, moved, notes, begin)


def _since(moment: float | None, begin: float) -> float | None:
    return None if moment is None else moment - begin


def spec_of(
    name: str,
    devices: float,
    devices_per_node: int,
    *,
    cpus: int = 0,
    memory: int = 0,
    models: tuple[str, ...] = (),
) -> JobSpec:
    """A gang of `devices`: on one node where they fit there, else on whole nodes. Preemptible, without a limit."""
    milli = 1000 if devices >= 1 or devices == 0 else max(1, round(1000 * devices))
    whole = math.ceil(devices)
    nodes = max(1, math.ceil(whole / devices_per_node))
    each = math.ceil(whole / nodes) if nodes == 1 else devices_per_node
    need = Resources(accelerators=each, milli=milli, cpus=cpus, memory=memory, models=models)
    return JobSpec(name=name, command=("trace",), resources=need, nodes=nodes, requeue=True, grace=0.0)


# Formats


def _muri(row: Row, devices_per_node: int) -> TracedJob:
    devices, model = int(row["num_gpu"]), row["model_name"]
    starts = _MURI_STARTS.get(model, (10,) * 6)
    restart = float(starts[min(max(devices, 1).bit_length() - 1, len(starts) - 1)])
    work = float(row["iterations"]) * float(row["iteration_time"]) * MURI_SLOWER / 1000
    spec = spec_of(model, devices, devices_per_node)
    return TracedJob(int(row["job_id"]), float(row["submit_time"]) / 1000, work, spec, restart=restart)


def _chronus(row: Row, devices_per_node: int) -> TracedJob:
    submitted, work = float(row["submit_time"]), float(row["duration"])
    best = row["best_effort"] == "1"
    deadline = None if best else submitted + float(row["expect_time_list"].split("-")[0])
    spec = spec_of(row["model_name"], int(row["num_gpu"]), devices_per_node)
    user = row["user"]
    return TracedJob(int(row["job_id"]), submitted, max(work, _LEAST_WORK_S), spec, user, user, deadline=deadline)


def _openb(row: Row, devices_per_node: int) -> TracedJob:
    if not row["deletion_time"] or not row["scheduled_time"]:
        raise _Skip("never scheduled")
    devices = int(row["num_gpu"]) * int(row["gpu_milli"]) / 1000 if row["num_gpu"] != "0" else 0.0
    begin, end = float(row["scheduled_time"]), float(row["deletion_time"])
    models = tuple(part for part in row.get("gpu_spec", "").split("|") if part)
    spec = spec_of(
        row["name"],
        devices,
        devices_per_node,
        cpus=math.ceil(int(row["cpu_milli"]) / 1000),
        memory=int(row["memory_mib"]) << 20,
        models=models,
    )
    tenant = row.get("qos", "") or "trace"
    return TracedJob(0, float(row["creation_time"]), max(end - begin, _LEAST_WORK_S), spec, tenant, tenant)


def _acme(row: Row, devices_per_node: int) -> TracedJob:
    work = float(row["duration"] or 0)
    if work <= 0:
        raise _Skip("never ran")
    spec = spec_of(row.get("type", "") or "job", float(row["gpu_num"]), devices_per_node)
    return TracedJob(0, moment_of(row["submit_time"]), work, spec, row.get("queue", "") or row["user"], row["user"])


_TRES = re.compile(r"(?:^|,)(?P<name>[a-z]+)(?:/[a-z]+)?(?::(?P<kind>[^=,]+))?=(?P<count>[^,]+)")


def _sacct(row: Row, devices_per_node: int) -> TracedJob:
    if row["Start"] in ("Unknown", "None", "") or row["End"] in ("Unknown", "None", ""):
        raise _Skip("never ran, or has not ended")
    begin, end = moment_of(row["Start"]), moment_of(row["End"])
    wants = {
        found["name"]: found["count"] for found in _TRES.finditer(row.get("ReqTRES") or row.get("AllocTRES", ""))
    }
    nodes = int(row.get("NNodes", "") or wants.get("node", "1"))
    devices = int(wants.get("gres", "0"))
    cpus, memory = (
        int(wants.get("cpu", "1")) // nodes,
        parse_bytes(wants.get("mem", "0"), default_unit="M") // nodes,
    )
    spec = spec_of(row.get("JobName", "") or row["JobID"], devices, devices_per_node, cpus=cpus, memory=memory)
    limit = _limit(row.get("Timelimit", ""))
    spec = replace(
        spec, nodes=nodes, time_limit=limit, resources=replace(spec.resources, accelerators=devices // nodes)
    )
    user = row["User"]
    return TracedJob(
        0, moment_of(row["Submit"]), max(end - begin, _LEAST_WORK_S), spec, row["Account"] or user, user
    )


def _limit(text: str) -> float | None:
    """Slurm's ``2-04:00:00``, in seconds."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(86400 * days + 3600 * hours + 60 * minutes + seconds) or None


def moment_of(text: str) -> float:
    """Seconds, from a number or ISO 8601; a time without a zone counts as UTC, which cancels out."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=_UTC)).timestamp()


_UTC = datetime.fromisoformat("1970-01-01T00:00:00+00:00").tzinfo

FORMATS = (
    Format("muri", frozenset({"num_gpu", "submit_time", "iterations", "iteration_time", "model_name"}), _muri),
    Format("chronus", frozenset({"num_gpu", "submit_time", "duration", "expect_time_list", "user"}), _chronus),
    Format("openb", frozenset({"cpu_milli", "num_gpu", "gpu_milli", "creation_time", "deletion_time"}), _openb),
    Format("acme", frozenset({"gpu_num", "submit_time", "duration", "user"}), _acme),
    Format("sacct", frozenset({"JobID", "User", "Account", "Submit", "Start", "End"}), _sacct),
)


# Our own history


def _history(path: Path, text: str) -> Trace:
    return trace_of(listed_jobs(text, f"trace {path}"))


def listed_jobs(text: str, what: str) -> list[Job]:
    """The jobs of ``stoker jobs --all --json``. Raises BadInput naming `what` it was read as."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{what} is no JSON: {error}") from None
    items = given.get("items") if isinstance(given, dict) else given
    if not isinstance(items, list):
        raise BadInput(f"{what} is no list of jobs; make one with: stoker jobs --all --json")
    return [read(Job, item, what=f"{what}, job {number}") for number, item in enumerate(items, 1)]


def trace_of(jobs: Sequence[Job], name: str = "history") -> Trace:
    """Jobs as the platform kept them; what has not run is left out. What it had to wait for is not known any more:
    dependencies and delays are dropped."""
    ran = [job for job in jobs if job.started_at is not None and job.ended_at is not None]
    kept = [
        TracedJob(
            job.id,
            job.submitted_at,
            max((job.ended_at or 0.0) - (job.started_at or 0.0), _LEAST_WORK_S),
            replace(job.spec, depends=(), engine="", sites=(), image="", reservation="", attached="", package=""),
            job.tenant,
            job.owner,
        )
        for job in ran
    ]
    left = len(jobs) - len(kept)
    return _ordered(name, kept, (f"{left} left out: never ran, or have not ended",) if left else (), name)


def problem(error: Exception) -> str:
    """What is wrong with a row, in few words."""
    if isinstance(error, KeyError):
        return f"the column {error} is missing"
    return str(getattr(error, "strerror", None) or error).lower()


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _known() -> str:
    return ", ".join([*(form.name for form in FORMATS), "history (JSON)"])

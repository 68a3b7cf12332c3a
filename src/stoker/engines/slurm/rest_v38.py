"""slurmrestd's data of v0.0.38, which came with Slurm 22.05: rows, details and nodes out of its answers. Pure.

What is peculiar to this version, and what an adapter for another has to look at:

- Numbers are plain; one that is not set is null. (Later: ``{"set": ..., "infinite": ..., "number": ...}``.)
- ``job_state`` is one word. (Later: a list.) ``exit_code`` is the status as wait(2) gives it.
- ``array_job_id`` and ``het_job_id`` are 0 for a job that is none. ``array_task_string`` has those still to begin.
- A job without a time limit has an ``end_time`` a lifetime ahead; squeue says NONE there.
- ``job_resources`` is not there while a job waits. It tells cores, not CPUs; ``cpus_used`` is always 0.
  How many threads a core has stands at its node.
- A node's ``state`` is in small letters, its flags in large ones. CPUs that jobs cannot have are missing only in
  ``tres``. MemSpecLimit is nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stoker.engines.slurm.details import Detail, devices_of, exit_code_of
from stoker.engines.slurm.squeue import Row, word
from stoker.foreign import Held

VERSION = "v0.0.38"
_MIB = 1 << 20
_OPEN = frozenset(
    ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT")
)


def row(job: Mapping[str, Any]) -> Row:
    """One of ``jobs``, as squeue tells it. Raises KeyError, TypeError or ValueError for what is no job."""
    endless = job["time_limit"] is None and job["job_state"] in _OPEN
    return Row(
        int(job["job_id"]),
        _label(job),
        str(job["job_state"]),
        word(job["state_description"] or job["state_reason"]),
        int(job["user_id"]),
        str(job["user_name"] or job["user_id"]),
        str(job["partition"]),
        int(job["node_count"] or 0),
        word(job["nodes"] or ""),
        word(job["tres_per_node"] or ""),
        _moment(job["submit_time"]),
        _moment(job["start_time"]),
        None if endless else _moment(job["end_time"]),
        str(job["name"]),
        word(job["comment"] or ""),
    )


def detail(job: Mapping[str, Any], threads: Mapping[str, int], gres: str) -> Detail:
    """What `job` holds, and how it ended; `threads` a core has, by node."""
    status = int(job["exit_code"] or 0)
    return Detail(tuple(_held(job, threads, gres)), exit_code_of(str(job["job_state"]), status >> 8, status & 127))


def fields(node: Mapping[str, Any]) -> dict[str, str]:
    """One of ``nodes`` in the words of ``scontrol show node``."""
    effective = dict(part.partition("=")[::2] for part in str(node["tres"] or "").split(",")).get("cpu")
    return {
        "NodeName": str(node["name"]),
        "NodeHostName": str(node["hostname"]),
        "NodeAddr": str(node["address"]),
        "CPUTot": str(node["cpus"]),
        "CPUEfctv": effective or str(node["cpus"]),
        "RealMemory": str(node["real_memory"]),
        "State": "+".join([str(node["state"]).upper(), *node["state_flags"]]),
        "Reason": str(node["reason"] or ""),
        "Gres": str(node["gres"] or ""),
        "Partitions": ",".join(node["partitions"]),
        "ActiveFeatures": str(node["active_features"] or ""),
    }


def holders(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What `job` has of each of its nodes, in the order of their names."""
    return list((job.get("job_resources") or {}).get("allocated_nodes", ()))


def _held(job: Mapping[str, Any], threads: Mapping[str, int], gres: str) -> Iterator[Held]:
    devices = list(job["gres_detail"])
    for index, one in enumerate(holders(job)):
        name = str(one["nodename"])
        cores = sum(len(socket["cores"]) for socket in one["sockets"].values())
        indexes, count = devices_of(devices[index] if index < len(devices) else "", gres)
        yield Held(name, cores * threads.get(name, 1), int(one["memory_allocated"]) * _MIB, count, indexes)


def _label(job: Mapping[str, Any]) -> str:
    if array := job["array_job_id"]:
        task = job["array_task_id"]
        return f"{array}_{task}" if task is not None else f"{array}_[{job['array_task_string']}]"
    if het := job["het_job_id"]:
        return f"{het}+{job['het_job_offset']}"
    return str(job["job_id"])


def _moment(value: int | None) -> float | None:
    return float(value) if value else None

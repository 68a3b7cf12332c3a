"""What ``scontrol show job -d -o`` adds to the queue: which devices of which node a job holds, and exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stoker.engines.slurm.hostlist import expand, numbers
from stoker.engines.slurm.squeue import count_of
from stoker.errors import Away, BadInput
from stoker.foreign import Held

OPTIONS = ("--details", "--oneliner", "show", "job")
_JOB = re.compile(r"^JobId=(\d+) ", re.MULTILINE)
_STATE = re.compile(r" JobState=([A-Z_]+) ")
_EXIT = re.compile(r" ExitCode=(\d+):(\d+) ")
_HELD = re.compile(r"\sNodes=(\S+) CPU_IDs=(\S*) Mem=(\d+) GRES=(\S*)")
_INDEXES = re.compile(r"\(IDX:([0-9,-]*)\)")
_MIB = 1 << 20


@dataclass(frozen=True)
class Detail:
    held: tuple[Held, ...] = ()
    exit_code: int | None = None  # of one that has ended; 128 and the signal where a signal ended it


def parse(text: str, gres: str) -> dict[int, Detail]:
    """By job id. Raises Away for what is no answer of scontrol."""
    if text.strip() == "No jobs in the system":
        return {}
    head, *parts = _JOB.split(text)
    if head.strip() or not text.endswith("\n"):
        raise Away("scontrol's answer about the jobs was cut off")
    return {int(number): _detail(body, gres) for number, body in zip(parts[::2], parts[1::2], strict=True)}


def _detail(body: str, gres: str) -> Detail:
    exits = _EXIT.search(body)
    state = _STATE.search(body)
    code = exit_code_of(state[1], int(exits[1]), int(exits[2])) if exits and state else None
    return Detail(tuple(held for match in _HELD.finditer(body) for held in _held(match, gres)), code)


def exit_code_of(state: str, status: int, signal: int) -> int | None:
    if state in ("RUNNING", "PENDING", "CONFIGURING", "SUSPENDED"):
        return None
    return 128 + signal if signal else status


def _held(match: re.Match[str], gres: str) -> Iterator[Held]:
    nodes, cpus, memory, devices = match.groups()
    indexes, count = devices_of(devices, gres)
    try:
        for node in expand(nodes):
            yield Held(node, len(numbers(cpus)), int(memory) * _MIB, count, indexes)
    except BadInput as error:
        raise Away(f"scontrol's answer about the jobs: {error}") from None


def devices_of(text: str, gres: str) -> tuple[tuple[int, ...], int]:
    """``gpu:h200:2(IDX:0,3),shard:1(IDX:0)``: the indexes, where all are told, and how many."""
    indexes: list[int] = []
    count = 0
    for part in re.split(r",(?=[a-z])", text):
        mine = count_of(part, gres)
        count += mine
        if mine and (match := _INDEXES.search(part)):
            indexes += numbers(match[1])
    return (tuple(sorted(indexes)) if len(indexes) == count else ()), count

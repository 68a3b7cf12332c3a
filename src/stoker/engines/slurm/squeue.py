"""The queue as ``squeue`` tells it: one call for every job of everybody, ended ones of the last minutes too.

Names and comments may hold anything: line ends, bars, what looks like a job of ours. So columns are separated by a
word drawn anew for each call, which nobody could write into a name beforehand. A record without its last mark was
cut off: then nothing of the answer is believed. Options and columns are the same from Slurm 20 to 25.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from stoker.errors import Away

_COLUMNS = ("%A", "%i", "%T", "%r", "%U", "%u", "%P", "%D", "%N", "%b", "%V", "%S", "%e", "%j", "%k")
VARIABLES: Mapping[str, str] = {"TZ": "UTC", "SLURM_TIME_FORMAT": "%s"}  # times are seconds since the epoch


def fresh_word() -> str:
    """What separates columns in one answer."""
    return secrets.token_hex(6)


def options(separator: str) -> tuple[str, ...]:
    columns = separator.join(_COLUMNS)
    return ("--all", "--noheader", "--states=all", f"--format=<{separator}{columns}{separator}>")


@dataclass(frozen=True)
class Row:
    """One job in Slurm's own words."""

    id: int  # of its own, also for an element of an array
    label: str  # as people name it: 4127, 4130_2, 4130_[3-9]
    state: str  # PENDING, RUNNING, NODE_FAIL, ...
    reason: str = ""  # why it waits or ended
    uid: int = -1
    user: str = ""
    partition: str = ""
    nodes: int = 1
    nodelist: str = ""  # short form
    gres: str = ""  # asked for, per node: gres:gpu:2
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    name: str = ""
    comment: str = ""


def parse(text: str, separator: str) -> tuple[Row, ...]:
    """Raises Away when the answer is garbled or cut off."""
    head, *parts = text.split(separator)
    if head.strip() != ("<" if parts else ""):
        raise Away(f"squeue gave what is no queue: {head.strip()[:80]!r}")
    width = len(_COLUMNS) + 1  # counted, since a name may hold what stands between two records
    records = [parts[at : at + width] for at in range(0, len(parts), width)]
    for record, following in zip_longest(records, records[1:]):
        if len(record) != width or record[-1].split() != ([">", "<"] if following else [">"]):
            raise Away("squeue's answer was cut off")
    return tuple(_row(record[:-1]) for record in records)


def _row(fields: Sequence[str]) -> Row:
    job, label, state, reason, uid, user, partition, nodes, nodelist, gres, *times, name, comment = fields
    submitted, started, finished = (seconds(value) for value in times)
    try:
        return Row(
            int(job), label, state, word(reason), int(uid), user, partition, int(nodes), word(nodelist), word(gres),
            submitted, started, finished, name, word(comment),
        )  # fmt: skip
    except ValueError:
        raise Away(f"squeue gave what is no job: {' '.join(fields)[:80]!r}") from None


def seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None  # N/A, NONE, Unknown


def word(text: str) -> str:
    """Without Slurm's words for nothing."""
    return "" if text in ("None", "(null)", "N/A", "n/a") else text


def devices_asked(row: Row, gres: str) -> int:
    """How many of `gres` it asked for, on all its nodes: ``gres:gpu:h200:2`` on 3 nodes are 6."""
    return row.nodes * sum(
        count_of(part.removeprefix("gres:").removeprefix("gres/"), gres) for part in row.gres.split(",")
    )


def count_of(text: str, gres: str) -> int:
    """``gpu:h200:2`` or ``gpu=2`` are 2 of ``gpu``; other kinds none."""
    name, *rest = text.partition("(")[0].replace("=", ":").split(":")
    if name != gres:
        return 0
    return int(rest[-1]) if rest and rest[-1].isdigit() else 1

"""Slurm's commands: what is asked and told, and what its complaints mean. Counts its calls.

Every value is one word of an argument list; nothing is read by a shell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stoker.engines.slurm import details, nodes, squeue, topology
from stoker.engines.slurm.details import Detail
from stoker.engines.slurm.machine import Machine, Program, Ran
from stoker.engines.slurm.nodes import SlurmNode, Wanted
from stoker.engines.slurm.observe import Word
from stoker.engines.slurm.settings import SlurmSettings
from stoker.engines.slurm.squeue import Row, seconds, word
from stoker.errors import Away, Conflict, Denied, NotFound

_IDS_AT_ONCE = 2000  # job ids in one argument list
_CANCELS_AT_ONCE = 50  # signals go to each job's nodes one after the other: a call has to end in its time
# Complaints that a later moment cures. All else that sbatch says is about the job.
_PASSING = re.compile(
    r"unable to contact|timed out|zero bytes|connection refused|communication|try again|temporarily|"
    r"not respond|unreachable|resource temporarily|slurmctld|fetch config|configuration source|munge|"
    r"authentication credential|protocol authentication|no answer within|transport endpoint|backup controller",
    re.IGNORECASE,
)
_GONE = re.compile(r"invalid job id|already complet|job is pending|not found", re.IGNORECASE)


@dataclass(frozen=True)
class Submitted:
    """What sbatch made of one job: its id, or why not; `unsure` when nobody can say whether it was taken."""

    id: int | None = None
    refused: str = ""
    unsure: str = ""


@dataclass(frozen=True)
class Controller:
    """What of the cluster's configuration matters here."""

    version: str = ""
    cluster: str = ""
    books: bool = False  # there is accounting to ask
    memory_counts: bool = True  # memory is given out, and a job that names none gets a whole node's


class View(Protocol):
    """What is asked again and again: by commands, or of slurmrestd (rest.py). Every method raises Away."""

    @property
    def calls(self) -> Counter[str]: ...

    def queue(self) -> tuple[Row, ...]: ...

    def details(self) -> dict[int, Detail]: ...

    def nodes(self, wanted: Wanted) -> dict[str, SlurmNode]: ...

    def close(self) -> None: ...


class Commands:
    """One cluster. Every method raises Away when the machine or the controller does not answer."""

    def __init__(self, machine: Machine, settings: SlurmSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._variables = {"SLURM_CONF": settings.conf} if settings.conf else {}
        self.calls: Counter[str] = Counter()  # by command

    def queue(self) -> tuple[Row, ...]:
        """Everybody's jobs."""
        separator = squeue.fresh_word()
        return squeue.parse(self._asked("squeue", squeue.options(separator), squeue.VARIABLES), separator)

    def details(self) -> dict[int, Detail]:
        return details.parse(self._asked("scontrol", details.OPTIONS), self._settings.gres)

    def nodes(self, wanted: Wanted) -> dict[str, SlurmNode]:
        return nodes.parse(self._asked("scontrol", nodes.OPTIONS), wanted)

    def close(self) -> None:
        """Commands keep nothing open."""

    def books(self, ids: Sequence[int]) -> list[tuple[Word, float]]:
        """What the accounting says of these jobs, each with when it was submitted. An id may have served twice."""
        found: list[tuple[Word, float]] = []
        columns = "JobIDRaw,State,ExitCode,Submit,Start,End"
        for first in range(0, len(ids), _IDS_AT_ONCE):
            chosen = ",".join(map(str, ids[first : first + _IDS_AT_ONCE]))
            options = ("--noheader", "--allocations", "--parsable2", "--duplicates", f"--format={columns}")
            text = self._asked("sacct", (*options, f"--jobs={chosen}"), squeue.VARIABLES)
            found += [_entry(line) for line in text.splitlines() if line.count("|") == columns.count(",")]
        return found

    def controller(self) -> Controller:
        text = self._asked("scontrol", ("show", "config"))
        values = dict(re.findall(r"^(\w+) *= (.*?) *$", text, re.MULTILINE))
        counts = "MEMORY" in values.get("SelectTypeParameters", "").upper()
        silent = all(values.get(name, "UNLIMITED") == "UNLIMITED" for name in ("DefMemPerNode", "DefMemPerCPU"))
        return Controller(
            version=values.get("SLURM_VERSION", ""),
            cluster=values.get("ClusterName", ""),
            books=not values.get("AccountingStorageType", "").endswith(("none", "(null)")),
            memory_counts=counts and silent,
        )

    def topology(self) -> str:
        """What scontrol tells of the network; nothing where no plugin knows it. Raises Away for what will pass."""
        ran = self._run("scontrol", topology.OPTIONS)
        if ran.code != 0 and (ran.code is None or _PASSING.search(ran.err)):
            raise Away(f"scontrol: {ran.complaint}")
        return ran.out.decode(errors="replace") if ran.code == 0 else ""

    def submit(self, jobs: Sequence[Sequence[str]], script: str) -> list[Submitted]:
        """Each of `jobs` are options of sbatch and, last, the script's argument; `script` is its path."""
        programs = [self._program("sbatch", (*options, script, last)) for *options, last in jobs]
        self.calls["sbatch"] += len(programs)
        return [_submitted(ran) for ran in self._machine.run(programs, self._settings.patience)]

    def end_waiting(self, ids: Sequence[int]) -> None:
        """And those that are suspended: they would not hear a signal, and scancel would wait for its delivery."""
        self._scancel(ids, "--state=PENDING")
        self._scancel(ids, "--state=SUSPENDED")

    def tell_wrapper(self, ids: Sequence[int]) -> None:
        """SIGUSR1 to the batch scripts alone."""
        self._scancel(ids, "--batch", "--signal=USR1", "--state=RUNNING")

    def end(self, ids: Sequence[int]) -> None:
        self._scancel(ids)

    def user(self, uid: str) -> str:
        """The name of a user there; the number where it has none."""
        ran = self._machine.run([Program(("id", "-nu", uid))])[0]
        return ran.out.decode(errors="replace").strip() or f"user {uid}"

    def drain(self, node: str, reason: str) -> None:
        self._update(node, "state=DRAIN", f"reason={reason}")

    def resume(self, node: str) -> None:
        self._update(node, "state=RESUME")

    def _update(self, node: str, *words: str) -> None:
        ran = self._run("scontrol", ("update", f"nodename={node}", *words))
        if ran.code == 0:
            return
        if re.search(r"invalid node name", ran.err, re.IGNORECASE):
            raise NotFound.named("node", node)
        if re.search(r"permission|invalid user|access", ran.err, re.IGNORECASE):
            raise Denied(
                f"Slurm does not let this account change nodes ({ran.complaint}); an admin may: "
                "sacctmgr modify user NAME set adminlevel=operator"
            )
        if re.search(r"invalid node state", ran.err, re.IGNORECASE):
            raise Conflict(f"node {node}: {ran.complaint}")
        raise Away(f"scontrol: {ran.complaint}")

    def _scancel(self, ids: Sequence[int], *options: str) -> None:
        for first in range(0, len(ids), _CANCELS_AT_ONCE):
            ran = self._run("scancel", (*options, *map(str, ids[first : first + _CANCELS_AT_ONCE])))
            if ran.code is None or (ran.code and _PASSING.search(ran.err) and not _GONE.search(ran.err)):
                raise Away(f"scancel: {ran.complaint}")

    def _asked(self, name: str, options: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
        ran = self._run(name, options, variables)
        if ran.code != 0:
            raise Away(f"{name}: {ran.complaint}")
        return ran.out.decode(errors="replace")

    def _run(self, name: str, options: Sequence[str], variables: Mapping[str, str] | None = None) -> Ran:
        self.calls[name] += 1
        return self._machine.run([self._program(name, options, variables)], self._settings.patience)[0]

    def _program(self, name: str, options: Sequence[str], variables: Mapping[str, str] | None = None) -> Program:
        path = f"{self._settings.bin}/{name}" if self._settings.bin else name
        return Program((path, *options), variables={**self._variables, **(variables or {})})


def _submitted(ran: Ran) -> Submitted:
    if ran.code == 0:
        number = ran.out.decode(errors="replace").strip().partition(";")[0]
        return Submitted(id=int(number)) if number.isdigit() else Submitted(unsure=f"sbatch said {number[:80]!r}")
    if ran.code is None or _PASSING.search(ran.err) or not ran.err.strip():
        return Submitted(unsure=f"sbatch: {ran.complaint}")
    return Submitted(refused=f"Slurm refuses it: {ran.complaint.removeprefix('Batch job submission failed: ')}")


def _entry(line: str) -> tuple[Word, float]:
    job, state, code, submitted, started, ended = line.split("|")
    name, _, uid = state.partition(" by ")
    status, _, sign = code.partition(":")
    number = 128 + int(sign) if sign.isdigit() and int(sign) else int(status) if status.isdigit() else None
    found = Word(
        int(job) if job.isdigit() else -1, word(name), started_at=seconds(started), ended_at=seconds(ended),
        exit_code=number, by=uid,
    )  # fmt: skip
    return found, seconds(submitted) or 0.0

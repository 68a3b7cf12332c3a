"""An unchanged sbatch script as a job.

Of a directive given twice the last one wins, as in sbatch. What sbatch knows and Stoker cannot keep is of two
sorts: what changes where, when or whether the job runs is refused; what touches only its surroundings is named in
a notice. Nothing is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from stoker.environment import carried, exported
from stoker.errors import BadInput, StokerError
from stoker.job import JobSpec, Mount, Resources
from stoker.sbatch_directives import (
    HONOURED_NAMES,
    REFUSED_NAMES,
    WITHOUT_EFFECT_NAMES,
    Directive,
    late_directives,
    read_directives,
)
from stoker.spelling import (
    Accelerators,
    check_length,
    parse_accelerators,
    parse_array,
    parse_count,
    parse_dependencies,
    parse_moment,
    parse_signal,
)
from stoker.topology import ANYWHERE, Level, Topology
from stoker.units import parse_bytes, parse_duration

T = TypeVar("T")
_CLOSE = {"switches", "contiguous"}  # options that ask for nodes close to each other


@dataclass(frozen=True)
class Batch:
    """A batch script as a job, and what its author should be told about it."""

    spec: JobSpec
    notices: tuple[str, ...] = ()
    wait: bool = False  # --wait: the submitter waits for the end


def read_sbatch(
    text: str,
    *,
    source: str = "batch script",
    name: str = "sbatch",
    arguments: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    along: Mapping[str, str] | None = None,
    lenient: bool = False,
) -> Batch:
    """The job of the batch script `text`; `name` is used when it gives none.

    `environ` is the submitter's environment, for ``--export``; `along` is what the job gets without it, `carried`
    of `environ` when None. With `lenient`, options that Stoker cannot keep become notices. Raises BadInput naming
    the line.
    """
    _check_script(text, source)
    directives = list(read_directives(text, source))
    known = {directive.option: directive for directive in directives if directive.option in HONOURED_NAMES}
    reader = _Reader(source, known, environ or {}, carried(environ or {}) if along is None else along)
    spec = reader.spec(text, name, tuple(arguments))
    notices = [*_notices(directives, source, lenient), *late_directives(text)]
    if known.get("mem", Directive("", "", 0)).value == "0":
        notices.append(f"line {known['mem'].line}: --mem=0 reserves no memory here; the job takes what is free")
    notices += [
        f"line {known[option].line}: --{option}: few leaf switches are preferred, not waited for"
        for option in sorted(_CLOSE & known.keys())
    ]
    return Batch(spec, tuple(notices), "wait" in known)


def looks_like_script(text: str) -> bool:
    return text.startswith("#!")


def _check_script(text: str, source: str) -> None:
    check_length(text, source)
    if not text.strip():
        raise BadInput(f"{source}: the script is empty")
    if "\r\n" in text:
        raise BadInput(f"{source}: has DOS line ends; convert them: sed -i 's/\\r$//' {source}")
    if not looks_like_script(text):
        raise BadInput(f"{source}: the first line of a batch script names its interpreter, for example #!/bin/bash")
    if "\x00" in text:
        raise BadInput(f"{source}: holds NUL characters; a batch script is text")


def _notices(directives: Sequence[Directive], source: str, lenient: bool) -> Iterator[str]:
    for directive in directives:
        if directive.option in WITHOUT_EFFECT_NAMES:
            yield f"line {directive.line}: --{directive.option} has no effect here"
        elif directive.option in REFUSED_NAMES:
            message = f"--{directive.option} cannot be kept here"
            if not lenient:
                raise BadInput(
                    f"{source} line {directive.line}: {message}; remove it, or run without it: --lenient"
                )
            yield f"line {directive.line}: {message}, and is left out"


@dataclass(frozen=True)
class _Reader:
    """Turns the last of each honoured directive into the fields of a job."""

    source: str
    given: Mapping[str, Directive]
    environ: Mapping[str, str]
    along: Mapping[str, str]

    def spec(self, text: str, name: str, arguments: tuple[str, ...]) -> JobSpec:
        nodes, tasks = self._layout()
        unspread: tuple[tuple[int, ...], int] = ((), 0)
        array, array_limit = self._read("array", parse_array, unspread)
        try:
            return JobSpec(
                name=self._text("job-name", name),
                script=text,
                arguments=arguments,
                resources=self._resources(nodes, tasks),
                nodes=nodes,
                tasks_per_node=tasks,
                envs=self._read("export", lambda wish: exported(wish, self.environ), dict(self.along)),
                workdir=self._text("chdir"),
                stdout=self._text("output"),
                stderr=self._text("error"),
                queue=self._text("partition"),
                account=self._text("account"),
                qos=self._text("qos"),
                time_limit=self._read("time", _time_limit, None),
                deadline=self._read("deadline", parse_moment, None),
                requeue=self._requeue(),
                preemptible=self._requeue(),
                **self._signal(),
                array=array,
                array_limit=array_limit,
                depends=self._read("dependency", parse_dependencies, ()),
                reservation=self._text("reservation"),
                exclusive="exclusive" in self.given,
                topology=self._topology(),
                image=self._text("container-image"),
                mounts=self._read("container-mounts", _mounts, ()),
            )
        except BadInput as error:
            if str(error).startswith(self.source):
                raise
            raise BadInput(f"{self.source}: {error}", param=error.param) from None

    def _text(self, option: str, default: str = "") -> str:
        return self.given[option].value if option in self.given else default

    def _read(self, option: str, parse: Callable[[str], T], default: T) -> T:
        if option not in self.given:
            return default
        directive = self.given[option]
        try:
            return parse(directive.value)
        except StokerError as error:
            raise BadInput(f"{self.source} line {directive.line}: --{option}: {error}") from None

    def _count(self, option: str, default: int) -> int:
        return self._read(option, lambda text: parse_count(text, what="count", least=1), default)

    def _topology(self) -> Topology:
        """Slurm waits for so few switches a while, five minutes unless told, and then does without."""
        self._read("switches", lambda text: parse_count(text.partition("@")[0], what="switches", least=1), 0)
        return Topology(preferred=Level.LEAF) if _CLOSE & self.given.keys() else ANYWHERE

    def _requeue(self) -> bool:
        yes, no = self.given.get("requeue"), self.given.get("no-requeue")
        return yes is not None and (no is None or yes.line > no.line)

    def _signal(self) -> dict[str, Any]:
        if "signal" not in self.given:
            return {}
        name, lead = self._read("signal", parse_signal, ("", 0.0))
        return {"checkpoint_signal": name, "checkpoint_lead": lead}

    def _layout(self) -> tuple[int, int]:
        """Nodes, and tasks on each."""
        nodes = self._read("nodes", _least_nodes, 0)
        per_node = self._count("ntasks-per-node", 0)
        total = self._count("ntasks", 0)
        if not total:
            return nodes or 1, per_node or 1
        if not nodes:
            nodes = -(-total // per_node) if per_node else 1
        if total % nodes or (per_node and total // nodes > per_node):
            limit = f" with at most {per_node} on each" if per_node else ""
            raise BadInput(f"{self.source}: --ntasks={total} does not spread evenly over {nodes} nodes{limit}")
        return nodes, total // nodes

    def _resources(self, nodes: int, tasks: int) -> Resources:
        devices = self._accelerators(nodes, tasks)
        cpus = tasks * self._count("cpus-per-task", 1)
        if "cpus-per-gpu" in self.given:
            cpus = max(cpus, devices.count * self._count("cpus-per-gpu", 1))
        return Resources(
            accelerators=devices.count,
            models=devices.models,
            milli=devices.milli,
            cpus=cpus,
            memory=self._memory(cpus, devices.count),
        )

    def _accelerators(self, nodes: int, tasks: int) -> Accelerators:
        """Devices on each node; the four ways to ask for them must not contradict each other."""
        wishes = {
            "gres": self._read("gres", _gres, None),
            "gpus-per-node": self._read("gpus-per-node", parse_accelerators, None),
            "gpus-per-task": self._read(
                "gpus-per-task", lambda text: _times(parse_accelerators(text), tasks), None
            ),
            "gpus": self._read("gpus", lambda text: _shared_out(parse_accelerators(text), nodes), None),
        }
        asked = {option: wish for option, wish in wishes.items() if wish is not None}
        if len(set(asked.values())) > 1:
            raise BadInput(
                f"{self.source}: {', '.join(f'--{o}' for o in asked)} ask for different devices; keep one"
            )
        return next(iter(asked.values()), Accelerators())

    def _memory(self, cpus: int, devices: int) -> int:
        """Bytes on each node."""
        scale = {"mem": 1, "mem-per-cpu": cpus, "mem-per-gpu": devices}
        asked = [option for option in scale if option in self.given]
        if len(asked) > 1:
            raise BadInput(f"{self.source}: {', '.join(f'--{o}' for o in asked)} exclude each other; keep one")
        return sum(self._read(option, _megabytes, 0) * scale[option] for option in asked)


def _mounts(text: str) -> tuple[Mount, ...]:
    """pyxis' ``SRC:DST[:FLAGS][,...]``; of the flags only ro and rw are kept."""
    found = []
    for part in text.split(","):
        source, _, rest = part.partition(":")
        target, _, flags = rest.partition(":")
        if flags not in ("", "ro", "rw"):
            raise BadInput(f'"{flags}" was given; allowed are ro and rw')
        found.append(Mount(source, target or source, flags == "ro"))
    return tuple(found)


def _megabytes(text: str) -> int:
    return parse_bytes(text.rstrip("bB"), default_unit="M")  # to sbatch, 4GB and 4G are the same


def _time_limit(text: str) -> float | None:
    if text.strip().lower() in ("infinite", "unlimited"):
        return None
    return parse_duration(text) or None  # sbatch: zero asks for no limit


def _least_nodes(text: str) -> int:
    """The lower end of ``2`` or ``2-4``."""
    least, dash, most = text.partition("-")
    if dash and parse_count(most, what="nodes", least=1) < parse_count(least, what="nodes", least=1):
        raise BadInput(f'"{text}" runs backwards; write for example 2-4')
    return parse_count(least, what="nodes", least=1)


_GRES = re.compile(r"^(?:gres[:/])?gpu(?:[:=](.+))?$")


def _gres(text: str) -> Accelerators:
    if text.lower() == "none":
        return Accelerators()
    match = _GRES.match(text.strip())
    if not match or "," in text:
        raise BadInput(f'"{text}" was given; allowed is one kind of gpu, for example gpu:2 or gpu:h100:2')
    return parse_accelerators(match[1] or "1")


def _times(devices: Accelerators, tasks: int) -> Accelerators:
    return Accelerators(devices.count * tasks, devices.models, devices.milli)


def _shared_out(devices: Accelerators, nodes: int) -> Accelerators:
    if devices.count % nodes:
        raise BadInput(f"{devices.count} devices do not spread evenly over {nodes} nodes")
    return Accelerators(devices.count // nodes, devices.models, devices.milli)

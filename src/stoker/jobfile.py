"""Job file: a job as people write it in YAML, with SkyPilot's and dstack's field names.

name: tokenise
type: task                      # task, service or dev-environment
resources: {accelerators: H100:8, cpus: 16+, memory: 64Gi}
num_nodes: 2
envs: {CORPUS: /data/web, TOKEN: null}     # null: must be given at submit
setup: pip install -r requirements.txt
run: python tokenise.py "$CORPUS"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stoker.errors import BadInput
from stoker.job import JobKind, JobSpec, Mount, Resources
from stoker.spelling import (
    Accelerators,
    join_accelerators,
    lower_bound,
    parse_accelerators,
    parse_array,
    parse_at_least,
    parse_dependencies,
    parse_moment,
    parse_signal,
)
from stoker.topology import Topology, parse_topology
from stoker.units import parse_bytes
from stoker.yamltext import count, duration, flag, load, plain, reading, rename

_KINDS = {
    "task": JobKind.TASK,
    "service": JobKind.SERVICE,
    "dev-environment": JobKind.NOTEBOOK,
    "notebook": JobKind.NOTEBOOK,
}
# dstack's word for a field -> ours, which is SkyPilot's where it has one.
ALIASES = {
    "nodes": "num_nodes",
    "env": "envs",
    "commands": "run",
    "working_dir": "workdir",
    "max_duration": "time_limit",
    "time": "time_limit",
    "partition": "queue",
    "dependency": "depends",
    "image_id": "image",
    "volumes": "mounts",
    "files": "package",
    "site": "sites",
    "signal": "checkpoint_signal",
    "min_num_nodes": "min_nodes",
}
RESOURCE_ALIASES = {"gpu": "accelerators", "gpus": "accelerators", "cpu": "cpus"}


def read_jobfile(
    text: str, *, source: str = "job file", name: str = "job", envs: Mapping[str, str] | None = None
) -> JobSpec:
    """The job that the YAML `text` asks for; `name` is used when it gives none.

    `envs` are given at submit and win over those of the file.

    Raises BadInput, which begins with `source` and names the field, or for bad YAML the line.
    """
    with reading(text, source):
        return _spec({"name": name, **load(text, "a job file", "run: python train.py")}, envs or {})


def _spec(data: Mapping[str, Any], envs: Mapping[str, str]) -> JobSpec:
    fields = rename(data, ALIASES, FIELDS, "field")
    values = {_FIELDS[name][0]: _FIELDS[name][1](name, value) for name, value in fields.items() if name in _FIELDS}
    values.update(values.pop("array_and_limit", {}))
    values.update(values.pop("signal_and_lead", {}))
    values["script"] = _script(fields.get("setup"), fields.get("run"))
    values.setdefault("each_node", values.get("nodes", 1) > 1)
    values["envs"] = _envs(fields.get("envs"), envs)
    return JobSpec(**values)


def _script(setup: Any, run: Any) -> str:
    """One bash script: `setup` must succeed as a whole, `run` ends as its last command does."""
    body = _lines("run", run)
    if not body.strip():
        raise BadInput("nothing to run; write for example: run: python train.py", param="run")
    if not setup:
        return body if body.startswith("#!") else f"#!/bin/bash\n{body}\n"
    if body.startswith("#!"):
        raise BadInput("run has its own interpreter line; then the commands of setup belong into it", param="setup")
    return f"#!/bin/bash\nset -e\n{_lines('setup', setup)}\nset +e\n{body}\n"


def _lines(name: str, value: Any) -> str:
    """Text, or dstack's list of commands of which each must succeed."""
    if isinstance(value, list):
        return "\n".join(["set -e", *(plain(name, item) for item in value)]) if value else ""
    return plain(name, value) if value is not None else ""


def _envs(given: Any, at_submit: Mapping[str, str]) -> dict[str, str]:
    if isinstance(given, list):  # dstack: NAME=value, or NAME
        pairs = [plain("envs", item).partition("=") for item in given]
        given = {name: value if equals else None for name, equals, value in pairs}
    if not isinstance(given or {}, dict):
        raise BadInput("envs is a mapping; write for example envs: {LR: 0.001}", param="envs")
    merged = {plain("envs", name): value for name, value in (given or {}).items()} | dict(at_submit)
    missing = [name for name, value in merged.items() if value is None]
    if missing:
        raise BadInput(f"envs: {missing[0]} has no value here; give it with --env {missing[0]}=...", param="envs")
    return {name: plain(f"envs: {name}", value) for name, value in merged.items()}


def _kind(name: str, value: Any) -> JobKind:
    if plain(name, value) not in _KINDS:
        raise BadInput(f'type "{value}" was given; allowed are {", ".join(_KINDS)}', param=name)
    return _KINDS[value]


def read_resources(name: str, value: Any) -> Resources:
    """What is asked for on each node."""
    if not isinstance(value, dict):
        raise BadInput("resources is a mapping; write for example resources: {accelerators: H100:8}", param=name)
    fields = rename(value, RESOURCE_ALIASES, RESOURCE_FIELDS, "field in resources")
    devices = _accelerators(fields.get("accelerators"), fields.get("any_of"))
    return Resources(
        accelerators=devices.count,
        models=devices.models,
        milli=devices.milli,
        cpus=parse_at_least(plain("cpus", fields.get("cpus", "1")), what="cpus"),
        memory=parse_bytes(lower_bound(plain("memory", fields.get("memory", "0"))), default_unit="G"),
    )


def _accelerators(value: Any, any_of: Any = None) -> Accelerators:
    """`any_of` is SkyPilot's list of alternatives: ``[{accelerators: H20:8}, {accelerators: H100:8}]``."""
    if any_of is not None:
        if value is not None or not isinstance(any_of, list) or not all(map(_names_devices, any_of)):
            raise BadInput(
                "any_of is a list of accelerators alone; write for example"
                " any_of: [{accelerators: H20:8}, {accelerators: H100:8}]",
                param="any_of",
            )
        return join_accelerators(_accelerators(next(iter(one.values()))) for one in any_of)
    if value is None:
        return Accelerators()
    if isinstance(value, dict):
        value = [f"{model}:{plain('accelerators', number)}" for model, number in value.items()]
    choices = value if isinstance(value, list) else [value]
    return join_accelerators(parse_accelerators(plain("accelerators", choice)) for choice in choices)


def _names_devices(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and RESOURCE_ALIASES.get(*value, *value) == "accelerators"


def _topology(name: str, value: Any) -> Topology:
    """``{required: pod, preferred: leaf}``, or the same in words: ``required=pod,preferred=leaf``."""
    if isinstance(value, dict):
        value = ",".join(f"{plain(name, key)}={plain(name, level)}" for key, level in value.items())
    return parse_topology(plain(name, value))


def _array(name: str, value: Any) -> dict[str, Any]:
    indices, limit = parse_array(plain(name, value))
    return {"array": indices, "array_limit": limit}


def _signal(name: str, value: Any) -> dict[str, Any]:
    signal, lead = parse_signal(plain(name, value))
    return {"checkpoint_signal": signal, "checkpoint_lead": lead}


def _labels(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise BadInput("labels is a mapping; write for example labels: {project: speech}", param=name)
    return {plain(name, key): plain(name, item) for key, item in value.items()}


def _words(name: str, value: Any) -> tuple[str, ...]:
    """One word, or a list of them."""
    return tuple(plain(name, item) for item in (value if isinstance(value, list) else [value]))


def _image(name: str, value: Any) -> str:
    return plain(name, value).removeprefix("docker:")  # SkyPilot's way to write it


def _mounts(name: str, value: Any) -> tuple[Mount, ...]:
    return parse_mounts(_words(name, value), name)


def parse_mounts(texts: Sequence[str], what: str) -> tuple[Mount, ...]:
    """``/data:/data:ro``, ``/data`` or ``pvc:NAME:/data``, each; raises BadInput beginning with `what`."""
    mounts: list[Mount] = []
    for text in texts:
        kind, _, rest = text.partition(":") if text.startswith("pvc:") else ("", "", text)
        source, _, target = rest.partition(":")
        target, _, mode = target.partition(":")
        if mode not in ("", "ro", "rw"):
            raise BadInput(
                f'{what}: "{text}" was given; write /on/node:/in/container, with :ro to only read', param="mounts"
            )
        mounts.append(Mount(f"{kind}:{source}" if kind else source, target or source, mode == "ro"))
    return tuple(mounts)


_Reader = Callable[[str, Any], Any]
_FIELDS: Mapping[str, tuple[str, _Reader]] = {  # name in the file -> field of JobSpec, how to read it
    "name": ("name", plain),
    "type": ("kind", _kind),
    "resources": ("resources", read_resources),
    "num_nodes": ("nodes", count),
    "tasks_per_node": ("tasks_per_node", count),
    "workdir": ("workdir", plain),
    "stdout": ("stdout", plain),
    "stderr": ("stderr", plain),
    "priority": ("priority", count),
    "queue": ("queue", plain),
    "account": ("account", plain),
    "qos": ("qos", plain),
    "time_limit": ("time_limit", duration),
    "deadline": ("deadline", lambda name, value: parse_moment(plain(name, value))),
    "grace": ("grace", duration),
    "retries": ("retries", count),
    "requeue": ("requeue", flag),
    "preemptible": ("preemptible", flag),
    "min_runtime": ("min_runtime", duration),
    "checkpoint_signal": ("signal_and_lead", _signal),
    "checkpoint_every": ("checkpoint_every", duration),
    "min_nodes": ("min_nodes", count),
    "array": ("array_and_limit", _array),
    "depends": ("depends", lambda name, value: parse_dependencies(plain(name, value))),
    "engine": ("engine", plain),
    "sites": ("sites", _words),
    "tolerations": ("tolerations", _words),
    "topology": ("topology", _topology),
    "each_node": ("each_node", flag),
    "exclusive": ("exclusive", flag),
    "image": ("image", _image),
    "mounts": ("mounts", _mounts),
    "reservation": ("reservation", plain),
    "package": ("package", plain),
    "labels": ("labels", _labels),
}
FIELDS = (*_FIELDS, "setup", "run", "envs")  # the last three are read together
RESOURCE_FIELDS = ("accelerators", "any_of", "cpus", "memory")

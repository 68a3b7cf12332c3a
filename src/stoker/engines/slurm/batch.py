"""An order as Slurm gets it: the options of sbatch, and order.json for the wrapper. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from signal import Signals
from typing import Any

from stoker.cluster import WHOLE, Node
from stoker.engine import Key, Order
from stoker.engines.slurm.container import contained
from stoker.engines.slurm.machine import File
from stoker.engines.slurm.settings import Containers, SlurmSettings
from stoker.job_environment import ANY_ADDRESS, fill, identity, meeting

MARK = "stoker"
SAVED = ".saved"  # what a job touches in its attempt's folder when its work so far is safe
_MINUTE = 60.0
_MIB = 1 << 20


@dataclass(frozen=True)
class Site:
    """What is the same for every order: where things lie on the cluster."""

    settings: SlurmSettings
    installation: str
    folder: str  # absolute; shared by login and compute nodes
    wrapper: str  # absolute path of the wrapper there
    nodes: Mapping[str, Node]
    models: Mapping[str, Mapping[int, str]]  # node -> device index -> its model in Slurm's word
    memory_counts: bool = True  # Slurm gives out memory, and has no default of its own for jobs that name none

    def attempt(self, key: Key) -> str:
        """The folder of an attempt."""
        return f"{self.folder}/{key.job}/{key.attempt}"

    def mark(self, key: Key) -> str:
        """How a Slurm job says whose it is, in its comment."""
        return f"{MARK}:{self.installation}:{key.job}.{key.attempt}"


def key_of(comment: str, installation: str) -> Key | None:
    """The key in a job's comment; None for what is not ours."""
    name, _, rest = comment.partition(":")
    owner, _, label = rest.partition(":")
    job, _, attempt = label.partition(".")
    if name != MARK or owner != installation or not (job.isascii() and attempt.isascii()):
        return None
    return Key(int(job), int(attempt)) if job.isdigit() and attempt.isdigit() else None


def refusal(order: Order, site: Site) -> str:
    """Why this engine can never run the order, in one line; empty when it can."""
    spec = order.spec
    if spec.resources.accelerators and spec.resources.milli < WHOLE:
        return "asks for a share of a device; Slurm gives whole devices: ask for 1, or for another engine"
    if spec.image and site.settings.containers is Containers.NONE:
        return (
            "asks for an image, but this engine runs none; its admin chooses: --containers pyxis|apptainer|podman"
        )
    lost = [placed.node for placed in order.placements if placed.node not in site.nodes]
    if lost:
        return f"is placed on {lost[0]}, which this Slurm does not have"
    return ""


def options(order: Order, site: Site) -> list[str]:
    """The options of sbatch. Every value is glued to its name, so none can be taken for another option."""
    spec, settings = order.spec, site.settings
    folder = site.attempt(order.key)
    named = {
        "job-name": spec.name,
        "comment": site.mark(order.key),
        "chdir": folder,
        "output": f"{folder}/slurm.out".replace("%", "%%"),
        "nodes": str(spec.nodes),
        "nodelist": ",".join(placed.node for placed in order.placements),
        "ntasks-per-node": str(spec.tasks_per_node),
        "cpus-per-task": str(max(1, -(-spec.resources.cpus // spec.tasks_per_node))),
        "gres": _gres(order, site),
        "mem": _memory(order, site),
        "time": _minutes(spec.time_limit),
        "partition": spec.queue or settings.partition,
        "account": spec.account or settings.account,
        "qos": spec.qos or settings.qos,
        "reservation": spec.reservation or settings.reservation,
    }
    given = [f"--{name}={value}" for name, value in named.items() if value]
    flags = ["--parsable", "--no-requeue", "--export=ALL", "--open-mode=append"]
    return [*flags, *given, *(["--exclusive"] if spec.exclusive else []), *settings.directives]


def _gres(order: Order, site: Site) -> str:
    """``gpu:h200:2``; the model is named when all devices of the placement are of one, as Slurm calls it."""
    count = order.spec.resources.accelerators
    if not count:
        return ""
    held = {
        site.models.get(placed.node, {}).get(index, "") for placed in order.placements for index in placed.devices
    }
    model = next(iter(held)) if len(held) == 1 else ""
    return ":".join(filter(None, (site.settings.gres, model, str(count))))


def _memory(order: Order, site: Site) -> str:
    """MiB on each node. Slurm takes silence for all the memory of a node; then the job asks for its CPUs' share."""
    spec = order.spec
    if spec.exclusive and not spec.resources.memory:
        return "0"  # all of it
    if spec.resources.memory:
        return f"{-(-spec.resources.memory // _MIB)}M"
    if not site.memory_counts:
        return ""
    nodes = [site.nodes[placed.node] for placed in order.placements]
    share = min((node.memory // max(1, node.cpus) for node in nodes), default=0) * max(1, spec.resources.cpus)
    return f"{max(1, share // _MIB)}M"


def _minutes(limit: float | None) -> str:
    """Slurm counts whole minutes; the wrapper keeps the limit to the second."""
    return str(math.ceil(limit / _MINUTE)) if limit else ""


def files(order: Order, site: Site) -> list[File]:
    """What lies in the attempt's folder before it is submitted, but for the package."""
    folder, spec = site.attempt(order.key), order.spec
    found = [File(f"{folder}/order.json", _order_json(order, site), 0o600)]
    if spec.script:
        found.append(File(f"{folder}/script", spec.script.encode(), 0o700))
    found += [File(f"{folder}/files/{name}", path.read_bytes()) for name, path in order.files.items()]
    return found


def package_path(order: Order, site: Site) -> str:
    """Where its package lies there: an uploaded one once for all that use it."""
    if order.spec.package:
        return f"{site.folder}/packages/{order.spec.package}.tar.gz"
    return f"{site.attempt(order.key)}/package.tar.gz"


def _order_json(order: Order, site: Site) -> bytes:
    return json.dumps(written(order, site)).encode()


def written(order: Order, site: Site) -> dict[str, Any]:
    """The content of order.json: see wrapper.py."""
    spec, folder = order.spec, site.attempt(order.key)
    top = f"{folder}/package" if order.package else folder
    workdir = spec.workdir if spec.workdir.startswith("/") else f"{top}/{spec.workdir}".rstrip("/")
    argv = [f"{folder}/script", *spec.arguments] if spec.script else list(spec.command)
    names = [placed.node for placed in order.placements]
    addresses = [site.nodes[name].address or name for name in names]
    first = names[0] if names else ""
    out, err = (_output(order, pattern, workdir, first) for pattern in (spec.stdout, spec.stderr))
    told = {"STOKER_PROBE": f"{folder}/probe.jsonl", "STOKER_SAVED": f"{folder}/{SAVED}"}
    fixed = {**identity(order), **told, "STOKER_BIND": ANY_ADDRESS, **order.envs}
    if order.array_index is not None:  # to Slurm each element is a job of its own
        fixed["SLURM_ARRAY_JOB_ID"] = str(order.array_id)
        fixed["SLURM_ARRAY_TASK_ID"] = str(order.array_index)
    if order.files:
        fixed["STOKER_FILES"] = f"{folder}/files"
    ranks = [dict(meeting(order, names, addresses, rank)) for rank in range(len(names))]
    envs = {"PYTHONUNBUFFERED": "1"}  # people follow the log while it is written
    if spec.resources.cpus:
        envs["OMP_NUM_THREADS"] = str(spec.resources.cpus)
    envs |= spec.envs
    if spec.image:
        known = sorted({*envs, *fixed, *(name for rank in ranks for name in rank)})
        argv = contained(argv, spec, site.settings, folder, workdir, known)
    return {
        "argv": argv,
        "across": _across(order, site) if spec.each_node and spec.nodes > 1 else None,
        "scancel": f"{site.settings.bin}/scancel" if site.settings.bin else "scancel",
        "envs": envs,
        "ranks": ranks or [{}],
        "fixed": fixed,
        "workdir": workdir,
        "package": package_path(order, site) if order.package else "",
        "stdout": out or f"{folder}/stdout",
        "stderr": err,
        "attempt": order.key.attempt,
        "time_limit": spec.time_limit,
        "grace": spec.grace,
        "signal": Signals[f"SIG{spec.checkpoint_signal}"].value if spec.checkpoint_signal else 0,
        "lead": spec.checkpoint_lead,
    }


def _output(order: Order, pattern: str, workdir: str, node: str) -> str:
    if not pattern:
        return ""
    filled = fill(pattern, order, node)
    return filled if filled.startswith("/") else f"{workdir}/{filled}"


def _across(order: Order, site: Site) -> list[str]:
    """How the wrapper starts its parts, one on each node."""
    spec = order.spec
    return [
        f"{site.settings.bin}/srun" if site.settings.bin else "srun",
        f"--nodes={spec.nodes}", f"--ntasks={spec.nodes}", "--ntasks-per-node=1",
        f"--cpus-per-task={max(1, spec.resources.cpus)}", "--overlap", "--kill-on-bad-exit=1", "--mpi=none",
        "--export=ALL", "--input=none", "--quiet",
        site.settings.wrapper_python, "-IS", site.wrapper, site.attempt(order.key), "--node",
    ]  # fmt: skip

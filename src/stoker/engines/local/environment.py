"""What a job finds in its environment: a clean base, Slurm's names, its devices, and the user's own last."""

from __future__ import annotations

import os
from collections.abc import Mapping

from stoker.cluster import Node
from stoker.engine import Order
from stoker.engines.local.attempt import Attempt
from stoker.job_environment import identity, meeting

# Passed on from the platform's environment; everything else stays behind, the platform's secrets above all.
_PASSED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "LD_LIBRARY_PATH",
    "VIRTUAL_ENV", "CONDA_PREFIX", "CUDA_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "HF_HOME", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE", "XDG_CACHE_HOME",
)  # fmt: skip
_VISIBLE = {"nvidia": "CUDA_VISIBLE_DEVICES", "huawei": "ASCEND_RT_VISIBLE_DEVICES", "amd": "HIP_VISIBLE_DEVICES",
            "hygon": "HIP_VISIBLE_DEVICES"}  # fmt: skip


def environment(order: Order, attempt: Attempt, node: Node, workdir: str) -> dict[str, str]:
    base = {name: os.environ[name] for name in _PASSED if name in os.environ}
    base |= {name: value for name, value in os.environ.items() if name.startswith("LC_")}
    base.setdefault("PATH", os.defpath)
    ours = {**_stoker(order, attempt, node), **_slurm(order, node, workdir), **_devices(order, node)}
    usual = {"PYTHONUNBUFFERED": "1"}  # people follow the log while it is written
    if order.spec.resources.cpus:
        usual["OMP_NUM_THREADS"] = str(order.spec.resources.cpus)
    return {**base, **usual, **order.spec.envs, **ours, **order.envs}


def _stoker(order: Order, attempt: Attempt, node: Node) -> dict[str, str]:
    here = meeting(order, (node.name,), ("127.0.0.1",), 0)
    files = {"STOKER_FILES": str(attempt.files)} if order.files else {}
    return {**identity(order), **here, **files, "STOKER_PROBE": str(attempt.probe)}


def _slurm(order: Order, node: Node, workdir: str) -> dict[str, str]:
    spec = order.spec
    named = {
        "SLURM_JOB_ID": str(order.key.job),
        "SLURM_JOBID": str(order.key.job),
        "SLURM_JOB_NAME": spec.name,
        "SLURM_JOB_NODELIST": node.name,
        "SLURM_JOB_NUM_NODES": str(spec.nodes),
        "SLURM_NNODES": str(spec.nodes),
        "SLURM_NTASKS": str(spec.nodes * spec.tasks_per_node),
        "SLURM_NTASKS_PER_NODE": str(spec.tasks_per_node),
        "SLURM_CPUS_PER_TASK": str(max(1, spec.resources.cpus // spec.tasks_per_node)),
        "SLURM_CPUS_ON_NODE": str(spec.resources.cpus),
        "SLURM_GPUS_ON_NODE": str(spec.resources.accelerators),
        "SLURM_RESTART_COUNT": str(order.key.attempt - 1),
        "SLURM_SUBMIT_DIR": workdir,
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
        "SLURMD_NODENAME": node.name,
    }
    if order.array_index is not None:
        named["SLURM_ARRAY_JOB_ID"] = str(order.array_id)
        named["SLURM_ARRAY_TASK_ID"] = str(order.array_index)
    return named


def _devices(order: Order, node: Node) -> dict[str, str]:
    """Which devices the drivers shall show. A job without any sees none: the variable is empty, not missing."""
    held = set(order.placements[0].devices) if order.placements else set()
    shown = {"CUDA_VISIBLE_DEVICES": ""}
    for device in node.devices:
        shown.setdefault(_visible(device.vendor), "")
    for device in node.devices:
        if device.index in held:
            name = _visible(device.vendor)
            shown[name] = f"{shown[name]},{device.index}".strip(",")
    return shown


def _visible(vendor: str) -> str:
    return _VISIBLE.get(vendor, "CUDA_VISIBLE_DEVICES")


def fill(pattern: str, order: Order, node: Node) -> str:
    """`pattern` with sbatch's letters filled in: %j %x %A %a %N %u, and %% for a percent sign."""
    letters: Mapping[str, str] = {
        "j": str(order.key.job),
        "J": str(order.key.job),
        "x": order.spec.name,
        "A": str(order.array_id if order.array_id is not None else order.key.job),
        "a": str(order.array_index if order.array_index is not None else 0),
        "N": node.name,
        "n": "0",
        "t": "0",
        "u": order.owner.replace("/", "_"),
        "%": "%",
    }
    parts = pattern.split("%")
    filled = [parts.pop(0)]
    while parts:
        part = parts.pop(0)
        if not part and parts:  # "%%"
            filled.append("%" + parts.pop(0))
        else:
            filled.append(letters.get(part[:1], "%" + part[:1]) + part[1:])
    return "".join(filled)

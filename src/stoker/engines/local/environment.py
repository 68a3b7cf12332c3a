"""What a job finds in its environment: a clean base, Slurm's names, its devices, and the user's own last."""

from __future__ import annotations

import os

from stoker.cluster import Node, profile_of
from stoker.engine import Order
from stoker.engines.local.attempt import Attempt
from stoker.job_environment import identity, meeting, slurm_names

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
    ours = {
        **_stoker(order, attempt, node),
        **slurm_names(order, (node.name,), 0, workdir),
        **_devices(order, node),
    }
    usual = {"PYTHONUNBUFFERED": "1"}  # people follow the log while it is written
    if order.spec.resources.cpus:
        usual["OMP_NUM_THREADS"] = str(order.spec.resources.cpus)
    return {**base, **usual, **order.spec.envs, **ours, **order.envs}


def _stoker(order: Order, attempt: Attempt, node: Node) -> dict[str, str]:
    here = meeting(order, (node.name,), ("127.0.0.1",), 0)
    files = {"STOKER_FILES": str(attempt.files)} if order.files else {}
    return {
        **identity(order),
        **here,
        **files,
        "STOKER_PROBE": str(attempt.probe),
        "STOKER_SAVED": str(attempt.save_mark),
    }


def _devices(order: Order, node: Node) -> dict[str, str]:
    """Which devices the drivers shall show. A job without any sees none: the variable is empty, not missing."""
    held = set(order.placements[0].devices) if order.placements else set()
    shown = {"CUDA_VISIBLE_DEVICES": ""}
    for device in node.devices:
        shown.setdefault(_visible(device.vendor), "")
    for device in node.devices:
        if device.index in held:
            name = _visible(device.vendor)
            told = (
                device.uuid if profile_of(device.model) else device.index
            )  # CUDA knows slices by their UUID alone
            shown[name] = f"{shown[name]},{told}".strip(",")
    return shown


def _visible(vendor: str) -> str:
    return _VISIBLE.get(vendor, "CUDA_VISIBLE_DEVICES")

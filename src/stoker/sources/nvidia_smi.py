"""NVIDIA devices as the driver's own ``nvidia-smi`` lists them."""

from __future__ import annotations

import re
import subprocess

from stoker.cluster import Device, Health

_QUERY = ("index", "name", "memory.total", "uuid")
_PATIENCE_SECONDS = 20.0
_MAKERS = re.compile(r"^((NVIDIA|Tesla|Quadro|GeForce)\s+)+", re.IGNORECASE)
_SERIES = ("RTX", "GTX", "TITAN")  # words that do not name a model alone


def nvidia_devices() -> tuple[Device, ...]:
    """The devices of this machine; none where there is no driver or it does not answer."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return ()
    return parse(answer.stdout)


def parse(csv: str) -> tuple[Device, ...]:
    """Devices of the answer's lines: index, name, MiB, UUID."""
    devices = []
    for line in csv.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != len(_QUERY) or not fields[0].isdigit():
            continue
        index, name, mebibytes, uuid = fields
        memory = int(mebibytes) << 20 if mebibytes.isdigit() else 0
        devices.append(Device(int(index), model_of(name), memory, uuid, "nvidia", Health.UNKNOWN))
    return tuple(devices)


def model_of(name: str) -> str:
    """The short name people ask for: ``NVIDIA H100 80GB HBM3`` is an H100, ``NVIDIA A100-SXM4-80GB`` an A100."""
    words = _MAKERS.sub("", name.strip()).split()
    if not words:
        return name
    if words[0].upper() in _SERIES:
        return " ".join(words[:2])
    return words[0].split("-")[0]

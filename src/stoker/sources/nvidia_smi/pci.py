"""Where a device is on this machine's PCI buses, as Linux shows it below /sys."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SYS = Path("/sys/bus/pci/devices")
_PORT = re.compile(r"/pci[0-9a-f]{4}:[0-9a-f]{2}/([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])/")


def numa_node(bus: str, sys: Path = _SYS) -> str:
    """The number of the socket's memory; empty where the kernel does not tell (-1)."""
    try:
        told = (sys / _address(bus) / "numa_node").read_text().strip()
    except OSError:
        return ""
    return told if told.isdigit() else ""


def root_port(bus: str, sys: Path = _SYS) -> str:
    """The address of the root port that the device hangs on: devices behind one PCIe switch have one in common."""
    try:
        match = _PORT.search(os.path.realpath(sys / _address(bus), strict=True))
    except OSError:
        return ""
    return match[1] if match else ""


def _address(bus: str) -> str:
    """``00000000:3B:00.0``, as nvidia-smi writes it, is ``0000:3b:00.0`` in Linux."""
    domain, _, rest = bus.lower().partition(":")
    return f"{domain[-4:]}:{rest}"

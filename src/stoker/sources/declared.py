"""Devices as the administrator declares them, where no driver can be asked: ``H100:8`` or ``H100:8,T4:2``."""

from __future__ import annotations

import re

from stoker.cluster import Device
from stoker.errors import BadInput

_ONE = re.compile(r"^(?:(?P<vendor>nvidia|amd|huawei|hygon)/)?(?P<model>[A-Za-z0-9][\w .-]*):(?P<count>\d{1,3})$")


def declared_devices(text: str) -> tuple[Device, ...]:
    """Raises BadInput for what is not written as ``MODEL:COUNT``, each with an optional ``vendor/`` before it."""
    devices: list[Device] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _ONE.match(part)
        if not match:
            raise BadInput(
                f'devices "{part}" were declared; write for example H100:8, H100:8,T4:2 or huawei/910B:8'
            )
        for _ in range(int(match["count"])):
            devices.append(Device(len(devices), match["model"], vendor=match["vendor"] or "nvidia"))
    return tuple(devices)

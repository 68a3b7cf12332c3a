"""DeviceWatch: this machine's devices, asked for again now and then: they fall ill while the platform runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from stoker.cluster import Device, Health

_EVERY_S = 60.0


class DeviceWatch:
    """Thread-safe, and never slow: a driver that hangs holds up a thread of its own."""

    def __init__(
        self,
        ask: Callable[[], tuple[Device, ...]],
        *,
        every: float = _EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks once before it returns."""
        self._ask = ask
        self._every = every
        self._clock = clock
        self._lock = threading.Lock()
        self._devices = ask()
        self._asked_at = clock()

    def devices(self) -> tuple[Device, ...]:
        """As told last. The same object as long as nothing has changed."""
        with self._lock:
            due = bool(self._devices) and self._clock() - self._asked_at >= self._every
            if due:
                self._asked_at = self._clock()
        if due:
            threading.Thread(target=self.look, name="devices", daemon=True).start()
        return self._devices

    def look(self) -> None:
        """Ask now. A device that the driver has lost has failed; when it tells of none at all nobody knows."""
        told = self._ask()
        if not told:
            return
        by_name = {_name(device): device for device in told}
        now = [by_name.get(_name(old), replace(old, health=Health.FAILED)) for old in self._devices]
        known = {_name(device) for device in now}
        devices = (*now, *(device for device in told if _name(device) not in known))
        if devices != self._devices:
            self._devices = devices


def _name(device: Device) -> str | int:
    """What tells it from the others; declared ones and those of some drivers have no UUID."""
    return device.uuid or device.index

"""What failures and checkpoints leave of a long training: expected failures, the best interval, and goodput."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from stoker.expectation import Expectation
from stoker.perf.hardware import Hardware
from stoker.perf.storage import checkpoint_bytes, host_memory, parallel, write_time
from stoker.perf.transformer import Transformer

# Llama 3's training: 419 unexpected interruptions in 54 days on 16,384 H100 (Dubey et al. 2024, section 3.3.4).
DEVICE_MTBF = 54 * 86400 * 16384 / 419
RESTART = 600.0  # s from a failure until training goes on: notice, replace, load, warm up


@dataclass(frozen=True)
class Goodput:
    """Of a training on `devices` devices; seconds."""

    devices: int
    mtbf: float  # between failures of the whole training
    checkpoint: float  # that training stands still for one
    interval: float  # between checkpoints, by Young 1974 and Daly 2006
    restart: float

    @property
    def share(self) -> float:
        """Of the time that ends in steps which count."""
        kept = 1 - self.checkpoint / self.interval
        lost = (self.restart + self.interval / 2) / self.mtbf
        return max(0.0, kept - lost)

    def failures(self, seconds: float) -> float:
        """Expected in `seconds` of training."""
        return seconds / self.mtbf

    def expectation(self) -> Expectation:
        basis = (
            f"{self.devices} devices fail every {self.mtbf / 3600:.1f} h together; a checkpoint stops training for "
            f"{self.checkpoint:.1f} s every {self.interval / 60:.0f} min (sqrt(2 x checkpoint x MTBF)); a failure "
            f"costs {self.restart / 60:.0f} min and half an interval"
        )
        low = max(0.0, 1 - 2 * (1 - self.share))
        return Expectation("goodput", self.share, low, 1 - (1 - self.share) / 2, "", basis)


def checkpoint_seconds(model: Transformer, on: Hardware, *, background: bool = True) -> float:
    """How long training stands still: until states are in main memory, or on storage unless in the `background`."""
    size, shared = checkpoint_bytes(model.parameters), parallel(on)
    copied = write_time(size, host_memory(on)).value
    if background or not shared.write:
        return copied
    return copied + write_time(size, shared).value


def goodput(
    model: Transformer,
    on: Hardware,
    *,
    device_mtbf: float = DEVICE_MTBF,
    restart: float = RESTART,
    background: bool = True,
) -> Goodput:
    mtbf = device_mtbf / on.count
    stands = checkpoint_seconds(model, on, background=background)
    interval = max(60.0, sqrt(2 * stands * mtbf))
    return Goodput(on.count, mtbf, stands, interval, restart)

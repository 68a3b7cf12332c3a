"""Stack: what a training framework makes of the hardware: how much it fuses, and what it hides behind what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

from stoker.errors import BadInput, NotFound, near
from stoker.perf.datasheet import sheets


@dataclass(frozen=True, eq=False)  # hashed by identity: planners cache by it
class Stack:
    """Shares are of what arithmetic says; 1 hides nothing."""

    name: str
    measured: frozenset[str] = frozenset()  # architectures and formats it was calibrated on, as "sm90 fp8"
    native_attention: bool = True  # attention kernels are written for the newest architecture, else for sm80
    passes: float = 1.0  # elementwise traffic against that of fused kernels
    start: float = 1.0  # gaps between kernels, against the architecture's: 1 without, less with captured graphs
    quantise: float = 1.0  # traffic of casting to narrow formats, against one read and two writes
    tensor_exposed: float = 0.5  # of tensor-parallel communication
    tensor_plain: float = 0.9  # the same in models with experts or Mamba, for which overlap is seldom made
    expert_exposed: float = 0.7  # of the exchange of tokens between experts
    data_exposed: float = 0.15  # of gradients' and weights' communication that compute could hide
    context_exposed: float = 0.3
    pipeline_exposed: float = 0.3
    routing: float = 1e-4  # s per experts' block, each way: many small kernels, waiting for the host to know sizes
    grouped: float = 0.0  # s per expert of a device, each way (twice backward): what starting its products takes
    permute: float = 1.0  # traffic of sorting tokens by expert, against two reads and two writes
    optimiser_passes: float = 1.0  # traffic of the optimiser, against a fused one's
    step: float = 0.01  # s per step that belong to nothing: logging, scaling, clipping
    jitter: float = 0.005  # of compute, for each doubling of devices beyond a server: waiting for the slowest


@cache
def stack(name: str) -> Stack:
    """The stack called `name` in ``catalogue/stacks.toml``. Raises NotFound with near names."""
    known = sheets("stacks")
    if name not in known:
        raise NotFound(f'no stack "{name}" in the catalogue{near(name, known)}')
    numbers = {key: float(value) for key, value in known[name].quantities.items()}
    plain = known[name].plain
    found = from_numbers(name, numbers, native_attention=bool(plain.get("native_attention", True)))
    return replace(found, measured=frozenset(plain.get("measured", ())))


def from_numbers(name: str, numbers: Mapping[str, float], *, native_attention: bool) -> Stack:
    """Raises BadInput when a number is none of a stack's."""
    unknown = next((key for key in numbers if key not in _defaults()), None)
    if unknown is not None:
        raise BadInput(f'stack {name} has the unknown number "{unknown}"{near(unknown, _defaults())}')
    given = (numbers.get(key, default) for key, default in _defaults().items())
    return Stack(name, frozenset(), native_attention, *given)


@cache
def _defaults() -> Mapping[str, float]:
    """Numbers of a stack nothing is known of, in the order of the fields."""
    plain = Stack("")
    return {field.name: getattr(plain, field.name) for field in fields(Stack)[3:]}


def stacks() -> tuple[str, ...]:
    return tuple(sheets("stacks"))

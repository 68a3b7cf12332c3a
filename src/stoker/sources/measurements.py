"""What a site measured, in YAML: acceptance results and past runs, to calibrate the performance model with.

- {kind: product, m: 8192, n: 8192, k: 8192, precision: bf16, flops_per_s: 6.4e14}
- {kind: memory, bytes: 4e9, bytes_per_s: 2.7e12}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stoker.errors import BadInput, NotFound
from stoker.perf.precision import precision
from stoker.perf.site import Measured, Product, Stream
from stoker.signal import Sample, Signal
from stoker.typed import read, strict


@strict
@dataclass(frozen=True)
class _Product:
    m: int
    n: int
    k: int
    flops_per_s: float
    precision: str = "bf16"


@strict
@dataclass(frozen=True)
class _Memory:
    bytes: float
    bytes_per_s: float


def measurements(path: Path) -> list[Measured]:
    """All of `path`. Raises NotFound, or BadInput naming the first wrong entry."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no file {path} with measurements") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read {path} as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, list):
        raise BadInput(f"{path}: measurements are a list of {{kind: product, ...}} and {{kind: memory, ...}}")
    return [_measured(entry, f"{path.name}, entry {place}") for place, entry in enumerate(content, 1)]


def _measured(entry: Any, what: str) -> Measured:
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if kind not in ("product", "memory"):
        raise BadInput(f'{what}: kind "{kind}" was given; allowed are product, memory')
    given = {key: float(value) if _is_number(value) else value for key, value in entry.items() if key != "kind"}
    if kind == "memory":
        stream = read(_Memory, given, what=what)
        return Stream(stream.bytes, _signal("memory_bytes_per_s", "B/s", what, stream.bytes_per_s))
    product = read(_Product, given, what=what)
    signal = _signal("product_flops_per_s", "FLOP/s", what, product.flops_per_s)
    return Product(product.m, product.n, product.k, precision(product.precision), signal)


def _is_number(value: Any) -> bool:
    """YAML takes ``6.4e14`` for text: it wants a sign in the exponent."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _signal(name: str, unit: str, subject: str, value: float) -> Signal:
    return Signal(name, unit, subject, (Sample(0.0, value),))

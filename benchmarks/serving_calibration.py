"""Fits the curves of stoker/perf/serving/curves.py to measured cases.

All numbers are positive and found as logarithms, by Gauss-Newton with damping, from priors that come from
engineering and not from the cases. The loss grows linearly with the error, so that runs with a cold start or a
wrong description do not bend the curves; every model weighs about the same, however many rows it has.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
from serving_rows import ROUNDS, Case

from stoker.errors import StokerError
from stoker.perf.datasheet import sheets
from stoker.perf.serving.curves import Common, Curves, Engine, curves, engines, with_numbers
from stoker.perf.serving.replica import Lengths, Service, closed_loop
from stoker.perf.serving.split import Split
from stoker.perf.serving.step import Replica

# name: prior, its spread (of the logarithm), lowest, highest
COMMON: Mapping[str, tuple[float, float, float, float]] = {
    "weights": (0.8, 0.15, 0.3, 0.95),
    "packed": (0.9, 0.2, 0.3, 1.0),
    "unpack": (0.5, 0.4, 0.1, 1.0),
    "cache": (0.6, 0.3, 0.15, 0.95),
    "products": (0.85, 0.2, 0.2, 1.0),
    "narrow": (0.7, 0.3, 0.2, 1.0),
    "young": (0.85, 0.2, 0.3, 1.2),
    "early": (1.25, 0.1, 1.0, 2.0),
    "blocks": (0.7, 0.3, 0.2, 1.0),
    "moves": (5.0, 0.4, 1.0, 30.0),
    "grouped": (0.5, 0.5, 0.1, 1.0),
    "passes": (5.0, 0.4, 1.0, 30.0),
    "scores": (0.5, 0.4, 0.1, 1.0),
    "busy_experts": (0.7, 0.3, 0.1, 1.0),
    "tile": (64.0, 0.3, 16.0, 256.0),
    "grouped_kernels": (6.0, 0.3, 3.0, 14.0),
    "latent_kernels": (11.0, 0.3, 4.0, 24.0),
    "linear_kernels": (10.0, 0.3, 3.0, 30.0),
    "dense_kernels": (4.0, 0.3, 2.0, 10.0),
    "expert_kernels": (8.0, 0.3, 3.0, 24.0),
    "collective": (8e-6, 0.4, 2e-6, 40e-6),
    "network": (25e-6, 0.5, 5e-6, 200e-6),
    "links": (0.9, 0.15, 0.3, 1.2),
    "exchange": (0.4, 0.4, 0.05, 1.2),
}
ENGINE: Mapping[str, tuple[float, float, float, float]] = {
    "kernel": (3e-6, 0.4, 1e-6, 12e-6),
    "eager": (8e-6, 0.5, 1e-6, 100e-6),
    "experts": (1.0e-3, 0.7, 0.02e-3, 4e-3),
    "products": (1.0, 0.1, 0.6, 1.6),
    "step": (0.5e-3, 0.5, 0.05e-3, 5e-3),
    "sequence": (10e-6, 0.7, 1e-6, 100e-6),
    "exposed": (0.5, 0.7, 0.02, 1.0),
    "request": (55e-3, 0.25, 2e-3, 300e-3),
}
# vLLM's releases began a step when the last had ended; the others' hosts prepare it meanwhile.
_EXPOSED = {"vllm": (0.9, 0.2, 0.05, 1.0), "sglang": (0.5, 0.5, 0.02, 1.0), "trtllm": (0.1, 0.5, 0.01, 1.0)}
ENGINES = ("vllm", "trtllm", "sglang")
TTFT_WEIGHT = 0.4  # TTFT of benchmarks holds cold starts; TPOT tells more about the hardware
APART_WEIGHT = 0.2  # of that where prompts are processed apart: routers and transfers are in it, too
_SCALE, _PRIOR = 0.15, 0.25
_PER_GROUP = 6  # cases of one model, engine, system, format and mode that a fit looks at
_UNIT = {"collective": "us", "network": "us", "kernel": "us", "eager": "us", "sequence": "us",
         "experts": "ms", "step": "ms", "request": "ms"}  # fmt: skip
_FACTOR = {"us": 1e6, "ms": 1e3, "": 1.0}


Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    group: str  # "common", or an engine
    name: str
    prior: float
    spread: float
    low: float
    high: float


def parameters() -> tuple[Parameter, ...]:
    found = [Parameter("common", name, *numbers) for name, numbers in COMMON.items()]
    for engine in ENGINES:
        own = {**ENGINE, "exposed": _EXPOSED[engine]}
        found += [Parameter(engine, name, *numbers) for name, numbers in own.items()]
    return tuple(found)


def predict(case: Case, using: Mapping[str, Curves]) -> Service:
    """Raises StokerError when the model says that the case cannot be."""
    domain, curves = 72 if case.system.startswith("gb") else 8, using[case.engine]
    curves = replace(curves, engine=replace(curves.engine, **asdict(case.settings)))

    def replica(split: Split) -> Replica:
        return Replica(case.model, case.on, split, case.quantisation, curves, domain, early=case.early)

    lengths = Lengths(case.prompt, case.answer, case.variation)
    if case.mode == "agg":
        return closed_loop(replica(case.split), lengths, case.users, rounds=ROUNDS)
    return closed_loop(
        replica(case.split), lengths, case.users / case.workers, rounds=ROUNDS,
        prefillers=case.prefill_workers / case.workers, prefill_on=replica(case.prefill_split),
    )  # fmt: skip


def fit(cases: Sequence[Case], rounds: int = 7) -> dict[str, Curves]:
    """Curves of every engine, from `cases` and the priors."""
    chosen, known = _thinned(cases), parameters()
    prior = np.log([p.prior for p in known])
    low, high = np.log([p.low for p in known]), np.log([p.high for p in known])
    spread = np.array([p.spread for p in known])
    weights = _weights(chosen)
    at, damping = prior.copy(), 1.0
    residual, loss = _loss(chosen, at, weights, prior, spread)
    for _ in range(rounds):
        jacobian = _jacobian(chosen, at, weights, spread, residual)
        for _ in range(5):
            normal = jacobian.T @ jacobian
            move = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -jacobian.T @ residual)
            there = np.clip(at + np.clip(move, -0.5, 0.5), low, high)
            new_residual, new_loss = _loss(chosen, there, weights, prior, spread)
            if new_loss < loss:
                at, residual, loss, damping = there, new_residual, new_loss, damping / 3
                break
            damping *= 4
        else:
            break
    return _curves(at)


def toml(found: Mapping[str, Curves]) -> str:
    """catalogue/serving.toml with the numbers of `found`; what is not calibrated stays as it is."""
    lines = [
        "# Curves of serving: see stoker/perf/serving/curves.py for what each number means. Written by",
        "# benchmarks/perf_serving.py --write; engines that are not calibrated there carry estimates, and say so.",
        "",
        "[sources.calibration]",
        'title = "benchmarks/perf_serving.py on inference_silicon.csv, all models"',
        'read = "2026-11"',
        "",
    ]
    for group in ("common", *engines()):
        lines += _section(group, found)
    return "\n".join(lines)


def _section(group: str, found: Mapping[str, Curves]) -> list[str]:
    plain = sheets("serving")[group].plain
    lines = [f'["{group}"]', *(f"{name} = {json.dumps(value)}" for name, value in plain.items())]
    if group != "common" and group not in found:
        return [*lines, ""]
    engine = found[ENGINES[0] if group == "common" else group]
    holder: Common | Engine = engine.common if group == "common" else engine.engine
    for name in COMMON if group == "common" else ENGINE:
        unit = _UNIT.get(name, "")
        value = getattr(holder, name) * _FACTOR[unit]
        lines.append(f'{name} = {{value = {value:.4g}, unit = "{unit}", kind = "derived", source = "calibration"}}')
    return [*lines, ""]


def _curves(at: Vector) -> dict[str, Curves]:
    by_group: dict[str, dict[str, float]] = {}
    for parameter, value in zip(parameters(), np.exp(at), strict=True):
        by_group.setdefault(parameter.group, {})[parameter.name] = float(value)
    common = Common(**by_group["common"])
    return {engine: Curves(common, with_numbers(curves(engine).engine, by_group[engine])) for engine in ENGINES}


def _group(case: Case) -> tuple[str, ...]:
    return (case.family, case.engine, case.mode, case.system, case.quantisation.name)


def _thinned(cases: Sequence[Case]) -> list[Case]:
    """At most `_PER_GROUP` of each group, evenly over its cases in their order of load."""
    groups: dict[tuple[str, ...], list[Case]] = {}
    for case in sorted(cases, key=lambda c: (c.users, c.prompt, c.answer, str(c.split), c.row)):
        groups.setdefault(_group(case), []).append(case)
    found: list[Case] = []
    for group in groups.values():
        every = max(1.0, len(group) / _PER_GROUP)
        found += [group[int(index * every)] for index in range(min(len(group), _PER_GROUP))]
    return found


def _weights(cases: Sequence[Case]) -> Vector:
    sizes = Counter(map(_group, cases))
    groups = Counter(key[0] for key in sizes)
    each = [5.0 * (sizes[_group(case)] * groups[case.family] ** 0.7) ** -0.5 for case in cases]
    return np.repeat(np.array(each), 2)


def _loss(
    cases: Sequence[Case], at: Vector, weights: Vector, prior: Vector, spread: Vector
) -> tuple[Vector, float]:
    residual = np.concatenate([_case_residuals(cases, at, weights), _PRIOR * (at - prior) / spread])
    return residual, float(residual @ residual)


def _case_residuals(cases: Sequence[Case], at: Vector, weights: Vector) -> Vector:
    using, errors = _curves(at), []
    for case in cases:
        try:
            service = predict(case, using)
        except StokerError:
            errors += [0.0, 0.0]
            continue
        first = TTFT_WEIGHT if case.ours else 0.0  # see record 0172
        first *= APART_WEIGHT if case.mode != "agg" else 1.0
        later = _tamed(math.log(service.tpot / case.tpot))
        errors += [later, first * _tamed(math.log(service.ttft / case.ttft))]
    return np.array(errors) * weights


def _tamed(error: float) -> float:
    """Whose square grows with the logarithm: what was slow for reasons of its own hardly pulls."""
    return math.copysign(_SCALE * math.sqrt(math.log1p((error / _SCALE) ** 2)), error)


def _jacobian(cases: Sequence[Case], at: Vector, weights: Vector, spread: Vector, residual: Vector) -> Vector:
    found = np.zeros((len(residual), len(at)))
    for index, parameter in enumerate(parameters()):
        moved = at.copy()
        moved[index] += 1e-3
        touched = [i for i, case in enumerate(cases) if parameter.group in ("common", case.engine)]
        rows = np.array([row for i in touched for row in (2 * i, 2 * i + 1)], dtype=int)
        some = [cases[i] for i in touched]
        found[rows, index] = (_case_residuals(some, moved, weights[rows]) - residual[rows]) / 1e-3
    priors = np.arange(2 * len(cases), len(residual))
    found[priors, np.arange(len(at))] = _PRIOR / spread
    return found

"""Tune: a search for policy settings on a trace, judged on jobs that the search has not seen.

Optuna's TPE sampler proposes settings, the simulator tells what they would have done with the first part of the
trace. The best is then tried on the rest, beside the policy that was in force: only that gain is worth telling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stoker.cluster import Node
from stoker.errors import BadInput
from stoker.schedule.policy import BOUNDS, Backfill, Order, Policy, Preempt
from stoker.simulate.measures import Measures, measure
from stoker.simulate.run import Settings, simulate
from stoker.simulate.trace import Trace

if TYPE_CHECKING:
    import optuna

OBJECTIVES: dict[str, Callable[[Measures], float]] = {
    "completion": lambda one: one.completion.mean,
    "queueing": lambda one: one.queueing.mean,
    "slowdown": lambda one: one.slowdown.mean,
    "tail": lambda one: one.queueing.p95,
}
LEAST_GAIN = 0.01  # share; what gains less on unseen jobs is no reason to change
_MOST_AHEAD_S, _MOST_RESERVE = 7200.0, 0.3  # that are tried where there is inference
_LEAST_JOBS = 20  # of each part
_LIMITED = 0.5  # share of jobs with a time limit from which orders by it are tried


@dataclass(frozen=True)
class Tuned:
    """`seen` and `unseen`: the objective under the old and the best policy, on either part of the trace; lower is
    better."""

    base: Policy
    best: Policy
    trials: int
    seen: tuple[float, float]
    unseen: tuple[float, float]
    unmet: tuple[float, float] | None = None  # seconds, on unseen jobs, that inference was short of replicas

    @property
    def gain(self) -> float:
        """Share by which the objective falls on jobs that the search has not seen; below zero: it rises."""
        before, after = self.unseen
        return 1.0 - after / before if before else 0.0

    @property
    def advised(self) -> Policy:
        """The best, if it holds what it promised, and inference is not short for longer; else the one in force."""
        holds = self.unmet is None or self.unmet[1] <= self.unmet[0]
        return self.best if holds and self.gain >= LEAST_GAIN else self.base

    def changed(self) -> dict[str, Any]:
        """Settings of the best that differ from those in force."""
        return {
            one.name: getattr(self.best, one.name)
            for one in dataclasses.fields(Policy)
            if getattr(self.best, one.name) != getattr(self.base, one.name)
        }


def tune(
    trace: Trace,
    nodes: Sequence[Node],
    base: Policy,
    *,
    objective: str = "completion",
    trials: int = 30,
    held_out: float = 0.4,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Tuned:
    """Search `trials` policies on the first part of `trace`; the last share `held_out` of its jobs judges.

    The same seed gives the same answer. Raises BadInput, also when Optuna is not installed.
    """
    sampler = _optuna()
    first, last = trace.between(0.0, 1.0 - held_out), trace.between(1.0 - held_out, 1.0)
    if min(len(first.jobs), len(last.jobs)) < _LEAST_JOBS:
        raise BadInput(f"{len(trace.jobs)} jobs are too few to learn from and to judge by; give {2 * _LEAST_JOBS}")
    limited = sum(job.spec.time_limit is not None for job in trace.jobs) >= _LIMITED * len(trace.jobs)
    of = OBJECTIVES[objective]

    serving = trace.inference is not None
    short: list[float] = []  # seconds, under the policy in force

    def judged(policy: Policy, jobs: Trace) -> Measures:
        return measure(simulate(jobs, nodes, Settings(policy)))

    def trial(one: optuna.Trial) -> float:
        if progress:
            progress(one.number / trials)
        found = judged(_proposed(one, base, limited=limited, serving=serving), first)
        short.append(found.unmet or 0.0)
        if short[-1] > short[0]:  # not at the expense of inference
            raise sampler.TrialPruned
        return of(found)

    study = sampler.create_study(sampler=sampler.samplers.TPESampler(seed=seed))
    study.enqueue_trial(_as_parameters(base, serving=serving))
    study.optimize(trial, n_trials=trials)
    best = _proposed(sampler.trial.FixedTrial(study.best_params), base, limited=limited, serving=serving)
    seen = study.trials[0].value or 0.0, study.best_value
    before, after = judged(base, last), judged(best, last)
    unmet = None if before.unmet is None or after.unmet is None else (before.unmet, after.unmet)
    return Tuned(base, best, trials, seen, (of(before), of(after)), unmet)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise BadInput("tuning needs Optuna; install it with: pip install 'stoker[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _orders(*, limited: bool) -> list[str]:
    by_limit = (Order.SHORTEST, Order.SMALLEST)
    return [order.value for order in Order if limited or order not in by_limit]


def _proposed(one: Any, base: Policy, *, limited: bool, serving: bool) -> Policy:
    """Settings that mean nothing under the others are left as they are."""
    order = Order(one.suggest_categorical("order", _orders(limited=limited)))
    values: dict[str, Any] = {
        "order": order,
        "backfill": Backfill(one.suggest_categorical("backfill", [each.value for each in Backfill])),
        "preempt": Preempt(one.suggest_categorical("preempt", [each.value for each in Preempt])),
    }
    numbers = ["turn"] if values["preempt"] is Preempt.EQUALS else []
    numbers += ["service_unit", "service_step"] if order is Order.LEAST_SERVICE else []
    for name in numbers:
        bounds = BOUNDS[name]
        values[name] = one.suggest_float(name, max(bounds.least, 1.0), bounds.most, log=bounds.log)
    if serving:
        values["forecast"] = one.suggest_float("forecast", 0.0, max(_MOST_AHEAD_S, base.forecast))
        values["reserve"] = one.suggest_float("reserve", 0.0, max(_MOST_RESERVE, base.reserve))
    return replace(base, **values)


def _as_parameters(policy: Policy, *, serving: bool) -> dict[str, Any]:
    values = {"order": policy.order.value, "backfill": policy.backfill.value, "preempt": policy.preempt.value}
    return {**values, **({"forecast": policy.forecast, "reserve": policy.reserve} if serving else {})}

"""Shipments as lines of text: one stage after the other, the answer first, expected beside measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stoker.cli.render import clean
from stoker.cli.texts import t, word
from stoker.shipment import Shipment, Stage, StageRun, StageState
from stoker.telemetry import Telemetry
from stoker.units import format_bytes, format_duration

SHIP = "ship-"  # how ids of shipments begin

_NAME = 10  # cells of a stage's name, which stays English: it is what options and jobs are called by
_WORTH_TELLING_S = 0.1
_BAR = 20
_LAST_STEPS = 50  # whose pace tells what is left
_GOT = 0.9  # of the CPU it wanted; what others take is said below this
_BLOCKS = " ▏▎▍▌▋▊▉█"


def stage_lines(run: StageRun, now: float, telemetry: Telemetry | None = None, waits: str = "") -> list[str]:
    """What is to be said of one stage; `telemetry` and `waits` (why its job has not begun) are of a running one."""
    texts = _texts(run, telemetry or Telemetry(), waits, now)
    first = f" {run.stage.value:<{_NAME}}"
    return [f"{first if place == 0 else ' ' * len(first)} {text}".rstrip() for place, text in enumerate(texts)]


def _texts(run: StageRun, telemetry: Telemetry, waits: str, now: float) -> list[str]:
    match run.state:
        case StageState.WAITING:
            return [t("waiting")]
        case StageState.RUNNING:
            return _running(telemetry, waits, now - (run.started_at or now))
        case StageState.FAILED:
            return [t("failed: {message}", message=clean(run.message))]
        case StageState.CANCELLED:
            return [word("cancelled")]
    told = summary(run.stage, run.result)
    took = t("was there already") if run.state is StageState.REUSED else _took(run)
    return [f"{told}    {took}".strip()]


def _took(run: StageRun) -> str:
    if run.started_at is None or run.ended_at is None:
        return ""
    took_s = run.ended_at - run.started_at
    return format_duration(took_s) if took_s >= _WORTH_TELLING_S else ""


def _running(telemetry: Telemetry, waits: str, elapsed_s: float) -> list[str]:
    share = telemetry.share_done
    if share is None:
        phase = telemetry.phases[-1] if telemetry.phases else None
        doing = clean(phase.text or phase.name) if phase else t("waits: {reason}", reason=waits) if waits else ""
        return [f"{doing or word('starting')}    {format_duration(elapsed_s)}"]
    step = t("step {step}/{total}", step=telemetry.step, total=telemetry.total)
    parts = [f"{bar(share)} {share:4.0%}", step, *_values(telemetry)]
    below = "   ".join([*_against_expected(telemetry), *_left(telemetry)])
    return ["   ".join(parts), below] if below else ["   ".join(parts)]


def bar(share: float) -> str:
    """``████▌               ``: eighths of a cell."""
    eighths = round(share * _BAR * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BLOCKS[rest] if rest else "")).ljust(_BAR)


def _values(telemetry: Telemetry) -> list[str]:
    values = telemetry.values
    loss, speed = values.get("loss"), values.get("tokens_per_s")
    parts = []
    if isinstance(loss, (int, float)):
        parts.append(f"loss {loss:.3g}")
    if isinstance(speed, (int, float)):
        parts.append(f"{speed:,.0f} tok/s")
    return parts


def _against_expected(telemetry: Telemetry) -> list[str]:
    expected, measured = telemetry.expectations.get("tokens_per_s"), telemetry.values.get("tokens_per_s")
    if expected is None or not isinstance(measured, (int, float)) or not expected.value:
        return []
    share = measured / expected.value
    told = t("expected {value} tok/s: {share}", value=f"{expected.value:,.0f}", share=f"{share:.0%}")
    return [told, *_kept_from(share, telemetry.values.get("cpu_share"))]


def _kept_from(share: float, got: object) -> list[str]:
    """What others on the machine took, where it was a tenth or more, and what is left to explain."""
    if not isinstance(got, (int, float)) or not 0 < got <= _GOT:
        return []
    return [
        t(
            "others had the CPU {others} of the time it was wanted; of what is left it makes {share}",
            others=f"{1 - got:.0%}",
            share=f"{share / got:.0%}",
        )
    ]


def _left(telemetry: Telemetry) -> list[str]:
    """How long it will still take, by what its last steps took; loading and such at the start do not count."""
    samples = [
        s for signal in telemetry.signals.values() for s in signal.samples[-_LAST_STEPS:] if s.step is not None
    ]
    if not samples or telemetry.step is None or not telemetry.total:
        return []
    first, last = min(samples, key=lambda s: s.at), max(samples, key=lambda s: s.at)
    steps = (last.step or 0) - (first.step or 0)
    if steps < 1 or telemetry.step >= telemetry.total:
        return []
    left_s = (last.at - first.at) / steps * (telemetry.total - telemetry.step)
    return [t("about {time} left", time=format_duration(left_s))]


def summary(stage: Stage, result: Mapping[str, Any]) -> str:
    """One line of what a finished stage found. Recipes write free JSON: what is not there is not said."""
    told = _SUMMARIES.get(stage)
    return "   ".join(part for part in told(result) if part) if told else ""


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _reasons(tally: Any) -> str:
    """``1,204 empty, 1,085 no answer``: the three biggest."""
    if not isinstance(tally, Mapping):
        return ""
    counts = {name: entry.get("count") if isinstance(entry, Mapping) else entry for name, entry in tally.items()}
    biggest = sorted(((n, c) for n, c in counts.items() if isinstance(c, int) and c), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {word(name)}" for name, count in biggest[:3])


def _import(result: Mapping[str, Any]) -> Iterator[str]:
    yield t(
        "{records} records   {kept} kept", records=_count(result.get("records")), kept=_count(result.get("kept"))
    )
    yield _reasons(result.get("rejected"))


def _curate(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_count(result.get('input'))} → {_count(result.get('kept'))}"
    if isinstance(result.get("heldout"), int):
        yield t("{count} held out", count=_count(result["heldout"]))
    yield _reasons(result.get("dropped"))
    if result.get("masked_records"):
        yield t("personal data masked in {count}", count=_count(result["masked_records"]))


def _train(result: Mapping[str, Any]) -> Iterator[str]:
    yield str(result.get("method", ""))
    if isinstance(result.get("steps"), int):
        yield t("{count} steps", count=_count(result["steps"]))
    if isinstance(result.get("final_loss"), (int, float)):
        yield f"loss {result['final_loss']:.3g}"
    speed, expected = result.get("tokens_per_s"), result.get("expected_tokens_per_s")
    if isinstance(speed, (int, float)):
        share = speed / expected if isinstance(expected, (int, float)) and expected else None
        yield f"{speed:,.0f} tok/s" + ("" if share is None else f" ({share:.0%})")
        yield from () if share is None else _kept_from(share, result.get("cpu_share"))


def _evaluate(result: Mapping[str, Any]) -> Iterator[str]:
    base, new = result.get("base"), result.get("new")
    if not isinstance(base, Mapping) or not isinstance(new, Mapping):
        return
    before, after = base.get("score"), new.get("score")
    if isinstance(before, (int, float)) and isinstance(after, (int, float)):
        metric = word(str(result.get("metric", "score")))
        yield t(
            "{metric}   base {before}   new {after}", metric=metric, before=f"{before:.1%}", after=f"{after:.1%}"
        )
    if isinstance(base.get("loss"), (int, float)) and isinstance(new.get("loss"), (int, float)):
        yield f"loss {base['loss']:.3g} → {new['loss']:.3g}"


def _export(result: Mapping[str, Any]) -> Iterator[str]:
    yield " ".join(str(result[key]) for key in ("engine", "type") if result.get(key))
    if isinstance(result.get("size"), int):
        yield format_bytes(result["size"])


def _register(result: Mapping[str, Any]) -> Iterator[str]:
    if "version" in result:
        parent = t(" (parent {parent})", parent=result["parent"]) if result.get("parent") else ""
        yield t("version {version}", version=result["version"]) + parent


def _deploy(result: Mapping[str, Any]) -> Iterator[str]:
    yield t("ready")
    yield str(result.get("engine", ""))


def _verify(result: Mapping[str, Any]) -> Iterator[str]:
    agreeing, probes = result.get("agreeing", result.get("equal")), result.get("probes")
    if isinstance(agreeing, int) and isinstance(probes, int):
        yield t("{equal} of {all} probe answers agree with the trained model", equal=agreeing, all=probes)
    if isinstance(result.get("mean_kl"), (int, float)):
        yield f"KL {result['mean_kl']:.2g}"


def _promote(result: Mapping[str, Any]) -> Iterator[str]:
    yield t(
        "version {version} is {alias}", version=result.get("version", ""), alias=result.get("alias", "champion")
    )
    if result.get("previous") not in (None, result.get("version")):
        yield t("before: version {version}", version=result["previous"])


_SUMMARIES: Mapping[Stage, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    Stage.IMPORT: _import,
    Stage.CURATE: _curate,
    Stage.TRAIN: _train,
    Stage.EVALUATE: _evaluate,
    Stage.EXPORT: _export,
    Stage.REGISTER: _register,
    Stage.DEPLOY: _deploy,
    Stage.VERIFY: _verify,
    Stage.PROMOTE: _promote,
}


def shipment_lines(
    shipment: Shipment, now: float, telemetry: Mapping[Stage, Telemetry], waits: Mapping[Stage, str]
) -> list[str]:
    """All stages, in order."""
    return [
        line
        for run in shipment.stages
        for line in stage_lines(run, now, telemetry.get(run.stage), waits.get(run.stage, ""))
    ]

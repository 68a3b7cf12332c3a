"""Explanations in words, English and Chinese. The command line and the console say the same with them."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.cluster import WHOLE
from stoker.explanation import (
    Because,
    Cause,
    Change,
    ChangeKind,
    Ending,
    Explanation,
    Refusal,
    Shielded,
    Value,
    Victim,
)
from stoker.explanation_texts import (
    ASKED,
    CAUSES,
    CHANGES,
    ENDING,
    LOSSES,
    REFUSALS,
    REMEDIES,
    SHIELDED,
    SHIELDS,
    WHOSE,
    WINDOW,
    Both,
)
from stoker.finding import Finding, Verdict
from stoker.units import duration_in, format_bytes

LANGUAGES = ("en", "zh")

_OPTIONS: Mapping[ChangeKind, str] = {
    ChangeKind.SHORTER: "--time {minutes:.0f}",
    ChangeKind.TOLERATE: "--tolerate {taint}",
    ChangeKind.QUEUE: "--queue {queue}",
    ChangeKind.QUEUE_LATER: "--queue {queue}",
    ChangeKind.CPUS: "--cpus {cpus}",
    ChangeKind.MEMORY: "--mem {mebibytes}M",
    ChangeKind.NODES: "--nodes {nodes}",
    ChangeKind.PRIORITY: "--priority {priority}",
    ChangeKind.TOPOLOGY: "--topology {topology}",
}


def cause_in(language: str, because: Because) -> str:
    """The cause as one sentence."""
    values = because.values
    shown = _shown(language, values) | {"asked": asked_in(language, values), "whose": _whose(language, values)}
    told = _say(CAUSES, language, _variant(because, CAUSES))
    if "changes_in_s" in values:
        told += _of(WINDOW, language)
    return told.format(**shown)


def remedy_in(language: str, because: Because) -> str:
    """What there is to do about it, beside the changes that were tried."""
    return _say(REMEDIES, language, _variant(because, REMEDIES)).format(**_shown(language, because.values))


def finding_in(language: str, found: Explanation) -> Finding:
    """The whole answer, with its sentences in `language`."""
    remedy = remedy_in(language, found.because)
    claim = cause_in(language, found.because)
    return Finding(f"job/{found.job}", Verdict.UNKNOWN, claim, remedy=remedy, waiting=found)


def change_in(language: str, change: Change) -> str:
    """What is different, without the option that says so."""
    return _say(CHANGES, language, change.kind).format(**_shown(language, change.values))


def option_of(change: Change) -> str:
    """The option of ``stoker run`` that asks for it; empty where there is none."""
    values = change.values
    if change.kind in (ChangeKind.DEVICES, ChangeKind.MODEL):
        return _gpus(change)
    minutes, memory = float(values.get("limit_s", 0)) / 60, int(values.get("memory_bytes", 0)) >> 20
    return _OPTIONS.get(change.kind, "").format(**values, minutes=minutes, mebibytes=memory)


def refusal_in(language: str, refusal: Refusal) -> str:
    """What a node lacks, in a word or two."""
    return _say(REFUSALS, language, refusal)


def ending_in(language: str, ending: Ending) -> str:
    """What stands above the victims; without any, why there are none."""
    if ending.victims:
        key = "begun" if ending.begun else "later" if ending.left_s > 0 else "now"
    else:
        key = "too_few" if ending.endable else "none"
    return _say(ENDING, language, key).format(left=duration_in(language, ending.left_s), endable=ending.endable)


def loss_in(language: str, victim: Victim) -> str:
    """What is lost with it: ``loses 4 min of work, since it last saved itself``."""
    return _say(LOSSES, language, victim.rests_on).format(lost=duration_in(language, victim.lost_s))


def shielded_in(language: str, shielded: Shielded) -> str:
    """Why so many may not be ended: ``3: not preemptible``."""
    why = _say(SHIELDS, language, shielded.shield).format(left=duration_in(language, shielded.left_s))
    return _of(SHIELDED, language).format(count=shielded.count, why=why)


def asked_in(language: str, values: Mapping[str, Value]) -> str:
    """What one job asks for: ``8 × H100 on each of 4 nodes``."""
    count, models = int(values.get("devices", 0)), values.get("models", "")
    share = int(values.get("milli", WHOLE))
    if not count:
        asked = _say(ASKED, language, "memory" if "memory_bytes" in values else "cpus")
    elif share < WHOLE:
        asked = _say(ASKED, language, "share_of" if models else "share")
    elif models:
        asked = _say(ASKED, language, "devices")
    else:
        asked = _say(ASKED, language, "one" if count == 1 else "any")
    told = asked.format(
        count=count,
        models=models,
        share=f"{share / WHOLE:g}",
        cpus=values.get("cpus", 0),
        memory=format_bytes(float(values.get("memory_bytes", 0))),
    )
    nodes = int(values.get("nodes", 1))
    return told if nodes == 1 else _say(ASKED, language, "nodes").format(asked=told, nodes=nodes)


def _whose(language: str, values: Mapping[str, Value]) -> str:
    job = values.get("job", "")
    return _say(WHOSE, language, "seen" if job else "hidden").format(job=job)


def _variant(because: Because, texts: Both) -> str:
    """Which sentence of a cause fits its values."""
    cause, values = because.cause, because.values
    variant = ""
    match cause:
        case Cause.DEPENDENCY if values.get("never"):
            variant = "never"
        case Cause.QUOTA if values.get("limit") == "ceiling" and not values.get("most"):
            variant = "closed"
        case Cause.QUOTA:
            variant = str(values.get("limit", ""))
        case Cause.TOPOLOGY if values.get("within"):
            variant = "within"
        case Cause.RESERVATION if values.get("overdue"):
            variant = "overdue"
        case Cause.RESERVATION if "in_s" not in values:
            variant = "endless"
        case Cause.RESOURCES | Cause.FRAGMENTATION if "free" not in values:
            variant = "memory" if "free_memory_bytes" in values else "cpus"
        case Cause.FRAGMENTATION if values.get("starved"):
            variant = "starved"
        case Cause.FRAGMENTATION if values.get("whole"):
            variant = "nodes"
    if cause is Cause.RESOURCES and values.get("exclusive"):
        variant = "exclusive"
    key = f"{cause}.{variant}"
    return key if key in texts else str(cause)


def _shown(language: str, values: Mapping[str, Value]) -> dict[str, str]:
    """Values as people read them, named without their unit."""
    shown: dict[str, str] = {}
    for name, value in values.items():
        if name.endswith("_s") and not isinstance(value, str):
            shown[name.removesuffix("_s")] = duration_in(language, value)
        elif name.endswith("_bytes") and not isinstance(value, str):
            shown[name] = shown[name.removesuffix("_bytes")] = format_bytes(value)
        else:
            shown[name] = f"{value:g}" if isinstance(value, float) else str(value)
    return shown


def _gpus(change: Change) -> str:
    values = change.values
    names = [str(values.get("models", "")), str(values.get("model", ""))]
    models = "|".join(name.replace(" or ", "|") for name in names if name)
    if not models:
        return f"--gpus {values['devices']}"
    return f"--gpus '{models}:{values['devices']}'" if "|" in models else f"--gpus {models}:{values['devices']}"


def _say(texts: Both, language: str, key: str) -> str:
    return _of(texts[key], language)


def _of(both: tuple[str, str], language: str) -> str:
    return both[LANGUAGES.index(language) if language in LANGUAGES else 0]

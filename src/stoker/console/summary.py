"""A finished stage in one line: what went in, what came out, beside what was expected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stoker.console import figures
from stoker.console.texts import Say
from stoker.shipment import Stage, StageRun
from stoker.units import format_bytes

Result = Mapping[str, Any]
_GOT = 0.9  # of the CPU it wanted; what others take is said below this


def summary(run: StageRun, say: Say) -> str:
    """The line; empty when the stage has nothing to tell (yet) or tells in another form."""
    line = _LINES.get(run.stage)
    if line is None or not run.result:
        return ""
    try:
        return line(run.result, say)
    except (KeyError, TypeError, ValueError, AttributeError):  # a foreign recipe's result has other fields
        return ""


def _import(result: Result, say: Say) -> str:
    return say("says.import", records=_count(result["records"]), kept=_count(result["kept"]))


def _curate(result: Result, say: Say) -> str:
    masked = result.get("masked_records") or 0
    tail = say("says.masked", masked=_count(masked)) if masked else ""
    return say("says.curate", input=_count(result["input"]), kept=_count(result["kept"])) + tail


def _train(result: Result, say: Say) -> str:
    speed, expected = float(result["tokens_per_s"]), float(result["expected_tokens_per_s"])
    got = result.get("cpu_share")
    told = _trained(result, say, speed, expected)
    if not (isinstance(got, (int, float)) and 0 < got <= _GOT and expected):
        return told
    left = figures.percent(speed / expected / got)
    return f"{told} {say('says.others', others=figures.percent(1 - got), share=left)}"


def _trained(result: Result, say: Say, speed: float, expected: float) -> str:
    return say(
        "says.train",
        steps=_count(result["steps"]),
        loss=figures.number(float(result["final_loss"])),
        speed=figures.number(speed),
        expected=figures.number(expected),
        share=figures.percent(speed / expected) if expected else "–",
    )


def _evaluate(result: Result, say: Say) -> str:
    base, new = result["base"], result["new"]
    loss = say("says.loss", base=figures.number(base["loss"]), new=figures.number(new["loss"]))
    if new.get("score") is None:
        return loss
    scores = {"base": figures.percent(base["score"]), "new": figures.percent(new["score"])}
    return say("says.evaluate", metric=say.metric(str(result["metric"])), loss=loss, **scores)


def _export(result: Result, say: Say) -> str:
    parts = (result.get("type"), format_bytes(result["size"]) if "size" in result else None, result.get("engine"))
    return say("says.export", what=", ".join(str(part) for part in parts if part))


def _register(result: Result, say: Say) -> str:
    parent = result.get("parent")
    if parent is None:
        return say("says.register_first", version=result["version"])
    return say("says.register", version=result["version"], parent=parent)


def _verify(result: Result, say: Say) -> str:
    return say(
        "says.verify",
        agreeing=_count(result["agreeing"]),
        probes=_count(result["probes"]),
        kl=figures.number(float(result["mean_kl"])),
        bound=figures.number(float(result["bound"])),
    )


def _promote(result: Result, say: Say) -> str:
    previous = result.get("previous")
    return say(
        "journal.promote",
        alias=say.word("alias", str(result["alias"])),
        version=result["version"],
        previous=f"v{previous}" if previous else say("journal.nothing"),
    )


def _count(value: int) -> str:
    return f"{int(value):,}"


_LINES: Mapping[Stage, Callable[[Result, Say], str]] = {
    Stage.IMPORT: _import,
    Stage.CURATE: _curate,
    Stage.TRAIN: _train,
    Stage.EVALUATE: _evaluate,
    Stage.EXPORT: _export,
    Stage.REGISTER: _register,
    Stage.VERIFY: _verify,
    Stage.PROMOTE: _promote,
}

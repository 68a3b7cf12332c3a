"""``stoker plan training``: the best few ways to split a training over a cluster, and why not the others."""

from __future__ import annotations

import json as jsons
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.cli.plan.cluster import ClusterFile, Count, Explain, Gpu, Nic, described
from stoker.cli.render import AsJson, clean, columns, note, say
from stoker.cli.texts import t, word
from stoker.errors import BadInput
from stoker.perf.layout import Workload
from stoker.perf.precision import precision as read_precision
from stoker.perf.site import calibrate_site
from stoker.perf.stack import stack as find_stack
from stoker.plan.training import Plan, Search, search
from stoker.sources.measurements import measurements
from stoker.sources.transformer_config import find_transformer
from stoker.units import format_bytes, format_duration


def training(
    model: Annotated[str, typer.Argument(help="A name, or a folder with config.json.")],
    cluster: ClusterFile = None,
    gpu: Gpu = "",
    count: Count = 8,
    nic: Nic = "",
    batch: Annotated[int, typer.Option("--batch", help="Sequences of one step, over all devices.")] = 256,
    sequence: Annotated[int, typer.Option("--sequence", help="Tokens of one sequence.")] = 4096,
    precision: Annotated[str, typer.Option("--precision", help="bf16, fp8, mxfp8, nvfp4, ...")] = "bf16",
    tokens: Annotated[float, typer.Option("--tokens", help="Tokens to train on: time and cost of it.")] = 0.0,
    hour_price: Annotated[
        float, typer.Option("--hour-price", help="What one accelerator costs for an hour, in your currency.")
    ] = 0.0,
    stack: Annotated[str, typer.Option("--stack", help="Whose kernels: megatron, pytorch-fsdp, ...")] = "megatron",
    measured: Annotated[
        Path | None,
        typer.Option("--measured", metavar="FILE", help="What this site measured, in YAML."),
    ] = None,
    keep: Annotated[int, typer.Option("--best", help="How many layouts to show.")] = 5,
    explain: Explain = False,
    json: AsJson = False,
) -> None:
    """Rank ways to split a training, with time, memory and reasons against the others."""
    if keep < 1 or tokens < 0 or hour_price < 0:
        raise BadInput("--best must be 1 or more, --tokens and --hour-price 0 or more")
    shape, hardware = find_transformer(model), described(cluster, gpu, count, nic)
    if measured is not None:
        site = calibrate_site(hardware, measurements(measured))
        hardware = site.hardware
        note(site.sentence())
    narrow = precision.strip().casefold()
    workload = Workload(
        batch, sequence, read_precision(precision), block_scaled=narrow.startswith(("mx", "nv")), states="lean"
    )
    found = search(shape, hardware, workload, find_stack(stack), keep=keep)
    if json:
        print(jsons.dumps(_plain(found, tokens, hour_price), ensure_ascii=False, indent=1), flush=True)
        return
    say(_report(found, tokens, hour_price))
    if explain:
        say("\n" + "\n".join(clean(line) for line in _explained(found)))


def _report(found: Search, tokens: float, hour_price: float) -> str:
    active = found.model.active_parameters if found.model.experts else 0
    head = t(
        "{model}, {parameters} B parameters{active}, on {count} x {card}: {looked} layouts looked at",
        model=found.model.name,
        parameters=f"{found.model.parameters / 1e9:,.1f}",
        active=t(" ({active} B active)", active=f"{active / 1e9:,.1f}") if active else "",
        count=found.hardware.count,
        card=found.hardware.accelerator.name,
        looked=f"{found.looked_at:,}",
    )
    table = columns(_HEADER, [_row(found, plan, tokens, hour_price) for plan in found.best], right=_HEADER[1:])
    parts = [_parts(found.best[0]), _memory(found.best[0])]
    return "\n".join([clean(head), table, "", *parts, *_reliability(found), *_against(found)])


_HEADER = ("LAYOUT", "STEP", "TOKENS/S", "LIKELY", "PER GPU", "MFU", "MEMORY", "TIME", "COST")


def _row(found: Search, plan: Plan, tokens: float, hour_price: float) -> tuple[str, ...]:
    expected = found.speed(plan)
    speed = expected.value
    seconds = found.seconds(tokens, plan) if tokens else 0.0
    cost = seconds / 3600 * hour_price * found.hardware.count
    return (
        str(plan.layout),
        f"{plan.time.total:.3g} s",
        f"{speed:,.0f}",
        f"{expected.low:,.0f}-{expected.high:,.0f}",
        f"{speed / found.hardware.count:,.0f}",
        f"{found.model_flops_share(plan).value:.1%}",
        format_bytes(plan.memory.total),
        format_duration(seconds) if seconds else "-",
        f"{cost:,.0f}" if cost else "-",
    )


_PARTS = {
    "tensor": "tensor parallel communication",
    "expert": "expert parallel communication",
    "context": "context parallel communication",
    "pipeline": "pipeline communication",
    "data": "data parallel communication",
    "other": "the rest of a step",
}


def _parts(plan: Plan) -> str:
    shares = [
        (word(_PARTS.get(name, name)), f"{seconds:.3g} s", f"{seconds / plan.time.total:.1%}")
        for name, seconds in sorted(plan.time.parts().items(), key=lambda item: -item[1])
        if seconds > 0.0005 * plan.time.total
    ]
    return t("the best: where a step's time goes") + "\n" + _indented(shares)


def _memory(plan: Plan) -> str:
    parts = [
        (word(name), format_bytes(size), f"{size / plan.memory.total:.1%}")
        for name, size in plan.memory.parts().items()
        if size
    ]
    return t("and the fullest device's memory") + "\n" + _indented(parts)


def _indented(rows: list[tuple[str, str, str]]) -> str:
    lines = columns(("", "", ""), rows, right=()).splitlines()[1:]
    return "\n".join(f"  {line}" for line in lines)


def _reliability(found: Search) -> list[str]:
    kept = found.reliability()
    return [
        "",
        t(
            "goodput {share}: a failure every {mtbf} on average, a checkpoint every {interval} that takes {stands}",
            share=f"{kept.share:.1%}",
            mtbf=format_duration(kept.mtbf),
            interval=format_duration(kept.interval),
            stands=format_duration(kept.checkpoint),
        ),
    ]


def _against(found: Search) -> list[str]:
    if not found.rejected:
        return []
    rows = [f"  {one.count:,}  {one.reason}   ({one.example})" for one in found.rejected]
    return ["", t("not taken"), *(clean(row) for row in rows)]


def _explained(found: Search) -> list[str]:
    best = found.best[0]
    card = found.hardware.accelerator
    precision = found.workload.precision
    lines = [found.speed(best).basis, "MFU: " + found.model_flops_share(best).basis]
    lines.append("MFU, full attention: " + found.model_flops_share(best, causal=False).basis)
    lines.append("HFU: " + found.hardware_flops_share(best).basis)
    lines.append("memory: " + best.memory.expectation().basis)
    lines.append("goodput: " + found.reliability().expectation().basis)
    lines.append(f"{card.name} {precision}: {card.peak[precision]}; memory {card.memory}; {card.memory_bandwidth}")
    return lines


def _plain(found: Search, tokens: float, hour_price: float) -> dict[str, Any]:
    def one(plan: Plan) -> dict[str, Any]:
        seconds = found.seconds(tokens, plan) if tokens else None
        return {
            "layout": asdict(plan.layout),
            "step_seconds": plan.time.parts(),
            "memory_bytes": plan.memory.parts(),
            "speed": asdict(found.speed(plan)),
            "mfu": asdict(found.model_flops_share(plan)),
            "mfu_full_attention": asdict(found.model_flops_share(plan, causal=False)),
            "hfu": asdict(found.hardware_flops_share(plan)),
            "seconds_for_tokens": seconds,
            "cost": seconds / 3600 * hour_price * found.hardware.count if seconds and hour_price else None,
        }

    return {
        "model": found.model.name,
        "accelerator": found.hardware.accelerator.name,
        "devices": found.hardware.count,
        "looked_at": found.looked_at,
        "best": [one(plan) for plan in found.best],
        "not_taken": [asdict(reason) for reason in found.rejected],
        "goodput": asdict(found.reliability().expectation()),
        "checkpoint_seconds": found.reliability().checkpoint,
    }

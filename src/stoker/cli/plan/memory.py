"""``stoker plan memory``: does it fit, with the arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from stoker.cli.plan.cluster import ClusterFile, Count, Explain, Gpu, described, one_of
from stoker.cli.render import AsJson, clean, columns, print_json, say
from stoker.cli.texts import t, word
from stoker.perf.accelerator import accelerators
from stoker.perf.hardware import Hardware
from stoker.perf.layout import RECOMPUTES, SHARDINGS, Layout, Workload, check
from stoker.perf.layout_memory import DeviceMemory, device_memory, fits
from stoker.perf.precision import precision as read_precision
from stoker.perf.transformer import Transformer
from stoker.plan.memory import MOST, Fit, fewest
from stoker.sources.transformer_config import find_transformer
from stoker.units import format_bytes

_SPLITS = "How many ways: "


def memory(
    model: Annotated[str, typer.Argument(help="A name, or a folder with config.json.")],
    cluster: ClusterFile = None,
    gpu: Gpu = "",
    count: Count = 8,
    sequence: Annotated[int, typer.Option("--sequence", help="Tokens of one sequence.")] = 4096,
    micro_batch: Annotated[int, typer.Option("--micro-batch", help="Sequences a device takes at once.")] = 1,
    precision: Annotated[str, typer.Option("--precision", help="bf16, fp8, fp4, ...")] = "bf16",
    tp: Annotated[int, typer.Option("--tp", help=f"{_SPLITS}tensor parallelism.")] = 1,
    pp: Annotated[int, typer.Option("--pp", help=f"{_SPLITS}pipeline parallelism.")] = 1,
    cp: Annotated[int, typer.Option("--cp", help=f"{_SPLITS}context parallelism.")] = 1,
    ep: Annotated[int, typer.Option("--ep", help=f"{_SPLITS}expert parallelism.")] = 1,
    virtual: Annotated[int, typer.Option("--virtual", help="Pipeline stages on each device.")] = 1,
    sharding: Annotated[
        str,
        typer.Option("--sharding", help="What data parallelism spreads: none, optimiser, gradients, full (FSDP)."),
    ] = "full",
    recompute: Annotated[str, typer.Option("--recompute", help="none, selective or full.")] = "none",
    explain: Explain = False,
    json: AsJson = False,
) -> None:
    """Show whether training a model fits into a device's memory, part by part.

    With neither --cluster nor --gpu: the fewest cards of each kind that hold it.
    """
    shape = find_transformer(model)
    if cluster is None and not gpu:
        cards = fewest(shape, sequence, read_precision(precision), accelerators())
        if json:
            print_json([_plain(fit) for fit in cards])
        else:
            say(_table(shape, sequence, cards))
        return
    hardware = described(cluster, gpu, count)
    layout = Layout(
        gpus=hardware.count, tp=tp, pp=pp, cp=cp, ep=ep, virtual=virtual, micro_batch=micro_batch,
        sharding=one_of(SHARDINGS, sharding, "--sharding"), recompute=one_of(RECOMPUTES, recompute, "--recompute"),
    )  # fmt: skip
    in_flight = layout.dp * micro_batch * (max(1, pp))
    workload = Workload(in_flight, sequence, read_precision(precision))
    check(shape, workload, layout)
    needed = device_memory(shape, workload, layout)
    instead = None if fits(needed, hardware.accelerator) else _instead(shape, workload, hardware)
    if json:
        _print(shape, hardware, layout, needed, instead)
    else:
        say(_report(shape, hardware, layout, needed))
        if instead is not None:
            say("\n" + clean(_advice(instead)))
        if explain:
            say("\n" + _explained(shape, hardware, needed))


def _report(shape: Transformer, hardware: Hardware, layout: Layout, needed: DeviceMemory) -> str:
    there, card = hardware.accelerator.memory_bytes, hardware.accelerator.name
    verdict = t("fits") if fits(needed, hardware.accelerator) else t("does not fit")
    head = t(
        "{model}, {parameters} B parameters, on {count} x {card} ({layout}): {verdict}",
        model=shape.name,
        parameters=f"{shape.parameters / 1e9:,.1f}",
        count=hardware.count,
        card=card,
        layout=str(layout),
        verdict=verdict,
    )
    rows = [(word(part), format_bytes(size)) for part, size in needed.parts().items() if size]
    rows.append((t("needed on the fullest device"), format_bytes(needed.total)))
    rows.append((t("there is"), format_bytes(there)))
    return (
        clean(head)
        + "\n"
        + columns((" " + t("part"), t("size")), [(f" {a}", b) for a, b in rows], right=(t("size"),))
    )


def _instead(shape: Transformer, workload: Workload, hardware: Hardware) -> Fit | None:
    """The fewest of the same cards that hold it, however it is split; None where they do not compute in that
    precision."""
    return next(iter(fewest(shape, workload.sequence, workload.precision, [hardware.accelerator])), None)


def _advice(instead: Fit) -> str:
    card = instead.accelerator.name
    if instead.layout is None or instead.needed is None:
        return t(
            "no split over up to {most} of these cards holds it: a smaller model or sequence", most=f"{MOST:,}"
        )
    return t(
        "it fits on {count} x {card} ({layout}): {needed} of {there}",
        count=instead.layout.gpus,
        card=card,
        layout=str(instead.layout),
        needed=format_bytes(instead.needed.total),
        there=format_bytes(instead.accelerator.memory_bytes),
    )


def _table(shape: Transformer, sequence: int, cards: Sequence[Fit]) -> str:
    head = t(
        "{model}, {parameters} B parameters: the fewest cards that hold its training, {sequence} tokens a sequence",
        model=shape.name,
        parameters=f"{shape.parameters / 1e9:,.1f}",
        sequence=f"{sequence:,}",
    )
    rows = [_row(fit) for fit in sorted(cards, key=lambda fit: fit.layout.gpus if fit.layout else MOST + 1)]
    return clean(head) + "\n" + columns(_HEADER, rows, right=_HEADER[1:4])


_HEADER = ("CARD", "MEMORY", "CARDS", "NEEDED", "LAYOUT")


def _row(fit: Fit) -> tuple[str, ...]:
    there = format_bytes(fit.accelerator.memory_bytes)
    if fit.layout is None or fit.needed is None:
        return fit.accelerator.name, there, t("over {most}", most=f"{MOST:,}"), "-", "-"
    needed = format_bytes(fit.needed.total)
    return fit.accelerator.name, there, f"{fit.layout.gpus:,}", needed, str(fit.layout)


def _plain(fit: Fit) -> dict[str, Any]:
    """A line of the table, for programs; a card of which even `MOST` do not hold it has null for its layout."""
    return {
        "accelerator": fit.accelerator.name,
        "available_bytes": fit.accelerator.memory_bytes,
        "devices": fit.layout.gpus if fit.layout else None,
        "layout": asdict(fit.layout) if fit.layout else None,
        "needed_bytes": round(fit.needed.total) if fit.needed else None,
    }


def _explained(shape: Transformer, hardware: Hardware, needed: DeviceMemory) -> str:
    bound = needed.expectation()
    lines = [
        t(
            "judged by the upper bound, {bound}, 7 % above: memory was predicted that well",
            bound=format_bytes(bound.high),
        ),
        bound.basis,
        f"{hardware.accelerator.name}: {hardware.accelerator.memory}",
        f"{shape.name}: {shape.parameters:,} = {shape.layers} layers x hidden {shape.hidden} ...",
    ]
    return "\n".join(clean(line) for line in lines)


def _print(
    shape: Transformer, hardware: Hardware, layout: Layout, needed: DeviceMemory, instead: Fit | None
) -> None:
    import json

    bound = needed.expectation()
    told: dict[str, Any] = {
        "model": shape.name,
        "parameters": shape.parameters,
        "devices": hardware.count,
        "accelerator": hardware.accelerator.name,
        "layout": asdict(layout),
        "fits": fits(needed, hardware.accelerator),
        "available_bytes": hardware.accelerator.memory_bytes,
        "needed": {name: round(size) for name, size in needed.parts().items()},
        "expectation": asdict(bound),
        "fewest": _plain(instead) if instead else None,
    }
    print(json.dumps(told, ensure_ascii=False, indent=1), flush=True)

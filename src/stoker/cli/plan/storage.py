"""``stoker plan storage``: what storage must hold and how fast it must be, for checkpoints and data."""

from __future__ import annotations

from typing import Annotated

import typer

from stoker.cli.plan.cluster import ClusterFile, Count, Explain, Gpu, described
from stoker.cli.render import AsJson, clean, columns, print_json, say
from stoker.cli.texts import t, word
from stoker.errors import BadInput
from stoker.perf.goodput import DEVICE_MTBF
from stoker.perf.rate import rate
from stoker.perf.storage import STATE_BYTES, drive
from stoker.plan.storage import Need, StoragePlan, Way, Wish, decide
from stoker.sources.transformer_config import find_transformer
from stoker.units import format_duration, parse_bytes, parse_duration


def storage(
    model: Annotated[str, typer.Argument(help="A name, a folder with config.json, or parameters as 70e9.")],
    cluster: ClusterFile = None,
    gpu: Gpu = "",
    count: Count = 8,
    every: Annotated[
        str, typer.Option("--every", help="Between checkpoints, as 30m; empty: what loses least.")
    ] = "",
    keep: Annotated[int, typer.Option("--keep", help="Checkpoints that are kept.")] = 3,
    state_bytes: Annotated[
        float, typer.Option("--state-bytes", help="Of a parameter in a checkpoint; 2 for weights alone.")
    ] = STATE_BYTES,
    dataset: Annotated[str, typer.Option("--dataset", help="Size of the data, as 20TB.")] = "",
    data_rate: Annotated[str, typer.Option("--data-rate", help="What all cards take in, as 20GB/s.")] = "",
    tokens: Annotated[
        float, typer.Option("--tokens-per-s", help="Instead of --data-rate: of all cards, 4 bytes each.")
    ] = 0.0,
    restart_within: Annotated[
        str, typer.Option("--restart-within", help="In which a checkpoint must be read, as 5m.")
    ] = "5m",
    drives: Annotated[int, typer.Option("--drives", help="NVMe drives of one server for checkpoints.")] = 0,
    kind: Annotated[str, typer.Option("--drive", metavar="NAME", help="A drive of the catalogue.")] = "NVMe Gen4",
    mtbf: Annotated[str, typer.Option("--device-mtbf", help="Of one card, as 50000h; empty: Llama 3's.")] = "",
    explain: Explain = False,
    json: AsJson = False,
) -> None:
    """Show capacity and bandwidth for checkpoints, data and restarts, tier by tier."""
    wish = Wish(
        hardware=described(cluster, gpu, count),
        parameters=_parameters(model),
        state_bytes=state_bytes,
        every=parse_duration(every) if every else 0.0,
        keep=keep,
        dataset=float(parse_bytes(dataset)) if dataset else 0.0,
        data_rate=_data_rate(data_rate, tokens),
        restart_within=parse_duration(restart_within),
        drives=drives,
        drive=drive(kind),
        device_mtbf=parse_duration(mtbf) if mtbf else DEVICE_MTBF,
    )
    planned = decide(wish)
    if json:
        print_json(planned)
    else:
        say(_report(wish, planned))
        if explain:
            say("\n" + _explained(planned))


_TOKEN = 4.0  # bytes of a token's number


def _parameters(model: str) -> float:
    try:
        return float(model)
    except ValueError:
        return float(find_transformer(model).parameters)


def _data_rate(given: str, tokens: float) -> float:
    if given and tokens:
        raise BadInput("give either --data-rate or --tokens-per-s")
    return rate(given, "--data-rate") if given else tokens * _TOKEN


def _report(wish: Wish, planned: StoragePlan) -> str:
    head = t(
        "a checkpoint of {parameters} B parameters is {size} TB, {each} GB of each of {servers} servers; some card "
        "fails every {mtbf}",
        parameters=f"{wish.parameters / 1e9:,.1f}",
        size=f"{planned.checkpoint.value / 1e12:,.3g}",
        each=f"{planned.checkpoint.value / 1e9 / wish.hardware.servers:,.1f}",
        servers=f"{wish.hardware.servers:,}",
        mtbf=format_duration(planned.mtbf),
    )
    parts = [clean(head), _ways(planned.ways), _needs(planned.needs)]
    if planned.caches:
        held = {
            True: t("all servers together hold the data"),
            False: t("too small for the data"),
            None: t("its size is not told"),
        }
        parts.append("\n".join(f"{word(cache.tier.name)}: {held[cache.holds]}" for cache in planned.caches))
    return "\n\n".join(parts)


def _ways(ways: tuple[Way, ...]) -> str:
    outlives = {True: t("yes"), False: t("no"), None: t("not told")}
    header = (
        t("checkpoint"),
        t("training stops"),
        t("every"),
        t("time lost"),
        t("read back"),
        t("outlives a server"),
    )
    rows = [
        (
            word(way.name),
            format_duration(way.stop.value),
            format_duration(way.interval),
            f"{way.loss:.2%}",
            format_duration(way.restart.value) if way.restart else t("not told"),
            outlives[way.survives],
        )
        for way in ways
    ]
    return columns(header, rows, right=header[1:5])


def _needs(needs: tuple[Need, ...]) -> str:
    header = (t("the file system must"), t("needed"), t("there is"), "")
    verdict = {True: t("enough"), False: t("too little"), None: t("not told")}
    rows = [
        (word(f"{need.name} at least"), _amount(need.amount.value, need.amount.unit),
         _amount(need.there, need.amount.unit) if need.there else "", verdict[need.enough])
        for need in needs
    ]  # fmt: skip
    return columns(header, rows, right=header[1:3])


def _amount(value: float, unit: str) -> str:
    scaled, name = (value / 1e9, "GB/s") if unit == "B/s" else (value / 1e12, "TB")
    return f"{scaled:,.1f} {name}" if scaled >= 1 else f"{scaled:.2g} {name}"


def _explained(planned: StoragePlan) -> str:
    lines = [f"{t('checkpoint')}: {planned.checkpoint.basis}"]
    lines += [f"{word(way.name)}: {way.stop.basis}" for way in planned.ways]
    lines += [f"{word(f'{need.name} at least')}: {need.amount.basis}" for need in planned.needs]
    lines += [f"{word(cache.tier.name)}: {cache.tier.basis}" for cache in planned.caches]
    lines.append(t("time lost: stop / every + (every / 2 + restart) / time between failures"))
    return "\n".join(clean(line) for line in lines)

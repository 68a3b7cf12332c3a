"""``stoker plan network``: switches, optics and cables for N servers, and what they should deliver."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from stoker.cli.plan.cluster import ClusterFile, Count, Explain, Gpu, described
from stoker.cli.render import AsJson, clean, columns, say
from stoker.cli.texts import t, word
from stoker.errors import BadInput
from stoker.perf.hardware import Hardware
from stoker.perf.network import Nic, nic, switch
from stoker.perf.rate import port_rate
from stoker.plan.network import Lengths, Network, Topology, Wish, design
from stoker.plan.network_expected import Delivery, deliver
from stoker.plan.network_lists import Address, Cable, Item, addresses, bill, cables
from stoker.plan.network_picture import ENGLISH, picture
from stoker.typed import dump
from stoker.units import format_bytes

Metres = Annotated[float, typer.Option(help="Metres of one cable.", min=0)]


def network(
    cluster: ClusterFile = None,
    gpu: Gpu = "",
    count: Count = 8,
    nics: Annotated[int, typer.Option("--nics", help="Ports of one server; 0: as in the cluster file, or 8.")] = 0,
    adapter: Annotated[str, typer.Option("--nic", metavar="NAME", help="An adapter of the catalogue.")] = "",
    speed: Annotated[str, typer.Option("--speed", help="Of one port, as 400Gb/s; empty: the adapter's.")] = "",
    leaf: Annotated[
        str, typer.Option("--switch", metavar="NAME", help="Of the catalogue, or 64x400Gb/s.")
    ] = "QM9700",
    spine: Annotated[str, typer.Option("--spine", metavar="NAME", help="Above the leaves; empty: the same.")] = "",
    topology: Annotated[str, typer.Option("--topology", help="rail, spine-leaf or three-layer.")] = "rail",
    oversubscription: Annotated[float, typer.Option("--oversubscription", help="Of leaves, at most.")] = 1.0,
    spine_oversubscription: Annotated[
        float, typer.Option("--spine-oversubscription", help="Of spines below cores, at most.")
    ] = 1.0,
    server_cable: Metres = 10.0,
    spine_cable: Metres = 30.0,
    core_cable: Metres = 50.0,
    block: Annotated[str, typer.Option("--addresses", help="IPv4 block that addresses are from.")] = "10.0.0.0/8",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write cables.csv, addresses.csv and network.svg.")
    ] = None,
    explain: Explain = False,
    json: AsJson = False,
) -> None:
    """Show how to wire servers: switches, optics, cables, addresses, and the bandwidth to expect."""
    hardware = described(cluster, gpu, count)
    if re.fullmatch(r"[0-9.]+\s*[KMGT]?b(it)?(/s|ps)", adapter.strip(), re.IGNORECASE):
        raise BadInput(f"--nic {adapter} is a speed; --nic names an adapter, as ConnectX-7: give --speed {adapter}")
    port = nic(adapter or (hardware.nics.type if hardware.nics and hardware.nics.type else "ConnectX-7"))
    wish = Wish(
        servers=hardware.servers,
        nics=_nics(nics, hardware),
        speed=_speed(speed, port, hardware),
        leaf=switch(leaf),
        spine=switch(spine or leaf),
        topology=_topology(topology),
        oversubscription=oversubscription,
        spine_oversubscription=spine_oversubscription,
        lengths=Lengths(server_cable, spine_cable, core_cable),
    )
    planned = design(wish)
    delivered = deliver(planned, hardware, port)
    if out is not None:
        _write(planned, block, out)
    if json:
        _print(planned, delivered)
    else:
        say(_report(planned, hardware, delivered))
        if explain:
            say("\n" + _explained(planned, port, delivered))
        if out is not None:
            say("\n" + t("written: {files} in {folder}", files=", ".join(_FILES), folder=clean(str(out))))


_FILES = ("cables.csv", "addresses.csv", "network.svg")


def _topology(given: str) -> Topology:
    known: dict[str, Topology] = {name: name for name in get_args(Topology)}
    if given not in known:
        raise BadInput(f'--topology "{given}" was given; allowed are {", ".join(known)}')
    return known[given]


def _nics(given: int, hardware: Hardware) -> int:
    if given < 0:
        raise BadInput(f"--nics {given} was given; 1 or more are allowed")
    return given or (hardware.nics.count if hardware.nics else 8)


def _speed(given: str, port: Nic, hardware: Hardware) -> float:
    if given:
        return port_rate(given, "--speed")
    return hardware.nics.bandwidth if hardware.nics else float(port.speed)


def _report(network: Network, hardware: Hardware, delivered: Delivery) -> str:
    parts = [
        _head(network, hardware),
        _layers(network),
        _bill(bill(network)),
        _traffic(delivered),
        _failures(delivered),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(network: Network, hardware: Hardware) -> str:
    wish = network.wish
    by = t("{layers} layers, by rails") if network.rails else t("{layers} layers, by racks")
    line = t(
        "{servers} servers with {cards} x {card}, {nics} ports of {speed} Gb/s each: {shape}",
        servers=f"{wish.servers:,}",
        cards=hardware.per_server,
        card=hardware.accelerator.name,
        nics=wish.nics,
        speed=f"{wish.speed * 8 / 1e9:g}",
        shape=t("one switch") if network.layers == 1 else by.format(layers=network.layers),
    )
    return clean(line) + ("\n" + t("two layers suffice for so many servers") if network.note else "")


def _layers(network: Network) -> str:
    wish = network.wish
    rows = [("leaf", network.leaves, wish.leaf.name, network.down, network.uplinks, network.leaf_ratio)]
    if network.layers > 1:
        up = network.spine_uplinks
        rows.append(("spine", network.spines, wish.spine.name, network.spine_down, up, network.spine_ratio))
    if network.layers > 2:
        links = -(-network.spine_links // network.cores)
        rows.append(("core", network.cores, wish.spine.name, links, 0, 1.0))
    shown = [
        (word(layer), f"{count:,}", name, str(down), str(up or "-"), f"{ratio:.3g}:1" if up else "-")
        for layer, count, name, down, up, ratio in rows
    ]
    header = (t("layer"), t("switches"), t("model"), t("down"), t("up"), t("oversubscription"))
    return columns(header, shown, right=header[1:2] + header[3:])


def _bill(items: Sequence[Item]) -> str:
    header = (t("to buy"), t("count"), t("for"), t("power"))
    rows = [
        (_bought(item), f"{item.count:,}", word(item.use), f"{item.power / 1e3:,.1f} kW" if item.power else "")
        for item in items
    ]
    return columns(header, rows, right=(header[1], header[3]))


def _bought(item: Item) -> str:
    """Names of products stay; what is no product has a word."""
    kind, _, rest = item.what.partition(" ")
    return f"{word(kind)} {rest}" if kind in ("fibre", "copper", "transceiver") else item.what


def _traffic(delivered: Delivery) -> str:
    lines = [
        t(
            "bisection {bandwidth} TB/s each way, oversubscription {ratio}:1; all-reduce at most {bound} GB/s",
            bandwidth=f"{delivered.bisection.value / 1e3:,.1f}",
            ratio=f"{delivered.oversubscription.value:.3g}",
            bound=f"{delivered.bound.value:,.0f}",
        )
    ]
    header = (t("all-reduce over all cards"), t("time"), t("bus bandwidth"), t("low to high"))
    rows = [
        (
            format_bytes(step.size),
            _milliseconds(step.time.value),
            f"{step.bus_bandwidth.value:,.1f} GB/s",
            f"{step.bus_bandwidth.low:,.0f}-{step.bus_bandwidth.high:,.0f}",
        )
        for step in delivered.all_reduce
    ]
    return "\n".join([*lines, columns(header, rows, right=header[1:])])


def _failures(delivered: Delivery) -> str:
    header = (t("when one fails"), t("there are"), t("servers hit"), t("bandwidth they lose"))
    rows = [
        (word(failure.part), f"{failure.parts:,}", f"{failure.servers:,}", f"{failure.share:.2%}")
        for failure in delivered.failures
    ]
    return columns(header, rows, right=header[1:])


def _explained(network: Network, port: Nic, delivered: Delivery) -> str:
    wish = network.wish
    lines = [
        f"{wish.leaf.name}: {wish.leaf.basis}",
        f"{port.name}: {port.speed}; {t('share of it that collectives reach')} {port.share}",
        f"{t('bisection')}: {delivered.bisection.basis}",
        f"{t('oversubscription')}: {delivered.oversubscription.basis}",
        f"{t('bound')}: {delivered.bound.basis}",
    ]
    if wish.spine.name != wish.leaf.name:
        lines.insert(1, f"{wish.spine.name}: {wish.spine.basis}")
    lines += [f"{format_bytes(step.size)}: {step.bus_bandwidth.basis}" for step in delivered.all_reduce]
    return "\n".join(clean(line) for line in lines)


def _print(network: Network, delivered: Delivery) -> None:
    import json

    told: dict[str, Any] = {
        "topology": {"rails": network.rails, "layers": network.layers},
        "switches": {"leaf": network.leaves, "spine": network.spines, "core": network.cores},
        "links": {
            "server": network.wish.ports,
            "leaf_spine": network.leaf_links,
            "spine_core": network.spine_links,
        },
        "oversubscription": {"leaf": network.leaf_ratio, "spine": network.spine_ratio},
        "bill": [dump(item) for item in bill(network)],
        "delivery": dump(delivered),
    }
    print(json.dumps(told, ensure_ascii=False, indent=1), flush=True)


def _write(network: Network, block: str, folder: Path) -> None:
    """The lists and the picture; raises BadInput when the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _csv(folder / _FILES[0], Cable._fields, cables(network))
        _csv(folder / _FILES[1], Address._fields, addresses(network, block))
        (folder / _FILES[2]).write_text(picture(network, say=_worded), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write to {folder}: {error.strerror}; give another --out") from None


def _worded(key: str, /, **values: object) -> str:
    return word(ENGLISH[key]).format(**values)


def _csv(path: Path, header: Iterable[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"

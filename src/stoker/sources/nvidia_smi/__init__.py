"""NVIDIA devices as the driver's own ``nvidia-smi`` lists them: slices, health, and which NVLink joins."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace

from stoker.cluster import Device, Health
from stoker.sources.nvidia_smi.pci import numa_node, root_port

_QUERY = ("index", "name", "memory.total", "uuid", "pci.bus_id")
_HEALTH = ("uuid", "ecc.errors.uncorrected.volatile.total", "retired_pages.pending")
_REMAPPED = ("gpu_uuid", "remapped_rows.pending", "remapped_rows.failure")
_CSV = "--format=csv,noheader,nounits"
_PATIENCE_SECONDS = 20.0
_MAKERS = re.compile(r"^((NVIDIA|Tesla|Quadro|GeForce)\s+)+", re.IGNORECASE)
_SERIES = ("RTX", "GTX", "TITAN")  # words that do not name a model alone
_SLICE = re.compile(r"^\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-\S+)\)")
_GPU = re.compile(r"^GPU (\d+): ")
_SLICES = 100  # a slice's index is (index of its device + 1) x _SLICES + its own


def nvidia_devices() -> tuple[Device, ...]:
    """The devices of this machine; none where there is no driver or it does not answer."""
    devices = parse(_asked(f"--query-gpu={','.join(_QUERY)}", _CSV))
    if not devices:
        return ()
    healths = parse_healths(
        _asked(f"--query-gpu={','.join(_HEALTH)}", _CSV),
        _asked(f"--query-remapped-rows={','.join(_REMAPPED)}", _CSV),
    )
    joined = parse_links(_asked("topo", "-m"))
    sound = [
        replace(device, health=healths.get(device.uuid, Health.UNKNOWN), nvlink=joined.get(device.index, ""))
        for device in devices
    ]
    return with_slices(sound, _asked("-L"))


def _asked(*words: str) -> str:
    """What nvidia-smi prints; nothing where it does not know the words, or does not answer."""
    command = ["nvidia-smi", *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return ""


def parse(csv: str) -> tuple[Device, ...]:
    """Devices of the answer's lines: index, name, MiB, UUID, and their place on the PCI bus."""
    devices = []
    for fields in _rows(csv, len(_QUERY)):
        index, name, mebibytes, uuid, bus = fields
        if index.isdigit():
            memory = int(mebibytes) << 20 if mebibytes.isdigit() else 0
            devices.append(
                Device(int(index), model_of(name), memory, uuid, numa=numa_node(bus), pcie=root_port(bus))
            )
    return tuple(devices)


def parse_healths(errors: str, remapped: str) -> dict[str, Health]:
    """By UUID, by NVIDIA's GPU memory error management.

    A device whose rows cannot be remapped any more, or that is lost, has failed; one with uncorrected errors since
    the driver was loaded, or that waits for a reset, is degraded.
    """
    found: dict[str, Health] = {}
    for uuid, uncorrected, pending in _rows(errors, len(_HEALTH)):
        if "lost" in uncorrected.lower() or "err" in uncorrected.lower():
            found[uuid] = Health.FAILED
        elif uncorrected.isdigit():
            found[uuid] = Health.DEGRADED if int(uncorrected) or pending == "Yes" else Health.OK
    for uuid, pending, failure in _rows(remapped, len(_REMAPPED)):
        if failure in ("Yes", "1"):
            found[uuid] = Health.FAILED
        elif pending in ("Yes", "1") and found.get(uuid) is not Health.FAILED:
            found[uuid] = Health.DEGRADED
    return found


def parse_links(matrix: str) -> dict[int, str]:
    """By device the number of its group, of ``topo -m``: those that NVLink (NV#) joins, directly or in turn."""
    lines = [line.split() for line in re.sub(r"\x1b\[[0-9;]*m", "", matrix).splitlines()]
    rows = [words for words in lines if words and re.fullmatch(r"GPU\d+", words[0]) and "X" in words]
    group: dict[int, int] = {}
    for words in rows:
        this = int(words[0][3:])
        cells = words[1 : len(rows) + 1]
        near = [int(rows[at][0][3:]) for at, cell in enumerate(cells) if re.fullmatch(r"NV\d+", cell)]
        if near:
            known = {group[one] for one in (this, *near) if one in group}
            number = min(known, default=this)
            group = {one: number if old in known else old for one, old in group.items()}
            group.update(dict.fromkeys((this, *near), number))
    return {index: str(number) for index, number in group.items()}


def with_slices(devices: Sequence[Device], listed: str) -> tuple[Device, ...]:
    """With the MIG slices that ``-L`` lists in place of the devices they are of."""
    slices: dict[int, list[Device]] = {}
    parent: Device | None = None
    by_index = {device.index: device for device in devices}
    for line in listed.splitlines():
        if match := _GPU.match(line):
            parent = by_index.get(int(match[1]))
        elif (match := _SLICE.match(line)) and parent is not None:
            slices.setdefault(parent.index, []).append(_slice(parent, match[1], int(match[2]), match[3]))
    return tuple(one for device in devices for one in slices.get(device.index, [device]))


def _slice(parent: Device, profile: str, number: int, uuid: str) -> Device:
    """It has no NVLink: peer to peer does not work between slices."""
    gibibytes = re.search(r"(\d+)gb", profile)
    return replace(
        parent,
        index=(parent.index + 1) * _SLICES + number,
        model=f"{parent.model}-{profile.lower()}",
        memory=int(gibibytes[1]) << 30 if gibibytes else 0,
        uuid=uuid,
        nvlink="",
    )


def _rows(csv: str, width: int) -> Iterator[list[str]]:
    for line in csv.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == width:
            yield fields


def model_of(name: str) -> str:
    """The short name people ask for: ``NVIDIA H100 80GB HBM3`` is an H100, ``NVIDIA A100-SXM4-80GB`` an A100."""
    words = _MAKERS.sub("", name.strip()).split()
    if not words:
        return name
    if words[0].upper() in _SERIES:
        return " ".join(words[:2])
    return words[0].split("-")[0]

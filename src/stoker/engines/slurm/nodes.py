"""The nodes as ``scontrol show node -d -o`` tells them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from stoker.cluster import Device, Health, Node, profile_of
from stoker.engines.slurm.squeue import count_of, word
from stoker.errors import Away

OPTIONS = ("--details", "--oneliner", "--all", "show", "node")
_FIELD = re.compile(r"(?:^| )([A-Za-z_]+)=")
_GRES = re.compile(r",(?=[A-Za-z])")
_MIB = 1 << 20
_MAKERS = re.compile(r"^(nvidia|tesla|amd|huawei|ascend|hygon)[_-]", re.IGNORECASE)
# Words and flags of a state in which no new work begins. PLANNED, CLOUD and POWERED_DOWN are no hindrance.
_CLOSED = frozenset(
    ("DOWN", "DRAIN", "DRAINED", "DRAINING", "FAIL", "FAILING", "ERROR", "UNKNOWN", "FUTURE", "INVAL",
     "INVALID_REG", "MAINTENANCE", "MAINT", "NOT_RESPONDING", "NO_RESPOND", "POWERING_DOWN", "REBOOT",
     "REBOOT_ISSUED", "REBOOT_REQUESTED", "RESERVED", "BLOCKED")
)  # fmt: skip
_DRAINED = frozenset(("DRAIN", "DRAINED", "DRAINING"))


@dataclass(frozen=True)
class SlurmNode:
    """A node as the pool sees it, and what only Slurm knows."""

    node: Node
    models: Mapping[int, str] = field(default_factory=dict)  # device index -> its model in Slurm's word
    states: frozenset[str] = frozenset()
    reason: str = ""  # as it stands in Slurm, without who and when

    @property
    def drained(self) -> bool:
        return bool(self.states & _DRAINED)


@dataclass(frozen=True)
class Wanted:
    """Which nodes are ours to offer, and how their devices are called."""

    engine: str
    gres: str = "gpu"
    vendor: str = "nvidia"
    partition: str = ""
    reserved: bool = False  # jobs go into a reservation: its nodes are open to us


def parse(text: str, wanted: Wanted) -> dict[str, SlurmNode]:
    """By name. Raises Away for an answer that is garbled or cut off."""
    if not text.endswith("\n"):
        raise Away("scontrol's answer about the nodes was cut off")
    return by_name(map(_fields, text.splitlines()), wanted)


def by_name(told: Iterable[Mapping[str, str]], wanted: Wanted) -> dict[str, SlurmNode]:
    """Each of `told` are a node's fields in scontrol's words. Raises Away."""
    lines = [fields for fields in told if fields]
    hosts = Counter(fields.get("NodeHostName", "") for fields in lines)
    found = {}
    for fields in lines:
        partitions = fields.get("Partitions", "").split(",")
        if wanted.partition and wanted.partition not in partitions:
            continue
        one = _node(fields, wanted)
        host = fields.get("NodeHostName", "")
        if hosts[host] == 1 and host != one.node.name:  # several nodes may be played by one machine
            one = replace(one, node=replace(one.node, host=host.partition(".")[0].lower()))
        found[one.node.name] = one
    return found


def _fields(line: str) -> dict[str, str]:
    """Of a key that comes twice the first counts: what people wrote as a reason stands at the end."""
    found: dict[str, str] = {}
    matches = list(_FIELD.finditer(line))
    for match, after in zip(matches, [*matches[1:], None], strict=True):
        found.setdefault(match[1], line[match.end() : after.start() if after else None].strip())
    if "Reason" in found:
        found["Reason"] = line.partition(" Reason=")[2].strip()
    return found


def _node(fields: Mapping[str, str], wanted: Wanted) -> SlurmNode:
    try:
        name, total, memory = fields["NodeName"], int(fields["CPUTot"]), int(fields["RealMemory"])
        states = frozenset(fields["State"].replace("*", "+NOT_RESPONDING").strip("+").split("+"))
        cpus = int(fields.get("CPUEfctv", total))
        memory -= int(fields.get("MemSpecLimit", 0))
    except (KeyError, ValueError) as error:
        raise Away(f"scontrol's answer about the nodes: {error} is missing or wrong") from None
    models = _models(fields.get("Gres", ""), wanted.gres)
    health = Health.DEGRADED if "degraded" in fields.get("ActiveFeatures", "").split(",") else Health.UNKNOWN
    devices = tuple(
        Device(index, model_of(model), vendor=wanted.vendor, health=health) for index, model in models.items()
    )
    said = word(fields.get("Reason", "")).partition(" [")[0]
    closed = (states & _CLOSED) - ({"RESERVED"} if wanted.reserved else set())
    labels = {"partitions": fields.get("Partitions", ""), "features": word(fields.get("ActiveFeatures", ""))}
    return SlurmNode(
        Node(
            name,
            wanted.engine,
            cpus=cpus,
            memory=memory * _MIB,
            devices=devices,
            labels={key: value for key, value in labels.items() if value},
            schedulable=not closed,
            reason=_why(closed, said),
            address=fields.get("NodeAddr", name),
        ),
        models,
        states,
        said,
    )


def _why(closed: frozenset[str] | set[str], said: str) -> str:
    """``drained: xid79 fallen off bus``"""
    if not closed:
        return ""
    words = "drained" if closed & _DRAINED else ", ".join(sorted(closed)).lower().replace("_", " ")
    if "DOWN" in closed:
        words = "down"
    return f"{words}: {said}" if said else words


def _models(gres: str, wanted: str) -> dict[int, str]:
    """``gpu:h200:8(S:0-1),gpu:a100:2``: the model of each device, counted through as Slurm's IDX are."""
    models = [model for part in _GRES.split(gres) for model in _one(part, wanted)]
    return dict(enumerate(models))


def _one(part: str, wanted: str) -> Iterator[str]:
    name, *rest = part.partition("(")[0].split(":")
    if name == wanted:
        model = rest[0] if len(rest) > 1 or (rest and not rest[0].isdigit()) else ""
        yield from [model] * count_of(part, wanted)


def model_of(word_: str) -> str:
    """The short name people ask for: ``nvidia_h100_80gb_hbm3`` is an H100, ``h100_1g.10gb`` the slice H100-1g.10gb;
    GPU where Slurm names none."""
    if profile := profile_of(word_):
        whole = word_[: -len(profile)].rstrip("_-")
        return f"mig-{profile}" if whole.lower() in ("", "mig") else f"{model_of(whole)}-{profile}"
    bare = _MAKERS.sub("", word_)
    parts = re.split(r"[_ -]", bare)
    if parts[0].lower() in ("geforce", "rtx", "gtx", "quadro") and len(parts) > 1:
        return " ".join(part.upper() for part in parts if part.lower() != "geforce")
    return parts[0].upper() or "GPU"

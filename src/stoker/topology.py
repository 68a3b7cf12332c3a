"""Topology: how close devices and nodes are, and how close a job wants its own to be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stoker.errors import BadInput
from stoker.typed import strict


class Level(StrEnum):
    """What two devices, or two nodes, may have in common. From NVLink on, each holds the ones before it."""

    PCIE = "pcie"  # devices of one node: a PCIe switch or root port
    NUMA = "numa"  # devices of one node: a socket, or a part of one
    NVLINK = "nvlink"  # devices of one node that NVLink joins; nodes: one NVLink domain over several, as NVL72
    LEAF = "leaf"  # nodes: a leaf switch, or the leaves of one rail-optimised group
    POD = "pod"  # nodes: leaves under the same spines, also called spine block or scalable unit
    CORE = "core"  # nodes: pods under the same core switches
    SITE = "site"  # nodes: a machine room or zone

    @property
    def within_node(self) -> bool:
        return self in WITHIN_NODE

    @property
    def between_nodes(self) -> bool:
        return self in BETWEEN_NODES


# The closest last: NVLink joins devices whatever switch they hang on, so it is asked first.
WITHIN_NODE = (Level.NVLINK, Level.NUMA, Level.PCIE)
BETWEEN_NODES = (Level.NVLINK, Level.LEAF, Level.POD, Level.CORE, Level.SITE)  # the closest first


@strict
@dataclass(frozen=True)
class Topology:
    """What a job asks for. A level that the pool does not tell of is never taken for met.

    Kueue's words: `required` keeps the job waiting until one domain of that level holds all of it; `preferred`
    tries, and takes the fewest domains where none does.
    """

    required: Level | None = None
    preferred: Level | None = None
    spread: Level | None = None  # its nodes go to as many domains of this level as there are, evenly

    def __post_init__(self) -> None:
        if self.spread and not self.spread.between_nodes:
            raise BadInput(
                f"spread {self.spread} was given; nodes spread over {_either(BETWEEN_NODES)}", param="topology"
            )
        if self.spread and self.preferred:
            raise BadInput(
                f"spread {self.spread} and preferred {self.preferred} pull apart; give one", param="topology"
            )
        if self.required and self._reaches(self.spread or self.preferred):
            raise BadInput(
                f"required {self.required} is at least as close as {self.spread or self.preferred}: "
                "what is preferred or spread over lies within what is required",
                param="topology",
            )

    def _reaches(self, other: Level | None) -> bool:
        """Whether one domain of the level required holds no two of `other`."""
        if other is None or self.required not in BETWEEN_NODES or other not in BETWEEN_NODES:
            return self.required is other
        return BETWEEN_NODES.index(self.required) <= BETWEEN_NODES.index(other)


ANYWHERE = Topology()


def parse_topology(text: str) -> Topology:
    """Of ``required=leaf``, ``preferred=pod``, ``required=pod,spread=leaf``; a bare ``leaf`` is required.

    Raises BadInput.
    """
    given: dict[str, Level] = {}
    for part in text.split(","):
        name, equals, value = (word.strip().lower() for word in part.partition("="))
        name, value = (name, value) if equals else ("required", name)
        if name not in ("required", "preferred", "spread") or name in given:
            raise BadInput(
                f'topology "{text}" was given; write for example required=leaf, preferred=pod or spread=leaf',
                param="topology",
            )
        given[name] = parse_level(value)
    return Topology(**given)


def parse_level(text: str) -> Level:
    try:
        return Level(_ALSO.get(text.strip().lower(), text.strip().lower()))
    except ValueError:
        raise BadInput(
            f'topology level "{text}" was given; allowed: {_either(tuple(Level))}', param="topology"
        ) from None


def format_topology(wish: Topology) -> str:
    """``required=pod,preferred=leaf``: what `parse_topology` takes back; empty for a job that asks for nothing."""
    named = (("required", wish.required), ("preferred", wish.preferred), ("spread", wish.spread))
    return ",".join(f"{name}={level}" for name, level in named if level)


def _either(levels: tuple[Level, ...]) -> str:
    return f"{', '.join(levels[:-1])} and {levels[-1]}"


# What switches and groups of nodes are called elsewhere.
_ALSO = {
    "asw": "leaf", "tor": "leaf", "rack": "leaf", "switch": "leaf", "accelerator": "nvlink", "clique": "nvlink",
    "psw": "pod", "spine": "pod", "block": "pod", "su": "pod", "dsw": "core", "superspine": "core",
    "zone": "site", "socket": "numa",
}  # fmt: skip

"""SlurmCluster: the cluster that the engine speaks to. Who we are there, its clock, its nodes, and closing them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.clock import Clock
from stoker.engines.slurm import batch, topology
from stoker.engines.slurm.batch import Site
from stoker.engines.slurm.commands import Commands, View
from stoker.engines.slurm.machine import File, Machine, Part
from stoker.engines.slurm.nodes import SlurmNode, Wanted
from stoker.engines.slurm.settings import SlurmSettings
from stoker.errors import Away, Conflict, NotFound
from stoker.topology import Level

_log = logging.getLogger(__name__)
_WRAPPER = Path(__file__).with_name("wrapper.py")
_TOPOLOGY_S = 600.0  # for which what was said of the network is good: it is wired anew rarely
_SKEW_S = 2.0  # two clocks that differ by less are taken for equal


@dataclass(frozen=True)
class Connected:
    """What was learnt of the cluster when it first answered."""

    uid: int
    folder: str
    wrapper: str
    books: bool
    memory_counts: bool


class SlurmCluster:
    """Used under the engine's lock."""

    def __init__(
        self,
        engine: str,
        installation: str,
        settings: SlurmSettings,
        machine: Machine,
        commands: Commands,
        view: View,
        clock: Clock,
    ) -> None:
        self.skew = 0.0  # what is to be added to the cluster's clock to get ours
        self._engine = engine
        self._installation = installation
        self._settings = settings
        self._machine = machine
        self._commands = commands
        self._view = view
        self._clock = clock
        self._connected: Connected | None = None
        self._nodes: dict[str, SlurmNode] = {}
        self._nodes_at: float | None = None
        self._domains: Mapping[str, Mapping[Level, str]] = {}
        self._domains_at: float | None = None

    def connect(self) -> Connected:
        """Learn who we are there, and lay down the wrapper; once, until the machine is another one."""
        if self._connected is None:
            hello = self._machine.hello()
            self._take_time(hello.time)
            self._check_conf()
            root = self._settings.folder
            root = f"{hello.home}/{root[2:]}" if root.startswith("~/") else root
            folder = f"{root.rstrip('/')}/{self._installation}"
            body = f"#!{self._settings.wrapper_python} -IS\n".encode() + _WRAPPER.read_bytes()
            wrapper = f"{folder}/wrapper-{hashlib.sha256(body).hexdigest()[:12]}.py"
            self._machine.put([File(wrapper, body, 0o700)])
            controller = self._commands.controller()
            self._connected = Connected(hello.uid, folder, wrapper, controller.books, controller.memory_counts)
            _log.info("engine %s: Slurm %s, cluster %s", self._engine, controller.version, controller.cluster)
        return self._connected

    @property
    def connected(self) -> Connected:
        """Without asking anything where it is known already: for readers beside the lock."""
        return self._connected or self.connect()

    def site(self) -> Site:
        connected = self.connect()
        nodes = self.nodes()
        return Site(
            self._settings,
            self._installation,
            connected.folder,
            connected.wrapper,
            {name: one.node for name, one in nodes.items()},
            {name: one.models for name, one in nodes.items()},
            connected.memory_counts,
        )

    def nodes(self) -> dict[str, SlurmNode]:
        """By name, asked for anew every few seconds."""
        if not self.recent(self._nodes_at):
            settings = self._settings
            wanted = Wanted(
                self._engine, settings.gres, settings.vendor, settings.partition, bool(settings.reservation)
            )
            self._take_time(self._machine.hello().time)
            domains = self._topology()
            self._nodes = {name: _placed(one, domains) for name, one in self._view.nodes(wanted).items()}
            self._nodes_at = self._clock.now()
        return self._nodes

    def _topology(self) -> Mapping[str, Mapping[Level, str]]:
        if not self._within(self._domains_at, _TOPOLOGY_S):
            self._domains = topology.parse(self._commands.topology(), self._settings.topology)
            self._domains_at = self._clock.now()
        return self._domains

    def recent(self, asked_at: float | None) -> bool:
        """Whether what was asked then need not be asked again."""
        return self._within(asked_at, self._settings.nodes_every)

    def _within(self, asked_at: float | None, seconds: float) -> bool:
        return asked_at is not None and 0 <= self._clock.now() - asked_at < seconds

    def drain(self, node: str, reason: str) -> None:
        """A node that somebody drained already stays as it is, with that person's reason. Raises NotFound."""
        self.connect()
        if not self._drained(node):
            self._commands.drain(node, f"{self._our_reason} {' '.join(reason.split())}")
            self._nodes_at = None

    def undrain(self, node: str) -> None:
        """Raises Conflict when somebody else drained it, NotFound."""
        self.connect()
        found = self._drained(node)
        if found and not found.reason.startswith(self._our_reason):
            raise Conflict(f'node {node} was drained by somebody else ("{found.reason}"); it stays drained')
        if found:
            self._commands.resume(node)
            self._nodes_at = None

    @property
    def _our_reason(self) -> str:
        return f"{batch.MARK}:{self._installation}:"

    def _drained(self, node: str) -> SlurmNode | None:
        """The node, if it is drained now. Raises NotFound."""
        self._nodes_at = None
        nodes = self.nodes()
        if node not in nodes:
            raise NotFound.named("node", node, nodes)
        return nodes[node] if nodes[node].drained else None

    def _check_conf(self) -> None:
        """Slurm's commands look for a minute for a cluster whose file is not there."""
        conf = self._settings.conf
        if conf and not self._machine.read([Part(conf, 0, 1)])[0]:
            raise Away(f'the setting conf names "{conf}"; there is no such file, or it cannot be read')

    def _take_time(self, theirs: float) -> None:
        skew = self._clock.now() - theirs
        if abs(skew) > _SKEW_S and abs(self.skew - skew) > _SKEW_S:
            _log.warning("engine %s: the cluster's clock is %+.0f s off this machine's", self._engine, -skew)
        self.skew = skew if abs(skew) > _SKEW_S else 0.0


def _placed(one: SlurmNode, domains: Mapping[str, Mapping[Level, str]]) -> SlurmNode:
    """With where it is in the network; what its features say counts where Slurm itself tells nothing."""
    node = one.node
    told = {**topology.of_features(node.labels.get("features", "")), **domains.get(node.name, {})}
    return replace(one, node=replace(node, domains=told)) if told else one

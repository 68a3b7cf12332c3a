"""App: the only place that wires the platform together."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.account import Account, Role
from stoker.clock import Clock, SystemClock
from stoker.cluster import Device, Node
from stoker.control.accounts import AccountDesk
from stoker.control.address import Address
from stoker.control.arrears import Arrears
from stoker.control.balances import BalanceDesk
from stoker.control.carrier import Carrier
from stoker.control.changes import Changes
from stoker.control.consumption import Consumption
from stoker.control.courier import Courier
from stoker.control.drains import DrainDesk
from stoker.control.endpoint_book import EndpointBook
from stoker.control.endpoints import EndpointDesk
from stoker.control.engines import EngineDesk
from stoker.control.explanations import ExplanationDesk
from stoker.control.files import FileDesk
from stoker.control.forecasts import Forecasts
from stoker.control.jobs import JobDesk
from stoker.control.lending import Lending
from stoker.control.loop import Dispatcher
from stoker.control.luggage import Luggage, with_partition
from stoker.control.models import ModelDesk
from stoker.control.moves import MoveDesk
from stoker.control.notebook_secrets import NotebookSecrets
from stoker.control.notebooks import NotebookDesk
from stoker.control.policy import PolicyDesk
from stoker.control.queues import QueueDesk
from stoker.control.reclaim import ReclaimDesk
from stoker.control.replica_keeper import ReplicaKeeper
from stoker.control.request import RequestReader
from stoker.control.rights import require
from stoker.control.roster import Roster
from stoker.control.shipment_work import ShipmentWork
from stoker.control.shipments import ShipmentDesk
from stoker.control.stages import StageJobs
from stoker.control.topology import TopologyDesk
from stoker.depot import Depot, is_remote, read_credentials
from stoker.engine import Engine
from stoker.engine_config import EngineConfig, settings_of
from stoker.engines.local import LocalEngine
from stoker.errors import Away, BadInput
from stoker.home import Home
from stoker.job import JobState
from stoker.node_drain import with_drains
from stoker.sources.declared import declared_devices
from stoker.sources.device_watch import DeviceWatch
from stoker.sources.node import local_node
from stoker.sources.nvidia_smi import nvidia_devices
from stoker.store.accounts import AccountStore
from stoker.store.artifacts import Artifacts
from stoker.store.attachments import STORAGE, Attachments
from stoker.store.balances import BalanceStore
from stoker.store.database import Database
from stoker.store.drains import DrainStore
from stoker.store.endpoints import EndpointStore
from stoker.store.engines import EngineStore
from stoker.store.files import FileStore
from stoker.store.home import HomeLock
from stoker.store.jobs import Filter, JobStore
from stoker.store.lease import Lease
from stoker.store.moves import MoveStore
from stoker.store.policy import PolicyStore
from stoker.store.predictions import PredictionStore
from stoker.store.promotions import PromotionJournal
from stoker.store.queues import QueueStore
from stoker.store.registry import Registry
from stoker.store.shipments import ShipmentStore
from stoker.store.topology import TopologyStore

_log = logging.getLogger(__name__)


_PATIENCE_S = 10.0  # for an engine that hangs, when the platform stops


@dataclass(frozen=True)
class Settings:
    """What can be set when the platform starts."""

    database: str = ""  # SQLAlchemy URL; empty: SQLite in the home
    devices: str = ""  # declared devices, "H100:8"; empty: ask the drivers
    cpus: int = 0  # CPUs offered to jobs; 0: those of this machine
    upload_limit: int = 10 << 30  # bytes of one uploaded file
    advertise: str = ""  # URL at which jobs on other machines reach this platform; empty: where it listens
    artifacts: str = ""  # folder or URL of what stages make; empty: the home
    artifacts_credentials: str = ""  # file of NAME=value lines for a URL; empty: as each machine finds its own


class App:
    """The desks of a running platform, and the threads behind them."""

    def __init__(self, home: Home, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        """Takes hold of the home. Raises HomeBusy, HomeNewer, BadInput, NoSpace."""
        self.home = home
        self.settings = settings or Settings()
        self.clock = clock or SystemClock()
        declared = declared_devices(self.settings.devices)
        self._artifacts = _artifacts(home, self.settings)
        self.lock = HomeLock(home)
        try:
            self.database = Database(
                self.settings.database or f"sqlite:///{home.database}",
                where="" if self.settings.database else str(home.path),
            )
            self.database.migrate()
        except BaseException:
            self.lock.release()
            raise
        self.roster = Roster.of(LocalEngine(home.jobs, _this_machine(declared, self.settings.cpus)))
        self.changes = Changes()
        job_store = JobStore(self.database)
        self.lease = Lease(self.database)
        drain_store = DrainStore(self.database)
        self.accounts = AccountDesk(AccountStore(self.database), self.clock)
        self.files = FileDesk(
            FileStore(self.database), home.files, self.clock, size_limit=self.settings.upload_limit
        )
        credentials = self.settings.artifacts_credentials
        always = {STORAGE: Path(credentials).absolute()} if credentials else {}
        self.attachments = Attachments(home.attachments, always)
        self.attachments.sweep(lambda: _attached(job_store))
        self.topology = TopologyDesk(TopologyStore(self.database), self.changes)
        luggage = Luggage(self.files.path, self.attachments, self._engine_config)
        queue_store = QueueStore(self.database)
        policy_store = PolicyStore(self.database)
        self.dispatcher = Dispatcher(
            job_store,
            self.roster,
            self.lease,
            self.changes,
            self.clock,
            drain_store.all,
            lambda job: self.notebooks.equip(job, with_partition(luggage.order(job), queue_store.all())),
            queue_store.all,
            Consumption(queue_store, job_store),
            self.topology.over,
            policy_store.get,
            self._lent,
            Arrears(queue_store),
        )
        self.policy = PolicyDesk(policy_store, self.dispatcher.wake, self.changes)
        self.topology.wake = self.dispatcher.wake
        self.queues = QueueDesk(
            queue_store, lambda: self.dispatcher.seen, self.dispatcher.wake, self.changes, self.clock
        )
        self.jobs = JobDesk(
            job_store,
            self.roster,
            self.dispatcher,
            self.changes,
            self.clock,
            self.files.content,
            self.queues.homed,
        )
        self.forecasts = Forecasts(PredictionStore(self.database), self.dispatcher, self.clock)
        self.explanations = ExplanationDesk(job_store, self.dispatcher, self.forecasts, self.clock)
        self.forecaster = Carrier(self.changes, (self.forecasts.sweep,), name="forecaster")
        self.engines = EngineDesk(
            EngineStore(self.database), job_store, self.roster, self.dispatcher, self._build_engine, self.clock
        )
        self.engines.load()
        self._wire_pool(job_store, drain_store)
        self._wire_notebooks()
        self._wire_shipping()

    @classmethod
    def open(cls, home: str | Path, **settings: object) -> App:
        """An App on the folder `home`, not yet started; `settings` are the fields of Settings."""
        return cls(Home(Path(home).absolute()), Settings(**settings))  # type: ignore[arg-type]

    def _wire_notebooks(self) -> None:
        self.address = Address(self.settings.advertise)
        secrets = NotebookSecrets(self.home)
        self.notebooks = NotebookDesk(
            self.jobs, self.accounts, secrets, self.address.seen_from, self._engine_config
        )

    def _wire_pool(self, job_store: JobStore, drain_store: DrainStore) -> None:
        """What keeps nodes closed and moves machines, and the thread that carries moves on: engines may hang."""
        self.drains = DrainDesk(drain_store, self.roster, self.dispatcher, self.changes, self.clock)
        self.moves = MoveDesk(
            MoveStore(self.database),
            job_store,
            self.drains,
            self.roster,
            self.dispatcher,
            self.changes,
            self.clock,
        )
        self.balances = BalanceDesk(
            BalanceStore(self.database),
            job_store,
            self.moves,
            self.drains,
            self.roster,
            self.dispatcher,
            self.changes,
            self.clock,
        )
        self.mover = Carrier(
            self.changes, (self.drains.advance, self.moves.advance, self.balances.advance), name="mover"
        )

    def _wire_shipping(self) -> None:
        """Models, endpoints and shipments, and the thread that carries them on."""
        artifacts = self._artifacts
        registry = Registry(f"sqlite:///{self.home.registry}", artifacts.location("").rstrip("/"))
        self.endpoint_book = EndpointBook(EndpointStore(self.database), self.changes)
        self.endpoints = EndpointDesk(self.endpoint_book, registry, self.clock, self.queues.check)
        self.replicas = ReplicaKeeper(
            self.endpoint_book,
            self.jobs,
            registry,
            artifacts,
            self.attachments,
            self.home,
            self.clock,
            self.largest_node,
        )
        self.lending = Lending(self.endpoints, self.clock, PolicyStore(self.database).get)
        self.reclaims = ReclaimDesk(self.endpoints, self.replicas, lambda: self.dispatcher.seen)
        self.lender = Carrier(self.changes, (self.lending.step,), name="lender")
        self.models = ModelDesk(registry, PromotionJournal(self.database), self.endpoints, self.clock)
        shipments = ShipmentStore(self.database)
        self.shipment_work = ShipmentWork(
            shipments,
            self.jobs,
            StageJobs(self.jobs, artifacts, self.attachments, self.largest_node, self._added_engines),
            self.models,
            self.endpoints,
            registry,
            artifacts,
            self.clock,
        )
        reader = RequestReader(registry, artifacts, self.home, self.largest_node, self.files.content)
        self.shipments = ShipmentDesk(
            shipments, reader, self.shipment_work, self.jobs, artifacts, self.clock, self.changes
        )
        shared = () if self.database.single_process else (self.accounts.recheck,)
        self.carrier = Carrier(
            self.changes,
            (self.replicas.reconcile, self.shipments.advance, self.notebooks.sweep, *shared),
        )

    def _lent(self) -> set[int]:
        return self.endpoints.lent()

    def nodes(self, who: Account) -> tuple[Node, ...]:
        require(who, Role.VIEWER, "see the nodes")
        return with_drains(self.dispatcher.nodes(), self.drains.kept())

    def largest_node(self, engine: str = "") -> Node | None:
        """The node with the most devices, then memory: what a job of `engine`, or of any, can count on at best."""
        nodes = [node for node in self.dispatcher.nodes() if engine in ("", node.engine)]
        return max(nodes, key=lambda node: (len(node.devices), node.memory, node.cpus), default=None)

    def _added_engines(self) -> list[EngineConfig]:
        return [engine.config for engine in self.roster.values() if isinstance(engine, Courier)]

    def _engine_config(self, name: str) -> EngineConfig | None:
        """How an engine was added; None of this machine's own."""
        engine = self.roster.get(name)
        return engine.config if isinstance(engine, Courier) else None

    def _build_engine(self, config: EngineConfig) -> Engine:
        """Each kind is loaded only where it is used: its client may be heavy."""
        folder, installation = self.home.engines / config.name, self.database.installation()
        match config.kind:
            case "slurm":
                from stoker.engines.slurm import SlurmEngine, SlurmSettings

                return SlurmEngine(config.name, settings_of(config, SlurmSettings), folder, installation)
            case "kubernetes":
                from stoker.engines.kubernetes import KubernetesEngine, KubernetesSettings

                return KubernetesEngine(config.name, settings_of(config, KubernetesSettings), folder, installation)
            case _:
                known = "slurm, kubernetes"
                raise BadInput(f'engine kind "{config.kind}" was given; allowed are: {known}', param="kind")

    def start(self) -> None:
        """Start the background threads."""
        self.dispatcher.start()
        self.carrier.start()
        self.mover.start()
        self.forecaster.start()
        self.lender.start()

    def stop(self) -> None:
        """Stop them and let go of the home. Jobs go on."""
        self.carrier.stop()
        self.lender.stop()
        self.mover.stop(_PATIENCE_S)
        self.forecaster.stop()
        self.dispatcher.stop()
        for engine in self.roster.values():
            engine.close()
        self.lease.release()
        self.database.close()
        self.lock.release()


def _this_machine(declared: tuple[Device, ...], cpus: int) -> Callable[[], Node]:
    """Its node, with the health of its devices as it is; declared ones are what was declared."""
    watch = DeviceWatch(lambda: declared) if declared else DeviceWatch(nvidia_devices)
    made = local_node("local", watch.devices(), cpus=cpus)

    def node() -> Node:
        devices = watch.devices()
        return made if devices is made.devices else replace(made, devices=devices)

    return node


def _attached(jobs: JobStore) -> set[str]:
    """The private files that jobs which have not ended still need."""
    live = Filter(states=tuple(state for state in JobState if not state.final))
    return {job.spec.attached for job in jobs.find(live, limit=sys.maxsize)}


def _artifacts(home: Home, settings: Settings) -> Artifacts:
    """Raises BadInput for a root that cannot be, Denied for a depot that refuses us."""
    given, file = settings.artifacts, settings.artifacts_credentials
    depot = Depot(read_credentials(Path(file)) if file else None)
    if is_remote(given):
        try:
            depot.check(given)
        except Away as error:  # jobs and replicas go on without it, and stages once it is back
            _log.warning("%s", error)
        return Artifacts(given, depot, home.fetched)
    if given and not Path(given).is_dir():
        raise BadInput(f"--artifacts {given} is no folder; make it on storage that the nodes see too")
    return Artifacts(str(Path(given).absolute() if given else home.path), depot, home.fetched)

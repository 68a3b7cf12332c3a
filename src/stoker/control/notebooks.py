"""NotebookDesk: start, find, open and stop notebooks; give each what it needs, and take it back at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from urllib.parse import quote

from stoker.account import Account, Role
from stoker.control.accounts import LENT, AccountDesk
from stoker.control.jobs import JobDesk
from stoker.control.notebook_secrets import LABEL, NotebookSecrets
from stoker.control.rights import platform, require, require_sight
from stoker.engine import Key, Order
from stoker.engine_config import LOCAL, EngineConfig
from stoker.errors import Away, BadInput, Denied, MissingExtra, NotFound
from stoker.job import Job, JobKind, JobSpec, JobState
from stoker.notebook import Link, Notebook, NotebookRequest, Site, base_path

_RECIPE = "stoker.recipes.notebook"
_PYTHON = "python3"  # of the node's PATH, or of the image
_HUB, _IDLE = "stoker/hub", "stoker/idle"  # labels
_GOING = tuple(state for state in JobState if not state.final)
_MOST = 1000
_SWEEP_S = 30.0
_GRACE_S = 10.0  # kernels are told to end, then ended
_PLATFORM = platform()


@dataclass(frozen=True)
class Door:
    """What the gateway knows of one notebook: who shows `token` may come in."""

    job: Job
    token: str
    address: str = ""  # where its server is reached; empty while it does not answer

    def __repr__(self) -> str:
        return f"Door(job={self.job.id}, address={self.address!r})"


class NotebookDesk:
    """Thread-safe. `equip` is called by the dispatcher, `sweep` by the carrier, `door` by the gateway."""

    def __init__(
        self,
        jobs: JobDesk,
        accounts: AccountDesk,
        secrets: NotebookSecrets,
        url_for: Callable[[str], str],
        config_of: Callable[[str], EngineConfig | None],
    ) -> None:
        """`url_for` tells at which address jobs of an engine reach this platform; empty: they cannot.

        `config_of` tells of an engine by name; None: it is this machine's.
        """
        self._jobs = jobs
        self._accounts = accounts
        self._secrets = secrets
        self._url_for = url_for
        self._config_of = config_of
        self._told: dict[Key, str] = {}  # where an attempt's server says that it listens: that does not change
        self.site = Site()  # set by who serves

    # for people

    def start(self, request: NotebookRequest, who: Account, *, idempotency: str = "") -> Notebook:
        """Submit it. Raises MissingExtra where it could only run here and JupyterLab is not installed here."""
        require(who, Role.USER, "start a notebook")
        if request.engine == LOCAL and not request.image:
            _check_installed(request)
        owner = self._owner(request, who)
        spec = _spec(request)
        if request.secret_envs:
            kept = self._secrets.keep(request.secret_envs, owner.tenant, owner.name)
            spec = replace(spec, labels={**spec.labels, LABEL: kept})
        (job,) = self._jobs.submit([spec], owner, occasion=f"notebook/{idempotency}" if idempotency else "")
        return self._seen(job)

    def find(self, who: Account, *, ended: bool = False, limit: int = 100) -> list[Notebook]:
        """Newest first; those that have ended too when asked for."""
        states = () if ended else _GOING
        return [self._seen(job) for job in self._jobs.find(who, kind=JobKind.NOTEBOOK, states=states, limit=limit)]

    def get(self, job_id: int, who: Account) -> Notebook:
        return self._seen(self._job(job_id, who))

    def link(self, job_id: int, who: Account, *, asked_at: str = "", scheme: str = "http") -> Link:
        """The way in, for its owner; for an admin too where every notebook has an origin of its own."""
        job = self._job(job_id, who)
        self.check_may_open(job, who)
        if job.state.final:
            raise NotFound(f"notebook {job_id} has ended: {job.message or job.state}")
        token = self._secrets.token(job_id)
        origin = self.site.origin(job_id, asked_at, scheme)
        return Link(f"{origin}{base_path(job_id)}lab?token={quote(token)}", token)

    def check_may_open(self, job: Job, who: Account) -> None:
        """Raises NotFound, Denied. Pages of two people's notebooks in one browser could act on each other."""
        require_sight(who, job.tenant, "notebook", str(job.id))
        if (who.name, who.tenant) == (job.owner, job.tenant) or (who.role is Role.ADMIN and self.site.apart):
            return
        if who.role is Role.ADMIN:
            raise Denied(
                f"notebook {job.id} belongs to {job.owner}; admins may open it where each notebook has a name of"
                " its own: stoker up --notebooks-url 'https://*.notebooks.example.com'"
            )
        raise Denied(f"notebook {job.id} belongs to {job.owner}; only who started it may open it")

    def stop(self, job_id: int, who: Account) -> Notebook:
        job = self._job(job_id, who)
        (ended,) = self._jobs.cancel([job.id], who)
        return self._seen(ended)

    # for the gateway

    def door(self, job_id: int) -> Door:
        """Raises NotFound when there is no such notebook."""
        job = self._job(job_id, _PLATFORM)
        return Door(job, self._secrets.token(job_id), self._address(job))

    # for the dispatcher

    def equip(self, job: Job, order: Order) -> Order:
        """`order` with what only the platform may give it: its files, and where the platform is."""
        if job.spec.kind is not JobKind.NOTEBOOK:
            return order
        with_key = job.spec.labels.get(_HUB) != "alone"
        if with_key:
            self._accounts.lend(_account_id(job.id), self._secrets.key(job.id), job.owner, job.tenant)
        url = self._url_for(job.engine)
        return replace(
            order,
            spec=replace(order.spec, command=_with_interpreter(job, self._config_of(job.engine))),
            files={**order.files, **self._secrets.files(job, key=with_key)},
            envs={**order.envs, **({"STOKER_URL": url} if url else {})},
        )

    # for the carrier

    def sweep(self) -> float:
        """Take back keys and files of notebooks that have ended, and end those of people whose keys were revoked.

        Returns the seconds until it wants to be asked again.
        """
        lent = self._accounts.lent()  # first: what is lent from here on belongs to a job that is going
        going = self._jobs.find(_PLATFORM, kind=JobKind.NOTEBOOK, states=_GOING, limit=_MOST)
        if len(going) < _MOST:
            self._accounts.take_back(set(lent) - {_account_id(job.id) for job in going})
            self._secrets.sweep(going)
            gone = self._accounts.gone()
            self._jobs.cancel([job.id for job in going if (job.owner, job.tenant) in gone], _PLATFORM)
            alive = {job.id for job in going}
            self._told = {key: told for key, told in self._told.items() if key.job in alive}
        return _SWEEP_S

    def _job(self, job_id: int, who: Account) -> Job:
        job = self._jobs.get(job_id, who)
        if job.spec.kind is not JobKind.NOTEBOOK:
            raise NotFound(f'no notebook "{job_id}"; that is a {job.spec.kind}')
        return job

    def _seen(self, job: Job) -> Notebook:
        limit = float(job.spec.labels.get(_IDLE, "0"))
        if job.state is not JobState.RUNNING:
            return Notebook(job, idle_limit=limit)
        try:
            told = self._jobs.telemetry(job.id, _PLATFORM)
        except Away:  # of its engine; whether the notebook answers is not known
            return Notebook(job, idle_limit=limit)
        use = told.notes.get("use")
        use = use if isinstance(use, Mapping) else {}
        at = use.get("at")
        return Notebook(
            job, bool(told.ready_url), limit, float(at) if isinstance(at, (int, float)) else None,
            str(use.get("what", "")), self._address(job) if job.spec.labels.get(_HUB) else "",
        )  # fmt: skip

    def _address(self, job: Job) -> str:
        """Where its server is reached from here; empty while it does not say that it listens."""
        if job.state is not JobState.RUNNING:
            return ""
        key = Key(job.id, job.attempt)
        if key not in self._told:
            told = self._jobs.telemetry(job.id, _PLATFORM).ready_url
            if not told:
                return ""
            self._told[key] = told
        return self._jobs.reach(job, self._told[key])

    def _owner(self, request: NotebookRequest, who: Account) -> Account:
        if not request.owner or (request.owner, request.tenant or who.tenant) == (who.name, who.tenant):
            return who
        require(who, Role.ADMIN, "start a notebook for somebody else")
        self._accounts.check_name("owner", request.owner)
        self._accounts.check_name("tenant", request.tenant or who.tenant)
        return replace(who, name=request.owner, tenant=request.tenant or who.tenant, role=Role.USER)


def _spec(request: NotebookRequest) -> JobSpec:
    folder = ("--folder", request.folder) if request.folder else ()
    hub = ("--hub",) if request.hub else ()
    labels = {_IDLE: f"{request.idle:g}"}
    if request.hub:  # without an owner of its own all its users would share the hub's key
        labels[_HUB] = "owned" if request.owner else "alone"
    return JobSpec(
        name=request.name,
        command=(_PYTHON, "-m", _RECIPE, "--idle", f"{request.idle:g}", *folder, *hub),
        kind=JobKind.NOTEBOOK,
        resources=request.resources,
        envs=request.envs,
        workdir=request.folder,
        priority=request.priority,
        queue=request.queue,
        account=request.account,
        time_limit=request.time_limit,
        grace=_GRACE_S,
        engine=request.engine,
        sites=request.sites,
        tolerations=request.tolerations,
        image=request.image,
        mounts=request.mounts,
        reservation=request.reservation,
        labels=labels,
    )


def _with_interpreter(job: Job, config: EngineConfig | None) -> tuple[str, ...]:
    """On this machine it runs with the interpreter that runs the platform, elsewhere with the engine's."""
    command = job.spec.command
    if command[:3] != (_PYTHON, "-m", _RECIPE) or job.spec.image:
        return command
    return (sys.executable if config is None else config.python or _PYTHON, *command[1:])


def _account_id(job: int) -> str:
    return f"{LENT}{job}"


def _check_installed(request: NotebookRequest) -> None:
    for library, extra in (("jupyterlab", "notebook"), *([("jupyterhub", "jupyterhub")] if request.hub else [])):
        if find_spec(library) is None:
            raise MissingExtra("a notebook on this machine", extra)
    if request.secret_envs and any("=" in name or not name for name in request.secret_envs):
        raise BadInput("a name in secret_envs is empty or holds =", param="secret_envs")

"""StokerSpawner: JupyterHub's servers as jobs of the pool.

In jupyterhub_config.py::

    c.JupyterHub.spawner_class = "stoker.jupyterhub.StokerSpawner"
    c.StokerSpawner.url = "http://gpu-login01:8700"
    c.StokerSpawner.key_file = "/etc/jupyterhub/stoker.key"

With an admin's key every server belongs to the hub's user of that name: quotas are theirs, and their kernels
submit jobs as them. With a user's key all servers belong to the hub, and kernels get no key. What a server must
keep secret (JupyterHub's own tokens) travels by a file, not in the job's environment, which its tenant may read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from jupyterhub.spawner import Spawner
from traitlets import Any as Anything
from traitlets import Float, Integer, Unicode

from stoker.account import Role
from stoker.client import Client
from stoker.errors import Away, BadInput, NotFound, StokerError
from stoker.job import JobState, Resources
from stoker.notebook import Notebook, NotebookRequest
from stoker.spelling import parse_accelerators
from stoker.units import parse_bytes, parse_duration

T = TypeVar("T")
_LOOK_S = 0.5
_SECRET = ("TOKEN", "SECRET", "KEY", "PASSWORD")

_FORM = """
<label for="gpus">GPUs</label>
<input class="form-control" id="gpus" name="gpus" value="{gpus}" placeholder="0, 1, H100:2 or T4:0.5">
<label for="cpus">CPUs</label>
<input class="form-control" id="cpus" name="cpus" type="number" min="0" value="{cpus}">
<label for="memory">Memory</label>
<input class="form-control" id="memory" name="memory" value="{memory}" placeholder="16G">
<label for="idle">Ends after so long without use</label>
<input class="form-control" id="idle" name="idle" value="{idle}" placeholder="2h">
"""


class StokerSpawner(Spawner):  # type: ignore[misc]
    """Starts, watches and stops one user's server through Stoker's queue."""

    url = Unicode("http://127.0.0.1:8700", config=True, help="Where Stoker is.")
    key_file = Unicode(
        "", config=True, help="File with the key that the hub shows to Stoker, readable by it alone."
    )
    tenant = Unicode("default", config=True, help="Tenant of the hub's users, where the key is an admin's.")
    engine = Unicode("", config=True, help="Where servers run; empty: any engine that fits.")
    image = Unicode("", config=True, help="Container image of servers; it must hold stoker[notebook,jupyterhub].")
    queue = Unicode("", config=True, help="Queue.")
    folder = Unicode(
        "", config=True, help="Folder that servers open, {username} filled in; empty: the home folder there."
    )
    gpus = Unicode("", config=True, help="GPUs of a server, where its user asks for nothing else: 1 or T4:0.5.")
    cpus = Integer(1, config=True, help="CPUs, likewise.")
    memory = Unicode("", config=True, help="Memory, likewise: 16G.")
    idle = Unicode("2h", config=True, help="A server ends after so long without use; 0: never by itself.")
    queue_timeout = Float(
        86400.0, config=True, help="Seconds that a server may wait in the queue before the hub gives it up."
    )

    job = Integer(0)  # of the server; 0: none
    # `start` reads the user's options; the hub warns of options that nobody seems to read.
    apply_user_options = Anything(lambda _spawner, _options: None)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.start_timeout = int(self.queue_timeout)

    # what the hub keeps over its own restart

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), **({"job": self.job} if self.job else {})}

    def load_state(self, state: Mapping[str, Any]) -> None:
        super().load_state(state)
        self.job = int(state.get("job", 0))

    def clear_state(self) -> None:
        super().clear_state()
        self.job = 0

    # the form

    def _options_form_default(self) -> str:
        fields = {name: escape(str(getattr(self, name)), quote=True) for name in ("gpus", "cpus", "memory", "idle")}
        return _FORM.format(**fields)

    def options_from_form(self, form: Mapping[str, list[str]]) -> dict[str, str]:
        """Checked here, so that a slip of the pen comes back to the form. Raises ValueError."""
        given = {name: form.get(name, [""])[0].strip() for name in ("gpus", "cpus", "memory", "idle")}
        try:
            self._resources(given)
            self._idle_s(given)
        except BadInput as error:
            raise ValueError(str(error)) from None
        return given

    # the server

    async def start(self) -> str:
        """Submit, wait until it listens; where that is. Raises StokerError."""
        request = await self._request()
        notebook = await self._ask(lambda client: client.notebooks.start(request))
        self.job = notebook.job.id
        while not notebook.ready:
            if notebook.job.state.final:
                raise Away(
                    f"job {self.job} ended before it was ready: {notebook.job.message or notebook.job.state}"
                )
            await asyncio.sleep(_LOOK_S)
            notebook = await self._ask(lambda client: client.notebooks.get(self.job))
        parts = urlsplit(notebook.address)
        self.ip, self.port = parts.hostname, parts.port
        return notebook.address

    async def poll(self) -> int | None:
        """None while it waits or runs, also while Stoker cannot be asked; else how it ended."""
        if not self.job:
            return 0
        try:
            notebook = await self._ask(lambda client: client.notebooks.get(self.job))
        except NotFound:
            return 1
        except Away as error:
            self.log.warning("server of %s: %s", self.user.name, error)
            return None
        job = notebook.job
        if not job.state.final:
            return None
        return 0 if job.state in (JobState.SUCCEEDED, JobState.CANCELLED) else job.exit_code or 1

    async def stop(self, now: bool = False) -> None:
        """End it; returns once it has ended."""
        del now  # kernels get their few seconds anyway
        if not self.job:
            return
        try:
            notebook = await self._ask(lambda client: client.notebooks.stop(self.job))
            while not notebook.job.state.final:
                await asyncio.sleep(_LOOK_S)
                notebook = await self._ask(lambda client: client.notebooks.get(self.job))
        except NotFound:
            return

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Why it waits, for the page that the user looks at meanwhile."""
        told = ""
        while not self.job:  # noqa: ASYNC110 -- the hub asks as soon as it has begun to start
            await asyncio.sleep(_LOOK_S)
        while True:
            try:
                notebook = await self._ask(lambda client: client.notebooks.get(self.job))
            except StokerError as error:
                yield {"progress": 5, "message": str(error)}
                return
            share, line = _progress(notebook)
            if line != told:
                yield {"progress": share, "message": line}
                told = line
            if notebook.ready or notebook.job.state.final:
                return
            await asyncio.sleep(_LOOK_S)

    async def _request(self) -> NotebookRequest:
        options = {name: str(value) for name, value in (self.user_options or {}).items()}  # of the form or the API
        envs = {name: str(value) for name, value in self.get_env().items() if name not in _OF_THE_HUBS_MACHINE}
        secret = {name: value for name, value in envs.items() if any(word in name.upper() for word in _SECRET)}
        as_user = (await self._ask(lambda client: client.info())).account.role is Role.ADMIN
        return NotebookRequest(
            name=f"{self.user.name}-{self.name}" if self.name else str(self.user.name),
            resources=self._resources(options),
            idle=self._idle_s(options),
            folder=self.folder.replace("{username}", self.user.name),
            engine=self.engine,
            image=self.image,
            queue=self.queue,
            owner=self.user.name if as_user else "",
            tenant=self.tenant if as_user else "",
            hub=True,
            envs={name: value for name, value in envs.items() if name not in secret},
            secret_envs=secret,
        )

    def _resources(self, given: Mapping[str, str]) -> Resources:
        gpus = given.get("gpus") or self.gpus
        devices = parse_accelerators(gpus) if gpus and gpus != "0" else None
        cpus = given.get("cpus") or str(self.cpus)
        if not cpus.isdecimal():
            raise BadInput(f'"{cpus}" CPUs were asked for; give a whole number', param="cpus")
        memory = given.get("memory") or self.memory
        return Resources(
            accelerators=devices.count if devices else 0,
            models=devices.models if devices else (),
            milli=devices.milli if devices else 1000,
            cpus=int(cpus),
            memory=parse_bytes(memory) if memory else 0,
        )

    def _idle_s(self, given: Mapping[str, str]) -> float:
        idle = given.get("idle") or self.idle
        return 0.0 if idle in ("0", "never") else parse_duration(idle)

    async def _ask(self, call: Callable[[Client], T]) -> T:
        """The client waits for its answers, so it does that beside the hub's own work."""
        return await asyncio.get_running_loop().run_in_executor(None, self._called, call)

    def _called(self, call: Callable[[Client], T]) -> T:
        key = Path(self.key_file).read_text().strip() if self.key_file else None
        with Client(self.url, key) as client:
            return call(client)


# Of the hub's own machine: they mean nothing where the server runs.
_OF_THE_HUBS_MACHINE = frozenset(
    {"PATH", "HOME", "USER", "SHELL", "VIRTUAL_ENV", "CONDA_ROOT", "PYTHONPATH", "LANG"}
)


def _progress(notebook: Notebook) -> tuple[int, str]:
    job = notebook.job
    if job.state is JobState.PENDING:
        return 10, f"job {job.id} waits: {job.message or job.reason or 'it was just submitted'}"
    if job.state.final:
        return 100, f"job {job.id} has ended: {job.message or job.state}"
    where = ", ".join(place.node for place in job.placements)
    if notebook.ready:
        return 100, f"job {job.id} is ready on {where}"
    return 60, f"job {job.id} is starting on {where}"

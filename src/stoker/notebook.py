"""Notebook: a JupyterLab that runs as a job, and where people open it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from stoker.errors import BadInput
from stoker.job import Job, JobState, Mount, Resources
from stoker.typed import strict

IDLE_S = 7200.0  # ends after so long without use, unless told


@strict
@dataclass(frozen=True)
class NotebookRequest:
    """What to start."""

    name: str = "notebook"
    resources: Resources = field(default_factory=Resources)
    idle: float = IDLE_S  # seconds without use after which it ends and frees its devices; 0: never
    folder: str = ""  # absolute, on its node: what it opens; empty: the home folder there
    time_limit: float | None = None  # seconds
    priority: int = 50
    queue: str = ""
    account: str = ""
    engine: str = ""  # empty: any engine that fits
    sites: tuple[str, ...] = ()
    tolerations: tuple[str, ...] = ()
    image: str = ""  # must hold Stoker with its [notebook] extra
    mounts: tuple[Mount, ...] = ()
    reservation: str = ""
    envs: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""  # whose it is, where an admin starts it for somebody; empty: the caller's
    tenant: str = ""  # of that owner
    hub: bool = False  # a single-user server of a JupyterHub, which has its own way in
    secret_envs: Mapping[str, str] = field(default_factory=dict)  # go by a file; never shown or logged

    def __post_init__(self) -> None:
        if self.idle < 0:
            raise BadInput(f"idle {self.idle:g} was given; allowed are 0 (never) and more", param="idle")
        if self.tenant and not self.owner:
            raise BadInput("a tenant was given without an owner; give both or none", param="tenant")

    def __repr__(self) -> str:
        return f"NotebookRequest(name={self.name!r}, owner={self.owner!r})"


@dataclass(frozen=True)
class Notebook:
    """A notebook as people see it."""

    job: Job
    ready: bool = False  # it answers
    idle_limit: float = 0.0  # seconds; 0: it never ends by itself
    used_at: float | None = None  # when somebody or something last used it, as far as it has told
    use: str = ""  # what that was: a cell runs, processes compute, terminal, browser, start
    address: str = ""  # of one that belongs to a hub: where the hub's proxy reaches it from the platform's machine

    def idle_for(self, now: float) -> float:
        """Seconds since it was used; 0 while it is not ready."""
        return max(0.0, now - self.used_at) if self.ready and self.used_at else 0.0


@dataclass(frozen=True)
class Link:
    """A way into one notebook. Who has the URL has the notebook, until it ends."""

    url: str  # holds the token
    token: str = ""

    def __repr__(self) -> str:
        return f"Link(url={self.url.partition('?')[0]!r})"


@dataclass(frozen=True)
class Site:
    """Where browsers find notebooks: another origin than the console's (decision 0111)."""

    url: str = ""  # as browsers see it; with * in it every notebook has a name of its own; empty: `port` here
    port: int = 0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        whole = parts.scheme in ("http", "https") and parts.netloc and not parts.path.strip("/") and not parts.query
        if self.url and not (whole and self.url.count("*") <= 1):
            raise BadInput(
                f'notebooks URL "{self.url}" was given; write for example https://notebooks.example.com or, with a'
                " name for each notebook, https://*.notebooks.example.com"
            )

    @property
    def apart(self) -> bool:
        """Whether each notebook has an origin of its own."""
        return "*" in self.url

    def origin(self, job: int, asked_at: str = "", scheme: str = "http") -> str:
        """Scheme and host of notebook `job`, for who reached the platform at the host `asked_at`."""
        if self.url:
            return self.url.rstrip("/").replace("*", f"notebook-{job}")
        host = urlsplit(f"//{asked_at}").hostname or "127.0.0.1"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def answers_to(self, job: int, host: str) -> bool:
        """Whether notebook `job` may be asked for by the name `host`."""
        return not self.apart or urlsplit(self.origin(job)).netloc.lower() == host.lower()


def base_path(job: int) -> str:
    """Below which a notebook's server lives."""
    return f"/notebooks/{job}/"


def state_word(notebook: Notebook) -> str:
    """For people: ready, starting, or the state of the job."""
    if notebook.job.state is JobState.RUNNING:
        return "ready" if notebook.ready else "starting"
    return notebook.job.state.value

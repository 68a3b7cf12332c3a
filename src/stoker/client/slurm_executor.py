"""slurm_executor: a Slurm cluster in the shape that users of NeMo know, for `run` and `ship` through the client.

executor = stoker.slurm_executor("ann", "login01", "/shared/ann", "ml", "gpu", nodes=2, devices=8)
job = executor.run(client, "python", "train.py")
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stoker.client import Client
from stoker.client.variables import strange
from stoker.engine_config import EngineConfig
from stoker.errors import BadInput, NotFound
from stoker.job import Job, JobSpec, Mount, Resources
from stoker.shipment import Shipment, ShipmentRequest
from stoker.units import parse_duration


@dataclass(frozen=True)
class SlurmExecutor:
    """An engine, and what every job on it asks for."""

    config: EngineConfig
    nodes: int
    resources: Resources  # of each node
    time_limit: float  # seconds
    partition: str
    account: str
    envs: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    mounts: tuple[Mount, ...] = ()
    retries: int = 0

    def spec(self, *command: str, name: str = "nemo") -> JobSpec:
        """`command` on every node: whole nodes, all of their memory, ranks and meeting point in the environment."""
        return JobSpec(
            name=name,
            command=command,
            engine=self.config.name,
            nodes=self.nodes,
            each_node=True,
            exclusive=True,
            resources=self.resources,
            time_limit=self.time_limit,
            queue=self.partition,
            account=self.account,
            envs=self.envs,
            image=self.image,
            mounts=self.mounts,
            retries=self.retries,
            requeue=self.retries > 0,
        )

    def add(self, client: Client) -> None:
        """Add the engine where it is not there yet. Needs the admin's role the first time."""
        try:
            client.engines.get(self.config.name)
        except NotFound:
            client.engines.add(self.config)

    def run(self, client: Client, *command: str, tree: str | Path | None = ".", name: str = "nemo") -> Job:
        """Send the working tree at `tree` along (None: nothing) and run `command` in it."""
        self.add(client)
        package = client.files.send(tree).id if tree is not None else ""
        (job,) = client.jobs.submit(replace(self.spec(*command, name=name), package=package))
        return job

    def ship(self, client: Client, request: ShipmentRequest) -> Shipment:
        """Ship with all stages on this engine, and the training over its nodes."""
        self.add(client)
        wanted = {"train": self.resources, **request.resources}
        return client.shipments.create(
            replace(request, engine=self.config.name, nodes=self.nodes, resources=wanted)
        )


def slurm_executor(
    user: str,
    host: str,
    remote_job_dir: str,
    account: str,
    partition: str,
    nodes: int,
    devices: int,
    time: str = "02:00:00",
    custom_mounts: Sequence[str] | None = None,
    custom_env_vars: Mapping[str, str] | None = None,
    container_image: str | None = None,
    retries: int = 0,
) -> SlurmExecutor:
    """`devices` are those of each node; `custom_mounts` are ``/here:/there[:ro]``; `container_image` needs pyxis.

    Warns (UserWarning) of variables that no library reads, with the near name. Raises BadInput.
    """
    envs = dict(custom_env_vars or {})
    for line in strange(envs):
        warnings.warn(line, UserWarning, stacklevel=2)
    settings = {"ssh": f"{user}@{host}", "folder": remote_job_dir, "account": account, "partition": partition}
    if container_image:
        settings["containers"] = "pyxis"
    return SlurmExecutor(
        EngineConfig(_engine_name(user, host, partition), "slurm", settings=settings),
        nodes,
        Resources(accelerators=devices),
        parse_duration(time),
        partition,
        account,
        envs,
        container_image or "",
        tuple(map(_mount, custom_mounts or ())),
        retries,
    )


def _engine_name(user: str, host: str, partition: str) -> str:
    """The same cluster, user and partition are the same engine."""
    text = re.sub(r"[^a-z0-9]+", "-", f"{host.partition('.')[0]}-{partition}-{user}".lower()).strip("-")
    return text[:32].strip("-")


def _mount(text: str) -> Mount:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if mode not in ("", "ro", "rw"):
        raise BadInput(f'mount "{text}" was given; write /here:/there or /here:/there:ro', param="custom_mounts")
    return Mount(source, target or source, mode == "ro")

"""The job of a stage: its spec on disk, what it asks for, and the environment recipes run in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from stoker.cluster import Node
from stoker.control.jobs import JobDesk
from stoker.control.rights import platform
from stoker.engine_config import LOCAL, EngineConfig
from stoker.errors import Away
from stoker.job import Dependency, JobSpec, Resources
from stoker.ship.decide import RunJob
from stoker.shipment import Shipment, Source, Stage
from stoker.store.artifacts import Artifacts
from stoker.store.attachments import SERVICE_KEY, SPEC, Attachments

_ON_DEVICES = (Stage.TRAIN, Stage.EVALUATE)
_CPUS = {
    Stage.FETCH: 1,
    Stage.IMPORT: 4,
    Stage.CURATE: 16,
    Stage.EXPORT: 4,
    Stage.VERIFY: 0,
}  # at most; the others: all
_ENVS = {
    # Threads that wait spin for about 10 us and then sleep. Never sleeping starves the other processes of the
    # machine; sleeping at once costs a third of the speed of a small model, whose operations are that short.
    "GOMP_SPINCOUNT": "3000",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",  # progress goes through the probe; bars in a log are noise
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}
_CONTENT = "content"  # what `stoker.recipes.publish` calls the folder of what it publishes
_HUB_ENVS = ("HF_ENDPOINT",)


class StageJobs:
    def __init__(
        self,
        jobs: JobDesk,
        artifacts: Artifacts,
        attachments: Attachments,
        largest_node: Callable[[str], Node | None],
        engines: Callable[[], Sequence[EngineConfig]],
    ) -> None:
        self._jobs = jobs
        self._attachments = attachments
        self._artifacts = artifacts
        self._largest_node = largest_node
        self._engines = engines

    def submit(self, shipment: Shipment, action: RunJob, live: Mapping[str, str]) -> int:
        """Submit the stage's job, once however often this is called; returns its id.

        `live`: what is known only now and is no part of the output's address (where the replica listens).
        """
        attempt = shipment.stage(action.stage).attempt
        envs = dict(_ENVS)
        if action.stage is Stage.FETCH:
            envs = {**envs, "HF_HUB_OFFLINE": "0", **{k: v for k, v in os.environ.items() if k in _HUB_ENVS}}
        config = dict(action.config)
        if live:
            envs["STOKER_SERVICE_KEY_FILE"] = SERVICE_KEY
            config |= {"url": live["url"], "model": live["model"]}
        occasion = f"ship/{shipment.id}/{action.stage}/{attempt}"
        sources, published = self._sources(shipment, action)
        files: dict[str, str | Path] = {SPEC: self._spec(action, config, sources)}
        if live:
            files[SERVICE_KEY] = Path(live["key_file"])
        resources = self._resources(shipment, action.stage)
        nodes = shipment.request.nodes if action.stage is Stage.TRAIN else 1
        spec = JobSpec(
            name=f"{shipment.request.name}.{action.stage}",
            command=_command(action, nodes, resources),
            resources=resources,
            nodes=nodes,
            min_nodes=shipment.request.min_nodes if action.stage is Stage.TRAIN else 0,
            preemptible=shipment.request.preemptible and action.stage is Stage.TRAIN,
            each_node=nodes > 1,
            envs=envs,
            requeue=action.stage is not Stage.VERIFY,  # where the replica listens is part of its spec
            # The way to a replica on another engine begins at the platform's machine.
            engine=LOCAL if action.stage is Stage.VERIFY else shipment.request.engine,
            attached=self._attachments.lay(occasion, files),
            depends=published,
            labels={"stoker/ship": shipment.id, "stoker/stage": action.stage},
        )
        who = platform(shipment.tenant, shipment.owner)
        (job,) = self._jobs.submit([spec], who, occasion=occasion, ship=shipment.id)
        return job.id

    def _spec(self, action: RunJob, config: Mapping[str, Any], sources: Mapping[str, str]) -> str:
        inputs = {name: self._artifacts.location(key) for name, key in action.inputs.items()}
        output, scratch = self._artifacts.location(action.key), self._artifacts.scratch(action.key)
        return _text(config, {**sources, **inputs}, output, scratch)

    def _sources(self, shipment: Shipment, action: RunJob) -> tuple[dict[str, str], tuple[Dependency, ...]]:
        """Where the stage finds what is the user's, and the jobs that bring it there first."""
        found: dict[str, str] = {}
        waits: list[Dependency] = []
        for name in action.sources:
            source = shipment.sources.get(name)
            if source is None:
                continue
            found[name] = source.path
            if not self._seen_everywhere(source.path, shipment.request.engine):
                published = f"{self._artifacts.source(source.digest)}/{_CONTENT}"
                path = Path(source.path)
                found[name] = published if path.is_dir() else f"{published}/{path.name}"
                if not self._artifacts.published(source.digest):
                    waits.append(Dependency(self._publish(shipment, action.stage, name, source)))
        return found, tuple(waits)

    def _seen_everywhere(self, path: str, engine: str) -> bool:
        """Whether all nodes that the stage may run on see this file of the platform's machine."""
        others = [config for config in self._engines() if engine in ("", config.name)]
        shared = [] if self._artifacts.remote else [self._artifacts.root]
        return all(
            any(PurePath(path).is_relative_to(folder) for folder in (*shared, *config.paths)) for config in others
        )

    def _publish(self, shipment: Shipment, stage: Stage, name: str, source: Source) -> int:
        """The job that brings `source` to where every node finds it; once however often this is called."""
        attempt = shipment.stage(stage).attempt
        occasion = f"publish/{source.digest}/{shipment.id}/{stage}/{attempt}"
        spec = _text({"digest": source.digest}, {"source": source.path}, self._artifacts.source(source.digest))
        wish = JobSpec(
            name=f"{shipment.request.name}.publish",
            command=(sys.executable, "-m", "stoker.recipes.publish", SPEC),
            envs=_ENVS,
            requeue=True,
            engine=LOCAL,
            attached=self._attachments.lay(occasion, {SPEC: spec}),
            labels={"stoker/ship": shipment.id, "stoker/source": name},
        )
        who = platform(shipment.tenant, shipment.owner)
        (job,) = self._jobs.submit([wish], who, occasion=occasion, ship=shipment.id)
        return job.id

    def _resources(self, shipment: Shipment, stage: Stage) -> Resources:
        node = self._largest_node(LOCAL if stage is Stage.VERIFY else shipment.request.engine)
        given = shipment.request.resources.get(stage)
        if given is not None and (given.cpus > 1 or node is None):
            return given
        if node is None:
            raise Away("no engine has told of any node yet; see: stoker nodes")
        if given is not None:
            return replace(given, cpus=_share(node, given.accelerators))
        return _default_resources(stage, node)


def _text(config: Mapping[str, Any], inputs: Mapping[str, str], output: str, scratch: str = "") -> str:
    """A spec, as the recipes' frame reads it."""
    spec = {"config": dict(config), "inputs": dict(inputs), "output": output, "scratch": scratch}
    return json.dumps(spec, ensure_ascii=False, indent=1)


def _command(action: RunJob, nodes: int, resources: Resources) -> tuple[str, ...]:
    """Through torchrun where the training has several ranks."""
    ranks = nodes * resources.accelerators
    if action.stage is Stage.TRAIN and (nodes > 1 or ranks > 1):
        return (sys.executable, "-m", "stoker.recipes.launch", action.recipe, SPEC)
    return (sys.executable, "-m", f"stoker.recipes.{action.recipe}", SPEC)


def _default_resources(stage: Stage, node: Node) -> Resources:
    """One device and its share of the CPUs where there are devices, else all CPUs."""
    if stage in _ON_DEVICES and node.devices:
        return Resources(accelerators=1, cpus=_share(node, 1))
    return Resources(cpus=min(node.cpus, _CPUS.get(stage, node.cpus)))


def _share(node: Node, devices: int) -> int:
    """The CPUs that go with so many of the node's devices."""
    return max(1, node.cpus * devices // len(node.devices)) if node.devices else 1

"""The job that serves one replica of a model version."""

from __future__ import annotations

import json
import sys

from stoker.cluster import Node
from stoker.endpoint import Endpoint
from stoker.job import JobKind, JobSpec, Resources
from stoker.model import ModelVersion
from stoker.serve.engines import engine_named
from stoker.store.artifacts import Artifacts
from stoker.store.attachments import SERVICE_KEY, SPEC

SLEEPS = "stoker/sleeps"  # label of a replica whose engine was started so that it can sleep
RETRIES = 5  # a replica that dies is started again so often before the endpoint starts another


def recipe_spec(endpoint: Endpoint, version: ModelVersion, artifacts: Artifacts) -> str:
    """What the recipe that serves is told. It has no output: it leaves nothing."""
    config = {"model": artifacts.location(version.artifact), "alias": endpoint.name}
    return json.dumps({"config": {**config, **({"sleep": True} if _sleeps(endpoint, version) else {})}})


def _sleeps(endpoint: Endpoint, version: ModelVersion) -> bool:
    return endpoint.scaling.sleep > 0 and engine_named(version.engine).sleeps


def replica_spec(endpoint: Endpoint, version: ModelVersion, attached: str, largest: Node | None) -> JobSpec:
    """A service job; `largest` is the node it may grow to, None when no engine has answered yet."""
    engine = engine_named(version.engine)
    on_device = bool(largest and largest.devices) and "gpu" in engine.devices
    sleeps = {SLEEPS: "yes"} if _sleeps(endpoint, version) else {}
    return JobSpec(
        name=f"{endpoint.name}@{version.version}",
        command=(sys.executable, "-m", f"stoker.recipes.{engine.recipe}", SPEC),
        kind=JobKind.SERVICE,
        # No CPUs of its own: a replica idles most of the time and takes what is left of them. A stage that asks for
        # all CPUs of the machine, as training without devices does, would otherwise wait for it forever.
        resources=Resources(accelerators=1 if on_device else 0, cpus=0),
        envs={"STOKER_SERVICE_KEY_FILE": SERVICE_KEY, "OMP_WAIT_POLICY": "passive"},
        retries=RETRIES,
        requeue=True,
        grace=10.0,
        priority=80,
        engine=endpoint.engine,
        queue=endpoint.queue,
        attached=attached,
        labels={"stoker/endpoint": endpoint.name, "stoker/version": str(version.version), **sleeps},
    )

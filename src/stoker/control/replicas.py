"""The job that serves one replica of a model version."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from stoker.cluster import Node
from stoker.endpoint import Endpoint
from stoker.home import Home
from stoker.job import JobKind, JobSpec, Resources
from stoker.model import ModelVersion
from stoker.serve.engines import engine_named

RETRIES = 5  # a replica that dies is started again so often before the endpoint starts another


def replica_spec(
    endpoint: Endpoint, version: ModelVersion, home: Home, key_file: Path, largest: Node | None
) -> JobSpec:
    """A service job; `largest` is the node it may grow to, None when no engine has answered yet."""
    engine = engine_named(version.engine)
    folder = home.scratch / "replicas" / key_file.name
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model": str(home.artifacts / version.artifact), "alias": endpoint.name}
    spec = {"config": config, "inputs": {}, "output": str(folder / "output"), "scratch": str(folder)}
    (folder / "spec.json").write_text(json.dumps(spec))
    on_device = bool(largest and largest.devices) and "gpu" in engine.devices
    return JobSpec(
        name=f"{endpoint.name}@{version.version}",
        command=(sys.executable, "-m", f"stoker.recipes.{engine.recipe}", str(folder / "spec.json")),
        kind=JobKind.SERVICE,
        # No CPUs of its own: a replica idles most of the time and takes what is left of them. A stage that asks for
        # all CPUs of the machine, as training without devices does, would otherwise wait for it forever.
        resources=Resources(accelerators=1 if on_device else 0, cpus=0),
        envs={"STOKER_SERVICE_KEY_FILE": str(key_file), "OMP_WAIT_POLICY": "passive"},
        retries=RETRIES,
        requeue=True,
        grace=10.0,
        priority=80,
        engine=endpoint.engine,
        labels={"stoker/endpoint": endpoint.name, "stoker/version": str(version.version)},
    )

"""Luggage: what of the platform's machine a job takes along to the engine it was placed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from stoker.control.fleet import order_of
from stoker.engine import Order
from stoker.engine_config import EngineConfig
from stoker.errors import NotFound
from stoker.job import Job, JobSpec
from stoker.queue import Queue
from stoker.store.attachments import Attachments

_PYTHON = "python3"  # of the node's PATH, or of the image


class Luggage:
    """Thread-safe: it only reads."""

    def __init__(
        self,
        package: Callable[[str], Path],
        attachments: Attachments,
        config_of: Callable[[str], EngineConfig | None],
    ) -> None:
        """`package` tells where an uploaded package lies; `config_of` an engine by name, None: this machine's."""
        self._package = package
        self._attachments = attachments
        self._config_of = config_of

    def order(self, job: Job) -> Order:
        """The order for the job's current attempt. Raises NotFound when something that goes along is gone."""
        plain = order_of(job)
        package = self._package(job.spec.package) if job.spec.package else None
        config = self._config_of(job.engine)
        return replace(
            plain,
            spec=_with_python(plain.spec, config),
            envs={**plain.envs, **_paths(config)},
            package=package,
            files=self._files(job.spec.attached),
        )

    def _files(self, attached: str) -> Mapping[str, Path]:
        if not attached:
            return {}
        files = self._attachments.files(attached)
        gone = [name for name, path in files.items() if not path.exists()]
        if gone or not files:
            raise NotFound(f"a file that goes along is gone: {', '.join(gone) or attached}; submit the job again")
        return files


def _with_python(spec: JobSpec, config: EngineConfig | None) -> JobSpec:
    """The platform's own jobs run recipes: here with the platform's interpreter, elsewhere with the engine's."""
    if not spec.attached or config is None:
        return spec
    return replace(spec, command=(config.python or _PYTHON, *spec.command[1:]))


def with_partition(order: Order, queues: Mapping[str, Queue]) -> Order:
    """A job's queue is ours: on a Slurm cluster it goes to the partition that the queue names."""
    queue = queues.get(order.spec.queue)
    return order if queue is None else replace(order, spec=replace(order.spec, queue=queue.partition))


def _paths(config: EngineConfig | None) -> Mapping[str, str]:
    """How the recipes' frame finds what it knows by the platform's paths."""
    if config is None or not config.paths:
        return {}
    return {"STOKER_PATHS": "\n".join(f"{here}={there}" for here, there in sorted(config.paths.items()))}

"""A real model server behind the real gateway lends its devices to training and takes them back, on each engine."""

from __future__ import annotations

import secrets
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from stoker.control import replica_keeper
from stoker.control.replicas import replica_spec
from stoker.endpoint import Scaling
from stoker.engine_config import EngineConfig
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.model import ModelVersion
from stoker.schedule import Policy
from stoker.serve import decide as serving
from tests.api.platform import Site, open_site
from tests.labs.kubernetes import Kubernetes, cluster
from tests.labs.slurm import SlurmLab
from tests.recipes.test_export import exported
from tests.recipes.tiny_models import make_model, make_tokenizer, save_base, save_training

pytestmark = [pytest.mark.slow]
__all__ = ["cluster"]

MODEL = "tiny"
MOST = 3  # replicas
QUIET, BUSY = 1, 6  # callers; one replica answers two of them well
GRACE_S = 20.0  # of the trainings: what they may take to give their devices back
LATE_S = 5.0  # what is stated on top of it, and Slurm is asked every 2 s
_PATIENCE_S = 90.0
# Devices of each training: together all but the one that the last replica holds.
TRAININGS = {"local": (1, 1, 1), "slurm": (8, 8, 8, 7), "kubernetes": (8, 8, 8, 7)}

TRAINING = """
import os, pathlib, sys, time

kept = pathlib.Path(sys.argv[1])
step = int(kept.read_text()) if kept.exists() else 0
print("from step", step, flush=True)
while True:
    time.sleep(0.05)
    step += 1
    if step % 10 == 0:
        half = kept.with_suffix(".half")
        half.write_text(str(step))
        half.replace(kept)
        pathlib.Path(os.environ["STOKER_SAVED"]).touch()
"""


class Callers:
    """So many clients ask without a pause; the status of every answer is counted."""

    def __init__(self, url: str, key: str) -> None:
        self.statuses: Counter[int] = Counter()
        self._url, self._headers = f"{url}/v1/chat/completions", {"Authorization": f"Bearer {key}"}
        self._wanted = 0
        self._threads: list[threading.Thread] = []

    def be(self, count: int) -> None:
        self._wanted = count
        while len(self._threads) < count:
            thread = threading.Thread(target=self._ask, args=(len(self._threads),))
            self._threads.append(thread)
            thread.start()
        while len(self._threads) > count:
            self._threads.pop().join()

    def _ask(self, number: int) -> None:
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "Why is the GPU hot?"}], "max_tokens": 32}
        with httpx.Client(headers=self._headers, timeout=60, trust_env=False) as client:
            while number < self._wanted:
                self.statuses[client.post(self._url, json={**asked, "ignore_eos": True}).status_code] += 1


class Stage:
    """An endpoint and trainings on one engine, on all of its devices."""

    def __init__(self, site: Site, engine: str, folder: Path) -> None:
        self.site, self.app, self.who, self.engine, self.folder = site, site.app, site.admin, engine, folder

    def deploy(self, scaling: Scaling) -> None:
        desk = self.app.endpoints
        desk.bring_up(MODEL, 1, tenant=self.who.tenant, owner=self.who.name, switch=True, engine=self.engine)
        desk.deploy(MODEL, 1, self.who, scaling=scaling)
        self.wait(lambda: self.ready() == scaling.floor)

    def ready(self) -> int:
        return len(self.app.endpoints.get(MODEL, self.who).ready)

    def train(self, devices: int) -> Job:
        kept = self.folder / f"{secrets.token_hex(4)}.step"
        spec = JobSpec(
            name="training",
            command=(sys.executable, "-c", TRAINING, str(kept)),
            engine=self.engine,
            resources=Resources(devices, cpus=1),
            priority=20,
            preemptible=True,
            min_runtime=0.0,
            grace=GRACE_S,
            labels={"kept": str(kept)},
        )
        return self.app.jobs.submit([spec], self.who)[0]

    def now(self, job: Job) -> Job:
        return self.app.jobs.get(job.id, self.who)

    def run(self, jobs: list[Job]) -> bool:
        return all(self.now(job).state is JobState.RUNNING for job in jobs)

    def began_at(self, job: Job, attempt: int) -> int:
        """The step at which an attempt began; -1: it has not told yet."""
        log = self.app.jobs.logs(job.id, self.who, attempt=attempt).decode()
        *_, told = [-1, *(int(line.split()[2]) for line in log.splitlines() if line.startswith("from step"))]
        return told

    def wait(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not true():
            assert time.monotonic() < end, "\n".join(map(str, self.app.jobs.find(self.who)))
            time.sleep(0.05)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little llama as a GGUF file."""
    folder = tmp_path_factory.mktemp("model")
    made = make_model("llama", 400)
    base = save_base(folder / "base", made, make_tokenizer())
    return exported(folder, base, save_training(folder / "train", "full", made))


@pytest.fixture(
    params=[
        "local",
        pytest.param("slurm", marks=pytest.mark.slurm),
        pytest.param("kubernetes", marks=pytest.mark.kubernetes),
    ]
)
def stage(
    request: pytest.FixtureRequest, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    def on_a_device(*given: object) -> JobSpec:
        """llama.cpp computes on CPUs here; it holds a device all the same."""
        return replace(replica_spec(*given), resources=Resources(1, cpus=0))  # type: ignore[arg-type]

    monkeypatch.setattr(replica_keeper, "replica_spec", on_a_device)
    monkeypatch.setattr(serving, "DRAIN_S", 2.0)  # it has to be waited for twice; nothing else hangs on it
    with ExitStack() as stack:
        site = stack.enter_context(open_site(tmp_path / "home", devices="H100:4"))
        if request.param != "local":
            site.app.engines.add(_config(request, tmp_path), site.admin)
        shutil.copytree(model, site.app.replicas._artifacts.location("made"))
        draft = ModelVersion(MODEL, 0, 0.0, artifact="made", engine="llama.cpp", base="base")
        site.app.endpoints._registry.register(draft, key="1", tenant=site.admin.tenant)
        site.app.policy.put(Policy(reserve=0.0, forecast=0.0), site.admin)
        yield Stage(site, request.param, tmp_path)


def _config(request: pytest.FixtureRequest, folder: Path) -> EngineConfig:
    """The platform's home and all else below `folder` lie on storage that the nodes see."""
    if request.param == "slurm":
        slurm: SlurmLab = request.getfixturevalue("slurm")
        settings: dict[str, object] = {"conf": str(slurm.conf), "folder": str(folder / "slurm"), "nodes_every": 0.5}
    else:
        kubernetes: Kubernetes = request.getfixturevalue("cluster")
        namespace = kubernetes.namespace(f"lend-{secrets.token_hex(4)}")
        settings = {"kubeconfig": str(kubernetes.kubeconfig), "namespace": namespace, "image": "stoker:test"}
        settings |= {"shared_volume": str(folder), "shared_path": str(folder), "reach": "forward"}
    return EngineConfig(request.param, request.param, python=sys.executable, settings=settings)


@contextmanager
def calling(site: Site) -> Iterator[Callers]:
    callers = Callers(site.url, site.admin_key)
    try:
        yield callers
    finally:
        callers.be(0)


def test_devices_are_lent_while_load_is_low_and_taken_back_when_it_rises(stage: Stage) -> None:
    stage.deploy(Scaling(1, MOST, target=BUSY / MOST, window=0.0))
    with calling(stage.site) as callers:
        callers.be(BUSY)
        stage.wait(lambda: stage.ready() == MOST)
        jobs = [stage.train(devices) for devices in TRAININGS[stage.engine]]
        assert not stage.run(jobs)

        callers.be(QUIET)  # the load falls: what two replicas held is lent
        stage.wait(lambda: stage.run(jobs) and all(stage.now(job).checkpointed_at for job in jobs))
        assert stage.ready() == 1
        before = {replica.job for replica in stage.app.endpoints.get(MODEL, stage.who).replicas}
        then = {job.id: stage.now(job).attempt + 1 for job in jobs}  # they may have been moved together until here

        callers.be(BUSY)  # and taken back
        stage.wait(lambda: stage.ready() == MOST)
        lent = [job for job in jobs if stage.now(job).state is not JobState.RUNNING]
        assert lent
        for replica in stage.app.endpoints.get(MODEL, stage.who).ready:
            job = stage.app.jobs.get(replica.job, stage.who)
            if job.id not in before:
                assert job.started_at is not None
                assert job.started_at - job.submitted_at <= GRACE_S + LATE_S
        kept = {job.id: int(Path(job.spec.labels["kept"]).read_text()) for job in lent}
        for job in lent:
            told = [one.message for one in stage.app.jobs.events(job.id, stage.who) if one.reason == "Preempted"]
            assert any("since it last saved itself" in message for message in told), told

        callers.be(QUIET)
        stage.wait(lambda: stage.run(jobs) and all(stage.began_at(job, then[job.id]) >= 0 for job in lent))
        assert {job.id: stage.began_at(job, then[job.id]) for job in lent} == kept
    assert callers.statuses.keys() == {200}

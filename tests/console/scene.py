"""A platform with things in it, on the real app: jobs of every state, shipments, versions, an endpoint."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
import time

from stoker.account import Account, Role
from stoker.app import App
from stoker.endpoint import Endpoint, Replica, ReplicaState
from stoker.job import FINAL, Job, JobSpec, JobState, Resources
from stoker.model import ModelVersion
from stoker.shipment import (
    Shipment,
    ShipmentRequest,
    ShipmentState,
    Source,
    Stage,
    StageRun,
    StageState,
)

GIB = 1 << 30
_TRAINING = """
    import math, random, time
    from stoker import probe
    random.seed(1)
    probe.phase("load", "SmolLM2-135M, 135 M parameters")
    probe.note("first_batch", [[{"token": token, "trained": trained} for token, trained in (
        ("<|im_start|>", 0), ("user", 0), ("\\n", 0), ("What", 0), (" does", 0), (" Xid", 0), (" 79", 0),
        (" mean", 0), ("?", 0), ("<|im_end|>", 0), ("\\n", 0), ("<|im_start|>", 0), ("assistant", 0), ("\\n", 0),
        ("Xid", 1), (" 79", 1), (":", 1), (" the", 1), (" GPU", 1), (" has", 1), (" fallen", 1), (" off", 1),
        (" the", 1), (" bus", 1), (".", 1), ("<|im_end|>", 1))]])
    probe.expect("tokens_per_s", 11300, low=10700, high=11900, unit="tokens/s",
                 basis="2 x H20: 148 TFLOPS x 0.45 / (6 x 135e6)")
    probe.expect("mfu", 0.45, low=0.40, high=0.50, unit="share", basis="calibrated on this model of device")
    print("training starts", flush=True)
    for step in range(1, 611):
        loss = 0.9 + 1.6 * math.exp(-step / 120) + random.gauss(0, 0.05)
        speed = 9840 + random.gauss(0, 120) - (2400 if 300 < step < 330 else 0)
        probe.report(step=step, total=984, loss=loss, tokens_per_s=speed, mfu=speed / 25000,
                     learning_rate=2e-4 * min(1, step / 60) * (1 - step / 1100))
        if step % 10 == 0:
            print(f"step {step:4}  loss {loss:.3f}  {speed:,.0f} tokens/s", flush=True)
    time.sleep(600)
"""
_SLOW_EVAL = """
    import time
    from stoker import probe
    probe.expect("samples_per_s", 40, low=36, high=44, unit="samples/s", basis="measured on this node last week")
    for step in range(1, 40):
        probe.report(step=step, total=120, samples_per_s=18.5 + step % 3)
    print("评测中：已完成 39/120", flush=True)
    time.sleep(600)
"""


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(text))


def people(app: App, admin: Account) -> tuple[Account, Account]:
    """Two users beside the admin."""
    first, _ = app.accounts.create("li.wei", Role.USER, "speech", admin)
    second, _ = app.accounts.create("maria", Role.USER, "vision", admin)
    return first, second


def submit_jobs(app: App, admin: Account) -> dict[str, Job]:
    """Running, waiting, succeeded and failed jobs on the declared devices; returns them as they stand."""
    wei, maria = people(app, admin)
    specs = {
        "train": (
            wei,
            JobSpec(
                "finetune-asr", program(_TRAINING), resources=Resources(4, cpus=4, memory=4 * GIB), time_limit=7200
            ),
        ),
        "eval": (maria, JobSpec("eval-ocr", program(_SLOW_EVAL), resources=Resources(2, cpus=2, memory=GIB))),
        "quiet": (maria, JobSpec("embed-images", ("sleep", "600"), resources=Resources(1, cpus=1), priority=40)),
        "good": (wei, JobSpec("tokenize", ("echo", "42 shards written"), resources=Resources(cpus=1))),
        "bad": (maria, JobSpec("train-vit", program("raise SystemExit('CUDA error: device-side assert')"))),
        "waiting": (wei, JobSpec("pretrain-13b", ("sleep", "60"), resources=Resources(8, cpus=8), priority=70)),
    }
    made = {}
    for key, (who, spec) in specs.items():
        (made[key],) = app.jobs.submit([spec], who)
        if key in ("good", "bad"):
            settle(app, admin, [made[key].id], FINAL)
        elif key != "waiting":
            settle(app, admin, [made[key].id], {JobState.RUNNING})
    until(lambda: (app.jobs.telemetry(made["train"].id, admin).step or 0) >= 610)
    until(lambda: (app.jobs.telemetry(made["eval"].id, admin).step or 0) >= 39)
    return {key: app.jobs.get(job.id, admin) for key, job in made.items()}


def settle(app: App, who: Account, ids: list[int], states: frozenset[JobState] | set[JobState]) -> None:
    until(lambda: all(app.jobs.get(job, who).state in states for job in ids))


def until(true: object, seconds: float = 30.0) -> None:
    """Waits for `true()`; fails loudly when it does not come."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def version(number: int, *, match: float, loss: float, parent: int | None, rank: int = 16) -> ModelVersion:
    return ModelVersion(
        model="gpu-ops",
        version=number,
        created_at=time.time() - 86400 * (4 - number),
        artifact=f"{number:064x}",
        engine="llama.cpp",
        base="SmolLM2-135M-Instruct",
        parent=parent,
        dataset=f"sha256:{number * 7919:056x}",
        config={"method": "lora", "lora_rank": str(rank), "epochs": "6", "learning_rate": "0.0004"},
        metrics={
            "evaluate.base.loss": 2.31,
            "evaluate.new.loss": loss,
            "evaluate.base.score": 0.0,
            "evaluate.new.score": match,
            "train.tokens_per_s": 431.0 + number,
        },
        ship=f"ship-{number:010x}",
    )


def register_versions(app: App, admin: Account) -> None:
    """Three versions of gpu-ops; the second one is champion."""
    registry = app.endpoints._registry
    drafts = (
        version(1, match=0.65, loss=1.42, parent=None),
        version(2, match=0.825, loss=1.08, parent=1),
        version(3, match=0.875, loss=1.02, parent=2, rank=32),
    )
    for draft in drafts:
        registry.register(draft, key=str(draft.version), tenant=admin.tenant)
    for number in (1, 2):
        app.models.record("gpu-ops", number, "maria", "champion", "promote")


def add_shipment(app: App, admin: Account, training: int) -> Shipment:
    """A shipment in the middle of training, whose training is the job `training`."""
    now = time.time()

    def done(stage: Stage, ago: float, took: float, result: dict[str, object], message: str = "") -> StageRun:
        began = now - ago
        return StageRun(
            stage, StageState.DONE, key="a" * 64, attempt=1, started_at=began, ended_at=began + took,
            message=message, result=result,
        )  # fmt: skip

    imported = {
        "records": 41200, "kept": 38911,
        "rejected": {
            "empty": {"count": 1204, "examples": [{"source": "2024-03.jsonl:17", "detail": '{"messages": []}'}]},
            "no_answer": {"count": 1085, "examples": [
                {"source": "2024-03.jsonl:90", "detail": "user: Who do I call about rack 12?"},
                {"source": "2024-04.jsonl:3", "detail": "user: ticket closed"}]},
        },
    }  # fmt: skip
    curated = {
        "input": 38911, "kept": 31447,
        "dropped": {
            "near_duplicate": {"count": 6020, "examples": [
                {"source": "2024-03.jsonl:401", "detail": "<script>alert(1)</script> user: the GPU fell"}]},
            "short_doc": {"count": 1112, "examples": []},
            "too_many_bullets": {"count": 332, "examples": []},
        },
        "masked": {"email": 1844, "phone": 431, "ip_address": 29},
    }  # fmt: skip
    shipment = Shipment(
        id="ship-5e1f00d00d",
        request=ShipmentRequest("/data/support-tickets", "/models/qwen2.5-7b-instruct", "support"),
        tenant=admin.tenant,
        owner="li.wei",
        state=ShipmentState.RUNNING,
        created_at=now - 320,
        sources={"data": Source("/data/support-tickets", "d" * 64)},
        stages=(
            done(Stage.IMPORT, 318, 2.1, imported),
            done(Stage.CURATE, 315, 9.3, curated),
            StageRun(Stage.TRAIN, StageState.RUNNING, "b" * 64, training, 1, now - 305),
            *(StageRun(stage) for stage in list(Stage)[4:]),
        ),
    )
    app.shipments._store.add(shipment, "request-1")
    return shipment


_FACTS = {
    8: "the GPU stopped processing. Restart the application.",
    13: "graphics engine exception. Restart the application.",
    63: "row remapping is pending. Reset the GPU.",
    79: "the GPU has fallen off the bus. Drain the node and reseat the card.",
}


def results() -> dict[Stage, dict[str, object]]:
    """What each stage of a finished shipment said, as the recipes write it."""
    return {
        Stage.IMPORT: {"records": 212, "kept": 212, "rejected": {}},
        Stage.CURATE: {"input": 212, "kept": 208, "masked_records": 3, "masked": {"email": 3}, "dropped": {
            "near_duplicate": {"count": 4, "examples": [{"source": "train.jsonl:9", "detail": "Xid 8?"}]}}},
        Stage.TRAIN: {"steps": 104, "final_loss": 0.113, "tokens_per_s": 431.2, "expected_tokens_per_s": 468.0},
        Stage.EVALUATE: {
            "metric": "exact_match", "count": 40, "held_out": 40,
            "base": {"loss": 2.31, "perplexity": 10.07, "score": 0.0},
            "new": {"loss": 1.02, "perplexity": 2.773, "score": 0.875},
        },
        Stage.EXPORT: {"type": "Q8_0", "size": 144 << 20, "engine": "llama.cpp"},
        Stage.REGISTER: {"version": 3, "parent": 2},
        Stage.VERIFY: {"probes": 48, "agreeing": 48, "mean_kl": 0.00041, "bound": 0.01, "verdict": "equal"},
        Stage.PROMOTE: {"alias": "champion", "version": 3, "previous": 2},
    }  # fmt: skip


def write_answers(app: App, key: str) -> None:
    """The evaluation's artifact: answers side by side."""
    folder = app.home.artifacts / key
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    with (folder / "answers.jsonl").open("w") as lines:
        for xid, cause in _FACTS.items():
            new = f"Xid {xid}: {cause}" if xid != 63 else "Xid 63: the GPU stopped processing. Reset it."
            answer = {
                "id": str(xid),
                "prompt": [{"role": "user", "content": f"One of our servers reports Xid {xid}. What is wrong?"}],
                "reference": f"Xid {xid}: {cause}",
                "base": "Xid is a type of identifier used by the X Window System. To fix it, restart …",
                "new": new,
                "scores": {"base": 0.0, "new": float(xid != 63)},
            }
            lines.write(json.dumps(answer) + "\n")


def add_finished_shipment(app: App, admin: Account) -> Shipment:
    """One that went well, with an evaluation."""
    key = "c" * 64
    write_answers(app, key)
    said = results()
    began = time.time() - 5000
    stages: list[StageRun] = []
    for stage in list(Stage)[1:]:
        took = 7.0 * (1 + len(stages))
        state = StageState.REUSED if stage is Stage.IMPORT else StageState.DONE
        stages.append(StageRun(stage, state, key, None, 1, began, began + took, result=said.get(stage, {})))
        began += took
    shipment = Shipment(
        id="ship-0000000003",
        request=ShipmentRequest("/data/gpu-ops/train.jsonl", "SmolLM2-135M-Instruct", "gpu-ops"),
        tenant=admin.tenant,
        owner="maria",
        state=ShipmentState.SUCCEEDED,
        created_at=time.time() - 5000,
        ended_at=began,
        stages=tuple(stages),
        version=3,
    )
    app.shipments._store.add(shipment, "request-2")
    return shipment


def add_failed_shipment(app: App, admin: Account) -> Shipment:
    message = "train: out of memory; give the job more memory or make batch and model smaller"
    shipment = Shipment(
        id="ship-0badc0ffee",
        request=ShipmentRequest("/data/tickets", "qwen2.5-7b-instruct", "tickets"),
        tenant=admin.tenant,
        owner="maria",
        state=ShipmentState.FAILED,
        created_at=time.time() - 9000,
        ended_at=time.time() - 8700,
        stages=(
            StageRun(Stage.IMPORT, StageState.DONE, started_at=1.0, ended_at=3.0),
            StageRun(Stage.CURATE, StageState.DONE, started_at=3.0, ended_at=9.0),
            StageRun(Stage.TRAIN, StageState.FAILED, started_at=9.0, ended_at=60.0, message=message[7:]),
            *(StageRun(stage) for stage in list(Stage)[4:]),
        ),
        message=message,
    )  # fmt: skip
    app.shipments._store.add(shipment, "request-3")
    return shipment


def add_endpoint(app: App, admin: Account, name: str = "gpu-ops", up: tuple[int, ...] = ()) -> Endpoint:
    """An endpoint at version 2, with ready replicas of the versions `up` (nobody listens there)."""
    replicas = tuple(Replica(3, version, ReplicaState.READY, url="http://127.0.0.1:9") for version in up)
    endpoint = Endpoint(
        name, admin.tenant, admin.name, 2, wanted=1, created_at=time.time() - 4000, replicas=replicas
    )
    app.endpoint_book.add(endpoint)
    return dataclasses.replace(endpoint)


def furnish(app: App, admin: Account) -> dict[str, Job]:
    """All of it."""
    jobs = submit_jobs(app, admin)
    register_versions(app, admin)
    add_failed_shipment(app, admin)
    add_finished_shipment(app, admin)
    add_shipment(app, admin, jobs["train"].id)
    return jobs

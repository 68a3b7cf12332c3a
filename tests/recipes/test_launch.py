"""Several ranks on several nodes: who starts them, who speaks, and what is left when a node dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from stoker.recipes.launch import Gang
from tests.labs.daemons import free_ports
from tests.recipes.small_training import FAST, make_base, make_chat, reports, write_spec

pytestmark = pytest.mark.train
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "STOKER_CPUS": "2"}


def launch(spec: Path, node: int = 0, nodes: int = 1, devices: int = 1, port: int = 0) -> subprocess.Popen[str]:
    """What an engine starts on one node, as a session of its own."""
    meeting = {
        "STOKER_NUM_NODES": str(nodes),
        "STOKER_NODE_RANK": str(node),
        "STOKER_DEVICES": str(devices),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "SKYPILOT_NODE_IPS": "\n".join(["127.0.0.1"] * nodes),
        "STOKER_PROBE": str(spec.with_suffix(".probe")),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "stoker.recipes.launch", "train", str(spec)],
        env={**os.environ, **QUIET, **meeting}, text=True, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def on_two_nodes(spec: Path) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    [port] = free_ports(1)
    return launch(spec, 0, 2, port=port), launch(spec, 1, 2, port=port)


def lose(node: subprocess.Popen[str]) -> None:
    """All that runs on it is gone at once."""
    whole = psutil.Process(node.pid)
    for process in (whole, *whole.children(recursive=True)):
        process.kill()
    node.communicate()


def end(*nodes: subprocess.Popen[str]) -> list[int]:
    return [(node.communicate(timeout=300), node.returncode)[1] for node in nodes]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chat(tmp_path_factory.mktemp("data"))


def result(folder: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((folder / "train" / "result.json").read_text())
    return made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_node_ends_the_other_and_the_next_attempt_ends_as_an_undisturbed_one(
    base: Path, data: Path, tmp_path: Path
) -> None:
    """The undisturbed one has its two ranks on one node: which nodes there are does not show in what is learnt."""
    config = {**FAST, "epochs": 20, "row_tokens": 40, "lora_dropout": 0.1, "precision": "auto"}
    whole = launch(write_spec(tmp_path / "whole", "train", config, base=base, data=data), devices=2)
    assert end(whole) == [0]
    said = reports(tmp_path / "whole", "train")
    assert [line["name"] for line in said if line["kind"] == "phase"] == ["load", "train"]  # one rank speaks

    spec = write_spec(tmp_path / "lost", "train", config, base=base, data=data)
    first, second = on_two_nodes(spec)
    checkpoints = tmp_path / "lost" / "train-scratch" / "checkpoints"
    while first.poll() is None and not list(checkpoints.glob("step-*")):
        time.sleep(0.02)
    lose(second)
    assert first.stderr is not None
    while "waiting up to" not in (line := first.stderr.readline()):  # it is not the cause, and says so to nobody
        assert line, first.wait()
    assert not any(line["kind"] == "error" for line in reports(tmp_path / "lost", "train"))
    first.terminate()
    assert end(first) == [-15]
    assert not (tmp_path / "lost" / "train").exists()

    assert end(*on_two_nodes(spec)) == [0, 0]
    phases = [line["text"] for line in reports(tmp_path / "lost", "train") if line["kind"] == "phase"]
    assert any(text.startswith("from step ") for text in phases)
    assert result(tmp_path / "lost")["loss_digest"] == result(tmp_path / "whole")["loss_digest"]
    assert result(tmp_path / "lost")["ranks"] == 2
    left = {entry.name for entry in (tmp_path / "lost").iterdir()}
    assert left == {"train", "train-scratch", "train.json", "train.probe"}


def test_an_input_at_fault_is_told_with_its_own_code(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    spec = write_spec(tmp_path, "train", {**FAST, "batch": 0}, base=base, data=data)
    assert end(launch(spec, devices=2)) == [2]
    assert list(scratch.iterdir()) == []  # torchrun keeps its folder where it makes it itself
    assert {line["message"] for line in reports(tmp_path, "train")} == {"batch is 0; it must be above 0"}


@pytest.mark.slow
def test_the_wish_to_end_reaches_the_ranks(base: Path, data: Path, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, "train", {**FAST, "epochs": 4000}, base=base, data=data)
    with launch(spec, devices=2) as node:
        while not any(line["kind"] == "progress" for line in _reports(tmp_path)):
            assert node.poll() is None
            time.sleep(0.02)
        node.terminate()
        assert end(node) == [143]
    assert not (tmp_path / "train").exists()
    assert not list(tmp_path.glob("train.partial-*"))


def _reports(folder: Path) -> list[dict[str, Any]]:
    return reports(folder, "train") if (folder / "train.probe").exists() else []


def test_the_gang_is_read_from_what_every_engine_tells() -> None:
    told = {"STOKER_NUM_NODES": "2", "STOKER_NODE_RANK": "1", "STOKER_DEVICES": "8", "STOKER_CPUS": "64"}
    told |= {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "20017", "SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.8"}
    gang = Gang.told(told)
    assert gang.torchrun == [
        "--nnodes=2", "--node-rank=1", "--master-addr=10.0.0.7", "--master-port=20017", "--nproc-per-node=8"
    ]  # fmt: skip
    assert gang.environment({"GLOO_SOCKET_IFNAME": "ib0"}) == {"OMP_NUM_THREADS": "8"}
    assert Gang.told({}).torchrun[-1] == "--nproc-per-node=1"


def test_gloo_is_told_the_interface_that_leads_to_the_others() -> None:
    here = Gang(2, 0, 1, 0, "127.0.0.1", "1", ("127.0.0.1", "127.0.0.1"))
    assert here.environment({}) == {"GLOO_SOCKET_IFNAME": "lo"}
    nowhere = Gang(2, 0, 1, 0, "127.0.0.1", "1", ())
    assert nowhere.environment({}) == {}

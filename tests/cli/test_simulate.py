"""`stoker simulate` as people call it: which jobs give way, whose queue deserves what, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Stoker

# A long job that holds the one node, and short ones that come after it.
COLUMNS = (
    "job_id num_gpu submit_time iterations model_name batch_size duration interval iteration_time"
    " resource_time_0 resource_time_1 resource_time_2 priority"
)
JOBS = (
    "0 8 0 500000 bert 1 0 0 1000 0 0 0 1",
    "1 8 100000 100 bert 1 0 0 1000 0 0 0 1",
    "2 8 200000 100 bert 1 0 0 1000 0 0 0 1",
)
QUEUES = "queues:\n- {name: a, deserved: 4}\n- {name: b, deserved: 4, ceiling: 4}\n"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text("".join(f"{line}\n".replace(" ", ",") for line in (COLUMNS, *JOBS)))
    return path


def measures(alone: Stoker, trace: Path, *options: str) -> dict[str, float]:
    done = alone("simulate", str(trace), "--cluster", "1xGPU:8", "--json", *options)
    assert done.code == 0, done.err
    found: dict[str, float] = json.loads(done.out)[0]["measures"]
    return found


def test_jobs_give_way_only_where_they_are_said_to(alone: Stoker, trace: Path) -> None:
    policy = ("--policy", "order=least-service,preempt=equals,turn=60,service-unit=60")
    assert measures(alone, trace, *policy)["preemptions"] == 0
    assert measures(alone, trace, *policy, "--preemptible")["preemptions"] > 0


def test_queues_come_from_a_file(alone: Stoker, trace: Path, tmp_path: Path) -> None:
    file = tmp_path / "queues.yaml"
    file.write_text(QUEUES)
    assert measures(alone, trace, "--queues", str(file))["ended"] == 3
    file.write_text("queues:\n- {name: a, parent: nope}\n")
    refused = alone("simulate", str(trace), "--queues", str(file))
    assert refused.code != 0
    assert 'has the parent "nope", which does not exist' in refused.err
    missing = alone("simulate", str(trace), "--queues", str(tmp_path / "none.yaml"))
    assert "none.yaml cannot be read" in missing.err


def test_inference_beside_the_jobs_is_printed_and_drawn(alone: Stoker, trace: Path, tmp_path: Path) -> None:
    """By day the one node is needed for a replica, which takes a minute to answer; at night jobs have it."""
    demand = tmp_path / "demand.csv"
    demand.write_text("time,replicas\n0,0\n43200,1\n86400,0\n")
    page = tmp_path / "page.html"
    options = ("--preemptible", "--inference", str(demand), "--replica-devices", "8", "--floor", "0")
    given = ("--policy", "min_runtime=0,forecast=0,reserve=0,checkpoint-every=60")
    done = alone("simulate", str(trace), "--cluster", "1xH100:8", *options, *given, "--out", str(page))
    assert done.code == 0, done.err
    short = next(line for line in done.out.splitlines() if line.startswith("inference short of replicas, minutes"))
    assert float(short.split()[-1].replace(",", "")) > 0
    assert any(line.startswith("lent by inference, device hours") for line in done.out.splitlines())
    assert "replicas of inference" in page.read_text()
    found = measures(alone, trace, *options, *given)
    assert found["unmet"] > 0
    assert found["preemptions"] > 0


def test_what_cannot_be_read_or_written_is_said_before_any_work(alone: Stoker, trace: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for command in ("simulate", "tune-policy"):
        taken = alone(command, str(trace), "--out", str(folder))
        assert taken.code != 0
        assert taken.err.strip().endswith("folder cannot be written: it is a folder")
        missing = alone(command, str(trace), "--inference", str(tmp_path / "none.csv"))
        assert "none.csv cannot be read: no such file or directory" in missing.err
        crossed = alone(command, str(trace), "--inference", str(trace), "--floor", "3", "--ceiling", "2")
        assert "--floor 3 was given; it cannot be above --ceiling 2" in crossed.err

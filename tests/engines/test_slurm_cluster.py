"""What a cluster does to jobs, and what the engine makes of it: all on a real Slurm."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.engine import Key
from stoker.engines.slurm import SlurmEngine
from stoker.errors import Away, Conflict, NotFound
from stoker.foreign import Held
from stoker.job import JobSpec, JobState, Resources
from stoker.topology import Level
from tests.engines.contract import shell
from tests.engines.slurm_cluster import comes, marks, on_this_machine, placed
from tests.labs.daemons import until
from tests.labs.slurm import CPUS, DEVICES, MEMORY_MIB, OTHER, SlurmLab

pytestmark = pytest.mark.slurm
ONE = Key(1, 1)


@pytest.fixture
def engine(slurm: SlurmLab, tmp_path: Path) -> Iterator[SlurmEngine]:
    engine = SlurmEngine("hpc", on_this_machine(slurm, tmp_path), tmp_path / "engine", secrets.token_hex(6))
    yield engine
    engine.close()


def running(engine: SlurmEngine, key: Key = ONE) -> None:
    comes(engine, key, lambda seen: seen.state is JobState.RUNNING)


def ended(engine: SlurmEngine, key: Key = ONE, patience: float = 60.0) -> tuple[JobState, str, str]:
    seen = comes(engine, key, lambda seen: seen.state.final, patience)
    return seen.state, seen.reason, seen.message


def test_the_nodes_as_they_are(engine: SlurmEngine, slurm: SlurmLab) -> None:
    nodes = {node.name: node for node in engine.inventory()}
    assert sorted(nodes) == slurm.nodes
    gpu0 = nodes["gpu0"]
    assert (gpu0.cpus, gpu0.memory, len(gpu0.devices)) == (CPUS, MEMORY_MIB << 20, DEVICES)
    assert {device.model for device in gpu0.devices} == {"H200"}
    assert (gpu0.address, gpu0.schedulable, gpu0.host) == ("127.0.0.1", True, "")
    assert gpu0.labels == {"partitions": "batch,debug,maintenance", "features": "rail,leaf0"}
    assert gpu0.domains == {Level.LEAF: "leaf0", Level.POD: "spine"}
    assert nodes["gpu3"].domains == {Level.LEAF: "leaf1", Level.POD: "spine"}


def test_a_command_runs_on_every_node_with_its_rank(engine: SlurmEngine) -> None:
    say = 'echo "$STOKER_NODE_RANK/$STOKER_NUM_NODES $STOKER_NODE $MASTER_ADDR $CUDA_VISIBLE_DEVICES"'
    spec = shell(say, nodes=3, each_node=True, resources=Resources(accelerators=2, cpus=2))
    engine.submit([placed(spec, 1, "gpu1", "gpu2", "gpu3", devices=(0, 1))])
    assert ended(engine)[0] is JobState.SUCCEEDED
    lines = sorted(engine.logs(ONE).decode().splitlines())
    assert lines == [f"{rank}/3 gpu{rank + 1} 127.0.0.1 0,1" for rank in range(3)]


def test_the_first_failure_of_many_nodes_is_the_jobs(engine: SlurmEngine) -> None:
    spec = shell("if [ $STOKER_NODE_RANK = 1 ]; then exit 7; fi; sleep 600", nodes=3, each_node=True)
    engine.submit([placed(spec, 1, "gpu1", "gpu2", "gpu3")])
    seen = comes(engine, ONE, lambda seen: seen.state.final)
    assert (seen.state, seen.exit_code, seen.message) == (JobState.FAILED, 7, "gpu2: exit code 7")


def test_a_job_of_many_nodes_is_cancelled_with_its_grace(engine: SlurmEngine) -> None:
    text = "trap 'echo bye $STOKER_NODE_RANK; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    engine.submit([placed(shell(text, nodes=2, each_node=True), 1, "gpu1", "gpu2")])
    until(lambda: engine.logs(ONE).count(b"up") == 2, "both are up")
    engine.cancel([ONE], grace=20)
    assert ended(engine)[0] is JobState.CANCELLED
    assert {b"bye 0", b"bye 1"} <= set(engine.logs(ONE).split(b"\n"))


def test_slurms_reason_for_waiting_is_kept(engine: SlurmEngine, slurm: SlurmLab) -> None:
    slurm.submit_other("-w", "gpu0", "--exclusive")
    engine.submit([placed(shell("true"))])
    assert comes(engine, ONE, lambda seen: seen.reason != "").reason in ("Resources", "Priority")
    spec = shell("true", qos="tiny", resources=Resources(accelerators=3))
    engine.submit([placed(spec, 2, "gpu1", devices=(0, 1, 2))])
    two = Key(2, 1)
    assert comes(engine, two, lambda seen: seen.reason not in ("", "Priority")).reason == "QOSMaxGRESPerUser"


def test_a_preempted_job_is_ours_to_retry(engine: SlurmEngine, slurm: SlurmLab) -> None:
    engine.submit([placed(shell("sleep 600", qos="low", resources=Resources(cpus=CPUS)))])
    running(engine)
    slurm.run("sbatch", "-q", "high", "-w", "gpu0", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
    assert ended(engine)[:2] == (JobState.PREEMPTED, "Preempted")
    assert marks(slurm, engine) == []
    engine.submit([placed(shell("true", qos="low"), attempt=2)])
    assert ended(engine, Key(1, 2))[0] is JobState.SUCCEEDED


def test_cancelled_by_somebody_else(engine: SlurmEngine, slurm: SlurmLab) -> None:
    engine.submit([placed(shell("sleep 600"))])
    running(engine)
    slurm.run("scancel", *slurm.run("squeue", "-h", "-o", "%A").split())
    assert ended(engine) == (JobState.CANCELLED, "Cancelled", "cancelled in Slurm by root")


def test_a_wish_above_the_partitions_limit_waits_with_slurms_reason(engine: SlurmEngine) -> None:
    engine.submit([placed(shell("true", queue="debug", time_limit=7200.0))])
    assert comes(engine, ONE, lambda seen: seen.reason != "").reason.startswith("Partition")


def test_a_requeued_job_is_not_begun_again(engine: SlurmEngine, slurm: SlurmLab, tmp_path: Path) -> None:
    engine.submit([placed(shell(f"echo x >> {tmp_path}/ran; sleep 600"))])
    until((tmp_path / "ran").exists, "it has begun")
    job = slurm.run("squeue", "-h", "-o", "%A")
    slurm.run("scontrol", "update", f"jobid={job}", "requeue=1")
    slurm.run("scontrol", "requeue", job)
    assert ended(engine)[0] is JobState.PREEMPTED
    until(lambda: marks(slurm, engine) == [], "it is taken out of Slurm's queue")
    assert (tmp_path / "ran").read_text() == "x\n"


def test_suspended_is_running_with_a_reason(engine: SlurmEngine, slurm: SlurmLab) -> None:
    engine.submit([placed(shell("sleep 600"))])
    running(engine)
    slurm.run("scontrol", "suspend", slurm.run("squeue", "-h", "-o", "%A"))
    assert comes(engine, ONE, lambda seen: seen.reason == "Suspended").state is JobState.RUNNING
    engine.cancel([ONE], grace=10.0)
    assert ended(engine)[0] is JobState.CANCELLED


def test_jobs_of_others_are_seen_with_what_they_hold(engine: SlurmEngine, slurm: SlurmLab) -> None:
    held = slurm.submit_other("-J", "theirs", "-N2", "-w", "gpu[1-2]", "--gpus-per-node=3", "-c2", "--mem=1000")
    slurm.submit_other("-J", "waits\x1f|", "-p", "maintenance", "--gpus-per-node=2")
    until(lambda: engine.states() == {} and any(one.devices for job in engine.others() for one in job.held), "seen")
    theirs, waits = sorted(engine.others(), key=lambda job: job.name)
    assert (theirs.id, theirs.owner, theirs.state, theirs.devices) == (held, OTHER, JobState.RUNNING, 6)
    assert theirs.held == tuple(Held(node, 2, 1000 << 20, 3, (0, 1, 2)) for node in ("gpu1", "gpu2"))
    assert (waits.state, waits.devices, waits.reason, waits.queue) == (
        JobState.PENDING, 2, "PartitionDown", "maintenance",
    )  # fmt: skip


def test_a_stranger_with_our_mark_is_a_stranger(engine: SlurmEngine, slurm: SlurmLab) -> None:
    slurm.submit_other("--comment", f"stoker:{engine.installation}:1.1")
    assert engine.states() == {}
    assert [job.owner for job in engine.others()] == [OTHER]


def test_drain_and_undrain(engine: SlurmEngine, slurm: SlurmLab) -> None:
    def node(name: str) -> tuple[bool, str]:
        found = next(node for node in engine.inventory() if node.name == name)
        return found.schedulable, found.reason

    for _ in range(2):
        engine.drain("gpu1", "moving to\nkubernetes")
    assert node("gpu1") == (False, f"drained: stoker:{engine.installation}: moving to kubernetes")
    for _ in range(2):
        engine.undrain("gpu1", "")
    until(lambda: node("gpu1")[0], "gpu1 is open again")
    slurm.run("scontrol", "update", "nodename=gpu2", "state=drain", "reason=xid79 fallen off bus")
    engine.drain("gpu2", "moving")
    with pytest.raises(Conflict, match="xid79 fallen off bus"):
        engine.undrain("gpu2", "")
    assert node("gpu2") == (False, "drained: xid79 fallen off bus")
    with pytest.raises(NotFound, match="near names"):
        engine.drain("gpu9", "")


def test_a_port_of_a_job_is_reached(engine: SlurmEngine) -> None:
    engine.submit([placed(shell("sleep 600"))])
    assert engine.connect(ONE, 8000) == ("127.0.0.1", 8000)
    with pytest.raises(Away):
        engine.connect(Key(9, 9), 80)


def test_the_controller_is_away_and_comes_back(engine: SlurmEngine, slurm: SlurmLab, tmp_path: Path) -> None:
    go = tmp_path / "go"
    engine.submit([placed(shell(f"while [ ! -e {go} ]; do sleep 0.1; done; exit 3"))])
    running(engine)
    slurm.wait_saved()
    slurm.kill_controller()
    with pytest.raises(Away, match="controller"):
        engine.states()
    with pytest.raises(Away, match="controller"):
        engine.submit([placed(shell("true"), 2)])
    assert engine.logs(ONE) == b""
    slurm.start_controller()
    go.touch()
    assert comes(engine, ONE, lambda seen: seen.state.final).exit_code == 3
    engine.submit([placed(shell("true"), 2)])
    assert ended(engine, Key(2, 1))[0] is JobState.SUCCEEDED


def test_without_the_books_the_queue_is_enough(engine: SlurmEngine, slurm: SlurmLab) -> None:
    engine.submit([placed(shell("sleep 600")), placed(shell("exit 3"), 2)])
    running(engine)
    slurm.kill_accounting()
    assert comes(engine, Key(2, 1), lambda seen: seen.state.final).exit_code == 3
    slurm.run("scancel", *slurm.run("squeue", "-h", "-o", "%A").split())
    assert ended(engine)[0] is JobState.CANCELLED


@pytest.mark.slow
def test_a_dead_node(engine: SlurmEngine, slurm: SlurmLab) -> None:
    engine.submit([placed(shell("sleep 600"), 1, "gpu3"), placed(shell("sleep 600"), 2, "gpu1")])
    running(engine, ONE)
    slurm.kill_node("gpu3")
    assert ended(engine, patience=120)[:2] == (JobState.NODE_FAIL, "NodeDown")
    dead = next(node for node in engine.inventory() if node.name == "gpu3")
    assert (dead.schedulable, dead.reason) == (False, "down: Not responding")
    assert engine.states()[Key(2, 1)].state is JobState.RUNNING


@pytest.mark.slow
def test_500_jobs_at_once_cost_no_more_questions(engine: SlurmEngine, slurm: SlurmLab) -> None:
    orders = [
        placed(shell("true", resources=Resources(cpus=1, memory=10 << 20)), number, f"gpu{number % 4}")
        for number in range(1, 501)
    ]
    engine.submit(orders)
    before = dict(engine.calls)
    states = engine.states()
    assert len(states) == 500
    asked = {name: count - before.get(name, 0) for name, count in engine.calls.items()}
    assert asked["squeue"] == 1
    assert sum(asked.values()) <= 3
    until(lambda: all(seen.state is JobState.SUCCEEDED for seen in engine.states().values()), "all end", 240)


@pytest.mark.slow
def test_128_nodes(tmp_path: Path) -> None:
    lab = SlurmLab(nodes=128)
    try:
        lab.up()
        engine = SlurmEngine("hpc", on_this_machine(lab, tmp_path), tmp_path / "engine", secrets.token_hex(6))
        nodes = engine.inventory()
        assert len(nodes) == 128
        spec = shell("echo $STOKER_NODE_RANK", nodes=128, each_node=True, resources=Resources(accelerators=8))
        engine.submit([placed(spec, 1, *(node.name for node in nodes), devices=tuple(range(8)))])
        assert ended(engine, patience=120)[0] is JobState.SUCCEEDED
        assert sorted(map(int, engine.logs(ONE).split())) == list(range(128))
        engine.close()
    finally:
        lab.down()


# Bad input


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"queue": "gpus"}, "invalid partition"),
        ({"account": "nobodys"}, "Invalid account"),
        ({"qos": "platinum"}, "Invalid qos"),
        ({"reservation": "none-such"}, "reservation"),
        ({"resources": Resources(cpus=64)}, "not available"),
    ],
)
def test_what_slurm_refuses_is_told_in_its_words(engine: SlurmEngine, fields: dict[str, object], told: str) -> None:
    refused = engine.submit([placed(shell("true", **fields)), placed(shell("true"), 2)])
    assert list(refused) == [ONE]
    assert told.lower() in refused[ONE].lower()
    assert ended(engine, Key(2, 1))[0] is JobState.SUCCEEDED
    assert ONE not in engine.states()


def test_a_node_that_is_not_there(engine: SlurmEngine) -> None:
    assert "gpu77" in engine.submit([placed(shell("true"), 1, "gpu77")])[ONE]


def test_a_share_of_a_device_and_an_image_without_a_runner(engine: SlurmEngine) -> None:
    share = shell("true", resources=Resources(accelerators=1, milli=500))
    refused = engine.submit([placed(share, devices=(0,)), placed(shell("true", image="busybox"), 2)])
    assert "share of a device" in refused[ONE]
    assert "containers" in refused[Key(2, 1)]


def test_names_and_arguments_with_everything(engine: SlurmEngine, slurm: SlurmLab) -> None:
    hostile = ("$(touch /tmp/owned)", "a;b", "line\nbreak", "ünï", "*", "--parsable", "\x1e\x1f\x1d")
    spec = JobSpec(
        name="--wrap=ünï %j;|", command=("printf", "%s\\0", *hostile), envs={"A": "x\ny", "B_%j": "'\"`"}
    )
    engine.submit([placed(spec)])
    assert ended(engine)[0] is JobState.SUCCEEDED
    assert engine.logs(ONE).decode().split("\0")[:-1] == list(hostile)


def test_a_clock_that_is_off(slurm: SlurmLab, tmp_path: Path) -> None:
    from stoker.clock import SystemClock

    class Ahead(SystemClock):
        def now(self) -> float:
            return super().now() + 3600

    clock = Ahead()
    engine = SlurmEngine("hpc", on_this_machine(slurm, tmp_path), tmp_path / "e", secrets.token_hex(6), clock=clock)
    before = clock.now()
    engine.submit([placed(shell("sleep 1"))])
    running(engine)
    seen = comes(engine, ONE, lambda seen: seen.state.final)
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert before - 3 <= seen.started_at <= seen.ended_at <= clock.now() + 3
    engine.close()


def test_another_python_for_the_wrapper(slurm: SlurmLab, tmp_path: Path) -> None:
    settings = replace(on_this_machine(slurm, tmp_path), wrapper_python="/no/such/python3")
    engine = SlurmEngine("hpc", settings, tmp_path / "engine", secrets.token_hex(6))
    engine.submit([placed(shell("true"))])
    state, _, message = ended(engine)
    assert state in (JobState.FAILED, JobState.NODE_FAIL)
    assert "slurm.out" in message or message
    engine.close()

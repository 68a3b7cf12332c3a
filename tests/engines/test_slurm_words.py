"""What the Slurm engine makes of outputs and of evidence, without a Slurm: recorded answers, whole and broken."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoker.engine import Key
from stoker.engines.slurm import SlurmEngine, agent, batch, details, nodes, squeue, topology, wrapper
from stoker.engines.slurm.hostlist import expand
from stoker.engines.slurm.inquiry import SMALL
from stoker.engines.slurm.ledger import Entry
from stoker.engines.slurm.machine import Ran
from stoker.engines.slurm.nodes import Wanted, model_of
from stoker.engines.slurm.observe import End, Word, claim_of, end_of
from stoker.engines.slurm.settings import SlurmSettings
from stoker.engines.slurm.settle import LATE_FILE_S, LATE_JOB_S, Evidence, settle
from stoker.engines.slurm.squeue import Row
from stoker.engines.slurm.ssh import explained
from stoker.errors import Away, BadInput
from stoker.foreign import Held
from stoker.job import JobState
from stoker.topology import Level
from stoker.typed import read

RECORDED = Path(__file__).with_name("recorded")
ENTRY = Entry(Key(1, 1), (), "", 60.0, 0.0, slurm=7)


_RUNNING = (
    "RUNNING",
    "None",
    "0",
    "root",
    "batch",
    "2",
    "gpu[0-1]",
    "gres:gpu:2",
    "1795535081",
    "1795535082",
    "NONE",
)


def queue(separator: str, *names: str) -> str:
    """What squeue 22.05 prints, asked for with that separator."""
    return "".join(
        f"<{separator}" + separator.join((str(number), str(number), *_RUNNING, name, "(null)")) + f"{separator}>\n"
        for number, name in enumerate(names, 1)
    )


@given(st.lists(st.text(max_size=40), max_size=4))
@example(["<"])
@example(["\n<", ">\n<"])
def test_names_cannot_break_the_queue(names: list[str]) -> None:
    separator = squeue.fresh_word()
    rows = squeue.parse(queue(separator, *names), separator)
    assert [row.name for row in rows] == names


def test_half_a_queue_is_no_queue() -> None:
    whole = queue("#", "a", "b")
    assert squeue.parse("", "#") == ()
    for length in range(1, len(whole)):
        if whole[:length].rstrip().endswith("#>"):
            continue  # a whole number of records: what is missing is asked for elsewhere
        with pytest.raises(Away, match="squeue"):
            squeue.parse(whole[:length], "#")


def test_nodes_as_slurm_22_tells_them() -> None:
    text = (RECORDED / "scontrol-node-22.05.txt").read_text()
    found = nodes.parse(text, Wanted("hpc"))
    assert list(found) == ["gpu0", "gpu1", "gpu2", "gpu3"]
    assert [one.node.schedulable for one in found.values()] == [True, False, False, True]
    assert found["gpu1"].node.reason == "drained: xid79 State=IDLE fallen off bus"
    assert found["gpu2"].node.reason == "down: Not responding"
    assert found["gpu0"].models == dict.fromkeys(range(8), "h200")
    assert found["gpu3"].node.devices[3].model == "A100"
    assert found["gpu3"].node.host == "worker3"


@pytest.mark.parametrize("cut", [1, 100, 700])
def test_half_a_list_of_nodes_is_none(cut: int) -> None:
    text = (RECORDED / "scontrol-node-22.05.txt").read_text()
    with pytest.raises(Away):
        nodes.parse(text[:-cut], Wanted("hpc"))


def test_a_partition_alone() -> None:
    text = (RECORDED / "scontrol-node-22.05.txt").read_text()
    assert list(nodes.parse(text, Wanted("hpc", partition="a100"))) == ["gpu3"]


TREE = """\
SwitchName=leaf0 Level=0 LinkSpeed=1 Nodes=gpu[0-1]
SwitchName=leaf1 Level=0 LinkSpeed=1 Nodes=gpu[2-3]
SwitchName=spine Level=1 LinkSpeed=1 Nodes=gpu[0-3] Switches=leaf[0-1]
"""
BLOCKS = """\
BlockName=b0 BlockIndex=0 Nodes=gpu[0-17] BlockSize=18
BlockName=b1 BlockIndex=1 Nodes=gpu[18-35] BlockSize=18
AggregatedBlock=b[0-1] BlockIndex=2 Nodes=gpu[0-35] BlockSize=36
"""


def test_where_nodes_are_in_the_network() -> None:
    tree = topology.parse(TREE)
    assert tree["gpu1"] == {Level.LEAF: "leaf0", Level.POD: "spine"}
    assert tree["gpu2"] == {Level.LEAF: "leaf1", Level.POD: "spine"}
    assert topology.parse(TREE, (Level.POD,))["gpu2"] == {Level.POD: "leaf1"}
    blocks = topology.parse(BLOCKS)
    assert blocks["gpu20"] == {Level.NVLINK: "b1", Level.POD: "b[0-1]"}
    rails = "SwitchName=r0 Level=0 Nodes=a,b\nSwitchName=r1 Level=0 Nodes=a,b\nSwitchName=r2 Level=0 Nodes=c\n"
    leaves = {"a": "r0+r1", "b": "r0+r1", "c": "r2"}
    assert topology.parse(rails) == {node: {Level.LEAF: leaf} for node, leaf in leaves.items()}
    assert topology.parse("SwitchName=x Level=0 Nodes=gpu[\nnonsense\n") == {}
    assert topology.of_features("rail,leaf3,pod_p1,nvlink4,core2") == {Level.LEAF: "3", Level.POD: "p1"}


def test_what_jobs_hold() -> None:
    found = details.parse((RECORDED / "scontrol-job-22.05.txt").read_text(), "gpu")
    assert found[1].held == tuple(Held(node, 3, 100 << 20, 2, (0, 1)) for node in ("gpu0", "gpu1"))
    assert found[2].exit_code == 7
    assert details.parse("No jobs in the system\n", "gpu") == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gpu0", ["gpu0"]),
        ("gpu[08-10,2],login", ["gpu08", "gpu09", "gpu10", "gpu2", "login"]),
        ("r[1-2]n[3-4]-ib", ["r1n3-ib", "r1n4-ib", "r2n3-ib", "r2n4-ib"]),
        ("", []),
    ],
)
def test_host_lists(text: str, names: list[str]) -> None:
    assert list(expand(text)) == names


@pytest.mark.parametrize("text", ["gpu[0-1", "gpu[a-b]", "gpu[0-99999999]", ",a"])
def test_what_is_no_host_list(text: str) -> None:
    with pytest.raises(BadInput):
        expand(text)


@pytest.mark.parametrize(
    ("word", "model"),
    [("h200", "H200"), ("nvidia_h100_80gb_hbm3", "H100"), ("a100-sxm4-80gb", "A100"), ("", "GPU"), ("910b", "910B"),
     ("nvidia_geforce_rtx_4090", "RTX 4090")],
)  # fmt: skip
def test_models(word: str, model: str) -> None:
    assert model_of(word) == model


@pytest.mark.parametrize("comment", ["", "stoker:x:1.1", "stoker:0:1.1.1", "stoker:0:a.1", "stoker:0:１.1"])
def test_whose_mark(comment: str) -> None:
    assert batch.key_of(comment, "0") is None
    assert batch.key_of("stoker:0:12.3", "0") == Key(12, 3)


def test_the_complaint_that_says_most() -> None:
    err = "sbatch: Welcome!\nsbatch: error: Batch job submission failed: Invalid qos specification\n"
    assert Ran(1, err=err).complaint == "Batch job submission failed: Invalid qos specification"


# Evidence


def row(state: str, number: int = 7) -> Word:
    return Word(number, state, started_at=5.0, ended_at=9.0)


def end(why: str, code: int, number: int = 7) -> End:
    return End(number, why, code, "", 5.0, 9.0)


@pytest.mark.parametrize(
    ("evidence", "state", "reason"),
    [
        (Evidence(ENTRY, [row("RUNNING")]), JobState.RUNNING, ""),
        (Evidence(ENTRY, [row("COMPLETED")], 7, end("", 0)), JobState.SUCCEEDED, ""),
        (Evidence(ENTRY, [row("COMPLETING")], 7, end("", 0)), JobState.SUCCEEDED, ""),
        (Evidence(ENTRY, [row("COMPLETING")], 7, end("", 1)), JobState.STOPPING, ""),
        (Evidence(ENTRY, [row("FAILED")], 7, end("", 7)), JobState.FAILED, "NonZeroExitCode"),
        (Evidence(ENTRY, [row("OUT_OF_MEMORY")], 7, end("", 137)), JobState.OUT_OF_MEMORY, "OutOfMemory"),
        (Evidence(ENTRY, [row("NODE_FAIL")], 7, gone_for=99), JobState.NODE_FAIL, "NodeFail"),
        (Evidence(ENTRY, [row("BOOT_FAIL")]), JobState.NODE_FAIL, "BootFail"),
        (Evidence(ENTRY, [row("TIMEOUT")], 7, end("slurm", 143)), JobState.TIMEOUT, "TimeLimit"),
        (Evidence(ENTRY, [row("DEADLINE")]), JobState.TIMEOUT, "Deadline"),
        (Evidence(ENTRY, [row("PREEMPTED")], 7, end("slurm", 143)), JobState.PREEMPTED, "Preempted"),
        (Evidence(ENTRY, [row("FAILED")], 7, end("timeout", 143)), JobState.TIMEOUT, "TimeLimit"),
        (Evidence(ENTRY, [row("FAILED")], 7, end("slurm", 143)), JobState.NODE_FAIL, "NodeShutdown"),
        (Evidence(ENTRY, [row("PENDING")], 7), JobState.STARTING, ""),
        (Evidence(ENTRY, [row("PENDING")], 7, gone_for=99), JobState.PREEMPTED, "Requeued"),
        (Evidence(ENTRY, [row("REQUEUE_HOLD")], 7, gone_for=99), JobState.PREEMPTED, "Requeued"),
        # The queue no longer shows it.
        (Evidence(ENTRY, [], 7), JobState.STOPPING, ""),
        (Evidence(ENTRY, [], 7, gone_for=LATE_JOB_S), JobState.NODE_FAIL, "NodeFail"),
        (Evidence(ENTRY, [], 7, books={7: row("CANCELLED")}, gone_for=99), JobState.CANCELLED, "Cancelled"),
        (Evidence(ENTRY, [], None, gone_for=LATE_FILE_S), JobState.STARTING, "Resubmitted"),
        # Two jobs of one attempt: the one that did not begin it says nothing.
        (Evidence(ENTRY, [row("COMPLETED", 8), row("RUNNING")], 7), JobState.RUNNING, ""),
        (Evidence(ENTRY, [row("COMPLETED", 8)], 7, gone_for=1), JobState.STOPPING, ""),
    ],
)
def test_what_is_believed(evidence: Evidence, state: JobState, reason: str) -> None:
    seen = settle(evidence, 100.0).seen
    assert seen is not None
    assert (seen.state, seen.reason) == (state, reason)


def test_the_second_job_of_an_attempt_is_surplus() -> None:
    assert settle(Evidence(ENTRY, [row("RUNNING"), row("PENDING", 8)], 7), 1.0).surplus == (8,)
    assert settle(Evidence(ENTRY, [row("RUNNING", 8), row("PENDING")]), 1.0).surplus == ()  # nobody has begun it


# The other side


@given(st.binary(max_size=200))
@example(b"7")
@example(b"[]")
@example(b'{"slurm": null}')
@example(b'{"slurm": 7, "why": "", "code": 0, "trouble": ""}')
def test_what_a_job_puts_in_the_place_of_our_files_harms_nobody_else(text: bytes) -> None:
    assert claim_of(text) is None or json.loads(text)["slurm"] == claim_of(text)
    assert end_of(text) is None


def test_the_longest_trouble_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    order = {"time_limit": None, "signal": 0}
    trouble = "cannot start " + (b"\xff" * 4083).decode(errors="replace")  # as much as comes through the pipe
    wrapper.Supervision(str(tmp_path), order, node=False).end(127, trouble)
    end = end_of((tmp_path / "end.json").read_bytes()[:SMALL])
    assert end is not None
    assert (end.slurm, end.code, end.trouble) == (7, 127, trouble)


@pytest.mark.parametrize("module", [agent, wrapper])
def test_what_is_sent_is_python_3_6(module: object) -> None:
    ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 6))  # type: ignore[attr-defined]


def test_frames_come_back_as_they_were() -> None:
    message = {"id": 1, "value": [b"\x00\xff", {"map": {"b64": "x"}}, None, 1.5, "ü"]}
    assert agent.unpack(io.BytesIO(agent.pack(message))) == message
    assert agent.unpack(io.BytesIO(agent.pack(message)[:-1])) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["Authorised users only.", "root@h: Permission denied (publickey)."], "ssh_identity"),
        (["@@@ WARNING", "Host key verification failed."], "compare its key"),
        (["ssh: connect to host h port 22: Connection refused"], "Connection refused"),
        ([], "the connection broke"),
    ],
)
def test_why_a_login_node_is_away(said: list[str], told: str) -> None:
    assert told in explained("h", said)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ssh": "-oProxyCommand=x"}, "no login node"),
        ({"folder": "relative"}, "absolute path"),
        ({"wrapper_python": "python3; id"}, "no path of a program"),
        ({"directives": ["wrap"]}, "no option of sbatch"),
        ({"partitions": "x"}, "partition"),
        ({"ssh_port": 70000}, "1 to 65535"),
    ],
)
def test_settings_are_checked(given: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        read(SlurmSettings, given, what="engine")


def test_devices_that_were_asked_for() -> None:
    assert squeue.devices_asked(Row(1, "1", "PENDING", nodes=3, gres="gres:gpu:h200:2,gres:shard:9"), "gpu") == 6
    assert squeue.devices_asked(Row(1, "1", "PENDING", gres=""), "gpu") == 0


def test_a_conf_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    settings = SlurmSettings(folder=str(tmp_path / "shared"), conf=str(tmp_path / "slurm.conf"))
    engine = SlurmEngine("hpc", settings, tmp_path / "engine", "0" * 12)
    try:
        with pytest.raises(Away, match=r'the setting conf names ".*slurm.conf"; there is no such file'):
            engine.inventory()
        assert not engine.calls
    finally:
        engine.close()

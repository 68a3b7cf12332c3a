"""Job files in SkyPilot's and dstack's words."""

from __future__ import annotations

from contextlib import suppress
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import BadInput, StokerError
from stoker.job import Condition, Dependency, JobKind, JobSpec, Resources
from stoker.jobfile import read_jobfile
from stoker.topology import Level, Topology


def job(text: str, **envs: str) -> JobSpec:
    return read_jobfile(dedent(text), source="job.yaml", envs=envs)


@pytest.mark.parametrize("text", ["{required: pod, preferred: rack}", "required=pod,preferred=leaf"])
def test_how_close_together(text: str) -> None:
    spec = job(f"run: x\nnum_nodes: 4\ntopology: {text}")
    assert spec.topology == Topology(required=Level.POD, preferred=Level.LEAF)


def test_the_whole_vocabulary() -> None:
    spec = job(
        """
        name: pretrain
        type: task
        resources: {accelerators: H100:8, cpus: 16+, memory: 64Gi}
        num_nodes: 2
        tasks_per_node: 8
        envs: {LR: 0.10, DEBUG: no}
        setup: pip install -r requirements.txt
        run: python train.py
        workdir: /data/work
        stdout: logs/%j.out
        stderr: logs/%j.err
        priority: 70
        queue: big
        account: speech
        qos: high
        time_limit: 1h30m
        grace: 60s
        retries: 2
        requeue: true
        preemptible: true
        min_runtime: 10m
        signal: USR1@90
        checkpoint_every: 30m
        min_nodes: 1
        array: 1-10:2%3
        depends: afterok:12,afterany:13
        engine: local
        labels: {project: asr}
        """
    )
    assert spec == JobSpec(
        name="pretrain",
        kind=JobKind.TASK,
        resources=Resources(accelerators=8, models=("H100",), cpus=16, memory=64 << 30),
        nodes=2,
        each_node=True,
        tasks_per_node=8,
        envs={"LR": "0.10", "DEBUG": "no"},
        script="#!/bin/bash\nset -e\npip install -r requirements.txt\nset +e\npython train.py\n",
        workdir="/data/work",
        stdout="logs/%j.out",
        stderr="logs/%j.err",
        priority=70,
        queue="big",
        account="speech",
        qos="high",
        time_limit=5400.0,
        grace=60.0,
        retries=2,
        requeue=True,
        preemptible=True,
        min_runtime=600.0,
        checkpoint_signal="USR1",
        checkpoint_lead=90.0,
        checkpoint_every=1800.0,
        min_nodes=1,
        array=(1, 3, 5, 7, 9),
        array_limit=3,
        depends=(Dependency(12), Dependency(13, Condition.AFTER_ANY)),
        engine="local",
        labels={"project": "asr"},
    )


def test_dstacks_words_mean_the_same() -> None:
    theirs = job(
        """
        type: dev-environment
        nodes: 2
        env: [A=1, B=x=y]
        commands: [make, ./go]
        working_dir: /w
        max_duration: 2h
        resources: {gpu: "T4:0.5", cpu: 4..8, memory: 16GB..}
        """
    )
    assert theirs.kind is JobKind.NOTEBOOK
    assert (theirs.nodes, theirs.workdir, theirs.time_limit) == (2, "/w", 7200.0)
    assert theirs.envs == {"A": "1", "B": "x=y"}
    assert theirs.script == "#!/bin/bash\nset -e\nmake\n./go\n"
    assert theirs.resources == Resources(accelerators=1, models=("T4",), milli=500, cpus=4, memory=16 * 10**9)


@pytest.mark.parametrize(
    ("written", "count", "models"),
    [
        ("8", 8, ()),
        ("H100", 1, ("H100",)),
        ("H100:8", 8, ("H100",)),
        ("{H20: 8, H100: 8}", 8, ("H20", "H100")),
        ("[H20:8, H100:8]", 8, ("H20", "H100")),
        ("null", 0, ()),
    ],
)
def test_accelerators(written: str, count: int, models: tuple[str, ...]) -> None:
    spec = job(f"run: x\nresources:\n  accelerators: {written}\n")
    assert (spec.resources.accelerators, spec.resources.models) == (count, models)


@pytest.mark.parametrize(
    ("written", "amount"), [("16", 16 << 30), ("16+", 16 << 30), ("16Gi", 16 << 30), ("500MB", 500 * 10**6)]
)
def test_memory_without_a_unit_is_gigabytes(written: str, amount: int) -> None:
    assert job(f"run: x\nresources: {{memory: {written}}}").resources.memory == amount


def test_scalars_are_the_text_that_stands_there() -> None:
    spec = job("run: x\nenvs: {V: 1.10, NO: no, ON: 0o17, T: 1:30:00, D: 2026-01-01}\ntime_limit: 2:00:00")
    assert spec.envs == {"V": "1.10", "NO": "no", "ON": "0o17", "T": "1:30:00", "D": "2026-01-01"}
    assert spec.time_limit == 7200.0


def test_environment_given_at_submit_wins_and_fills_what_is_open() -> None:
    assert job("run: x\nenvs: {A: 1, TOKEN: null}", TOKEN="t", A="2", C="3").envs == {
        "A": "2",
        "TOKEN": "t",
        "C": "3",
    }
    with pytest.raises(BadInput, match="TOKEN has no value here; give it with --env TOKEN="):
        job("run: x\nenvs: {TOKEN:}")
    with pytest.raises(BadInput, match="TOKEN has no value"):
        job("run: x\nenv: [TOKEN]")


def test_a_script_with_its_own_interpreter_is_left_alone() -> None:
    assert job("run: |\n  #!/usr/bin/env python3\n  print(1)\n").script == "#!/usr/bin/env python3\nprint(1)\n"
    with pytest.raises(BadInput, match="its own interpreter"):
        job("setup: make\nrun: |\n  #!/usr/bin/env python3\n  print(1)\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a mapping of fields"),
        ("- a\n- b", "a mapping of fields"),
        ("name: x", "nothing to run"),
        ("run: ' '", "nothing to run"),
        ("run: []", "nothing to run"),
        ("run: x\nresuorces: {}", 'unknown field "resuorces"; near names: resources'),
        (
            "run: x\nresources: {acelerators: 1}",
            'unknown field in resources "acelerators"; near names: accelerators',
        ),
        ("run: x\nresources: {run: y}", 'unknown field in resources "run"'),
        ("run: x\nresources: 8", "resources is a mapping"),
        ("run: x\nresources: {accelerators: {H20: 8, H100: 4}}", "different numbers"),
        ("run: x\nresources: {cpus: many}", "whole number"),
        ("run: x\nresources: {memory: lots}", "is no size"),
        ("run: x\nnum_nodes: 2\nnodes: 3", '"nodes" and "num_nodes" mean the same'),
        ("run: x\nname: a\nname: b", 'line 3, column 1: "name" is given twice'),
        ("run: x\nname: [a]", "name: a list was given"),
        ("run: x\nname: a/b", "is no job name"),
        ("run: x\nname:", "name: nothing was given"),
        ("run: x\ntype: batch", 'type "batch" was given; allowed are task, service'),
        ("run: x\ntime_limit: 90", '"90" has no unit'),
        ("run: x\nrequeue: maybe", "allowed are true and false"),
        ("run: x\nenvs: 3", "envs is a mapping"),
        ("run: x\nenvs: {A: [1]}", "envs: A: a list was given"),
        ("run: x\npriority: 900", "priority 900 was given; allowed is 0 to 100"),
        ("run: x\n  name: y", "line 2, column 7"),
        ("run: x\n---\nrun: y", "line 2, column 1"),
        ("run: !!python/object:os.system x", "line 1"),
        ("[" * 5000, "nested too deep"),
        ("run: x\x00", "unacceptable character"),
        ("run: " + "x" * (5 << 20), "over 4 MiB"),
    ],
)
def test_bad_files_get_one_line(text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_jobfile(text, source="job.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("job.yaml")


@given(st.text(alphabet="run: x\n-[]{}&*!|>%@`'\"#,?\t", max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(StokerError):
        read_jobfile(text)

"""Traces and clusters as people have them, and in what they may be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stoker.errors import BadInput
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import read_trace
from stoker.typed import dump

MURI = """job_id,num_gpu,submit_time,iterations,model_name,iteration_time
0,4,1000,200,bert,500
1,16,0,100,a2c,1000
"""
CHRONUS = """job_id,user,num_gpu,submit_time,duration,expect_time_list,best_effort,model_name
0,vc1,1,8555,747,1105-2000,0,vgg16
1,vc2,1,8600,0,10,1,alexnet
"""
OPENB = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time,scheduled_time
p0,6500,12288,1,460,V100M16|V100M32,LS,10,100,20
p1,1000,1024,0,0,,BE,10,100,20
p2,1000,1024,1,1000,,BE,10,,
"""
ACME = """job_id,user,node_num,gpu_num,cpu_num,type,state,submit_time,start_time,end_time,duration,queue
1,u1,1,8.0,96,Pretrain,COMPLETED,2023-03-01 10:00:00+08:00,2023-03-01 10:01:00+08:00,x,60.0,llm
2,u1,1,1.0,8,Eval,CANCELLED,2023-03-01 10:00:30+08:00,,,0.0,llm
"""
SACCT = """JobID|JobName|User|Account|Submit|Start|End|ReqTRES|NNodes|Timelimit
7|train|ann|nlp|2024-01-01T00:00:10|2024-01-01T00:01:00|2024-01-01T01:01:00|billing=8,cpu=32,gres/gpu:h100=16,mem=64G,node=2|2|1-00:00:00
8|wait|ann|nlp|2024-01-01T00:00:00|Unknown|Unknown|cpu=1,node=1|1|UNLIMITED
"""


def written(folder: Path, text: str, name: str = "trace.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_muri(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, MURI))
    first, second = trace.jobs
    assert first.work == pytest.approx(101.5)
    assert (first.spec.nodes, first.spec.resources.accelerators) == (2, 8)
    assert (second.spec.resources.accelerators, second.submitted_at, second.restart) == (4, 1.0, 10.0)
    assert first.restart == 46.0
    assert [job.id for job in trace.jobs] == [1, 2]


def test_chronus(tmp_path: Path) -> None:
    first, second = read_trace(written(tmp_path, CHRONUS)).jobs
    assert (first.owner, first.submitted_at, first.deadline, second.deadline) == ("vc1", 0.0, 1105.0, None)
    assert second.work == 1.0


def test_openb(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, OPENB))
    first, second = trace.jobs
    need = first.spec.resources
    assert (need.accelerators, need.milli, need.cpus, need.models) == (1, 460, 7, ("V100M16", "V100M32"))
    assert (second.spec.resources.accelerators, second.work) == (0, 80.0)
    assert trace.notes == ("1 left out: never scheduled",)


def test_acme(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, ACME))
    assert [(job.tenant, job.work, job.devices) for job in trace.jobs] == [("llm", 60.0, 8.0)]


def test_sacct(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, SACCT))
    [job] = trace.jobs
    need = job.spec.resources
    assert (job.spec.nodes, need.accelerators, need.cpus, need.memory) == (2, 8, 16, 32 << 30)
    assert (job.work, job.spec.time_limit, job.tenant, job.owner) == (3600.0, 86400.0, "nlp", "ann")


def test_history(tmp_path: Path) -> None:
    spec = JobSpec(command=("x",), resources=Resources(accelerators=2), engine="slurm", image="img")
    ran = Job(5, spec, "t", "o", JobState.SUCCEEDED, 100.0, started_at=120.0, ended_at=150.0)
    never = Job(6, spec, "t", "o", JobState.CANCELLED, 100.0)
    path = written(tmp_path, json.dumps([dump(ran), dump(never)]), "jobs.json")
    trace = read_trace(path)
    assert [(job.work, job.spec.engine, job.spec.image) for job in trace.jobs] == [(30.0, "", "")]
    assert trace.notes == ("1 left out: never ran, or have not ended",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "has the columns a, b; known formats: muri"),
        (MURI.replace("200", "many"), "line 2: could not convert"),
        (MURI.replace("1000,200", "nan,200"), "line 2: its times are no finite numbers"),
        (MURI.replace("16,0,100", "-1,0,100"), "line 3"),
        (MURI.partition("\n")[0] + "\n", "holds no job"),
        ("", "has the columns"),
        ("{", "is no JSON"),
        ("[1]", "must be an object"),
        ('{"a": 1}', "no list of jobs"),
    ],
)
def test_wrong_traces_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        read_trace(written(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_trace(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="no UTF-8"):
        read_trace(tmp_path / "binary")


def test_clusters(tmp_path: Path) -> None:
    nodes = nodes_of("2xH100:8, 1xT4:4")
    assert [len(node.devices) for node in nodes] == [8, 8, 4]
    assert len({node.name for node in nodes}) == 3
    file = written(tmp_path, "nodes:\n- {count: 2, model: H20, devices: 8, cpus: 64, memory: 1TiB}\n", "c.yaml")
    assert [(node.cpus, node.memory) for node in nodes_of(str(file))] == [(64, 1 << 40)] * 2
    openb = written(tmp_path, "sn,cpu_milli,memory_mib,gpu,model\nn1,64000,1024,2,P100\n", "nodes.csv")
    assert [(node.name, len(node.devices)) for node in nodes_of(str(openb))] == [("n1", 2)]


@pytest.mark.parametrize(
    ("text", "said"), [("8H100", "as 8xH100:8"), ("0xH100:8", "has no nodes"), ("999999xA:1", "up to 100000")]
)
def test_wrong_clusters_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        nodes_of(text)


@pytest.mark.parametrize("text", ["- {model: H100, gpus: 8}\n", "3\n", "- {count: x}\n", "a: [\n"])
def test_wrong_cluster_files_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match="cannot be read") as raised:
        nodes_of(str(written(tmp_path, text, "c.yaml")))
    assert "\n" not in str(raised.value)

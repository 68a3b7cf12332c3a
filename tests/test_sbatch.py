"""Unchanged sbatch scripts.

What sbatch itself makes of a line was recorded from Slurm 22.05 (`sbatch -vvv`), and is compared anew with the
sbatch of this machine where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import BadInput, StokerError
from stoker.job import Condition, Dependency, JobSpec, Mount, Resources
from stoker.sbatch import Batch, read_sbatch
from stoker.sbatch_directives import HONOURED, REFUSED, WITHOUT_EFFECT, read_directives
from stoker.topology import Level, Topology

SBATCH = shutil.which("sbatch")


def batch(*directives: str, lenient: bool = False, environ: dict[str, str] | None = None) -> Batch:
    text = "\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in directives), "hostname", ""])
    return read_sbatch(text, source="job.sh", name="job.sh", environ=environ, lenient=lenient)


def spec(*directives: str, **environ: str) -> JobSpec:
    return batch(*directives, environ=environ).spec


def test_the_whole_of_a_usual_script() -> None:
    found = read_sbatch(
        "\n".join(
            [
                "#!/bin/bash",
                "",
                '#SBATCH -J "my job"',
                "#SBATCH --partition=gpu   # the big one",
                "  #SBATCH -c 99",
                "##SBATCH -c 98",
                "#SBATCH -A speech -q high",
                "#SBATCH --nodes 2 --ntasks-per-node=4 --cpus-per-task=8",
                "#SBATCH --gres=gpu:h100:4 --mem=64G",
                "#SBATCH -t 1-12:30:00",
                "#SBATCH -a 1-10:2%3",
                "#SBATCH -d afterok:1:2,afterany:3",
                "#SBATCH -o logs/%x-%A_%a.out -e logs/%j.err",
                "#SBATCH --requeue --chdir=/data/work",
                "# a comment",
                "srun python train.py",
                "#SBATCH -c 97",
            ]
        ),
        arguments=["--lr", "0.1"],
        environ={"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x"},
    )
    assert found.spec.script.startswith("#!/bin/bash")
    assert found.spec == JobSpec(
        name="my job",
        script=found.spec.script,
        arguments=("--lr", "0.1"),
        resources=Resources(accelerators=4, models=("H100",), cpus=32, memory=64 << 30),
        nodes=2,
        tasks_per_node=4,
        envs={"PATH": "/bin"},
        workdir="/data/work",
        stdout="logs/%x-%A_%a.out",
        stderr="logs/%j.err",
        queue="gpu",
        account="speech",
        qos="high",
        time_limit=131_400.0,
        requeue=True,
        preemptible=True,
        array=(1, 3, 5, 7, 9),
        array_limit=3,
        depends=(Dependency(1), Dependency(2), Dependency(3, Condition.AFTER_ANY)),
    )
    assert found.notices == ("line 17: #SBATCH after the first command is a mere comment, to sbatch too",)


# directive -> the words sbatch found and the options it set, from `sbatch -vvv` of Slurm 22.05.8
RECORDED = [
    ('-J "my job" --nodes=2#comment', {"job-name": "my job", "nodes": "2"}),
    ("--mem 4G -n4", {"mem": "4G", "ntasks": "4"}),
    ("--part=gpu -t90", {"partition": "gpu", "time": "01:30:00"}),
    ("-Hk -c2", {"hold": "set", "no-kill": "set", "cpus-per-task": "2"}),
    ("\t-c\t3", {"cpus-per-task": "3"}),
    ('-J a"b c"d', {"job-name": "ab cd"}),
    ('-J "it\'s"', {"job-name": "it's"}),
    ('-J "a\\ b"', {"job-name": "a b"}),
    ('-J a\\"b\\#c\\', {"job-name": 'a"b#c'}),
    ("-J 'a\\b'", {"job-name": "ab"}),
    ("--mem=4GB", {"mem": "4G"}),
    ("--exclusive --nice=5", {"exclusive": "exclusive", "nice": "5"}),
    ("-N 2-4 -a 1-10:2%3 -d afterok:1:2", {"nodes": "2-4", "array": "1-10:2%3", "dependency": "afterok:1:2"}),
    ("-W --export=NONE", {"wait": "set", "export": "NONE"}),
    ("-n 3 -n 7", {"ntasks": "7"}),
]  # fmt: skip
RECORDED_REFUSALS = [
    ("-n=4", "-n: short options take no"),
    ("foo", '"foo" is no option'),
    ('-J "a', "is not closed"),
    (": -n 3", '":" is no option'),
    ("-J", "-J needs a value"),
    ("-J #x", "-J needs a value"),
    ("--nodes", "--nodes needs a value"),
    ("--no", "may mean --no-kill, --no-requeue, --nodefile, --nodelist, --nodes"),
    ("--bogus=3", "--bogus is no option of sbatch"),
    ("-j 3", "-j is no option of sbatch"),
    ("--requeue=yes", "--requeue takes no value"),
    ("--mem=4G --mem-per-cpu=2G", "exclude each other"),
    ("-J a\\ b", '"b" is no option'),
]


@pytest.mark.parametrize(("line", "options"), RECORDED)
def test_lines_are_read_as_sbatch_reads_them(line: str, options: dict[str, str]) -> None:
    found = {item.option: item.value for item in read_directives(f"#!/bin/sh\n#SBATCH {line}\n", "job.sh")}
    assert sorted(found) == sorted(options)
    spelled = {"time": "90", "mem": found.get("mem", "")}  # printed in sbatch's own form
    for name, value in options.items():
        if value not in ("set", "exclusive"):
            assert found[name] == spelled.get(name, value)


@pytest.mark.parametrize(("line", "says"), RECORDED_REFUSALS)
def test_what_sbatch_refuses_is_refused_with_the_line(line: str, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)) as caught:
        batch("--comment=first", line)
    assert str(caught.value).startswith("job.sh")


@pytest.fixture
def slurm_conf(tmp_path: Path) -> Path:
    path = tmp_path / "slurm.conf"
    lines = {
        "ClusterName": "x", "SlurmctldHost": "localhost(127.0.0.1)", "SlurmctldPort": "1", "MessageTimeout": "1",
        "AuthType": "auth/none", "NodeName": "n1 CPUs=2", "PartitionName": "p Nodes=n1 Default=YES",
    }  # fmt: skip
    path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    return path


def ask_sbatch(conf: Path, line: str) -> tuple[bool, dict[str, str]]:
    """Whether the sbatch of this machine takes `line`, and the options it then reports."""
    script = conf.with_name("job.sh")
    script.write_text(f"#!/bin/bash\n#SBATCH {line}\nhostname\n")
    run = subprocess.run(
        [SBATCH or "sbatch", "-vvv", script],
        env={"SLURM_CONF": str(conf), "PATH": "/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    reached = "Unable to contact slurm controller" in run.stderr  # it got past the options
    found = re.findall(r"^sbatch: ([a-z-]+) +: (.*)$", run.stderr, re.MULTILINE)
    return reached, {name: value.strip() for name, value in found if name != "verbose"}


@pytest.mark.skipif(SBATCH is None, reason="no sbatch here (apt-get install slurm-client)")
def test_sbatch_itself_still_agrees(slurm_conf: Path) -> None:
    for line, options in RECORDED:
        assert ask_sbatch(slurm_conf, line) == (True, options), line
    for line, _ in RECORDED_REFUSALS:
        assert not ask_sbatch(slurm_conf, line)[0], line


@pytest.mark.skipif(SBATCH is None, reason="no sbatch here (apt-get install slurm-client)")
def test_every_option_of_sbatch_is_known(slurm_conf: Path) -> None:
    command, envs = [SBATCH or "sbatch", "--help"], {"SLURM_CONF": str(slurm_conf)}
    text = subprocess.run(command, env=envs, capture_output=True, text=True, check=True).stdout
    theirs = set(re.findall(r"^\s+(?:-\w, )?--([a-z-]+)", text, re.MULTILINE))
    ours = {option.rstrip("=?") for option in (*HONOURED, *WITHOUT_EFFECT, *REFUSED)}
    assert len(theirs) > 60
    assert theirs - ours == {"help", "usage", "version"}


@pytest.mark.parametrize(
    ("directives", "nodes", "tasks", "cpus"),
    [
        ((), 1, 1, 1),
        (("-n 8",), 1, 8, 8),
        (("-N 2 -n 8",), 2, 4, 4),
        (("-n 8 --ntasks-per-node 4",), 2, 4, 4),
        (("-N 2-4",), 2, 1, 1),
        (("--ntasks-per-node=3 -c 2",), 1, 3, 6),
        (("--gres=gpu:4 --cpus-per-gpu=8",), 1, 1, 32),
    ],
)
def test_layout(directives: tuple[str, ...], nodes: int, tasks: int, cpus: int) -> None:
    found = spec(*directives)
    assert (found.nodes, found.tasks_per_node, found.resources.cpus) == (nodes, tasks, cpus)


@pytest.mark.parametrize(
    ("line", "count", "models"),
    [
        ("--gres=gpu", 1, ()),
        ("--gres=gpu:2", 2, ()),
        ("--gres=gpu:h100:2", 2, ("H100",)),
        ("--gres=gres:gpu:2", 2, ()),
        ("--gres=none", 0, ()),
        ("--gpus-per-node=a100:4", 4, ("A100",)),
        ("-G 8 -N 2", 4, ()),
        ("--gpus-per-task=2 --ntasks-per-node=4", 8, ()),
        ("--gres=gpu:4 --gpus-per-node=4", 4, ()),
    ],
)
def test_devices(line: str, count: int, models: tuple[str, ...]) -> None:
    resources = spec(line).resources
    assert (resources.accelerators, resources.models) == (count, models)


@pytest.mark.parametrize(
    ("line", "amount"),
    [
        ("--mem=4000", 4000 << 20),
        ("--mem=4GB", 4 << 30),
        ("--mem-per-cpu=2G -c 4", 8 << 30),
        ("--mem-per-gpu=10G --gres=gpu:2", 20 << 30),
        ("--mem=0", 0),
    ],
)
def test_memory_is_in_megabytes_unless_said(line: str, amount: int) -> None:
    assert spec(line).resources.memory == amount


def test_all_memory_is_named_not_promised() -> None:
    assert batch("--mem=0").notices == ("line 2: --mem=0 reserves no memory here; the job takes what is free",)


@pytest.mark.parametrize(
    ("line", "seconds"),
    [("-t 90", 5400.0), ("-t 2:00:00", 7200.0), ("-t 1-0", 86400.0), ("-t 0", None), ("-t UNLIMITED", None)],
)
def test_time(line: str, seconds: float | None) -> None:
    assert spec(line).time_limit == seconds


def test_requeue_is_off_unless_asked_and_the_last_word_counts() -> None:
    assert not spec().requeue
    assert spec("--no-requeue", "--requeue").requeue
    assert not spec("--requeue", "--no-requeue").requeue


def test_what_may_be_requeued_may_be_preempted_and_is_signalled_before() -> None:
    asked = spec("--requeue", "--signal=B:USR1@120")
    assert (asked.preemptible, asked.checkpoint_signal, asked.checkpoint_lead) == (True, "USR1", 120.0)
    asked = spec("--signal=SIGUSR2")
    assert (asked.preemptible, asked.checkpoint_signal, asked.checkpoint_lead) == (False, "USR2", 60.0)
    assert spec("--signal=10").checkpoint_signal == "USR1"
    with pytest.raises(BadInput, match='line 2: --signal: signal "KILL@9" was given; write for example USR1@120'):
        spec("--signal=KILL@9")


def test_environment() -> None:
    mine = {"PATH": "/bin", "TOKEN": "t", "STOKER_API_KEY": "sk"}
    assert spec(**mine).envs == {"PATH": "/bin"}
    assert spec("--export=NONE", **mine).envs == {}
    assert spec("--export=ALL", **mine).envs == {"PATH": "/bin", "TOKEN": "t"}
    assert spec("--export=ALL,TOKEN=u", **mine).envs == {"PATH": "/bin", "TOKEN": "u"}
    assert spec("--export=TOKEN,MISSING,A=1", **mine).envs == {"TOKEN": "t", "A": "1"}


def test_wait_is_passed_on() -> None:
    assert batch("-W").wait
    assert not batch().wait


def test_what_engines_keep() -> None:
    spec = batch("--exclusive --reservation=maint", "--container-image=busybox --container-mounts=/a:/b:ro,/c").spec
    assert (spec.exclusive, spec.reservation, spec.image) == (True, "maint", "busybox")
    assert spec.mounts == (Mount("/a", "/b", read_only=True), Mount("/c", "/c"))
    with pytest.raises(BadInput, match="allowed are ro and rw"):
        batch("--container-mounts=/a:/b:x")


@pytest.mark.parametrize("option", ["--switches=1", "--switches=2@10:00", "--contiguous"])
def test_few_switches_are_preferred(option: str) -> None:
    found = batch(option)
    assert found.spec.topology == Topology(preferred=Level.LEAF)
    assert [notice for notice in found.notices if "preferred, not waited for" in notice]


def test_what_only_touches_the_surroundings_is_named() -> None:
    assert batch("--mail-type=END --comment=hi", "--nice").notices == (
        "line 2: --mail-type has no effect here",
        "line 2: --comment has no effect here",
        "line 3: --nice has no effect here",
    )


@pytest.mark.parametrize("line", ["-C ib", "--licenses=a", "--nodelist=n1", "--begin=now+1hour", "-H"])
def test_what_would_change_the_run_is_refused_unless_lenient(line: str) -> None:
    with pytest.raises(BadInput, match=r"job.sh line 2: --[a-z]+ cannot be kept here"):
        batch(line)
    assert "is left out" in batch(line, lenient=True).notices[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the script is empty"),
        ("\n\n", "the script is empty"),
        ("hostname\n", "names its interpreter"),
        ("\n#!/bin/sh\n", "names its interpreter"),
        ("#!/bin/sh\r\nhostname\r\n", "DOS line ends"),
        ("#!/bin/sh\n\x00", "NUL characters"),
        ("#!/bin/sh\n" + "x" * (5 << 20), "over 4 MiB"),
        ("#!/bin/sh\n#SBATCH -N 0", "line 2: --nodes: nodes"),
        ("#!/bin/sh\n#SBATCH -N 4-2", "runs backwards"),
        ("#!/bin/sh\n#SBATCH -N 2 -n 7", "does not spread evenly over 2 nodes"),
        ("#!/bin/sh\n#SBATCH -N 2 -n 8 --ntasks-per-node=2", "with at most 2 on each"),
        ("#!/bin/sh\n#SBATCH -G 3 -N 2", "do not spread evenly"),
        ("#!/bin/sh\n#SBATCH -G 3 --gres=gpu:2", "--gres, --gpus ask for different devices"),
        ("#!/bin/sh\n#SBATCH --gres=nvme:1", "allowed is one kind of gpu"),
        ("#!/bin/sh\n#SBATCH --gres=gpu:a:1,gpu:b:1", "allowed is one kind of gpu"),
        ("#!/bin/sh\n#SBATCH -t soon", 'line 2: --time: "soon" is no duration'),
        ("#!/bin/sh\n#SBATCH --mem=lots", 'line 2: --mem: "lots" is no size'),
        ("#!/bin/sh\n#SBATCH -a 5-1", "line 2: --array"),
        ("#!/bin/sh\n#SBATCH -d singleton", "line 2: --dependency"),
        ("#!/bin/sh\n#SBATCH -J a/b", "is no job name"),
        ("#!/bin/sh\n#SBATCH -J ''", "is no job name"),
        ("#!/bin/sh\n#SBATCH --job_name=x", "--job_name is no option of sbatch; near names: job-name"),
        ("#!/bin/sh\n#SBATCH hetjob", '"hetjob" is no option'),
    ],
)
def test_bad_scripts_get_one_line(text: str, says: str) -> None:
    with pytest.raises(StokerError) as caught:
        read_sbatch(text, source="job.sh")
    assert says in str(caught.value)
    assert str(caught.value).startswith("job.sh")


@given(st.text(alphabet="-=#\"'\\ :Nnamtgresu0123456789%,", max_size=40))
def test_no_directive_breaks_the_reader(line: str) -> None:
    with suppress(StokerError):
        batch(line)

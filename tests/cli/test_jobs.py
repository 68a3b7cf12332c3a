"""Jobs from the command line, on a real platform."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import pytest

from stoker.cli.run import _on_each_node
from tests.api.platform import Site
from tests.cli.conftest import Said, Stoker


def submitted(said: Said) -> str:
    assert said.code == 0, said.err
    words = said.out.split()
    assert words[:3] == ["Submitted", "batch", "job"]  # people's scripts take the fourth
    return words[3]


def test_what_a_job_measures_stands_beside_what_it_expects(stoker: Stoker) -> None:
    program = (
        "from stoker import probe; "
        "probe.expect('tokens_per_s', 200.0, low=150.0, high=250.0, unit='tokens/s', basis='by hand'); "
        "probe.report(step=1, total=1, tokens_per_s=180.0)"
    )
    ran = stoker("run", "-J", "measured", "--follow", "--", sys.executable, "-c", program)
    assert ran.code == 0
    assert "tokens_per_s: 180 tokens/s, expected 200 (150 to 250): 90%" in ran.err
    assert "180 tokens/s, expected 200 (150 to 250): 90%" in stoker("job", "measured").out


def test_a_command_runs_here_and_its_exit_code_comes_back(stoker: Stoker, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("found me\n")
    said = stoker("run", "--follow", "--", "bash", "-c", "cat data.txt; exit 7")
    assert said.code == 7
    assert said.out.endswith("\nfound me\n")
    assert "exit code 7" in said.err


def test_options_win_over_the_file(stoker: Stoker, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        "name: tokenise\nenvs: {A: file, B: file, TOKEN: null}\nresources: {cpus: 1, accelerators: H100:2}\n"
        'run: echo "$A $B $TOKEN $CUDA_VISIBLE_DEVICES"\n'
    )
    said = stoker("run", "job.yaml", "--env", "B=line", "-e", "TOKEN=t", "--gpus", "H100:1", "--name", "mine", "-f")
    assert said.code == 0, said.err
    assert said.out.splitlines()[1].split()[:3] == ["file", "line", "t"]
    assert len(said.out.splitlines()[1].split()[3].split(",")) == 1
    assert stoker("jobs", "-a", "-n", "mine", "--json").json[0]["spec"]["resources"]["accelerators"] == 1


def test_an_unchanged_sbatch_script_runs(stoker: Stoker, tmp_path: Path) -> None:
    (tmp_path / "train.sh").write_text(
        "#!/bin/bash\n#SBATCH -J my-training\n#SBATCH -o out-%x-%j.txt\n"
        "#SBATCH --gres=gpu:2\n#SBATCH --mail-type=END\n"
        'echo "$SLURM_JOB_NAME $1 $2 $(pwd)"; echo "$CUDA_VISIBLE_DEVICES" | tr , "\\n" | wc -l\n'
    )
    said = stoker("run", "train.sh", "one", "--wait", "--", "--two")
    number = submitted(said)
    assert "train.sh: line 5: --mail-type has no effect here" in said.err
    written = (tmp_path / f"out-my-training-{number}.txt").read_text()
    assert written == f"my-training one --two {tmp_path}\n2\n"


def test_a_script_or_job_file_comes_through_a_pipe(stoker: Stoker, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("#!/bin/sh\n#SBATCH -J piped\necho from a pipe $1\n", "name: piped\nrun: echo from a pipe one\n"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        arguments = ("one",) if text.startswith("#!") else ()
        assert stoker("run", "-f", "-", *arguments).out.endswith("from a pipe one\n")
    assert len(stoker("jobs", "-a", "-n", "piped", "--json").json) == 2


def test_what_is_carried_along_is_what_finds_programs(
    stoker: Stoker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "bin" / "only-here"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "secret=$MY_SECRET"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setenv("MY_SECRET", "x")
    assert stoker("run", "-f", "--", "only-here").out.endswith("secret=\n")
    assert stoker("run", "-f", "-e", "MY_SECRET", "--", "only-here").out.endswith("secret=x\n")


def test_arrays_wait_cancel_and_list(stoker: Stoker) -> None:
    number = submitted(stoker("run", "-J", "arr", "-a", "1-6%1", "--", "sleep", "60"))
    listed = stoker("jobs", "-n", "arr").out.splitlines()
    assert listed[0].split() == ["JOBID", "NAME", "USER", "ST", "TIME", "NODES", "NODELIST(REASON)", "QUEUE"]
    assert any(line.startswith(f"{number}_[") and " PD " in line for line in listed)
    said = stoker("cancel", f"{number}_[4-6]")
    assert said.out.split() == ["cancelled:", f"{number}_4", f"{number}_5", f"{number}_6"]
    assert stoker("cancel", "arr").code == 0
    assert stoker("wait", "arr").code == 130
    again = stoker("cancel", number)
    assert "had ended before" in again.out
    assert again.code == 0


def test_ranges_name_several_jobs(stoker: Stoker) -> None:
    numbers = [int(submitted(stoker("run", "--", "sleep", "60"))) for _ in range(3)]
    said = stoker("cancel", f"{numbers[0]}-{numbers[2]}")
    assert sorted(said.out.split()[1:]) == [str(number) for number in numbers]
    assert stoker("wait", f"{numbers[0]}-{numbers[2]}").code == 130
    assert "runs backwards" in stoker("cancel", "9-3").err


def test_wait_takes_the_highest_code_and_gives_up_when_told(stoker: Stoker) -> None:
    good = submitted(stoker("run", "--", "true"))
    bad = submitted(stoker("run", "--", "bash", "-c", "exit 5"))
    said = stoker("wait", good, bad)
    assert said.code == 5
    assert said.err.count("\n") == 1  # the one that failed
    long = submitted(stoker("run", "--", "sleep", "60"))
    said = stoker("wait", "--timeout", "1s", long)
    assert said.code == 3
    assert "has not ended" in said.err
    stoker("cancel", long)


def test_a_job_out_of_time_is_124_whatever_it_said_itself(stoker: Stoker) -> None:
    command = ("bash", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    assert stoker("run", "--wait", "--time", "1s", "--grace", "5s", "--", *command).code == 124


def test_a_waiting_job_says_why_and_dependencies_hold(stoker: Stoker, site: Site) -> None:
    first = submitted(stoker("run", "-J", "first", "--gpus", "8", "--", "sleep", "60"))
    second = submitted(stoker("run", "-J", "second", "--gpus", "H100:8", "--", "true"))
    third = submitted(stoker("run", "-J", "third", "--after", f"afterany:{first}", "--", "true"))
    client = site.client()
    while not all(client.jobs.get(int(number)).reason for number in (second, third)):
        pass  # until the scheduler has looked at them
    assert "it needs 8 × H100; 0 of the 8 devices that it could use are free" in stoker("why", second).out
    assert "first" in stoker("why", "second").out
    assert "too few free devices" in stoker("why", second, "--nodes").out
    assert stoker("why", second, "--json").json["waiting"]["because"]["cause"] == "resources"
    assert "已等待" in stoker("--lang", "zh", "why", second).out
    assert "(Dependency)" in stoker("jobs", "-t", "PD").out
    nodes = stoker("nodes").out.splitlines()[1].split()
    assert "busy" in nodes
    assert "H100:8" in nodes
    stoker("cancel", first)
    assert stoker("wait", second, third).code == 0


def test_why_of_a_failed_job_shows_its_last_words(stoker: Stoker) -> None:
    number = submitted(stoker("run", "-W", "--", "bash", "-c", "echo about to break; exit 0"))
    assert stoker("why", number).code == 0
    failed = stoker("run", "-W", "-J", "broken", "--", "bash", "-c", "echo no such dataset >&2; exit 4")
    assert failed.code == 4
    said = stoker("why", "broken")
    assert "no such dataset" in said.out
    assert "Remedy" in said.out
    assert stoker("why", "broken", "--json").json["verdict"] == "failed"


def test_all_about_one_job(stoker: Stoker) -> None:
    submitted(stoker("run", "-W", "-J", "described", "--cpus", "2", "--", "true"))
    said = stoker("job", "described")
    assert '"described"' in said.out
    assert "succeeded" in said.out
    assert [line.split()[2] for line in said.out.splitlines() if line.startswith("20")][-1] == "CD"
    assert stoker("job", "described", "--json").json["spec"]["resources"]["cpus"] == 2
    assert "成功" in stoker("--lang", "zh", "job", "described").out


def test_logs_are_bytes(stoker: Stoker, site: Site) -> None:
    number = submitted(stoker("run", "-W", "--", "bash", "-c", "printf 'a\\nb'; echo err >&2"))
    assert stoker("logs", number).out == "a\nberr\n"
    assert site.client().jobs.logs(int(number)) == b"a\nberr\n"


def test_following_goes_on_until_the_end(stoker: Stoker, site: Site, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    number = submitted(
        stoker("run", "--", "bash", "-c", f"echo one; until [ -e {gate} ]; do sleep 0.05; done; echo two")
    )
    opener = threading.Timer(0.3, gate.touch)
    opener.start()
    assert stoker("logs", "-f", number).out == "one\ntwo\n"
    opener.join()


def test_a_jobs_name_cannot_steer_the_terminal(stoker: Stoker) -> None:
    stoker("run", "-W", "-J", "evil\u202ename", "--", "true")
    assert "\u202e" not in stoker("jobs", "-a").out


def test_top_prints_once_without_a_terminal(stoker: Stoker) -> None:
    out = stoker("top").out
    assert "NODELIST(REASON)" in out
    assert "H100:8" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "nothing to run"),
        (["run", "no-such-file"], "no such file or directory; to run a command write: stoker run -- CMD"),
        (["run", "plain.txt"], "neither a job file (.yaml) nor a script"),
        (["run", "binary"], "not UTF-8 text"),
        (["run", "."], "is a directory"),
        (["run", "job.yaml", "--lr", "1"], "stand after --"),
        (["run", "job.yaml", "extra"], 'a job file takes no arguments ("extra")'),
        (["run", "--gpus", "H100:9", "--", "true"], "the largest node has 8"),
        (["run", "--gpus", "a few", "--", "true"], "names no accelerators"),
        (["run", "--mem", "16", "--", "true"], "has no unit; write for example 16G"),
        (["run", "--time", "soon", "--", "true"], "is no duration"),
        (["run", "--array", "5-1", "--", "true"], "is no array"),
        (["run", "--after", "999999", "--", "true"], "999999"),
        (["run", "--env", "NOT_SET_ANYWHERE", "--", "true"], "NAME=value"),
        (["run", "--name", "a/b", "--", "true"], "is no job name"),
        (["run", "--priority", "900", "--", "true"], "allowed is 0 to 100"),
        (["run", "-f", "-a", "1-2", "--", "true"], "--follow takes one job"),
        (["job", "no-such-job"], "no job"),
        (["logs", "999999"], "999999"),
        (["cancel", "no-such-job"], "no job"),
        (["cancel", "999990-999999"], "no job of yours"),
        (["jobs", "--state", "XX"], '--state "xx" was given; allowed are PD pending, '),
        (["why", "ship-none"], "ship-none"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(
    stoker: Stoker, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "plain.txt").write_text("just text\n")
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "job.yaml").write_text("run: x\n")
    said = stoker(*arguments)
    assert says in said.err
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_viewer_may_look_and_not_touch(stoker: Stoker, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stoker("keys", "create", "guest", "--role", "viewer", "--json").json
    monkeypatch.setenv("STOKER_API_KEY", made["secret"])
    assert stoker("jobs").code == 0
    said = stoker("run", "--", "true")
    assert said.code == 2
    assert said.err.count("\n") == 1
    monkeypatch.setenv("STOKER_API_KEY", site.admin_key)
    assert made["key"]["id"] in stoker("keys", "list").out
    assert stoker("keys", "revoke", made["key"]["id"]).code == 0
    monkeypatch.setenv("STOKER_API_KEY", made["secret"])
    assert "revoked" in stoker("jobs").err


def test_a_sent_tree_is_where_the_job_begins(
    stoker: Stoker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "told").write_text("sent\n")
    assert stoker("run", "--send", str(tree), "-f", "--", "cat", "sub/told").out.endswith("sent\n")
    assert stoker("run", "--send", str(tree), "-D", "sub", "-f", "--", "cat", "told").out.endswith("sent\n")
    (tree / "job.yaml").write_text("package: .\nworkdir: sub\nrun: cat told\n")
    assert stoker("run", str(tree / "job.yaml"), "-f").out.endswith("sent\n")
    packages = [file for file in stoker("files", "list", "--json").json if file["purpose"] == "package"]
    assert len(packages) == 2  # before and after the job file was written
    assert stoker("run", "--send", str(tmp_path / "none"), "--", "true").code == 2


def test_a_command_on_several_nodes_runs_on_each_unless_told() -> None:
    assert [_on_each_node(*wish) for wish in ((None, None, 2), (None, None, 1), (None, None, None))] == [
        True,
        False,
        False,
    ]
    assert _on_each_node(None, Path("job.yaml"), 2) is None
    assert _on_each_node(False, None, 2) is False

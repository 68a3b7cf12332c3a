"""The local engine: the contract, and what only it promises."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.cluster import Device, Node
from stoker.engine import Key
from stoker.engines.local import LocalEngine
from stoker.engines.local.attempt import Attempt
from stoker.engines.local.processes import Identity, boot_id
from stoker.job import JobSpec, JobState, Resources
from stoker.job_environment import fill
from tests.engines.contract import EngineContract, Reopen, begun, end_of, order, shell, wait_until

NODE = Node("here", "local", cpus=4, memory=8 << 30, devices=tuple(Device(index, "H100") for index in range(4)))


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Reopen]:
    opened: list[LocalEngine] = []

    def open_() -> LocalEngine:
        opened.append(LocalEngine(tmp_path / "jobs", lambda: NODE))
        return opened[-1]

    yield open_
    last = opened[-1]
    last.cancel([key for key, seen in last.states().items() if not seen.state.final], grace=0)
    for key in last.states():
        end_of(last, key)
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(reopen: Reopen) -> LocalEngine:
    engine = reopen()
    assert isinstance(engine, LocalEngine)
    return engine


class TestContract(EngineContract):
    pass


def test_the_environment_has_slurms_names_too(engine: LocalEngine) -> None:
    one = order(engine, shell('echo "$SLURM_JOB_ID $SLURM_JOB_NAME $SLURM_PROCID"', name="train"))
    engine.submit([one])
    end_of(engine, one.key)
    assert engine.logs(one.key) == b"1 train 0\n"


def supervisor_of(tmp_path: Path, key: Key) -> Identity:
    found = Attempt(key, tmp_path / "jobs" / str(key.job) / str(key.attempt)).supervisor()
    assert found is not None
    return found


def alive(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return fields[0] not in (b"Z", b"X")


def pids(path: Path, count: int) -> list[int]:
    """The pids that a job writes into `path`, once all are there."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = path.read_text().split() if path.exists() else []
        if len(found) == count:
            return [int(pid) for pid in found]
        time.sleep(0.01)
    raise AssertionError(f"{path} has not {count} pids")


# Three pids: the job, a deaf child in a session of its own, and a grandchild whose parent is gone.
TREE = (
    "echo $$ >> {0}; setsid sh -c 'trap \"\" TERM; echo $$ >> {0}; sleep 600' & "
    "(sh -c 'echo $$ >> {0}; sleep 600' &) ; sleep 600"
)


def test_the_time_limit_ends_the_whole_tree_also_what_left_the_session(engine: LocalEngine, tmp_path: Path) -> None:
    one = order(engine, shell(TREE.format(tmp_path / "pids"), time_limit=0.5, grace=0.3))
    engine.submit([one])
    tree = pids(tmp_path / "pids", 3)
    assert end_of(engine, one.key).state is JobState.TIMEOUT
    assert not any(alive(pid) for pid in tree)


def test_what_a_job_leaves_in_the_background_ends_with_it(engine: LocalEngine, tmp_path: Path) -> None:
    one = order(engine, shell(f"setsid sh -c 'echo $$ > {tmp_path}/pids; sleep 600' & sleep 0.2; exit 0"))
    engine.submit([one])
    left = pids(tmp_path / "pids", 1)
    assert end_of(engine, one.key).state is JobState.SUCCEEDED
    assert not alive(left[0])


def test_a_killed_supervisor_is_a_node_failure_and_leaves_nothing(engine: LocalEngine, tmp_path: Path) -> None:
    one = order(engine, shell(TREE.format(tmp_path / "pids"), resources=Resources(memory=1 << 30)))
    engine.submit([one])
    tree = pids(tmp_path / "pids", 3)
    begun(engine, one.key)
    groups = json.loads((tmp_path / "jobs" / "1" / "1" / "order.json").read_text())["cgroups"]
    os.kill(supervisor_of(tmp_path, one.key).pid, signal.SIGKILL)
    seen = end_of(engine, one.key)
    assert (seen.state, seen.message) == (JobState.NODE_FAIL, "its supervisor was killed")
    assert not any(alive(pid) for pid in tree)
    assert not any(Path(group).exists() for group in groups)


def test_a_supervisor_killed_while_the_platform_is_away(
    engine: LocalEngine, reopen: Reopen, tmp_path: Path
) -> None:
    one = order(engine, shell(f"echo $$ > {tmp_path}/pids; sleep 600"))
    engine.submit([one])
    (job,) = pids(tmp_path / "pids", 1)
    begun(engine, one.key)
    supervisor = supervisor_of(tmp_path, one.key)
    engine._watch._told = lambda _token, _ended: None  # this platform process hears nothing any more
    os.kill(supervisor.pid, signal.SIGKILL)
    while supervisor.alive:
        time.sleep(0.01)
    assert end_of(reopen(), one.key).state is JobState.NODE_FAIL
    assert not alive(job)


def test_a_reboot_is_a_node_failure(engine: LocalEngine, reopen: Reopen, tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / "7" / "1"
    attempt = Attempt(Key(7, 1), folder)
    attempt.prepare(engine._written(order(engine, shell("true"), job=7), attempt), "")
    (folder / "claim").write_text(json.dumps({"pid": os.getpid(), "started": 1, "boot": "another-boot"}))
    (tmp_path / "jobs" / ".live" / "7.1").touch()
    seen = reopen().states()[Key(7, 1)]
    assert (seen.state, seen.message) == (JobState.NODE_FAIL, "the machine was restarted under it")


def test_a_used_pid_is_not_the_process() -> None:
    me = Identity(os.getpid(), started=1, boot=boot_id())
    assert not me.alive
    assert me.open() is None
    me.send(signal.SIGKILL)  # would end this test


def test_two_platforms_handing_over_the_same_order_run_it_once(
    engine: LocalEngine, reopen: Reopen, tmp_path: Path
) -> None:
    other = reopen()
    one = order(engine, shell(f"echo x >> {tmp_path}/ran; sleep 0.1"))
    threads = [threading.Thread(target=each.submit, args=([one],)) for each in (engine, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert end_of(engine, one.key).state is JobState.SUCCEEDED
    assert end_of(other, one.key).state is JobState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x\n"


def test_an_attempt_killed_between_claim_and_start_is_not_begun_again(
    engine: LocalEngine, reopen: Reopen, tmp_path: Path
) -> None:
    folder = tmp_path / "jobs" / "1" / "1"
    one = order(engine, shell(f"echo x >> {tmp_path}/ran"))
    attempt = Attempt(one.key, folder)
    attempt.prepare(engine._written(one, attempt), "")
    (folder / "claim").write_text(json.dumps({"pid": 2**22, "started": 1, "boot": boot_id()}))
    again = reopen()
    again.submit([one])
    assert end_of(again, one.key).state is JobState.NODE_FAIL
    assert not (tmp_path / "ran").exists()


def test_output_goes_where_the_user_wants(engine: LocalEngine, tmp_path: Path) -> None:
    spec = shell(
        "echo out; echo err >&2", name="n", workdir=str(tmp_path), stdout="o-%j-%x-%u%%.txt", stderr="e-%A_%a"
    )
    one = order(engine, spec, job=12)
    engine.submit([one])
    end_of(engine, one.key)
    assert (tmp_path / "o-12-n-ann%.txt").read_text() == "out\n"
    assert (tmp_path / "e-12_0").read_text() == "err\n"
    assert engine.logs(one.key) == b"out\n"
    assert engine.logs(one.key, stream="stderr") == b"err\n"


def test_an_output_that_cannot_be_written_is_one_line(engine: LocalEngine) -> None:
    one = order(engine, shell("true", stdout="/no/such/folder/out"))
    engine.submit([one])
    seen = end_of(engine, one.key)
    assert (seen.state, seen.message) == (
        JobState.FAILED,
        "cannot write /no/such/folder/out: No such file or directory",
    )


def test_a_missing_working_folder_is_one_line(engine: LocalEngine) -> None:
    one = order(engine, shell("true", workdir="/no/such/folder"))
    engine.submit([one])
    assert end_of(engine, one.key).message == "cannot enter /no/such/folder: No such file or directory"


def test_the_platforms_secrets_stay_behind(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_API_KEY", "sk-stk-hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sk-stk-hidden")
    one = order(engine, JobSpec(command=("env",)))
    engine.submit([one])
    end_of(engine, one.key)
    assert b"sk-stk-hidden" not in engine.logs(one.key)


def test_memory_over_the_limit_ends_the_job(engine: LocalEngine) -> None:
    hog = "import time; x = bytearray(300 << 20); x[::4096] = b'x' * len(x[::4096]); time.sleep(60)"
    one = order(engine, JobSpec(command=("python3", "-c", hog), resources=Resources(memory=100 << 20)))
    engine.submit([one])
    assert end_of(engine, one.key).state is JobState.OUT_OF_MEMORY


def test_memory_is_watched_where_there_are_no_control_groups(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._limits, "_memory", None)
    assert engine.inventory()[0].labels["memory-limit"] == "watched"
    hog = "import time; x = bytearray(300 << 20); x[::4096] = b'x' * len(x[::4096]); time.sleep(60)"
    one = order(engine, JobSpec(command=("python3", "-c", hog), resources=Resources(memory=100 << 20)))
    engine.submit([one])
    assert end_of(engine, one.key).state is JobState.OUT_OF_MEMORY


def test_a_signal_that_ended_the_job_is_named(engine: LocalEngine) -> None:
    one = order(engine, shell("kill -SEGV $$"))
    engine.submit([one])
    seen = end_of(engine, one.key)
    assert (seen.exit_code, seen.message) == (139, "killed by SIGSEGV")


def test_later_attempts_append_to_the_users_own_file(engine: LocalEngine, tmp_path: Path) -> None:
    for attempt in (1, 2):
        one = order(engine, shell("echo $STOKER_ATTEMPT", stdout=str(tmp_path / "out")), attempt=attempt)
        engine.submit([one])
        end_of(engine, one.key)
    assert (tmp_path / "out").read_text() == "1\n2\n"


@pytest.mark.parametrize(
    ("pattern", "filled"),
    [
        ("%x-%j.out", "n-3.out"),
        ("%%j%j", "%j3"),
        ("%A_%a", "3_0"),
        ("%", "%"),
        ("%q", "%q"),
        ("100%%", "100%"),
        ("", ""),
    ],
)
def test_patterns(engine: LocalEngine, pattern: str, filled: str) -> None:
    assert fill(pattern, order(engine, shell("true", name="n"), job=3), "here") == filled


def test_jobs_see_a_plain_signal_setup(engine: LocalEngine) -> None:
    """No signal is blocked or ignored that a program started from a shell would not have so."""
    one = order(engine, shell("grep -E 'SigBlk|SigIgn' /proc/self/status"))
    engine.submit([one])
    end_of(engine, one.key)
    masks = [int(line.split()[1], 16) for line in engine.logs(one.key).decode().splitlines()]
    libc_own = (
        0b11 << 31
    )  # signals 32 and 33: glibc lets nobody set them, so they are as the tests' own caller had them
    assert [mask & ~libc_own for mask in masks] == [0, 0]


def test_a_stopped_job_can_be_cancelled(engine: LocalEngine) -> None:
    one = order(engine, shell("echo up; kill -STOP $$; sleep 600"))
    engine.submit([one])
    wait_until(engine, one.key, lambda _seen: engine.logs(one.key) == b"up\n")
    engine.cancel([one.key], grace=20)
    assert end_of(engine, one.key).state is JobState.CANCELLED


def test_two_homes_do_not_share_control_groups(tmp_path: Path) -> None:
    groups = []
    for home in ("a", "b"):
        engine = LocalEngine(tmp_path / home / "jobs", lambda: NODE)
        one = order(engine, JobSpec(command=("true",), resources=Resources(memory=100 << 20)))
        engine.submit([one])
        end_of(engine, one.key)
        groups.append(json.loads((tmp_path / home / "jobs" / "1" / "1" / "order.json").read_text())["cgroups"])
        engine.close()
    assert set(groups[0]).isdisjoint(groups[1])
    assert not any(Path(group).exists() for group in (*groups[0], *groups[1]))  # removed with the job


@pytest.mark.parametrize("field", [{"stdout": "/tmp/a\0b"}, {"stderr": "/" + "a" * 5000}, {"workdir": "/tmp/a\0b"}])
def test_an_order_that_cannot_be_written_down_is_refused_and_keeps_nobody_else(
    engine: LocalEngine, field: dict[str, str]
) -> None:
    bad, good = order(engine, shell("true", **field), job=1), order(engine, shell("true"), job=2)
    refused = engine.submit([bad, good])
    assert list(refused) == [bad.key]
    assert "name that no file can have" in refused[bad.key]
    assert end_of(engine, good.key).state is JobState.SUCCEEDED
    assert bad.key not in engine.states()


def test_a_log_that_is_no_regular_file_is_empty(engine: LocalEngine, tmp_path: Path) -> None:
    folder = order(engine, shell("true", stdout=str(tmp_path)), job=1)
    pipe = order(engine, shell("rm stdout; mkfifo stdout"), job=2)
    endless = order(engine, shell("ln -sf /dev/zero stdout; mkfifo probe.jsonl"), job=3)
    assert engine.submit([folder, pipe, endless]) == {}
    for one in (folder, pipe, endless):
        end_of(engine, one.key)
        assert engine.logs(one.key) == engine.probe(one.key) == b""
    assert engine.logs(endless.key, stream="stderr", offset=2**63 - 1) == b""


def test_a_supervisor_is_reaped_even_if_its_job_was_forgotten_before_it_was_gone(engine: LocalEngine) -> None:
    others = states_below(os.getpid())  # children of tests before this one, which may end now
    orders = [order(engine, shell("true"), job=number) for number in range(1, 31)]
    engine.submit(orders)
    for one in orders:
        end_of(engine, one.key)
        engine.forget([one.key])
    until = time.monotonic() + 30
    while engine._children and time.monotonic() < until:
        time.sleep(0.01)
    assert engine._children == {}
    mine = {pid: state for pid, state in states_below(os.getpid()).items() if pid not in others}
    assert "Z" not in mine.values()


def states_below(parent: int) -> dict[str, str]:
    """The state letter of each child of `parent`, by pid."""
    children = [
        pid
        for thread in Path(f"/proc/{parent}/task").iterdir()
        for pid in (thread / "children").read_text().split()
    ]
    return {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children}


@pytest.mark.parametrize("content", [b"{", b"[7]", b"\x00\x00"])
def test_what_a_job_writes_over_our_files_keeps_nobody_from_starting(
    engine: LocalEngine, reopen: Reopen, tmp_path: Path, content: bytes
) -> None:
    one, other = order(engine, shell("sleep 60")), order(engine, shell("sleep 60"), job=2)
    engine.submit([one, other])
    for each in (one, other):
        begun(engine, each.key)
    (tmp_path / "jobs" / str(one.key.job) / str(one.key.attempt) / "running.json").write_bytes(content)
    again = reopen()
    assert again.states()[other.key].state is JobState.RUNNING
    again.cancel([one.key], grace=0)
    assert end_of(again, one.key).state is JobState.CANCELLED

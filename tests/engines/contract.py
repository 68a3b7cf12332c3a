"""What every engine must do. A new engine passes by a subclass with one fixture: `reopen`.

`reopen()` gives the engine; called again it gives the one that a restarted platform would have, on the same state.
"""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.engine import CanDrain, CanForget, CanNotify, CanProbe, CanTellSaves, Engine, Key, Observation, Order
from stoker.errors import NotFound
from stoker.job import JobSpec, JobState, Placement, Resources

Reopen = Callable[[], Engine]
_PATIENCE = 60.0  # seconds until a test gives up; no test waits so long unless it fails


def order(engine: Engine, spec: JobSpec, job: int = 1, attempt: int = 1, devices: tuple[int, ...] = ()) -> Order:
    node = engine.inventory()[0]
    return Order(Key(job, attempt), spec, (Placement(node.name, devices),), owner="ann")


def shell(text: str, **fields: object) -> JobSpec:
    return JobSpec(command=("sh", "-c", text), **fields)  # type: ignore[arg-type]


def wait_until(engine: Engine, key: Key, wanted: Callable[[Observation], bool]) -> Observation:
    """The first observation of `key` that is `wanted`."""
    news = threading.Event()
    if isinstance(engine, CanNotify):
        engine.notify(news.set)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        seen = engine.states().get(key)
        if seen is not None and wanted(seen):
            return seen
        news.wait(0.2)
        news.clear()
    raise AssertionError(f"{key} is {engine.states().get(key)}; log: {engine.logs(key)!r}")


def end_of(engine: Engine, key: Key) -> Observation:
    return wait_until(engine, key, lambda seen: seen.state.final)


def begun(engine: Engine, key: Key) -> Observation:
    return wait_until(engine, key, lambda seen: seen.state is JobState.RUNNING)


class EngineContract:
    devices_seen = b"1,3\n"  # what a job that holds devices 1 and 3 is shown
    tells_saves = True  # False: there is no file that both the job and the platform see
    private_modes = ("700", "600")  # of the folder of private files, and of a file in it

    @pytest.fixture
    def engine(self, reopen: Reopen) -> Engine:
        return reopen()

    def run(self, engine: Engine, spec: JobSpec) -> Observation:
        one = order(engine, spec)
        assert engine.submit([one]) == {}
        return end_of(engine, one.key)

    def test_success_and_log(self, engine: Engine) -> None:
        seen = self.run(engine, shell("echo out; echo err >&2"))
        assert (seen.state, seen.exit_code) == (JobState.SUCCEEDED, 0)
        assert engine.logs(Key(1, 1)) == b"out\nerr\n"
        assert engine.logs(Key(1, 1), offset=4, limit=3) == b"err"
        assert engine.logs(Key(1, 1), offset=400) == b""

    def test_failure_keeps_the_exit_code(self, engine: Engine) -> None:
        seen = self.run(engine, shell("exit 7"))
        assert (seen.state, seen.exit_code, seen.reason) == (JobState.FAILED, 7, "NonZeroExitCode")

    def test_times_are_told(self, engine: Engine) -> None:
        before = time.time()
        seen = self.run(engine, shell("true"))
        assert seen.started_at is not None
        assert seen.ended_at is not None
        assert before - 2 <= seen.started_at <= seen.ended_at <= time.time() + 2

    def test_a_missing_program_is_one_line(self, engine: Engine) -> None:
        seen = self.run(engine, JobSpec(command=("no-such-program-here",)))
        assert seen.state is JobState.FAILED
        assert "no-such-program-here" in seen.message
        assert "\n" not in seen.message

    def test_a_script_runs_by_its_shebang_with_arguments(self, engine: Engine) -> None:
        spec = JobSpec(script='#!/bin/sh\necho "$1|$2"\n', arguments=("a b", "c'd"))
        assert self.run(engine, spec).state is JobState.SUCCEEDED
        assert engine.logs(Key(1, 1)) == b"a b|c'd\n"

    def test_arguments_reach_the_program_untouched(self, engine: Engine) -> None:
        hostile = ("$(touch /tmp/owned)", "a;b", "'\"`", "line\nbreak", "ünï", "*")
        self.run(engine, JobSpec(command=("printf", "%s\\0", *hostile)))
        assert engine.logs(Key(1, 1)).decode().split("\0")[:-1] == list(hostile)

    def test_private_files_come_along_and_go(self, engine: Engine, tmp_path: Path) -> None:
        """An engine whose jobs run as another user may leave out owner, never the modes."""
        key = tmp_path / "key"
        key.write_text("hush\n")
        look = "cd $STOKER_FILES && stat -Lc %a . && stat -Lc %a service.key && cat service.key; env; pwd"
        one = replace(order(engine, shell(look)), files={"service.key": key})
        engine.submit([one])
        end_of(engine, one.key)
        said = engine.logs(one.key).decode().splitlines()
        assert said[:3] == [*self.private_modes, "hush"]
        assert "hush" not in "".join(said[3:])
        if isinstance(engine, CanForget):
            engine.forget([one.key])

    def test_a_package_becomes_the_working_folder(self, engine: Engine, tmp_path: Path) -> None:
        package = tmp_path / "package.tar.gz"
        with tarfile.open(package, "w:gz") as archive:
            for name, text, mode in (("go", "#!/bin/sh\ncat sub/told\n", 0o755), ("sub/told", "a b\n", 0o644)):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(text), mode
                archive.addfile(entry, io.BytesIO(text.encode()))
        for job, (command, workdir) in enumerate(((("./go",), ""), (("cat", "told"), "sub")), start=1):
            one = replace(order(engine, JobSpec(command=command, workdir=workdir), job=job), package=package)
            engine.submit([one])
            assert end_of(engine, one.key).state is JobState.SUCCEEDED
            assert engine.logs(one.key) == b"a b\n"

    @pytest.mark.parametrize("hostile", ["../out", "/tmp/stoker-out", "cut"])
    def test_a_package_that_cannot_be_unpacked_is_the_jobs_failure(
        self, engine: Engine, tmp_path: Path, hostile: str
    ) -> None:
        package = tmp_path / "package.tar.gz"
        with tarfile.open(package, "w:gz") as archive:
            entry = tarfile.TarInfo(hostile)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc" if hostile != "cut" else "here"
            archive.addfile(entry)
        if hostile == "cut":
            package.write_bytes(package.read_bytes()[:60])
        one = replace(order(engine, shell("echo ran")), package=package)
        engine.submit([one])
        seen = end_of(engine, one.key)
        assert seen.state is JobState.FAILED
        assert "package" in seen.message
        assert "\n" not in seen.message
        assert engine.logs(one.key) == b""

    def test_submitting_twice_runs_once(self, engine: Engine, tmp_path: Path) -> None:
        mark = tmp_path / "ran"
        one = order(engine, shell(f"echo x >> {mark}"))
        for _ in range(3):
            engine.submit([one])
        end_of(engine, one.key)
        engine.submit([one])
        end_of(engine, one.key)
        assert mark.read_text() == "x\n"

    def test_unknown_orders_are_absent(self, engine: Engine) -> None:
        assert engine.states() == {}
        engine.cancel([Key(99, 1)], grace=1)
        assert engine.logs(Key(99, 1)) == b""

    def test_cancel(self, engine: Engine) -> None:
        one = order(engine, shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"))
        engine.submit([one])
        wait_until(engine, one.key, lambda _seen: engine.logs(one.key) == b"up\n")
        engine.cancel([one.key], grace=20)
        engine.cancel([one.key], grace=20)
        assert end_of(engine, one.key).state is JobState.CANCELLED
        assert engine.logs(one.key).endswith(b"bye\n")

    def test_cancel_at_once_after_submit(self, engine: Engine) -> None:
        one = order(engine, shell("sleep 600"))
        engine.submit([one])
        engine.cancel([one.key], grace=1)
        assert end_of(engine, one.key).state is JobState.CANCELLED

    def test_deaf_jobs_are_killed_after_the_grace(self, engine: Engine) -> None:
        one = order(engine, shell("trap '' TERM; echo up; sleep 600 & wait; sleep 600"))
        engine.submit([one])
        wait_until(engine, one.key, lambda _seen: engine.logs(one.key) == b"up\n")
        engine.cancel([one.key], grace=0.1)
        assert end_of(engine, one.key).state is JobState.CANCELLED

    def test_a_job_saves_itself_when_it_is_told_and_ends_before_it_has_to(self, engine: Engine) -> None:
        """The shell handles the signal, and its child, which does not, is left alone."""
        text = "trap 'echo saved; kill $!; exit 0' USR1; trap 'echo late; exit 1' TERM; sleep 100 & echo up; wait"
        seen, log = self.told_to_go(engine, shell(text, grace=5.0, checkpoint_signal="USR1"), 65.0)
        assert (seen.state, log) == (JobState.CANCELLED, b"up\nsaved\n")

    def test_who_does_not_end_when_it_has_saved_itself_is_told_to(self, engine: Engine) -> None:
        text = "trap 'echo saved' USR1; trap 'echo late; exit 1' TERM; echo up; while :; do sleep 0.05; done"
        spec = shell(text, grace=20.0, checkpoint_signal="USR1", checkpoint_lead=1.0)
        seen, log = self.told_to_go(engine, spec, 21.0)
        assert seen.state is JobState.CANCELLED
        assert log.startswith(b"up\nsaved\n")
        assert log.endswith(b"late\n")  # the shell may say before that its child was terminated

    def told_to_go(self, engine: Engine, spec: JobSpec, grace: float) -> tuple[Observation, bytes]:
        one = order(engine, spec)
        engine.submit([one])
        wait_until(engine, one.key, lambda _seen: engine.logs(one.key) == b"up\n")
        engine.cancel([one.key], grace=grace)
        return end_of(engine, one.key), engine.logs(one.key)

    def test_a_job_saves_itself_before_its_time_is_over(self, engine: Engine) -> None:
        text = "trap 'echo saved; exit 0' USR1; echo up; while :; do sleep 0.05; done"
        seen = self.run(engine, shell(text, time_limit=36.0, checkpoint_signal="USR1", checkpoint_lead=30.0))
        assert engine.logs(Key(1, 1)) == b"up\nsaved\n"
        assert seen.state in (JobState.SUCCEEDED, JobState.TIMEOUT)  # to Kubernetes its time was over then

    def test_time_limit(self, engine: Engine) -> None:
        seen = self.run(engine, shell("sleep 600", time_limit=0.3, grace=1.0))
        assert (seen.state, seen.reason) == (JobState.TIMEOUT, "TimeLimit")

    def test_the_environment_names_the_job(self, engine: Engine) -> None:
        spec = shell('echo "$STOKER_JOB_ID $STOKER_JOB_NAME $MINE"', name="train", envs={"MINE": "a b"})
        self.run(engine, spec)
        assert engine.logs(Key(1, 1)) == b"1 train a b\n"

    def test_a_job_without_devices_sees_none(self, engine: Engine) -> None:
        self.run(engine, shell('echo "[${CUDA_VISIBLE_DEVICES-unset}]"'))
        assert engine.logs(Key(1, 1)) == b"[]\n"

    def test_a_job_sees_its_devices_alone(self, engine: Engine) -> None:
        one = order(
            engine,
            shell(
                "echo $CUDA_VISIBLE_DEVICES",
                resources=Resources(accelerators=2),
                envs={"CUDA_VISIBLE_DEVICES": "0"},
            ),
            devices=(1, 3),
        )
        engine.submit([one])
        end_of(engine, one.key)
        assert engine.logs(one.key) == self.devices_seen

    def test_the_probe_comes_back_in_whole_lines(self, engine: Engine) -> None:
        if not isinstance(engine, CanProbe):
            pytest.skip("this engine hands no probe back")
        self.run(engine, shell('printf \'{"a":1}\\n{"b"\' >> $STOKER_PROBE'))
        assert engine.probe(Key(1, 1)) == b'{"a":1}\n'

    def test_a_job_tells_when_its_work_is_safe(self, engine: Engine) -> None:
        assert isinstance(engine, CanTellSaves)
        before = time.time()
        told, silent = (
            order(engine, shell(text), job=n) for n, text in ((1, 'touch "$STOKER_SAVED"'), (2, "true"))
        )
        engine.submit([told, silent])
        for one in (told, silent):
            assert end_of(engine, one.key).state is JobState.SUCCEEDED
        saved = engine.saved([told.key, silent.key, Key(99, 1)])
        assert list(saved) == ([told.key] if self.tells_saves else [])
        assert all(before - 2 <= at <= time.time() + 2 for at in saved.values())

    def test_attempts_are_apart(self, engine: Engine) -> None:
        for attempt in (1, 2):
            one = order(engine, shell("echo $STOKER_ATTEMPT"), attempt=attempt)
            engine.submit([one])
            end_of(engine, one.key)
        assert [engine.logs(Key(1, attempt)) for attempt in (1, 2)] == [b"1\n", b"2\n"]

    def test_forgetting_keeps_the_log(self, engine: Engine, reopen: Reopen) -> None:
        self.run(engine, shell("echo kept"))
        if not isinstance(engine, CanForget):
            pytest.skip("this engine forgets by itself")
        engine.forget([Key(1, 1)])
        assert engine.states() == {}
        again = reopen()
        assert again.states() == {}
        assert again.logs(Key(1, 1)) == b"kept\n"

    def test_a_restarted_platform_finds_running_and_ended_jobs(
        self, engine: Engine, reopen: Reopen, tmp_path: Path
    ) -> None:
        go = tmp_path / "go"
        ended, runs = (
            order(engine, shell("exit 5"), job=1),
            order(engine, shell(f"echo up; while [ ! -e {go} ]; do sleep 0.02; done; echo on; exit 6"), job=2),
        )
        engine.submit([ended, runs])
        end_of(engine, ended.key)
        begun(engine, runs.key)
        again = reopen()
        assert again.states()[ended.key].exit_code == 5
        assert again.states()[runs.key].state is JobState.RUNNING
        again.submit([ended, runs])
        go.touch()
        assert end_of(again, runs.key).exit_code == 6
        assert again.logs(runs.key) == b"up\non\n"

    def test_a_node_is_drained_and_opened_again(self, engine: Engine) -> None:
        if not isinstance(engine, CanDrain):
            pytest.skip("this engine is drained by the platform alone")
        name = engine.inventory()[0].name
        for _ in range(2):
            engine.drain(name, "a test (ann)")
        shows(engine, name, schedulable=False)
        for _ in range(2):
            engine.undrain(name, "a test (ann)")
        shows(engine, name, schedulable=True)
        with pytest.raises(NotFound):
            engine.drain("no-such-node", "a test (ann)")


def shows(engine: Engine, name: str, *, schedulable: bool) -> None:
    """Returns once the engine shows the node so."""
    until = time.monotonic() + _PATIENCE
    while True:
        engine.states()
        [node] = [node for node in engine.inventory() if node.name == name]
        if node.schedulable is schedulable:
            return
        assert time.monotonic() < until, node
        time.sleep(0.2)

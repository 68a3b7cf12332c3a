"""The Python client against a real platform."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import stoker
from stoker import Condition, Dependency, JobSpec, JobState, Resources, Role
from stoker.errors import Conflict
from tests.api.platform import Site


def shell(script: str, **more: object) -> JobSpec:
    return JobSpec(command=("sh", "-c", script), **more)  # type: ignore[arg-type]


def test_a_job_from_submit_to_log(site: Site) -> None:
    client = site.client()
    [job] = client.jobs.submit(shell("echo hello", name="greeter"))
    [done] = client.jobs.wait(job.id, timeout=30)
    assert done.state is JobState.SUCCEEDED
    assert client.jobs.logs(job.id) == b"hello\n"
    assert client.jobs.get(job.id) == done
    assert client.jobs.resolve(job.id) == [done]
    assert client.jobs.resolve("greeter") == [done]
    assert [event.state for event in client.jobs.events(job.id)][-1] is JobState.SUCCEEDED
    assert client.jobs.counts()[JobState.SUCCEEDED] >= 1
    assert client.jobs.why(job.id).subject
    assert client.jobs.telemetry(job.id).step is None


def test_follow_hears_all_of_a_running_job_and_ends_with_it(site: Site, tmp_path: Path) -> None:
    client = site.client()
    gate = tmp_path / "gate"
    [job] = client.jobs.submit(shell(f"echo first; while [ ! -e {gate} ]; do sleep 0.05; done; echo second"))
    heard = b""
    for piece in client.jobs.follow(job.id):
        heard += piece
        gate.touch()  # it was heard while the job was running
    assert heard == b"first\nsecond\n"


def test_jobs_of_one_submission_may_wait_for_each_other(site: Site) -> None:
    client = site.client()
    after_first = Dependency(-1, Condition.AFTER_OK)
    first, second = client.jobs.submit(shell("true"), shell("true", depends=(after_first,)))
    assert second.spec.depends == (Dependency(first.id, Condition.AFTER_OK),)
    assert all(job.state is JobState.SUCCEEDED for job in client.jobs.wait(first.id, second.id))


def test_wait_is_woken_by_the_change_and_tells_of_it(site: Site) -> None:
    client = site.client()
    [job] = client.jobs.submit(shell("sleep 600", grace=0.1))
    seen: list[JobState] = []
    canceller = threading.Timer(0.3, client.jobs.cancel, (job.id,))
    canceller.start()
    [ended] = client.jobs.wait(job.id, on_change=lambda jobs: seen.append(jobs[0].state))
    canceller.join()
    assert ended.state is JobState.CANCELLED
    assert seen[-1] is JobState.CANCELLED
    assert len(seen) == len(set(seen))


def test_wait_gives_up_after_its_timeout(site: Site) -> None:
    client = site.client()
    [job] = client.jobs.submit(shell("sleep 600", grace=0.1))
    with pytest.raises(stoker.Away, match=f"job {job.id} has not ended"):
        client.jobs.wait(job.id, timeout=0.2)
    client.jobs.cancel(job.id)
    client.jobs.wait(job.id)


def test_lists_are_gathered_from_pages(site: Site) -> None:
    client = site.client(site.key("lister", tenant="lister"))
    submitted = client.jobs.submit(shell("true", array=tuple(range(1200))))
    assert len(submitted) == 1200
    listed = client.jobs.list(limit=1150)
    assert [job.id for job in listed] == sorted((job.id for job in submitted), reverse=True)[:1150]
    assert client.jobs.list(states=[JobState.NODE_FAIL]) == []
    client.jobs.cancel(submitted[0].id)  # the whole array


def test_errors_come_back_as_what_they_were(site: Site) -> None:
    client = site.client()
    with pytest.raises(stoker.Unfit) as unfit:
        client.jobs.submit(shell("true", resources=Resources(accelerators=9)))
    assert unfit.value.param == "resources"
    assert "9" in str(unfit.value)
    with pytest.raises(stoker.NotFound, match="999999"):
        client.jobs.get(999_999)
    with pytest.raises(stoker.BadInput) as bad:
        client.jobs.submit()
    assert bad.value.exit_code == 2
    with pytest.raises(Conflict, match="last admin key"):
        client.keys.revoke(site.admin.id)
    viewer = site.client(site.key("vera", Role.VIEWER))
    with pytest.raises(stoker.Denied) as denied:
        viewer.jobs.submit(shell("true"))
    assert denied.value.http_status == 403


def test_keys(site: Site) -> None:
    client = site.client()
    made = client.keys.create("carl", role=Role.USER, tenant="speech")
    assert made.secret not in repr(made)
    carl = site.client(made.secret)
    assert carl.info().account == made.key
    client.keys.revoke(made.key.id)
    with pytest.raises(stoker.Denied) as denied:
        carl.info()
    assert denied.value.http_status == 401


def test_files(site: Site, tmp_path: Path) -> None:
    client = site.client()
    source = tmp_path / "chats.jsonl"
    source.write_text('{"messages": []}\n' * 1000)
    file = client.files.upload(source)
    assert (file.filename, file.bytes) == ("chats.jsonl", source.stat().st_size)
    assert file in client.files.list()
    client.files.download(file.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    client.files.delete(file.id)
    with pytest.raises(stoker.NotFound):
        client.files.get(file.id)
    with pytest.raises(stoker.BadInput, match="is no file"):
        client.files.upload(tmp_path)


def test_nodes_models_and_endpoints(site: Site) -> None:
    client = site.client()
    [node] = client.nodes()
    assert len(node.devices) == 8
    assert list(client.models.list()) == []
    assert list(client.endpoints.list()) == []
    assert list(client.usage()) == []
    with pytest.raises(stoker.NotFound):
        client.models.versions("support")
    with pytest.raises(stoker.NotFound, match="support"):
        client.chat("support", [{"role": "user", "content": "hello"}])
    with pytest.raises(stoker.NotFound):
        list(client.chat_pieces("support", [{"role": "user", "content": "hello"}]))


def test_a_context_manager_closes_it(site: Site) -> None:
    with site.client() as client:
        assert client.info().version == stoker.__version__
    with pytest.raises(RuntimeError):
        client.info()


def test_importing_stoker_loads_nothing_heavy() -> None:
    heavy = "{'httpx', 'pydantic', 'fastapi', 'sqlalchemy', 'mlflow', 'torch', 'numpy'}"
    script = f"import sys, stoker, stoker.probe; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_public_names() -> None:
    """What programs may rely on: taking one away breaks them, and each is told to type checkers too."""
    assert [name for name in stoker.__all__ if not name.startswith("_")] == [
        "Account", "Away", "BadInput", "Broken", "Client", "Comparison", "Condition", "Conflict", "Denied",
        "Dependency", "Device", "Endpoint", "Finding", "Info", "Job", "JobEvent", "JobKind", "JobSpec", "JobState",
        "Link", "Login", "MissingExtra", "ModelSummary", "ModelVersion", "Node", "NotFound", "Notebook",
        "NotebookRequest", "Promotion", "Replica", "ReplicaState", "Resources", "Role", "Shipment",
        "ShipmentRequest", "ShipmentState", "SlurmExecutor", "Stage", "StageState", "StokerError", "Telemetry",
        "TooLarge", "Unfit", "Verdict", "slurm_executor",
    ]  # fmt: skip
    tree = ast.parse(Path(stoker.__file__).read_text())
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert told == set(stoker.__all__) - {"__version__"}


def test_every_public_name_is_there() -> None:
    assert all(getattr(stoker, name) is not None for name in stoker.__all__)
    assert set(stoker.__all__) <= set(dir(stoker))
    with pytest.raises(AttributeError, match="nothing"):
        stoker.nothing  # noqa: B018  # the access is the test

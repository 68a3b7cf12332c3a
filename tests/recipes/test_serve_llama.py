"""The llama.cpp service: ready when it answers, one line when it cannot, gone soon after SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from stoker.recipes.cpus import usable_cpus
from tests.recipes.test_export import exported
from tests.recipes.tiny_models import make_model, make_tokenizer, save_base, save_training
from tests.recipes.tiny_services import KEY, run_recipe, serving, start_service, wait_ready

MESSAGES = [{"role": "user", "content": "Why is the GPU hot?"}]
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny = make_model("llama", 400)
    base = save_base(folder / "base", tiny, make_tokenizer())
    return exported(folder, base, save_training(folder / "train", "full", tiny))


@pytest.fixture(scope="module")
def url(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("serve_llama", tmp_path_factory.mktemp("serve"), {"model": str(model), "alias": "tiny"}) as url:
        yield url


def test_it_speaks_openai_with_usage_and_stream(url: str) -> None:
    asked = {"model": "tiny", "messages": MESSAGES, "max_tokens": 5}
    whole = httpx.post(f"{url}/v1/chat/completions", json=asked, headers=HEADERS).json()
    assert whole["model"] == "tiny"
    assert 1 <= whole["usage"]["completion_tokens"] <= 5
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json={**asked, "stream": True}, headers=HEADERS
    ) as reply:
        events = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"][0]["finish_reason"] in ("stop", "length")


def test_only_health_needs_no_key(url: str) -> None:
    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.post(f"{url}/v1/chat/completions", json={"messages": MESSAGES}).status_code == 401
    assert httpx.get(f"{url}/metrics").status_code == 401
    metrics = httpx.get(f"{url}/metrics", headers=HEADERS).text
    assert "llamacpp:requests_processing" in metrics


def test_it_names_what_it_serves(url: str) -> None:
    served = httpx.get(f"{url}/v1/models", headers=HEADERS).json()["data"]
    assert [entry["id"] for entry in served] == ["tiny"]


def test_each_slot_has_the_whole_context(url: str) -> None:
    slots = httpx.get(f"{url}/slots", headers=HEADERS).json()
    assert len(slots) == 4
    assert {slot["n_ctx"] for slot in slots} == {256}


def test_sigterm_lets_a_short_request_finish(model: Path, tmp_path: Path) -> None:
    process, reports = start_service(
        "serve_llama", tmp_path, {"model": str(model), "alias": "tiny", "drain_s": 20.0}
    )
    url = wait_ready(process, reports)
    answers: list[httpx.Response] = []
    first = threading.Event()

    def ask() -> None:
        asked = {"messages": MESSAGES, "max_tokens": 150, "ignore_eos": True, "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, headers=HEADERS, timeout=60) as reply:
            for _ in reply.iter_lines():
                first.set()
            answers.append(reply)

    asking = threading.Thread(target=ask)
    asking.start()
    assert first.wait(30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    asking.join(30)
    assert answers


def test_sigterm_ends_it_without_leaving_anything(model: Path, tmp_path: Path) -> None:
    process, reports = start_service("serve_llama", tmp_path, {"model": str(model), "alias": "tiny"})
    wait_ready(process, reports)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name or path.name == "serve_llama"]


def test_a_busy_server_still_ends(model: Path, tmp_path: Path) -> None:
    """llama.cpp's own destructor crashes then."""
    process, reports = start_service(
        "serve_llama", tmp_path, {"model": str(model), "alias": "tiny", "drain_s": 0.1}
    )
    url = wait_ready(process, reports)
    asked = {"messages": MESSAGES, "max_tokens": 200, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, headers=HEADERS, timeout=60) as reply:
        next(reply.iter_lines())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no model at"), (b"not a model", "invalid magic"), (b"GGUF\3\0\0\0" + b"\0" * 40, "cannot load")],
)
def test_a_model_that_cannot_be_loaded_is_one_line(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    if content is not None:
        file.write_bytes(content)
    done = run_recipe("serve_llama", tmp_path, {"model": str(file), "alias": "x", "context": 64})
    assert done.returncode in (1, 2)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("stoker: ")
    assert said in line


def test_threads_follow_the_cgroup(tmp_path: Path) -> None:
    own = tmp_path / "fs" / "jobs" / "7"
    own.mkdir(parents=True)
    membership = tmp_path / "membership"
    membership.write_text("0::/jobs/7\n")
    assert usable_cpus(tmp_path / "fs", membership) == len(os.sched_getaffinity(0))
    (own / "cpu.max").write_text("max 100000\n")
    (own.parent / "cpu.max").write_text("100000 100000\n")
    assert usable_cpus(tmp_path / "fs", membership) == 1

"""The torch service: bottleneck adapters and unbakeable soft prompts behind OpenAI's API."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

pytest.importorskip("torch")

from stoker.recipes import adapters
from tests.recipes.test_export import exported
from tests.recipes.tiny_models import disturb, make_model, make_tokenizer, save_base, save_probes
from tests.recipes.tiny_services import KEY, run_recipe, serving, start_service, wait_ready

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
MESSAGES: Any = [{"role": "user", "content": "Why is the GPU hot?"}]
HEADERS = {"Authorization": f"Bearer {KEY}"}
SIZES = adapters.Sizes(
    lora_rank=4, lora_alpha=8, lora_dropout=0, lora_targets="all-linear", prompt_tokens=4, prompt_hidden=32,
    bottleneck_size=8, bottleneck_placement="houlsby",
)  # fmt: skip


def make_artifact(folder: Path, method: adapters.Method, family: str) -> tuple[Path, Path]:
    """The exported model and its probes."""
    options: dict[str, Any] = {"head_dim": 32, "initializer_range": 0.15} if family == "gemma" else {}
    tokenizer = make_tokenizer()
    model = make_model(family, 400, **options)
    base = save_base(folder / "base", model, tokenizer)
    trained = adapters.attach(model, method, SIZES)
    disturb(trained, 0.5)
    train = folder / "train"
    train.mkdir()
    adapters.save(trained, method, SIZES, train)
    (train / "result.json").write_text(json.dumps({"method": method}))
    probes = save_probes(folder / "evaluate", trained.eval(), tokenizer)
    return exported(folder, base, train), probes


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_artifact(tmp_path_factory.mktemp("torch"), "bottleneck", "llama")


@pytest.fixture(scope="module")
def url(artifact: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = {"model": str(artifact[0]), "alias": "tiny", "slots": 2}
    with serving("serve_torch", tmp_path_factory.mktemp("serve"), config) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)


@pytest.mark.parametrize(("method", "family"), [("bottleneck", "llama"), ("ptuning", "gemma")])
def test_it_answers_like_the_trained_model(method: adapters.Method, family: str, tmp_path: Path) -> None:
    model, probes = make_artifact(tmp_path, method, family)
    told = json.loads((model / "result.json").read_text())
    assert told["engine"] == "torch"
    assert told["size"] < 1_000_000  # the base is referred to, not copied
    with serving("serve_torch", tmp_path, {"model": str(model), "alias": "tiny"}) as url:
        done = run_recipe("verify", tmp_path, {"url": url, "model": "tiny"}, evaluate=probes)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "verify" / "result.json").read_text())
    assert result["equal"] == result["probes"]
    assert result["mean_kl"] < 1e-6


def test_whole_and_streamed_answers_are_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=12, temperature=0)
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    stream = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=12, temperature=0, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_seed_repeats_and_temperature_zero_is_greedy(client: openai.OpenAI) -> None:
    def say(**options: Any) -> str:
        answer = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=12, **options)
        return answer.choices[0].message.content or ""

    assert say(seed=5) == say(seed=5)
    assert len({say(seed=seed) for seed in range(4)}) > 1
    assert say(temperature=0) == say(temperature=0, seed=9) == say(top_p=1e-9)


def test_a_stop_string_ends_the_answer_and_does_not_appear(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=12, temperature=0)
    text = whole.choices[0].message.content or ""
    stop = text[3:6]
    cut = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=12, temperature=0, stop=stop)
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content == text[: text.index(stop)]


def test_logprobs_are_of_the_tokens_said(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=3, temperature=0, logprobs=True, top_logprobs=5
    )
    assert answer.choices[0].logprobs is not None
    positions = answer.choices[0].logprobs.content or []
    assert len(positions) == 3
    for position in positions:
        assert position.logprob == position.top_logprobs[0].logprob
        assert [top.logprob for top in position.top_logprobs] == sorted(
            (top.logprob for top in position.top_logprobs), reverse=True
        )


def test_text_completions_take_text_and_tokens(client: openai.OpenAI, url: str) -> None:
    tokens = httpx.post(f"{url}/tokenize", json={"prompt": "the gpu is"}, headers=HEADERS).json()["tokens"]
    by_text, by_tokens = (
        client.completions.create(model="tiny", prompt=prompt, max_tokens=8, temperature=0).choices[0].text
        for prompt in ("the gpu is", tokens)
    )
    assert by_text == by_tokens


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"messages": []}, 400, "messages"),
        ({"temperature": 9}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"n": 2}, 400, "n"),
        ({"model": "tinny"}, 404, "tiny"),
        ({"messages": [{"role": "user", "content": "gpu " * 400}]}, 400, "the context holds 256"),
    ],
)
def test_bad_requests_are_told_in_openais_form(url: str, change: dict[str, Any], status: int, said: str) -> None:
    asked = {"model": "tiny", "messages": MESSAGES, **change}
    reply = httpx.post(f"{url}/v1/chat/completions", json=asked, headers=HEADERS)
    assert reply.status_code == status
    error = reply.json()["error"]
    assert said in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_only_health_needs_no_key(url: str) -> None:
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    for path in ("/v1/models", "/metrics"):
        assert httpx.get(f"{url}{path}").status_code == 401
        assert httpx.get(f"{url}{path}", headers={"Authorization": "Bearer sk-wrong"}).status_code == 401
    assert httpx.get(f"{url}/v1/models", headers=HEADERS).json()["data"][0]["id"] == "tiny"
    assert httpx.get(f"{url}/nope", headers=HEADERS).json()["error"]["message"] == "Not Found"


def metric(url: str, name: str) -> float:
    text = httpx.get(f"{url}/metrics", headers=HEADERS).text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"vllm:{name}"))


def wait_until(url: str, name: str, value: float) -> None:
    while metric(url, name) != value:
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_work(url: str, stream: bool) -> None:
    asked = {"messages": MESSAGES, "ignore_eos": True, "max_tokens": 240, "stream": stream}
    if stream:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, headers=HEADERS) as reply:
            next(reply.iter_lines())
    else:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/chat/completions", json=asked, headers=HEADERS, timeout=0.05)
    wait_until(url, "num_requests_running", 0)
    assert metric(url, 'request_success_total{model_name="tiny",finished_reason="abort"}') >= 1


def test_a_short_request_does_not_wait_for_a_long_one(url: str, client: openai.OpenAI) -> None:
    asked = {"messages": MESSAGES, "ignore_eos": True, "max_tokens": 230, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, headers=HEADERS, timeout=60) as long:
        lines = long.iter_lines()
        next(lines)
        short = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=2)
        assert short.usage is not None
        assert metric(url, "num_requests_running") == 1  # the long one goes on
        assert sum(line.startswith("data: {") for line in lines) > 100


def test_sigterm_ends_it(artifact: tuple[Path, Path], tmp_path: Path) -> None:
    process, reports = start_service("serve_torch", tmp_path, {"model": str(artifact[0]), "alias": "tiny"})
    wait_ready(process, reports)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_changed_base_is_refused(tmp_path: Path) -> None:
    model, _ = make_artifact(tmp_path, "bottleneck", "llama")
    settings = tmp_path / "base" / "generation_config.json"
    settings.write_text(settings.read_text() + " ")
    done = run_recipe("serve_torch", tmp_path, {"model": str(model), "alias": "tiny"})
    assert done.returncode == 2
    assert "not the one this was trained on" in done.stderr

"""An endpoint that has no replica while nobody asks, with the real llama.cpp server behind the real gateway."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from stoker.endpoint import Scaling
from stoker.model import ModelVersion
from stoker.serve import decide
from tests.api.platform import Site, open_site
from tests.recipes.test_export import exported
from tests.recipes.tiny_models import make_model, make_tokenizer, save_base, save_training

ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "Why is the GPU hot?"}], "max_tokens": 5}
COMPLETIONS = "/v1/chat/completions"

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A platform with a model that can be served."""
    monkeypatch.setattr(decide, "DRAIN_S", 0.0)
    tiny = make_model("llama", 400)
    base = save_base(tmp_path / "base", tiny, make_tokenizer())
    made = exported(tmp_path, base, save_training(tmp_path / "train", "full", tiny))
    with open_site(tmp_path / "home") as opened:
        shutil.copytree(made, opened.app.replicas._artifacts.location("tiny-export"))
        draft = ModelVersion("tiny", 0, 0.0, artifact="tiny-export", engine="llama.cpp", base="base")
        opened.app.endpoints._registry.register(draft, key="1", tenant="default")
        yield opened


def until_gone(site: Site) -> None:
    seen = site.app.jobs.changed
    while site.app.endpoints.get("tiny", site.admin).replicas:
        seen = site.app.jobs.wait_change(seen, 1.0)


def test_requests_to_a_sleeping_endpoint_are_all_answered(site: Site) -> None:
    client = site.client()
    client.endpoints.deploy("tiny", 1, scaling=Scaling(0, 2, target=8.0, window=0.0, idle=1.0, hold=100.0))
    with site.http() as http:
        http.timeout = httpx.Timeout(110.0)
        assert until_answered(http)["usage"]["completion_tokens"] >= 1
        until_gone(site)
        assert client.endpoints.get("tiny").wanted == 0

        def whole(_number: int) -> int:
            return http.post(COMPLETIONS, json=ASKED).status_code

        def streamed() -> list[str]:
            with http.stream("POST", COMPLETIONS, json={**ASKED, "stream": True}) as reply:
                return [line for line in reply.iter_lines() if line]

        with ThreadPoolExecutor(5) as askers:
            stream = askers.submit(streamed)
            statuses = list(askers.map(whole, range(4)))
        assert statuses == [200] * 4
        assert stream.result()[-1] == "data: [DONE]"
        until_gone(site)


def until_answered(http: httpx.Client) -> dict[str, dict[str, int]]:
    """The first answer: before the version has taken over, nobody waits for it."""
    while (reply := http.post(COMPLETIONS, json=ASKED)).status_code == 503:
        pass
    assert reply.status_code == 200
    found: dict[str, dict[str, int]] = reply.json()
    return found

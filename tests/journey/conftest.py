from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .platform import Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """Not started yet. Afterwards it is ended, and so is whatever it had running."""
    started = Platform(tmp_path / "home")
    yield started
    if started.starts:
        client = started.start() if started._process and started._process.poll() is not None else started.client()
        for endpoint in client.endpoints.list():
            client.endpoints.stop(endpoint.name)
        live = [job.id for job in client.jobs.list(limit=1000) if not job.state.final]
        if live:
            client.jobs.cancel(*live)
            for job in live:
                client.jobs.wait(job, timeout=60)
        client.close()
        started.stop()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a random model of two layers."""
    pytest.importorskip("transformers")
    from tests.recipes.tiny_models import make_model, make_tokenizer, save_base

    tokenizer = make_tokenizer()
    return save_base(tmp_path_factory.mktemp("base"), make_model("llama", len(tokenizer)), tokenizer)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a small chat dataset and its held-out split."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split, prefix in (("train", "What is"), ("heldout", "Tell me of")):
        lines = [
            {"prompt": f"{prefix} rail {n}?", "completion": f"Rail {n} ends at node {n + 7}."} for n in range(24)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder

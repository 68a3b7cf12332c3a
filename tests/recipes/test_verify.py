"""Verification passes what is the same and catches each way in which a deployment goes wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from stoker.recipes import gguf_writer
from stoker.recipes.base_tensors import Overlaid
from stoker.recipes.export_base import Base, open_base
from stoker.recipes.gguf_fields import field
from stoker.recipes.gguf_vocabulary import TEMPLATE as TEMPLATE_KEY
from stoker.recipes.kl import divergence
from stoker.recipes.served import Position
from stoker.recipes.verify import Config, Probe, compare_one, judge, wilson
from tests.recipes.tiny_models import TEMPLATE, make_model, make_tokenizer, save_base, save_probes
from tests.recipes.tiny_services import run_recipe, serving


def as_trained(base: Base, _other: Base) -> Base:
    return base


def wrong_template(base: Base, _other: Base) -> Base:
    template = field(TEMPLATE.replace("<|im_start|>assistant", "### Answer:"))
    return replace(
        base, vocabulary=replace(base.vocabulary, others={**base.vocabulary.others, TEMPLATE_KEY: template})
    )


def base_weights(_base: Base, other: Base) -> Base:
    return other


def unpermuted_rope(base: Base, _other: Base) -> Base:
    return replace(base, family=replace(base.family, interleaved_rope=False))


def quantised(bits: int) -> Callable[[Base, Base], Base]:
    """Weights rounded to `bits` per block of 32, as the coarse GGUF types do."""

    def rounded(base: Base, _other: Base) -> Base:
        levels = 2 ** (bits - 1) - 1
        changed = {}
        for name in base.tensors.names():
            value = base.tensors.read(name)
            if value.ndim == 2:
                blocks = value.reshape(-1, 32)
                scale = np.maximum(np.abs(blocks).max(axis=1, keepdims=True), 1e-9) / levels
                changed[name] = (np.round(blocks / scale) * scale).reshape(value.shape)
        return replace(base, tensors=Overlaid(base.tensors, changed))

    return rounded


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Base, Base, Path]:
    """The trained model, its base, and the trained one's probes."""
    folder = tmp_path_factory.mktemp("verify")
    tokenizer = make_tokenizer()
    trained, base = (make_model("llama", 400, seed=seed, tie_word_embeddings=True) for seed in (2, 1))
    opened = [
        open_base(save_base(folder / name, model, tokenizer))
        for name, model in (("trained", trained), ("base", base))
    ]
    return opened[0], opened[1], save_probes(folder / "evaluate", trained, tokenizer, count=8)


def served_and_verified(
    folder: Path, model: Base, probes: Path, file_type: gguf_writer.FileType, **config: Any
) -> tuple[int, str]:
    file = folder / "model.gguf"
    fields = {**model.fields, **model.vocabulary.fields()}
    content = gguf_writer.Content(model.family, fields, model.tensors, model.heads, model.kv_heads, model.extra)
    gguf_writer.write(file, content, file_type)
    with serving("serve_llama", folder, {"model": str(file), "alias": "tiny", "context": 256}) as url:
        done = run_recipe("verify", folder, {"url": url, "model": "tiny", **config}, evaluate=probes)
    return done.returncode, done.stderr


@pytest.mark.parametrize("file_type", ["f32", "f16", "bf16", "q8_0"])
def test_every_type_we_export_passes(
    file_type: gguf_writer.FileType, models: tuple[Base, Base, Path], tmp_path: Path
) -> None:
    code, message = served_and_verified(tmp_path, models[0], models[2], file_type)
    assert code == 0, message


@pytest.mark.parametrize("fault", [wrong_template, base_weights, unpermuted_rope, quantised(3)])
def test_a_faulty_deployment_is_caught(
    fault: Callable[[Base, Base], Base], models: tuple[Base, Base, Path], tmp_path: Path
) -> None:
    trained, base, probes = models
    code, message = served_and_verified(tmp_path, fault(trained, base), probes, "f32")
    assert code == 1
    assert len(message.splitlines()) == 1
    assert "of 6 probes disagree" in message
    assert "chat template" in message
    assert not (tmp_path / "verify").exists()


def test_an_absent_server_is_away(models: tuple[Base, Base, Path], tmp_path: Path) -> None:
    absent = run_recipe("verify", tmp_path, {"url": "http://127.0.0.1:9", "model": "tiny"}, evaluate=models[2])
    assert absent.returncode == 3
    assert "does not answer" in absent.stderr


def test_no_probes_is_an_error_not_a_pass(tmp_path: Path) -> None:
    (tmp_path / "probes.jsonl").write_text("")
    done = run_recipe("verify", tmp_path, {"url": "http://127.0.0.1:9", "model": "m"}, evaluate=tmp_path)
    assert done.returncode == 2
    assert "no probes" in done.stderr


def a_probe(*tops: dict[int, float]) -> Probe:
    rows = [sorted(((t, math.log(p)) for t, p in top.items()), key=lambda pair: -pair[1]) for top in tops]
    return Probe([{"role": "user", "content": "q"}], [row[0][0] for row in rows], "", rows)


def said(*tops: dict[int, float]) -> list[Position]:
    return [Position(max(top, key=lambda t: top[t]), {t: math.log(p) for t, p in top.items()}) for top in tops]


def test_a_flipped_tie_agrees_and_flipped_certainties_do_not() -> None:
    tie = compare_one(a_probe({1: 0.50, 2: 0.49}), said({1: 0.49, 2: 0.50}))
    assert tie.flips[0][:2] == (0, 2)
    assert judge([tie] * 20, Config(url="", model=""))["verdict"] == "equal"
    certain = compare_one(a_probe({1: 0.9, 2: 0.09}), said({1: 0.4, 2: 0.5}))
    lenient = Config(url="", model="", max_mean_kl=0.1)
    assert judge([tie] * 11 + [certain], lenient)["verdict"] == "equal"  # one of twelve proves nothing
    many = judge([tie] * 110 + [certain] * 11, lenient)
    assert many["mean_kl"] < many["bound"]
    assert many["verdict"] == "different"


def test_a_flip_to_an_unlisted_token_is_at_least_as_bad_as_to_the_last_listed() -> None:
    one = compare_one(a_probe({1: 0.9, 2: 0.05}), said({7: 0.9, 1: 0.05}))
    assert one.gap == pytest.approx(math.log(0.9 / 0.05))


def test_more_probes_say_more() -> None:
    assert wilson(0, 64)[0] == 0.0
    assert wilson(0, 64)[1] == pytest.approx(0.0406, abs=1e-3)
    assert wilson(1, 64)[1] > wilson(0, 64)[1] > wilson(0, 640)[1] > 0
    assert wilson(1, 12)[0] < 0.02 < wilson(6, 64)[0]


def full_kl(p: np.ndarray[Any, Any], q: np.ndarray[Any, Any]) -> float:
    return float((p * np.log(p / q)).sum())


def top_of(p: np.ndarray[Any, Any], count: int) -> dict[int, float]:
    return {int(token): float(np.log(p[token])) for token in np.argsort(-p)[:count]}


@given(st.integers(0, 10_000), st.floats(0.001, 5.0))
def test_the_estimate_never_exceeds_the_true_kl(seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=50) * 3
    p, q = (np.exp(x) / np.exp(x).sum() for x in (logits, logits + random.normal(size=50) * spread))
    assert divergence(top_of(p, 10), top_of(q, 20)) <= full_kl(p, q) + 1e-6


@given(st.integers(0, 10_000))
def test_with_everything_listed_it_is_the_true_kl(seed: int) -> None:
    random = np.random.default_rng(seed)
    p, q = (random.dirichlet(np.full(12, 2.0)) + 1e-6 for _ in range(2))
    p, q = p / p.sum(), q / q.sum()
    assert divergence(top_of(p, 12), top_of(q, 12)) == pytest.approx(full_kl(p, q), rel=1e-4, abs=1e-6)


def test_disjoint_tops_are_far_apart() -> None:
    apart = divergence({1: math.log(0.7), 2: math.log(0.29)}, {8: math.log(0.8), 9: math.log(0.19)})
    assert apart > 2.0


def test_result_tells_the_worst(models: tuple[Base, Base, Path], tmp_path: Path) -> None:
    probes = [a_probe({1: 0.9, 2: 0.09}), a_probe({1: 0.5, 2: 0.49})]
    compared = [compare_one(probes[0], said({2: 0.9, 1: 0.09})), compare_one(probes[1], said({1: 0.5, 2: 0.49}))]
    result = judge(compared, Config(url="", model=""))
    assert result["worst"][0]["flips"][0]["served"] == 2
    assert json.dumps(result)

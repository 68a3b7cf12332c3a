"""Packed rows are the same computation as one record at a time."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from stoker.recipes import adapters, loading, packing, row_pass
from stoker.recipes.chatmask import Tokens
from stoker.recipes.cross_entropy import summed
from stoker.recipes.row_pass import RowPass
from stoker.recipes.training_plan import Plan, learning_rate
from tests.recipes.tiny_models import make_model, make_tokenizer, save_base

CPU = torch.device("cpu")
SIZES = adapters.Sizes(4, 8.0, 0.0, "all-linear", 3, 16, 8, "houlsby")


def record(*ids: int, trained: int) -> Tokens:
    """The last `trained` tokens are trained."""
    return Tokens(ids, tuple(place >= len(ids) - trained for place in range(len(ids))))


RECORDS = [
    record(5, 6, 7, 20, 21, 30, 31, trained=2),
    record(5, 6, 7, 22, 23, 24, 25, 32, 33, 34, trained=3),
    record(5, 6, 7, 26, 35, trained=1),
]


@pytest.fixture(scope="module", params=["llama", "qwen2", "gemma2"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = make_tokenizer()
    extra = {"head_dim": 16} if request.param == "gemma2" else {}
    model = make_model(request.param, len(tokenizer), **extra)
    return save_base(tmp_path_factory.mktemp(request.param), model, tokenizer)


def tuned(base: Path, method: adapters.Method) -> Any:
    from stoker.sources.basemodel import architecture

    model = loading.load_base(base, torch.float32, attention=row_pass.attention_for(architecture(base).family))
    torch.manual_seed(1)
    model = adapters.attach(model, method, SIZES)
    with torch.no_grad():
        for parameter in adapters.trainable(model).values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.mark.parametrize("method", ["full", "lora", "ptuning", "bottleneck", "ia3"])
def test_a_packed_row_has_the_loss_and_gradient_of_its_records(base: Path, method: adapters.Method) -> None:
    model = tuned(base, method)
    one_row = RowPass(model, CPU, torch.float32)
    shared = packing.common_beginning(RECORDS)
    assert shared == 3

    packed = one_row.loss(packing.pack(RECORDS, shared))
    packed.backward()
    together = {name: value.grad.clone() for name, value in adapters.trainable(model).items()}
    model.zero_grad()
    alone = sum(one_row.loss(packing.pack([item], 0)) for item in RECORDS)
    alone.backward()

    torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)
    for name, value in adapters.trainable(model).items():
        torch.testing.assert_close(together[name], value.grad, rtol=2e-3, atol=2e-4, msg=name)


def test_the_loss_is_that_of_the_plain_model(base: Path) -> None:
    plain = loading.load_base(base, torch.float32)
    ids = torch.tensor([RECORDS[1].ids])
    labels = torch.tensor([[token if counts else -100 for token, counts in zip(*astuple(RECORDS[1]), strict=True)]])
    with torch.no_grad():
        expected = plain(input_ids=ids, labels=labels).loss * 3
        model = loading.load_base(base, torch.float32)
        given = RowPass(model, CPU, torch.float32).loss(packing.pack([RECORDS[1]], 0))
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


def astuple(tokens: Tokens) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    return tokens.ids, tokens.trained


def test_the_common_beginning_stops_before_the_first_trained_token() -> None:
    same = [record(1, 2, 3, 4, trained=2), record(1, 2, 3, 9, trained=2)]
    assert packing.common_beginning(same) == 1
    assert packing.common_beginning(same[:1]) == 0


def test_rows_hold_every_record_once_and_no_more_tokens_than_asked() -> None:
    rows = list(packing.rows(RECORDS, 3, length=14))
    assert [len(row) for row in rows] == [14, 5]
    assert sum(len(row.targets) for row in rows) == 6


def test_a_record_longer_than_a_row_has_a_row_of_its_own() -> None:
    long = record(*range(40), trained=5)
    assert [len(row) for row in packing.rows([RECORDS[0], long, RECORDS[2]], 0, length=12)] == [7, 40, 5]


def test_text_is_cut_into_pieces_in_which_all_but_the_first_token_is_trained() -> None:
    pieces = list(packing.split_text(range(9), 4))
    assert [piece.ids for piece in pieces] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert pieces[0].trained == (False, True, True, True)


def test_cross_entropy_and_its_gradient_are_those_of_torch() -> None:
    torch.manual_seed(0)
    logits = torch.randn(70, 50, requires_grad=True)
    targets = torch.randint(0, 50, (70,))
    (summed(logits, targets) * 0.5).backward()
    ours = logits.grad.clone()
    logits.grad = None
    (torch.nn.functional.cross_entropy(logits, targets, reduction="sum") * 0.5).backward()
    torch.testing.assert_close(ours, logits.grad)


def test_an_epoch_sees_every_record_once_and_each_epoch_in_another_order() -> None:
    records = [record(1, 2, 100 + number, trained=1) for number in range(10)]
    plan = Plan(records, batch=4, row_tokens=64, packed=True, epochs=2, max_steps=0, seed=3)
    seen = [sorted(target for row in plan.rows(step) for target in row.targets) for step in range(plan.steps)]
    assert plan.steps == 6
    assert sorted(chain.from_iterable(seen[:3])) == list(range(100, 110))
    assert seen[0] != seen[3]
    assert plan.rows(4) == plan.rows(4)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    rates = [learning_rate(step, 20, 1.0, "cosine", 0.2) for step in range(21)]
    assert rates[3] == max(rates) == 1.0
    assert rates[0] == 0.25
    assert rates[20] == pytest.approx(0.0)
    assert learning_rate(19, 20, 1.0, "constant", 0.0) == 1.0

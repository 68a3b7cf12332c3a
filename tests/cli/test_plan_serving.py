"""stoker plan serving and stoker plan purchase, as people call them, and what they say to wrong input."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from tests.cli.conftest import Stoker

SERVING = ("plan", "serving", "qwen2.5-72b", "--gpu", "H20", "--rate", "40")
PURCHASE = ("plan", "purchase", "--cards", "H20,H100", "--serve", "qwen2.5-72b:40req/s")


@pytest.fixture
def prices(tmp_path: Path) -> str:
    """The example as it is shipped."""
    file = tmp_path / "prices.toml"
    file.write_text(files("stoker.perf").joinpath("catalogue", "prices.example.toml").read_text("utf-8"))
    return str(file)


def test_serving_ranks_layouts_and_counts_cost(alone: Stoker, prices: str) -> None:
    said = alone(*SERVING, "--prices", prices, "--explain")
    assert said.code == 0
    assert "not taken" in said.out
    assert "prompts take" in said.out
    plan = alone(*SERVING, "--prices", prices, "--json").json
    first = plan["best"][0]
    assert first["cards"] <= plan["best"][1]["cards"]
    assert first["cost_per_million_tokens"] == pytest.approx(first["cards"] * 8.0 / 3600 / 12000 * 1e6)
    assert first["expectations"]["tpot"]["value"] <= 0.05
    assert plan["available"] == 8


def test_purchase_compares_cards_with_the_users_prices(alone: Stoker, prices: str) -> None:
    said = alone(*PURCHASE, "--train", "13b:300e9-tokens/month", "--prices", prices)
    assert said.code == 0
    assert "of 30 days" in said.out
    assert "of your price" in said.out
    plan = alone(*PURCHASE, "--prices", prices, "--json").json
    assert plan["currency"] == "CNY"
    assert all(option["cost"] > 0 and option["basis"] for option in plan["options"])
    assert "no cost without your prices" in alone(*PURCHASE).out


def test_reports_speak_chinese(alone: Stoker) -> None:
    assert "未采用" in alone("--lang", "zh", *SERVING).out
    assert "每个数字的依据" in alone("--lang", "zh", *PURCHASE).out


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ((*SERVING, "--rate", "0"), "rate 0 was given"),
        ((*SERVING, "--tpot", "50"), '"50" is no latency; write for example 50ms'),
        ((*SERVING, "--tpot", "1ms"), "even alone; 1.0 ms are asked for"),
        ((*SERVING, "--engine", "vlm"), "near names: vllm"),
        ((*SERVING, "--quantisation", "int5"), "near names: int4"),
        (("plan", "serving", "qwen9", "--gpu", "H20", "--rate", "4"), 'no model "qwen9" in the catalogue'),
        ((*SERVING[:3], "--gpu", "H22", "--rate", "4"), "near names:"),
        ((*SERVING[:3], "--rate", "4"), "give either --cluster FILE or --gpu NAME"),
        (("plan", "purchase", "--cards", "H20"), "give what they are for"),
        (("plan", "purchase", "--cards", "H20", "--train", "13b:3"), "write MODEL:TOKENS/PERIOD"),
        (("plan", "purchase", "--cards", "H20", "--serve", "13b:3"), "write MODEL:RATE"),
        (("plan", "purchase", "--cards", "H20", "--train", "13b:e-tokens/day"), "must be a number above 0"),
        (("plan", "purchase", "--cards", ",", "--serve", "13b:3/s"), "write for example H20,H100"),
        ((*PURCHASE, "--prices", "/nowhere.toml"), "no /nowhere.toml"),
    ],
)
def test_wrong_input_is_answered_in_one_line(alone: Stoker, arguments: tuple[str, ...], answer: str) -> None:
    said = alone(*arguments)
    assert said.code == 2
    assert answer in said.err
    assert said.err.strip().count("\n") == 0


def test_a_price_file_is_read_strictly(alone: Stoker, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('currency = "CNY"\nasked = "now"\npower_per_kwh = 0.7\n[accelerators]\nH20 = {server = 1}\n')
    said = alone(*PURCHASE, "--prices", str(file))
    assert said.code == 2
    assert "there is no such field" in said.err

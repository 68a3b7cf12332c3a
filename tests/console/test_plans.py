"""The page of plans: the plan of the command line, drawn; wrong wishes are told in the page."""

from __future__ import annotations

import csv

import pytest

from stoker.console.plan_curve import curve
from stoker.console.plan_page import plain, stacked
from stoker.expectation import Expectation
from tests.console.page import Page
from tests.console.platform import Platform

PLAN = "card=H100-SXM5-80GB&count=1016&nics=8&speed=400Gb/s&model=QM9700&topology=rail&ratio=1"


def test_the_page_shows_the_plan_of_the_command_line(bare: Platform) -> None:
    with bare.visitor() as visitor:
        text = visitor.get(f"/plans?{PLAN}").text
    assert "127 servers, 32 leaves, 16 spines, 0 cores" in text
    assert 'class="link"' in text
    assert "what cannot be beaten, 403 GB/s" in text
    assert "MMA4Z00-NS400" in text
    assert "<style" not in text  # the policy forbids it


def test_the_picture_speaks_the_page_s_language(bare: Platform) -> None:
    with bare.visitor(language="zh") as visitor:
        text = visitor.get(f"/plans?{PLAN}").text
    assert "汇聚层 16 台" in text
    assert "spines" not in text


def test_lists_can_be_taken_along(bare: Platform) -> None:
    with bare.visitor() as visitor:
        answer = visitor.get(f"/plans/cables.csv?{PLAN}")
        unknown = visitor.get(f"/plans/prices.csv?{PLAN}")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert len(rows) == 1016 + 32 * 32
    assert rows[0]["upper"] == "leaf-g1-r1"
    assert unknown.status_code in (404, 422, 400)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("count=12", "above 8 in whole servers"),
        ("count=1e3", "write a whole number"),
        ("count=999999", "allowed are up to 200,000"),
        ("speed=800Gb/s", "it has 400 or 200 Gb/s"),
        ("speed=50GB/s", "bits are usual"),
        ("ratio=none", "a number of 1 or more"),
        ("model=QM97000", "near names: QM9700"),
        ("card=H1000", "near names"),
        ("topology=ring", "no topology"),
        ("count=100000", "use switches with more ports"),
        ("card=<script>", "no accelerator"),
    ],
)
def test_wrong_wishes_are_told_in_the_page(bare: Platform, wish: str, said: str) -> None:
    with bare.visitor() as visitor:
        answer = visitor.get(f"/plans?{wish}")
    assert answer.status_code == 200
    page = Page(answer.text)
    assert said in answer.text
    assert not page.inline


def test_a_viewer_may_plan_and_a_stranger_may_not(bare: Platform) -> None:
    with bare.visitor() as visitor:
        visitor.cookies.clear()
        answer = visitor.get(f"/plans/addresses.csv?{PLAN}", follow_redirects=False)
    assert answer.status_code in (303, 307, 401)


def test_the_curve_keeps_its_bounds_in_the_plot() -> None:
    bound = Expectation("bound", 400.0, 400.0, 400.0, "GB/s", "")
    steps = [Expectation("busbw", v, v * 0.8, min(400.0, v * 1.2), "GB/s", "") for v in (10.0, 200.0, 390.0)]
    drawn = curve((1 << 20, 1 << 21, 1 << 22), steps, bound)
    assert drawn.y_ticks == ("400", "300", "200", "100", "0")
    assert drawn.bound == 0
    assert drawn.line == "M0.0 97.5L50.0 50.0L100.0 2.5"
    assert drawn.x_ticks[0] == "1.0 MiB"
    assert drawn.x_ticks[-1] == "4.0 MiB"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("training", ("layouts looked at", "MFU", "matrix products", "a failure every")),
        ("serving", ("Replicas", "95th percentile", "What the numbers follow from")),
        ("purchase", ("H100-SXM5-80GB", "servers", "M CNY")),
        ("storage", ("in host memory, then in the background", "reads at least", "A checkpoint is")),
        ("memory", ("It fits", "optimiser", "there is")),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_of_plan_has_a_page_with_sensible_defaults(
    bare: Platform, kind: str, said: tuple[str, ...], language: str
) -> None:
    wish = {"training": "?count=16", "purchase": "?cards=H100&train=–&serve=llama-3.1-8b&rate=5"}.get(kind, "")
    with bare.visitor(language=language) as visitor:
        answer = visitor.get(f"/plans/{kind}{wish}")
    assert answer.status_code == 200
    assert 'role="alert"' not in answer.text
    assert "<rect" in answer.text
    assert not Page(answer.text).inline
    if language == "en":
        assert not [word for word in said if word.casefold() not in answer.text.casefold()]
    else:
        assert "规划" in answer.text


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("training?model=llama-70", "near names"),
        ("training?count=0", "write a whole number"),
        ("training?count=8&model=deepseek-v3", "fits"),
        ("training?count=100000", "allowed are up to 4,096"),
        ("training?model=/etc", "no model"),
        ("serving?rate=-1", "must be 0 or more"),
        ("serving?rate=0", "must be above 0"),
        ("serving?tpot=1us", "no layout serves"),
        ("serving?engine=vlm", "near names"),
        ("purchase?prices=H100:5", "card=price"),
        ("purchase?cards=,", "name 1 to 4"),
        ("purchase?train=–&serve=–", "to train, one to serve"),
        ("purchase?tokens=nan", "tokens nan"),
        ("storage?read=200", "200"),
        ("storage?keep=none", "write a whole number"),
        ("memory?tp=3", "tp 3"),
        ("memory?sharding=all", "allowed are"),
    ],
)
def test_wrong_plans_of_any_kind_are_told_in_the_page(bare: Platform, wish: str, said: str) -> None:
    with bare.visitor() as visitor:
        answer = visitor.get(f"/plans/{wish}")
    assert answer.status_code == 200
    assert 'role="alert"' in answer.text
    assert said in answer.text


def test_bars_add_up_to_the_scale_of_the_longest() -> None:
    drawn = stacked([("a", "4 s", {"x": 3.0, "y": 1.0}), ("b", "2 s", {"y": 2.0})], {"x": "X", "y": "Y", "z": "Z"})
    first, second = drawn.bars
    assert [(part.left, part.width) for part in first.segments] == [(0.0, 75.0), (75.0, 25.0)]
    assert [(part.left, part.width) for part in second.segments] == [(0.0, 50.0)]
    assert drawn.legend == ((1, "X"), (2, "Y"))  # what no bar has is not explained
    assert plain([("a", "", 1.0)], limit=2.0).bars[0].mark == 100.0

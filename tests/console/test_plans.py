"""The page of plans: the plan of the command line, drawn; wrong wishes are told in the page."""

from __future__ import annotations

import csv

import pytest

from stoker.console.plan_curve import curve
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

"""The page: one document, without a script, in which all policies are drawn."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from stoker.simulate import Settings, Trace, TracedJob, simulate
from stoker.simulate.inference import Demand, inference_of
from stoker.simulate.page import page
from stoker.simulate.picture import Axis, Line, chart, document
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import spec_of


def test_a_page_shows_each_policy_and_carries_everything() -> None:
    jobs = [TracedJob(number, 10.0 * number, 50.0, spec_of("j", 4, 4)) for number in range(1, 9)]
    outcome = simulate(Trace("a<b", jobs), nodes_of("1xH100:4"), Settings())
    text = page({"one": outcome, "x<y": outcome}, [("mean", ["1 s", "2 s"])], ["a note & more"])
    assert text.count("<svg") == 8
    assert "a&lt;b" in text
    assert "x&lt;y" in text
    assert "a note &amp; more" in text
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_page_with_inference_shows_what_it_needed_and_missed() -> None:
    jobs = [TracedJob(1, 0.0, 5000.0, spec_of("j", 2, 4))]
    inference = inference_of(Demand([0.0, 600.0], [1, 2], 1200.0))
    outcome = simulate(Trace("a", jobs, inference=inference), nodes_of("1xH100:4"), Settings())
    text = page({"one": outcome}, [], [])
    assert text.count("<svg") == 10
    assert "replicas of inference" in text


def test_charts_are_well_formed_and_thinned() -> None:
    line = Line("l", [(float(at), float(at % 97)) for at in range(10_000)])
    for svg in (chart("t", [line], Axis("x"), Axis("y")), document("t", [line], Axis("x", log=True), Axis("y"))):
        assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 - made here
        assert len(svg) < 40_000
    assert chart("t", [Line("l", [])], Axis("x"), Axis("y")) == ""

"""A site's measurements bend its curves, and the error before and after is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import BadInput
from stoker.perf.accelerator import accelerator
from stoker.perf.hardware import Hardware
from stoker.perf.layout import Layout, Workload
from stoker.perf.models import transformer
from stoker.perf.site import Measured, Product, Run, Stream, calibrate_site
from stoker.perf.stack import stack
from stoker.signal import Sample, Signal

CATALOGUE = Hardware("one", accelerator("H100"), 8)
SHAPES = [(512, 4096, 4096), (2048, 8192, 8192), (8192, 8192, 8192), (16384, 8192, 1024)]


def told(value: float, name: str) -> Signal:
    return Signal(name, "/s", "gpu-01", (Sample(0.0, value),))


def hot_site() -> Hardware:
    """Cards that keep 15 % less than the catalogue says, and whose memory is slower."""
    card = CATALOGUE.accelerator
    curves = replace(
        card.curves, sustained=card.curves.sustained * 0.85, memory_share=card.curves.memory_share * 0.9
    )
    return replace(CATALOGUE, accelerator=replace(card, curves=curves))


def measured() -> list[Measured]:
    site, nothing = hot_site(), told(1.0, "x")
    work = Workload(16, 4096)
    run = Run(transformer("llama-3.1-8b"), work, Layout(8, sharding="full"), stack("megatron"), nothing)
    found: list[Measured] = [*(Product(*shape, "bf16", nothing) for shape in SHAPES), Stream(4e9, nothing), run]
    return [replace(one, signal=told(one.predicted(site), type(one).__name__)) for one in found]


def test_a_hot_site_is_seen_and_the_error_falls() -> None:
    found = calibrate_site(CATALOGUE, measured())
    curves, catalogue = found.hardware.accelerator.curves, CATALOGUE.accelerator.curves
    assert curves.sustained / catalogue.sustained == pytest.approx(0.85, abs=0.03)
    assert curves.memory_share / catalogue.memory_share == pytest.approx(0.9, abs=0.03)
    assert max(found.after) < 0.03 < min(found.before)
    assert "after calibration on 6 measurements" in found.sentence()


def test_what_was_not_measured_stays_as_the_catalogue_has_it() -> None:
    found = calibrate_site(CATALOGUE, [Stream(4e9, told(2.2e12, "memory"))])
    assert found.hardware.accelerator.curves.sustained == CATALOGUE.accelerator.curves.sustained
    assert found.hardware.accelerator.curves.memory_share < CATALOGUE.accelerator.curves.memory_share


def test_the_catalogues_card_is_left_alone() -> None:
    before = CATALOGUE.accelerator.curves
    calibrate_site(CATALOGUE, measured())
    assert accelerator("H100").curves is before


@pytest.mark.parametrize(
    "signals", [[], [Stream(4e9, told(0.0, "memory"))], [Stream(4e9, Signal("m", "B/s", "g", ()))]]
)
def test_nothing_measured_is_no_calibration(signals: list[Measured]) -> None:
    with pytest.raises(BadInput, match=r"nothing was measured|no sample above 0"):
        calibrate_site(CATALOGUE, signals)

"""Which devices a job takes: one of several models, of several makers, slices only for who asks for them."""

from __future__ import annotations

import pytest

from stoker.cluster import Device, Node, accepts, profile_of
from stoker.engines.slurm.nodes import model_of
from stoker.job import JobSpec, Resources
from stoker.jobfile import read_jobfile
from stoker.schedule import unfit
from stoker.schedule.field import Field
from stoker.spelling import Accelerators, parse_accelerators


def node(name: str, *models: str, engine: str = "e", vendor: str = "nvidia") -> Node:
    devices = tuple(Device(index, model, vendor=vendor) for index, model in enumerate(models))
    return Node(name, engine, 64, 1 << 40, devices)


def asks(text: str, **fields: int) -> JobSpec:
    wish = parse_accelerators(text)
    return JobSpec(command=("x",), resources=Resources(wish.count, wish.models, wish.milli), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("H20|H100:8", Accelerators(8, ("H20", "H100"))),
        ("h20|910b", Accelerators(1, ("H20", "910B"))),
        ("mig-1g.10gb:2", Accelerators(2, ("mig-1g.10gb",))),
        ("1g.10GB", Accelerators(1, ("mig-1g.10gb",))),
        ("h100-1g.10gb:1", Accelerators(1, ("H100-1g.10gb",))),
        ("A100_3g.20gb+me:1", Accelerators(1, ("A100-3g.20gb+me",))),
    ],
)
def test_models_in_words(text: str, wish: Accelerators) -> None:
    assert parse_accelerators(text) == wish


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ("1g.10gb", "mig-1g.10gb"),
        ("a100_1g.5gb", "A100-1g.5gb"),
        ("nvidia_h100_80gb_hbm3_1g.10gb", "H100-1g.10gb"),
        ("nvidia_h100_80gb_hbm3", "H100"),
    ],
)
def test_slices_as_slurm_types_them(given: str, model: str) -> None:
    assert model_of(given) == model


def test_a_slice_is_taken_only_by_who_asks_for_it() -> None:
    assert profile_of("H100-1g.10gb") == "1g.10gb"
    assert profile_of("H100") == profile_of("RTX 4090") == ""
    assert accepts((), "H100")
    assert not accepts((), "H100-1g.10gb")
    assert not accepts(("H100",), "H100-1g.10gb")
    assert accepts(("mig-1g.10gb",), "H100-1g.10gb")
    assert accepts(("h100-1g.10gb",), "H100-1g.10gb")
    assert not accepts(("mig-1g.10gb",), "H100-2g.20gb")
    sliced = [node("s", *["H100-1g.10gb"] * 4, *["H100-3g.40gb"] * 1, "H100")]
    pool = Field.empty(sliced)
    assert pool.fit(asks("1"))[1][0].devices == (5,)
    assert pool.fit(asks("mig-1g.10gb:4"))[1][0].devices == (0, 1, 2, 3)
    assert pool.fit(asks("H100-3g.40gb"))[1][0].devices == (4,)
    assert pool.fit(asks("mig-2g.20gb"))[1] == ()
    assert "there are: H100, H100-1g.10gb, H100-3g.40gb" in unfit(asks("mig-2g.20gb"), sliced)


def test_makers_side_by_side() -> None:
    pool = Field.empty(
        [
            node("h", *["H20"] * 8, engine="slurm"),
            node("a", *["910B3"] * 8, engine="k8s", vendor="huawei"),
            node("d", *["K100"] * 8, engine="k8s", vendor="hygon"),
        ]
    )
    assert pool.fit(asks("910B3|K100:8"))[1][0].node == "a"
    assert pool.fit(asks("K100:8"))[1][0].node == "d"
    assert pool.fit(asks("H20|K100:8"))[0] == "slurm"


def test_any_of_several() -> None:
    text = "run: x\nresources: {any_of: [{accelerators: H20:8}, {gpus: H100:8}]}"
    assert read_jobfile(text).resources == Resources(8, ("H20", "H100"))
    for wrong in ("{accelerators: H20:8, any_of: [{gpus: H100:8}]}", "{any_of: [{cpus: 3}]}", "{any_of: H20:8}"):
        with pytest.raises(Exception, match="any_of is a list of accelerators"):
            read_jobfile(f"run: x\nresources: {wrong}")

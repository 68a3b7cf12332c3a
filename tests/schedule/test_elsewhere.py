"""Images and reservations: this machine has neither, and jobs that ask for them go to other engines."""

from __future__ import annotations

import pytest

from stoker.cluster import Node
from stoker.job import JobSpec
from stoker.schedule.field import Field
from stoker.schedule.unfit import unfit

HERE = Node("here", "local", cpus=4, memory=8 << 30)
THERE = Node("gpu0", "hpc", cpus=4, memory=8 << 30)


@pytest.mark.parametrize(
    ("field", "what"), [("image", "container image"), ("reservation", "reservation of Slurm's")]
)
def test_not_on_this_machine(field: str, what: str) -> None:
    spec = JobSpec(command=("true",), **{field: "x"})  # type: ignore[arg-type]
    assert what in unfit(spec, [HERE])
    assert unfit(spec, [HERE, THERE]) == ""
    field_ = Field.empty([HERE, THERE])
    assert field_.fitting(spec) == [THERE]
    assert len(field_.fitting(JobSpec(command=("true",)))) == 2

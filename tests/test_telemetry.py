"""What a job tells of itself is the user's: nothing in it may stop whoever reads."""

from __future__ import annotations

import pytest

from stoker.telemetry import read_telemetry

GOOD = b'{"kind": "progress", "at": 1.0, "step": 3, "total": 9, "values": {"loss": 0.5}}'


@pytest.mark.parametrize(
    "line",
    [
        b"torn {",
        b"[" * 100_000,
        b'{"kind": "progress", "at": "soon"}',
        b'{"kind": "progress", "at": [1]}',
        b'{"kind": "progress", "values": [1]}',
        b'{"kind": "progress", "step": "x", "total": {}}',
        b'{"kind": "progress", "values": {"loss": {}}}',
        b'{"kind": "progress", "values": {"huge": ' + b"9" * 400 + b"}}",
        b'{"kind": "expect", "name": "a", "value": '
        + b"9" * 400
        + b', "low": 1, "high": 2, "unit": "", "basis": ""}',
    ],
)
def test_a_strange_line_is_passed_over(line: bytes) -> None:
    told = read_telemetry([GOOD, line], "job/1")
    assert (told.step, told.total, dict(told.values)) == (3, 9, {"loss": 0.5})
    assert [sample.value for sample in told.signals["loss"].samples] == [0.5]

"""``stoker plan storage`` as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Stoker

POD = """servers: 128
resources:
  gpu: {type: H100, count: 8}
  cpu: {type: Xeon 8480+}
  memory: {size: 2TB, type: DDR5}
storage: {read: 10GB/s, write: 5GB/s, total_read: 500GB/s, total_write: 250GB/s, capacity: 2PB}
"""


@pytest.fixture
def pod(tmp_path: Path) -> str:
    file = tmp_path / "pod.yaml"
    file.write_text(POD)
    return str(file)


def test_the_report(alone: Stoker, pod: str) -> None:
    said = alone(
        "plan", "storage", "llama-3.1-70b", "--cluster", pod, "--drives", "4", "--dataset", "60TB", "--explain"
    )
    assert (said.code, said.err) == (0, "")
    assert "a checkpoint of 70.6 B parameters is 0.988 TB" in said.out
    assert "on the file system by GPUDirect Storage" in said.out
    assert said.out.count("enough") == 3
    assert "70.55 B parameters x 14 bytes" in said.out
    assert "NVMe: all servers together hold the data" in said.out


def test_json(alone: Stoker, pod: str) -> None:
    told = json.loads(alone("plan", "storage", "8e9", "--cluster", pod, "--json").out)
    assert told["checkpoint"]["value"] == 112e9
    assert [need["enough"] for need in told["needs"]] == [True, True, True]


def test_chinese_and_what_is_not_told(alone: Stoker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_LANG", "zh")
    said = alone("plan", "storage", "7e9", "--gpu", "H20", "--count", "64")
    assert "检查点" in said.out
    assert said.out.count("未说明") >= 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("llama-3.1-70x",), "near names"),
        (("-7e9",), "parameters"),
        (("7e9", "--data-rate", "20Gb/s"), "bytes are usual"),
        (("7e9", "--data-rate", "20GB/s", "--tokens-per-s", "5"), "give either"),
        (("7e9", "--every", "soon"), "no duration"),
        (("7e9", "--drives", "2", "--drive", "Gen7"), "no drive"),
    ],
)
def test_bad_input_is_one_line(alone: Stoker, arguments: tuple[str, ...], said: str) -> None:
    answer = (
        alone("plan", "storage", "--gpu", "H100", "--", *arguments)
        if arguments[0].startswith("-")
        else alone("plan", "storage", *arguments, "--gpu", "H100")
    )
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1

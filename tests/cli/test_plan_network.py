"""``stoker plan network`` as people run it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Stoker


def test_the_report_answers_what_to_buy_and_what_it_delivers(alone: Stoker) -> None:
    said = alone("plan", "network", "--gpu", "H100", "--count", "1016", "--explain")
    assert (said.code, said.err) == (0, "")
    assert "127 servers with 8 x H100-SXM5-80GB, 8 ports of 400 Gb/s each: 2 layers, by rails" in said.out
    assert "MMA4Z00-NS400" in said.out
    assert "all-reduce at most 403 GB/s" in said.out
    assert "datasheet: NVIDIA networking documentation" in said.out  # where the number of ports is from
    assert "nvls_tree Simple: launch" in said.out  # the formula of a time


def test_json_and_files_agree(alone: Stoker, tmp_path: Path) -> None:
    out = tmp_path / "net"
    said = alone("plan", "network", "--gpu", "H100", "--count", "256", "--json", "--out", str(out))
    told = json.loads(said.out)
    assert told["switches"] == {"leaf": 8, "spine": 4, "core": 0}
    rows = list(csv.DictReader((out / "cables.csv").read_text("utf-8").splitlines()))
    assert len(rows) == told["links"]["server"] + told["links"]["leaf_spine"]
    assert len((out / "addresses.csv").read_text().splitlines()) == 257
    assert ElementTree.fromstring((out / "network.svg").read_text("utf-8")).tag.endswith("svg")  # noqa: S314


def test_the_picture_speaks_the_language_of_the_caller(
    alone: Stoker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOKER_LANG", "zh")
    alone("plan", "network", "--gpu", "H100", "--count", "256", "--out", str(tmp_path))
    drawn = (tmp_path / "network.svg").read_text("utf-8")
    assert "接入层 8 台" in drawn
    assert "leaves" not in drawn


def test_a_cluster_file_tells_the_ports(alone: Stoker, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(
        "servers: 20\nresources:\n  gpu: {type: A100-80GB, count: 8}\n"
        "  nic: {type: ConnectX-6, count: 4, speed: 200Gb/s}\n"
    )
    said = alone("plan", "network", "--cluster", str(file), "--switch", "QM8700")
    assert "4 ports of 200 Gb/s" in said.out


def test_chinese(alone: Stoker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_LANG", "zh")
    said = alone("plan", "network", "--gpu", "H20", "--count", "1024", "--oversubscription", "3")
    assert "收敛比" in said.out
    assert "故障域" in said.out
    assert "光纤 10 m" in said.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--count", "0"), "0"),
        (("--switch", "QM97"), "near names: QM9700"),
        (("--speed", "400GB/s"), "bits are usual"),
        (("--speed", "800Gb/s"), "it has 400 or 200 Gb/s"),
        (("--topology", "ring"), "allowed are rail, spine-leaf, three-layer"),
        (("--nics", "-1"), "--nics -1"),
        (("--oversubscription", "0.2"), "oversubscription 0.2"),
        (("--count", "100000"), "use switches with more ports"),
        (("--nic", "ConectX-7"), "near names: ConnectX-7"),
    ],
)
def test_bad_input_is_one_line(alone: Stoker, arguments: tuple[str, ...], said: str) -> None:
    answer = alone("plan", "network", "--gpu", "H100", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_a_speed_given_as_an_adapter_is_asked_about(alone: Stoker) -> None:
    said = alone("plan", "network", "--gpu", "H100", "--count", "256", "--nic", "400Gb/s")
    assert said.code == 2
    assert "give --speed 400Gb/s" in said.err

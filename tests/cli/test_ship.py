"""`stoker ship` against a real platform, as far as it goes without training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.cli.ship import read_settings
from stoker.errors import BadInput
from tests.api.platform import Site
from tests.cli.conftest import Stoker


def records(path: Path, count: int) -> Path:
    path.write_text(
        "".join(json.dumps({"prompt": f"question {n}?", "completion": f"{n}"}) + "\n" for n in range(count))
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "ship needs data and a base model"),
        (["data.jsonl"], "ship needs data and a base model"),
        (["nowhere", "--base", "BASE"], "no data at nowhere"),
        (["empty", "--base", "BASE"], "is an empty folder"),
        (["data.jsonl", "--base", "no-such-model"], "no-such-model"),
        (["data.jsonl", "--base", "BASE", "--method", "qlora"], 'method "qlora" was given; allowed: lora'),
        (["data.jsonl", "--base", "BASE", "--set", "epochs=3"], "write STAGE.SETTING=VALUE"),
        (["data.jsonl", "--base", "BASE", "--set", "trian.epochs=3"], 'no stage "trian"'),
        (["data.jsonl", "--base", "BASE", "--name", "a/b"], "is no model name"),
        (["data.jsonl", "--base", "BASE", "--gpus", "a few"], "names no accelerators"),
        (["--resume", "ship-none"], "ship-none"),
    ],
)
def test_what_is_wrong_is_one_line_and_starts_nothing(
    stoker: Stoker, tmp_path: Path, base: str, arguments: list[str], says: str
) -> None:
    records(tmp_path / "data.jsonl", 3)
    (tmp_path / "empty").mkdir()
    before = stoker("ships", "--json").json
    said = stoker("ship", *(base if word == "BASE" else word for word in arguments))
    assert says in said.err
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert stoker("ships", "--json").json == before


def test_data_that_holds_nothing_fails_the_import_with_2(stoker: Stoker, tmp_path: Path, base: str) -> None:
    data = tmp_path / "bad.jsonl"
    data.write_text('{"prompt": "", "completion": ""}\n' * 3)
    said = stoker("ship", "bad.jsonl", "--base", base, "--name", "bad")
    assert said.code == 2
    assert " import     failed: " in said.out
    assert said.err.count("\n") == 1
    assert "stoker why ship-" in said.err
    [listed] = [one for one in stoker("ships", "--json").json if one["request"]["name"] == "bad"]
    assert listed["state"] == "failed"
    assert "import" in stoker("ships").out
    assert stoker("why", listed["id"]).code == 0
    assert "Remedy" in stoker("why", "bad").out


def test_ctrl_c_stops_watching_and_the_shipment_goes_on(
    stoker: Stoker, site: Site, tmp_path: Path, base: str
) -> None:
    stoker("run", "-J", "blocker", "--cpus", "8", "--", "sleep", "120")
    records(tmp_path / "data.jsonl", 3)
    code = "import sys; from stoker.cli import main; sys.exit(main())"
    with subprocess.Popen(
        (sys.executable, "-c", code, "ship", "data.jsonl", "--base", base, "--name", "detached"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    ) as process:  # fmt: skip
        client = site.client()
        while not (found := [one for one in client.shipments.list() if one.request.name == "detached"]):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert client.shipments.get(found[0].id).state == "running"
    if err:  # it had begun to watch
        assert f"{found[0].id} goes on" in err
    assert f"cancelled {found[0].id}" in stoker("cancel", found[0].id).out
    assert client.shipments.get(found[0].id).state == "cancelled"
    stoker("cancel", "blocker")


def test_detached_prints_the_id_alone(stoker: Stoker, tmp_path: Path, base: str) -> None:
    records(tmp_path / "data.jsonl", 4)
    said = stoker("ship", "data.jsonl", "--base", base, "--detach", "--gpus", "H100:2", "--set", "train.epochs=2")
    assert said.code == 0
    ship = said.out.strip()
    [shipment] = [one for one in stoker("ships", "--json").json if one["id"] == ship]
    assert shipment["request"]["name"] == "data"
    assert shipment["request"]["settings"] == {"train": {"epochs": 2}}
    assert shipment["request"]["resources"]["train"]["accelerators"] == 2
    stoker("cancel", ship)


def test_a_ship_file_says_it_all_and_options_win(stoker: Stoker, tmp_path: Path, base: str) -> None:
    (tmp_path / "kit").mkdir()
    records(tmp_path / "kit" / "tickets.jsonl", 4)
    file = tmp_path / "kit" / "ship.yaml"
    file.write_text(
        f"data: tickets.jsonl\nbase: {base}\nsettings: {{train: {{epochs: 2, batch: 8}}}}\n"
        "resources: {accelerators: H100:8}\nnum_nodes: 2\nmin_nodes: 1\npreemptible: true\n"
        "endpoint: {min: 0, max: 3, reserve: 1}\n"
    )
    said = stoker("ship", str(file), "--detach", "--set", "train.epochs=5", "--gpus", "H100:4")
    assert said.code == 0, said.err
    [request] = [one["request"] for one in stoker("ships", "--json").json if one["id"] == said.out.strip()]
    assert (request["name"], request["data"]) == ("tickets", str(tmp_path / "kit" / "tickets.jsonl"))
    assert request["settings"] == {"train": {"epochs": 5, "batch": 8}}
    assert request["resources"]["train"]["accelerators"] == 4
    assert (request["nodes"], request["min_nodes"], request["preemptible"]) == (2, 1, True)
    assert (request["endpoint"]["scaling"]["floor"], request["endpoint"]["scaling"]["reserve"]) == (0, 1)
    stoker("cancel", said.out.strip())
    refused = stoker("ship", str(file), "--detach", "--min-nodes", "3")
    assert refused.code == 2
    assert "min_nodes 3 was given; allowed is 1 to 2" in refused.err
    assert "no such file" in stoker("ship", str(tmp_path / "other.yaml")).err


def test_settings_are_json_where_they_can_be() -> None:
    given = [
        "train.epochs=3",
        "train.packing=false",
        "train.lr=2e-4",
        "evaluate.metric=contains",
        "train.note=a=b",
        "train.x=NaN",
    ]
    assert read_settings(given) == {
        "train": {"epochs": 3, "packing": False, "lr": 2e-4, "note": "a=b", "x": "NaN"},
        "evaluate": {"metric": "contains"},
    }
    for bad in ("epochs=3", "train.epochs", ".x=1", "train.=1", "=1"):
        with pytest.raises(BadInput, match="write STAGE"):
            read_settings([bad])

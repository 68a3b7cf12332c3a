"""A second input is held out, whatever it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_heldout_input_is_evaluated_on_and_never_trained_on(tmp_path: Path) -> None:
    for name, question in (("a.jsonl", "What is it?"), ("b.jsonl", "What was it?")):
        (tmp_path / name).write_text(json.dumps({"prompt": question, "completion": "A lamp."}) + "\n")
    spec = {
        "inputs": {"data": str(tmp_path / "a.jsonl"), "heldout": str(tmp_path / "b.jsonl")},
        "output": str(tmp_path / "out"),
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "stoker.recipes.import_data", str(tmp_path / "spec.json")]
    subprocess.run(command, check=True)
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert {record["messages"][0]["content"]: record["split"] for record in records} == {
        "What is it?": "train",
        "What was it?": "heldout",
    }

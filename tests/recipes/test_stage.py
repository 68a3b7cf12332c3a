"""The frame every recipe runs in: outputs are whole or not there, and a kill leaves nothing for good."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

RECIPE = """
import sys, time
from dataclasses import dataclass
from stoker.recipes import stage

@dataclass(frozen=True)
class Config:
    hang: bool = False

def run(stage):
    (stage.output / "model").write_text("half")
    if stage.config.hang:
        print("writing", flush=True)
        time.sleep(600)
    return {"made": 1}

stage.main(Config, run)
"""


def start(tmp_path: Path, *, hang: bool) -> subprocess.Popen[str]:
    program, spec = tmp_path / "recipe.py", tmp_path / f"spec-{hang}.json"
    program.write_text(RECIPE)
    spec.write_text(json.dumps({"output": str(tmp_path / "made" / "key"), "config": {"hang": hang}}))
    child = subprocess.Popen([sys.executable, str(program), str(spec)], stdout=subprocess.PIPE, text=True)
    if hang:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
    return child


def test_what_a_killed_attempt_left_is_removed_by_the_next_and_a_living_one_is_let_alone(tmp_path: Path) -> None:
    killed, living = start(tmp_path, hang=True), start(tmp_path, hang=True)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert len(list((tmp_path / "made").iterdir())) == 2
        with start(tmp_path, hang=False) as last:
            assert last.wait(60) == 0
        left = {entry.name for entry in (tmp_path / "made").iterdir()}
        assert left == {"key", f"key.partial-{living.pid}@{socket.gethostname()}"}
    finally:
        living.terminate()
        living.communicate()
    assert [entry.name for entry in (tmp_path / "made").iterdir()] == ["key"]
    assert json.loads((tmp_path / "made" / "key" / "result.json").read_text()) == {"made": 1}

"""Killed between any two steps and started again, the engine runs nothing twice and leaves nothing behind."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.typed import dump
from tests.engines.contract import end_of
from tests.engines.kubernetes import Site
from tests.engines.kubernetes_killed import CANCEL, FORGET, GANG, SUBMIT, finish, orders
from tests.labs.kubernetes import ROOT

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]
_NEVER = 1_000_000
_POINTS = 16  # of about 100


def run(folder: Path, point: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.engines.kubernetes_killed", str(folder / "spec.json"), str(point)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def prepare(site: Site, folder: Path) -> None:
    folder.mkdir()
    site.folder = folder / "engine"
    (folder / "secret").write_text("hush\n")
    spec = {"settings": dump(site.settings), "installation": site.installation}
    (folder / "spec.json").write_text(json.dumps(spec))


def check_recovery(site: Site, folder: Path) -> None:
    """What a platform does that was started again: hand over once more, go on from where its store says."""
    stage = (folder / "stage").read_text() if (folder / "stage").exists() else ""
    engine = site.open()
    known = engine.states()
    if stage in (SUBMIT, CANCEL):
        assert engine.submit(orders(folder)) == {}
        end_of(engine, GANG)
    if stage == FORGET:
        assert all(seen.state.final for seen in known.values())
        engine.forget(list(known))
    else:
        finish(engine, lambda _stage: None)
    assert engine.states() == {}
    engine.close()
    site.opened.clear()
    lines = sorted((folder / "mark").read_text().split()) if (folder / "mark").exists() else []
    begun = ["g0", "g1"] if stage else []
    assert lines in (begun, [*begun, "s"]), f"{stage}: {lines}"
    assert site.ours() == [], stage


def test_killed_between_any_two_steps(site: Site, tmp_path: Path) -> None:
    prepare(site, tmp_path / "whole")
    whole = run(tmp_path / "whole", _NEVER)
    assert whole.returncode == 0, whole.stderr
    count = int(whole.stdout)
    check_recovery(site, tmp_path / "whole")
    seed = random.SystemRandom().randrange(1 << 30)
    points = sorted(random.Random(seed).sample(range(1, count + 1), min(_POINTS, count)))  # noqa: S311
    for point in points:
        folder = tmp_path / str(point)
        prepare(site, folder)
        killed = run(folder, point)
        assert killed.returncode in (-9, 0), f"seed {seed}, point {point}: {killed.stderr}"
        try:
            check_recovery(site, folder)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, killed at step {point} of {count}: {error}") from error

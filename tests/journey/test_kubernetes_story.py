"""examples/kubernetes/story.sh as its reader runs it: a platform, a cluster, and the commands of a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.labs.kubernetes import ROOT, Kubernetes, cluster

from .platform import Platform

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]
__all__ = ["cluster"]
_STORY = ROOT / "examples" / "kubernetes" / "story.sh"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path / "home")
    platform.start().close()
    yield platform
    platform.stop()


def test_the_story_goes_as_it_is_told(cluster: Kubernetes, home: Platform, tmp_path: Path) -> None:
    cluster.namespace("stoker")
    paths = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environ = {
        **os.environ, "PATH": paths, "STOKER_URL": home.url, "STOKER_API_KEY": home.key, "LANG": "C",
        "XDG_CONFIG_HOME": str(tmp_path),
    }  # fmt: skip
    told = subprocess.run(
        [str(_STORY), str(cluster.kubeconfig)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    for line in (
        "engine prod added",
        "four rates tried, one model trained",
        "heard: rank 1 on gpu",
        "learning rate 3e-4 on gpu",
        "device 0",
        "engine prod removed",
    ):
        assert line in told.stdout, told.stdout
    assert "failed" not in told.stdout
    left = [
        f"{kind}/{one['metadata']['name']}"
        for kind in ("pods", "configmaps", "services", "secrets")
        for one in cluster.items(f"/api/v1/namespaces/stoker/{kind}")
        if one["metadata"]["name"].startswith("stk-")
    ]
    assert left == []

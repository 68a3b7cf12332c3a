"""`stoker endpoints` against a real platform."""

from __future__ import annotations

from pathlib import Path

from stoker.model import ModelVersion
from tests.api.platform import Site
from tests.cli.conftest import Stoker


def test_bounds_by_options_and_by_file(stoker: Stoker, site: Site, tmp_path: Path) -> None:
    draft = ModelVersion("bot", 0, 0.0, artifact="none", engine="vllm", base="base")
    site.app.endpoints._registry.register(draft, key="1", tenant="default")
    file = tmp_path / "bot.yaml"
    file.write_text("endpoint: {min: 0, max: 4, target: 16, ttft: 2s}")
    assert stoker("endpoints", "deploy", "bot", "1", "--file", str(file), "--reserve", "1").code == 0
    site.app.endpoints.switch("bot", 1)
    shown = stoker("endpoints", "show", "bot").out
    assert "[0-4]" in shown
    assert "16 requests at once for each replica, first token within 2 s, 1 ready above the need" in shown
    assert "after 15 min without a request; the next waits up to 2 min" in shown

    assert "[1-4]" in stoker("endpoints", "scale", "bot", "--min", "1").out
    scaling = stoker("endpoints", "show", "bot", "--json").json["scaling"]
    assert (scaling["target"], scaling["ttft"], scaling["reserve"]) == (16.0, 2.0, 1)
    refused = stoker("endpoints", "scale", "bot", "--replicas", "2", "--max", "3")
    assert refused.code == 2
    assert "replicas and min or max were given" in refused.err
    assert "no such file" in stoker("endpoints", "scale", "bot", "--file", "nowhere.yaml").err
    stoker("endpoints", "stop", "bot")

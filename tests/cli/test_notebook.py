"""``stoker notebook``, with a real JupyterLab where one is waited for."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.api.platform import Site
from tests.cli.conftest import Stoker


def test_one_that_cannot_run_is_refused_in_one_line(stoker: Stoker) -> None:
    said = stoker("notebook", "--gpus", "9")
    assert said.code != 0
    assert "9" in said.err
    assert stoker("notebook", "--idle", "soon").code == 2
    assert stoker("notebook", "--engine", "nowhere").code != 0


def test_it_waits_prints_its_link_and_stops(stoker: Stoker, tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab")
    said = stoker("notebook", "--gpus", "H100:1", "--idle", "30m", "-J", "mine")
    assert said.code == 0, said.err
    link = said.out.strip()
    assert "/lab?token=" in link
    assert "it ends after 30 min without use" in said.err
    token = link.partition("token=")[2]
    base = link.partition("lab?")[0]
    with httpx.Client(trust_env=False, headers={"Authorization": f"token {token}"}) as http:
        (tmp_path / "here.txt").touch()
        names = [one["name"] for one in http.get(base + "api/contents").json()["content"]]
        assert "here.txt" in names  # it opens the folder one is in
    number = base.rstrip("/").rpartition("/")[2]
    row = next(line for line in stoker("notebook", "list").out.splitlines() if line.split()[0] == number)
    assert row.split()[1:6] == ["mine", "admin", "ready", "1", "now"]
    assert stoker("notebook", "url", number).out.strip() == link
    assert stoker("notebook", "stop", number).code == 0
    stoker("wait", number)
    said = stoker("notebook", "url", number)
    assert said.code != 0
    assert "has ended" in said.err


def test_a_detached_one_is_found_again(stoker: Stoker, site: Site) -> None:
    said = stoker("notebook", "--detach", "--json", "--cpus", "1")
    job = said.json["job"]["id"]
    assert said.json["job"]["spec"]["kind"] == "notebook"
    assert said.json["idle_limit"] == 7200.0
    assert stoker("--lang", "zh", "notebook", "stop", str(job)).out == f"笔记本 {job} 正在结束\n"
    site.client().jobs.wait(job, timeout=60)
    assert stoker("notebook", "url", "999999").code != 0

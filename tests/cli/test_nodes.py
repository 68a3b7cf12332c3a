"""Nodes from the command line: listed, drained, moved between two engines that share machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.account import Role
from stoker.clock import ManualClock, SystemClock
from stoker.control.courier import Courier
from stoker.engine_config import EngineConfig
from tests.api.platform import Site, open_site
from tests.cli.conftest import Stoker
from tests.control.pool import Fate, Truth


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("home")) as opened:
        for name, place in (("slurm", "on-prem"), ("kubernetes", "cloud")):
            truth = Truth(name, Fate(ManualClock()))
            courier = Courier(truth, EngineConfig(name, "scripted", site=place), SystemClock(), steady=0.1)
            opened.app.roster.add(courier)
            courier.open()
        until(lambda: len(opened.app.nodes(opened.admin)) == 3)
        yield opened


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def truth(site: Site, name: str) -> Truth:
    courier = site.app.roster[name]
    assert isinstance(courier, Courier)
    assert isinstance(courier.behind, Truth)
    return courier.behind


def rows(stoker: Stoker) -> dict[tuple[str, str], list[str]]:
    """The table's lines by node and engine."""
    lines = stoker("nodes").out.split("\n\n")[0].splitlines()[1:]
    return {(line.split()[0], line.split()[-2]): line.split() for line in lines}


def test_the_list_tells_site_engine_and_what_others_hold(site: Site, stoker: Stoker) -> None:
    slurm = truth(site, "slurm")
    slurm.foreign = 1
    until(lambda: rows(stoker)["gpu3", "slurm"][-4] == "8")
    said = stoker("nodes").out.splitlines()
    assert " ".join(said[0].split()) == "NODE STATE CPUS MEMORY DEVICES FREE OTHERS JOBS ENGINE SITE"
    here = rows(stoker)
    assert here["gpu3", "slurm"][1] == "busy"
    assert here["gpu3", "slurm"][-6:] == ["H100:8", "H100:0", "8", "0", "slurm", "on-prem"]
    assert here["gpu3", "kubernetes"][-6:] == ["H100:8", "H100:0", "-", "0", "kubernetes", "cloud"]  # one machine
    slurm.foreign = 0
    until(lambda: rows(stoker)["gpu3", "slurm"][-5] == "H100:8")
    assert len(stoker("nodes", "--json").json) == 3


def test_a_drained_node_starts_nothing_until_it_is_undrained(site: Site, stoker: Stoker) -> None:
    name = next(node.name for node in site.app.nodes(site.admin) if node.engine == "local")
    assert stoker("nodes", "drain", name, "--reason", "fan  is loud").out == f"{name} takes no new work on local\n"
    assert "drained (fan is loud, admin)" in stoker("nodes").out
    number = stoker("run", "--engine", "local", "--", "true").out.split()[3]
    until(lambda: "Resources" in stoker("jobs").out or "ReqNodeNotAvail" in stoker("jobs").out)
    assert stoker("nodes", "drain", name, "--reason", "again").code == 2
    assert stoker("nodes", "undrain", name).out == f"{name} takes work again on local\n"
    assert stoker("wait", number).code == 0
    said = stoker("nodes", "undrain", name)
    assert (said.code, said.err) == (2, f"stoker: {name} is not drained\n")


def test_engines_that_can_are_told_by_a_reason_of_ours(site: Site, stoker: Stoker) -> None:
    slurm, kubernetes = truth(site, "slurm"), truth(site, "kubernetes")
    said = stoker("nodes", "drain", "gpu3", "--reason", "disk")
    assert said.out == "gpu3 takes no new work on slurm\ngpu3 takes no new work on kubernetes\n"
    assert slurm.closed_for == "disk (admin)"
    assert not kubernetes.open
    stoker("nodes", "undrain", "gpu3")
    assert slurm.open
    assert kubernetes.open
    slurm.closed_for = "root: raid"
    until(lambda: "(root: raid)" in stoker("nodes").out)
    said = stoker("nodes", "undrain", "gpu3")
    assert said.err == "stoker: gpu3 was not drained by this platform but is so on slurm: root: raid\n"
    slurm.closed_for = ""
    until(lambda: "raid" not in stoker("nodes").out)


def test_an_engine_that_is_away_is_told_later(site: Site, stoker: Stoker) -> None:
    kubernetes = truth(site, "kubernetes")
    kubernetes.fail = "before"
    said = stoker("nodes", "drain", "gpu3", "--engine", "kubernetes", "--reason", "disk")
    assert said.out == "gpu3 gets no new work from here; kubernetes is away and is told when it answers\n"
    assert "drained (disk, admin)" in stoker("nodes").out
    until(lambda: kubernetes.closed_for == "disk (admin)")
    local = next(node.name for node in site.app.nodes(site.admin) if node.engine == "local")
    assert (
        stoker("nodes", "undrain", local, "gpu3").out == "gpu3 takes work again on kubernetes\n"
    )  # the other is open
    assert kubernetes.open


def test_a_machine_goes_over_and_back(site: Site, stoker: Stoker) -> None:
    slurm, kubernetes = truth(site, "slurm"), truth(site, "kubernetes")
    slurm.foreign = 1
    until(lambda: rows(stoker)["gpu3", "slurm"][-4] == "8")
    said = stoker("nodes", "move", "gpu[3]", "--to", "kubernetes", "--reason", "a demo")
    assert said.out == "move 1: gpu3 leaves slurm for kubernetes; see: stoker nodes moves\n", said.err
    until(lambda: "held by slurm job 0 of bob" in stoker("nodes", "moves").out)
    assert "leaves for kubernetes" in stoker("nodes").out
    assert stoker("nodes", "drain", "gpu3", "--reason", "x").err.startswith("stoker: gpu3 is being moved")
    slurm.foreign = 0
    until(lambda: stoker("nodes", "moves", "--json").json == [])
    assert (slurm.open, kubernetes.open) == (False, True)
    assert "drained (moved to kubernetes, move 1)" in stoker("nodes").out
    said = stoker("nodes", "undrain", "gpu3")
    assert said.err.endswith("to have it back: stoker nodes move gpu3 --to slurm\n")
    said = stoker("nodes", "move", "gpu3", "--to", "slurm", "--wait")
    assert (said.code, slurm.open, kubernetes.open) == (0, True, False), said
    assert said.out.splitlines()[-1].split()[:5] == ["2", "gpu3", "kubernetes", "slurm", "done"]


def test_time_is_up_or_somebody_undoes_it(site: Site, stoker: Stoker) -> None:
    slurm = truth(site, "slurm")
    slurm.foreign = 1
    until(lambda: rows(stoker)["gpu3", "slurm"][-4] == "8")
    said = stoker("nodes", "move", "gpu3", "--to", "kubernetes", "--within", "1s", "--wait")
    assert (said.code, said.err, slurm.open) == (1, "stoker: 1 of 1 moves were undone\n", True)
    assert "not done within 1 s: held by slurm job 0 of bob" in said.out
    move = stoker("nodes", "move", "gpu3", "--to", "kubernetes", "--json").json[0]
    assert "stays on slurm; being put back" in stoker("nodes", "undo", str(move["id"])).out
    until(lambda: stoker("nodes", "moves", "--json").json == [])
    assert slurm.open
    assert [one["state"] for one in stoker("nodes", "moves", "--all", "--json").json][:2] == ["undone", "undone"]
    slurm.foreign = 0


def test_wrong_words_are_one_line(site: Site, stoker: Stoker, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, told in (
        (("move", "gpu[9-3]", "--to", "slurm"), "goes backwards"),
        (("move", "gpu4", "--to", "slurm"), 'no node "gpu4"; near names: gpu3'),
        (("move", "gpu3", "--to", "slum"), 'no engine "slum"; near names: slurm'),
        (("move", "gpu3", "--to", "local"), "gpu3 does not belong to local, only to slurm, kubernetes; add it"),
        (("drain", "gpu3", "--reason", " "), "say why in 1 to 200 printable characters"),
        (("undo", "99"), "no move 99; see: stoker nodes moves --all"),
        (("balance", "--off"), "name the two engines"),
        (("balance", "--between", "slurm", "slurm"), "name two engines"),
        (("balance", "--between", "slurm", "kubernetes", "--floor", "slurm"), "write for example slurm=2"),
    ):
        said = stoker("nodes", *arguments)
        assert (said.code, said.err.count("\n")) == (2, 1), said
        assert told in said.err
    monkeypatch.setenv("STOKER_API_KEY", site.key("uma", Role.USER))
    assert "admin is needed to move nodes" in stoker("nodes", "move", "gpu3", "--to", "kubernetes").err
    assert "admin is needed to drain nodes" in stoker("nodes", "drain", "gpu3", "--reason", "x").err
    assert stoker("nodes").code == 0


def test_machines_follow_the_queue_when_told_so(site: Site, stoker: Stoker) -> None:
    kubernetes = truth(site, "kubernetes")
    assert not kubernetes.open
    said = stoker(
        "nodes",
        "balance",
        "--between",
        "slurm",
        "kubernetes",
        "--floor",
        "kubernetes=1",
        "--patience",
        "0s",
        "--cool-down",
        "0s",
    )
    assert said.code == 0, said.err
    number = stoker("run", "--engine", "kubernetes", "--gpus", "8", "--", "true").out.split()[3]
    until(lambda: kubernetes.open)
    assert stoker("cancel", number).code == 0
    [report] = stoker("nodes", "balance", "--json").json
    assert report["balance"]["floors"] == {"kubernetes": 1}
    automatic = stoker("nodes", "moves", "--all", "--json").json[0]
    assert (automatic["automatic"], automatic["who"]) == (True, "balance")
    assert [line.split()[:2] for line in stoker("nodes", "balance").out.splitlines()[1:]] == [
        ["slurm", "kubernetes"],
        ["kubernetes", "slurm"],
    ]
    assert stoker("nodes", "balance", "--between", "kubernetes", "slurm", "--off").code == 0
    assert stoker("nodes", "balance", "--json").json == []


def test_in_chinese(site: Site, stoker: Stoker) -> None:
    del site
    assert "已停止调度" in stoker("--lang", "zh", "nodes").out or "空闲" in stoker("--lang", "zh", "nodes").out


def test_where_nodes_are_is_said_and_taken_back(site: Site, stoker: Stoker, tmp_path: Path) -> None:
    assert "LEAF" not in stoker("nodes", "topology").out
    file = tmp_path / "network.csv"
    file.write_text("host,ASW\ngpu3,s1\nelsewhere,s2\n")
    said = stoker("nodes", "topology", "apply", "-f", str(file)).out
    assert said == "2 nodes: leaf; 1 of them are in the pool\n"
    until(lambda: "LEAF" in stoker("nodes").out)
    assert "gpu3  slurm       s1" in stoker("nodes", "topology").out
    file.write_text("host,shelf\ngpu3,s1\n")
    assert stoker("nodes", "topology", "apply", "-f", str(file)).code == 2
    assert stoker("nodes", "topology", "clear").code == 2
    assert stoker("nodes", "topology", "clear", "--all").out == "forgotten\n"
    until(lambda: "LEAF" not in stoker("nodes").out)

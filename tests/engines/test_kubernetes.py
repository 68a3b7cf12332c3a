"""The Kubernetes engine on a real control plane: the contract, and what only it promises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.engine import Engine, Key, Order
from stoker.engines.kubernetes.settings import AFFINITY, AUTO, BIND
from stoker.job import JobSpec, JobState, Placement, Resources
from stoker.schedule import unfit
from stoker.schedule.field import Field
from stoker.topology import Level, Topology
from tests.engines.contract import EngineContract, Reopen, end_of, order, shell, wait_until
from tests.engines.kubernetes import Site, site_on, until, used
from tests.labs.kubernetes import Kubernetes

pytestmark = pytest.mark.kubernetes


@pytest.fixture
def reopen(site: Site) -> Reopen:
    return site.open


class TestContract(EngineContract):
    devices_seen = b"0,1\n"  # a container counts its own
    tells_saves = False
    private_modes = ("1777", "444")  # of a Secret's volume: the container around it is what keeps others away


# on a shared folder


@pytest.fixture
def shared(cluster: Kubernetes, tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "shared"
    folder.mkdir()
    yield from used(site_on(cluster, tmp_path, shared_volume=str(folder), shared_path=str(folder)))


@pytest.mark.slow
class TestContractOnASharedFolder(EngineContract):
    """What goes another way there: reports, packages, output files."""

    devices_seen, private_modes = TestContract.devices_seen, TestContract.private_modes

    @pytest.fixture
    def reopen(self, shared: Site) -> Reopen:
        return shared.open


def test_output_files_on_the_shared_folder_are_read_there(shared: Site) -> None:
    engine = shared.open()
    out = f"{shared.settings.shared_path}/out-%j-%x.txt"
    one = order(engine, shell("echo to the file; echo wrong >&2", name="n", stdout=out, stderr=f"{out}.err"))
    engine.submit([one])
    assert end_of(engine, one.key).state is JobState.SUCCEEDED
    assert engine.logs(one.key) == b"to the file\n"
    assert engine.logs(one.key, stream="stderr") == b"wrong\n"
    assert Path(f"{shared.settings.shared_path}/out-1-n.txt").read_text() == "to the file\n"


def test_a_job_cannot_make_us_read_other_files(shared: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    engine = shared.open()
    one = order(engine, shell(f"ln -s {secret} $STOKER_PROBE"))
    engine.submit([one])
    end_of(engine, one.key)
    assert engine.probe(one.key) == b""


# gangs


def gang(engine: Engine, spec: JobSpec, nodes: int = 3, devices: int = 8, job: int = 1) -> Order:
    names = [node.name for node in engine.inventory()][:nodes]
    need = replace(spec.resources, accelerators=devices)
    wanted = replace(spec, nodes=nodes, each_node=True, resources=need)
    return Order(Key(job, 1), wanted, tuple(Placement(name, tuple(range(devices))) for name in names), owner="ann")


@pytest.mark.parametrize("placement", [AUTO, AFFINITY, BIND])
def test_the_ranks_of_a_gang_meet(site: Site, placement: str) -> None:
    engine = site.open(placement=placement)
    talk = (
        "import os, socket, sys, time\n"
        "rank, port = int(os.environ['STOKER_NODE_RANK']), int(os.environ['MASTER_PORT'])\n"
        "if rank == 0:\n"
        "    server = socket.create_server(('', port))\n"
        "    heard = sorted(server.accept()[0].recv(9).decode() for _ in range(2))\n"
        "    print(os.environ['STOKER_NODE_NAMES'], *heard)\n"
        "else:\n"
        "    for _ in range(300):\n"
        "        try:\n"
        "            socket.create_connection((os.environ['MASTER_ADDR'], port)).sendall(b'rank%d' % rank)\n"
        "            break\n"
        "        except OSError: time.sleep(0.1)\n"
    )
    one = gang(engine, JobSpec(command=(sys.executable, "-c", talk)))
    engine.submit([one])
    assert end_of(engine, one.key).state is JobState.SUCCEEDED
    assert engine.logs(one.key) == b"gpu0 gpu1 gpu2 rank1 rank2\n"
    engine.forget([one.key])
    assert site.ours() == []


def leaf_of_each(engine: Engine) -> dict[str, str]:
    return {node.name: node.domain(Level.LEAF) for node in engine.inventory()}


def test_labels_tell_where_nodes_are_and_a_gang_stays_on_one_leaf(site: Site) -> None:
    label = "network.topology.nvidia.com/leaf"
    leaves = {"gpu0": "s1", "gpu1": "s2", "gpu2": "s1", "gpu3": "s3"}

    def say(told: dict[str, str | None]) -> None:
        for name, leaf in told.items():
            body = {"metadata": {"labels": {label: leaf}}}
            site.cluster.call("PATCH", f"/api/v1/nodes/{name}", body, kind="application/merge-patch+json")

    engine = site.open()
    try:
        say({**leaves})
        until(lambda: leaf_of_each(engine) == leaves, "the labels are seen")
        wish = Topology(required=Level.LEAF)
        spec = replace(shell("echo $STOKER_NODE_NAMES"), nodes=2, each_node=True, topology=wish)
        spec = replace(spec, resources=Resources(accelerators=8))
        where, placements = Field.empty(engine.inventory()).fit(spec)
        assert (where, [placed.node for placed in placements]) == ("k8s", ["gpu0", "gpu2"])
        assert unfit(replace(spec, nodes=3), engine.inventory()).startswith("asks for 3 nodes of one leaf")
        engine.submit([Order(Key(1, 1), spec, placements, owner="ann")])
        assert end_of(engine, Key(1, 1)).state is JobState.SUCCEEDED
        assert engine.logs(Key(1, 1)) == b"gpu0 gpu2\n"
    finally:
        say(dict.fromkeys(leaves))


def test_when_a_rank_fails_the_others_are_ended_and_it_is_the_cause(site: Site) -> None:
    engine = site.open()
    text = 'echo I am $STOKER_NODE_RANK; [ $STOKER_NODE_RANK = 1 ] && exit 9; trap "echo bye; exit 0" TERM; '
    one = gang(engine, shell(text + "while :; do sleep 0.05; done", grace=20))
    engine.submit([one])
    seen = end_of(engine, one.key)
    assert (seen.state, seen.exit_code, seen.message) == (JobState.FAILED, 9, "rank 1: exit code 9")
    assert engine.logs(one.key) == b"I am 0\nbye\n"
    assert engine.logs(one.key, stream="rank-1") == b"I am 1\n"


def test_nothing_of_a_gang_runs_when_one_pod_is_refused(site: Site, tmp_path: Path) -> None:
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
    site.cluster.call("POST", f"/api/v1/namespaces/{site.namespace}/resourcequotas", quota)
    path = f"/api/v1/namespaces/{site.namespace}/resourcequotas/few"
    until(lambda: site.cluster.call("GET", path)["status"].get("hard"), "the quota is in force")
    engine = site.open()
    one = gang(engine, shell(f"echo ran >> {tmp_path}/ran"))
    assert engine.submit([one]) == {}
    seen = wait_until(engine, one.key, lambda seen: seen.reason == "ExceededQuota")
    assert seen.state is JobState.STARTING
    assert "few" in seen.message
    assert [name for name in site.ours() if name.startswith("pods/")] == []
    assert not (tmp_path / "ran").exists()
    site.cluster.call("PATCH", path, {"spec": {"hard": {"pods": "3"}}}, kind="application/merge-patch+json")
    assert end_of(engine, one.key).state is JobState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "ran\n" * 3


def test_a_node_takes_no_more_pods_than_it_may(site: Site) -> None:
    assert {node.slots for node in site.open().inventory()} == {110}

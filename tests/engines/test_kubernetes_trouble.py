"""The Kubernetes engine when things go wrong: nodes, the API server, other people, images, credentials."""

from __future__ import annotations

import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.engine import Engine, Key, Order
from stoker.engines.kubernetes import KubernetesEngine, KubernetesSettings
from stoker.errors import Away, BadInput, Conflict, NotFound
from stoker.job import JobSpec, JobState, Placement, Resources
from tests.engines.contract import begun, end_of, order, shell, wait_until
from tests.engines.kubernetes import Site, site_on, until
from tests.labs.daemons import free_ports
from tests.labs.kubernetes import Kubernetes

pytestmark = pytest.mark.kubernetes

SLEEPS = shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")


def on(node: str, spec: JobSpec, job: int = 1, devices: tuple[int, ...] = ()) -> Order:
    return Order(Key(job, 1), spec, (Placement(node, devices),), owner="ann")


def pods_path(site: Site) -> str:
    return f"/api/v1/namespaces/{site.namespace}/pods"


# nodes


def test_the_inventory_tells_devices_by_their_model(site: Site) -> None:
    nodes = site.open().inventory()
    assert [node.name for node in nodes] == ["gpu0", "gpu1", "gpu2", "gpu3"]
    assert [device.model for device in nodes[0].devices] == ["H100"] * 8
    assert (nodes[0].cpus, nodes[0].memory, nodes[0].address) == (192, 2 << 40, "127.0.0.1")


def test_a_dead_node_ends_its_jobs_and_is_not_offered(site: Site) -> None:
    engine = site.open()
    one = on("gpu3", SLEEPS)
    engine.submit([one])
    begun(engine, one.key)
    wait_until(engine, one.key, lambda _seen: engine.logs(one.key) == b"up\n")
    try:
        site.cluster.die("gpu3")
        site.cluster.wait(
            lambda: "deletionTimestamp" in site.pod(one.key)["metadata"], "Kubernetes does not notice"
        )
        seen = end_of(engine, one.key)
        assert (seen.state, seen.reason) in (
            (JobState.NODE_FAIL, "NodeFail"),
            (JobState.NODE_FAIL, "TaintManagerEviction"),
            (JobState.NODE_FAIL, "NodeNotReady"),
        )
        assert "gpu3" in seen.message
        node = next(node for node in engine.inventory() if node.name == "gpu3")
        assert not node.schedulable
        assert node.reason.startswith("NotReady in Kubernetes")
        assert engine.logs(one.key) == b"up\n"
        engine.forget([one.key])
        assert site.ours() == []
    finally:
        site.cluster.revive("gpu3")
        site.cluster.wait(lambda: len(site.cluster.ready_nodes()) == 4, "gpu3 does not come back")


def test_draining_is_undone_only_by_us_and_for_the_same_reason(site: Site) -> None:
    engine, path = site.open(), "/api/v1/nodes/gpu2"

    def cordoned() -> bool:
        return bool(site.cluster.call("GET", path)["spec"].get("unschedulable"))

    engine.drain("gpu2", "move 12")
    engine.drain("gpu2", "move 12")
    node = until(lambda: [node for node in engine.inventory() if not node.schedulable], "it is seen")[0]
    assert (node.name, node.reason) == ("gpu2", "drained: move 12")
    with pytest.raises(Conflict, match="move 12"):
        engine.undrain("gpu2", "another")
    engine.undrain("gpu2", "move 12")
    assert not cordoned()
    site.cluster.call("PATCH", path, {"spec": {"unschedulable": True}}, kind="application/merge-patch+json")
    engine.drain("gpu2", "move 13")
    with pytest.raises(Conflict, match="somebody else"):
        engine.undrain("gpu2", "move 13")
    assert cordoned()
    site.cluster.call("PATCH", path, {"spec": {"unschedulable": None}}, kind="application/merge-patch+json")
    with pytest.raises(NotFound):
        engine.drain("gpu99", "move 12")


def test_a_node_that_is_not_there_is_told_in_one_line(site: Site) -> None:
    engine = site.open()
    assert engine.submit([on("gpu99", SLEEPS)]) == {Key(1, 1): 'there is no node "gpu99" in the cluster any more'}
    assert engine.states() == {}


# other people


def test_a_pod_that_somebody_deletes_is_cancelled_by_the_engine_and_keeps_its_log(site: Site) -> None:
    engine = site.open()
    one = on("gpu0", SLEEPS)
    engine.submit([one])
    wait_until(engine, one.key, lambda _seen: engine.logs(one.key) == b"up\n")
    site.cluster.call("DELETE", f"{pods_path(site)}/{site.pod(one.key)['metadata']['name']}")
    seen = end_of(engine, one.key)
    assert (seen.state, seen.reason) == (JobState.CANCELLED, "Deleted")
    assert "somebody else" in seen.message
    assert engine.logs(one.key) == b"up\nbye\n"


def test_an_evicted_pod_is_told_in_kubernetes_words(site: Site) -> None:
    engine = site.open()
    one = on("gpu0", SLEEPS)
    engine.submit([one])
    begun(engine, one.key)
    site.cluster.evict(site.pod(one.key)["metadata"]["name"])
    seen = end_of(engine, one.key)
    assert (seen.state, seen.reason) == (JobState.NODE_FAIL, "Evicted")
    assert seen.message == "The node was low on resource: ephemeral-storage."


def test_the_clusters_scheduler_may_preempt_us(site: Site) -> None:
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    site.cluster.call("POST", classes, {"metadata": {"name": site.namespace}, "value": 1000})
    engine = site.open()
    one = on("gpu1", replace(SLEEPS, resources=Resources(accelerators=8), grace=5.0), devices=tuple(range(8)))
    engine.submit([one])
    wait_until(engine, one.key, lambda _seen: engine.logs(one.key) == b"up\n")
    limits = {"limits": {"nvidia.com/gpu": "8"}}
    urgent = {
        "metadata": {"name": "urgent"},
        "spec": {
            "priorityClassName": site.namespace,
            "nodeSelector": {"kubernetes.io/hostname": "gpu1"},
            "containers": [{"name": "c", "image": "lab/sleep-600", "resources": limits}],
        },
    }
    site.cluster.call("POST", pods_path(site), urgent)
    seen = end_of(engine, one.key)
    assert (seen.state, seen.reason) == (JobState.PREEMPTED, "Preempted")
    assert engine.logs(one.key) == b"up\nbye\n"
    foreign = until(lambda: [job for job in engine.others() if job.state is JobState.RUNNING], "it is seen")
    assert (foreign[0].id, foreign[0].held[0].devices) == (f"{site.namespace}/urgent", 8)
    site.cluster.call("DELETE", f"{pods_path(site)}/urgent?gracePeriodSeconds=0")
    site.cluster.call("DELETE", f"{classes}/{site.namespace}")


def test_what_is_not_ours_is_seen_and_never_touched(site: Site) -> None:
    """Other things of the same namespace, some with labels like ours, outlive every one of our calls."""
    alike = {"stoker/installation": "000000000000", "stoker/job": "1", "stoker/attempt": "1", "stoker/rank": "0"}
    pod = {
        "metadata": {"name": "theirs", "labels": alike},
        "spec": {"containers": [{"name": "c", "image": "lab/sleep-600"}]},
    }
    space = f"/api/v1/namespaces/{site.namespace}"
    site.cluster.call("POST", f"{space}/pods", pod)
    service = {"metadata": {"name": "theirs", "labels": alike}, "spec": {"ports": [{"port": 80}]}}
    site.cluster.call("POST", f"{space}/services", service)
    for kind in ("configmaps", "secrets"):
        site.cluster.call("POST", f"{space}/{kind}", {"metadata": {"name": "theirs", "labels": alike}})
    engine = site.open()
    assert engine.states() == {}
    one = order(engine, JobSpec(script="#!/bin/sh\nsleep 600\n"))
    engine.submit([one])
    begun(engine, one.key)
    assert [job.id for job in engine.others() if job.queue == site.namespace] == [f"{site.namespace}/theirs"]
    engine.cancel([one.key], grace=0)
    end_of(engine, one.key)
    engine.forget([one.key])
    assert site.ours() == []
    for kind in ("pods", "services", "configmaps", "secrets"):
        assert "theirs" in [one["metadata"]["name"] for one in site.items(kind)]
    site.cluster.call("DELETE", f"{space}/pods/theirs?gracePeriodSeconds=0")


# images, memory, containers


@pytest.mark.parametrize(
    ("image", "word"),
    [("missing/image:1", "ImagePullBackOff"), ("Not A Name", "InvalidImageName")],
)
def test_an_image_that_cannot_be_had_ends_the_attempt(site: Site, image: str, word: str) -> None:
    engine = site.open(image_patience=1.0)
    one = order(engine, replace(SLEEPS, image=image))
    engine.submit([one])
    seen = end_of(engine, one.key)
    assert (seen.state, seen.reason) == (JobState.FAILED, word)
    assert image in seen.message
    assert "\n" not in seen.message


def test_while_it_waits_for_its_image_it_says_so(site: Site) -> None:
    engine = site.open()
    one = order(engine, replace(SLEEPS, image="missing/image:1"))
    engine.submit([one])
    seen = wait_until(engine, one.key, lambda seen: seen.reason == "ImagePullBackOff")
    assert seen.state is JobState.STARTING
    assert "not found" in seen.message


def test_too_much_memory_is_told_apart_from_a_failure(site: Site) -> None:
    engine = site.open()
    spec = JobSpec(
        command=(sys.executable, "-c", "x = bytearray(300 << 20); import time; time.sleep(60)"),
        resources=Resources(memory=100 << 20),
    )
    one = order(engine, spec)
    engine.submit([one])
    seen = end_of(engine, one.key)
    assert (seen.state, seen.reason) == (JobState.OUT_OF_MEMORY, "OOMKilled")


def test_a_job_that_finds_no_room_says_why(site: Site) -> None:
    engine = site.open()
    one = on("gpu0", replace(SLEEPS, resources=Resources(cpus=4000)))
    engine.submit([one])
    seen = wait_until(engine, one.key, lambda seen: seen.reason == "Unschedulable")
    assert seen.state is JobState.STARTING
    assert "Insufficient cpu" in seen.message


def test_more_than_a_quota_ever_allows_is_refused(site: Site) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"requests.nvidia.com/gpu": "1"}}}
    path = f"/api/v1/namespaces/{site.namespace}/resourcequotas"
    site.cluster.call("POST", path, quota)
    until(lambda: site.cluster.call("GET", f"{path}/none")["status"].get("hard"), "the quota is in force")
    engine = site.open()
    one = on("gpu0", replace(SLEEPS, resources=Resources(accelerators=2)), devices=(0, 1))
    refused = engine.submit([one])
    assert "more than the quota none ever allows" in refused[one.key]
    assert engine.states() == {}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (replace(SLEEPS, resources=Resources(accelerators=1, milli=500)), "whole devices"),
        (replace(SLEEPS, nodes=2), "each_node"),
        (JobSpec(script="#!/bin/sh\n" + "#" * 1_000_000), "larger than"),
    ],
)
def test_what_can_never_run_is_refused_with_the_way_out(site: Site, spec: JobSpec, told: str) -> None:
    engine = site.open()
    one = Order(Key(1, 1), spec, tuple(Placement(f"gpu{rank}", (0,)) for rank in range(spec.nodes)))
    assert told in engine.submit([one])[one.key]


# the API server


@pytest.mark.slow
def test_while_the_api_server_is_away_nothing_is_lost(cluster: Kubernetes, site: Site) -> None:
    engine = site.open()
    runs, ends = on("gpu0", SLEEPS, job=1), on("gpu1", shell("sleep 2; echo done"), job=2)
    engine.submit([runs, ends])
    begun(engine, runs.key)
    begun(engine, ends.key)
    cluster.kill_api_server()
    try:
        with pytest.raises(Away, match="does not answer"):
            until(lambda: engine.states() is None, "it is noticed", 10)
        for call in (engine.inventory, lambda: engine.submit([on("gpu2", SLEEPS, job=3)])):
            with pytest.raises(Away):
                call()
        time.sleep(2)
    finally:
        cluster.start_api_server()
    until(lambda: answers(engine), "it answers again")
    assert end_of(engine, ends.key).state is JobState.SUCCEEDED
    assert engine.logs(ends.key) == b"done\n"
    assert engine.states()[runs.key].state is JobState.RUNNING
    cluster.wait(lambda: len(cluster.ready_nodes()) == 4, "the nodes do not come back")


def answers(engine: Engine) -> bool:
    try:
        engine.states()
    except Away:
        return False
    return True


@pytest.mark.slow
def test_a_watch_that_is_too_old_begins_anew(cluster: Kubernetes, site: Site) -> None:
    engine = site.open()
    one = on("gpu0", SLEEPS)
    engine.submit([one])
    begun(engine, one.key)
    cluster.kill_api_server()  # it remembers what happened since its start: now the beginning is too old
    cluster.start_api_server()
    until(lambda: answers(engine), "it answers again")
    before = engine._pods.lists

    def sleep_long() -> None:  # on the engine's own loop: an event that comes between would renew the version
        for task in [task for task in engine._background._tasks if "Mirror.run" in str(task)]:
            task.cancel()
        engine._pods._version = "1"
        engine._background.spawn(engine._pods.run())

    engine._background.loop.call_soon_threadsafe(sleep_long)
    until(lambda: engine._pods.lists > before, "everything is listed again")
    assert engine.states()[one.key].state is JobState.RUNNING


def test_asking_costs_nothing_however_many_jobs_there_are(site: Site) -> None:
    engine = site.open()
    many = [
        on(f"gpu{job % 4}", replace(SLEEPS, command=("true",), image="lab/sleep-600"), job) for job in range(1, 41)
    ]
    engine.submit(many[:2])
    for one in many[:2]:
        begun(engine, one.key)
    costs = []
    for more in (many[2:2], many[2:]):
        engine.submit(more)
        for one in more:
            begun(engine, one.key)
        before = engine.calls
        for _ in range(10):
            engine.states()
            engine.inventory()
            engine.others()
        costs.append(engine.calls - before)
    assert costs == [0, 0]


# access


def test_no_such_namespace_is_told(cluster: Kubernetes, tmp_path: Path) -> None:
    site = site_on(cluster, tmp_path)
    engine = site.open(namespace="nowhere")
    with pytest.raises(Away, match='no namespace "nowhere"'):
        engine.submit([on("gpu0", SLEEPS)])
    engine.close()


def test_a_wrong_token_is_told_and_a_renewed_kubeconfig_heals(cluster: Kubernetes, tmp_path: Path) -> None:
    site = site_on(cluster, tmp_path)
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig", "expired")
    engine = site.open(kubeconfig=str(kubeconfig))
    with pytest.raises(Away, match="does not accept the credentials of"):
        engine.states()
    cluster.write_kubeconfig(kubeconfig, cluster.token)
    until(lambda: answers(engine), "it has read the new one", 20)
    engine.close()


def test_a_rotated_token_file_is_read_again(cluster: Kubernetes, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("expired\n")
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig", "", tokenFile="token")
    site = site_on(cluster, tmp_path)
    engine = site.open(kubeconfig=str(kubeconfig))
    with pytest.raises(Away, match="does not accept"):
        engine.states()
    token.write_text(f"{cluster.token}\n")
    until(lambda: answers(engine), "it has read the new one", 20)
    engine.close()


def test_an_exec_plugin_is_asked_again_when_its_token_is_refused(cluster: Kubernetes, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!/bin/sh\ncd {tmp_path}; echo x >> asked; token=expired; [ $(wc -l < asked) -gt 1 ] && token=$GOOD\n"
        """printf '{"kind": "ExecCredential", "status": {"token": "%s"}}' $token\n"""
    )
    plugin.chmod(0o755)
    env = [{"name": "GOOD", "value": cluster.token}]
    how = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "env": env}
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig", "", exec=how)
    engine = site_on(cluster, tmp_path).open(kubeconfig=str(kubeconfig))
    assert engine.states() == {}
    assert (tmp_path / "asked").read_text().count("x") == 2
    engine.close()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("{", "no YAML"),
        ("[]", "no kubeconfig"),
        ("{contexts: [{name: prod, context: {cluster: c}}]}", 'no context "lab"'),
        ("{contexts: [{name: lab, context: {cluster: c}}]}", 'no cluster "c"'),
    ],
)
def test_a_kubeconfig_that_is_none_is_told(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    settings = KubernetesSettings(kubeconfig=str(path), context="lab")
    with pytest.raises(BadInput, match=told):
        KubernetesEngine("k8s", settings, tmp_path / "engine", "0" * 12)


# services


@pytest.mark.allow_hosts(["127.0.0.0/8"])
@pytest.mark.parametrize("reach", ["forward", "auto"])
def test_what_a_job_listens_on_is_reached(site: Site, reach: str, tmp_path: Path) -> None:
    engine = site.open(reach=reach)
    [inner] = free_ports(1)
    (tmp_path / "hello").write_text("from the pod\n" * 10_000)
    one = order(engine, JobSpec(command=(sys.executable, "-m", "http.server", str(inner), "-d", str(tmp_path))))
    with pytest.raises(Away, match="no pod"):
        engine.connect(one.key, inner)
    engine.submit([one])
    wait_until(engine, one.key, lambda _seen: b"Serving HTTP" in engine.logs(one.key))
    host, port = engine.connect(one.key, inner)
    assert (host == "127.0.0.1") is (reach == "forward")
    assert engine.connect(one.key, inner) == (host, port)
    for _ in range(2):
        with urllib.request.urlopen(f"http://{host}:{port}/hello", timeout=10) as reply:
            assert reply.read() == b"from the pod\n" * 10_000


# while we were not looking


def test_a_pod_deleted_while_no_platform_ran_is_told_as_such(site: Site) -> None:
    engine = site.open()
    one = order(engine, JobSpec(script="#!/bin/sh\nsleep 600\n"))
    engine.submit([one])
    begun(engine, one.key)
    engine.close()
    path = f"{pods_path(site)}/{site.pod(one.key)['metadata']['name']}?gracePeriodSeconds=0"
    site.cluster.call("DELETE", path)
    again = site.open()
    seen = end_of(again, one.key)
    assert (seen.state, seen.reason) == (JobState.CANCELLED, "Deleted")
    again.submit([one])
    assert again.states()[one.key].state is JobState.CANCELLED
    again.forget([one.key])
    assert site.ours() == []


def test_a_pod_of_ours_that_nobody_remembers_is_told_and_can_be_ended(site: Site) -> None:
    """As when a request of a killed platform arrives after everything was over."""
    engine = site.open()
    labels = {
        "stoker/installation": site.installation, "stoker/job": "77", "stoker/attempt": "1", "stoker/rank": "0"
    }  # fmt: skip
    pod = {
        "metadata": {"name": "late", "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "lab/sleep-600"}]},
    }
    site.cluster.call("POST", pods_path(site), pod)
    assert wait_until(engine, Key(77, 1), lambda _seen: True).state is JobState.STARTING
    engine.cancel([Key(77, 1)], grace=0)
    until(lambda: engine.states() == {}, "it is gone")
    assert site.ours() == []


@pytest.mark.parametrize("kept", [200, 20], ids=["overlap", "gap"])
def test_a_log_that_the_node_rotated_is_joined(site: Site, tmp_path: Path, kept: int) -> None:
    """`kept` lines of what was copied are still there, with what came after."""
    go = tmp_path / "go"
    text = (
        f"i=0; while [ $i -lt 300 ]; do echo line-$i; i=$((i+1)); done; while [ ! -e {go} ]; do sleep 0.1; done; "
    )
    engine = site.open()
    one = order(engine, shell(text + "echo the end"))
    engine.submit([one])
    wait_until(engine, one.key, lambda _seen: engine.logs(one.key).endswith(b"line-299\n"))
    whole = engine.logs(one.key)
    engine.close()
    log = site.cluster.folder / "kubelet" / site.pod(one.key)["metadata"]["uid"] / "main.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[-kept:]))
    again = site.open()
    go.touch()
    end_of(again, one.key)
    told = again.logs(one.key)
    if kept == 200:
        assert told == whole + b"the end\n"
    else:
        assert told.startswith(whole + b"\n[stoker] the node rotated this log")
        assert told.endswith(b"line-299\nthe end\n")

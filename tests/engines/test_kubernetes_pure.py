"""The Kubernetes engine's deciders, on objects as API servers of several versions and vendors send them."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.engine import Key, Order
from stoker.engines.kubernetes import KubernetesSettings
from stoker.engines.kubernetes.marked import Splitter
from stoker.engines.kubernetes.nodes import offers, others
from stoker.engines.kubernetes.observe import look, taken_away
from stoker.engines.kubernetes.pods import mark, plan
from stoker.engines.kubernetes.quantity import quantity
from stoker.errors import BadInput
from stoker.job import JobSpec, JobState, Mount, Placement, Resources
from tests.labs.kubernetes import ROOT

SETTINGS = KubernetesSettings(image="python:3.11")
OURS = "0123456789ab"


def node(name: str = "a", *, taints: Any = (), labels: Any = None, **allocatable: str) -> dict[str, Any]:
    room = {
        "cpu": "64",
        "memory": "512Gi",
        **{key.replace("__", "/").replace("_", "."): v for key, v in allocatable.items()},
    }
    ready = {"type": "Ready", "status": "True"}
    status = {"allocatable": room, "conditions": [ready]}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": list(taints)}, "status": status}


def pod(phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "labels": {}},
        "spec": {"nodeName": "a"},
        "status": {"phase": phase, **status},
    }


def ended(code: int, reason: str = "Error", phase: str = "Failed", **status: Any) -> dict[str, Any]:
    at = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"}
    container = {"name": "main", "state": {"terminated": {"exitCode": code, "reason": reason, **at}}}
    return pod(phase, containerStatuses=[container], **status)


@pytest.mark.parametrize(
    ("resource", "labels", "model", "vendor"),
    [
        ("nvidia.com/gpu", {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}, "H100", "nvidia"),
        ("nvidia.com/gpu", {"nvidia.com/gpu.product": "Tesla-T4"}, "T4", "nvidia"),
        ("nvidia.com/gpu", {"nvidia.com/gpu.product": "NVIDIA-GeForce-RTX-4090"}, "RTX 4090", "nvidia"),
        ("nvidia.com/gpu", {}, "gpu", "nvidia"),
        ("nvidia.com/mig-1g.10gb", {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}, "A100-1g.10gb", "nvidia"),
        ("huawei.com/Ascend910", {}, "910", "huawei"),
        ("huawei.com/Ascend910", {"node.kubernetes.io/npu.chip.name": "910B3"}, "910B3", "huawei"),
        ("hygon.com/dcu", {}, "dcu", "hygon"),
        ("amd.com/gpu", {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, "MI300X", "amd"),
    ],
)
def test_devices_are_called_as_people_ask_for_them(resource: str, labels: Any, model: str, vendor: str) -> None:
    one = node(labels=labels)
    one["status"]["allocatable"][resource] = "2"
    found = offers("k8s", [one], [], SETTINGS, OURS)["a"]
    assert [(device.index, device.model, device.vendor) for device in found.node.devices] == [
        (0, model, vendor), (1, model, vendor)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "domains"),
    [
        ({}, {}),
        (
            {"nvidia.com/gpu.clique": "c.0", "network.topology.nvidia.com/leaf": "s1",
             "topology.kubernetes.io/zone": "z"},
            {"nvlink": "c.0", "leaf": "s1", "site": "z"},
        ),
        ({"fabric.topograph.run/tier-0": "s1", "fabric.topograph.run/tier-1": "s2"}, {"leaf": "s1", "pod": "s2"}),
        (
            {f"topology.k8s.aws/network-node-layer-{at}": f"nn-{at}" for at in (1, 2, 3)},
            {"leaf": "nn-3", "pod": "nn-2", "core": "nn-1"},
        ),
        ({"rack": "r7", "network.topology.nvidia.com/leaf": "s1"}, {"leaf": "r7"}),
    ],
)  # fmt: skip
def test_where_a_node_is_in_the_network(labels: dict[str, str], domains: dict[str, str]) -> None:
    settings = replace(SETTINGS, topology={"leaf": "rack"})
    assert offers("k8s", [node(labels=labels)], [], settings, OURS)["a"].node.domains == domains
    with pytest.raises(BadInput, match="allowed: nvlink, leaf, pod, core, site"):
        replace(SETTINGS, topology={"row": "rack"})


def test_what_the_device_plugin_holds_back_has_failed_and_costs_the_others_nothing() -> None:
    one = node(nvidia__com_gpu="7")
    one["status"]["allocatable"] = {"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": "7"}
    one["status"]["capacity"] = {"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": "8"}
    found = offers("k8s", [one], [], SETTINGS, OURS)["a"]
    assert [device.health.value for device in found.node.devices] == ["unknown"] * 7 + ["failed"]
    assert (found.node.schedulable, len(found.resources)) == (True, 8)
    one["status"]["conditions"].append({"type": "XIDCritical", "status": "True"})
    healths = [device.health.value for device in offers("k8s", [one], [], SETTINGS, OURS)["a"].node.devices]
    assert healths == ["degraded"] * 7 + ["failed"]
    one["status"]["conditions"][-1] = {"type": "GpuHealthy", "status": "True"}
    assert offers("k8s", [one], [], SETTINGS, OURS)["a"].node.devices[0].health.value == "unknown"


def test_taints_are_taints_but_for_those_that_are_tolerated_and_those_of_kubernetes() -> None:
    taints = [
        {"key": "team", "value": "speech", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "effect": "NoSchedule"},
        {"key": "soft", "effect": "PreferNoSchedule"},
        {"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"},
    ]
    found = offers("k8s", [node(taints=taints)], [], SETTINGS, OURS)["a"].node
    assert found.taints == ("team=speech",)
    assert (found.schedulable, found.reason) == (False, "Kubernetes says disk-pressure")


def test_what_others_hold_is_counted_and_what_belongs_to_the_node_is_taken_off() -> None:
    def theirs(name: str, kind: str) -> dict[str, Any]:
        resources = {"requests": {"cpu": "1500m", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "2"}}
        owner = {"kind": kind, "name": f"{name}-owner", "controller": True}
        meta = {"name": name, "namespace": "team", "ownerReferences": [owner]}
        spec = {"nodeName": "a", "containers": [{"resources": resources}]}
        return {"metadata": meta, "spec": spec, "status": {"phase": "Running"}}

    one = node()
    one["status"]["allocatable"]["nvidia.com/gpu"] = "8"
    pods = [theirs("agent", "DaemonSet"), theirs("train", "Job")]
    offered = offers("k8s", [one], pods, SETTINGS, OURS)
    assert (offered["a"].node.cpus, offered["a"].node.memory) == (62, 511 << 30)
    (job,) = others("k8s", pods, offered, SETTINGS, OURS)
    assert (job.id, job.name, job.devices, job.state) == ("team/train", "train-owner", 2, JobState.RUNNING)
    assert (job.held[0].cpus, job.held[0].devices, job.held[0].indexes) == (2, 2, ())


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (ended(0, "Completed", "Succeeded"), JobState.SUCCEEDED, ""),
        (ended(3), JobState.FAILED, "NonZeroExitCode"),
        (ended(137, "OOMKilled"), JobState.OUT_OF_MEMORY, "OOMKilled"),
        (ended(137, "ContainerStatusUnknown"), JobState.NODE_FAIL, "ContainerStatusUnknown"),
        (pod("Failed", reason="DeadlineExceeded"), JobState.TIMEOUT, "TimeLimit"),
        (pod("Failed", reason="Evicted", message="The node was low on memory."), JobState.NODE_FAIL, "Evicted"),
        (pod("Failed", reason="OutOfnvidia.com/gpu"), JobState.NODE_FAIL, "OutOfnvidia.com/gpu"),
        (pod("Failed", reason="Preempting"), JobState.PREEMPTED, "Preempting"),
        (pod("Failed", reason="NodeShutdown"), JobState.NODE_FAIL, "NodeShutdown"),
        (pod("Failed"), JobState.NODE_FAIL, "NodeFail"),
    ],
)  # fmt: skip
def test_how_a_pod_ended(seen: dict[str, Any], state: JobState, reason: str) -> None:
    told = look([seen], "prog", None, now=2e9, lost=lambda _pod: False).now
    assert (told.state, told.reason) == (state, reason)
    assert "\n" not in told.message


def test_a_deadline_whose_container_still_runs_is_not_over_yet() -> None:
    running = {"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    seen = pod("Failed", reason="DeadlineExceeded", containerStatuses=[running])
    for stuck, state in ((False, JobState.STOPPING), (True, JobState.TIMEOUT)):
        told = look([seen], "x", None, now=2e9, lost=lambda _pod: False, stuck=lambda _pod, s=stuck: s)  # type: ignore[misc]
        assert told.now.state is state


def test_a_clock_of_a_node_that_runs_ahead_tells_no_future() -> None:
    told = look([ended(0, "Completed", "Succeeded")], "x", None, now=1e9, lost=lambda _pod: False).now
    assert told.ended_at == 1e9


def test_disruptions_in_the_words_of_newer_versions() -> None:
    assert taken_away("PreemptionByScheduler", "x").state is JobState.PREEMPTED
    assert taken_away("EvictionByEvictionAPI", "Eviction API: evicting").state is JobState.NODE_FAIL


def order(spec: JobSpec, **fields: Any) -> Order:
    return Order(Key(7, 2), spec, (Placement("a"),), owner="ann b/c", **fields)


def first_pod(one: Order, settings: KubernetesSettings = SETTINGS) -> dict[str, Any]:
    return plan(one, settings, OURS, offers("k8s", [node()], [], settings, OURS)).pods[0]


@given(st.lists(st.text(st.characters(exclude_characters="\x00", codec="utf-8")), min_size=1))
def test_what_a_user_wrote_comes_out_of_kubernetes_expansion_as_it_was(words: list[str]) -> None:
    made = first_pod(order(JobSpec(command=("prog", *words))))["spec"]["containers"][0]["command"]
    expanded = [re.sub(r"\$\$", "$", word) for word in made]
    assert expanded[-len(words) :] == words
    assert not any(re.search(r"(?<!\$)(?:\$\$)*\$\(", word) for word in made)


def test_a_job_with_an_image_does_not_take_its_submitters_machine_along() -> None:
    envs = {"PATH": "/home/ann/bin", "LD_LIBRARY_PATH": "/opt", "LANG": "C.UTF-8", "MINE": "1"}
    spec = JobSpec(command=("x",), envs=envs, workdir="/home/ann/project")
    container = first_pod(order(spec))["spec"]["containers"][0]
    found = {one["name"]: one["value"] for one in container["env"]}
    assert {"PATH", "LD_LIBRARY_PATH"} & set(found) == set()
    assert (found["LANG"], found["MINE"], container["workingDir"]) == ("C.UTF-8", "1", "/stoker/work")
    mounted = replace(spec, mounts=(Mount("/nfs/home", "/home"),))
    assert first_pod(order(mounted))["spec"]["containers"][0]["workingDir"] == "/home/ann/project"


def test_owners_and_names_are_made_labels() -> None:
    labels = first_pod(order(JobSpec(command=("x",), name="träin it")))["metadata"]["labels"]
    assert (labels["stoker/owner"], labels["stoker/name"]) == ("ann-b-c", "tr-in-it")


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=30)), max_size=20), st.integers(1, 40))
def test_reports_are_taken_out_of_a_log_and_nothing_else(pieces: list[tuple[bool, bytes]], size: int) -> None:
    sign = mark(OURS, Key(1, 1))
    output, reports, log = b"", b"", b""
    for report, data in pieces:
        if report:
            line = data.replace(b"\n", b"")
            half = len(line) // 2
            log += b"%s+%s\n%s %s\n" % (sign.encode(), line[:half], sign.encode(), line[half:])
            reports += line + b"\n"
        else:
            log += data
            output += data
    splitter, seen, told = Splitter(sign), b"", b""
    for begin in range(0, len(log), size):
        more, lines = splitter.feed(log[begin : begin + size])
        seen, told = seen + more, told + lines
    assert (seen + splitter.flush(), told) == (output, reports)


@pytest.mark.parametrize(
    ("text", "value"), [("100m", 0.1), ("2", 2), ("16Gi", 16 << 30), ("1e3", 1000), ("1500k", 1.5e6), ("x", 0)]
)
def test_quantities(text: str, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"namespace": "Prod"}, "no namespace"),
        ({"placement": "random"}, "allowed: auto, affinity, bind"),
        ({"shared_path": "/x"}, "belong together"),
        ({"shared_path": "x", "shared_volume": "/x"}, "must be absolute"),
        ({"shared_path": "/x", "shared_volume": "nfs"}, "pvc:NAME"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, str], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        KubernetesSettings(**settings)  # type: ignore[arg-type]


def test_the_page_names_every_setting() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    assert [one.name for one in fields(KubernetesSettings) if f"`{one.name}`" not in page] == []


def test_memory_is_a_limit_and_cpus_are_not() -> None:
    spec = JobSpec(command=("x",), resources=Resources(cpus=4, memory=1 << 30))
    resources = first_pod(order(spec))["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"cpu": "4", "memory": str(1 << 30)}, "limits": {"memory": str(1 << 30)}}

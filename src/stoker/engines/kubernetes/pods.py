"""An Order as Kubernetes' objects. Pure.

Everything a user wrote goes into lists and values, never into a shell's text. Kubernetes itself expands ``$(NAME)``
in commands and values, so every dollar sign is written twice.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from signal import Signals
from typing import Any

from stoker.engine import Key, Order
from stoker.engines.kubernetes.names import CONTAINER, base_name, labels_of, pod_name, rank_label
from stoker.engines.kubernetes.nodes import Offer
from stoker.engines.kubernetes.settings import AUTO, BIND, KubernetesSettings
from stoker.environment import CARRIED
from stoker.errors import BadInput
from stoker.job import JobSpec
from stoker.job_environment import ANY_ADDRESS, fill, identity, meeting, slurm_names

Manifest = dict[str, Any]

_LAUNCH = "\n".join(  # without what only its readers need: it is part of every pod
    line.strip() for line in Path(__file__).with_name("launch.sh").read_text().splitlines() if line[:1] != "#"
)
_ROOM = "/stoker"  # where our own things are in a container
SAVED = ".saved"  # in the job's folder: what it touches when its work so far is safe
PACKAGE = "package"  # where it lies in the job's folder on the shared file system
_FILES, _SCRIPT, _WORK, _RUN = (f"{_ROOM}/{name}" for name in ("files", "script", "work", "run"))
_MOST_CONFIG = 900_000  # bytes of a ConfigMap; the API server takes 1 MiB with all around it
_OF_THE_MACHINE = frozenset(CARRIED) - {"LANG", "LC_ALL", "LC_CTYPE", "TZ"}  # of the submitter's, not of the image
_HELD_BY_PLUGIN = (
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "ASCEND_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
)
NOBODY = "stoker"  # schedulerName of pods that we bind: no scheduler answers to it


@dataclass(frozen=True)
class Plan:
    """What is to be made for an order, and what must be remembered of it."""

    pods: tuple[Manifest, ...]
    extras: Mapping[str, Manifest] = field(default_factory=dict)  # "services" -> object; ConfigMap likewise
    files: Mapping[str, str] = field(default_factory=dict)  # of the Secret: name -> path on the platform's machine
    program: str = ""
    folder: str = ""  # the job's folder, where both sides see one
    stdout: str = ""  # files of its output, where both sides see them
    stderr: str = ""
    probe: str = ""
    package: str = ""  # path on the platform's machine; without a shared folder it is carried in the ConfigMap
    mark: str = ""  # what stands before reports in the log
    warning: float = 0.0  # seconds it is given to save itself before SIGTERM


def plan(
    order: Order,
    settings: KubernetesSettings,
    installation: str,
    offers: Mapping[str, Offer],
    *,
    package_size: int = 0,
) -> Plan:
    """Raises BadInput for what can never run on Kubernetes, with the way out."""
    spec = order.spec
    _check(order, settings, package_size)
    places = _Places(order, settings, installation, package_size)
    argv = [f"{_SCRIPT}/script", *spec.arguments] if spec.script else list(spec.command)
    base = base_name(installation, order.key)
    ranks = range(len(order.placements))
    hosts = [_address(order, settings, offers, base, rank, installation) for rank in ranks]
    pods = tuple(
        _pod(order, settings, installation, offers, places, places.launch(argv), hosts, rank) for rank in ranks
    )
    return Plan(
        pods=pods,
        extras=_extras(order, settings, installation, places),
        files={name: str(path) for name, path in order.files.items()},
        program=argv[0],
        folder=places.folder if settings.shared_path else "",
        stdout=places.stdout,
        stderr=places.stderr,
        probe=places.probe if settings.shared_path else "",
        package=str(order.package or ""),
        mark=places.mark,
        warning=spec.warning,
    )


def secret(owner: Mapping[str, Any], content: Mapping[str, str]) -> Manifest:
    """The order's files, `content` in base64, as the property of the ConfigMap whose metadata are given."""
    meta = _meta(owner["name"], owner["namespace"], owner["labels"])
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["name"], "uid": owner["uid"]}
    return {"metadata": {**meta, "ownerReferences": [reference]}, "type": "Opaque", "data": dict(content)}


def binding(pod: Manifest, node: str) -> Manifest:
    meta = pod["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


class _Places:
    """Where an order's files are in its containers, and how its command is started because of them."""

    def __init__(self, order: Order, settings: KubernetesSettings, installation: str, package_size: int) -> None:
        spec, key, shared = order.spec, order.key, settings.shared_path
        self._order, self._settings = order, settings
        self.folder = f"{shared.rstrip('/')}/stoker/{installation}/{key.job}/{key.attempt}" if shared else _WORK
        self.workdir = self._workdir(spec)
        self.probe = f"{self.folder if shared else _RUN}/probe.jsonl" if shared or settings.probe else ""
        self.mark = mark(installation, key) if self.probe and not shared else ""
        self.package = f"{_SCRIPT}/package" if package_size and not shared else ""
        self.stdout, self.stderr = (self._visible(pattern) for pattern in (spec.stdout, spec.stderr))

    @property
    def start(self) -> str:
        """The folder in which the container starts; a package may be unpacked there first."""
        return self.folder if self.package else self.workdir

    def launch(self, argv: Sequence[str]) -> list[str]:
        packed = self.workdir if self.package else ""
        needs = (self.stdout, self.stderr, self.package, packed, self.mark, *self._warning())
        return ["/bin/sh", "-c", _LAUNCH, "stoker", *needs, *argv] if any(needs) else list(argv)

    def _warning(self) -> tuple[str, str]:
        """The number of the signal that tells the job to save itself, and how long before SIGTERM."""
        spec = self._order.spec
        if not spec.checkpoint_signal:
            return "", ""
        return str(Signals[f"SIG{spec.checkpoint_signal}"].value), f"{spec.checkpoint_lead:g}"

    def _workdir(self, spec: JobSpec) -> str:
        """What the job asks for where a mount holds it; else its own folder, as the node has no such one."""
        home = PurePosixPath(self.folder)
        if self._order.package and self._settings.shared_path:
            home /= PACKAGE
        if not spec.workdir.startswith("/"):
            return str(home / spec.workdir)
        seen = [mount.target for mount in spec.mounts] + [self._settings.shared_path]
        wanted = PurePosixPath(spec.workdir)
        return spec.workdir if any(one and wanted.is_relative_to(one) for one in seen) else str(home)

    def _visible(self, pattern: str) -> str:
        """The file of an output, where both sides see it; else the output stays in the pod's log."""
        shared = self._settings.shared_path
        if not pattern or not shared:
            return ""
        path = PurePosixPath(self.workdir) / fill(pattern, self._order, self._order.placements[0].node)
        return str(path) if path.is_relative_to(shared) and ".." not in path.parts else ""


def mark(installation: str, key: Key) -> str:
    """Begins with a control character that no sane log holds, and differs for every attempt."""
    digest = hashlib.sha256(f"{installation}:{key.job}.{key.attempt}".encode()).hexdigest()[:16]
    return f"\x1e{digest}"


def _check(order: Order, settings: KubernetesSettings, package_size: int) -> None:
    spec = order.spec
    if not (spec.image or settings.image):
        raise BadInput("a job needs a container image on Kubernetes: set image in its file, or one for the engine")
    if spec.resources.accelerators and spec.resources.milli < 1000:
        raise BadInput("Kubernetes gives whole devices; ask for whole ones, or for a MIG slice as its own model")
    if len(order.placements) > 1 and not spec.each_node:
        raise BadInput("on Kubernetes a job of several nodes runs its command on each of them: set each_node")
    if len(spec.script.encode()) > _MOST_CONFIG:
        raise BadInput(
            f"the script is larger than the {_MOST_CONFIG} bytes that Kubernetes carries; ship it in the image"
        )
    if package_size + len(spec.script.encode()) > _MOST_CONFIG and not settings.shared_path:
        raise BadInput(
            f"the package is larger than the {_MOST_CONFIG} bytes that Kubernetes carries; set a shared folder"
        )


def _pod(
    order: Order,
    settings: KubernetesSettings,
    installation: str,
    offers: Mapping[str, Offer],
    places: _Places,
    argv: Sequence[str],
    hosts: Sequence[str],
    rank: int,
) -> Manifest:
    spec, place = order.spec, order.placements[rank]
    offer = offers[place.node]
    volumes, mounts = _volumes(order, settings, base_name(installation, order.key), places)
    name = pod_name(installation, order.key, rank)
    devices = _devices(order, offer, rank)
    container = {
        "name": CONTAINER,
        "image": spec.image or settings.image,
        "command": [_literal(part) for part in argv],
        "workingDir": places.start,
        "env": _environment(order, devices, places, hosts, rank),
        "resources": _resources(order, offer, devices),
        "volumeMounts": mounts,
    }
    body: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": max(1, math.ceil(spec.grace + spec.warning)),
        "shareProcessNamespace": True,  # or a program that handles no SIGTERM would not hear it as PID 1
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostname": name,
        "tolerations": _tolerations(spec, settings, offer),
        "containers": [container],
        "volumes": volumes,
        **_placed(order, settings, place.node),
    }
    if spec.time_limit:
        body["activeDeadlineSeconds"] = max(1, math.ceil(spec.time_limit - spec.warning))
    if len(order.placements) > 1:
        body["subdomain"] = base_name(installation, order.key)
        if settings.host_network:
            body |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
            del body["hostname"], body["subdomain"]
    optional = {
        "serviceAccountName": settings.service_account,
        "priorityClassName": settings.priority_class,
        "runtimeClassName": settings.runtime_class if devices else "",
        "imagePullSecrets": [{"name": one} for one in settings.image_pull_secrets],
    }
    body |= {key: value for key, value in optional.items() if value}
    labels = {**labels_of(installation, order), **rank_label(rank)}
    meta = _meta(name, settings.namespace, labels)
    meta["annotations"] = {"stoker/name": spec.name, "stoker/owner": order.owner}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body}


def _placed(order: Order, settings: KubernetesSettings, node: str) -> Manifest:
    """On our node and nowhere else: by the cluster's scheduler, which admits the pod there, or by a binding.

    Unless the admin chose, a gang is bound: its pods wait until all of them are there, so that none runs alone.
    """
    bind = settings.placement == BIND or (settings.placement == AUTO and len(order.placements) > 1)
    if bind:
        return {"schedulerName": NOBODY}
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    chosen = {"schedulerName": settings.scheduler} if settings.scheduler else {}
    return {"affinity": {"nodeAffinity": required}, **chosen}


def _devices(order: Order, offer: Offer, rank: int) -> Mapping[str, int]:
    """How many of each device resource the pod holds."""
    indexes = range(len(offer.resources)) if order.spec.exclusive else order.placements[rank].devices
    return Counter(offer.resources[index] for index in indexes if index < len(offer.resources))


def _resources(order: Order, offer: Offer, devices: Mapping[str, int]) -> Manifest:
    spec = order.spec
    cpus = offer.node.cpus if spec.exclusive else spec.resources.cpus
    held = {name: str(count) for name, count in devices.items()}
    requests = {**held, **({"cpu": str(cpus)} if cpus else {})}
    limits = dict(held)
    if spec.resources.memory:
        requests["memory"] = limits["memory"] = str(spec.resources.memory)
    return {"requests": requests, "limits": limits}


def _environment(
    order: Order,
    devices: Mapping[str, int],
    places: _Places,
    hosts: Sequence[str],
    rank: int,
) -> list[Manifest]:
    """Of a variable that several sources give the last wins; what only the submitter's machine has stays there."""
    spec, nodes = order.spec, [place.node for place in order.placements]
    usual = {"PYTHONUNBUFFERED": "1"} | (
        {"OMP_NUM_THREADS": str(spec.resources.cpus)} if spec.resources.cpus else {}
    )
    left = (*_OF_THE_MACHINE, *_HELD_BY_PLUGIN)
    own = {name: text for name, text in spec.envs.items() if name not in left}
    shown = ",".join(map(str, range(sum(devices.values()))))  # as a container counts them
    nvidia = not devices or any(name.startswith("nvidia.com/") for name in devices)
    ours = {
        **identity(order),
        **meeting(order, nodes, hosts, rank),
        **(slurm_names(order, nodes, rank, places.workdir) if spec.script else {}),
        **({"CUDA_VISIBLE_DEVICES": shown} if nvidia else {}),
        **({} if devices else {"NVIDIA_VISIBLE_DEVICES": "void"}),  # images of NVIDIA's show all devices otherwise
        "STOKER_BIND": ANY_ADDRESS,
        "STOKER_SAVED": f"{places.folder}/{SAVED}",
        **({"STOKER_PROBE": places.probe} if places.probe else {}),
        **({"STOKER_FILES": _FILES} if order.files else {}),
    }
    merged = {**usual, **own, **ours, **order.envs}
    return [{"name": name, "value": _literal(text)} for name, text in merged.items()]


def _tolerations(spec: JobSpec, settings: KubernetesSettings, offer: Offer) -> list[Manifest]:
    """Of the admin, of the job, and, as many clusters taint nodes with them, of the device resources held there."""
    keys = dict.fromkeys((*settings.tolerations, *spec.tolerations, *offer.resources))
    found: list[Manifest] = []
    for text in keys:
        name, equals, value = text.partition("=")
        matched = {"operator": "Equal", "value": value} if equals else {"operator": "Exists"}
        found.append({"key": name, **matched})
    return found


def _volumes(
    order: Order, settings: KubernetesSettings, base: str, places: _Places
) -> tuple[list[Manifest], list[Manifest]]:
    spec = order.spec
    wanted: list[tuple[str, Manifest, str, bool]] = []  # name, source, path, read only
    for number, mount in enumerate(spec.mounts):
        wanted.append((f"mount-{number}", _source(mount.source), mount.target, mount.read_only))
    if settings.shared_path:
        wanted.append(("shared", _source(settings.shared_volume), settings.shared_path, False))
    else:
        wanted.append(("work", {"emptyDir": {}}, _WORK, False))
        if places.probe:
            wanted.append(("run", {"emptyDir": {}}, _RUN, False))
    if spec.script or places.package:
        wanted.append(("script", {"configMap": {"name": base, "defaultMode": 0o555}}, _SCRIPT, True))
    if order.files:
        wanted.append(("files", {"secret": {"secretName": base, "defaultMode": 0o444}}, _FILES, True))
    if spec.resources.accelerators and not any(mount.target == "/dev/shm" for mount in spec.mounts):  # noqa: S108
        wanted.append(("shm", {"emptyDir": {"medium": "Memory"}}, "/dev/shm", False))  # noqa: S108
    volumes = [{"name": name, **source} for name, source, _, _ in wanted]
    mounts = [
        {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
        for name, _, path, read_only in wanted
    ]
    return volumes, mounts


def _source(text: str) -> Manifest:
    if text.startswith("pvc:"):
        return {"persistentVolumeClaim": {"claimName": text.removeprefix("pvc:")}}
    return {"hostPath": {"path": text}}


def _extras(order: Order, settings: KubernetesSettings, installation: str, places: _Places) -> dict[str, Manifest]:
    """What stands beside the pods, by the plural of its kind. The package's bytes are put in when it is made."""
    labels, base = labels_of(installation, order), base_name(installation, order.key)
    extras: dict[str, Manifest] = {}
    if order.spec.script or places.package or order.files:
        data = {"script": order.spec.script} if order.spec.script else {}
        extras["configmaps"] = {"metadata": _meta(base, settings.namespace, labels), "data": data}
    if len(order.placements) > 1 and not settings.host_network:
        selector = {name: text for name, text in labels.items() if name not in ("stoker/name", "stoker/owner")}
        spec = {"clusterIP": "None", "selector": selector, "publishNotReadyAddresses": True}
        extras["services"] = {"metadata": _meta(base, settings.namespace, labels), "spec": spec}
    return extras


def _address(
    order: Order, settings: KubernetesSettings, offers: Mapping[str, Offer], base: str, rank: int, installation: str
) -> str:
    """Where a rank is met by the others: its node, or the name that the headless service gives its pod."""
    if len(order.placements) == 1:
        return "127.0.0.1"
    if settings.host_network:
        node = offers[order.placements[rank].node].node
        return node.address or node.name
    return f"{pod_name(installation, order.key, rank)}.{base}.{settings.namespace}.svc"


def _meta(name: str, namespace: str, labels: Mapping[str, str]) -> Manifest:
    return {"name": name, "namespace": namespace, "labels": dict(labels)}


def _literal(text: str) -> str:
    return text.replace("$", "$$")

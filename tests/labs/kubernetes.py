"""A real Kubernetes 1.20 control plane for tests: etcd, API server, controllers, scheduler, and our test kubelet.

    with Kubernetes(tmp_path, nodes=4) as cluster:
        ... cluster.kubeconfig ...

The binaries are taken, compressed with xz, from the folder that STOKER_KUBERNETES names (default: kubernetes in
STOKER_SHARED, by default ../shared beside the checkout); without them, without etcd or root tests are skipped.
Everything listens on free ports of 127.0.0.1 and ends with `stop`, the API server before etcd.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import lzma
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.labs.daemons import free_ports

ROOT = Path(__file__).parents[2]
BINARIES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_PATIENCE_S = 90.0
_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")  # it ends when the test run does, however that ends
_CONTROLLERS = (
    "nodelifecycle", "garbagecollector", "namespace", "podgc", "resourcequota", "serviceaccount",
    "serviceaccount-token", "root-ca-cert-publisher", "job", "replicaset", "deployment",
)  # fmt: skip


def packed_binaries() -> Path:
    shared = Path(os.environ.get("STOKER_SHARED", ROOT.parent / "shared"))
    return Path(os.environ.get("STOKER_KUBERNETES", shared / "kubernetes"))


def why_not() -> str:
    """Why a cluster cannot be had here; empty when it can."""
    if not all((packed_binaries() / f"{name}.xz").exists() for name in BINARIES):
        return f"no Kubernetes in {packed_binaries()}; name its folder in STOKER_KUBERNETES"
    if shutil.which("etcd") is None:
        return "etcd is not installed (apt-get install etcd-server)"
    if os.geteuid() != 0:
        return "the test kubelet's containers need root"
    return ""


def unpacked_binaries() -> Path:
    """The binaries, unpacked once for all tests of this machine."""
    packed = packed_binaries()
    stamp = "-".join(str((packed / f"{name}.xz").stat().st_size) for name in BINARIES)
    folder = Path(tempfile.gettempdir()) / f"stoker-kubernetes-{stamp}"
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in BINARIES:
            if not (folder / name).exists():
                partial = folder / f"{name}.part"
                with lzma.open(packed / f"{name}.xz") as source, partial.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                partial.chmod(0o755)
                partial.replace(folder / name)
    return folder


@dataclass
class NodeSpec:
    """A node of the test kubelet."""

    labels: Mapping[str, str] = field(default_factory=lambda: {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"})
    capacity: Mapping[str, str] = field(default_factory=lambda: {"nvidia.com/gpu": "8"})
    cpus: int = 192
    memory: str = "2Ti"
    pods: int = 110

    def as_dict(self) -> dict[str, Any]:
        whole = {"cpu": str(self.cpus), "memory": self.memory, "pods": str(self.pods), "ephemeral-storage": "1Ti"}
        return {"labels": dict(self.labels), "capacity": {**whole, **self.capacity}}


class Kubernetes:
    """A cluster in `folder`. `nodes`: how many (gpu0, gpu1, ...) or what they are by name."""

    def __init__(self, folder: Path, nodes: int | Mapping[str, NodeSpec] = 4, *, beat_s: float = 2.0) -> None:
        self.folder = folder
        self.nodes = {f"gpu{index}": NodeSpec() for index in range(nodes)} if isinstance(nodes, int) else nodes
        self.token = secrets.token_hex(16)
        self.users: dict[str, str] = {}  # token -> name of a user without any rights of its own
        self.kubeconfig = folder / "kubeconfig"
        self._beat_s = beat_s
        self._binaries = Path()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd_port, self._peer_port, self._port, *self._secure_ports = free_ports(5)
        self._kubelet_port = 0

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca(self) -> Path:
        return self.folder / "pki" / "apiserver.crt"

    def __enter__(self) -> Kubernetes:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._binaries = unpacked_binaries()
        (self.folder / "pki").mkdir(parents=True, exist_ok=True)
        key = self.folder / "pki" / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        public = ["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(key.with_suffix(".pub"))]
        subprocess.run(public, check=True, capture_output=True)
        self._start_etcd()
        self.start_api_server()
        self.write_kubeconfig(self.kubeconfig, self.token)
        self._start_controllers()
        self.start_kubelet()
        self.wait(lambda: len(self.ready_nodes()) == len(self.nodes), "its nodes are not ready")

    def stop(self) -> None:
        self._end("kubelet")
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            self._end(name, signal.SIGKILL)  # an API server that ends in peace waits for its watches

    # parts that can be taken away and brought back

    def start_api_server(self) -> None:
        tokens = self.folder / "tokens.csv"
        rows = [f'{self.token},admin,admin,"system:masters"', *(f"{t},{n},{n}" for t, n in self.users.items())]
        tokens.write_text("\n".join(rows) + "\n")
        pki = self.folder / "pki"
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1", f"--secure-port={self._port}", "--advertise-address=127.0.0.1",
            f"--cert-dir={pki}", "--service-cluster-ip-range=10.250.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={pki / 'sa.key'}",
            f"--service-account-key-file={pki / 'sa.pub'}", f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC", "--allow-privileged=true", "--disable-admission-plugins=ServiceAccount",
            "--default-not-ready-toleration-seconds=2", "--default-unreachable-toleration-seconds=2",
            "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000",
        )  # fmt: skip
        self.wait(self._api_ready, "its API server does not come up")

    def kill_api_server(self) -> None:
        self._end("kube-apiserver", signal.SIGKILL)

    def start_kubelet(self) -> None:
        folder = self.folder / "kubelet"
        folder.mkdir(exist_ok=True)
        port_file, pki = folder / "port", self.folder / "pki"
        port_file.unlink(missing_ok=True)
        spec = {
            "server": self.server, "token": self.token, "ca": str(self.ca), "folder": str(folder),
            "certificate": str(pki / "apiserver.crt"), "key": str(pki / "apiserver.key"),
            "port_file": str(port_file), "nodes": {name: node.as_dict() for name, node in self.nodes.items()},
            "beat_s": self._beat_s,
        }  # fmt: skip
        (self.folder / "kubelet.json").write_text(json.dumps(spec))
        self._spawn("kubelet", [sys.executable, "-m", "tests.labs.kubelet", str(self.folder / "kubelet.json")])
        self.wait(lambda: port_file.exists() and port_file.read_text() != "", "its kubelet does not come up")
        self._kubelet_port = int(port_file.read_text())

    def die(self, node: str) -> None:
        """The node is gone: its processes end, nobody hears of it again."""
        self._control("die", node)

    def revive(self, node: str) -> None:
        self._control("revive", node)

    def evict(self, pod: str) -> None:
        """The node is short of something and ends `pod` for it."""
        self._control("evict", pod)

    # asking it

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """The API server's answer; raises urllib.error.HTTPError when it refuses."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(self.server + path, data=data, headers=headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30, context=self._tls()) as reply:  # noqa: S310
            text = reply.read().decode()
        return json.loads(text) if text.startswith("{") else text

    def items(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", path)["items"]
        return found

    def ready_nodes(self) -> list[str]:
        return [
            node["metadata"]["name"]
            for node in self.items("/api/v1/nodes")
            if not any(taint["effect"] == "NoSchedule" for taint in node["spec"].get("taints", ()))
            and any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
        ]

    def namespace(self, name: str) -> str:
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def write_kubeconfig(self, path: Path, token: str, **user: Any) -> Path:
        """A kubeconfig for `token`, or for what else `user` holds (an exec plugin, a token file)."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "lab", "cluster": {"server": self.server, "certificate-authority": str(self.ca)}}
            ],
            "users": [{"name": "who", "user": user or {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "who"}}],
            "current-context": "lab",
        }
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return path

    def wait(self, wanted: Callable[[], bool], otherwise: str, seconds: float = _PATIENCE_S) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(urllib.error.URLError, OSError, ssl.SSLError, ValueError):
                if wanted():
                    return
            for name, process in self._processes.items():
                if process.poll() is not None:
                    tail = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
                    raise AssertionError(f"{name} ended with {process.returncode}:\n{tail}")
            time.sleep(0.1)
        raise AssertionError(f"{otherwise}; see the logs in {self.folder}")

    # within

    def _start_etcd(self) -> None:
        peer, client = f"http://127.0.0.1:{self._peer_port}", f"http://127.0.0.1:{self._etcd_port}"
        command = [
            "etcd", "--data-dir", str(self.folder / "etcd"), "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}", "--unsafe-no-fsync", "--quota-backend-bytes", str(4 << 30),
        ]  # fmt: skip
        self._spawn("etcd", command)

    def _start_controllers(self) -> None:
        here = [f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1"]
        here += [f"--cert-dir={self.folder / 'pki'}", "--kube-api-qps=500", "--kube-api-burst=1000"]
        # Longer than an API server takes to start again on a busy machine: else nodes and pods are lost with it.
        quick = [f"--node-monitor-period={self._beat_s / 2}s", f"--node-monitor-grace-period={self._beat_s * 8}s"]
        self._start(
            "kube-controller-manager", *here, *quick, f"--secure-port={self._secure_ports[0]}", "--port=0",
            f"--controllers={','.join(_CONTROLLERS)}", f"--root-ca-file={self.ca}",
            f"--service-account-private-key-file={self.folder / 'pki' / 'sa.key'}",
        )  # fmt: skip
        self._start("kube-scheduler", *here, f"--secure-port={self._secure_ports[1]}", "--port=0")

    def _start(self, name: str, *arguments: str) -> None:
        self._spawn(name, [str(self._binaries / name), *arguments])

    def _spawn(self, name: str, command: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*_WITH_US, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )

    def _end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def _api_ready(self) -> bool:
        return self.ca.exists() and self.call("GET", "/readyz") == "ok"

    def _control(self, what: str, name: str) -> None:
        url = f"https://127.0.0.1:{self._kubelet_port}/lab/{what}/{name}"
        request = urllib.request.Request(url, method="POST")
        context = self._tls()
        urllib.request.urlopen(request, timeout=30, context=context).read()  # noqa: S310


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """One cluster of four nodes with eight H100 each, for all tests of a module that imports this."""
    if reason := why_not():
        pytest.skip(reason)
    with Kubernetes(tmp_path_factory.mktemp("kubernetes"), nodes=4) as started:
        yield started

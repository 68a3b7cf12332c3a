"""A kubelet for tests: registers nodes with devices and really runs the pods that are bound to them.

Started as ``python -m tests.labs.kubelet SPEC``, a JSON file with `server`, `token`, `ca`, `folder`, `certificate`,
`key`, `port_file`, `nodes` (name -> labels, capacity) and `beat_s`. It speaks to the API server as a kubelet does
and serves it logs and port forwarding; see `control` for what a test may do to a node. Image names mean something:

    missing/...     cannot be pulled (ErrImagePull, ImagePullBackOff)
    lab/sleep-N     no process at all: Running, and after N seconds Succeeded
    anything else   the machine's own programs, in namespaces of their own (container.py)
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import re
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web

from tests.labs.podspec import environment, expanded, image_trouble, needs, volume_paths

CONTAINER = Path(__file__).with_name("container.py")
_POLL_S = 0.03
_TIDY_S = 0.3  # a kubelet needs about a second from a pod's end to its deletion
_MEMORY_POLL_S = 0.1


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Node:
    def __init__(self, name: str, spec: dict[str, Any]) -> None:
        self.name = name
        self.labels: dict[str, str] = spec["labels"]
        self.capacity: dict[str, str] = spec["capacity"]
        self.alive = True
        self.taken: dict[str, set[int]] = {}  # device resource -> indexes

    def take(self, resource: str, count: int) -> list[int] | None:
        taken = self.taken.setdefault(resource, set())
        free = [index for index in range(int(self.capacity.get(resource, "0"))) if index not in taken]
        if len(free) < count:
            return None
        taken.update(free[:count])
        return free[:count]


class Api:
    """The few calls a kubelet makes."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._server = spec["server"]
        self._headers = {"Authorization": f"Bearer {spec['token']}"}
        self._ssl = ssl.create_default_context(cafile=spec["ca"])
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._ssl, limit=64)
            self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self._session

    async def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """The answer, whatever its status; None while the API server is away."""
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Content-Type": kind}
            async with self.session.request(method, self._server + path, data=data, headers=headers) as reply:
                return await reply.json()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None

    async def patch(self, path: str, body: Any) -> Any:
        return await self.call("PATCH", path, body, "application/merge-patch+json")

    async def pods(self) -> AsyncIterator[dict[str, Any]]:
        """Every pod that is bound, as it changes; begins anew when the API server was away."""
        while True:
            listed = await self.call("GET", "/api/v1/pods?fieldSelector=spec.nodeName!=")
            if not listed or "items" not in listed:
                await asyncio.sleep(0.2)
                continue
            for pod in listed["items"]:
                yield pod
            version = listed["metadata"]["resourceVersion"]
            query = f"/api/v1/pods?watch=1&fieldSelector=spec.nodeName!=&resourceVersion={version}"
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
                timeout = aiohttp.ClientTimeout(total=None)
                async with self.session.get(self._server + query, timeout=timeout) as stream:
                    buffer = b""
                    async for chunk in stream.content.iter_any():
                        *lines, buffer = (buffer + chunk).split(b"\n")
                        for line in lines:
                            event = json.loads(line)
                            if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                                yield {**event["object"], "gone": event["type"] == "DELETED"}


class Kubelet:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.folder = Path(spec["folder"])
        self.api = Api(spec)
        self.nodes = {name: Node(name, entry) for name, entry in spec["nodes"].items()}
        self.pods: dict[str, Pod] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.addresses = 0
        self.hosts = self.folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")

    async def run(self) -> None:
        await self.serve()
        for node in self.nodes.values():
            await self.register(node)
        self.keep(self.beat())
        Path(self.spec["port_file"]).write_text(str(self.port))
        async for manifest in self.api.pods():
            self.look(manifest)

    def keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # nodes

    async def register(self, node: Node) -> None:
        body = {"metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name, **node.labels}}}
        while not await self.api.call("POST", "/api/v1/nodes", body):
            await asyncio.sleep(0.2)
        await self.renew(node, status=True)

    async def beat(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(self.spec["beat_s"])
            beats += 1
            living = [node for node in self.nodes.values() if node.alive]
            for start in range(0, len(living), 16):
                await asyncio.gather(*(self.renew(node, beats % 10 == 0) for node in living[start : start + 16]))

    async def renew(self, node: Node, status: bool) -> None:
        lease = {
            "metadata": {"name": node.name, "namespace": "kube-node-lease"},
            "spec": {
                "holderIdentity": node.name,
                "leaseDurationSeconds": 40,
                "renewTime": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        answer = await self.api.patch(f"{leases}/{node.name}", lease)
        if answer and answer.get("code") == 404:
            await self.api.call("POST", leases, lease)
        if status:
            await self.api.patch(f"/api/v1/nodes/{node.name}/status", {"status": self.status(node)})

    def status(self, node: Node) -> dict[str, Any]:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
        told = dict.fromkeys(
            ("bootID", "kernelVersion", "kubeProxyVersion", "machineID", "osImage", "systemUUID"), ""
        )
        return {
            "capacity": node.capacity,
            "allocatable": node.capacity,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": "127.0.0.1"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
            "conditions": [{**ready, "lastHeartbeatTime": now(), "lastTransitionTime": now()}],
            "nodeInfo": {
                **told, "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.20.2",
                "containerRuntimeVersion": "lab://1",
            },
        }  # fmt: skip

    # pods

    def look(self, manifest: dict[str, Any]) -> None:
        uid, node = manifest["metadata"]["uid"], self.nodes.get(manifest["spec"].get("nodeName", ""))
        if node is None or not node.alive:
            return
        pod = self.pods.get(uid)
        if pod is None:
            if manifest.get("gone"):
                return
            pod = self.pods[uid] = Pod(self, node, manifest)
            begun = manifest.get("status", {}).get("phase", "Pending") != "Pending"
            self.keep(pod.lost() if begun else pod.live())
        pod.manifest = {**pod.manifest, "metadata": manifest["metadata"], "spec": manifest["spec"]}
        if manifest.get("gone") or manifest["metadata"].get("deletionTimestamp"):
            pod.end(manifest["metadata"].get("deletionGracePeriodSeconds", 0))
            pod.deleted.set()

    def find(self, namespace: str, name: str) -> Pod | None:
        found = [pod for pod in self.pods.values() if pod.namespace == namespace and pod.name == name]
        return found[-1] if found else None

    def new_address(self) -> str:
        self.addresses += 1
        return f"127.1.{self.addresses >> 8 & 255}.{self.addresses & 255}"

    def name_pod(self, pod: Pod) -> None:
        """In the place of the cluster's DNS: every container's /etc/hosts knows the pods of headless services."""
        spec = pod.manifest["spec"]
        names = [spec.get("hostname", pod.name)]
        if subdomain := spec.get("subdomain"):
            long = f"{names[0]}.{subdomain}.{pod.namespace}.svc"
            names += [f"{names[0]}.{subdomain}", long, f"{long}.cluster.local"]
        with self.hosts.open("a") as file:
            file.write(f"{pod.address} {' '.join(names)}\n")

    # what the API server and the tests ask for

    async def serve(self) -> None:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self.logs)
        app.router.add_get("/portForward/{namespace}/{pod}", self.forward)
        app.router.add_post("/lab/{what}/{name}", self.control)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.spec["certificate"], self.spec["key"])
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = runner.addresses[0][1]

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """The container's output from the beginning; ``follow=true`` goes on until it ends."""
        pod = self.find(request.match_info["namespace"], request.match_info["pod"])
        path = pod.log(request.match_info["container"]) if pod else None
        if pod is None or path is None or not path.exists():
            return web.Response(status=404, text="no such container here\n")
        follow = request.query.get("follow") == "true"
        limit = int(request.query.get("limitBytes", 1 << 62))
        reply = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await reply.prepare(request)
        with path.open("rb") as file, contextlib.suppress(ConnectionError):
            while limit > 0:
                over = pod.over.is_set() or not pod.node.alive
                if chunk := file.read(min(limit, 1 << 16)):
                    limit -= len(chunk)
                    await reply.write(chunk)
                elif over or not follow:
                    break
                else:
                    await asyncio.sleep(_POLL_S)
        return reply

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """One port through the web socket protocol of pods/portforward: two channels, data and error."""
        pod = self.find(request.match_info["namespace"], request.match_info["pod"])
        port = int(request.query["port"])
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        try:
            reader, writer = await asyncio.open_connection(pod.address if pod else "127.0.0.1", port)
        except OSError as error:
            await socket.send_bytes(b"\x01" + f"connection refused: {error.strerror}".encode())
            await socket.close()
            return socket

        async def down() -> None:
            while data := await reader.read(1 << 16):
                await socket.send_bytes(b"\x00" + data)
            await socket.close()

        self.keep(down())
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY and message.data[:1] == b"\x00":
                writer.write(message.data[1:])
        writer.close()
        return socket

    async def control(self, request: web.Request) -> web.Response:
        """``die/NODE`` and ``revive/NODE``; ``evict/POD`` and ``oom/POD`` end a pod with that reason."""
        what, name = request.match_info["what"], request.match_info["name"]
        if what in ("die", "revive"):
            node = self.nodes[name]
            node.alive = what == "revive"
            for pod in [pod for pod in self.pods.values() if pod.node is node and not node.alive]:
                pod.kill()
            if node.alive:
                self.pods = {uid: pod for uid, pod in self.pods.items() if pod.node is not node}
                node.taken.clear()
                await self.renew(node, status=True)
                listed = await self.api.call("GET", f"/api/v1/pods?fieldSelector=spec.nodeName={name}")
                for manifest in listed["items"]:
                    self.look(manifest)
        else:
            for pod in [pod for pod in self.pods.values() if pod.name == name]:
                pod.reason = {"evict": "Evicted", "oom": "OOMKilled"}[what]
                pod.kill()
        return web.Response(text="ok\n")


class Pod:
    """One pod from its admission to its end."""

    def __init__(self, kubelet: Kubelet, node: Node, manifest: dict[str, Any]) -> None:
        self.kubelet, self.node, self.manifest = kubelet, node, manifest
        self.namespace = str(manifest["metadata"]["namespace"])
        self.name = str(manifest["metadata"]["name"])
        self.uid = str(manifest["metadata"]["uid"])
        self.folder = kubelet.folder / self.uid
        self.address = ""
        self.reason = ""
        self.grace: float | None = None  # seconds, once it is to end
        self.ending = asyncio.Event()
        self.deleted = asyncio.Event()
        self.over = asyncio.Event()
        self.processes: list[asyncio.subprocess.Process] = []
        self.started_at = now()

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    def log(self, container: str) -> Path:
        return self.folder / f"{container}.log"

    def end(self, grace: float) -> None:
        self.grace = grace if self.grace is None else min(grace, self.grace)
        self.ending.set()

    def kill(self) -> None:
        self.grace = 0.0
        self.ending.set()
        for process in self.processes:
            if process.returncode is None:
                process.kill()

    async def live(self) -> None:
        held = self.admit()
        if held is None:
            await self.report("Failed", reason=self.reason, message="Pod was rejected by the node")
        else:
            try:
                await self.work(held)
            finally:
                for resource, indexes in held.items():
                    self.node.taken[resource].difference_update(indexes)
        self.over.set()
        await self.deleted.wait()
        await self.delete()

    async def lost(self) -> None:
        """It began before this node was started again: whatever ran is gone."""
        self.over.set()
        if self.manifest["status"]["phase"] == "Running":
            await self.ended(137)
        await self.deleted.wait()
        await self.delete()

    async def delete(self) -> None:
        await asyncio.sleep(_TIDY_S)
        if self.node.alive:
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
            await self.kubelet.api.call("DELETE", self.path, body)

    def admit(self) -> dict[str, list[int]] | None:
        """The devices it gets; None when the node has not enough left, as a kubelet decides for itself."""
        held: dict[str, list[int]] = {}
        for resource, count in needs(self.manifest).items():
            indexes = self.node.take(resource, count)
            if indexes is None:
                self.reason = f"OutOf{resource}"
                for name, taken in held.items():
                    self.node.taken[name].difference_update(taken)
                return None
            held[resource] = indexes
        return held

    async def work(self, held: dict[str, list[int]]) -> None:
        spec = self.manifest["spec"]
        self.address = "127.0.0.1" if spec.get("hostNetwork") else self.kubelet.new_address()
        self.kubelet.name_pod(self)
        limit = spec.get("activeDeadlineSeconds")
        if limit:
            asyncio.get_running_loop().call_later(limit, self.out_of_time)
        if not await self.wait_for_images() or (volumes := await self.mount()) is None:
            return
        main = spec["containers"][0]
        if match := re.fullmatch(r"lab/sleep-([\d.]+)", main["image"]):
            await self.sleep(float(match[1]))
        else:
            await self.start(main, volumes, held)

    def out_of_time(self) -> None:
        if not self.over.is_set():
            self.reason = self.reason or "DeadlineExceeded"
            self.end(self.manifest["spec"].get("terminationGracePeriodSeconds", 30))

    async def wait_for_images(self) -> bool:
        for container in self.manifest["spec"]["containers"]:
            reason, message = image_trouble(container["image"])
            if not reason:
                continue
            for told in (reason, "ImagePullBackOff" if reason == "ErrImagePull" else reason):
                await self.waiting(told, message)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.ending.wait(), 0.5)
            await self.ending.wait()
            await self.report("Failed", reason=self.reason)
            return False
        return True

    async def mount(self) -> list[tuple[str, str]] | None:
        """Pairs of a path of the machine and one of the container; waits for what is not there yet."""
        (self.folder / "volumes").mkdir(parents=True, exist_ok=True)
        while not self.ending.is_set():
            paths = await volume_paths(
                self.manifest, self.folder / "volumes", self.kubelet.folder, self.kubelet.api.call
            )
            if paths is not None:
                return [(str(self.kubelet.hosts), "/etc/hosts"), *paths]
            await self.waiting("ContainerCreating", "")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), 0.2)
        await self.report("Failed", reason=self.reason)
        return None

    async def sleep(self, seconds: float) -> None:
        self.log(self.manifest["spec"]["containers"][0]["name"]).touch()
        await self.report("Running", state={"running": {"startedAt": now()}})
        try:
            await asyncio.wait_for(self.ending.wait(), seconds)
            await self.ended(137)
        except TimeoutError:
            await self.ended(0)

    async def start(
        self, container: dict[str, Any], volumes: list[tuple[str, str]], held: dict[str, list[int]]
    ) -> None:
        name = container["name"]
        env = await environment(self.manifest, container, self.address, self.kubelet.api.call)
        if isinstance(env, str):
            await self.waiting("CreateContainerConfigError", env)
            await self.ending.wait()
            await self.report("Failed", reason=self.reason)
            return
        for indexes in held.values():
            env["NVIDIA_VISIBLE_DEVICES"] = ",".join(str(index) for index in indexes)
        error = self.folder / "error"
        spec = {
            "argv": [expanded(part, env) for part in (*container.get("command", ()), *container.get("args", ()))],
            "env": {"PATH": os.environ.get("PATH", os.defpath), "HOSTNAME": self.name, "HOME": "/root", **env},
            "cwd": container.get("workingDir") or "/",
            "mounts": volumes,
            "share": bool(self.manifest["spec"].get("shareProcessNamespace")),
            "error": str(error),
        }
        (self.folder / "spec.json").write_text(json.dumps(spec))
        self.started_at = now()
        with self.log(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(CONTAINER), str(self.folder / "spec.json"),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        await self.report("Running", state={"running": {"startedAt": self.started_at}})
        memory = container.get("resources", {}).get("limits", {}).get("memory")
        if memory:
            self.kubelet.keep(self.mind_memory(process, int(memory)))
        await self.end_of(process)
        message = error.read_text() if error.exists() else ""
        await self.ended(process.returncode or 0, message)

    async def end_of(self, process: asyncio.subprocess.Process) -> None:
        done = asyncio.ensure_future(process.wait())
        asked = asyncio.ensure_future(self.ending.wait())
        await asyncio.wait((done, asked), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            since = asyncio.get_running_loop().time()
            while not done.done() and asyncio.get_running_loop().time() - since < (self.grace or 0):
                await asyncio.wait((done,), timeout=_POLL_S)
            if not done.done():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await done
        asked.cancel()

    async def mind_memory(self, process: asyncio.subprocess.Process, limit: int) -> None:
        while process.returncode is None:
            with contextlib.suppress(psutil.Error):
                tree = [child.memory_info().rss for child in psutil.Process(process.pid).children(recursive=True)]
                if sum(tree) > limit:
                    self.reason = "OOMKilled"
                    self.kill()
                    return
            await asyncio.sleep(_MEMORY_POLL_S)

    async def ended(self, code: int, start_error: str = "") -> None:
        code = 137 if code in (-signal.SIGKILL, 137) else 128 - code if code < 0 else code
        word = "Completed" if code == 0 else "Error"
        if start_error:
            word = "StartError"
        elif self.reason == "OOMKilled":
            code, word = 137, "OOMKilled"
        terminated: dict[str, Any] = {
            "exitCode": code,
            "reason": word,
            "startedAt": self.started_at,
            "finishedAt": now(),
        }
        if start_error:
            terminated["message"] = f"failed to create containerd task: OCI runtime create failed: {start_error}"
        of_pod = self.reason if self.reason in ("DeadlineExceeded", "Evicted") else ""
        message = {
            "DeadlineExceeded": "Pod was active on the node longer than the specified deadline",
            "Evicted": "The node was low on resource: ephemeral-storage.",
        }.get(of_pod, "")
        phase = "Failed" if of_pod or code else "Succeeded"
        await self.report(phase, reason=of_pod, message=message, state={"terminated": terminated})

    async def waiting(self, reason: str, message: str) -> None:
        await self.report("Pending", state={"waiting": {"reason": reason, "message": message}})

    async def report(
        self, phase: str, *, reason: str = "", message: str = "", state: dict[str, Any] | None = None
    ) -> None:
        running = bool(state and "running" in state)
        status: dict[str, Any] = {
            "phase": phase,
            "startTime": self.started_at,
            "hostIP": "127.0.0.1",
            "conditions": [
                {"type": "Ready", "status": "True" if running else "False"},
                {"type": "PodScheduled", "status": "True"},
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "restartCount": 0,
                    "ready": running,
                    "state": state,
                }
                for container in self.manifest["spec"]["containers"]
            ]
            if state
            else [],
        }
        if reason:
            status |= {"reason": reason, "message": message}
        if self.address:
            status |= {"podIP": self.address, "podIPs": [{"ip": self.address}]}
        while self.node.alive:
            answer = await self.kubelet.api.patch(f"{self.path}/status", {"status": status})
            if answer is not None:
                return
            await asyncio.sleep(0.2)


async def main() -> None:
    kubelet = Kubelet(json.loads(Path(sys.argv[1]).read_text()))
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await kubelet.run()
    for pod in kubelet.pods.values():
        pod.kill()


if __name__ == "__main__":
    asyncio.run(main())

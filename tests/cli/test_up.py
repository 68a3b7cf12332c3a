"""`stoker up` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from stoker.cli.up import _machines
from stoker.client import Client
from stoker.client.config import stored_login
from stoker.cluster import Device, Node
from tests.cli.conftest import Stoker

START = (sys.executable, "-c", "import sys; from stoker.cli import main; sys.exit(main())", "up", "--port", "0")


class Running:
    """A platform process: what it printed until it was ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.banner = ""
        while "Ctrl-C" not in self.banner and (line := process.stdout.readline()):
            self.banner += line
        found = re.search(r"console +(http://\S+)", self.banner)
        assert found, self.banner
        self.url = found[1]
        secret = re.search(r"sk-stk-\S+", self.banner)
        self.key = secret[0] if secret else ""

    def end(self, how: int = signal.SIGINT) -> str:
        """Stop it; returns all it still said."""
        self.process.send_signal(how)
        return self.process.communicate(timeout=60)[0]


@contextmanager
def running(*options: str, **environ: str) -> Iterator[Running]:
    with subprocess.Popen(
        (*START, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environ},
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def test_first_start_says_what_one_needs(tmp_path: Path) -> None:
    home = tmp_path / "h"
    with running("--home", str(home), "--devices", "H100:2", "--cpus", "3") as up:
        assert "devices 2, CPUs 3, nodes 1" in up.banner
        assert str(home) in up.banner
        assert f"OpenAI base_url  {up.url}/v1" in up.banner
        assert f"stoker login {up.url}" in up.banner
        with Client(up.url, up.key) as client:
            assert client.info().account.role == "admin"
        said = up.end()
        assert said.endswith("stopped; jobs go on\n")
        assert "Traceback" not in said
        assert up.process.returncode == 0
    with running("--home", str(home)) as again:
        assert again.key == ""  # shown once
        again.end(signal.SIGTERM)
        assert again.process.returncode == 0


def test_the_first_key_of_the_own_home_is_remembered(tmp_path: Path, own_config: Path) -> None:
    with running() as up:
        assert "this user is logged in" in up.banner
        login = stored_login()
        assert login is not None
        assert (login.url, login.api_key) == (up.url, up.key)
        assert (own_config / "stoker" / "config.toml").stat().st_mode & 0o077 == 0


def test_the_login_follows_the_platform_to_another_port(alone: Stoker) -> None:
    with running() as up:
        first = up.url
        up.end()
    with socket.create_server(("127.0.0.1", int(first.rpartition(":")[2]))), running() as up:
        assert "logged in at the new address" in up.banner
        assert alone("jobs").code == 0
        up.end()


def test_a_login_that_is_there_is_left_alone(tmp_path: Path, own_config: Path) -> None:
    folder = own_config / "stoker"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('url = "http://elsewhere:1"\napi_key = "sk-stk-other"\n')
    with running() as up:
        assert "to use it in another terminal" in up.banner
        login = stored_login()
        assert login is not None
        assert login.url == "http://elsewhere:1"


def test_a_home_has_one_platform(tmp_path: Path, alone: Stoker) -> None:
    home = str(tmp_path / "h")
    with running("--home", home) as up:
        said = alone("up", "--home", home, "--port", "0")
        assert said.code == 2
        assert f"is held by process {up.process.pid}" in said.err
        assert up.url in said.err


def test_a_job_outlives_the_platform(tmp_path: Path, alone: Stoker, monkeypatch: pytest.MonkeyPatch) -> None:
    home, gate = str(tmp_path / "h"), tmp_path / "gate"
    with running("--home", home) as up:
        monkeypatch.setenv("STOKER_API_KEY", up.key)
        key = up.key
        command = f"until [ -e {gate} ]; do sleep 0.05; done; exit 9"
        alone("--url", up.url, "run", "-J", "survivor", "--", "bash", "-c", command)
        with Client(up.url, key) as client:
            [job] = client.jobs.resolve("survivor")
            while client.jobs.get(job.id).started_at is None:
                pass
        up.process.kill()
        up.process.wait()
    gate.touch()
    with running("--home", home) as up:
        assert alone("--url", up.url, "wait", "survivor").code == 9


def test_a_port_in_use_is_one_line_and_leaves_nothing_behind(tmp_path: Path, alone: Stoker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = alone("up", "--home", str(tmp_path / "h"), "--port", port)
    assert said.code == 2
    assert said.err == f"stoker: port {port} on 127.0.0.1 is in use; choose another with --port\n"
    assert said.out == ""
    with running("--home", str(tmp_path / "h")) as up:
        assert up.key  # the failed start gave none away


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "no key exists yet"),  # noqa: S104
        (["--devices", "H100:many"], "write for example H100:8"),
        (["--home", "/dev/null/x"], "give another --home"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(tmp_path: Path, alone: Stoker, options: list[str], says: str) -> None:
    said = alone(
        "up", "--port", "0", *(options if "--home" in options else [*options, "--home", str(tmp_path / "h")])
    )
    assert said.code == 2
    assert says in said.err
    assert said.err.count("\n") == 1


def test_a_lost_admin_key_can_be_replaced(tmp_path: Path) -> None:
    home = tmp_path / "h"
    with running("--home", str(home)) as first:
        lost = first.key
        first.end()
    with running("--home", str(home), "--recover-admin") as again:
        assert again.key not in ("", lost)
        with Client(again.url, again.key) as client:
            assert client.info().account.role == "admin"
        again.end()


def test_the_first_admin_can_bring_the_key(tmp_path: Path) -> None:
    key = f"sk-stk-{'a1' * 16}"
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    with running(STOKER_HOME=f"{tmp_path}/home", STOKER_ADMIN_KEY_FILE=str(file)) as platform:
        assert key not in platform.banner
        assert platform.key == ""
        with Client(platform.url, key) as client:
            assert client.info().account.role == "admin"


@pytest.mark.parametrize("content", ["secret", "sk-stk-short", f"sk-stk-{'a ' * 20}"])
def test_a_first_key_that_could_be_guessed_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    command = (*START, "--home", f"{tmp_path}/home", "--admin-key-file", str(file))
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "32 to 200 letters" in ended.stderr


def test_the_manifest_of_the_platform_starts_it_as_the_platform_wants_to_be_started() -> None:
    file = Path(__file__).parents[2] / "deploy" / "kubernetes" / "platform.yaml"
    kinds = {one["kind"]: one for one in yaml.safe_load_all(file.read_text())}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    envs = {env["name"]: env["value"] for env in container["env"]}
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounted[envs["STOKER_HOME"]] == "home"
    assert mounted[str(Path(envs["STOKER_ADMIN_KEY_FILE"]).parent)] == "admin"
    assert {volume["name"] for volume in pod["volumes"]} == set(mounted.values())
    assert container["readinessProbe"]["httpGet"]["path"] == "/api/v1/health"
    assert container["command"][:2] == ["stoker", "up"]


def test_a_machine_of_two_engines_is_greeted_once() -> None:
    device = Device(0, "H100")
    nodes = [
        Node("gpu1.site", "k8s", 8, 0),
        Node("gpu1", "hpc", 16, 0, (device,)),
        Node("gpu2", "hpc", 16, 0, (device,)),
    ]
    assert [node.place for node in _machines(nodes)] == [nodes[1].place, nodes[2].place]

"""Slurm behind a login node: who is let in, what is said when not, and connections that break."""

from __future__ import annotations

import http.server
import secrets
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stoker.engine import Key
from stoker.engines.slurm import SlurmEngine, SlurmSettings
from stoker.errors import Away
from stoker.job import JobState
from tests.engines.contract import shell
from tests.engines.slurm_cluster import comes, placed
from tests.engines.test_slurm import behind
from tests.labs.slurm import SlurmLab
from tests.labs.sshd import LoginNode

pytestmark = pytest.mark.slurm
ONE = Key(1, 1)
Open = Callable[[SlurmSettings], SlurmEngine]


@pytest.fixture
def open_(tmp_path: Path) -> Iterator[Open]:
    opened: list[SlurmEngine] = []

    def make(settings: SlurmSettings) -> SlurmEngine:
        opened.append(SlurmEngine("hpc", settings, tmp_path / str(len(opened)), secrets.token_hex(6)))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def test_wrong_host_key_wrong_key_wrong_port(
    slurm: SlurmLab, login: LoginNode, tmp_path: Path, open_: Open
) -> None:
    good = behind(login, slurm, tmp_path)
    for settings, told in (
        (replace(good, ssh_known_hosts=str(login.wrong_hosts)), "Host key verification failed; compare its key"),
        (replace(good, ssh_identity=str(login.key("stranger"))), "Permission denied .*ssh_identity"),
        (replace(good, ssh_port=1), "Connection refused"),
        (replace(good, wrapper_python="/no/python3"), "no/python3"),
    ):
        engine = open_(settings)
        for _ in range(2):  # the second time at once, from memory
            with pytest.raises(Away, match=f"login node root@127.0.0.1: .*{told}") as raised:
                engine.states()
        assert "\n" not in str(raised.value)
        assert "Authorised users" not in str(raised.value)


def test_a_login_node_that_greets(slurm: SlurmLab, login: LoginNode, tmp_path: Path, open_: Open) -> None:
    engine = open_(behind(login, slurm, tmp_path, key="noisy"))
    engine.submit([placed(shell("echo here"))])
    assert comes(engine, ONE, lambda seen: seen.state.final).state is JobState.SUCCEEDED
    assert engine.logs(ONE) == b"here\n"


def test_a_broken_connection_is_made_anew(slurm: SlurmLab, login: LoginNode, tmp_path: Path, open_: Open) -> None:
    engine = open_(behind(login, slurm, tmp_path))
    engine.submit([placed(shell(f"echo x >> {tmp_path}/ran; sleep 3"))])
    for _ in range(2):
        login.hang_up()
        try:
            engine.states()
        except Away as error:
            assert "login node root@127.0.0.1" in str(error)  # noqa: PT017
    login.kill()
    with pytest.raises(Away):
        engine.states()
    login.start()

    def succeeded() -> JobState | None:
        try:
            return comes(engine, ONE, lambda seen: seen.state.final).state
        except Away:
            return None

    state = None
    while state is None:
        state = succeeded()
    assert state is JobState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_jump_host(slurm: SlurmLab, login: LoginNode, tmp_path: Path, open_: Open) -> None:
    """Through the login node to itself, as ssh -J goes; keys and hosts of the jump are ssh_config's."""
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host gate cluster\n  HostName 127.0.0.1\n  User root\n  Port {login.port}\n"
        f"  IdentityFile {login.key('good')}\n  UserKnownHostsFile {login.known_hosts}\n"
    )
    good = behind(login, slurm, tmp_path)
    settings = replace(
        good,
        ssh="cluster",
        ssh_port=0,
        ssh_identity="",
        ssh_known_hosts="",
        ssh_jump="gate",
        ssh_config=str(config),
    )
    assert len(open_(settings).inventory()) == 4


def test_a_service_of_a_job_through_the_tunnel(
    slurm: SlurmLab, login: LoginNode, tmp_path: Path, open_: Open
) -> None:
    engine = open_(behind(login, slurm, tmp_path))
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    engine.submit([placed(shell("sleep 600"))])
    host, port = engine.connect(ONE, server.server_port)
    assert port != server.server_port
    with urllib.request.urlopen(f"http://{host}:{port}/") as answer:
        assert answer.status == 200
    assert engine.connect(ONE, server.server_port) == (host, port)
    engine.cancel([ONE], grace=0.0)
    comes(engine, ONE, lambda seen: seen.state.final)
    engine.forget([ONE])
    with pytest.raises(OSError, match="refused"):  # the tunnel is closed with its job
        urllib.request.urlopen(f"http://{host}:{port}/")
    server.shutdown()
    server.server_close()


def test_a_key_that_may_not_forward(slurm: SlurmLab, login: LoginNode, tmp_path: Path, open_: Open) -> None:
    engine = open_(behind(login, slurm, tmp_path, key="walled"))
    engine.submit([placed(shell("sleep 600"))])
    host, port = engine.connect(ONE, 9)  # ssh opens its own end in any case
    with pytest.raises(OSError, match=r"reset|closed|without response|Remote end"):
        urllib.request.urlopen(f"http://{host}:{port}/", timeout=10)


def test_files_larger_than_a_frame(slurm: SlurmLab, login: LoginNode, tmp_path: Path, open_: Open) -> None:
    engine = open_(behind(login, slurm, tmp_path))
    engine.submit([placed(shell("head -c 3000000 /dev/zero | tr '\\0' x"))])
    comes(engine, ONE, lambda seen: seen.state.final)
    assert [len(engine.logs(ONE, offset=offset)) for offset in (0, 1 << 20, 2 << 20, 3 << 20)] == [
        1 << 20,
        1 << 20,
        3_000_000 - (2 << 20),
        0,
    ]

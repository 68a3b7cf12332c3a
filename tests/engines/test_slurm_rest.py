"""The Slurm engine with slurmrestd: what it tells equals what the commands tell, and half an answer is none."""

from __future__ import annotations

import base64
import json
import logging
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stoker.clock import SystemClock
from stoker.engine import Key
from stoker.engines.slurm import SlurmEngine, SlurmSettings, rest_v38
from stoker.engines.slurm.commands import Commands
from stoker.engines.slurm.details import Detail
from stoker.engines.slurm.machine import CALL_S, Here, Program, Ran
from stoker.engines.slurm.nodes import Wanted
from stoker.engines.slurm.rest import Rest
from stoker.errors import Away, BadInput
from stoker.foreign import Held
from stoker.job import JobState, Resources
from tests.engines.contract import shell
from tests.engines.slurm_cluster import comes, on_this_machine, placed
from tests.labs.daemons import free_ports, until
from tests.labs.slurm import SlurmLab
from tests.labs.sshd import LoginNode

RECORDED = Path(__file__).with_name("recorded")
JOBS = (RECORDED / "rest-jobs-22.05.json").read_bytes()
NODES = (RECORDED / "rest-nodes-22.05.json").read_bytes()
ONE = Key(1, 1)


def part(**words: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(words).encode()).decode().rstrip("=")


def token(expires: float = 4e9) -> str:
    """As scontrol token makes them; signed by nobody."""
    return f"{part(alg='HS256', typ='JWT')}.{part(exp=expires, sun='ann')}.{secrets.token_hex(16)}"


# Recorded answers, whole and broken


class Told(Here):
    """A machine whose scontrol tells of the recorded nodes; gpu2 keeps 1000 MiB."""

    def run(self, programs: Sequence[Program], timeout: float = CALL_S) -> list[Ran]:
        names = [node["name"] for node in json.loads(NODES)["nodes"]]
        lines = [
            f"NodeName={name} CPUTot=32 RealMemory=64000 State=IDLE MemSpecLimit={1000 if name == 'gpu2' else 0}\n"
            for name in names
        ]
        return [Ran(0, "".join(lines).encode()) for _ in programs]


@contextmanager
def answering(bodies: Mapping[str, bytes], status: int = 200, promised: int = 0) -> Iterator[tuple[str, list[str]]]:
    """A server that gives `bodies` by last word of the path; its address, and the tokens that it was given."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["X-SLURM-USER-TOKEN"])
            body = bodies.get(self.path.rpartition("/")[2], b"")
            self.send_response(status)
            self.send_header("Content-Length", str(promised or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def rest_of(url: str, folder: Path, said: str = "") -> Rest:
    path = folder / "token"
    path.write_text(f"SLURM_JWT={said or token()}\n")
    settings = SlurmSettings(rest_url=url, rest_token=str(path), rest_user="ann")
    machine = Told()
    return Rest(machine, settings, Commands(machine, settings), SystemClock())


def test_recorded_jobs_are_as_squeue_told_them(tmp_path: Path) -> None:
    with answering({"jobs": JOBS, "nodes": NODES}) as (url, _):
        rest = rest_of(url, tmp_path)
        rows = {row.id: row for row in rest.queue()}
        details = rest.details()
        rest.close()
    assert {row.id: row.label for row in rows.values()} == {
        9: "1_0", 3: "3", 4: "4", 5: "5", 6: "6", 1: "1_[2-3%2]"
    }  # fmt: skip
    assert (rows[4].state, rows[4].reason, rows[1].reason) == ("FAILED", "NonZeroExitCode", "JobArrayTaskLimit")
    assert (rows[6].started_at, rows[6].ended_at) == (1827076739.0, None)  # squeue: NONE, as it has no limit
    assert (details[4].exit_code, details[5].exit_code, details[6]) == (3, 137, Detail())
    # scontrol said: Nodes=gpu0 CPU_IDs=6-7,16-17 Mem=10 GRES=gpu:h200:1(IDX:3)
    assert details[3].held[0] == Held("gpu0", 4, 10 << 20, 1, (3,))


def test_what_the_system_keeps_is_not_offered(tmp_path: Path) -> None:
    with answering({"nodes": NODES}) as (url, _):
        rest = rest_of(url, tmp_path)
        found = rest.nodes(Wanted("hpc"))
        rest.close()
    assert [(one.node.cpus, one.node.memory >> 20) for one in found.values()] == [
        (32, 64000), (32, 64000), (28, 63000)
    ]  # fmt: skip
    assert found["gpu2"].node.devices[7].model == "H200"


@pytest.mark.parametrize(
    ("jobs", "status", "promised", "said"),
    [
        (JOBS[: len(JOBS) // 2], 200, 0, "no whole JSON"),
        (JOBS[: len(JOBS) // 2], 200, len(JOBS), "does not answer"),
        (b"", 200, 0, "no whole JSON"),
        (b"[]", 200, 0, "no object"),
        (b'{"errors": []}', 200, 0, "lists none"),
        (b'{"jobs": []}', 200, 0, "lists none"),
        (b'{"errors": [], "jobs": [{"job_id": 1}]}', 200, 0, "is missing"),
        (b'{"errors": [], "jobs": [7]}', 200, 0, "cannot be used"),
        (JOBS.replace(b'"errors": []', b'"errors": [{"error": "Zero Bytes"}]'), 200, 0, "Zero Bytes"),
    ],
)
def test_half_an_answer_is_none(tmp_path: Path, jobs: bytes, status: int, promised: int, said: str) -> None:
    with answering({"nodes": NODES}) as (url, _):
        rest = rest_of(url, tmp_path)
        rest.nodes(Wanted("hpc"))
    with answering({"jobs": jobs}, status, promised) as (url, _):
        rest._settings = replace(rest._settings, rest_url=url)
        with pytest.raises(Away, match=said):
            rest.queue()
    rest.close()


def test_bytes_that_are_no_text_in_a_name_do_no_harm(tmp_path: Path) -> None:
    jobs = JOBS.replace(b'"name": "sbatch"', b'"name": "a\xff\x01"', 1)
    assert jobs != JOBS
    with answering({"jobs": jobs, "nodes": NODES}) as (url, _):
        rest = rest_of(url, tmp_path)
        assert "a\ufffd\x01" in {row.name for row in rest.queue()}
        rest.close()


def test_the_token_is_read_anew_and_told_to_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = token(), token()
    with answering({"nodes": b'{"errors": [{"description": "not you: %s"}]}' % second.encode()}) as (url, seen):
        rest = rest_of(url, tmp_path, first)
        with pytest.raises(Away):
            rest.nodes(Wanted("hpc"))
        (tmp_path / "token").write_text(second)
        with pytest.raises(Away) as caught:
            rest.nodes(Wanted("hpc"))
        rest.close()
    assert seen == [first, second]
    for one in (first, second):
        assert one not in caplog.text + str(caught.value)


def test_an_expired_token_is_called_expired(tmp_path: Path) -> None:
    with answering({"nodes": b"Authentication failure"}, 401) as (url, _):
        rest = rest_of(url, tmp_path, token(expires=1e9))
        with pytest.raises(Away, match="has expired; write a new one"):
            rest.nodes(Wanted("hpc"))
        rest.close()


@pytest.mark.parametrize("text", ["", "secret", "a.b.c\nX-Evil: 1", "a.b.ü"])
def test_what_is_no_token_is_not_sent(tmp_path: Path, text: str) -> None:
    rest = rest_of("http://127.0.0.1:1", tmp_path)
    (tmp_path / "token").write_text(text)
    with pytest.raises(Away, match="token") as caught:
        rest.nodes(Wanted("hpc"))
    assert not text or text not in str(caught.value)
    rest.close()


@pytest.mark.parametrize(
    "given",
    [
        {"rest_url": "10.0.0.1:6820", "rest_token": "/t"},
        {"rest_url": "http://ann:secret@head:6820", "rest_token": "/t"},
        {"rest_url": "http://head:6820"},
        {"rest_token": "/t"},
        {"rest_url": "unix:/run/rest", "rest_token": "/t", "ssh": "head"},
        {"rest_url": "http://head:6820", "rest_token": "/t", "rest_user": "a b"},
    ],
)
def test_settings_that_cannot_be_meant(given: dict[str, str]) -> None:
    with pytest.raises(BadInput) as caught:
        SlurmSettings(**given)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


# The real slurmrestd


@pytest.fixture
def settings(slurm: SlurmLab, tmp_path: Path) -> SlurmSettings:
    path = tmp_path / "token"
    path.write_text(f"SLURM_JWT={slurm.token()}\n")
    return on_this_machine(slurm, tmp_path, rest_url=slurm.rest_url, rest_token=str(path))


@pytest.fixture
def both(settings: SlurmSettings) -> Iterator[tuple[Commands, Rest]]:
    machine = Here()
    commands = Commands(machine, settings)
    rest = Rest(machine, settings, commands, SystemClock())
    yield commands, rest
    rest.close()


def batch(slurm: SlurmLab, *options: str, text: str = "exec sleep 600") -> str:
    return slurm.run("sbatch", "-o", "/dev/null", "--parsable", *options, stdin=f"#!/bin/sh\n{text}\n")


@pytest.mark.slurm
def test_queue_details_and_nodes_equal_those_of_the_commands(slurm: SlurmLab, both: tuple[Commands, Rest]) -> None:
    commands, rest = both
    slurm.submit_other("--gres=gpu:2", "--mem=100", "--job-name=an other|\n<x", "-w", "gpu0")
    batch(slurm, "--nodes=3", "-n", "7", "--gres=gpu:1", "--mem=10", '--comment=hé "x"|')
    batch(slurm, "--array=0-4%2", "--gres=gpu:h200:1", "--mem=100")
    batch(slurm, "--nodes=4", "--gres=gpu:8", "--mem=10", "--hold")
    batch(slurm, "-p", "maintenance")
    batch(slurm, "-p", "debug", "--begin=now+1hour")
    ended = batch(slurm, "--mem=10", text="exit 3")
    killed = batch(slurm, "--mem=10", text="kill -9 $$")
    over = {int(ended), int(killed)}
    until(lambda: {row.state for row in commands.queue() if row.id in over} == {"FAILED"}, "two have failed")
    slurm.run("scontrol", "update", "nodename=gpu3", "state=drain", "reason=xid79 fallen off")
    slurm.run("scontrol", "update", "nodename=gpu2", "state=down", "reason=gone")
    wanted = Wanted("hpc", partition="batch")

    def equal() -> bool:
        """Compared again where Slurm has gone on between the two questions."""
        mine, theirs = rest.queue(), commands.queue()
        return (
            sorted(mine, key=lambda row: row.id) == sorted(theirs, key=lambda row: row.id)
            and rest.details() == commands.details()
            and rest.nodes(wanted) == commands.nodes(wanted)
        )

    until(equal, "both tell the same", 30)
    states = {row.state for row in rest.queue()}
    assert {"RUNNING", "PENDING", "FAILED"} <= states
    assert any(row.label.endswith("%2]") for row in rest.queue())
    assert rest.nodes(wanted)["gpu3"].drained


@pytest.mark.slurm
def test_a_job_from_end_to_end_with_few_questions(slurm: SlurmLab, settings: SlurmSettings, tmp_path: Path) -> None:
    engine = SlurmEngine("hpc", settings, tmp_path / "engine", secrets.token_hex(6))
    try:
        slurm.submit_other("-w", "gpu1", "--gres=gpu:2", "--mem=10")
        spec = shell("echo $CUDA_VISIBLE_DEVICES; exit 7", resources=Resources(accelerators=2))
        assert engine.submit([placed(spec, devices=(0, 1))]) == {}
        seen = comes(engine, ONE, lambda seen: seen.state.final)
        assert (seen.state, seen.exit_code, engine.logs(ONE)) == (JobState.FAILED, 7, b"0,1\n")
        holds = (Held("gpu1", 1, 10 << 20, 2, (0, 1)),)
        until(lambda: engine.states() != {} and [one.held for one in engine.others()] == [holds], "it is seen")
        assert len(engine.inventory()) == len(slurm.nodes)
        assert engine.calls["squeue"] == 0
        assert engine.calls["scontrol"] == 3  # its configuration and topology, and memory that nodes keep
        before = engine.calls["rest jobs"]
        engine.states()
        assert engine.calls["rest jobs"] == before + 1
    finally:
        engine.close()


@pytest.mark.slurm
def test_what_slurmrestd_refuses_is_away_in_one_line(
    slurm: SlurmLab, settings: SlurmSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(settings: SlurmSettings) -> str:
        rest = Rest(Here(), settings, Commands(Here(), settings), SystemClock())
        with pytest.raises(Away) as caught:
            rest.queue()
        rest.close()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    path = Path(settings.rest_token)
    good, brief = path.read_text(), slurm.token(1)
    path.write_text(token())
    assert "is not one of root" in said(settings)
    path.write_text(slurm.run("scontrol", "token", "username=nobody", "lifespan=600"))
    assert "is not one of root" in said(settings)
    path.write_text(brief)
    until(lambda: _over(brief), "it expires", 20)
    assert "expired" in said(settings)
    path.write_text(good)
    with monkeypatch.context() as patch:
        patch.setattr(rest_v38, "VERSION", "v0.0.99")
        assert "has no v0.0.99" in said(settings)
    port = free_ports(1)[0]
    assert "does not answer" in said(replace(settings, rest_url=f"http://127.0.0.1:{port}"))
    slurm.kill_controller()
    assert "slurmctld is away" in said(settings)


def _over(text: str) -> bool:
    body = text.split(".")[1]
    return bool(json.loads(base64.urlsafe_b64decode(body + "==="))["exp"] < SystemClock().now() - 1)


@pytest.mark.slurm
def test_through_a_login_node(slurm: SlurmLab, login: LoginNode, settings: SlurmSettings, tmp_path: Path) -> None:
    behind = replace(
        settings, ssh="root@127.0.0.1", ssh_port=login.port, ssh_identity=str(login.key("good")),
        ssh_known_hosts=str(login.known_hosts),
    )  # fmt: skip
    engine = SlurmEngine("hpc", behind, tmp_path / "engine", secrets.token_hex(6))
    try:
        assert [node.name for node in engine.inventory()] == slurm.nodes
        assert engine.states() == {}
    finally:
        engine.close()


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve(times: int) -> None:
        for _ in range(times):
            one, _peer = listener.accept()
            one.recv(65536)
            one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(NODES), NODES))
            one.close()

    thread = threading.Thread(target=serve, args=(1,))
    thread.start()
    rest = rest_of(f"unix:{path}", tmp_path)
    assert sorted(rest.nodes(Wanted("hpc"))) == ["gpu0", "gpu1", "gpu2"]
    thread.join()
    listener.close()
    rest.close()

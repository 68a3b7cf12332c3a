"""The login node of the lab: who is let in, and what it prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.labs.sshd import GREETING, LoginNode


def ssh(login: LoginNode, key: str, hosts: Path, *command: str) -> subprocess.CompletedProcess[str]:
    options = (
        "BatchMode=yes",
        f"UserKnownHostsFile={hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
    )
    argv = ["ssh", *(part for option in options for part in ("-o", option)), "-i", str(login.key(key))]
    target = ["-p", str(login.port), "root@127.0.0.1", *command]
    return subprocess.run([*argv, *target], capture_output=True, text=True, timeout=30)


def test_the_login_node_lets_in_whom_it_knows(login: LoginNode) -> None:
    assert ssh(login, "good", login.known_hosts, "echo here").stdout == "here\n"
    assert ssh(login, "noisy", login.known_hosts, "echo here").stdout == f"{GREETING}\nhere\n"
    assert "Permission denied" in ssh(login, "stranger", login.known_hosts, "true").stderr
    assert "Host key verification failed" in ssh(login, "good", login.wrong_hosts, "true").stderr

"""A login node: OpenSSH's server on this machine's loopback, with keys of its own and a banner.

Keys (in `folder`): `good` may do everything; `noisy` too, but its shell prints a greeting on stdout first, as a
login node's profile does; `walled` may not forward ports; `stranger` is not let in.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.labs.daemons import Daemons, free_ports, listening, until

KEYS = ("good", "noisy", "walled", "stranger")
GREETING = "*** Welcome to login01! Quota: 93 % used. ***"


def missing() -> str:
    """Why the lab cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "the login node needs root"
    lost = [name for name in ("ssh", "sshd", "ssh-keygen") if shutil.which(name) is None]
    return f"not installed: {', '.join(lost)} (scripts/test-packages)" if lost else ""


class LoginNode:
    """One sshd. Log in as root at 127.0.0.1:`port`; `known_hosts` holds its key, `wrong_hosts` another one."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stoker-sshd-"))
        self.port = free_ports(1)[0]
        self.known_hosts = self.folder / "known_hosts"
        self.wrong_hosts = self.folder / "wrong_hosts"
        self._daemons = Daemons(self.folder)

    def key(self, name: str) -> Path:
        return self.folder / name

    def up(self) -> None:
        for name in (*KEYS, "host", "other_host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        for file, host in ((self.known_hosts, "host"), (self.wrong_hosts, "other_host")):
            public = (self.folder / f"{host}.pub").read_text().rpartition(" ")[0]
            file.write_text(f"[127.0.0.1]:{self.port} {public}\n")
        greeting = f'command="echo \'{GREETING}\'; exec sh -c \\"$SSH_ORIGINAL_COMMAND\\"" '
        limits = {"good": "", "noisy": greeting, "walled": "no-port-forwarding "}
        lines = [limit + (self.folder / f"{name}.pub").read_text() for name, limit in limits.items()]
        (self.folder / "authorized_keys").write_text("".join(lines))
        (self.folder / "banner").write_text("Authorised users only.\nEverything is logged.\n")
        (self.folder / "sshd_config").write_text(_SSHD.format(lab=self.folder, port=self.port))
        Path("/run/sshd").mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        self._daemons.start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")])
        until(lambda: listening(self.port), f"sshd: {self._daemons.said('sshd')}", 20)

    def heal(self) -> None:
        if not self._daemons.alive("sshd"):
            self.start()

    def hang_up(self) -> None:
        """End every session; new ones are taken at once."""
        for pid in self._sessions():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def kill(self) -> None:
        """The machine is gone: no session, and nobody listens."""
        sessions = self._sessions()
        self._daemons.stop("sshd", signal.SIGKILL)
        for pid in sessions:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def down(self) -> None:
        if self._daemons.alive("sshd"):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sessions(self) -> list[int]:
        server = self._daemons.pid("sshd")
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        return [int(pid) for pid in children]


_SSHD = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {lab}/host
AuthorizedKeysFile {lab}/authorized_keys
Banner {lab}/banner
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
MaxStartups 100
"""

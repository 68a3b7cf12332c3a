"""SlurmSettings: what an administrator says of a Slurm cluster when adding it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from stoker.errors import BadInput
from stoker.topology import BETWEEN_NODES, Level
from stoker.typed import strict

_PROGRAM = re.compile(r"^[A-Za-z0-9_./+-]+$")
_REST = re.compile(r"^(http://([A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}/?|unix:/.+)$")
_USER = re.compile(r"^[A-Za-z0-9_.@$-]*$")
_TARGET = re.compile(r"^([A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9_.:\[][A-Za-z0-9_.:\]-]*$")


class Containers(StrEnum):
    """What runs an image on the nodes."""

    NONE = "none"
    PYXIS = "pyxis"  # srun --container-image, with NVIDIA's plugin and enroot
    APPTAINER = "apptainer"
    PODMAN = "podman"


@strict
@dataclass(frozen=True)
class SlurmSettings:
    """Secrets are named by the path of their file. Without any: a Slurm whose commands are on PATH here."""

    ssh: str = ""  # login node, [USER@]HOST or a Host of ssh_config; empty: Slurm's commands are on this machine
    ssh_port: int = 0  # port of its sshd; 0: what ssh_config says, or 22
    ssh_identity: str = ""  # path of the private key; empty: ssh_config's, or the agent's
    ssh_jump: str = ""  # machines to go through, as ssh -J takes them
    ssh_config: str = ""  # path of an ssh_config to use instead of the user's own
    ssh_known_hosts: str = ""  # path of the file with the login node's host key; empty: the user's own
    folder: str = "~/.stoker"  # folder that login and compute nodes share, for the jobs' files and logs
    wrapper_python: str = "/usr/bin/python3"  # Python 3.6 or newer on login and compute nodes, for our wrapper
    conf: str = ""  # SLURM_CONF, where the commands do not find their cluster by themselves
    bin: str = ""  # folder of Slurm's commands on the login node, when they are not on PATH
    partition: str = ""  # only nodes of this partition are offered; jobs that name no queue go there
    account: str = ""  # for jobs that name no account
    qos: str = ""  # for jobs that name no QOS
    reservation: str = ""  # for jobs that name no reservation; its nodes are offered
    directives: tuple[str, ...] = ()  # further sbatch options for every job: --constraint=ib, --wckey=ml
    gres: str = "gpu"  # the GRES that counts as accelerators
    topology: tuple[
        Level, ...
    ] = ()  # what the levels of its topology are, from the bottom; empty: leaf,pod,core,site
    vendor: str = "nvidia"  # who makes them: nvidia, huawei, hygon, amd
    containers: Containers = Containers.NONE  # what runs images: pyxis, apptainer, podman
    rest_url: str = (
        ""  # slurmrestd, http://HOST:PORT as the login node sees it, or unix:/PATH; asked for queue and nodes
    )
    rest_token: str = ""  # path of the file with its token, as scontrol token prints it; read anew for each request
    rest_user: str = ""  # whose token it is; empty: the user who runs Slurm's commands
    nodes_every: float = 5.0  # seconds for which what was said of nodes and of others' devices is good
    patience: float = 60.0  # longest that a command may take, seconds

    def __post_init__(self) -> None:
        if self.ssh and not _TARGET.match(self.ssh):
            raise BadInput(f'"{self.ssh}" is no login node; write user@host, or a Host of ssh_config', param="ssh")
        if self.ssh_jump and not all(_TARGET.match(part) for part in self.ssh_jump.split(",")):
            raise BadInput(f'"{self.ssh_jump}" is no list of user@host[:port]', param="ssh_jump")
        if within := [level for level in self.topology if level not in BETWEEN_NODES]:
            raise BadInput(f'"{within[0]}" is within a node; topology names levels between nodes', param="topology")
        if not 0 <= self.ssh_port < 65536:
            raise BadInput(f"port {self.ssh_port} was given; allowed is 1 to 65535", param="ssh_port")
        if not _PROGRAM.match(self.wrapper_python):
            raise BadInput(
                f'"{self.wrapper_python}" is no path of a program without spaces or quotes', param="wrapper_python"
            )
        if not (self.folder.startswith(("/", "~/")) and self.folder.isprintable()):
            raise BadInput(f'folder "{self.folder}" was given; write an absolute path, or ~/...', param="folder")
        wrong = [option for option in self.directives if not option.startswith("-") or "\n" in option]
        if wrong:
            raise BadInput(f'"{wrong[0]}" is no option of sbatch; write for example --wckey=ml', param="directives")
        self._check_rest()
        if self.nodes_every < 0 or self.patience <= 0:
            raise BadInput("nodes_every and patience are seconds above zero", param="patience")

    def _check_rest(self) -> None:
        if self.rest_url and not _REST.match(self.rest_url):
            raise BadInput("rest_url is http://HOST:PORT or unix:/PATH", param="rest_url")
        if self.rest_url.startswith("unix:") and self.ssh:
            raise BadInput(
                "a unix socket is on the platform's machine; with ssh write http://HOST:PORT", param="rest_url"
            )
        if bool(self.rest_url) != bool(self.rest_token):
            raise BadInput(
                "rest_url and rest_token, the path of a file with its token, come together", param="rest_token"
            )
        if not _USER.match(self.rest_user):
            raise BadInput(f'"{self.rest_user}" is no name of a user', param="rest_user")

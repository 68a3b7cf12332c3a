"""A real Slurm on one machine: munge, MariaDB, slurmdbd, slurmctld, some slurmd, slurmrestd; as root, no systemd.

Its nodes gpu0, gpu1, ... claim 16 CPUs, 64 GB and 8 "H200" (device files that are /dev/null); jobs really run.
Two nodes each hang on a leaf switch (leaf0, leaf1, ...), and these on one spine.
Accounts are research and product (at most 16 GPUs for user `nobody`), QOS low < normal < high, where high preempts
low by requeue, and `tiny` (at most 2 GPUs a user). Users: root and nobody. Partitions: batch (default), debug
(at most 1 minute), and maintenance, which is down.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.labs.daemons import Daemons, as_user, free_ports, listening, marked, until

CPUS, MEMORY_MIB, DEVICES = 16, 64_000, 8
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sacctmgr", "sbatch", "scontrol", "squeue")
OTHER = "nobody"  # the other user who gives jobs to this Slurm
_MARIADB = ("mariadb", "--no-defaults", "-uroot")


def missing() -> str:
    """Why the lab cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "the Slurm lab needs root"
    lost = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"not installed: {', '.join(lost)} (scripts/test-packages)" if lost else ""


class SlurmLab:
    """One Slurm cluster. `environment` is what its commands need; `folder` may be written by everyone."""

    def __init__(self, nodes: int = 4, *, rest: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stoker-slurm-"))
        self.folder.chmod(0o755)  # munge, MariaDB and slurmrestd run as other users
        self.nodes = [f"gpu{index}" for index in range(nodes)]
        self.conf = self.folder / "slurm.conf"
        self.environment = {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "SLURM_CONF": str(self.conf),
            "HOME": os.environ.get("HOME", "/root"),
            "LANG": "C.UTF-8",
        }
        ports = free_ports(5 + nodes)
        self._ctld_port, self._dbd_port, self._sql_port, self._rest_port, *self._node_ports = ports
        self._daemons = Daemons(self._made("log"))
        self._host = socket.gethostname().partition(".")[0]
        self._with_rest = rest

    # Up and down

    def up(self) -> None:
        self._write_configuration()
        self._start_munge()
        self._start_accounting()
        self.start_controller(clean=True)
        for node in self.nodes:
            self.start_node(node)
        self._make_accounts()
        self.wait_idle()
        if self._with_rest:
            self.start_rest()

    def down(self) -> None:
        """End everything by process id, jobs and their slurmstepd included."""
        try:
            if self._daemons.alive("slurmctld"):
                self.clear()
        finally:
            self._daemons.stop_all()
        self._kill(f"LAB={self.folder}", f"SLURM_CONF={self.conf}")
        shutil.rmtree(self.folder, ignore_errors=True)

    def heal(self) -> None:
        """As after `up`, whatever a test did: no jobs, every daemon at work, every node idle."""
        if not self._daemons.alive("slurmctld"):
            self.start_controller()
        if not self._daemons.alive("slurmdbd"):
            self.start_accounting_daemon()
        self.clear()
        for node in self.nodes:
            if not self._daemons.alive(node):
                self.start_node(node)
        for line in self.run("scontrol", "show", "reservation", "-o").splitlines():
            if line.startswith("ReservationName="):
                self.run("scontrol", "delete", "reservation", line.split()[0].partition("=")[2])
        for node, state in self.states().items():
            if state != "idle":
                self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        self.wait_idle()

    def clear(self) -> None:
        """End every job of everyone."""
        for patience in (8, 20):
            if self.run("squeue", "-h", "-a", check=False):
                self.run("scancel", "--full", "--signal=KILL", *self._job_ids(), check=False)
                self.run("scancel", *self._job_ids(), check=False)
            end = time.monotonic() + patience
            while time.monotonic() < end and self._job_ids():
                time.sleep(0.1)

    def wait_idle(self, patience: float = 90) -> None:
        until(lambda: set(self.states().values()) == {"idle"}, f"all nodes idle: {self.states()}", patience)

    # What a test does to it

    def run(self, *argv: str, check: bool = True, user: str | None = None, stdin: str = "") -> str:
        """What a Slurm command prints, as root or as `user`."""
        done = subprocess.run(
            argv, env=self.environment, input=stdin, capture_output=True, text=True, errors="replace", timeout=60,
            cwd="/tmp",
            **as_user(user),
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: {done.stderr}")
        return str(done.stdout).strip()

    def submit_other(self, *options: str, command: Sequence[str] = ("sleep", "600")) -> str:
        """A job of the other user, straight to Slurm; its id."""
        script = "#!/bin/sh\nexec " + " ".join(command) + "\n"
        return self.run(
            "sbatch", "-o", "/dev/null", "--parsable", "-A", "product", *options, user=OTHER, stdin=script
        )

    def states(self) -> dict[str, str]:
        """Each node's state in sinfo's word, with its flags (``down*``)."""
        text = self.run("sinfo", "-h", "-N", "-o", "%N %T", check=False)
        return {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) == 2}

    def kill_node(self, node: str) -> None:
        """The machine dies: slurmd and all that it runs, at once."""
        self._daemons.stop(node, signal.SIGKILL)
        self._kill(f"LAB={self.folder}/{node}\0", f"SLURM_CONF={self.conf}", f"SLURMD_NODENAME={node}\0")

    def start_node(self, node: str) -> None:
        environment = self.environment | {"LAB": f"{self.folder}/{node}"}
        self._daemons.start(node, ["slurmd", "-D", "-N", node], env=environment)

    def kill_controller(self) -> None:
        self._daemons.stop("slurmctld", signal.SIGKILL)

    def wait_saved(self) -> None:
        """Until slurmctld has written down what it acknowledged before; killed earlier, it forgets that."""
        now = time.time()
        until(lambda: (self.folder / "state" / "job_state").stat().st_mtime > now, "slurmctld saves its jobs", 30)

    def start_controller(self, *, clean: bool = False) -> None:
        self._daemons.start("slurmctld", ["slurmctld", "-D", *(["-c"] if clean else [])], env=self.environment)
        until(lambda: "UP" in self.run("scontrol", "ping", check=False), "slurmctld", 30)

    def kill_accounting(self) -> None:
        self._daemons.stop("slurmdbd", signal.SIGKILL)

    def start_accounting_daemon(self) -> None:
        self._daemons.start("slurmdbd", ["slurmdbd", "-D"], env=self.environment)
        until(lambda: listening(self._dbd_port), f"slurmdbd: {self._daemons.said('slurmdbd')}", 30)

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self._rest_port}"

    def start_rest(self) -> None:
        """slurmrestd with tokens, as a user without rights: it refuses to run as root."""
        environment = self.environment | {"SLURM_JWT": "daemon"}
        argv = ["slurmrestd", "-a", "rest_auth/jwt", f"127.0.0.1:{self._rest_port}"]
        self._daemons.start("slurmrestd", argv, env=environment, user=OTHER)
        until(lambda: listening(self._rest_port), f"slurmrestd: {self._daemons.said('slurmrestd')}", 30)

    def token(self, seconds: int = 3600) -> str:
        """A token with which slurmrestd takes one for root."""
        return self.run("scontrol", "token", f"lifespan={seconds}").partition("=")[2]

    # Parts

    def _kill(self, step: str, *job: str) -> None:
        """Kill the slurmsteps, which have slurmd's environment, and the jobs, which have Slurm's variables."""
        for pid in {*marked(step), *marked(*job, "SLURM_JOB_ID=")}:
            with _gone_is_fine():
                os.kill(pid, signal.SIGKILL)

    def _job_ids(self) -> list[str]:
        return self.run("squeue", "-h", "-a", "-o", "%A", check=False).split()

    def _made(self, name: str, owner: str | None = None) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        if owner:
            shutil.chown(folder, owner)
        return folder

    def _start_munge(self) -> None:
        folder = self._made("munge", "munge")
        folder.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        shutil.chown(key, "munge")
        options = {"key-file": key, "socket": folder / "s", "pid-file": folder / "p", "log-file": folder / "log"}
        options["seed-file"] = folder / "seed"
        argv = ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in options.items())]
        self._daemons.start("munged", argv, user="munge")
        until((folder / "s").exists, f"munge: {self._daemons.said('munged')}", 30)

    def _start_accounting(self) -> None:
        folder = self._made("mysql", "mysql")
        own = f"--tmpdir={folder}"  # in /tmp, every MariaDB that starts removes the others' temporary tables
        made = subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={folder}/data", own,
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode:
            raise AssertionError(f"MariaDB cannot be set up: {made.stdout[-500:]} {made.stderr[-500:]}")
        socket_ = f"--socket={folder}/sock"
        self._daemons.start(
            "mariadbd",
            ["mariadbd", "--no-defaults", f"--datadir={folder}/data", own, socket_, f"--pid-file={folder}/pid",
             "--bind-address=127.0.0.1", f"--port={self._sql_port}", "--innodb-buffer-pool-size=64M",
             "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0"],
            user="mysql",
        )  # fmt: skip
        until((folder / "sock").exists, f"MariaDB: {self._daemons.said('mariadbd')}")
        statements = (
            "create database slurm_acct; create user 'slurm'@'127.0.0.1' identified by 'pw'; "
            "grant all on slurm_acct.* to 'slurm'@'127.0.0.1';"
        )
        subprocess.run([*_MARIADB, socket_, "-e", statements], check=True, capture_output=True)
        self.start_accounting_daemon()
        self.run("sacctmgr", "-i", "add", "cluster", "lab", check=False)

    def _make_accounts(self) -> None:
        """The association of who runs the tests, and of the other user."""

        def manage(*words: str) -> None:
            self.run("sacctmgr", "-i", *words)

        manage("add", "account", "research,product", "cluster=lab")
        for name, priority in (("low", 1), ("high", 1000), ("tiny", 10)):
            manage("add", "qos", name, f"priority={priority}")
        manage("modify", "qos", "high", "set", "preempt=low")
        manage("modify", "qos", "tiny", "set", "maxtresperuser=gres/gpu=2")
        qos = "qos=low,normal,high,tiny"
        manage("add", "user", "root", "account=research,product", "cluster=lab", qos, "defaultaccount=research")
        manage("add", "user", OTHER, "account=product", "cluster=lab", qos)
        manage("modify", "user", OTHER, "where", "account=product", "set", "grptres=gres/gpu=16")

    def _write_configuration(self) -> None:
        folder = self.folder
        for name in ("state", "spool", "dev"):
            self._made(name)
        key = folder / "state" / "jwt.key"
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        for index in range(DEVICES):
            os.mknod(folder / "dev" / f"nvidia{index}", 0o20666, os.makedev(1, 3))
        database = folder / "slurmdbd.conf"
        database.write_text(_DATABASE.format(lab=folder, host=self._host, dbd=self._dbd_port, sql=self._sql_port))
        database.chmod(0o600)
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={self._host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} Sockets=2 "
            f"CoresPerSocket=8 ThreadsPerCore=1 RealMemory={MEMORY_MIB} Gres=gpu:h200:{DEVICES} "
            f"Feature=rail,leaf{index // 2} State=UNKNOWN"
            for index, (node, port) in enumerate(zip(self.nodes, self._node_ports, strict=False))
        )
        self.conf.write_text(
            _CONTROLLER.format(
                lab=folder, host=self._host, ctld=self._ctld_port, dbd=self._dbd_port, cpus=CPUS, nodes=nodes
            )
        )
        (folder / "gres.conf").write_text(
            f"AutoDetect=off\nNodeName=gpu[0-{len(self.nodes) - 1}] Name=gpu Type=h200 "
            f"File={folder}/dev/nvidia[0-{DEVICES - 1}] Cores=0-{CPUS - 1}\n"
        )
        leaves = "".join(
            f"SwitchName=leaf{at // 2} Nodes={','.join(self.nodes[at : at + 2])}\n"
            for at in range(0, len(self.nodes), 2)
        )
        (folder / "topology.conf").write_text(
            f"{leaves}SwitchName=spine Switches=leaf[0-{(len(self.nodes) - 1) // 2}]\n"
        )
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # the default wants systemd; none is used


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


_DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={lab}/munge/s,cred_expire=5
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={lab}/state/jwt.key
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=pw
StorageLoc=slurm_acct
LogFile={lab}/log/slurmdbd
PidFile={lab}/slurmdbd.pid
"""

# A non-default munge socket has to be told to the accounting client as its password; without cred_expire a requeued
# job waits two minutes; config_overrides lets a node claim more CPUs than this machine has.
_CONTROLLER = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={lab}/munge/s,cred_expire=5
CredType=cred/munge
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={lab}/state/jwt.key
StateSaveLocation={lab}/state
SlurmdSpoolDir={lab}/spool/%n
SlurmctldPidFile={lab}/slurmctld.pid
SlurmdPidFile={lab}/slurmd.%n.pid
SlurmctldLogFile={lab}/log/slurmctld
SlurmdLogFile={lab}/log/slurmd.%n
SlurmctldDebug=info
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
MpiDefault=none
ReturnToService=2
SlurmdTimeout=5
SlurmctldTimeout=10
InactiveLimit=0
KillWait=2
MinJobAge=300
MaxJobCount=20000
MessageTimeout=10
SlurmdParameters=config_overrides
SelectType=select/cons_tres
TopologyPlugin=topology/tree
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=10000
PriorityType=priority/multifactor
PriorityWeightAge=1
PriorityWeightQOS=1000
PreemptType=preempt/qos
PreemptMode=REQUEUE
JobRequeue=1
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={lab}/munge/s
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos
{nodes}
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=debug Nodes=ALL MaxTime=1 State=UP
PartitionName=maintenance Nodes=ALL State=DOWN
"""

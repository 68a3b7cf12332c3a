"""What a job finds in its environment on every engine: who it is, its rank among its nodes, and where to meet them.

Engines put it on top of what they and the user set, so that nothing can pretend to be another job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stoker.engine import Order

# STOKER_BIND of jobs on other machines: what serves there (replicas, notebooks) is reached over the network, and
# asks everybody for its key.
ANY_ADDRESS = "0.0.0.0"  # noqa: S104
FIRST_PORT, PORTS = 20_000, 10_000  # below the kernel's own choice (32,768 and up)


def identity(order: Order) -> dict[str, str]:
    """Names that are the same on every node of the job."""
    spec = order.spec
    names = {
        "STOKER_JOB_ID": str(order.key.job),
        "STOKER_ATTEMPT": str(order.key.attempt),
        "STOKER_JOB_NAME": spec.name,
        "STOKER_CPUS": str(spec.resources.cpus),
        "STOKER_DEVICES": str(spec.resources.accelerators),
        "STOKER_DEVICE_MILLI": str(spec.resources.milli if spec.resources.accelerators else 0),
        "STOKER_TASKS_PER_NODE": str(spec.tasks_per_node),
    }
    if order.array_index is not None:
        names["STOKER_ARRAY_JOB_ID"] = str(order.array_id)
        names["STOKER_ARRAY_INDEX"] = str(order.array_index)
    return names


def meeting(order: Order, nodes: Sequence[str], addresses: Sequence[str], rank: int) -> Mapping[str, str]:
    """How the process on node `rank` finds the others; also by SkyPilot's, dstack's and torchrun's names.

    `nodes` are names and `addresses` what they are reached at, in the order of ranks.
    """
    port = FIRST_PORT + order.key.job % PORTS  # two jobs of one node rarely meet; torchrun says when they do
    count, mine = str(len(nodes)), str(rank)
    return {
        "STOKER_NODE": nodes[rank],
        "STOKER_NODE_RANK": mine,
        "STOKER_NUM_NODES": count,
        "STOKER_NODE_NAMES": " ".join(nodes),
        "MASTER_ADDR": addresses[0],
        "MASTER_PORT": str(port),
        "SKYPILOT_NODE_RANK": mine,
        "SKYPILOT_NUM_NODES": count,
        "SKYPILOT_NODE_IPS": "\n".join(addresses),
        "SKYPILOT_NUM_GPUS_PER_NODE": str(order.spec.resources.accelerators),
        "DSTACK_NODE_RANK": mine,
        "DSTACK_NODES_NUM": count,
        "DSTACK_MASTER_NODE_IP": addresses[0],
        "DSTACK_NODES_IPS": "\n".join(addresses),
        "DSTACK_GPUS_PER_NODE": str(order.spec.resources.accelerators),
    }


def slurm_names(order: Order, nodes: Sequence[str], rank: int, workdir: str) -> dict[str, str]:
    """What scripts written for Slurm look for, on engines that are not Slurm."""
    spec = order.spec
    named = {
        "SLURM_JOB_ID": str(order.key.job),
        "SLURM_JOBID": str(order.key.job),
        "SLURM_JOB_NAME": spec.name,
        "SLURM_JOB_NODELIST": ",".join(nodes),
        "SLURM_JOB_NUM_NODES": str(spec.nodes),
        "SLURM_NNODES": str(spec.nodes),
        "SLURM_NTASKS": str(spec.nodes * spec.tasks_per_node),
        "SLURM_NTASKS_PER_NODE": str(spec.tasks_per_node),
        "SLURM_CPUS_PER_TASK": str(max(1, spec.resources.cpus // spec.tasks_per_node)),
        "SLURM_CPUS_ON_NODE": str(spec.resources.cpus),
        "SLURM_GPUS_ON_NODE": str(spec.resources.accelerators),
        "SLURM_RESTART_COUNT": str(order.key.attempt - 1),
        "SLURM_SUBMIT_DIR": workdir,
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": str(rank),
        "SLURMD_NODENAME": nodes[rank],
    }
    if order.array_index is not None:
        named["SLURM_ARRAY_JOB_ID"] = str(order.array_id)
        named["SLURM_ARRAY_TASK_ID"] = str(order.array_index)
    return named


def fill(pattern: str, order: Order, node: str) -> str:
    """`pattern` with sbatch's letters filled in: %j %x %A %a %N %u, and %% for a percent sign."""
    letters: Mapping[str, str] = {
        "j": str(order.key.job),
        "J": str(order.key.job),
        "x": order.spec.name,
        "A": str(order.array_id if order.array_id is not None else order.key.job),
        "a": str(order.array_index if order.array_index is not None else 0),
        "N": node,
        "n": "0",
        "t": "0",
        "u": order.owner.replace("/", "_"),
        "%": "%",
    }
    parts = pattern.split("%")
    filled = [parts.pop(0)]
    while parts:
        part = parts.pop(0)
        if not part and parts:  # "%%"
            filled.append("%" + parts.pop(0))
        else:
            filled.append(letters.get(part[:1], "%" + part[:1]) + part[1:])
    return "".join(filled)

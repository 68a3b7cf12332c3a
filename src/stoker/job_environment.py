"""What a job finds in its environment on every engine: who it is, its rank among its nodes, and where to meet them.

Engines put it on top of what they and the user set, so that nothing can pretend to be another job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stoker.engine import Order

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

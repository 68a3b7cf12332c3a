"""A day on a Slurm cluster that others use too: ``python examples/slurm/story.py ENGINE``.

An unchanged sbatch script with an array, then a job over two nodes that starts when all of it has succeeded, its
output while it runs, and a second one that is cancelled. STOKER_URL and STOKER_API_KEY say which platform.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import stoker
from stoker.sbatch import read_sbatch

SCRIPT = Path(__file__).with_name("train.sbatch")
MEET = 'echo "rank $STOKER_NODE_RANK of $STOKER_NUM_NODES on $STOKER_NODE meets at $MASTER_ADDR:$MASTER_PORT"'


def main(engine: str) -> None:
    client = stoker.Client()
    nodes = [node for node in client.nodes() if node.engine == engine]
    print(f"{engine}: {len(nodes)} nodes, {sum(len(node.devices) for node in nodes)} devices")
    for other in client.engines.foreign():
        print(f"somebody else: {other.name or other.id}, {other.devices} devices, {other.state}")

    script = read_sbatch(SCRIPT.read_text(), source=SCRIPT.name).spec
    elements = client.jobs.submit(replace(script, engine=engine))
    after = tuple(stoker.Dependency(element.id) for element in elements)
    gang = stoker.JobSpec(
        name="gang", command=("bash", "-c", MEET), nodes=2, each_node=True, engine=engine, depends=after
    )
    (gang_job,) = client.jobs.submit(gang)
    (endless,) = client.jobs.submit(stoker.JobSpec(name="endless", command=("sleep", "3600"), engine=engine))

    for job in client.jobs.wait(*(element.id for element in elements), gang_job.id, timeout=300):
        print(f"{job.label} {job.spec.name}: {job.state}")
        print(client.jobs.logs(job.id).decode(), end="")
    client.jobs.cancel(endless.id)
    (ended,) = client.jobs.wait(endless.id, timeout=120)
    print(f"{ended.label} {ended.spec.name}: {ended.state}")


if __name__ == "__main__":
    main(sys.argv[1])

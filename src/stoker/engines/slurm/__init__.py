"""The Slurm engine: jobs of this platform on a Slurm cluster, through its commands, here or on a login node."""

from stoker.engines.slurm.engine import SlurmEngine
from stoker.engines.slurm.settings import SlurmSettings

__all__ = ["SlurmEngine", "SlurmSettings"]

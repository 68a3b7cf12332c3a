"""The local engine: jobs are processes of this machine, each under a supervisor that outlives the platform."""

from stoker.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]

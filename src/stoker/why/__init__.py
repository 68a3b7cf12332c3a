"""Why things are as they are: findings with evidence and a next step. Pure."""

from stoker.why.jobs import explain

__all__ = ["explain"]

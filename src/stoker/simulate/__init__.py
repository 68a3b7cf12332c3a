"""What would have been: the scheduler of production, run over a trace on a described cluster. No time passes."""

from stoker.simulate.inference import Demand, Inference
from stoker.simulate.outcome import Outcome
from stoker.simulate.run import Settings, simulate
from stoker.simulate.trace import Trace, TracedJob

__all__ = ["Demand", "Inference", "Outcome", "Settings", "Trace", "TracedJob", "simulate"]

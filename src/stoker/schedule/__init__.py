"""What starts next. Pure: a snapshot in, a plan out; no I/O and no clock of its own."""

from stoker.schedule.credit import Credit, Credits
from stoker.schedule.decide import decide
from stoker.schedule.explain import explain
from stoker.schedule.lasting import Lasting, Ran
from stoker.schedule.line import Line
from stoker.schedule.meter import Meter
from stoker.schedule.mix import Mix, mix_of, usual_mix
from stoker.schedule.policy import Policy
from stoker.schedule.pool import Pool
from stoker.schedule.quantity import Quantity
from stoker.schedule.snapshot import Plan, Preempt, Relocate, Snapshot, Start, Wait
from stoker.schedule.standing import never, standings
from stoker.schedule.unfit import unfit

__all__ = [
    "Credit", "Credits", "Lasting", "Line", "Meter", "Mix", "Plan", "Policy", "Pool", "Preempt", "Quantity",
    "Ran", "Relocate", "Snapshot", "Start", "Wait", "decide", "explain", "mix_of", "never", "standings",
    "unfit", "usual_mix",
]  # fmt: skip

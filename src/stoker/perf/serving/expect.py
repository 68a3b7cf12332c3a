"""What is expected of a replica, as Expectations: value, bounds, and the arithmetic.

Bounds are those within which nine of ten measured rows of models lie that calibration did not see
(benchmarks/perf_serving.py). First tokens are known far less well than later ones: benchmarks' own means hold cold
starts and pauses that no model foresees.
"""

from __future__ import annotations

from stoker.expectation import Expectation
from stoker.perf.serving.load import Steady
from stoker.perf.serving.replica import Lengths
from stoker.perf.serving.step import Replica
from stoker.units import format_bytes

TPOT = (0.81, 1.32)
TTFT = (0.67, 6.89)
MEMORY = (0.95, 1.08)


def tpot(replica: Replica, found: Steady, lengths: Lengths) -> Expectation:
    basis = (
        f"a step of {found.running:.1f} sequences, {lengths.prompt + lengths.answer / 2:,.0f} tokens behind each, "
        f"takes {found.decode * 1e3:.2f} ms; prompts take {found.busy:.0%} of the device; {_hardware(replica)}"
    )
    return _time("tpot", found.tpot, TPOT, replica, basis)


def ttft(replica: Replica, found: Steady, lengths: Lengths) -> Expectation:
    engine = replica.curves.engine
    waiting = max(0.0, found.ttft - found.prefill.latency - engine.request - found.tpot * engine.looks / 2)
    basis = (
        f"request {engine.request * 1e3:.0f} ms + prefill of {lengths.prompt:,.0f} tokens "
        f"{found.prefill.latency * 1e3:.0f} ms + half a step "
        f"{found.tpot * engine.looks / 2 * 1e3:.0f} ms + queue {waiting * 1e3:.0f} ms (M/D/1 and Erlang C); "
        f"95 in 100 within {found.ttft_tail * 1e3:.0f} ms; {_hardware(replica)}"
    )
    return _time("ttft", found.ttft, TTFT, replica, basis)


def throughput(found: Steady, lengths: Lengths, replicas: int) -> Expectation:
    value = found.rate * lengths.answer * replicas
    basis = f"{replicas} replicas x {found.rate:.3g} requests/s x {lengths.answer:,.0f} tokens of an answer"
    return Expectation("tokens_per_s", value, value, value, "tokens/s", basis)


def capacity(replica: Replica, rate: float, lengths: Lengths, replicas: int) -> Expectation:
    """Of all replicas together when each takes the most that still meets the objective."""
    value = rate * lengths.answer * replicas
    basis = (
        f"{replicas} replicas x {rate:.3g} requests/s at most within the objective x {lengths.answer:,.0f} tokens"
    )
    low = value / TPOT[1] / replica.on.doubt
    return Expectation("capacity", value, low, value / TPOT[0], "tokens/s", basis + replica.on.caveat)


def cache(replica: Replica, found: Steady, lengths: Lengths) -> Expectation:
    memory, length = found.memory, lengths.prompt + lengths.answer
    value = found.running * (memory.per_token * (lengths.prompt + lengths.answer / 2) + memory.per_sequence)
    value /= replica.split.adp
    basis = (
        f"{found.running:.1f} sequences x ({memory.per_token:,.0f} B a token x {length:,.0f} at the end, half the "
        f"answer on average, + {memory.per_sequence:,.0f} B of states) / {replica.split.adp} attention groups; "
        f"room {format_bytes(memory.cache)} = {format_bytes(replica.on.memory_bytes)} - weights "
        f"{format_bytes(memory.weights)} - work space {format_bytes(memory.reserved)}: "
        f"{found.places:,.0f} sequences"
    )
    return Expectation("cache", value, value * MEMORY[0], value * MEMORY[1], "B", basis)


def _time(name: str, value: float, bounds: tuple[float, float], replica: Replica, basis: str) -> Expectation:
    high = value * bounds[1] * replica.on.doubt
    return Expectation(name, value, value * bounds[0], high, "s", basis + replica.on.caveat)


def _hardware(replica: Replica) -> str:
    common, on, engine = replica.curves.common, replica.on, replica.curves.engine
    told = "" if engine.calibrated else " (not calibrated: estimates)"
    units = replica.quantisation.units(on)
    return (
        f"{on.name}: memory {on.memory_bandwidth} x {common.weights:.2f} for weights, x {common.cache:.2f} for the "
        f"cache; {units} products {on.achieved_flops(units) / 1e12:,.0f} TFLOP/s x {common.products:.2f}; "
        f"{engine.name}{told}: {engine.kernel * 1e6:.1f} us a kernel, {engine.step * 1e3:.2f} ms a step"
    )

"""Quantisation: in what format weights and cache are kept, and in what format they are multiplied."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import BadInput, Unfit, near
from stoker.perf.accelerator import Accelerator
from stoker.perf.precision import Precision


@dataclass(frozen=True)
class Quantisation:
    """Bytes of a weight include its block's scale. What lies beside the experts keeps `beside` when there are any:
    published fp4 and int4 checkpoints of models with experts quantise feed-forward blocks and leave attention."""

    name: str
    weight: float  # bytes
    compute: Precision  # units that multiply, where a card has them
    cached: float  # bytes of one value in the cache of keys and values
    quantises: bool = True  # activations are brought into the format before each product: one more kernel
    beside: str = ""  # the quantisation of attention in models with experts; empty: the same

    def units(self, on: Accelerator) -> Precision:
        """Formats a card lacks are unpacked and multiplied in the next wider one it has."""
        chain: tuple[Precision, ...] = ("fp4", "fp8", "bf16", "fp16")
        start = chain.index(self.compute)
        found = next((one for one in chain[start:] if on.supports(one)), None)
        if found is None:
            raise Unfit(f"{on.name} has no units for {self.name} in the catalogue", param="quantisation")
        return found


QUANTISATIONS = {
    one.name: one
    for one in (
        Quantisation("bf16", 2.0, "bf16", 2.0, quantises=False),
        Quantisation("fp8", 1.01, "fp8", 1.0),
        Quantisation("fp4", 0.5625, "fp4", 1.0, beside="fp8"),
        Quantisation("int4", 0.5625, "bf16", 2.0, quantises=False, beside="bf16"),
    )
}
_SPELLINGS = {
    "fp16": "bf16", "nvfp4": "fp4", "mxfp4": "fp4", "fp8_block": "fp8", "fp8block": "fp8", "int4_wo": "int4",
    "w4a16": "int4", "awq": "int4", "gptq": "int4", "q4_k_m": "int4",
}  # fmt: skip


def quantisation(text: str) -> Quantisation:
    """``fp4`` of whatever people write for it. Raises BadInput with what is allowed."""
    plain = text.strip().casefold()
    found = QUANTISATIONS.get(_SPELLINGS.get(plain, plain))
    if found is None:
        raise BadInput(f'quantisation "{text}" was given{near(plain, QUANTISATIONS)}', param="quantisation")
    return found

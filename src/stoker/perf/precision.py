"""Number formats of matrix products, and the bytes a value takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from stoker.errors import BadInput, near

Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4"]

BYTES: Mapping[Precision, float] = {
    "fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5,
}  # fmt: skip
_SPELLINGS: Mapping[str, Precision] = {
    "float32": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16", "amp_bf16": "bf16",
    "amp_fp8": "fp8", "mxfp8": "fp8", "fp8-cs": "fp8", "fp8-mx": "fp8", "nvfp4": "fp4", "mxfp4": "fp4",
}  # fmt: skip


def precision(text: str) -> Precision:
    """``bf16`` of whatever people write for it. Raises BadInput with what is allowed."""
    plain = text.strip().casefold()
    known: tuple[Precision, ...] = get_args(Precision)
    if plain in known:
        return known[known.index(plain)]
    if plain in _SPELLINGS:
        return _SPELLINGS[plain]
    raise BadInput(f'precision "{text}" was given{near(plain, known)}', param="precision")

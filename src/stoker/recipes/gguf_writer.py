"""Write a GGUF file tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, quants

from stoker.errors import BadInput
from stoker.recipes.base_tensors import Tensors
from stoker.recipes.gguf_families import Family, Matrix
from stoker.recipes.gguf_fields import Field

FileType = Literal["f32", "f16", "bf16", "q8_0"]

_STORED = {kind.name.lower(): kind for kind in GGMLQuantizationType}
_FILE_TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
}
_F16_MAX = 65_504.0
_Q8_BLOCK = 32


@dataclass(frozen=True)
class Content:
    """All that goes into a file."""

    family: Family
    fields: Mapping[str, Field]  # without general.architecture, general.file_type
    tensors: Tensors
    heads: int
    kv_heads: int
    extra: Mapping[str, Matrix]  # tensors only GGUF has, by GGUF's names, written as float32


def write(path: Path, content: Content, file_type: FileType) -> None:
    """Write `content` to `path`; raises BadInput when a weight does not fit into `file_type`."""
    writer = GGUFWriter(path, content.family.architecture)  # which writes general.architecture
    for key, field in content.fields.items():
        writer.add_key_value(key, field.value, field.type, field.item_type)
    writer.add_file_type(_FILE_TYPES[file_type])
    writer.add_quantization_version(2)
    for name, shape in _shapes(content):
        stored = _stored_as(shape, file_type)
        writer.add_tensor_info(name, shape, np.dtype(np.float32), _nbytes(shape, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, value in _values(content):
        writer.write_tensor_data(_encoded(name, value, _stored_as(value.shape, file_type)))
    writer.close()


def _shapes(content: Content) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name in content.tensors.names():
        yield content.family.gguf_name(name), content.tensors.shape(name)
    for name, value in content.extra.items():
        yield name, value.shape


def _values(content: Content) -> Iterator[tuple[str, Matrix]]:
    family = content.family
    for name in content.tensors.names():
        value = content.tensors.read(name)
        yield family.gguf_name(name), family.to_gguf(name, value, content.heads, content.kv_heads)
    yield from content.extra.items()


def _stored_as(shape: tuple[int, ...], file_type: FileType) -> GGMLQuantizationType:
    """Vectors (norms, biases, rope factors) stay float32: they are small, and llama.cpp wants them so."""
    if len(shape) == 1:
        return GGMLQuantizationType.F32
    if file_type == "q8_0" and shape[-1] % _Q8_BLOCK:
        return GGMLQuantizationType.F16
    return _STORED[file_type]


def _nbytes(shape: tuple[int, ...], stored: GGMLQuantizationType) -> int:
    return int(np.prod(quants.quant_shape_to_byte_shape(shape, stored)))


def _encoded(name: str, value: Matrix, stored: GGMLQuantizationType) -> np.ndarray[Any, Any]:
    value = np.ascontiguousarray(value, dtype=np.float32)
    if not np.isfinite(value).all():
        raise BadInput(f"tensor {name} holds values that are not finite; the training diverged, train again")
    if stored is GGMLQuantizationType.F16 and float(np.abs(value).max(initial=0)) > _F16_MAX:
        raise BadInput(f'tensor {name} has values beyond float16; export with type "bf16"', param="type")
    encoded: np.ndarray[Any, Any] = quants.quantize(value, stored)
    return encoded

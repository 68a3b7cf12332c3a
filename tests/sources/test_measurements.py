"""A site's measurements in YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import BadInput, NotFound
from stoker.perf.site import Product, Stream
from stoker.sources.measurements import measurements


def test_products_and_memory_are_read(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        "- {kind: product, m: 8192, n: 8192, k: 4096, flops_per_s: 6.4e14}\n"
        "- {kind: memory, bytes: 4e9, bytes_per_s: 2.7e12}\n"
    )
    product, stream = measurements(path)
    assert isinstance(product, Product)
    assert (product.k, product.precision, product.signal.last) == (4096, "bf16", 6.4e14)
    assert isinstance(stream, Stream)
    assert stream.signal.last == 2.7e12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {kind: gemm}", 'entry 1: kind "gemm" was given; allowed are product, memory'),
        ("- {kind: memory, bytes: 4e9}", "bytes_per_s: is missing"),
        ("- {kind: memory, bytes: 4e9, bytes_per_s: fast}", "bytes_per_s: must be a valid number"),
        ("kind: memory", "measurements are a list"),
    ],
)
def test_wrong_entries_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=said):
        measurements(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        measurements(tmp_path / "none.yaml")

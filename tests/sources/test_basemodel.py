"""What a base model on disk is, and one line for each way it can be wrong."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest

from stoker.errors import BadInput, NotFound, StokerError
from stoker.model import Architecture
from stoker.sources import gguf
from stoker.sources.basemodel import architecture, digest

CONFIG = {
    "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 400, "max_position_embeddings": 256,
    "tie_word_embeddings": True,
}  # fmt: skip
EXPECTED = Architecture("qwen2", 2, 64, 4, 2, 16, 128, 400, 256, tied_embeddings=True)


def write_safetensors(path: Path, *, cut: int = 0) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(16)
    path.write_bytes(content[: len(content) - cut])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(CONFIG))
    (made / "tokenizer.json").write_text("{}")
    write_safetensors(made / "model.safetensors")
    return made


def write_gguf(path: Path, *, family: str = "qwen2", leave_out: str = "") -> Path:
    numbers = {
        "embedding_length": 64, "block_count": 2, "attention.head_count": 4, "attention.head_count_kv": 2,
        "feed_forward_length": 128, "context_length": 256,
    }  # fmt: skip
    words = [f"w{number}" for number in range(400)]
    pairs = [_text("general.architecture") + struct.pack("<I", 8) + _text(family)]
    pairs += [
        _text(f"{family}.{key}") + struct.pack("<II", 4, value)
        for key, value in numbers.items()
        if key != leave_out
    ]
    listed = struct.pack("<IIQ", 9, 8, len(words)) + b"".join(map(_text, words))
    pairs.append(_text("tokenizer.ggml.tokens") + listed)
    tensor = _text("token_embd.weight") + struct.pack("<IQIQ", 1, 8, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(32))
    return path


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def test_a_folder_and_a_gguf_file_of_one_model_are_alike(folder: Path, tmp_path: Path) -> None:
    assert architecture(folder) == EXPECTED
    assert architecture(write_gguf(tmp_path / "m.gguf")) == EXPECTED


def test_the_header_says_where_a_tensor_lies(tmp_path: Path) -> None:
    header = gguf.header(write_gguf(tmp_path / "m.gguf"))
    (tensor,) = header.tensors
    assert (tensor.name, tensor.shape, tensor.kind) == ("token_embd.weight", (8,), 0)
    assert tensor.offset == header.size - 32
    assert tensor.offset % 32 == 0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, "no base model at"),
        (lambda at: (at / "config.json").unlink(), "has no config.json"),
        (lambda at: (at / "config.json").write_text("{"), "cannot read"),
        (lambda at: (at / "config.json").write_text("[]"), "is no JSON object"),
        (lambda at: (at / "config.json").write_text('{"model_type": "bert"}'), 'family "bert" are not supported'),
        (lambda at: (at / "config.json").write_text('{"model_type": "llama"}'), "lacks or spoils"),
        (lambda at: (at / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda at: (at / "model.safetensors").unlink(), r"no \*.safetensors weights"),
        (lambda at: write_safetensors(at / "model.safetensors", cut=5), "lacks its last 5 bytes"),
        (lambda at: (at / "model.safetensors").write_bytes(b"<html>"), "is no complete safetensors file"),
        (
            lambda at: (at / "model.safetensors.index.json").write_text(
                '{"weight_map": {"w": "part-2.safetensors"}}'
            ),
            "part-2.safetensors is missing though the index names it",
        ),
        (lambda at: (at / "model.safetensors.index.json").write_text("{"), "cannot read"),
    ],
)
def test_a_half_written_folder_is_refused_in_one_line(folder: Path, spoil: object, words: str) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(StokerError, match=words) as refused:
        architecture(folder)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_gguf_file_that_was_not_fetched_whole_is_refused(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "m.gguf").read_bytes()
    for length in (0, 3, 20, 200, len(whole) - 32):
        (tmp_path / "m.gguf").write_bytes(whole[:length])
        with pytest.raises(BadInput, match="no complete GGUF file"):
            architecture(tmp_path / "m.gguf")


def test_other_files_and_other_families_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a text of some length that is no model")
    with pytest.raises(BadInput, match="does not begin with GGUF"):
        architecture(tmp_path / "notes.txt")
    with pytest.raises(BadInput, match='family "whisper" are not supported'):
        architecture(write_gguf(tmp_path / "w.gguf", family="whisper"))
    with pytest.raises(BadInput, match=r"lacks the metadata .qwen2[.]block_count"):
        architecture(write_gguf(tmp_path / "m.gguf", leave_out="block_count"))
    with pytest.raises(NotFound):
        architecture(tmp_path / "nowhere.gguf")


def test_the_digest_follows_the_content(folder: Path) -> None:
    before = digest(folder)
    (folder / "tokenizer.json").write_text("{ }")
    assert digest(folder) != before

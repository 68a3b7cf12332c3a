"""Load a base model and its tokenizer from a Hugging Face folder or a GGUF file, and put training on top."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from stoker.errors import BadInput
from stoker.recipes import adapters, gguf_model
from stoker.sources import basemodel, gguf


def load_tokenizer(base: Path) -> Any:
    """The tokenizer that lies with the model, never fetched from elsewhere."""
    _quiet()
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    basemodel.architecture(base)
    # Finding out which class it is costs transformers 4 s per GGUF file; for byte-level BPE it is this one.
    known = base.is_file() and gguf.header(base).metadata.get("tokenizer.ggml.model") == "gpt2"
    kind = PreTrainedTokenizerFast if known else AutoTokenizer
    return kind.from_pretrained(**_where(base))


def load_base(base: Path, dtype: torch.dtype, *, attention: str | None = None) -> Any:
    """The causal language model at `base`, weights in `dtype`, on the CPU, in evaluation mode.

    `attention` is one of transformers' by name; None takes what suits the model.
    Raises NotFound or BadInput for a missing, half-written or unsupported model.
    """
    _quiet()
    from transformers import AutoModelForCausalLM

    basemodel.architecture(base)
    if base.is_file() and gguf_model.is_plain(header := gguf.header(base)):
        return gguf_model.load(base, header, dtype, attention).eval()
    model = AutoModelForCausalLM.from_pretrained(**_where(base), dtype=dtype, attn_implementation=attention)
    _forget_quantisation(model)
    return model.eval()


def load_trained(base: Path, train: Path, dtype: torch.dtype) -> Any:
    """The model that a training artifact makes of `base`, with what can be merged merged into the weights."""
    return put_trained(load_base(base, dtype), train, method_of(train))


def method_of(train: Path) -> adapters.Method:
    """How the artifact was trained."""
    method: adapters.Method = json.loads((train / "result.json").read_text())["method"]
    return method


def put_trained(model: Any, train: Path, method: adapters.Method) -> Any:
    """`model`, a base, turned into the trained model."""
    if method == "full":
        adapters.load_full(model, train / "model")
        return model
    return adapters.apply(model, train / "adapter", method)


def end_tokens(tokenizer: Any, model: Any) -> frozenset[int]:
    """The tokens after which an answer is over."""
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return frozenset(token for token in (tokenizer.eos_token_id, *listed) if token is not None)


def _where(base: Path) -> dict[str, Any]:
    if base.is_dir():
        return {"pretrained_model_name_or_path": base, "local_files_only": True}
    if not gguf.is_gguf(base):
        raise BadInput(f"{base} is neither a Hugging Face folder nor a GGUF file")
    return {"pretrained_model_name_or_path": base.parent, "gguf_file": base.name, "local_files_only": True}


def _forget_quantisation(model: Any) -> None:
    """A GGUF model arrives dequantised but still says it is quantised, and then refuses to be saved or trained."""
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config
        model.hf_quantizer = None
        model.is_quantized = False


def _quiet() -> None:
    """Progress bars of transformers and tqdm say nothing to a log file."""
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported, which transformers does
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")

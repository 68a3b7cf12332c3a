"""The ways to train: which parameters move, how they are saved, and how they are put on a base again.

LoRA, IA3 and P-tuning are peft's, in peft's folder format; bottleneck adapters are ours (`bottleneck`); full
training moves every weight.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from stoker.errors import BadInput
from stoker.recipes import bottleneck

Method = Literal["full", "lora", "ptuning", "bottleneck", "ia3"]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_BOTTLENECK = "STOKER_BOTTLENECK"


@dataclass(frozen=True)
class Sizes:
    """How big an adapter is."""

    lora_rank: int
    lora_alpha: float
    lora_dropout: float
    lora_targets: str  # "all-linear" or comma-separated module names
    prompt_tokens: int
    prompt_hidden: int
    bottleneck_size: int
    bottleneck_placement: bottleneck.Placement


def attach(model: Any, method: Method, sizes: Sizes) -> Any:
    """`model` with only the method's parameters left to train; they are float32 whatever the base is in."""
    if method == "full":
        return model.requires_grad_(True)
    if method == "bottleneck":
        bottleneck.attach(model, sizes.bottleneck_size, sizes.bottleneck_placement)
        return model
    from peft import get_peft_model

    tuned = get_peft_model(model, _peft_config(model, method, sizes), autocast_adapter_dtype=True)
    for module in tuned.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            # Autocast gives the adapter its type; peft's copy of every input to float32 costs memory and time.
            module.cast_input_dtype_enabled = False
    return tuned


def _peft_config(model: Any, method: Method, sizes: Sizes) -> Any:
    from peft import IA3Config, LoraConfig, PromptEncoderConfig, TaskType

    task = TaskType.CAUSAL_LM
    if method == "ia3":
        return IA3Config(task_type=task, **_ia3_modules(model))
    if method == "ptuning":
        return PromptEncoderConfig(
            task_type=task, num_virtual_tokens=sizes.prompt_tokens, encoder_hidden_size=sizes.prompt_hidden
        )
    targets: str | list[str] = sizes.lora_targets
    if targets != "all-linear":
        targets = [name.strip() for name in sizes.lora_targets.split(",")]
    return LoraConfig(
        task_type=task,
        r=sizes.lora_rank,
        lora_alpha=sizes.lora_alpha,
        lora_dropout=sizes.lora_dropout,
        target_modules=targets,
    )


def _ia3_modules(model: Any) -> dict[str, list[str]]:
    """Keys, values and the feed-forward block's last matrix, as in the IA3 paper, by this family's names."""
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    fused = "qkv_proj" in names
    return {
        "target_modules": ["qkv_proj" if fused else "k_proj", *([] if fused else ["v_proj"]), "down_proj"],
        "feedforward_modules": ["down_proj"],
    }


def trainable(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that move, by name, in a fixed order."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def soft_prompt(model: Any) -> torch.Tensor | None:
    """The virtual tokens that stand before every row, [tokens, hidden], with their gradient; None without any."""
    from peft import PeftModel

    if not isinstance(model, PeftModel) or not model.active_peft_config.is_prompt_learning:
        return None
    prompt: torch.Tensor = model.get_prompt(batch_size=1)[0]
    return prompt


def inner(model: Any) -> Any:
    """The causal language model itself, with what was attached inside its layers."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def save(model: Any, method: Method, sizes: Sizes, output: Path) -> str:
    """Write what was trained below `output`; the folder's name ("model" or "adapter")."""
    if method == "full":
        model.to(torch.bfloat16).save_pretrained(output / "model")
        return "model"
    folder = output / "adapter"
    if method == "bottleneck":
        _save_bottleneck(model, sizes, folder)
    else:
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # an empty form of peft's
    return "adapter"


def _save_bottleneck(model: Any, sizes: Sizes, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    config = {
        "peft_type": _BOTTLENECK,
        "size": sizes.bottleneck_size,
        "placement": sizes.bottleneck_placement,
        "hidden": model.config.hidden_size,
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1))
    save_file({name: value.detach().contiguous() for name, value in trainable(model).items()}, folder / WEIGHTS)


def apply(model: Any, folder: Path, method: Method) -> Any:
    """`model` with the saved adapter: merged into the weights where that is possible, else on top of them."""
    if method == "bottleneck":
        return _apply_bottleneck(model, folder)
    from peft import PeftModel

    tuned = PeftModel.from_pretrained(model, folder)
    return tuned.eval() if method == "ptuning" else tuned.merge_and_unload().eval()


def _apply_bottleneck(model: Any, folder: Path) -> Any:
    from safetensors.torch import load_file

    config = json.loads((folder / CONFIG).read_text())
    if config["hidden"] != model.config.hidden_size:
        raise BadInput(
            f"the adapter was trained on a model {config['hidden']} wide, this one has "
            f"{model.config.hidden_size}; give the base it was trained on"
        )
    bottleneck.attach(model, config["size"], config["placement"])
    model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    return model.eval()


def load_full(model: Any, folder: Path) -> None:
    """Put fully trained weights into `model`, in its own precision."""
    from safetensors.torch import load_file

    weights = {
        key: value for file in sorted(folder.glob("*.safetensors")) for key, value in load_file(file).items()
    }
    model.load_state_dict(weights, strict=False)
    model.tie_weights()

"""Model: architecture numbers, and the versions the registry keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Architecture:
    """The numbers of a decoder-only transformer that memory and speed follow from."""

    family: str  # "llama", "qwen2", ... as in Hugging Face's model_type
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  # width of one feed-forward block (of one expert when there are experts)
    vocabulary: int
    context: int  # longest sequence the model was made for, tokens
    tied_embeddings: bool = False
    gated_ffn: bool = True  # SwiGLU and relatives have three matrices, a plain MLP two
    experts: int = 0
    experts_per_token: int = 0

    @property
    def parameters(self) -> int:
        """All weights, norms and biases left out (under 0.1 % of a transformer)."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied_embeddings else 2)
        return embeddings + self.layers * (self.attention_parameters + self.ffn_parameters * max(self.experts, 1))

    @property
    def active_parameters(self) -> int:
        """Weights one token passes through, the input embedding (a look-up) left out."""
        used = self.experts_per_token if self.experts else 1
        return self.vocabulary * self.hidden + self.layers * (
            self.attention_parameters + self.ffn_parameters * used
        )

    @property
    def attention_parameters(self) -> int:
        """Q, K, V and output projections of one layer."""
        return self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

    @property
    def ffn_parameters(self) -> int:
        """One feed-forward block (one expert) of one layer."""
        return self.hidden * self.ffn * (3 if self.gated_ffn else 2)


@dataclass(frozen=True)
class ModelVersion:
    """One registered version with its lineage."""

    model: str
    version: int
    created_at: float
    artifact: str  # digest of the exported, servable artifact
    engine: str  # what serves it: "llama.cpp", "torch", "vllm"
    base: str  # the base model as the user named it
    parent: int | None = None  # the version it was trained on or replaced
    dataset: str = ""  # digest of the curated dataset
    config: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    ship: str = ""  # the ship that made it


@dataclass(frozen=True)
class Promotion:
    """One line of the append-only journal of who moved which alias when."""

    at: float
    who: str
    model: str
    alias: str
    version: int
    previous: int | None
    action: str  # "promote", "rollback"


@dataclass(frozen=True)
class ModelSummary:
    """One registered model in a list."""

    name: str
    tenant: str
    latest: ModelVersion
    champion: int | None
    versions: int  # how many


@dataclass(frozen=True)
class Comparison:
    """Versions side by side: for each quantity, its value in each version (None where it has none)."""

    model: str
    versions: tuple[int, ...]
    metrics: Mapping[str, tuple[float | None, ...]]
    config: Mapping[str, tuple[str | None, ...]]  # only what differs

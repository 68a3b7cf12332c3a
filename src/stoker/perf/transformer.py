"""Transformer: the shape of a decoder-only language model, as memory and time follow from it.

A model is a stack of blocks of a few kinds: attention, linear attention, dense feed-forward, experts, Mamba-2. Most
models have one attention and one feed-forward block a layer; hybrids mix them as they like, so kinds are counted
apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoker.typed import strict

Split = Literal["column", "row", "none"]  # how tensor parallelism cuts a matrix: by outputs, by inputs, not at all


@dataclass(frozen=True)
class Matrix:
    """One weight matrix that tokens pass."""

    inputs: int
    outputs: int
    split: Split = "column"

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs


@strict
@dataclass(frozen=True)
class Attention:
    """Grouped-query attention, or multi-head latent attention (DeepSeek-V2) when `kv_rank` is set."""

    heads: int
    kv_heads: int
    head_dim: int  # of queries and keys; with latent attention its part without rotation
    rope_dim: int = 0  # latent attention: the rotated part, added to head_dim
    value_dim: int = 0  # 0: as head_dim
    q_rank: int = 0  # latent attention: width of the compressed query; 0: not compressed
    kv_rank: int = 0  # latent attention: width of compressed keys and values
    window: int = 0  # tokens a query looks back; 0: all of them
    gated: bool = False  # the output is multiplied with a gate that the query's projection makes along (Qwen3.5)

    @property
    def query_width(self) -> int:
        return self.heads * (self.head_dim + self.rope_dim)

    @property
    def value_width(self) -> int:
        return self.heads * (self.value_dim or self.head_dim)

    @property
    def pair_flops(self) -> int:
        """FLOP of one query-key pair over all heads, forward: scores, then weighted values."""
        return 2 * (self.query_width + self.value_width)

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        if not self.kv_rank:
            queries, keys = self.query_width * (2 if self.gated else 1), self.kv_heads * self.head_dim
            return (Matrix(hidden, queries + 2 * keys), Matrix(self.query_width, hidden, "row"))
        expand = self.heads * (self.head_dim + (self.value_dim or self.head_dim))
        query = (
            (Matrix(hidden, self.q_rank, "none"), Matrix(self.q_rank, self.query_width))
            if self.q_rank
            else (Matrix(hidden, self.query_width),)
        )
        keys_values = (Matrix(hidden, self.kv_rank + self.rope_dim, "none"), Matrix(self.kv_rank, expand))
        return (*query, *keys_values, Matrix(self.value_width, hidden, "row"))

    @property
    def expanding(self) -> int:
        """Weights that make queries, keys and values of their latents; 0 without latent attention."""
        if not self.kv_rank:
            return 0
        keys_values = self.kv_rank * self.heads * (self.head_dim + (self.value_dim or self.head_dim))
        return self.q_rank * self.query_width + keys_values


@strict
@dataclass(frozen=True)
class Experts:
    """Routed experts, of which every token passes `per_token`, and what all tokens pass beside them."""

    count: int
    per_token: int
    ffn: int  # width of one routed expert
    shared_ffn: int = 0  # width of all shared experts together
    latent: int = 0  # routed experts work on a projection this wide (LatentMoE); 0: on the hidden width


@strict
@dataclass(frozen=True)
class Mamba:
    """A Mamba-2 block."""

    heads: int
    head_dim: int
    state: int
    groups: int = 8
    chunk: int = 128

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        inner = self.heads * self.head_dim
        return (Matrix(hidden, 2 * inner + 2 * self.groups * self.state + self.heads), Matrix(inner, hidden, "row"))

    @property
    def scan_flops(self) -> int:
        """FLOP per token of the chunked state-space scan (Dao and Gu 2024, section 6), forward."""
        inner = self.heads * self.head_dim
        return 2 * self.chunk * (self.groups * self.state + inner) + 4 * inner * self.state


@strict
@dataclass(frozen=True)
class LinearAttention:
    """A Gated DeltaNet block (Yang et al. 2024): a state of fixed size in place of a cache that grows."""

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int

    def matrices(self, hidden: int) -> tuple[Matrix, ...]:
        keys, values = self.key_heads * self.key_dim, self.value_heads * self.value_dim
        return (Matrix(hidden, 2 * keys + 2 * values + 2 * self.value_heads), Matrix(values, hidden, "row"))

    @property
    def state_values(self) -> int:
        """Numbers one sequence keeps in one block."""
        return self.value_heads * self.key_dim * self.value_dim

    @property
    def scan_flops(self) -> int:
        """FLOP per token, forward: the state is read, corrected and read again."""
        return 6 * self.state_values


@strict
@dataclass(frozen=True, eq=False)  # hashed by identity: planners cache by it
class Transformer:
    """A model's shape. Counts of blocks by kind; `layers` is what pipeline stages are cut by."""

    name: str
    layers: int
    hidden: int
    vocabulary: int
    attention: Attention
    ffn: int = 0  # width of a dense feed-forward block
    gated: bool = True  # SwiGLU and relatives have three matrices, a plain MLP two
    attention_blocks: int = -1  # -1: one a layer
    dense_blocks: int = -1  # -1: one in every layer without experts
    experts: Experts | None = None
    expert_blocks: int = 0
    mamba: Mamba | None = None
    mamba_blocks: int = 0
    linear: LinearAttention | None = None
    linear_blocks: int = 0
    windowed_blocks: int = (
        -1
    )  # attention blocks that look back no further than the window; -1: all, if there is one
    tied_embeddings: bool = False
    learned_positions: bool = False  # one vector for each position, as GPT-2 and MPT have
    extra_predictions: int = 0  # multi-token prediction: further layers that are trained along
    context: int = 0  # longest sequence the model was made for; 0: not told

    def __post_init__(self) -> None:
        if self.attention_blocks < 0:
            object.__setattr__(self, "attention_blocks", self.layers)
        if self.dense_blocks < 0:
            object.__setattr__(self, "dense_blocks", self.layers - self.expert_blocks)
        if self.windowed_blocks < 0:
            object.__setattr__(self, "windowed_blocks", self.attention_blocks if self.attention.window else 0)

    @property
    def ffn_factor(self) -> int:
        return 3 if self.gated else 2

    def dense_matrices(self, width: int, inputs: int = 0) -> tuple[Matrix, ...]:
        """A feed-forward block `width` wide: up (and gate, in one product), then down."""
        outer = inputs or self.hidden
        return (Matrix(outer, width * (self.ffn_factor - 1)), Matrix(width, outer, "row"))

    @property
    def attention_parameters(self) -> int:
        """Of one attention block."""
        return sum(matrix.parameters for matrix in self.attention.matrices(self.hidden))

    @property
    def dense_parameters(self) -> int:
        """Of one dense feed-forward block."""
        return self.ffn_factor * self.hidden * self.ffn

    @property
    def expert_parameters(self) -> int:
        """Of one routed expert."""
        if self.experts is None:
            return 0
        return self.ffn_factor * (self.experts.latent or self.hidden) * self.experts.ffn

    @property
    def beside_experts_parameters(self) -> int:
        """Of one experts' block, what every token passes: router, shared experts, latent projections."""
        if self.experts is None:
            return 0
        shared = self.ffn_factor * self.hidden * self.experts.shared_ffn
        return shared + self.hidden * (self.experts.count + 2 * self.experts.latent)

    @property
    def mamba_parameters(self) -> int:
        return sum(matrix.parameters for matrix in self.mamba.matrices(self.hidden)) if self.mamba else 0

    @property
    def linear_parameters(self) -> int:
        return sum(matrix.parameters for matrix in self.linear.matrices(self.hidden)) if self.linear else 0

    @property
    def embedding_parameters(self) -> int:
        """The input's table alone; an untied output has as many again."""
        return self.vocabulary * self.hidden

    @property
    def routed_parameters(self) -> int:
        """All routed experts of all blocks: what expert parallelism spreads."""
        return self.expert_blocks * self.expert_parameters * self.experts.count if self.experts else 0

    @property
    def stack_parameters(self) -> int:
        """All blocks without routed experts and without embeddings; norms and biases (under 0.1 %) left out."""
        return (
            self.attention_blocks * self.attention_parameters
            + self.dense_blocks * self.dense_parameters
            + self.expert_blocks * self.beside_experts_parameters
            + self.mamba_blocks * self.mamba_parameters
            + self.linear_blocks * self.linear_parameters
        )

    @property
    def parameters(self) -> int:
        """All weights. Layers of multi-token prediction are counted as one more average layer each."""
        stack = self.stack_parameters + self.routed_parameters
        extra = round(stack / self.layers * self.extra_layers)
        return stack + extra + self.embedding_parameters * (1 if self.tied_embeddings else 2)

    @property
    def extra_layers(self) -> int:
        """Layers of multi-token prediction; in a hybrid an attention and an experts' block stand for one."""
        return self.extra_predictions * (2 if self.mamba_blocks else 1)

    @property
    def active_parameters(self) -> int:
        """Weights that one token is multiplied with, the output's included, the input's table (a look-up) not."""
        routed = self.expert_blocks * self.expert_parameters * self.experts.per_token if self.experts else 0
        return self.stack_parameters + routed + self.embedding_parameters

    def pairs(self, sequence: int, *, causal: bool) -> float:
        """Query-key pairs of a sequence and an attention block, on average; windows count what they let through."""
        full = sequence * sequence / (2.0 if causal else 1.0)
        if not self.attention.window or self.attention.window >= sequence or not self.attention_blocks:
            return full
        narrow = self.windowed_blocks / self.attention_blocks
        return narrow * float(sequence) * self.attention.window + (1.0 - narrow) * full

    def flops_per_token(self, sequence: int, *, causal: bool = True) -> float:
        """Model FLOP to train on one token: 6 x active parameters + 3 x attention's and scan's forward FLOP.

        `causal` counts the half of attention that is computed (Megatron's count since 2024); MosaicML counts
        the full square.
        """
        pairs = self.pairs(sequence, causal=causal) / sequence
        scores = self.attention_blocks * self.attention.pair_flops * pairs
        scan = self.mamba_blocks * self.mamba.scan_flops if self.mamba else 0
        scan += self.linear_blocks * self.linear.scan_flops if self.linear else 0
        return 6.0 * self.active_parameters + 3.0 * (scores + scan)

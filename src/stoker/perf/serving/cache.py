"""Cache: device memory of a replica, and how many sequences fit into it."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import Unfit
from stoker.perf.serving.quantisation import QUANTISATIONS
from stoker.perf.serving.step import Replica
from stoker.perf.serving.work import attention_parameters, cached_values
from stoker.units import format_bytes


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest device, and what one token and one sequence take of an attention group's cache."""

    weights: float
    reserved: float
    cache: float  # left for keys, values and states
    per_token: float
    per_sequence: float  # states of linear attention: the same however long the sequence

    @property
    def fits(self) -> bool:
        return self.cache > 0

    def sequences(self, length: float, groups: int) -> float:
        """Sequences of `length` tokens that fit into all attention groups of the replica."""
        return groups * max(0.0, self.cache) / (self.per_token * length + self.per_sequence)


def memory(replica: Replica) -> Memory:
    engine, there = replica.curves.engine, replica.on.memory_bytes
    weights = weight_bytes(replica)
    reserved = engine.reserve * (max(0.0, there - weights) if engine.reserves_of_rest else there)
    model, split, pp = replica.model, replica.split, replica.split.pp
    states = 4.0 * model.linear.state_values * model.linear_blocks / split.tp if model.linear else 0.0
    if model.mamba:
        states += 4.0 * model.mamba.heads * model.mamba.head_dim * model.mamba.state * model.mamba_blocks / split.tp
    return Memory(
        weights,
        reserved,
        there - weights - reserved,
        cached_values(model, split.tp) * model.attention_blocks * replica.cached / pp,
        states / pp,
    )


def weight_bytes(replica: Replica) -> float:
    """Of one device of the fullest stage."""
    model, split, q = replica.model, replica.split, replica.quantisation
    beside = QUANTISATIONS[q.beside] if model.experts and q.beside else q
    mixing = model.attention_blocks * attention_parameters(model, split.tp)
    mixing += (
        model.mamba_blocks * model.mamba_parameters + model.linear_blocks * model.linear_parameters
    ) / split.tp
    feeding = (
        model.dense_blocks * model.dense_parameters + model.expert_blocks * model.beside_experts_parameters
    ) / split.tp
    routed = model.routed_parameters / split.stage
    tables = model.embedding_parameters / split.tp * 2.0 * (1 if model.tied_embeddings else 2)
    return (mixing * beside.weight + (feeding + routed) * q.weight) / split.pp + tables


def transfer_seconds(replica: Replica, prompt: float) -> float:
    """Of a prompt's cache from the prefilling to the decoding replica, over one device's network."""
    found = memory(replica)
    return (found.per_token * prompt + found.per_sequence) * replica.split.pp / replica.network


def check_fits(replica: Replica) -> Memory:
    """Raises Unfit with the arithmetic in one line when the weights alone leave no room."""
    found = memory(replica)
    if not found.fits:
        raise Unfit(
            f"{replica.model.name} in {replica.quantisation.name} takes {format_bytes(found.weights)} of weights "
            f"and {format_bytes(found.reserved)} of work space on each of {replica.split.devices} devices; "
            f"{replica.on.name} has {format_bytes(replica.on.memory_bytes)}: more devices or fewer bits",
            param="split",
        )
    return found

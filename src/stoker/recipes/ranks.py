"""Several processes that train one model, as torchrun starts them; alone when it did not.

Gradients are added up by hand after the rows of a step, in one message: every rank knows how many targets the step
has over all ranks, so the sum is already the mean. No wrapper stands between the loop and the model.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

V = TypeVar("V")


PEERS_LOST = 75  # exit code of a rank that others left alone: EX_TEMPFAIL, not the cause of anything
_CAUSE_FIRST_S = 5.0  # so that the rank that is the cause has ended before those that only miss it


class PeersLost(SystemExit):
    """Other ranks are gone: killed with their node, or ended by what they will have told themselves."""


@contextmanager
def _together() -> Iterator[None]:
    """Around everything that needs the others. Gloo says RuntimeError, NCCL a subclass of it."""
    try:
        yield
    except RuntimeError as error:
        print(f"stoker: the other ranks are gone: {str(error).splitlines()[0][:200]}", file=sys.stderr, flush=True)
        time.sleep(_CAUSE_FIRST_S)
        raise PeersLost(PEERS_LOST) from None


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients of all ranks in place; a rank that had no rows gives zeros."""
        if self.count == 1:
            return
        moving = list(parameters)
        for parameter in moving:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([parameter.grad.flatten() for parameter in moving if parameter.grad is not None])
        with _together():
            distributed.all_reduce(flat)
        at = 0
        for parameter in moving:
            size = parameter.numel()
            parameter.grad = flat[at : at + size].view_as(parameter)
            at += size

    def add(self, value: float, on: torch.device) -> float:
        """The sum of `value` over all ranks."""
        if self.count == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64 if on.type == "cpu" else torch.float32, device=on)
        with _together():
            distributed.all_reduce(total)
        return float(total)

    def tell(self, value: V) -> V:
        """What the first rank says, on every rank."""
        if self.count == 1:
            return value
        told = [value]
        with _together():
            distributed.broadcast_object_list(told, src=0)
        return told[0]

    def share(self, tensors: Mapping[str, torch.Tensor], on: torch.device) -> Mapping[str, torch.Tensor]:
        """The first rank's tensors, on every rank; of the others nothing is taken."""
        if self.count == 1:
            return tensors
        shapes = self.tell({name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        shared: dict[str, torch.Tensor] = {}
        for name, (shape, dtype) in shapes.items():
            shared[name] = tensors[name].to(on) if self.first else torch.empty(shape, dtype=dtype, device=on)
            with _together():
                distributed.broadcast(shared[name], src=0)
        return shared

    def wait(self) -> None:
        """Until every rank is here."""
        if self.count > 1:
            with _together():
                distributed.barrier()


def join(on: torch.device) -> Ranks:
    """The ranks of this job, by torchrun's RANK and WORLD_SIZE."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Ranks()
    if on.type == "cuda":
        torch.cuda.set_device(on)
    with _together():
        distributed.init_process_group("nccl" if on.type == "cuda" else "gloo")
    return Ranks(distributed.get_rank(), count)


def leave() -> None:
    with suppress(ValueError):  # never joined
        if distributed.is_initialized():
            distributed.destroy_process_group()

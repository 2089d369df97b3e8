"""Training with several processes, on one machine or many, as started by torch's own launcher:

    torchrun --nproc-per-node 2 --no-python fewstep train ...

Every process holds the same parameters and takes its share of each batch of tasks; gradients are added up before each
step. Without the launcher there is one process, and nothing here costs anything.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, distributed, nn

from schemas.errors import ConfigurationError


class Crew(NamedTuple):
    """The processes of a training."""

    rank: int = 0
    """Number of this one; number 0 measures and writes"""
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process measures and writes."""
        return self.rank == 0


ALONE = Crew()
"""The usual case"""


def device() -> torch.device:
    """A GPU where there is one, one per process; else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def crew() -> Iterator[Crew]:
    """Join the processes that the launcher started; a crew of one without it.

    Raises ConfigurationError where the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    try:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except (RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            f"the other training processes cannot be reached: {line}; start them with torchrun, and see its rendezvous"
        ) from error
    try:
        yield Crew(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def weighed(loss: Tensor, weight: float, members: Crew) -> Tensor:
    """A mean over `weight` query items, scaled so that the processes' mean gradient is that of the whole batch."""
    if members.size == 1:
        return loss
    total = torch.tensor([float(weight)], device=loss.device)
    distributed.all_reduce(total)
    return loss * (weight * members.size / total.clamp(min=1.0))


def average_gradients(parameters: Iterable[nn.Parameter], members: Crew) -> None:
    """Replace each gradient by its mean over the processes, in one round."""
    if members.size == 1:
        return
    learned = [parameter for parameter in parameters if parameter.requires_grad]
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in learned]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= members.size
    for parameter, mean in zip(learned, torch.split(flat, [one.numel() for one in learned]), strict=True):
        parameter.grad = mean.view_as(parameter)


def told(value: float, members: Crew, *, at: torch.device) -> float:
    """The value that process 0 has."""
    if members.size == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64, device=at)
    distributed.broadcast(shared, 0)
    return float(shared.item())

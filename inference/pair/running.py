"""How a tool runs a pair: on which device, in which mode, under which seed, on how much of the data at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrovae.data import Batch, Scale
from pyrovae.inference.pair.contract import ProgramLike, batch_size, local_params, modules

__all__ = [
    "COMPILE_FROM",
    "MEMORY",
    "ROWS",
    "Transform",
    "batches",
    "chunk_sizes",
    "device_of",
    "evaluating",
    "frozen",
    "numbers",
    "placed",
    "portions",
    "seeded",
    "unchanged",
]

Transform = Callable[[Any], Any]
"""From a batch of the data to the batch that the programs get."""

ROWS = 1000
"""Data points per call where nothing is drawn: bounds the memory that a whole data set takes."""

COMPILE_FROM = 2**31
"""Numbers to score (data x draws x numbers in a datum) from which an evaluation is compiled by default."""

MEMORY = 2**28
"""About how many bytes a chunk of draws may take, by default."""


def placed(data: Batch, transform: Transform | None, device: torch.device, rows: slice | Tensor = slice(None)) -> Batch:
    """The batch that a program gets: some rows of the data, on the device, transformed.

    Every tool takes its batches from here, so all have the same default. Call it inside `seeded`, because a transform
    may draw random numbers.

    Args:
        data: named tensors.
        transform: from batch to batch; `pyrovae.data.Scale()` if None, which leaves floats as they are.
        device: where the programs are.
        rows: a slice, or row numbers; all rows by default.
    """
    if isinstance(rows, Tensor):
        part = {name: tensor[rows.to(tensor.device)].to(device) for name, tensor in data.items()}
    else:
        part = {name: tensor[rows].to(device) for name, tensor in data.items()}
    return (transform or Scale())(part)


def batches(data: Batch, rows: int, transform: Transform | None, device: torch.device) -> Iterator[Batch]:
    """The data in order, `rows` of them at a time, as `placed` gives them."""
    for start in range(0, batch_size(data), rows):
        yield placed(data, transform, device, slice(start, start + rows))


def unchanged(batch: Any) -> Any:
    """A transform that changes nothing, for batches that were transformed before."""
    return batch


def numbers(batch: Batch) -> int:
    """How many numbers one data point has."""
    return sum(tensor[0].numel() for tensor in batch.values())


def chunk_sizes(batch: Batch, num_samples: int, memory: int) -> tuple[int, int]:
    """Rows and draws of one chunk. About sixteen floats per number of a data point are alive at once."""
    pairs = max(1, memory // (64 * max(numbers(batch), 128)))
    draws = min(num_samples, pairs)
    return max(1, pairs // draws), draws


def portions(num_samples: int, draws: int) -> list[int]:
    """`num_samples` split into portions of at most `draws`."""
    return [min(draws, num_samples - done) for done in range(0, num_samples, draws)]


def device_of(*programs: ProgramLike) -> torch.device:
    """The device of the first parameter or buffer; the CPU where there is none."""
    for module in modules(*programs):
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
    return torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers follow `seed` inside; the global random state is the same before and after."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluating(*programs: ProgramLike) -> Iterator[None]:
    """Evaluation mode, no gradients, and local parameters inside; the modes are restored afterwards."""
    owned: list[nn.Module] = [m for owner in modules(*programs) for m in owner.modules()]
    training = [module.training for module in owned]
    for module in owned:
        module.training = False
    try:
        with torch.no_grad(), local_params(*programs), pyro.validation_enabled(False):
            yield
    finally:
        for module, mode in zip(owned, training, strict=True):
            module.training = mode


@contextmanager
def frozen(*programs: ProgramLike) -> Iterator[None]:
    """The weights get no gradient inside."""
    weights = [p for module in modules(*programs) for p in module.parameters() if p.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)

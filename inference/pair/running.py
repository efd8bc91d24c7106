"""Running."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import nn

from pyrovae.inference.pair.contract import Batch, ProgramLike, batch_size, local_params, modules

__all__ = [
    "CHUNK",
    "COMPILE_FROM",
    "batches",
    "chunk_sizes",
    "device_of",
    "evaluating",
    "frozen",
    "numbers",
    "portions",
    "seeded",
    "unchanged",
]


COMPILE_FROM = 2**31

"""Numbers to score (data x draws x numbers in a datum) from which an evaluation is compiled by default."""


def batches(data: Batch, rows: int, transform: Callable[[Any], Any], device: torch.device) -> Iterator[Any]:
    """The data in order, `rows` of them at a time, on the device and transformed."""
    for start in range(0, batch_size(data), rows):
        yield transform({name: tensor[start : start + rows].to(device) for name, tensor in data.items()})


def unchanged(batch: Any) -> Any:
    """The transform of data that are as the pair sees them."""
    return batch


def numbers(batch: Batch) -> int:
    """How many numbers one datum has."""
    return sum(tensor[0].numel() for tensor in batch.values())


def chunk_sizes(batch: Batch, num_samples: int, memory: int) -> tuple[int, int]:
    """Rows and draws of one chunk: some sixteen floats per number of a datum live at once."""
    pairs = max(1, memory // (64 * max(numbers(batch), 128)))
    draws = min(num_samples, pairs)
    return max(1, pairs // draws), draws


def portions(num_samples: int, draws: int) -> list[int]:
    """The draws in portions of at most so many."""
    return [min(draws, num_samples - done) for done in range(0, num_samples, draws)]


def device_of(*programs: ProgramLike) -> torch.device:
    for module in modules(*programs):
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
    return torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Fixed random numbers inside, the global state untouched outside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluating(*programs: ProgramLike) -> Iterator[None]:
    """Evaluation mode, no gradients, local parameters, and the modes as before afterwards."""
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
    """No gradient for the weights inside."""
    weights = [p for module in modules(*programs) for p in module.parameters() if p.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)


CHUNK = 1000  # data per call: bounds the memory of a whole data set

"""How a tool runs a pair: the device, the mode, the seed, and the number of data points at a time."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrovae.checks import BYTES, check_count, check_seed
from pyrovae.data import Batch, Scale
from pyrovae.data.named import kind_of
from pyrovae.data.source import narrowed, take
from pyrovae.errors import SettingError
from pyrovae.inference.pair.contract import ProgramLike, batch_size, local_params, modules
from pyrovae.inference.pair.threads import one_thread

__all__ = [
    "MEMORY",
    "ROWS",
    "Transform",
    "batches",
    "chunk_sizes",
    "device_of",
    "evaluating",
    "frozen",
    "modes_kept",
    "numbers",
    "placed",
    "portions",
    "seeded",
    "transformed",
    "unchanged",
]

Transform = Callable[[Any], Any]
"""A function from a batch of the data to the batch that the programs get."""

_ABOUT_DICT = re.compile(r"'dict'|\bdict\b")
"""What Python and torch say where a dict is taken for a tensor."""

ROWS = 1000
"""Data points per call where nothing is drawn: it bounds the memory that a whole data set takes."""

MEMORY = 2**28
"""By default, a chunk of draws takes about this many bytes."""


def placed(data: Batch, transform: Transform | None, device: torch.device, rows: slice | Tensor = slice(None)) -> Batch:
    """The batch that a program gets: some rows of the data, on the device and transformed.

    Every tool gets its batches here, so all tools have the same default. Call it inside `seeded`: a transform may draw
    random numbers.

    Args:
        data: named tensors.
        transform: a function from batch to batch; if None, `pyrovae.data.Scale()`, which scales bytes to [0, 1] and
            leaves floats unchanged.
        device: the device of the programs.
        rows: a slice or row numbers; all rows by default.

    Raises:
        DataError: the data are read from a file that has changed.
        SettingError: the transform returns no batch.
    """
    part = {name: tensor.to(device) for name, tensor in take(data, rows).items()}
    return transformed(part, transform or Scale())


def transformed(batch: Batch, transform: Transform) -> Batch:
    """A batch after a transform.

    Args:
        batch: named tensors.
        transform: a function from batch to batch.

    Raises:
        SettingError: it returns something else.
    """
    try:
        result = transform(batch)
    except (TypeError, AttributeError) as error:
        if isinstance(transform, type):  # a class in place of one of its objects
            raise SettingError(
                f"transform requires a function from batch to batch, got {transform}: {error}."
            ) from None
        if _ABOUT_DICT.search(str(error)):
            raise SettingError(
                f"transform requires a function of a batch, a dict of named tensors, got one that takes a tensor: "
                f'{error}. Write transform=lambda batch: {{**batch, "x": f(batch["x"])}}, where f takes a tensor.'
            ) from error
        raise
    if not isinstance(result, Mapping):
        raise SettingError(
            f"transform requires a function from batch to batch, got one that returns {kind_of(result)}. Return named "
            'tensors: {**batch, "x": x}.'
        )
    return result


def batches(data: Batch, rows: int, transform: Transform | None, device: torch.device) -> Iterator[Batch]:
    """The data in order, in batches of `rows` data points, each as in `placed`.

    Args:
        data: named tensors.
        rows: the number of data points in a batch; the last batch may have fewer.
        transform, device: as in `placed`.

    Raises:
        SettingError: `rows` is no whole number of at least 1.
    """
    rows = check_count("rows", rows)
    for start in range(0, batch_size(data), rows):
        yield placed(data, transform, device, slice(start, start + rows))


def unchanged(batch: Any) -> Any:
    """The identity, as the transform of a batch that is transformed already.

    Args:
        batch: named tensors.
    """
    return batch


def numbers(batch: Batch) -> int:
    """How many numbers one data point has.

    Args:
        batch: named tensors of at least one data point.
    """
    return sum(tensor[0].numel() for tensor in narrowed(batch, 1).values())


def chunk_sizes(batch: Batch, num_samples: int, memory: int) -> tuple[int, int]:
    """The numbers of data points and of draws in one chunk.

    The estimate of memory: a run keeps about sixteen floats for each number of a data point and each draw.

    Args:
        batch: named tensors of at least one data point.
        num_samples: the number of draws for each data point.
        memory: about how many bytes a chunk may take.

    Raises:
        SettingError: `num_samples` is no whole number of at least 1, or `memory` none of at least 0.
    """
    num_samples, memory = check_count("num_samples", num_samples), check_count("memory", memory, 0, BYTES)
    pairs = max(1, memory // (64 * max(numbers(batch), 128)))
    draws = min(num_samples, pairs)
    return max(1, pairs // draws), draws


def portions(num_samples: int, draws: int) -> list[int]:
    """A number of draws, split into portions.

    Args:
        num_samples: the sum of the portions.
        draws: the largest portion; the last portion may be smaller.
    """
    return [min(draws, num_samples - done) for done in range(0, num_samples, draws)]


def device_of(*programs: ProgramLike) -> torch.device:
    """The device of the first parameter or buffer; the CPU if there is none.

    Args:
        programs: models and guides.
    """
    for module in modules(*programs):
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
    return torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, random numbers start from a seed; afterwards the global random state is what it was before.

    Args:
        seed: the seed of torch's generators.
        device: the device of the programs; a GPU has a generator of its own.

    Raises:
        SettingError: a seed that is no whole number from 0 to 2^32 - 1.
        ThreadError: another thread runs a pair.
    """
    seed, devices = check_seed("seed", seed), [device] if device.type == "cuda" else []
    with one_thread(), torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluating(*programs: ProgramLike) -> Iterator[None]:
    """Inside, modules are in evaluation mode, without gradients; afterwards each has its former mode.

    Parameters are those of the modules (`local_params`), and Pyro validates nothing.

    Args:
        programs: models and guides.
    """
    with modes_kept(*programs) as owned:
        for module in owned:
            module.training = False
        with torch.no_grad(), local_params(*programs), pyro.validation_enabled(False):
            yield


@contextmanager
def modes_kept(*programs: ProgramLike) -> Iterator[list[nn.Module]]:
    """Gives the modules of some programs; afterwards each has its former mode, of training or of evaluation.

    Args:
        programs: models and guides.
    """
    owned: list[nn.Module] = [m for owner in modules(*programs) for m in owner.modules()]
    training = [module.training for module in owned]
    try:
        yield owned
    finally:
        for module, mode in zip(owned, training, strict=True):
            module.training = mode


@contextmanager
def frozen(*programs: ProgramLike) -> Iterator[None]:
    """Inside, weights require no gradient; afterwards those that did require it again.

    Args:
        programs: models and guides.
    """
    weights = [p for module in modules(*programs) for p in module.parameters() if p.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)

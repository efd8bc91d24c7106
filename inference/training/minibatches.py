"""Minibatches: which rows each step takes, and how many steps one call takes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from pyrovae.data import check_unchanged
from pyrovae.data.source import LazyBatch, take
from pyrovae.errors import DataError
from pyrovae.inference.pair.contract import batch_size as size_of

__all__ = [
    "Transform",
    "chunks",
    "each_batch",
    "gathered",
    "in_memory",
    "is_fine",
    "is_small",
    "one_thread",
    "row_order",
]

Transform = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""From batch to batch, in tensor code: conversion of bytes, binarisation, noise."""

SMALL_STEP = 1_000_000
"""Parameters x batch size below which Python takes as long as the arithmetic of a step."""

ENOUGH_STEPS = 64
"""Fewer steps in one run do not earn the longer compilation of several steps back."""

FINE_STEP = 250_000
"""Multiplications of a product, on average, below which a second thread saves no more than its waiting costs."""


def row_order(data: Mapping[str, Tensor], num_steps: int, batch_size: int | None, order: Tensor | None) -> Tensor:
    """The rows of each step, `(num_steps, B)`: those of `order`, or random ones.

    Args:
        data: named tensors that share the leading dimension.
        num_steps: how many steps.
        batch_size: B, for random rows.
        order: the rows, int64 `(num_steps, B)`.

    Raises:
        DataError: neither `order` nor `batch_size` is given, or `order` has another shape; or the data are mapped from
            a file that has changed.
    """
    check_unchanged(data)
    if order is None:
        if batch_size is None:
            raise DataError(
                "SVI.run requires the rows of each step, got neither order nor batch_size. Write order=rows, int64 "
                "(num_steps, B), or batch_size=B."
            )
        return torch.randint(size_of(data), (num_steps, batch_size))
    if order.dim() != 2 or len(order) != num_steps:
        raise DataError(
            f"SVI.run requires order of shape (num_steps, B) = ({num_steps}, B), got {tuple(order.shape)}. Write "
            "num_steps=len(order)."
        )
    return order


def gathered(data: Mapping[str, Tensor], rows: Tensor, device: torch.device | None = None) -> dict[str, Tensor]:
    """Some rows of the data.

    Args:
        data: named tensors, on any devices.
        rows: row numbers.
        device: where to put the rows; None leaves them where the data are.

    Raises:
        DataError: the data are mapped from a file that has changed.
    """
    part = take(data, rows)
    return part if device is None else {name: t.to(device, non_blocking=True) for name, t in part.items()}


def in_memory(data: Mapping[str, Tensor], order: Tensor, device: torch.device) -> tuple[Mapping[str, Tensor], Tensor]:
    """The rows of some steps as tensors, and where those of each step lie among them.

    Args:
        data: named tensors, which stay as they are; or a source in their place, whose rows go to the device.
        order: row numbers `(steps, B)`.
        device: that of the parameters.
    """
    if not isinstance(data, LazyBatch):
        return data, order
    block, places = data.block(order)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in block.items()}, places


def each_batch(
    data: dict[str, Tensor], rows: Tensor | None, transform: Transform | None
) -> Iterator[dict[str, Tensor]]:
    """The transformed batch of each step.

    Args:
        data: named tensors on one device.
        rows: row numbers `(steps, B)`; None for one batch of all rows.
        transform: from batch to batch; None changes nothing.
    """
    for row in [None] if rows is None else rows:
        batch = data if row is None else {name: tensor[row] for name, tensor in data.items()}
        yield transform(batch) if transform else batch


def chunks(order: Tensor, size: int) -> Iterator[Tensor]:
    """Blocks of `size` steps and then single steps, so two graphs are enough for any number of steps.

    Args:
        order: row numbers `(steps, B)`.
        size: steps of a block.
    """
    whole = len(order) - len(order) % size
    for rows in (*order[:whole].split(size), *order[whole:].split(1)):
        if len(rows):
            yield rows


def is_small(parameters: list[Tensor], order: Tensor) -> bool:
    """Whether the steps are so small, and so many, that one graph should take several of them on a single thread.

    Args:
        parameters: those of the pair.
        order: row numbers `(steps, B)`.
    """
    work = sum(p.numel() for p in parameters) * order.shape[1]
    return order.device.type == "cpu" and work < SMALL_STEP and len(order) >= ENOUGH_STEPS


def is_fine(parameters: list[Tensor], order: Tensor, num_particles: int = 1) -> bool:
    """Whether the steps consist of products so small that a single thread computes them as fast as several.

    Threads wait for each other after every product, from 1 to 10 microseconds, depending on where the operating system
    has put them. So small products on two threads take as long as on one, or twice as long.

    Args:
        parameters: those of the pair; each is a factor of one product per data point and particle.
        order: row numbers `(steps, B)`.
        num_particles: draws per data point.
    """
    work = sum(p.numel() for p in parameters) * order.shape[1] * num_particles
    return order.device.type == "cpu" and work < FINE_STEP * len(parameters)


@contextmanager
def one_thread() -> Iterator[None]:
    """A context with one thread: in a small step a second thread costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""The processes of a task: rank, share, and sums over all of them."""

import os
import pickle
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pyrovae.errors import PyrovaeError, SettingError
from pyrovae.imports import private
from pyrovae.inference.processes.noise import WholeNoise
from pyrovae.inference.processes.share import Share

__all__ = ["ALONE", "Member", "Processes"]

default_store = private("torch.distributed.distributed_c10d", "_get_default_store")
pytree = private("torch.utils._pytree")
collectives = private("torch.distributed._functional_collectives")  # registers what a captured sum gives

Result = TypeVar("Result")

Member = tuple[str, int]
"""A process: its host, and its number there."""


class Processes:
    """The processes that work on one task, each with its rank; a single one by default.

    All of them call the methods that exchange something in the same order.

    Args:
        rank: the number of this process, from 0.
        size: how many there are.
        device: the device of this process; None for the one that a function is given.

    Attributes:
        members: host and process number of each; empty for a single one.
        store: what all processes can read and write, by key; None for a single one.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.members: list[Member] = []
        self.store: Any = None
        if size > 1:
            self.members = self.all_objects((socket.gethostname(), os.getpid()))
            self.store = default_store()

    @property
    def main(self) -> bool:
        """Whether this process writes, prints and shows a bar: process 0 alone does."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def share(self, total: int) -> Share:
        """The rows of a batch that this process takes.

        Args:
            total: the rows of the whole batch.
        """
        return Share.of(total, self.rank, self.size)

    def noise(self, share: Share) -> AbstractContextManager[None]:
        """Inside, all random numbers of the rows are those that one process draws for the whole batch.

        Args:
            share: the rows of this process.
        """
        if self.alone:  # which needs no private name of torch
            return nullcontext()
        return WholeNoise(share, self.summed).everywhere()

    def over_rows(self, task: Callable[[dict[str, Tensor], Share], Any], batch: Mapping[str, Tensor], dim: int) -> Any:
        """What a task gives for a batch, each process for its share.

        Args:
            task: from the rows of a share to nested tensors with one entry for each row. It draws inside `noise`.
            batch: named tensors, one entry for each row.
            dim: the dimension of the rows in what the task gives.
        """
        share = self.share(len(next(iter(batch.values()))))
        mine = {name: share.rows(tensor) for name, tensor in batch.items()}
        found = self.agreed(lambda: task(mine, share))
        if self.alone:
            return found
        return pytree.tree_map_only(Tensor, lambda part: self.gathered(part, share, dim), found)

    # Sums of tensors: tensor code, so that a compiled step can hold them --------------------------------------------

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes.

        Args:
            tensor: of the same shape on each process.
        """
        if self.alone:
            return tensor
        assert dist.group.WORLD is not None
        operations: Any = torch.ops._c10d_functional
        reduced: Tensor = operations.all_reduce(tensor, "sum", dist.group.WORLD.group_name)
        return operations.wait_tensor(reduced)

    def summed_together(self, tensors: Sequence[Tensor], weight: float = 1.0) -> list[Tensor]:
        """The weighted sums of some tensors over all processes, by one exchange.

        Args:
            tensors: of floats, with the same shapes on each process.
            weight: the factor of this process.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        parts = self.summed(flat if weight == 1 else flat * weight).split([tensor.numel() for tensor in tensors])
        return [part.view(old.shape).to(old.dtype) for part, old in zip(parts, tensors, strict=True)]

    def gathered(self, part: Tensor, share: Share, dim: int = 0) -> Tensor:
        """The tensor of the whole batch, whose rows each process has a part of.

        Args:
            part: the rows of this process.
            share: which rows these are.
            dim: their dimension.
        """
        if self.alone:
            return part
        shape = [share.total if i == dim % part.dim() else length for i, length in enumerate(part.shape)]
        whole = torch.zeros(shape, dtype=part.dtype, device=part.device)
        if share.counts:
            share.rows(whole, dim).copy_(part)
        flags = whole.dtype == torch.bool
        total = self.summed(whole.to(torch.uint8) if flags else whole)
        return total.bool() if flags else total

    # Objects and agreement ------------------------------------------------------------------------------------------

    def any(self, flag: bool) -> bool:
        """Whether a flag is set on one of the processes.

        Args:
            flag: that of this process.
        """
        return flag if self.alone else bool(self.summed(torch.tensor(float(flag), device=self.device)) > 0)

    def all_objects(self, mine: Any) -> list[Any]:
        """An object of each process, by rank.

        Args:
            mine: that of this process; it can be pickled.
        """
        if self.alone:
            return [mine]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        return found

    def from_main(self, mine: Any) -> Any:
        """The object of process 0.

        Args:
            mine: that of this process, which counts on process 0 alone.
        """
        if self.alone:
            return mine
        held = [mine]
        dist.broadcast_object_list(held, device=self.device)
        return held[0]

    def agreed(self, task: Callable[[], Result]) -> Result:
        """What a task gives; if it fails on one process, it fails on all.

        Args:
            task: it exchanges nothing with other processes.

        Raises:
            PyrovaeError: the error of this process, or else that of the first one that failed.
        """
        if self.alone:
            return task()
        result: Any = None
        mine: Exception | None = None
        try:
            result = task()
        except Exception as error:
            mine = error
        if self.any(mine is not None):
            failed = [error for error in self.all_objects(_portable(mine)) if error is not None]
            raise mine or failed[0]
        return result

    def require_same(self, settings: dict[str, Any]) -> None:
        """Refuse to go on where the processes differ in a setting.

        Args:
            settings: by name; values that can be pickled and compared.

        Raises:
            SettingError: the first setting that differs is named, with its values.
        """
        everywhere = self.all_objects(settings)
        for name in {name: None for found in everywhere for name in found}:
            values = [found.get(name) for found in everywhere]
            other = next((rank for rank, value in enumerate(values) if value != values[0]), None)
            if other is not None:
                raise SettingError(
                    f"{self.size} processes require the same {name}, got {_short(values[0])} in process 0 and "
                    f"{_short(values[other])} in process {other}. Write the same script, data and seed for all."
                )


def _portable(error: Exception | None) -> Exception | None:
    """An error that another process can raise: itself where it can be pickled, else its words."""
    if error is None:
        return None
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return PyrovaeError(f"{type(error).__name__}: {error}")


def _short(value: Any) -> str:
    return f"{value!r:.200}"


ALONE = Processes()
"""A single process."""

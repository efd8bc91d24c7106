"""Which rows of a batch a process takes."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Share"]


@dataclass(frozen=True)
class Share:
    """The rows of a batch that one process takes: `size` of `total`, from `start` on.

    The shares of a batch differ by one row at most. A process for which no row is left runs the first row, which then
    counts nothing: it takes part in every sum all the same.

    Attributes:
        start: the first row.
        size: how many rows.
        total: the rows of the whole batch.
        counts: false where no row was left.
    """

    start: int
    size: int
    total: int
    counts: bool = True

    @classmethod
    def of(cls, total: int, rank: int, processes: int) -> "Share":
        """The share of one process.

        Args:
            total: the rows of the whole batch.
            rank: the number of the process, from 0.
            processes: how many there are.
        """
        each, rest = divmod(total, processes)
        size = each + (rank < rest)
        return cls(rank * each + min(rank, rest), size, total) if size else cls(0, 1, total, counts=False)

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows."""
        return self.size == self.total

    @property
    def fraction(self) -> float:
        """The part of the batch that these rows are; 0 where they count nothing."""
        return self.size / self.total if self.counts else 0.0

    def rows(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """These rows of a tensor of the whole batch.

        Args:
            tensor: a tensor of all rows.
            dim: the dimension of the rows.
        """
        return tensor if self.is_whole else tensor.narrow(dim, self.start, self.size)

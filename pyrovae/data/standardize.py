"""Tables of numbers on one scale: each column to mean 0 and standard deviation 1."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pyrovae.checks import check_number, check_positive, check_tensor
from pyrovae.data.dataset import Batch
from pyrovae.data.named import named_tensors
from pyrovae.errors import DataError, ShapeError

__all__ = ["Standardize", "column_scales"]

ROUNDING = 1e-9
"""A constant column of large numbers has a spread of about this times its largest number."""


def column_scales(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the scale of each column: its standard deviation, or 1 where the column is constant.

    Args:
        table: finite numbers, `(N, D)`.
    """
    mean, spread = table.mean(0), table.std(0)
    return mean, np.where(spread > ROUNDING * np.abs(table).max(0), spread, 1.0)


@dataclass(frozen=True, repr=False)
class Standardize:
    """Columns to mean 0 and standard deviation 1: `x` of shape `(N, D)` becomes `(x - mean) / scale`.

    A density of the standardised columns becomes one of the table, in the units of the table, when `log_jacobian` is
    added: log p(x) = log p((x - mean) / scale) - sum_d log scale_d. Everything else in a batch stays as it is.

    Args:
        mean: the mean of each column, D numbers.
        scale: the scale of each column, D numbers above 0.

    Raises:
        ShapeError: not as many means as scales.
        SettingError: a number that is not finite, or a scale that is not above 0.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, check in (("mean", check_number), ("scale", check_positive)):
            object.__setattr__(self, name, tuple(check(name, value) for value in getattr(self, name)))
        if len(self.mean) != len(self.scale) or not self.mean:
            raise ShapeError(
                f"Standardize requires a mean and a scale for each column, got {len(self.mean)} and {len(self.scale)}. "
                "Write Standardize.of(x)."
            )

    @classmethod
    def of(cls, x: Any) -> Self:
        """The transform that standardises some training data; a constant column has scale 1.

        Args:
            x: numbers, `(N, D)`, with N at least 1.

        Raises:
            ShapeError: another shape, or no rows.
            DataError: no numbers, or numbers that are not finite.
        """
        table = check_tensor("x", x, "(N, D)", dims=2, rows=1, finite=True)
        mean, scale = column_scales(table.cpu().double().numpy())
        return cls(tuple(mean.tolist()), tuple(scale.tolist()))

    @property
    def log_jacobian(self) -> float:
        """-sum_d log scale_d, what a log-density of standardised rows gains in the units of the table."""
        return -math.fsum(map(math.log, self.scale))

    def prepare(self, batch: Batch) -> Batch:
        """The tensors of the `batch` themselves, checked.

        Raises:
            DataError: there is no `x`.
            ShapeError: `x` has another shape.
        """
        self._check(named_tensors("Standardize", batch))
        return batch

    def prepare_rows(self, batch: Batch) -> Batch:
        """The rows of a `batch` themselves."""
        return batch

    def __call__(self, batch: Batch) -> Batch:
        """The `batch` with `x` standardised.

        Raises:
            DataError: there is no `x`.
            ShapeError: `x` has another shape.
        """
        x = self._check(batch)
        mean, scale = (constant.to(x.device, x.dtype) for constant in self._constants)
        return {**batch, "x": (x - mean) / scale}

    def inverse(self, x: Tensor) -> Tensor:
        """Standardised rows in the units of the table.

        Args:
            x: `(*, D)`.
        """
        mean, scale = (constant.to(x.device, x.dtype) for constant in self._constants)
        return x * scale + mean

    def __repr__(self) -> str:
        return f"Standardize({len(self.mean)} columns, log_jacobian={self.log_jacobian:.4f})"

    @cached_property
    def _constants(self) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.mean, dtype=torch.float64), torch.tensor(self.scale, dtype=torch.float64)

    def _check(self, batch: Batch) -> Tensor:
        """`x` of a batch as floats."""
        if "x" not in batch:
            named = ", ".join(map(repr, batch)) or "none"
            raise DataError(f"Standardize requires a tensor named 'x', got {named}. Write {{'x': table}}.")
        x = batch["x"]
        if x.dim() != 2 or x.shape[1] != len(self.mean):
            raise ShapeError(
                f"Standardize requires x of shape (N, {len(self.mean)}), as the table it was made of, got "
                f"{tuple(x.shape)}. Write Standardize.of(x)."
            )
        return x if x.is_floating_point() else x.to(torch.get_default_dtype())

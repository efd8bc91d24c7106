"""The joint distribution of the columns of a table: a product of distributions of blocks of columns."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

__all__ = ["Columns"]


class Columns(TorchDistribution):
    """p(x) = prod_c p_c(x_c), where x, of event shape `(sum_c D_c,)`, is the concatenation of blocks x_c.

    Args:
        parts: the distributions p_c, of event shapes `(D_c,)`, whose batch shapes broadcast.
        validate_args: whether `log_prob` checks that x is in the support; None for torch's default.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, parts: Sequence[TorchDistribution], validate_args: bool | None = None) -> None:
        shape = torch.broadcast_shapes(*(part.batch_shape for part in parts))
        self.parts = [part if part.batch_shape == shape else part.expand(shape) for part in parts]
        self.widths = [part.event_shape[0] for part in parts]
        super().__init__(shape, torch.Size([sum(self.widths)]), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        return _Supports(self)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Columns":
        return Columns([part.expand(batch_shape) for part in self.parts], validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        return torch.cat([part.mean for part in self.parts], -1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return torch.cat([part.sample(sample_shape) for part in self.parts], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return sum(part.log_prob(x) for part, x in self.split(value))  # type: ignore[return-value]

    def split(self, value: Tensor) -> list[tuple[TorchDistribution, Tensor]]:
        """Each distribution p_c with its columns of `value`, `(*, D_c)` of `(*, sum_c D_c)`."""
        return list(zip(self.parts, value.split(self.widths, -1), strict=True))


class _Supports(constraints.Constraint):
    """Every block of columns is in the support of its own distribution."""

    event_dim = 1

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def check(self, value: Tensor) -> Tensor:
        return torch.stack([cast(Any, part.support).check(x) for part, x in self.columns.split(value)]).all(0)

    def __repr__(self) -> str:
        return "a row whose columns are in the supports of their likelihoods"

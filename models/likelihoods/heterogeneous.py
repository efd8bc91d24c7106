"""A table whose columns are of several kinds: one likelihood per column, or per block of columns."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.errors import ShapeError, SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood

__all__ = ["Heterogeneous"]


class Heterogeneous(Likelihood):
    """p(x | z) = prod_c p_c(x_c | z), a likelihood p_c for each column of a table `(N, D)`, in the table's order.

    The usual kinds: `Normal(1)` real, `LogNormal(1)` positive, `Poisson(1)` or `NegativeBinomial(1)` count,
    `Ordinal(1, values)`, `Categorical(1, values)`; `Normal(5)` covers five columns. Encode categories as numbers
    from 0. The decoder emits the parameters of all columns side by side, as many as all `params_shape`s sum to.

        Heterogeneous({"age": Normal(1), "visits": Poisson(1), "city": Categorical(1, values=12)})

    Args:
        columns: the likelihood of each column or block of columns, by name.

    Raises:
        SupportError: in `check`, with the name of the column.
        ShapeError: there is no column, or a likelihood is not of one dimension.

    References: Nazábal et al. (2020), Handling incomplete heterogeneous data using VAEs, arXiv:1807.03653.
    """

    def __init__(self, columns: Mapping[str, Likelihood]) -> None:
        shapes = {name: likelihood.event_shape for name, likelihood in columns.items()}
        wrong = {name: shape for name, shape in shapes.items() if len(shape) != 1}
        if wrong or not columns:
            raise ShapeError(
                "Heterogeneous wants a likelihood of one dimension for each column, got "
                f"{wrong or 'no column'}. Write Heterogeneous({{'age': Normal(1)}})."
            )
        widths = [width for (width,) in shapes.values()]
        super().__init__(sum(widths))
        self.names, self.widths = tuple(columns), widths
        self.columns = nn.ModuleList(columns.values())
        self.params_widths = [likelihood.params_shape[0] for likelihood in columns.values()]

    @property
    def params_shape(self) -> tuple[int, ...]:
        """What the decoder must emit: the parameters of all columns."""
        return (sum(self.params_widths),)

    def forward(self, params: Tensor) -> TorchDistribution:
        parts = params.split(self.params_widths, -1)
        return Columns([likelihood(part) for likelihood, part in zip(self.columns, parts, strict=True)])

    def start(self, x: Tensor) -> Tensor:
        return torch.cat([likelihood.start(part) for _, likelihood, part in self._each(self.rows(x))])

    def check(self, x: Tensor) -> None:
        for name, likelihood, part in self._each(x):
            try:
                likelihood.check(part)
            except SupportError as error:
                raise SupportError(f"column {name!r}: {error}") from None

    def _each(self, x: Tensor) -> list[tuple[str, Any, Tensor]]:
        return list(zip(self.names, self.columns, x.split(self.widths, -1), strict=True))

    def extra_repr(self) -> str:
        return f"{self.event_shape}, {', '.join(self.names)}"


class Columns(TorchDistribution):
    """Independent distributions of event shapes `(D_c,)`, side by side."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, parts: Sequence[TorchDistribution], validate_args: bool | None = None) -> None:
        self.parts = list(parts)
        self.widths = [part.event_shape[0] for part in parts]
        shape = torch.broadcast_shapes(*(part.batch_shape for part in parts))
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
        """Each distribution with its columns of `value`."""
        return list(zip(self.parts, value.split(self.widths, -1), strict=True))


class _Supports(constraints.Constraint):
    """Each column in the support of its own distribution."""

    event_dim = 1

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def check(self, value: Tensor) -> Tensor:
        return torch.stack([cast(Any, part.support).check(x) for part, x in self.columns.split(value)]).all(0)

    def __repr__(self) -> str:
        return "a row whose columns fit their likelihoods"

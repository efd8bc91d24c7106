"""The likelihood of a table with columns of several kinds: one likelihood per column or block of columns."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import ShapeError, SupportError
from pyrovae.models.distributions.columns import Columns
from pyrovae.models.likelihoods.likelihood import Likelihood

__all__ = ["Heterogeneous"]


class Heterogeneous(Likelihood):
    """p(x | z) = prod_c p_c(x_c | z), with a likelihood p_c for each column of a table `(N, D)`.

    The usual likelihoods are `Normal(1)` for real numbers, `LogNormal(1)` for positive ones, `Poisson(1)` or
    `NegativeBinomial(1)` for counts, `Ordinal(1, values)` and `Categorical(1, values)`. `Normal(5)` covers five
    columns. Encode categories as numbers from 0. The decoder emits the concatenated parameters of all columns.

        Heterogeneous({"age": Normal(1), "visits": Poisson(1), "city": Categorical(1, values=12)})

    Args:
        columns: the likelihood of each column or block of columns, by name, in the order of the table.

    Raises:
        ShapeError: there is no column, or the event shape of a likelihood is not one-dimensional.
        SupportError: in `check`, a column is outside its support; the message names the column.

    References: Nazábal et al. (2020), Handling incomplete heterogeneous data using VAEs, arXiv:1807.03653.
    """

    def __init__(self, columns: Mapping[str, Likelihood]) -> None:
        shapes = {name: likelihood.event_shape for name, likelihood in columns.items()}
        wrong = {name: shape for name, shape in shapes.items() if len(shape) != 1}
        if wrong or not columns:
            raise ShapeError(
                "Heterogeneous requires a likelihood of event shape (D,) for each column, got "
                f"{wrong or 'no column'}. Write Heterogeneous({{'age': Normal(1)}})."
            )
        widths = [width for (width,) in shapes.values()]
        super().__init__(sum(widths))
        self.names, self.widths = tuple(columns), widths
        self.columns = nn.ModuleList(columns.values())
        self.params_widths = [likelihood.params_shape[0] for likelihood in columns.values()]
        self.params_shape = (sum(self.params_widths),)
        self.settings["columns"] = ", ".join(columns)

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

"""The columns of a table in a pair: a likelihood for each, and the features that an encoder sees."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, cast

import torch
from pyro.distributions import Categorical
from torch import Tensor, nn

from pyrovae.data import Batch, hot_deck
from pyrovae.data.kinds import Column
from pyrovae.data.table import Table
from pyrovae.guides import FullNormalGuide, NormalGuide, ZeroFilled
from pyrovae.inference.estimators.linear_start import factors_of, start_decoder
from pyrovae.inference.pair.tracing import innermost
from pyrovae.inference.tasks.factor_analysis import FactorAnalysis
from pyrovae.models import VAE, Likelihood, Masked, likelihoods, priors
from pyrovae.networks.dense import MLP, SkipMLP
from pyrovae.networks.joint import one_hot
from pyrovae.networks.linear import FactorPosterior
from pyrovae.recorded import Recorded

__all__ = ["Features", "TableEncoder", "table_likelihood", "table_pair", "typical_rows"]

_LIKELIHOODS: dict[str, Callable[[int, Literal["learned", "predicted"]], Likelihood]] = {
    "real": lambda _, scale: likelihoods.Normal(1, scale, min_scale=_LEAST[scale]),
    "positive": lambda _, scale: likelihoods.LogNormal(1, scale, min_scale=_LEAST[scale]),
    "count": lambda _, scale: likelihoods.NegativeBinomial(1, scale),
    "ordinal": lambda values, _: likelihoods.Ordinal(1, max(values, 2)),
    "category": lambda values, _: likelihoods.Categorical(1, max(values, 2)),
    "date": lambda _, scale: likelihoods.Normal(1, scale, min_scale=_LEAST[scale]),
}
"""From the number of values of a column, and how scales are made, to its likelihood, by the kind of the column."""

_LEAST: dict[Any, float] = {"learned": 0.0, "predicted": 0.02}
"""The least scale, in standard deviations of the column: a predicted scale could memorise single values."""


def table_likelihood(table: Table, scale: Literal["learned", "predicted"] = "learned") -> likelihoods.Heterogeneous:
    """p(x | z) of a row of a table: a likelihood for each column, by its kind.

    Args:
        table: the kinds of the columns.
        scale: whether scales and dispersions are one parameter per column, or emitted by the decoder.
    """
    return likelihoods.Heterogeneous(
        {str(column.name): _LIKELIHOODS[column.kind](column.num_values, scale) for column in table.columns}
    )


def table_pair(
    table: Table,
    batch: Batch,
    latent_dim: int,
    hidden: Sequence[int],
    seed: int,
    *,
    scale: Literal["learned", "predicted"] = "learned",
    prior: nn.Module | None = None,
    full: bool = False,
    ridge: float = 0.0,
) -> tuple[Masked, ZeroFilled]:
    """A pair of the rows of a table with gaps: p(z) prod_c p_c(x_c | decoder(z)) and q(z | x_observed, mask).

    The decoder is a linear map plus one layer of the first of the encoder's widths.

    Args:
        table: the kinds of the columns.
        batch: the training data, as `table.encode` gives them.
        latent_dim: the dimensions of z.
        hidden: the widths of the encoder's hidden layers.
        seed: of the rows that fill the gaps where the decoder starts.
        scale: as in `table_likelihood`.
        prior: p(z); standard normal if None.
        full: whether q(z | x) has a full covariance, which the linear model with gaps requires, in place of scales.
        ridge: the penalty of the factor analysis that the pair starts at, as in `factor_analysis`.
    """
    x, mask = batch["x"], batch["mask"]
    likelihood = table_likelihood(table, scale)
    decoder = SkipMLP(latent_dim, likelihood.params_shape, hidden[:1], nn.Tanh)
    encoder = TableEncoder(Features(table).fitted(x, mask), latent_dim, hidden, full=full)
    found = encoder.start_linear(x, mask, ridge=ridge)
    start_decoder(decoder, likelihood, encoder.features.undone(found), hot_deck(x, mask, seed=seed))
    model = VAE(prior or priors.StandardNormal(latent_dim), likelihood, decoder)
    guide = FullNormalGuide(encoder) if full else NormalGuide(encoder)
    return Masked(model), ZeroFilled(guide, mask=True)


def typical_rows(model: Masked, z: Tensor) -> Tensor:
    """The mean of p(x | z) of each code, `(N, D)`, with the most probable value of a category.

    Args:
        model: the model of a `table_pair`.
        z: codes, `(N, K)`.
    """
    parts = model.likelihood(model.model.decoder(z)).parts
    inner = [(part, innermost(part)) for part in parts]
    values = [base.probs.argmax(-1) if isinstance(base, Categorical) else part.mean for part, base in inner]
    return torch.cat([value.reshape(len(z), -1).to(z.dtype) for value in values], -1)


class TableEncoder(Recorded, nn.Module):
    """The posterior of factor analysis plus a dense network, `(*, 2 D) -> (*, P)`; the latter starts at 0.

    Args:
        features: what it sees of a row.
        latent_dim: K.
        hidden: the widths of the hidden layers.
        full: whether to emit a full covariance, as in `FactorPosterior`.
    """

    def __init__(self, features: "Features", latent_dim: int, hidden: Sequence[int], *, full: bool = False) -> None:
        super().__init__()
        self.features = features
        self.linear = FactorPosterior(max(1, len(features.places)), latent_dim, full=full)
        self.linear.requires_grad_(bool(features.places))  # without a real column it is not in use
        self.mlp = MLP(features.size, self.linear.size, hidden, nn.Tanh)

    @torch.no_grad()
    def start_linear(self, x: Tensor, mask: Tensor, *, ridge: float = 0.0) -> FactorAnalysis:
        """Set it to the posterior of the factor analysis of the reals in a row, and return that, one row per column.

        Reals are real and positive numbers and dates; the other columns have loadings of 0.

        Args:
            x, mask: the training rows and which of their cells are observed, `(N, D)`.
            ridge: as in `factor_analysis`.
        """
        cast(nn.Linear, self.mlp.layers[-1]).weight.zero_()
        cast(nn.Linear, self.mlp.layers[-1]).bias.zero_()
        count, places = len(self.features.columns), self.features.places
        found = FactorAnalysis(torch.zeros(count), torch.zeros(count, self.linear.latent_dim), torch.ones(count), 0)
        if places:
            numbers, seen = self.features.of_reals(torch.cat([x, mask.to(x.dtype)], -1)).chunk(2, -1)
            own = factors_of(numbers, self.linear.latent_dim, seen.bool(), ridge=ridge)
            self.linear.start_at(own.loc, own.loadings, own.scale)
            found.loc[places], found.loadings[places], found.scale[places] = own.loc, own.loadings, own.scale
        return found

    def forward(self, x: Tensor) -> Tensor:
        """The parameters of q(z | x), `(*, P)`.

        Args:
            x: rows and their mask, `(*, 2 D)`.
        """
        emitted = self.mlp(self.features(x))
        return self.linear(self.features.of_reals(x)) + emitted if self.features.places else emitted


class Features(Recorded, nn.Module):
    """What an encoder sees of a row: x and its mask, `(*, 2 D)`, as features `(*, size)`.

    Real numbers stay as they are. Positive numbers become their logarithm, and counts the logarithm of the count plus
    one, both standardised by the training data. Ordinals are scaled to [0, 1], and categories are one-hot. A missing
    entry is 0, and the mask is appended.

    Args:
        table: the kinds of the columns.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.columns, width = table.columns, len(table.columns)
        self.size = 2 * len(self.columns) + sum(max(0, c.num_values - 1) for c in self.columns if _is_category(c))
        self.places = [
            place for place, column in enumerate(table.columns) if column.kind in ("real", "positive", "date")
        ]
        self.register_buffer("loc", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fitted(self, x: Tensor, mask: Tensor) -> Self:
        """The same features, standardised by the training data.

        Args:
            x, mask: the training data, `(N, D)`.
        """
        for place, column in enumerate(self.columns):
            if column.kind in ("positive", "count"):
                seen = _logarithm(column, x[mask[:, place], place])
                self.loc[place], self.scale[place] = seen.mean(), seen.std(correction=0).clamp_min(1e-3)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The features, `(*, size)`.

        Args:
            x: rows and their mask, `(*, 2 D)`.
        """
        x, mask = x.chunk(2, -1)
        return torch.cat([self._feature(place, x, mask) for place in range(len(self.columns))] + [mask], -1)

    def of_reals(self, x: Tensor) -> Tensor:
        """The features of the reals alone, and their mask, `(*, 2 D')`, where D' columns are real, positive or dates.

        Args:
            x: rows and their mask, `(*, 2 D)`.
        """
        x, mask = x.chunk(2, -1)
        return torch.cat([*(self._feature(place, x, mask) for place in self.places), mask[..., self.places]], -1)

    def undone(self, found: FactorAnalysis) -> FactorAnalysis:
        """Factors of the features as factors of the columns: positive numbers by their logarithms.

        Args:
            found: one row for each column.
        """
        logarithms = torch.tensor([column.kind == "positive" for column in self.columns], device=self.loc.device)
        loc, scale = torch.where(logarithms, self.loc, 0.0), torch.where(logarithms, self.scale, 1.0)
        return FactorAnalysis(loc + scale * found.loc, scale[:, None] * found.loadings, scale * found.scale, 0)

    def _feature(self, place: int, x: Tensor, mask: Tensor) -> Tensor:
        column, value, observed = self.columns[place], x[..., place], mask[..., place].unsqueeze(-1)
        if _is_category(column):
            return one_hot(value, max(column.num_values, 1), x.dtype) * observed
        if column.kind in ("positive", "count"):
            value = (_logarithm(column, value) - self.loc[place]) / self.scale[place]
        elif column.kind == "ordinal":
            value = value / max(column.num_values - 1, 1)
        return value.unsqueeze(-1) * observed


def _is_category(column: Column) -> bool:
    return column.kind == "category"


def _logarithm(column: Column, value: Tensor) -> Tensor:
    return value.log1p() if column.kind == "count" else value.clamp_min(1e-30).log()

"""Where an estimator starts: at the linear model that is nested in its pair, factor analysis."""

from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.inference.tasks.factor_analysis import FactorAnalysis, factor_analysis
from pyrovae.models import Likelihood, likelihoods
from pyrovae.networks.dense import SkipMLP
from pyrovae.numeric import raw_scale
from pyrovae.recorded import Recorded

__all__ = ["MOST_ROWS", "NoDecoder", "factors_of", "start_decoder", "start_linear"]

MOST_ROWS = 5000
"""Factor analysis is fitted to at most so many rows, evenly spaced."""


class NoDecoder(Recorded, nn.Module):
    """The decoder of a likelihood whose parameters are all its own, `(*, K) -> (*, 0)`."""

    def forward(self, z: Tensor) -> Tensor:
        """No parameters, `(*, 0)`.

        Args:
            z: codes `(*, K)`.
        """
        return z[..., :0]

    def start_at(self, output: Tensor) -> None:
        """Nothing to set.

        Args:
            output: the parameters that the likelihood expects of a decoder, `(0,)`.
        """


def factors_of(x: Tensor, num_factors: int, mask: Tensor | None = None, *, ridge: float = 0.0) -> FactorAnalysis:
    """The factor analysis of a table, in the type of its rows.

    Args:
        x: standardised rows `(N, D)`.
        num_factors: K.
        mask: which entries are observed, bool `(N, D)`; all if None.
        ridge: as in `factor_analysis`.
    """
    every = -(-len(x) // MOST_ROWS)
    found = factor_analysis(x[::every], num_factors, None if mask is None else mask[::every], ridge=ridge)
    return FactorAnalysis(found.loc.to(x), found.loadings.to(x), found.scale.to(x), found.num_steps)


@torch.no_grad()
def start_linear(
    decoder: SkipMLP | NoDecoder, encoder: SkipMLP, likelihood: Likelihood, x: Tensor, *, trained: bool = True
) -> None:
    """Start a pair of complete rows at the factor analysis of the columns whose likelihood has a location and a scale.

    At the start the ELBO of these columns is their exact log p(x), and the others have their marginals, whatever z is.
    Where no column has a location, the networks keep their random weights if they are to be trained; if not, x does not
    depend on z.

    Args:
        decoder: a network `(*, K) -> (*, *likelihood.params_shape)`.
        encoder: a network `(*, D) -> (*, 2 K)`.
        likelihood: the likelihood of a row.
        x: the training rows, `(N, D)`.
        trained: whether training follows.
    """
    decoder.start_at(likelihood.start(x))
    places = [place for place, has in enumerate(_has_location(likelihood)) if has]
    if not places and trained:
        return
    if not places or isinstance(decoder, NoDecoder):
        for network in (decoder, encoder):
            if isinstance(network, SkipMLP):
                network.skip.weight.zero_()
                _silence(network)
        encoder.start_at(torch.zeros(encoder.out_shape))
        return
    own = factors_of(x[:, places], decoder.skip.in_features)
    loc, loadings, scale = torch.zeros_like(x[0]), x.new_zeros(x.shape[1], own.loadings.shape[1]), torch.ones_like(x[0])
    loc[places], loadings[places], scale[places] = own.loc, own.loadings, own.scale
    found = FactorAnalysis(loc, loadings, scale, own.num_steps)
    start_decoder(decoder, likelihood, found, x)
    _start_encoder(encoder, found, x)


@torch.no_grad()
def start_decoder(decoder: SkipMLP, likelihood: Likelihood, found: FactorAnalysis, x: Tensor) -> None:
    """Set a decoder to the linear one of factor analysis; its hidden layers start at 0.

    Entries whose likelihood has no location and scale start at their marginals, whatever z is.

    Args:
        decoder: the decoder.
        likelihood: the likelihood of a row.
        found: the factors.
        x: the training rows, without gaps.
    """
    bias, weight = likelihood.start(x), torch.zeros(*likelihood.params_shape, found.loadings.shape[1])
    columns, params = 0, 0
    for part in _parts(likelihood):
        width, size = part.event_shape[0], part.params_shape[0]
        if isinstance(part, likelihoods.LocationScale):  # a column of counts or categories has neither
            here = slice(columns, columns + width)
            bias[params : params + size], weight[params : params + size] = part.match_factors(
                found.loc[here], found.loadings[here], found.scale[here]
            )
        columns, params = columns + width, params + size
    decoder.skip.weight.copy_(weight)
    _silence(decoder)
    decoder.start_at(bias)


def _start_encoder(encoder: SkipMLP, found: FactorAnalysis, x: Tensor) -> None:
    """Set an encoder to the posterior of factor analysis; its hidden layers see standardised columns, and add 0."""
    unit = found.loadings.double() / found.scale.double()[:, None]
    precision = 1 + unit.square().sum(0)
    slope = (unit / found.scale.double()[:, None]).T / precision[:, None]
    encoder.skip.weight.copy_(torch.cat([slope, torch.zeros_like(slope)]))
    _silence(encoder)
    spread = x.std(0, correction=0)
    first = cast(nn.Linear, encoder.mlp.layers[0])
    if len(encoder.mlp.layers) > 1:
        first.weight.div_(torch.where(spread > 1e-6, spread, 1.0))
        first.bias.sub_(first.weight @ x.mean(0))
    encoder.start_at(torch.cat([-slope @ found.loc.double(), raw_scale(precision.rsqrt())]))


def _parts(likelihood: Likelihood) -> list[Likelihood]:
    if isinstance(likelihood, likelihoods.Heterogeneous):
        return [cast(Likelihood, part) for part in likelihood.columns]
    return [likelihood]


def _has_location(likelihood: Likelihood) -> list[bool]:
    """Whether the likelihood of each entry has a location and a scale."""
    parts = _parts(likelihood)
    return [isinstance(part, likelihoods.LocationScale) for part in parts for _ in range(part.event_shape[0])]


def _silence(network: SkipMLP) -> None:
    cast(nn.Linear, network.mlp.layers[-1]).weight.zero_()

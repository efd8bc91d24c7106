"""Likelihoods p(x | z). A likelihood is a module: `likelihood(params) -> p(x | params)`.

A decoder emits `params`, of shape `(*, *params_shape)`; the distribution has event shape `event_shape`. Each likelihood
knows its support: `check(x)` raises where x has no density. It is called once for a data set, not at every step.
"""

from pyrovae.models.likelihoods.bernoulli import Bernoulli
from pyrovae.models.likelihoods.categorical import Categorical, Ordinal
from pyrovae.models.likelihoods.continuous_bernoulli import ContinuousBernoulli
from pyrovae.models.likelihoods.counts import Poisson
from pyrovae.models.likelihoods.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticMixture
from pyrovae.models.likelihoods.heterogeneous import Heterogeneous
from pyrovae.models.likelihoods.label import Label
from pyrovae.models.likelihoods.likelihood import Likelihood
from pyrovae.models.likelihoods.location_scale import Laplace, LocationScale, LogNormal, Normal, ScaleMode, StudentT
from pyrovae.models.likelihoods.marginal import Marginal
from pyrovae.models.likelihoods.multinomial import Multinomial
from pyrovae.models.likelihoods.negative_binomial import (
    Dispersion,
    NegativeBinomial,
    OverdispersedCounts,
    ZeroInflatedNegativeBinomial,
)

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Dispersion",
    "Heterogeneous",
    "Label",
    "Laplace",
    "Likelihood",
    "LocationScale",
    "LogNormal",
    "Marginal",
    "Multinomial",
    "NegativeBinomial",
    "Normal",
    "Ordinal",
    "OverdispersedCounts",
    "Poisson",
    "ScaleMode",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
]

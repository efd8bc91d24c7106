"""Likelihoods p(x | z). A likelihood is a module: `likelihood(params) -> p(x | params)`.

`params` is what the decoder emits, of shape `(*, *params_shape)`; the distribution has event shape
`event_shape`. Each likelihood owns its support: `check(x)` is called once, outside the hot path.
"""

from pyrovae.models.likelihoods.bernoulli import Bernoulli
from pyrovae.models.likelihoods.categorical import Categorical, Ordinal
from pyrovae.models.likelihoods.continuous_bernoulli import ContinuousBernoulli
from pyrovae.models.likelihoods.counts import NegativeBinomial, Poisson
from pyrovae.models.likelihoods.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticMixture
from pyrovae.models.likelihoods.heterogeneous import Heterogeneous
from pyrovae.models.likelihoods.likelihood import Likelihood
from pyrovae.models.likelihoods.location_scale import Laplace, LogNormal, Normal, StudentT

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "DiscretizedLogisticMixture",
    "Heterogeneous",
    "Laplace",
    "Likelihood",
    "LogNormal",
    "NegativeBinomial",
    "Normal",
    "Ordinal",
    "Poisson",
    "StudentT",
]

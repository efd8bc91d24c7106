"""The Bernoulli likelihood of binary data, and its relaxed form for grey levels."""

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, require_between, unit_advice
from pyrovae.networks.shape import Shape

__all__ = ["Bernoulli", "is_relaxed"]


class Bernoulli(Likelihood):
    """p(x | z) = prod_i sigmoid(l_i)^x_i (1 - sigmoid(l_i))^(1 - x_i). The decoder emits the logits l.

    Args:
        event_shape: shape of one data point.
        relaxed: whether to score grey levels in [0, 1] by the same formula, as tutorials do. The formula is then a
            cross-entropy, not a log-density: the resulting "ELBO" is no bound, and is comparable only to other relaxed
            ones.

    Raises:
        SupportError: in `check`, x is outside {0, 1}, or outside [0, 1] when relaxed.

    References: Kingma & Welling (2014), arXiv:1312.6114, appendix C.1.
    """

    def __init__(self, event_shape: Shape, *, relaxed: bool = False) -> None:
        super().__init__(event_shape)
        self.relaxed = relaxed
        if relaxed:
            self.settings["relaxed"] = True

    def forward(self, params: Tensor) -> TorchDistribution:
        bernoulli = _RelaxedBernoulli if self.relaxed else dist.Bernoulli
        return bernoulli(logits=params).to_event(len(self.event_shape))

    def start(self, x: Tensor) -> Tensor:
        return self.rows(x).mean(0).clamp(0.01, 0.99).logit()

    def check(self, x: Tensor) -> None:
        support = "[0, 1]" if self.relaxed else "{0, 1}"
        require_between(x, 0.0, 1.0, f"likelihood Bernoulli requires x in {support}", unit_advice(x, "Normal()"))
        between = x[(x > 0) & (x < 1)]
        if len(between) and not self.relaxed:
            raise SupportError(
                f"likelihood Bernoulli requires x in {{0, 1}}, got grey values up to {between.max().item():.3g} at "
                "site 'x'. Binarise the data (pyrovae.data.Binarize()), use ContinuousBernoulli(), or take "
                "the tutorials' cross-entropy, Bernoulli(..., relaxed=True)."
            )


class _RelaxedBernoulli(dist.Bernoulli):
    """The formula of the Bernoulli, evaluated at grey levels."""

    support = constraints.unit_interval


def is_relaxed(program: object) -> bool:
    """Whether a program scores grey levels by a relaxed Bernoulli, so that its numbers bound no log p(x).

    Args:
        program: a model: a module, a method of one, or a function, which has none.
    """
    owner = getattr(program, "__self__", program)
    parts = owner.modules() if isinstance(owner, nn.Module) else ()
    return any(isinstance(part, Bernoulli) and part.relaxed for part in parts)

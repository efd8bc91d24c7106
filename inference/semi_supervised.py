"""Labels of which few are known: the classification term of an objective, and the guide as a classifier."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor

from pyrovae.data import Scale
from pyrovae.errors import PairError
from pyrovae.inference.evidence import batches, device_of, evaluating
from pyrovae.inference.latent import CHUNK
from pyrovae.inference.pair import Batch, Program, call, sites

__all__ = ["Supervised", "accuracy", "classify"]


class Supervised:
    """An objective plus the classification term, in nats: loss - weight * sum of log q(y | x) over known labels.

    The bound of a datum with a known label does not contain q(y | x), so by itself it does not train the classifier:
    this term does. q(y | x) is what the guide says of y when it is not told.

    Args:
        weight: of the term, alpha in the paper.
        objective: the rest of the loss; by default the ELBO in which y is summed out exactly.
        site: the site of the label; the batch has its values under the same name, -1 where unknown.

    References: Kingma et al. (2014), arXiv:1406.5298, equation 9.
    """

    def __init__(self, weight: float, objective: Any = None, *, site: str = "y") -> None:
        self.weight, self.site = weight, site
        self.objective = TraceEnum_ELBO(max_plate_nesting=1) if objective is None else objective

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """The loss, summed over the batch."""
        return self._loss(self.objective.differentiable_loss, model, guide, args, kwargs)

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Any:
        """The same value, not to be differentiated."""
        return self._loss(
            getattr(self.objective, "loss", self.objective.differentiable_loss), model, guide, args, kwargs
        )

    def _loss(self, loss: Any, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]) -> Any:
        summed = config_enumerate(guide) if isinstance(self.objective, TraceEnum_ELBO) else guide
        return loss(model, summed, *args, **kwargs) - self.weight * self.log_likelihood(guide, *args, **kwargs)

    def log_likelihood(self, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """The sum of log q(y | x) over the known labels of a batch."""
        told = {**kwargs, **{n: t for batch in args if isinstance(batch, Mapping) for n, t in batch.items()}}
        if self.site not in told:
            raise PairError(
                f"Supervised wants labels named {self.site!r} in the batch, which has {', '.join(told) or 'no names'}. "
                "Put an int64 tensor of that name into the data, -1 where a label is unknown."
            )
        y = told[self.site]
        with poutine.trace() as tracer:
            guide(*(_without(a, self.site) for a in args), **_without(kwargs, self.site))
        log_prob = _label(tracer.trace, self.site).log_prob(y.clamp_min(0))
        return torch.where(y >= 0, log_prob, 0.0).sum()


def _without(argument: Any, name: str) -> Any:
    return {n: t for n, t in argument.items() if n != name} if isinstance(argument, Mapping) else argument


def _label(trace: Any, name: str) -> Any:
    """The guide's distribution of the label."""
    found = sites(trace)
    if name not in found or not hasattr(found[name]["fn"], "probs"):
        raise PairError(
            f"the guide has no site {name!r} with a distribution over classes, its sites are "
            f"{', '.join(map(repr, found)) or 'none'}. Sample the label in it, from a Categorical: "
            "guides.SemiSupervisedGuide."
        )
    return found[name]["fn"]


def classify(guide: Program, data: Batch, *, transform: Any = None, site: str = "y") -> Tensor:
    """q(y | x) of each datum, whatever labels `data` has: probabilities `(N, K)`.

    Args:
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).

    Raises:
        PairError: the guide has no such site.
    """
    device, transform = device_of(guide), transform or Scale()
    parts = []
    with evaluating(guide):
        for batch in batches(data, CHUNK, transform, device):
            with poutine.trace() as tracer:
                call(guide, _without(batch, site))
            parts.append(_label(tracer.trace, site).probs)
    return torch.cat(parts)


def accuracy(guide: Program, data: Batch, *, transform: Any = None, site: str = "y") -> float:
    """The share of data whose most probable label under q(y | x) is the one in `data`."""
    predicted = classify(guide, data, transform=transform, site=site).argmax(-1)
    return (predicted == data[site].to(predicted.device)).double().mean().item()

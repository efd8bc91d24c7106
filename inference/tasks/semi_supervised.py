"""Labels of which few are known: the classification term of an objective, and the guide as a classifier."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import PairError
from pyrovae.inference.objectives.objective import Objective, Tracked
from pyrovae.inference.pair.contract import ProgramLike, Site, call
from pyrovae.inference.pair.running import ROWS, batches, device_of, evaluating
from pyrovae.inference.pair.tracing import sites

__all__ = ["Supervised", "accuracy", "classify"]


class Supervised(Tracked):
    """An objective plus the classification term, in nats: loss - weight * sum of log q(y | x) over known labels.

    The bound of a datum with a known label does not contain q(y | x), so by itself it does not train the classifier:
    this term does. q(y | x) is what the guide says of y when it is not told. The tracked ELBO is without the term.

    Args:
        weight: of the term, alpha in the paper.
        objective: the rest of the loss; by default the ELBO in which y is summed out exactly.
        site: the site of the label; the batch has its values under the same name, -1 where unknown.

    References: Kingma et al. (2014), arXiv:1406.5298, equation 9.
    """

    def __init__(self, weight: float, objective: Any = None, *, site: str = "y") -> None:
        super().__init__()
        self.weight, self.site = weight, site
        self.objective = TraceEnum_ELBO(max_plate_nesting=1) if objective is None else objective

    def differentiable_loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The loss, summed over the batch."""
        bound = self.objective.differentiable_loss(model, self._summed(guide), *args, **kwargs)
        label, y = self._label(guide, args, kwargs)
        if not isinstance(self.objective, Tracked):
            self.track(-bound, _full_size(label, y))
        return bound - self.weight * _log_likelihood(label, y)

    def loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Any:
        """The same value, not to be differentiated."""
        loss = getattr(self.objective, "loss", self.objective.differentiable_loss)
        return loss(model, self._summed(guide), *args, **kwargs) - self.weight * self.log_likelihood(
            guide, *args, **kwargs
        )

    def log_likelihood(self, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The sum of log q(y | x) over the known labels of a batch."""
        return _log_likelihood(*self._label(guide, args, kwargs))

    def advance(self) -> None:
        """Count a step, for the schedules of the objective."""
        if isinstance(self.objective, Objective):
            self.objective.advance()

    def collect(self) -> tuple[float, float]:
        return self.objective.collect() if isinstance(self.objective, Tracked) else super().collect()

    def _summed(self, guide: ProgramLike) -> ProgramLike:
        return config_enumerate(guide) if isinstance(self.objective, TraceEnum_ELBO) else guide

    def _label(self, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> tuple[Site, Tensor]:
        """The guide's site of the label when it is not told, and the labels of the batch."""
        told = {**kwargs, **{n: t for batch in args if isinstance(batch, Mapping) for n, t in batch.items()}}
        if self.site not in told:
            raise PairError(
                f"Supervised wants labels named {self.site!r} in the batch, which has {', '.join(told) or 'no names'}. "
                "Put an int64 tensor of that name into the data, -1 where a label is unknown."
            )
        with poutine.trace() as tracer:
            guide(*(_without(a, self.site) for a in args), **_without(kwargs, self.site))
        return _label(tracer.trace, self.site), told[self.site]


def _log_likelihood(label: Site, y: Tensor) -> Tensor:
    return torch.where(y >= 0, label["fn"].log_prob(y.clamp_min(0)), 0.0).sum()


def _full_size(label: Site, y: Tensor) -> int:
    """The number of data that the loss of Pyro's ELBOs is a sum over."""
    sizes = [frame.full_size or frame.size for frame in label["cond_indep_stack"] if frame.name == "data"]
    return sizes[0] if sizes else len(y)


def _without(argument: Any, name: str) -> Any:
    return {n: t for n, t in argument.items() if n != name} if isinstance(argument, Mapping) else argument


def _label(trace: Any, name: str) -> Site:
    """The guide's site of the label."""
    found = sites(trace)
    if name not in found or not hasattr(found[name]["fn"], "probs"):
        raise PairError(
            f"the guide has no site {name!r} with a distribution over classes, its sites are "
            f"{', '.join(map(repr, found)) or 'none'}. Sample the label in it, from a Categorical: "
            "guides.SemiSupervisedGuide."
        )
    return found[name]


def classify(guide: ProgramLike, data: Batch, *, transform: Any = None, site: str = "y") -> Tensor:
    """q(y | x) of each datum, whatever labels `data` has: probabilities `(N, K)`.

    Args:
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).

    Raises:
        PairError: the guide has no such site.
    """
    device, transform = device_of(guide), transform or Scale()
    parts = []
    with evaluating(guide):
        for batch in batches(data, ROWS, transform, device):
            with poutine.trace() as tracer:
                call(guide, _without(batch, site))
            parts.append(_label(tracer.trace, site)["fn"].probs)
    return torch.cat(parts)


def accuracy(guide: ProgramLike, data: Batch, *, transform: Any = None, site: str = "y") -> float:
    """The share of data whose most probable label under q(y | x) is the one in `data`."""
    predicted = classify(guide, data, transform=transform, site=site).argmax(-1)
    return (predicted == data[site].to(predicted.device)).double().mean().item()

"""Labels of which few are known: the classification term of an objective, and the guide as a classifier."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor

from pyrovae.checks import check_name, check_number
from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.objectives.objective import Objective, Tracked
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call, explained_shapes
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import ROWS, Transform, batches, device_of, evaluating, seeded
from pyrovae.inference.pair.tracing import sites

__all__ = ["Supervised", "accuracy", "classify"]


class Supervised(Tracked):
    """An objective plus a classification term, in nats: loss - weight * sum of log q(y | x) over the known labels.

    The bound of a data point with a known label does not contain q(y | x), so it does not train the classifier; this
    term does. q(y | x) is the guide's distribution of y when it is not given y. The tracked ELBO is without the term.

    Args:
        weight: the weight of the term, alpha in the paper.
        objective: the objective that the term is added to; if None, the ELBO in which y is summed out exactly.
        label: the site of the label; the batch has its values under the same name, -1 where unknown.

    Raises:
        SettingError: a weight that is no finite number of at least 0, or a label that is no name.

    References: Kingma et al. (2014), arXiv:1406.5298, equation 9.
    """

    def __init__(self, weight: float, objective: Any = None, *, label: str = "y") -> None:
        super().__init__()
        self.weight, self.label = check_number("weight", weight, 0, write=20.0), check_name("label", label)
        self.objective = TraceEnum_ELBO(max_plate_nesting=1) if objective is None else objective

    def differentiable_loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The loss of a training step, summed over the batch, a scalar.

        Args:
            model, guide: the pair.
            args, kwargs: the arguments of both programs.

        Raises:
            PairError: the batch has no labels, or the guide has no site of the label.
        """
        bound = self.objective.differentiable_loss(model, self._summed(guide), *args, **kwargs)
        site, y = self._labelled(guide, args, kwargs)
        if isinstance(self.objective, Tracked):
            self._take_over(self.objective)
        else:
            self.track(-bound, _full_size(site, y))
        return bound - self.weight * _log_likelihood(site, y)

    def loss(self, model: ProgramLike, guide: ProgramLike, *args: Any, **kwargs: Any) -> Any:
        """The same value, without a gradient; nothing is tracked.

        Args:
            model, guide: the pair.
            args, kwargs: the arguments of both programs.
        """
        loss = getattr(self.objective, "loss", self.objective.differentiable_loss)
        return loss(model, self._summed(guide), *args, **kwargs) - self.weight * self.log_likelihood(
            guide, *args, **kwargs
        )

    def log_likelihood(self, guide: ProgramLike, *args: Any, **kwargs: Any) -> Tensor:
        """The sum of log q(y | x) over the known labels of a batch.

        Args:
            guide: the guide.
            args, kwargs: its arguments, with the labels.
        """
        return _log_likelihood(*self._labelled(guide, args, kwargs))

    def advance(self) -> None:
        """Count a step, for the schedules of the objective."""
        if isinstance(self.objective, Objective):
            self.objective.advance()

    @torch.no_grad()
    def _take_over(self, objective: Tracked) -> None:
        """Move what the objective has tracked into this one."""
        if self.tracked.device != objective.tracked.device:
            self.to(objective.tracked.device)
        self.tracked.add_(objective.tracked)
        objective.tracked.zero_()

    def _summed(self, guide: ProgramLike) -> ProgramLike:
        return config_enumerate(guide) if isinstance(self.objective, TraceEnum_ELBO) else guide

    def _labelled(self, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> tuple[Site, Tensor]:
        """The guide's site of the label when it is not given the label, and the labels of the batch."""
        named = {**kwargs, **{n: t for batch in args if isinstance(batch, Mapping) for n, t in batch.items()}}
        if self.label not in named:
            raise PairError(
                f"Supervised requires labels named {self.label!r} in the batch, which has "
                f"{', '.join(named) or 'no names'}. Put an int64 tensor of that name into the data, -1 where a "
                "label is unknown."
            )
        with poutine.trace() as tracer:
            guide(*(_without(a, self.label) for a in args), **_without(kwargs, self.label))
        return _class_site(tracer.trace, self.label), named[self.label]


def _log_likelihood(site: Site, y: Tensor) -> Tensor:
    return torch.where(y >= 0, site["fn"].log_prob(y.clamp_min(0)), 0.0).sum()


def _full_size(site: Site, y: Tensor) -> int:
    """The number of data points that the loss of Pyro's ELBOs is a sum over."""
    sizes = [frame.full_size or frame.size for frame in site["cond_indep_stack"] if frame.name == "data"]
    return sizes[0] if sizes else len(y)


def _without(argument: Any, name: str) -> Any:
    return {n: t for n, t in argument.items() if n != name} if isinstance(argument, Mapping) else argument


def _class_site(trace: Any, label: str) -> Site:
    """The site of the label in a run of the guide."""
    found = sites(trace)
    if label not in found or not hasattr(found[label]["fn"], "probs"):
        raise PairError(
            f"the guide has no site {label!r} with a distribution over classes, its sites are "
            f"{', '.join(map(repr, found)) or 'none'}. Sample the label in it, from a Categorical: "
            "guides.SemiSupervisedGuide."
        )
    return found[label]


def classify(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    transform: Transform | None = None,
    label: str = "y",
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """q(y | x) of each data point, probabilities `(N, K)`; labels in the data are not used.

    Args:
        model, guide: the pair; the guide alone classifies.
        data: named tensors of N data points.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        label: the site of the label.
        seed: the seed of all draws; the global random state is left alone.
        progress: show a bar.

    Raises:
        PairError: no data; the guide has no such site.
    """
    data, label = entered("classify", data, transform, model, guide), check_name("label", label)
    size, device = batch_size(data), device_of(guide)
    parts = []
    with evaluating(guide), seeded(seed, device), progress_bar(progress, size, "data point") as bar:
        for batch in batches(data, ROWS, transform, device):
            with poutine.trace() as tracer, explained_shapes(guide, batch):
                call(guide, _without(batch, label))
            parts.append(_class_site(tracer.trace, label)["fn"].probs)
            bar.update(batch_size(batch))
    return torch.cat(parts)


def accuracy(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    transform: Transform | None = None,
    label: str = "y",
    seed: int = 0,
    progress: bool = False,
) -> float:
    """The share of data points whose most probable label under q(y | x) is the one in `data`.

    Args:
        model, guide, transform, label, seed, progress: as in `classify`.
        data: named tensors of N data points, with the labels under the name `label`.

    Raises:
        PairError: no data; the guide has no such site.
    """
    data, label = entered("accuracy", data, transform, model, guide), check_name("label", label)
    if label not in data:
        raise PairError(
            f"accuracy requires the labels {label!r}, got {', '.join(map(repr, data))}. Write {{..., {label!r}: y}}."
        )
    found = classify(model, guide, data, transform=transform, label=label, seed=seed, progress=progress).argmax(-1)
    return (found == data[label].to(found.device)).double().mean().item()

"""A guide refined for each data point: free numbers, which no two data points share, shift its parameters."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import Independent, TransformedDistribution, constraints, transform_to

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, Site, call
from pyrovae.models import Program
from pyrovae.models.distributions.flow import Flow
from pyrovae.models.distributions.markov import Markov
from pyrovae.models.distributions.uniform_mixture import UniformMixture

__all__ = ["Refined", "shifted"]

REDUNDANT = {"probs", "covariance_matrix", "precision_matrix"}  # if the distribution has logits or scale_tril

Shift = Callable[[str, Tensor], Tensor]


class Refined(Program):
    """q_n(z) for each of B data points: q(z | x_n), with a free shift of each parameter in unconstrained space.

    With all shifts 0 it is the guide. In a guide of one site the whole family is free: the loc and scale of a normal,
    even where the guide holds them fixed; the base and context of a flow; the context of each step of a Markov chain.
    The steps of flows and chains stay shared. In a guide of several sites each conditional is shifted, and depends on
    the draws before it as in the guide.

    Args:
        guide: any guide.
        batch: B data points, as the guide gets them.

    Raises:
        PairError: a distribution has no parameters that can be freed.
    """

    def __init__(self, guide: ProgramLike, batch: Batch) -> None:
        super().__init__()
        self._guide = (guide,)  # in a tuple, so that its parameters do not become those of this program
        self._names: list[str] = []
        with _AtSites(self._create):
            call(guide, batch)

    def _create(self, name: str, value: Tensor) -> Tensor:
        self._names.append(name)
        setattr(self, name, nn.Parameter(torch.zeros_like(value, memory_format=torch.contiguous_format)))
        return value

    def forward(self, **batch: Tensor) -> Any:
        """Run the shifted guide on the same B data points."""
        free = {name: getattr(self, name) for name in self._names}
        with _AtSites(lambda name, value: value + free[name]):
            return call(self._guide[0], batch)


class _AtSites(Messenger):
    """Shifts the distribution of each sampled site."""

    def __init__(self, shift: Shift) -> None:
        super().__init__()
        self.shift = shift

    def _pyro_sample(self, msg: Site) -> None:
        if not site_is_subsample(msg):
            msg["fn"] = shifted(msg["fn"], f"shift_{msg['name']}".replace(".", "_"), self.shift)


def shifted(fn: TorchDistribution, name: str, shift: Shift) -> TorchDistribution:
    """The same kind of distribution with shifted parameters: f(shift(name, f^-1(parameter))), f onto its constraint.

    Args:
        fn: the distribution.
        name: prefix of the names of the parameters.
        shift: from the name and the unconstrained value of a parameter to its new unconstrained value.

    Raises:
        PairError: the distribution has no parameters that can be freed.
    """
    if isinstance(fn, Independent):
        return shifted(fn.base_dist, name, shift).to_event(fn.reinterpreted_batch_ndims)
    if isinstance(fn, Flow):
        return Flow(shifted(fn.base, name, shift), fn.steps, *_context(fn, name, shift))
    if isinstance(fn, Markov) and fn.context:
        return Markov(fn.step, fn.start, fn.within, *_context(fn, name, shift))
    if isinstance(fn, UniformMixture):
        scale = _shifted(fn.scale, constraints.positive, f"{name}_scale", shift)
        return UniformMixture(shift(f"{name}_loc", fn.loc), scale, fn.available)
    wanted = {k: c for k, c in fn.arg_constraints.items() if not (k in REDUNDANT and _has_better(fn))}
    if isinstance(fn, TransformedDistribution) and not wanted:
        return dist.TransformedDistribution(shifted(fn.base_dist, name, shift), fn.transforms)
    try:
        free = {key: _shifted(getattr(fn, key), c, f"{name}_{key}", shift) for key, c in wanted.items()}
        if not free or isinstance(fn, dist.Delta):
            raise NotImplementedError
        kind: Any = type(fn)
        return kind(**free)
    except (NotImplementedError, AttributeError, TypeError) as error:
        raise PairError(
            f"the guide's {type(fn).__name__} ('{name.removeprefix('shift_')}') has no parameters that can be freed "
            "for each data point. Use a distribution of torch or Pyro."
        ) from error


def _context(fn: Flow | Markov, name: str, shift: Shift) -> list[Tensor]:
    return [shift(f"{name}_context_{i}", part) for i, part in enumerate(fn.context)]


def _has_better(fn: TorchDistribution) -> bool:
    return {"logits", "scale_tril"} & set(fn.arg_constraints) != set()


def _shifted(value: Tensor, constraint: Any, name: str, shift: Shift) -> Tensor:
    if constraint is constraints.real:
        return shift(name, value)
    transform = transform_to(constraint)
    return transform(shift(name, transform.inv(value)))

"""What an exported module says of a distribution: one value in place of a draw, and the parameters as tensors."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyrovae.errors import ExportError
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.tracing import innermost
from pyrovae.models.distributions.flow import Flow
from pyrovae.models.distributions.markov import Markov
from pyrovae.models.distributions.presences import Presences

__all__ = ["code", "parameters"]


def code(site: Site) -> Tensor:
    """The value that stands for a draw: the mean, computed without random numbers.

    Of labels it is the most probable one. The mean of a flow has no closed form; the image of the base's mean stands
    for it.

    Args:
        site: a site of a trace.

    Raises:
        ExportError: the distribution has no mean in closed form.
    """
    fn = site["fn"]
    try:
        return _mean(fn).expand(fn.batch_shape + fn.event_shape)
    except NotImplementedError:
        raise ExportError(
            f"An export of site '{site['name']}' requires a distribution with a mean in closed form, got "
            f"{type(innermost(fn)).__name__}. Write a distribution that has a mean, such as Normal."
        ) from None


def _mean(fn: Any) -> Tensor:
    if isinstance(fn, dist.Categorical | dist.OneHotCategorical | Presences):
        return fn.mode
    if isinstance(fn, Flow):
        z = fn.base.mean
        for step in fn.steps:
            z, _ = step(z, *fn.context)
        return z
    return _path(fn) if isinstance(fn, Markov) else fn.mean


def _path(chain: Markov) -> Tensor:
    """The path of a Markov chain along which each step has its mean given the step before, `(*, T, D)`."""
    z, path = chain.start.expand(*chain.batch_shape, -1), []
    for within, *context in zip(*(t.unbind(-2) for t in (chain.within.unsqueeze(-1), *chain.context)), strict=True):
        z = torch.where(within, _mean(chain.step(z, *context)), 0.0)
        path.append(z)
    return torch.stack(path, -2)


def parameters(fn: Any, value: Tensor) -> dict[str, Tensor]:
    """The parameters of a distribution by name, such as `loc` and `scale`.

    These are the tensors that it was built with. The parameters of a distribution inside another one have its name
    before theirs, such as `base.loc` of a flow, or its number, such as `0.logits` of the first columns of a table. Of a
    Markov chain they are those of its steps along `value`.

    Args:
        fn: a distribution.
        value: the value at its site.
    """
    fn = innermost(fn)
    if isinstance(fn, Markov):
        return parameters(fn.given(value), value)
    held = vars(fn)
    own = [name for name in fn.arg_constraints if name in held or f"_unbroadcasted_{name}" in held]
    if {"logits", "probs"} <= {*own}:  # torch computes one from the other when it is asked for
        own.remove("probs")
    named: dict[str, Tensor] = {name: getattr(fn, name) for name in own if isinstance(getattr(fn, name), Tensor)}
    if not named:
        for name, inner in held.items():
            named |= _inside(name, inner, value)
    return named


def _inside(name: str, held: Any, value: Tensor) -> dict[str, Tensor]:
    """The parameters that a distribution holds as `name`: a tensor, another distribution, or a list of such."""
    if isinstance(held, Distribution):
        prefix = name.strip("_").removesuffix("_dist").removesuffix("_distribution")
        return {f"{prefix}.{inner}": tensor for inner, tensor in parameters(held, value).items()}
    if name.startswith("_"):
        return {}
    if isinstance(held, Tensor):
        return {name: held}
    named: dict[str, Tensor] = {}
    if isinstance(held, list | tuple):
        for number, part in enumerate(held):
            prefix = name if len(held) == 1 and isinstance(part, Tensor) else str(number)
            named |= _inside(prefix, part, value)
    return named

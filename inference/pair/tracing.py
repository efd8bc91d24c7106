"""The traces of one run of a pair, and the sites in them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.inference.pair.contract import ProgramLike, Site, call, explained_arguments, explained_shapes

__all__ = ["PairTrace", "datum_first", "innermost", "sites", "trace_pair", "traces", "unscaled_log_prob"]


class PairTrace(NamedTuple):
    """The traces of one run of a pair.

    Attributes:
        guide: the guide's trace.
        model: the model's trace, in which the latents have the values that the guide drew.
    """

    guide: Trace
    model: Trace

    def observed(self) -> dict[str, Site]:
        """The model's observed sites by name."""
        return {name: site for name, site in sites(self.model).items() if site["is_observed"]}

    def latent(self) -> dict[str, tuple[Site, Site]]:
        """The latent sites that the guide draws, by name: the guide's site and the model's."""
        inner, outer = sites(self.guide), sites(self.model)
        return {name: (inner[name], site) for name, site in outer.items() if name in inner}

    def undrawn(self) -> list[str]:
        """The names of the model's latents that the guide does not draw, and that are summed out by enumeration."""
        inner = sites(self.guide)
        return [name for name, site in sites(self.model).items() if not site["is_observed"] and name not in inner]


def sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace by name, without those of subsampling.

    Args:
        trace: a run of one program.
    """
    return {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and not site_is_subsample(s)}


def trace_pair(model: ProgramLike, guide: ProgramLike, batch: Batch, **extra: Any) -> PairTrace:
    """Run the guide on a batch, then the model with the guide's draws, and return both traces.

    Args:
        model, guide: the pair.
        batch: named tensors, already transformed.
        extra: further arguments of the programs, as in `call`, such as `data_size=60_000`.

    Raises:
        DataError, PairError: as in `call`.
        ShapeError: a program fails on tensors of these shapes.
    """

    def run(program: ProgramLike) -> Any:
        with explained_shapes(program, batch), explained_arguments(program, batch):
            return call(program, batch, **extra)

    return traces(lambda: run(model), lambda: run(guide))


def traces(model: Callable[[], Any], guide: Callable[[], Any]) -> PairTrace:
    """Run the guide, then the model with the guide's draws, and return both traces.

    Args:
        model, guide: the programs, with their arguments bound.
    """
    with poutine.trace() as inner:
        guide()
    with poutine.trace() as outer, poutine.replay(trace=inner.trace):
        model()
    return PairTrace(inner.trace, outer.trace)


def datum_first(site: Site) -> Tensor:
    """The value at a site with the plate "data" as its leading dimension, before any inner plates.

    Args:
        site: a site of a trace; one outside the plate "data" keeps its value as it is.
    """
    if all(frame.name != "data" for frame in site["cond_indep_stack"]):
        return site["value"]
    return site["value"].movedim(len(site["fn"].batch_shape) - 1, 0)


def unscaled_log_prob(site: Site) -> Tensor:
    """The log-probability of a site as the program states it: masked, without any minibatch or annealing scale.

    Args:
        site: a site of a trace.
    """
    log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    return scale_and_mask(log_prob, 1.0, site["mask"])


def innermost(fn: Any) -> Any:
    """A distribution without the wrappers that change only its batch and event dimensions.

    Args:
        fn: a distribution, such as `Independent` around a `Normal`.
    """
    while hasattr(fn, "base_dist") and not hasattr(fn, "transforms"):
        fn = fn.base_dist
    return fn

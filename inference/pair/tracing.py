"""One run of a pair, recorded: the traces of both programs, and the sites in them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.inference.pair.contract import ProgramLike, Site, call

__all__ = ["PairTrace", "datum_first", "innermost", "sites", "trace_pair", "traces", "unscaled_log_prob"]


class PairTrace(NamedTuple):
    """One run of the pair: the guide's trace, and the model's replayed against it."""

    guide: Trace
    model: Trace

    def observed(self) -> dict[str, Site]:
        """The model's observed sites by name."""
        return {name: site for name, site in sites(self.model).items() if site["is_observed"]}

    def latent(self) -> dict[str, tuple[Site, Site]]:
        """The latent sites that the guide draws, by name, `(guide's, model's)`."""
        inner, outer = sites(self.guide), sites(self.model)
        return {name: (inner[name], site) for name, site in outer.items() if name in inner}

    def undrawn(self) -> list[str]:
        """The model's latent sites that the guide does not draw: an objective sums them out by enumeration."""
        inner = sites(self.guide)
        return [name for name, site in sites(self.model).items() if not site["is_observed"] and name not in inner]


def sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace, without those of subsampling."""
    return {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and not site_is_subsample(s)}


def trace_pair(model: ProgramLike, guide: ProgramLike, batch: Batch, **extra: Any) -> PairTrace:
    """Run the guide on a batch, replay the model against it, and keep both traces.

    Args:
        model, guide, batch: the pair and the batch, as the programs get it.
        extra: further arguments of the programs, such as `data_size`.
    """
    return traces(lambda: call(model, batch, **extra), lambda: call(guide, batch, **extra))


def traces(model: Callable[[], Any], guide: Callable[[], Any]) -> PairTrace:
    """Run the guide, replay the model against it, and keep both traces; the programs have their arguments bound."""
    with poutine.trace() as inner:
        guide()
    with poutine.trace() as outer, poutine.replay(trace=inner.trace):
        model()
    return PairTrace(inner.trace, outer.trace)


def datum_first(site: Site) -> Tensor:
    """The value at a site with the plate "data" as its leading dimension, before any inner plates."""
    if all(frame.name != "data" for frame in site["cond_indep_stack"]):
        return site["value"]
    return site["value"].movedim(len(site["fn"].batch_shape) - 1, 0)


def unscaled_log_prob(site: Site) -> Tensor:
    """The log-probability of a site as the program states it: masked, without any minibatch or annealing scale."""
    log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    return scale_and_mask(log_prob, 1.0, site["mask"])


def innermost(fn: Any) -> Any:
    """A distribution without the wrappers that change its batch and event dimensions only."""
    while hasattr(fn, "base_dist") and not hasattr(fn, "transforms"):
        fn = fn.base_dist
    return fn

"""Scales of sites: a pair has none of its own. KL weights and the scale of minibatches belong to the objective."""

import math

from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["check_unscaled"]


def check_unscaled(pair: PairTrace) -> None:
    """Raise if a program scales a site by hand, as `poutine.scale` does.

    Every tool reads log-probabilities without their scales, so such a pair would be trained on one density and measured
    on another.

    Args:
        pair: a run of both programs.

    Raises:
        PairError: a site carries another scale than that of its plates; the message names the site.
    """
    for program, trace in zip(("guide", "model"), pair, strict=True):
        for name, site in sites(trace).items():
            scale = site["scale"]
            number = isinstance(scale, int | float)
            if number and math.isclose(scale, _of_plates(site), rel_tol=1e-6):
                continue
            got = (
                f"{scale / _of_plates(site):.4g}" if number else "a tensor" if isinstance(scale, Tensor) else f"{scale}"
            )
            raise PairError(
                f"A pair requires sites without a scale of their own, got the scale {got} at site '{name}' of the "
                f"{program}, by poutine.scale. Remove it, and write fit(..., loss=ELBO(kl_weight={_weight(site)})). A "
                "loss of Pyro's, loss=Trace_ELBO(), trains with the scale."
            )


def _of_plates(site: Site) -> float:
    """The scale that subsampled plates give a site."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.full_size]
    return math.prod(frame.full_size / frame.size for frame in frames)


def _weight(site: Site) -> str:
    """The weight of the KL that has the same optimum: a likelihood counted less is a KL counted more."""
    scale = site["scale"]
    if not isinstance(scale, int | float) or scale <= 0:
        return "beta"
    own = scale / _of_plates(site)
    return f"{1 / own if site['is_observed'] else own:.4g}"

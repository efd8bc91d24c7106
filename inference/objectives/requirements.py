"""What objectives require of a pair; each function raises an error that names the site and what to use instead."""

import math
from collections.abc import Callable

from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.objectives.particles import data_plate
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.divergence import factors
from pyrovae.inference.pair.scoring import Layout, is_global
from pyrovae.inference.pair.tracing import PairTrace, sites, unscaled_log_prob

__all__ = [
    "Requirement",
    "check_factors",
    "check_independent",
    "check_reparameterised",
    "check_scales",
    "is_scaled",
    "one_factorised_latent",
]

Requirement = Callable[[PairTrace, Layout], None]
"""Raises PairError where one run of a pair, or its layout, shows that an objective cannot train the pair."""


def check_scales(pair: PairTrace) -> None:
    """No site carries another scale than that of the minibatch, because an objective scales by itself.

    Args:
        pair: a run of both programs.

    Raises:
        PairError: a site is scaled by hand, or an inner plate is subsampled.
    """
    size, full_size = data_plate(pair)
    for trace in pair:
        for site in sites(trace).values():
            _check_scale(site, full_size / size)


def is_scaled(pair: PairTrace) -> bool:
    """Whether a site carries another scale than that of the minibatch.

    Args:
        pair: a run of both programs.
    """
    try:
        check_scales(pair)
    except PairError:
        return True
    return False


def _check_scale(site: Site, minibatch: float) -> None:
    scale = site["scale"]
    expected = minibatch if any(frame.name == "data" for frame in site["cond_indep_stack"]) else 1.0
    if isinstance(scale, Tensor) or not math.isclose(scale, expected, rel_tol=1e-6):
        raise PairError(
            f"An objective requires unscaled sites, got site '{site['name']}' with a scale of {scale} (by "
            "poutine.scale, or by a subsampled inner plate). Weigh with ELBO(kl_weight=...), or train with "
            "pyro.infer.Trace_ELBO()."
        )


def check_independent(what: str, pair: PairTrace, layout: Layout) -> None:
    """All latents are in the plate "data".

    Args:
        what: the name of the objective, for the error.
        pair: a run of both programs.
        layout: its layout.

    Raises:
        PairError: a latent is outside the plate.
    """
    if layout.has_global:
        name = next(n for n, (_, site) in pair.latent().items() if is_global(site))
        raise PairError(
            f"{what} requires every latent in the plate 'data', because it weighs each data point by itself; site "
            f"'{name}' is outside. Write ELBO()."
        )


def check_reparameterised(what: str, pair: PairTrace) -> None:
    """Every draw of the guide that depends on parameters is differentiable.

    Args:
        what: the name of the objective, for the error.
        pair: a run of both programs, with gradients enabled.

    Raises:
        PairError: a draw has no reparameterisation.
    """
    for name, site in sites(pair.guide).items():
        if not site["fn"].has_rsample and unscaled_log_prob(site).requires_grad:
            raise PairError(
                f"{what} requires differentiable draws, got the guide's site '{name}', which draws from "
                f"{type(site['fn']).__name__}. Train with Enumerated(), ScoreFunction(num_particles=8), "
                "WakeSleep(num_particles=10) or pyro.infer.TraceGraph_ELBO(). "
                'Or sum the latent out: remove it from the guide, and mark it with infer={"enumerate": "parallel"} in '
                "the model."
            )


def check_factors(what: str, instead: str, pair: PairTrace) -> None:
    """The prior and the guide of each latent are products over its dimensions.

    Args:
        what: the name of the objective, and of the argument that asks, for the error.
        instead: the line to write instead, for the error.
        pair: a run of both programs.

    Raises:
        PairError: a distribution is not a product over dimensions.
    """
    for inner, outer in pair.latent().values():
        factors(inner, "guide", what, instead)
        factors(outer, "model", what, instead)


def one_factorised_latent(what: str, pair: PairTrace, layout: Layout) -> None:
    """The guide has one latent, directly in the plate "data", and it is a product over its dimensions.

    Args:
        what: the name of the objective, for the error.
        pair: a run of both programs.
        layout: its layout.

    Raises:
        PairError: there are several latents or none, an inner plate, or the distribution is not a product.
    """
    guide = sites(pair.guide)
    if len(guide) != 1 or layout.depth != 1:
        names = ", ".join(map(repr, guide))
        raise PairError(
            f"{what} requires one latent, directly in the plate 'data', got {names} in the guide. Write "
            "ELBO(kl_weight=...)."
        )
    for site in guide.values():
        factors(site, "guide", what, "Draw from Normal(loc, scale).to_event(1), or write ELBO(kl_weight=...).")

"""The pairs of objects on a canvas that all tools are tested with."""

import math

import torch
from small_pair import IMAGE, LATENT, SIZE, Pair

from pyrovae.guides import ObjectsGuide
from pyrovae.models import ObjectsVAE, likelihoods, priors
from pyrovae.networks.dense import MLP

__all__ = ["objects"]

STEPS, GLIMPSE = 2, (1, 4, 5)


def objects(likelihood: likelihoods.Likelihood, *, learned: bool = False) -> Pair:
    """Up to two objects of 4 x 5 pixels; a Bernoulli's canvas is dark where no object is."""
    binary = isinstance(likelihood, likelihoods.Bernoulli)
    model = ObjectsVAE(
        priors.Geometric(STEPS, 0.6, learned=learned),
        priors.Normal([math.log(0.4), 0, 0], [0.2, 0.5, 0.5]),
        priors.StandardNormal(LATENT),
        likelihood,
        MLP(LATENT, GLIMPSE, (7,)),
        background=-2.0 if binary else 0.0,
    )
    guide = ObjectsGuide(model, MLP(IMAGE, 7, (7,)), MLP(GLIMPSE, 2 * LATENT, (7,)), GLIMPSE)
    x = torch.rand(SIZE, *IMAGE)
    latent = {"z_pres": (STEPS,), "z_where": (STEPS, 3), "z_what": (STEPS, LATENT)}
    return Pair(model, guide, {"x": x.round() if binary else x}, latent)

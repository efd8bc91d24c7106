"""Generative programs p(x, z) = p(z) p(x | z), their priors and likelihoods."""

from pyrovae.models import likelihoods, priors
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program
from pyrovae.models.vae import VAE

__all__ = ["VAE", "Likelihood", "Program", "likelihoods", "priors"]

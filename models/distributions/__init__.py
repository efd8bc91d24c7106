"""Distributions that torch and Pyro lack. Priors, likelihoods, models and guides are built from them."""

from pyrovae.models.distributions.codes import CausalCodes, CertainCodes, CodeVectors, GumbelCodes
from pyrovae.models.distributions.columns import Columns
from pyrovae.models.distributions.flow import Flow
from pyrovae.models.distributions.markov import Markov
from pyrovae.models.distributions.mixture import DiagonalMixture
from pyrovae.models.distributions.normal import ConditionalNormal, diagonal_normal, precision_weighted
from pyrovae.models.distributions.power_spherical import PowerSpherical
from pyrovae.models.distributions.presences import Presences
from pyrovae.models.distributions.sentences import Sentences
from pyrovae.models.distributions.sphere import Rotational, SphericalUniform
from pyrovae.models.distributions.uniform_mixture import UniformMixture
from pyrovae.models.distributions.von_mises_fisher import VonMisesFisher

__all__ = [
    "CausalCodes",
    "CertainCodes",
    "CodeVectors",
    "Columns",
    "ConditionalNormal",
    "DiagonalMixture",
    "Flow",
    "GumbelCodes",
    "Markov",
    "PowerSpherical",
    "Presences",
    "Rotational",
    "Sentences",
    "SphericalUniform",
    "UniformMixture",
    "VonMisesFisher",
    "diagonal_normal",
    "precision_weighted",
]

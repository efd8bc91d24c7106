"""Priors p(z). A prior is a module without inputs that returns a distribution: `prior() -> p(z)`."""

from pyrovae.models.priors.codes import CausalCodePrior, UniformCodePrior
from pyrovae.models.priors.dirichlet import Dirichlet, LogisticNormal
from pyrovae.models.priors.flat import Flat
from pyrovae.models.priors.flow import FlowPrior
from pyrovae.models.priors.geometric import Geometric
from pyrovae.models.priors.mixture import MixtureOfNormals, VampPrior
from pyrovae.models.priors.normal import Normal
from pyrovae.models.priors.one_hot import OneHot
from pyrovae.models.priors.sphere import UniformOnSphere
from pyrovae.models.priors.standard_normal import StandardNormal
from pyrovae.models.priors.totals import LogNormalTotal

__all__ = [
    "CausalCodePrior",
    "Dirichlet",
    "Flat",
    "FlowPrior",
    "Geometric",
    "LogNormalTotal",
    "LogisticNormal",
    "MixtureOfNormals",
    "Normal",
    "OneHot",
    "StandardNormal",
    "UniformCodePrior",
    "UniformOnSphere",
    "VampPrior",
]

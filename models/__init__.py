"""Generative programs p(x, z) = p(z) p(x | z), their priors and likelihoods."""

from pyrovae.models import likelihoods, priors
from pyrovae.models.conditional import ConditionalVAE
from pyrovae.models.decoders import LSTMDecoder, TransformerDecoder
from pyrovae.models.distributions.markov import Markov
from pyrovae.models.distributions.normal import ConditionalNormal
from pyrovae.models.hierarchical import HierarchicalVAE, LadderVAE, Level
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.markov import DeepMarkovModel, GatedTransition
from pyrovae.models.masked import Masked
from pyrovae.models.program import Program
from pyrovae.models.semi_supervised import SemiSupervisedVAE
from pyrovae.models.text import Autoregressive, LanguageModel, TextVAE
from pyrovae.models.vae import VAE

__all__ = [
    "VAE",
    "Autoregressive",
    "ConditionalNormal",
    "ConditionalVAE",
    "DeepMarkovModel",
    "GatedTransition",
    "HierarchicalVAE",
    "LSTMDecoder",
    "LadderVAE",
    "LanguageModel",
    "Level",
    "Likelihood",
    "Markov",
    "Masked",
    "Program",
    "SemiSupervisedVAE",
    "TextVAE",
    "TransformerDecoder",
    "likelihoods",
    "priors",
]

"""Generative programs p(x, z) = p(z) p(x | z), and the priors, likelihoods and distributions that they consist of."""

from pyrovae.models import distributions, likelihoods, priors
from pyrovae.models.conditional import ConditionalVAE
from pyrovae.models.counts import CountProgram, CountVAE, SemiSupervisedCountVAE
from pyrovae.models.decoders import LSTMDecoder, TransformerDecoder
from pyrovae.models.distributions.markov import Markov
from pyrovae.models.distributions.normal import ConditionalNormal
from pyrovae.models.hierarchical import HierarchicalVAE, Hierarchy, LadderVAE, Level
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.markov import DeepMarkovModel, GatedTransition
from pyrovae.models.masked import Masked
from pyrovae.models.mechanisms import Mechanism, SelfMasking
from pyrovae.models.mixture import MixtureVAE
from pyrovae.models.multimodal import MultimodalVAE
from pyrovae.models.not_at_random import NotAtRandom
from pyrovae.models.objects import ObjectsVAE
from pyrovae.models.program import Program
from pyrovae.models.semi_supervised import SemiSupervisedVAE
from pyrovae.models.text import Autoregressive, LanguageModel, TextVAE
from pyrovae.models.topics import MixtureOfTopics, ProductOfTopics, TopicDecoder
from pyrovae.models.vae import VAE

__all__ = [
    "VAE",
    "Autoregressive",
    "ConditionalNormal",
    "ConditionalVAE",
    "CountProgram",
    "CountVAE",
    "DeepMarkovModel",
    "GatedTransition",
    "HierarchicalVAE",
    "Hierarchy",
    "LSTMDecoder",
    "LadderVAE",
    "LanguageModel",
    "Level",
    "Likelihood",
    "Markov",
    "Masked",
    "Mechanism",
    "MixtureOfTopics",
    "MixtureVAE",
    "MultimodalVAE",
    "NotAtRandom",
    "ObjectsVAE",
    "ProductOfTopics",
    "Program",
    "SelfMasking",
    "SemiSupervisedCountVAE",
    "SemiSupervisedVAE",
    "TextVAE",
    "TopicDecoder",
    "TransformerDecoder",
    "distributions",
    "likelihoods",
    "priors",
]

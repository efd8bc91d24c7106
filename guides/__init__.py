"""Guides q(z | x): programs that infer the latents of a model, at sites of the same names."""

from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.guides.codes import GumbelCodeGuide, QuantisedGuide
from pyrovae.guides.completed import Completed
from pyrovae.guides.conditional import ConditionalGuide
from pyrovae.guides.corrupted import Corrupted, Erasing, GaussianNoise
from pyrovae.guides.counts import CountGuide, SemiSupervisedCountGuide
from pyrovae.guides.delta import DeltaGuide
from pyrovae.guides.dirichlet import DirichletGuide
from pyrovae.guides.empty import EmptyGuide
from pyrovae.guides.experts import ExpertsGuide
from pyrovae.guides.flow import FlowGuide
from pyrovae.guides.hierarchical import BottomUpGuide, TopDownGuide
from pyrovae.guides.joint import JointGuide, Responsibilities
from pyrovae.guides.markov import Combiner, FlowCombiner, MarkovGuide
from pyrovae.guides.mixture import MixtureGuide
from pyrovae.guides.normal import FullNormalGuide, LowRankNormalGuide, NormalGuide
from pyrovae.guides.objects import ObjectsGuide
from pyrovae.guides.semi_supervised import SemiSupervisedGuide
from pyrovae.guides.sphere import PowerSphericalGuide, VonMisesFisherGuide
from pyrovae.guides.text import SentenceEncoder
from pyrovae.guides.zero_filled import ZeroFilled

__all__ = [
    "AmortizedGuide",
    "BottomUpGuide",
    "Combiner",
    "Completed",
    "ConditionalGuide",
    "Corrupted",
    "CountGuide",
    "DeltaGuide",
    "DirichletGuide",
    "EmptyGuide",
    "Erasing",
    "ExpertsGuide",
    "FlowCombiner",
    "FlowGuide",
    "FullNormalGuide",
    "GaussianNoise",
    "GumbelCodeGuide",
    "JointGuide",
    "LowRankNormalGuide",
    "MarkovGuide",
    "MixtureGuide",
    "NormalGuide",
    "ObjectsGuide",
    "PowerSphericalGuide",
    "QuantisedGuide",
    "Responsibilities",
    "SemiSupervisedCountGuide",
    "SemiSupervisedGuide",
    "SentenceEncoder",
    "TopDownGuide",
    "VonMisesFisherGuide",
    "ZeroFilled",
]

"""Inference programs q(z | x), with the model's own site names."""

from pyrovae.guides.conditional import ConditionalGuide
from pyrovae.guides.corrupted import Corrupted, Erasing, GaussianNoise
from pyrovae.guides.delta import DeltaGuide
from pyrovae.guides.hierarchical import BottomUpGuide, TopDownGuide
from pyrovae.guides.normal import NormalGuide
from pyrovae.guides.semi_supervised import SemiSupervisedGuide

__all__ = [
    "BottomUpGuide",
    "ConditionalGuide",
    "Corrupted",
    "DeltaGuide",
    "Erasing",
    "GaussianNoise",
    "NormalGuide",
    "SemiSupervisedGuide",
    "TopDownGuide",
]

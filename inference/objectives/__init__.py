"""Objectives: what training maximises, for any (model, guide) pair."""

from pyrovae.inference.objectives.aggregate import MMD, BetaTCVAE
from pyrovae.inference.objectives.discrete import Enumerated, Relaxed, ScoreFunction
from pyrovae.inference.objectives.elbo import ELBO
from pyrovae.inference.objectives.importance import IWAE, Renyi, WakeSleep
from pyrovae.inference.objectives.independence import DIPVAE, FactorVAE
from pyrovae.inference.objectives.objective import Objective
from pyrovae.inference.objectives.schedules import Cyclical, Linear

__all__ = [
    "DIPVAE",
    "ELBO",
    "IWAE",
    "MMD",
    "BetaTCVAE",
    "Cyclical",
    "Enumerated",
    "FactorVAE",
    "Linear",
    "Objective",
    "Relaxed",
    "Renyi",
    "ScoreFunction",
    "WakeSleep",
]

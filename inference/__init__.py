"""What is done with a (model, guide) pair: train, evaluate, inspect."""

from pyrovae.inference.checkpoint import load_weights
from pyrovae.inference.evidence import Estimate, Evaluation, evaluate, log_evidence
from pyrovae.inference.fit import History, fit
from pyrovae.inference.gradients import GradientNoise, gradient_noise
from pyrovae.inference.latent import decode, encode, generate, interpolate, lerp, reconstruct, slerp
from pyrovae.inference.objectives import ELBO, IWAE, MMD, BetaTCVAE, Cyclical, Linear, Objective, Renyi, WakeSleep
from pyrovae.inference.pair import check_pair
from pyrovae.inference.rates import dimension_rates
from pyrovae.inference.semi_supervised import Supervised, accuracy, classify
from pyrovae.inference.svi import SVI

__all__ = [
    "ELBO",
    "IWAE",
    "MMD",
    "SVI",
    "BetaTCVAE",
    "Cyclical",
    "Estimate",
    "Evaluation",
    "GradientNoise",
    "History",
    "Linear",
    "Objective",
    "Renyi",
    "Supervised",
    "WakeSleep",
    "accuracy",
    "check_pair",
    "classify",
    "decode",
    "dimension_rates",
    "encode",
    "evaluate",
    "fit",
    "generate",
    "gradient_noise",
    "interpolate",
    "lerp",
    "load_weights",
    "log_evidence",
    "reconstruct",
    "slerp",
]

"""What is done with a (model, guide) pair: train, evaluate, inspect."""

from pyrovae.inference.checkpoint import load_weights
from pyrovae.inference.disentanglement import FactorScore, InformationGap, factor_vae_score, mutual_information_gap
from pyrovae.inference.evidence import Estimate, Evaluation, evaluate, log_evidence
from pyrovae.inference.fit import History, fit
from pyrovae.inference.gradients import GradientNoise, gradient_noise
from pyrovae.inference.latent import (
    LatentMap,
    Neighbours,
    Traversal,
    attribute,
    decode,
    encode,
    generate,
    interpolate,
    latent_map,
    neighbours,
    reconstruct,
    traverse,
    vary,
)
from pyrovae.inference.objectives import ELBO, IWAE, MMD, BetaTCVAE, Cyclical, Linear, Objective, Renyi, WakeSleep
from pyrovae.inference.pair import check_pair
from pyrovae.inference.paths import great_circle, lerp, path, slerp
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
    "FactorScore",
    "GradientNoise",
    "History",
    "InformationGap",
    "LatentMap",
    "Linear",
    "Neighbours",
    "Objective",
    "Renyi",
    "Supervised",
    "Traversal",
    "WakeSleep",
    "accuracy",
    "attribute",
    "check_pair",
    "classify",
    "decode",
    "dimension_rates",
    "encode",
    "evaluate",
    "factor_vae_score",
    "fit",
    "generate",
    "gradient_noise",
    "great_circle",
    "interpolate",
    "latent_map",
    "lerp",
    "load_weights",
    "log_evidence",
    "mutual_information_gap",
    "neighbours",
    "path",
    "reconstruct",
    "slerp",
    "traverse",
    "vary",
]

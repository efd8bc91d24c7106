"""What is done with a (model, guide) pair: train, evaluate, inspect."""

from importlib import import_module
from typing import Any

from pyrovae.inference.aggressive import Aggressive, Release
from pyrovae.inference.annealing import Annealed, Annealing, Comparison, Sandwich, annealed, compare_evidence, sandwich
from pyrovae.inference.anomaly import anomaly_scores, complexity, entry_scores, threshold
from pyrovae.inference.checkpoint import load_weights
from pyrovae.inference.compression import QuantisedPCA, RateDistortion, rate_distortion
from pyrovae.inference.decoding import decode_beam, decode_greedy, decode_sampled
from pyrovae.inference.diagnostics import (
    Aggregate,
    Beside,
    Calibration,
    Gaps,
    Latent,
    Trust,
    Verdict,
    aggregate_posterior,
    calibration,
    diagnose,
    effective_sample_size,
    gaps,
    nuts,
    psis_khat,
)
from pyrovae.inference.disentanglement import FactorScore, InformationGap, factor_vae_score, mutual_information_gap
from pyrovae.inference.draws import Draws, to_arviz
from pyrovae.inference.evidence import Estimate, Evaluation, evaluate, log_evidence
from pyrovae.inference.fit import History, fit
from pyrovae.inference.gradients import GradientNoise, gradient_noise
from pyrovae.inference.imputation import Imputation, coverage, imputations, impute, interval
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
from pyrovae.inference.perplexity import perplexity
from pyrovae.inference.posterior import posterior, posterior_predictive, prior, prior_predictive
from pyrovae.inference.rates import dimension_rates
from pyrovae.inference.representation import Accuracy, Probe, augment, features, probe
from pyrovae.inference.semi_supervised import Supervised, accuracy, classify
from pyrovae.inference.svi import SVI

__all__ = [
    "ELBO",
    "IWAE",
    "MMD",
    "SVI",
    "Accuracy",
    "Aggregate",
    "Aggressive",
    "Annealed",
    "Annealing",
    "Beside",
    "BetaTCVAE",
    "Calibration",
    "Comparison",
    "Cyclical",
    "Draws",
    "Estimate",
    "Evaluation",
    "FactorScore",
    "Gaps",
    "GradientNoise",
    "History",
    "Imputation",
    "InformationGap",
    "Latent",
    "LatentMap",
    "Linear",
    "Neighbours",
    "Objective",
    "Probe",
    "QuantisedPCA",
    "RateDistortion",
    "Release",
    "Renyi",
    "Sandwich",
    "Supervised",
    "Traversal",
    "Trust",
    "Verdict",
    "WakeSleep",
    "accuracy",
    "aggregate_posterior",
    "annealed",
    "anomaly_scores",
    "attribute",
    "augment",
    "calibration",
    "check_pair",
    "classify",
    "compare_evidence",
    "complexity",
    "coverage",
    "decode",
    "decode_beam",
    "decode_greedy",
    "decode_sampled",
    "diagnose",
    "dimension_rates",
    "effective_sample_size",
    "encode",
    "entry_scores",
    "evaluate",
    "factor_vae_score",
    "features",
    "fit",
    "gaps",
    "generate",
    "gradient_noise",
    "great_circle",
    "imputations",
    "impute",
    "interpolate",
    "interval",
    "latent_map",
    "lerp",
    "load_weights",
    "log_evidence",
    "mutual_information_gap",
    "neighbours",
    "nuts",
    "path",
    "perplexity",
    "posterior",
    "posterior_predictive",
    "prior",
    "prior_predictive",
    "probe",
    "psis_khat",
    "rate_distortion",
    "reconstruct",
    "sandwich",
    "slerp",
    "threshold",
    "to_arviz",
    "traverse",
    "vary",
]

_ESTIMATORS = {"VAEDetector": "detector", "VAEImputer": "imputer", "VAETransformer": "transformer"}
"""Where each estimator is: it needs scikit-learn, and is imported when it is asked for."""


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(import_module(f"{__name__}.{_ESTIMATORS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

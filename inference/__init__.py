"""What is done with a (model, guide) pair: train, evaluate, inspect."""

from importlib import import_module
from typing import Any

from pyrovae.inference.compile.reasons import EagerWarning
from pyrovae.inference.diagnostics import (
    AggregatePosterior,
    Calibration,
    CodeUse,
    Diagnosis,
    GradientError,
    GradientNoise,
    InferenceGaps,
    JointRanks,
    LatentSummary,
    LocalTest,
    NUTSComparison,
    PredictiveCheck,
    PriorDataConflict,
    Profile,
    Recalibration,
    Simulations,
    Verdict,
    aggregate_posterior,
    calibration,
    code_use,
    diagnose,
    effective_sample_size,
    gaps,
    gradient_error,
    gradient_noise,
    local_test,
    nuts,
    predictive_check,
    psis_khat,
    recalibrate,
)
from pyrovae.inference.draws.arviz import to_arviz
from pyrovae.inference.draws.draws import Draws
from pyrovae.inference.draws.posterior import posterior, posterior_predictive
from pyrovae.inference.draws.prior import prior, prior_predictive
from pyrovae.inference.evidence.annealing import AnnealedEvidence, Annealing, annealed
from pyrovae.inference.evidence.comparison import EvidenceComparison, compare_evidence
from pyrovae.inference.evidence.estimates import Estimate, Evaluation, EvidenceEstimate, evaluate, log_evidence
from pyrovae.inference.evidence.sandwich import EvidenceBounds, sandwich
from pyrovae.inference.latent.codes import decode, encode, generate, reconstruct
from pyrovae.inference.latent.maps import LatentMap, latent_map
from pyrovae.inference.latent.neighbours import Neighbours, neighbours
from pyrovae.inference.latent.paths import great_circle, lerp, path, slerp
from pyrovae.inference.latent.rates import dimension_rates
from pyrovae.inference.latent.traversal import Traversal, attribute, interpolate, traverse, vary
from pyrovae.inference.objectives import (
    DIPVAE,
    ELBO,
    IWAE,
    MMD,
    BetaTCVAE,
    Cyclical,
    Enumerated,
    FactorVAE,
    Linear,
    Objective,
    Relaxed,
    Renyi,
    ScoreFunction,
    WakeSleep,
)
from pyrovae.inference.pair.doctor import check_pair
from pyrovae.inference.tasks.aggressive import Aggressive, Release
from pyrovae.inference.tasks.anomaly import anomaly_scores, threshold
from pyrovae.inference.tasks.augmentation import augment
from pyrovae.inference.tasks.clustering import ClusterAccuracy, cluster_accuracy
from pyrovae.inference.tasks.complexity import complexity
from pyrovae.inference.tasks.compression import QuantisedPCA, RateDistortion, rate_distortion
from pyrovae.inference.tasks.decoding import decode_beam, decode_greedy, decode_sampled
from pyrovae.inference.tasks.disentanglement import (
    FactorVAEScore,
    MutualInformationGap,
    factor_vae_score,
    mutual_information_gap,
)
from pyrovae.inference.tasks.entries import entry_scores
from pyrovae.inference.tasks.factor_analysis import FactorAnalysis, factor_analysis
from pyrovae.inference.tasks.imputation import Imputation, imputations, impute
from pyrovae.inference.tasks.intervals import coverage, interval
from pyrovae.inference.tasks.modalities import (
    SubsetEvidence,
    draw_modality,
    predict_modality,
    subset_evidence,
)
from pyrovae.inference.tasks.perplexity import perplexity
from pyrovae.inference.tasks.prior_fitting import FittedPrior, fit_prior
from pyrovae.inference.tasks.representation import Accuracy, ProbeAccuracy, features, probe
from pyrovae.inference.tasks.semi_supervised import Supervised, accuracy, classify
from pyrovae.inference.tasks.topics import (
    Topics,
    nats_per_word,
    npmi,
    relevance,
    topic_diversity,
    topic_scores,
    topic_shares,
    topics,
)
from pyrovae.inference.training.callbacks import EpochReport, StopTraining
from pyrovae.inference.training.checkpoint import load_weights
from pyrovae.inference.training.fit import fit
from pyrovae.inference.training.history import History
from pyrovae.inference.training.svi import SVI

__all__ = [
    "DIPVAE",
    "ELBO",
    "IWAE",
    "MMD",
    "SVI",
    "Accuracy",
    "AggregatePosterior",
    "Aggressive",
    "AnnealedEvidence",
    "Annealing",
    "BetaTCVAE",
    "Calibration",
    "ClusterAccuracy",
    "CodeUse",
    "Cyclical",
    "Diagnosis",
    "Draws",
    "EagerWarning",
    "Enumerated",
    "EpochReport",
    "Estimate",
    "Evaluation",
    "EvidenceBounds",
    "EvidenceComparison",
    "EvidenceEstimate",
    "FactorAnalysis",
    "FactorVAE",
    "FactorVAEScore",
    "FittedPrior",
    "GradientError",
    "GradientNoise",
    "History",
    "Imputation",
    "InferenceGaps",
    "JointRanks",
    "LatentMap",
    "LatentSummary",
    "Linear",
    "LocalTest",
    "MutualInformationGap",
    "NUTSComparison",
    "Neighbours",
    "Objective",
    "PredictiveCheck",
    "PriorDataConflict",
    "ProbeAccuracy",
    "Profile",
    "QuantisedPCA",
    "RateDistortion",
    "Recalibration",
    "Relaxed",
    "Release",
    "Renyi",
    "ScoreFunction",
    "Simulations",
    "StopTraining",
    "SubsetEvidence",
    "Supervised",
    "Topics",
    "Traversal",
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
    "cluster_accuracy",
    "code_use",
    "compare_evidence",
    "complexity",
    "coverage",
    "decode",
    "decode_beam",
    "decode_greedy",
    "decode_sampled",
    "diagnose",
    "dimension_rates",
    "draw_modality",
    "effective_sample_size",
    "encode",
    "entry_scores",
    "evaluate",
    "factor_analysis",
    "factor_vae_score",
    "features",
    "fit",
    "fit_prior",
    "gaps",
    "generate",
    "gradient_error",
    "gradient_noise",
    "great_circle",
    "imputations",
    "impute",
    "interpolate",
    "interval",
    "latent_map",
    "lerp",
    "load_weights",
    "local_test",
    "log_evidence",
    "mutual_information_gap",
    "nats_per_word",
    "neighbours",
    "npmi",
    "nuts",
    "path",
    "perplexity",
    "posterior",
    "posterior_predictive",
    "predict_modality",
    "predictive_check",
    "prior",
    "prior_predictive",
    "probe",
    "psis_khat",
    "rate_distortion",
    "recalibrate",
    "reconstruct",
    "relevance",
    "sandwich",
    "slerp",
    "subset_evidence",
    "threshold",
    "to_arviz",
    "topic_diversity",
    "topic_scores",
    "topic_shares",
    "topics",
    "traverse",
    "vary",
]

_ESTIMATORS = {
    "VAEDetector": "detector",
    "VAEImputer": "imputer",
    "VAESynthesizer": "synthesizer",
    "VAETransformer": "transformer",
}
"""Where each estimator is: it needs scikit-learn, and is imported when it is asked for."""


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(import_module(f"{__name__}.estimators.{_ESTIMATORS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

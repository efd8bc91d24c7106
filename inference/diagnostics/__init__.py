"""How far a guide can be trusted."""

from pyrovae.inference.diagnostics.aggregate import AggregatePosterior, aggregate_posterior
from pyrovae.inference.diagnostics.calibration import Calibration, calibration
from pyrovae.inference.diagnostics.codes import CodeUse, code_use
from pyrovae.inference.diagnostics.conflict import PriorDataConflict
from pyrovae.inference.diagnostics.gaps import InferenceGaps, gaps
from pyrovae.inference.diagnostics.gradients import GradientError, GradientNoise, gradient_error, gradient_noise
from pyrovae.inference.diagnostics.importance import effective_sample_size, psis_khat
from pyrovae.inference.diagnostics.joint import JointRanks
from pyrovae.inference.diagnostics.latents import LatentSummary
from pyrovae.inference.diagnostics.local import LocalTest, local_test
from pyrovae.inference.diagnostics.mcmc import NUTSComparison, nuts
from pyrovae.inference.diagnostics.predictive import PredictiveCheck, predictive_check
from pyrovae.inference.diagnostics.recalibration import Recalibration, recalibrate
from pyrovae.inference.diagnostics.simulations import Profile, Simulations
from pyrovae.inference.diagnostics.trust import Diagnosis, diagnose
from pyrovae.inference.diagnostics.verdicts import Verdict

__all__ = [
    "AggregatePosterior",
    "Calibration",
    "CodeUse",
    "Diagnosis",
    "GradientError",
    "GradientNoise",
    "InferenceGaps",
    "JointRanks",
    "LatentSummary",
    "LocalTest",
    "NUTSComparison",
    "PredictiveCheck",
    "PriorDataConflict",
    "Profile",
    "Recalibration",
    "Simulations",
    "Verdict",
    "aggregate_posterior",
    "calibration",
    "code_use",
    "diagnose",
    "effective_sample_size",
    "gaps",
    "gradient_error",
    "gradient_noise",
    "local_test",
    "nuts",
    "predictive_check",
    "psis_khat",
    "recalibrate",
]

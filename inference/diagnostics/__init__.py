"""How far a guide can be trusted."""

from pyrovae.inference.diagnostics.aggregate import Aggregate, aggregate_posterior
from pyrovae.inference.diagnostics.calibration import Calibration, calibration
from pyrovae.inference.diagnostics.gaps import Gaps, gaps
from pyrovae.inference.diagnostics.importance import effective_sample_size, psis_khat
from pyrovae.inference.diagnostics.latents import Latent
from pyrovae.inference.diagnostics.mcmc import Beside, nuts
from pyrovae.inference.diagnostics.trust import Trust, diagnose
from pyrovae.inference.diagnostics.verdicts import Verdict

__all__ = [
    "Aggregate",
    "Beside",
    "Calibration",
    "Gaps",
    "Latent",
    "Trust",
    "Verdict",
    "aggregate_posterior",
    "calibration",
    "diagnose",
    "effective_sample_size",
    "gaps",
    "nuts",
    "psis_khat",
]

"""What is done with a (model, guide) pair: train, evaluate, inspect."""

from pyrovae.inference.checkpoint import load_weights
from pyrovae.inference.evidence import Estimate, Evaluation, evaluate, log_evidence
from pyrovae.inference.fit import History, fit
from pyrovae.inference.pair import check_pair
from pyrovae.inference.posterior import decode, encode, generate, interpolate, lerp, reconstruct, slerp
from pyrovae.inference.svi import SVI

__all__ = [
    "SVI",
    "Estimate",
    "Evaluation",
    "History",
    "check_pair",
    "decode",
    "encode",
    "evaluate",
    "fit",
    "generate",
    "interpolate",
    "lerp",
    "load_weights",
    "log_evidence",
    "reconstruct",
    "slerp",
]

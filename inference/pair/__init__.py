"""The contract of a (model, guide) pair: how a pair is run, recorded, scored, and checked."""

from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call, takes
from pyrovae.inference.pair.doctor import check_pair
from pyrovae.inference.pair.on_data import PairOnData
from pyrovae.inference.pair.running import MEMORY, ROWS, Transform
from pyrovae.inference.pair.scoring import LatentTerms, Layout, Terms, log_terms
from pyrovae.inference.pair.tracing import PairTrace, trace_pair
from pyrovae.inference.pair.weights import WeightSums

__all__ = [
    "MEMORY",
    "ROWS",
    "LatentTerms",
    "Layout",
    "PairOnData",
    "PairTrace",
    "ProgramLike",
    "Site",
    "Terms",
    "Transform",
    "WeightSums",
    "batch_size",
    "call",
    "check_pair",
    "log_terms",
    "takes",
    "trace_pair",
]

"""Perplexity: the evidence of sentences, per token."""

import math

from torch import Tensor

from pyrovae.data.tokens import lengths
from pyrovae.errors import ShapeError
from pyrovae.inference.evidence.estimates import Estimate, Evaluation

__all__ = ["perplexity"]


def perplexity(measured: Evaluation, x: Tensor) -> Estimate:
    """exp(-sum_n log p(x_n) / sum_n T_n), where T_n is the number of tokens of sentence n, with EOS.

    An importance-sampled evidence makes it an estimate from above. Its error, bias and interval are those of the
    log-evidence by the delta method, and it is flagged where that is.

    Args:
        measured: `evaluate(model, guide, {"x": x})`.
        x: the same sentences, `(N, T)`.

    Raises:
        ShapeError: another number of sentences than was measured.
    """
    count = len(measured.per_datum["log_evidence"])
    if len(x) != count:
        raise ShapeError(f"perplexity requires the {count} sentences that were measured, got {len(x)}. Pass those.")
    per_token = count / int(lengths(x).sum())
    evidence = measured.log_evidence
    value = math.exp(-evidence.value * per_token)
    slope = -value * per_token
    return evidence.scaled(slope, value - slope * evidence.value)

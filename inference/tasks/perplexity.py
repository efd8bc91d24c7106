"""Perplexity: the evidence of sentences, per token."""

import math

from torch import Tensor

from pyrovae.data.tokens import lengths
from pyrovae.errors import ShapeError
from pyrovae.inference.evidence.estimates import Estimate, Evaluation

__all__ = ["perplexity"]


def perplexity(measured: Evaluation, x: Tensor) -> Estimate:
    """exp(-sum_n log p(x_n) / sum_n T_n), where T_n is the number of tokens of sentence n, with EOS.

    An importance-sampled evidence makes it an estimate from above. The error is that of the draws, by the delta method.

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
    value = math.exp(-measured.log_evidence.value * per_token)
    return Estimate(value, value * per_token * measured.log_evidence.error)

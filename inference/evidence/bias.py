"""The downward bias of log 1/S sum_s w_s, estimated from the same S draws.

By Jensen's inequality, the log of a mean of weights is below log E[w] = log p(x) on average. Let L(m) be the mean of
the log of a mean of m weights. Where log p(x) - L(m) falls as m^-a, a doubling of the draws tells what is left:

    log p(x) - L(S) = (L(S) - L(S/2)) / (2^a - 1).

Weights with a variance have a = 1. A Pareto tail of index k > 1/2 has a = 1/k - 1, because the bias is then due to rare
weights that no draw met. Here k is k-hat of the data point, and a is between 0.3 and 1: draws do not tell a k above
0.77 from one of 1, for which there is no log p(x).

L(S/2) is the mean over all halves of the S draws, without drawing a half. The largest weights count one by one, each in
a half with probability 1/2; the others count by their mean and variance. For such a sum X, E log X is the integral of
(e^-t - E e^-tX) / t, and E e^-tX is a product.

References: Nowozin (2018), Debiasing evidence approximations, for the jackknife (a = 1); Vehtari et al. (2024),
arXiv:1507.02646, for k-hat.
"""

import math

import torch
from torch import Tensor

from pyrovae.inference.pair.tails import Tail
from pyrovae.inference.pair.weights import WeightSums

__all__ = ["bias_of", "half_loss", "mean_bias"]

SLOWEST = 0.3
"""The smallest exponent a: the bias is then 4.3 times L(S) - L(S/2)."""

LARGEST = 16
"""How many weights count one by one."""

FIRST, LAST = -10, 36
"""The integral over t goes from 2^-10 to 2^36, by a factor of two from node to node."""

PART = 500  # data points at once: bounds the memory of the nodes


def half_loss(weights: WeightSums, tail: Tail) -> Tensor:
    """L(S) - L(S/2) of each data point, `(B,)`.

    Args:
        weights: the sums of the S weights.
        tail: the largest of them.
    """
    share = (tail.largest[:LARGEST] - weights.log_sum).exp()  # w / sum w, (R, B)
    rest = (1 - share.sum(0)).clamp_min(0) / (weights.num_samples - len(share))  # the mean of the others
    excess = share - rest
    squares = (weights.logs[1] - 2 * weights.log_sum).exp() - 1 / weights.num_samples  # about the mean of all
    variance = (squares - excess.square().sum(0)).clamp_min(0)
    columns = (excess.T, weights.num_samples * rest, variance)
    return torch.cat([_half_loss(*part) for part in zip(*(one.split(PART) for one in columns), strict=True)])


def _half_loss(excess: Tensor, base: Tensor, variance: Tensor) -> Tensor:
    """-E log X with X = base + 2 sum_r I_r excess_r + noise, where I_r is 0 or 1 with equal probability, so E X = 1."""
    t = 2 ** torch.arange(FIRST, LAST + 1, dtype=excess.dtype, device=excess.device).unsqueeze(-1)  # (T, 1)
    transform = (-t * base).exp() * (0.5 + 0.5 * (-2 * t.unsqueeze(-1) * excess).exp()).prod(-1)  # E e^-tX, (T, B)
    mean_log = ((-t).exp() - transform).sum(0)
    inverse_square = (t.square() * transform).sum(0)  # E 1/X^2
    return math.log(2) * (variance / 2 * inverse_square - mean_log)


def bias_of(weights: WeightSums, tail: Tail, khat: Tensor) -> dict[str, Tensor]:
    """The bias of the log-evidence of each data point, which is negative, and its error, `(B,)` each.

    The error is sqrt(b^2 + d^2): the noise of the bias b is taken to be as large as b, and d is what b would change by
    under the law of weights with a variance, a = 1.

    Args:
        weights: the sums of the S weights.
        tail: the largest of them.
        khat: k-hat of the tail.
    """
    loss = half_loss(weights, tail).clamp_min(0)
    exponent = (1 / khat.clamp_min(0.5) - 1).clamp(SLOWEST, 1)
    bias = loss / (2**exponent - 1)
    return {"log_evidence_bias": -bias, "log_evidence_bias_error": torch.hypot(bias, bias - loss)}


def mean_bias(bias: Tensor, error: Tensor) -> tuple[float, float]:
    """The mean of the bias over the data, and its error.

    The noise of the data points is independent. What depends on the exponent is off in one direction for all of them.

    Args:
        bias, error: those of each data point, from `bias_of`.
    """
    noise = bias.square().sum().sqrt().item() / len(bias)
    shared = (error.square() - bias.square()).clamp_min(0).sqrt().mean().item()
    return bias.mean().item(), math.hypot(noise, shared)

"""The downward bias of log 1/S sum_s w_s, estimated from the same S draws.

By Jensen's inequality, the log of a mean of weights is below log E[w] = log p(x) on average. Let L(m) be the mean of
the log of a mean of m weights. Where log p(x) - L(m) falls as m^-a, what more draws gained tells what is left to gain:

    log p(x) - L(S) = (L(S) - L(p S)) / (p^-a - 1).

Weights with a variance have a = 1. A Pareto tail of index k > 1/2 has a = 1/k - 1, because the bias is then due to rare
weights that no draw met. Here k is k-hat of the data point, and a is between 0.2 and 1: k-hat above 0.83 is taken for
0.83, since log p(x) is finite, which a k of 1 denies. The fraction p is 1/16, or more where that is below 20 draws.

L(p S) is the mean over all sets of p S of the draws, without drawing a set. The largest weights count one by one, each
in the set with probability p; the others count by their mean and variance. For such a sum X, E log X is the integral of
(e^-t - E e^-tX) / t, and E e^-tX is a product.

References: Nowozin (2018), Debiasing evidence approximations, for the jackknife (a = 1); Vehtari et al. (2024),
arXiv:1507.02646, for k-hat.
"""

import math

import torch
from torch import Tensor

from pyrovae.inference.pair.tails import Tail
from pyrovae.inference.pair.weights import WeightSums

__all__ = ["bias_of", "loss_of_fewer", "mean_bias"]

SLOWEST = 0.2
"""The smallest exponent a."""

FEWEST, HALVINGS = 20, 4
"""The draws of a set, at least, and how often S is halved for it, at most."""

LARGEST = 16
"""How many weights count one by one."""

FIRST, LAST = -10, 36
"""The integral over t goes from 2^-10 to 2^36, by a factor of two from node to node."""

PART = 500  # data points at once: bounds the memory of the nodes


def loss_of_fewer(weights: WeightSums, tail: Tail, halvings: int) -> Tensor:
    """L(S) - L(p S) of each data point with p = 2^-halvings, `(B,)`.

    Args:
        weights: the sums of the S weights.
        tail: the largest of them.
        halvings: how often S is halved.
    """
    share = (tail.largest[:LARGEST] - weights.log_sum).exp()  # w / sum w, (R, B)
    rest = (1 - share.sum(0)).clamp_min(0) / (weights.num_samples - len(share))  # the mean of the others
    excess = share - rest
    squares = (weights.logs[1] - 2 * weights.log_sum).exp() - 1 / weights.num_samples  # about the mean of all
    variance = (squares - excess.square().sum(0)).clamp_min(0)
    base = weights.num_samples * rest
    parts = zip(excess.T.split(PART), base.split(PART), variance.split(PART), strict=True)
    return torch.cat([-_mean_log(*part, 0.5**halvings) for part in parts])


def _mean_log(excess: Tensor, base: Tensor, variance: Tensor, p: float) -> Tensor:
    """E log X of X = base + sum_r I_r excess_r / p + noise, where I_r is 1 with probability p, so E X = 1."""
    t = 2 ** torch.arange(FIRST, LAST + 1, dtype=excess.dtype, device=excess.device).unsqueeze(-1)  # (T, 1)
    gone = (-t.unsqueeze(-1) * excess / p).exp()  # (T, B, R)
    transform = (-t * base).exp() * (1 - p + p * gone).prod(-1)  # E e^-tX without the noise, (T, B)
    mean_log = ((-t).exp() - transform).sum(0)
    inverse_square = (t.square() * transform).sum(0)  # E 1/X^2
    return math.log(2) * (mean_log - variance * (1 - p) / p / 2 * inverse_square)


def bias_of(weights: WeightSums, tail: Tail, khat: Tensor) -> dict[str, Tensor]:
    """The bias of the log-evidence of each data point, which is negative, and its error, `(B,)` each.

    The error is sqrt(b^2 + d^2): the noise of the bias b is taken to be as large as b, and d is what b would change by
    under the law of weights with a variance, a = 1.

    Args:
        weights: the sums of the S weights.
        tail: the largest of them.
        khat: k-hat of the tail.
    """
    halvings = min(max(int(math.log2(weights.num_samples / FEWEST)), 1), HALVINGS)
    loss = loss_of_fewer(weights, tail, halvings).clamp_min(0)
    exponent = (1 / khat.clamp_min(0.5) - 1).clamp(SLOWEST, 1)
    bias = loss / (2 ** (halvings * exponent) - 1)
    return {
        "log_evidence_bias": -bias,
        "log_evidence_bias_error": torch.hypot(bias, bias - loss / (2**halvings - 1)),
    }


def mean_bias(bias: Tensor, error: Tensor) -> tuple[float, float]:
    """The mean of the bias over the data, and its error.

    The noise of the data points is independent. What depends on the exponent is off in one direction for all of them.

    Args:
        bias, error: those of each data point, from `bias_of`.
    """
    noise = bias.square().sum().sqrt().item() / len(bias)
    shared = (error.square() - bias.square()).clamp_min(0).sqrt().mean().item()
    return bias.mean().item(), math.hypot(noise, shared)

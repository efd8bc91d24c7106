"""The multinomial likelihood of bags of words: how often each word comes in a document."""

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrovae.checks import check_count
from pyrovae.errors import SupportError
from pyrovae.models.likelihoods.likelihood import Likelihood, require_integers
from pyrovae.networks.shape import LARGEST
from pyrovae.numeric import wide

__all__ = ["Multinomial", "orders"]


class Multinomial(Likelihood):
    """p(x | z, n) = n! prod_w p_w^x_w / x_w!, with n = sum_w x_w and p = softmax(l): counts x of V words.

    The decoder emits the logits l, `(*, V)`. The number of words of a document, n, is given and not modelled: a scored
    document brings its own, and a drawn one has `total` words.

    Args:
        words: the number of different words, V.
        total: the number of words n of a document that is drawn.

    Raises:
        SettingError: `words` or `total` is no count.
        SupportError: in `check`, x is no count.
    """

    def __init__(self, words: int, total: int = 100) -> None:
        super().__init__(check_count("words", words, most=LARGEST))
        self.total = self.settings["total"] = check_count("total", total, write=100)

    def forward(self, params: Tensor) -> TorchDistribution:
        return _Multinomial(params, self.total)

    def start(self, x: Tensor) -> Tensor:
        counts = wide(self.rows(x)).sum(0) + 0.5
        return (counts / counts.sum()).log().to(torch.get_default_dtype())

    def check(self, x: Tensor) -> None:
        instead = "Pass the counts of words, neither scaled nor as weights such as tf-idf."
        require_integers(x, math.inf, "likelihood Multinomial requires x in {0, 1, 2, ...}", instead)
        if not x.isfinite().all():
            raise SupportError(
                "likelihood Multinomial requires finite counts, got infinity at site 'x'. Drop those rows."
            )


class _Multinomial(TorchDistribution):
    """n! prod_w p_w^x_w / x_w! with p = softmax(logits); n is the sum of what is scored, and `total` in a draw.

    Pyro's has one total for all documents, and computes the probabilities of every logit once more.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"logits": constraints.real_vector}
    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(self, logits: Tensor, total: int, validate_args: bool | None = None) -> None:
        self.logits, self.total = logits, total
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Multinomial":
        logits = self.logits.expand(*batch_shape, *self.event_shape)
        return _Multinomial(logits, self.total, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.total * self.logits.softmax(-1)

    @property
    def variance(self) -> Tensor:
        return self.mean * (1 - self.logits.softmax(-1))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            probs = self.logits.softmax(-1).expand(shape).reshape(-1, shape[-1])
            words = torch.multinomial(probs, self.total, replacement=True)
            return torch.zeros_like(probs).scatter_add(1, words, torch.ones_like(words, dtype=probs.dtype)).view(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return orders(value).to(self.logits.dtype) + (value * self.logits.log_softmax(-1)).sum(-1)


def orders(x: Tensor) -> Tensor:
    """log(n! / prod_w x_w!): the logarithm of the number of orders that the words of a document can have, `(*,)`.

    Args:
        x: counts `(*, V)`.
    """
    # The factorials of words are many and small: summed in float64, single ones may have the precision of x.
    each = wide((x + 1).lgamma()).sum(-1)
    return (wide(x).sum(-1) + 1).lgamma() - each

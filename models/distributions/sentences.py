"""Sentences: sequences of tokens, each drawn given the tokens before it, until the end-of-sentence token."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from pyrovae.data.tokens import BOS, EOS, PAD, lengths, longest

__all__ = ["Sentences", "State", "unroll"]

State = tuple[Tensor, ...]
"""The state of a decoder between two tokens: tensors whose leading dimension is the sentence."""

AT_ONCE = 2**24
"""The most numbers that a decoder emits in one call; sentences beyond that are scored in further calls."""


class Sentences(TorchDistribution):
    """p(x | z) = prod_t p(x_t | x_<t, z) over sentences padded to T tokens: batch shape `(*,)`, event shape `(T,)`.

    Padding after EOS has probability one, so it adds nothing; a sentence of T tokens may lack EOS. The probabilities
    of all sentences of at most T tokens sum to one.

    Args:
        decoder: a module with the methods of `models.LSTMDecoder`, `decoder(tokens, z)`, `start` and `step`, and its
            attribute `numbers`.
        z: codes `(*, D)`.
        length: T.
        validate_args: whether torch checks the arguments; None for its default.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.independent(constraints.nonnegative_integer, 1)
    has_rsample = False

    def __init__(self, decoder: Any, z: Tensor, length: int, validate_args: bool | None = None) -> None:
        self.decoder, self.z = decoder, z
        super().__init__(z.shape[:-1], torch.Size((length,)), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Sentences":
        z = self.z.expand(*batch_shape, self.z.shape[-1])
        return Sentences(self.decoder, z, self.event_shape[0], validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x | z) of sentences `value`, `(*,)`, in nats. Similar lengths are scored together, to save padding."""
        lead = torch.broadcast_shapes(self.batch_shape, value.shape[:-1])
        z, x = (part.expand(*lead, -1).reshape(lead.numel(), part.shape[-1]) for part in (self.z, value))
        rows = max(1, AT_ONCE // (x.shape[-1] * self.decoder.numbers))
        order = lengths(x).argsort(descending=True, stable=True)
        scores = torch.cat([self._score(z[part], x[part]) for part in order.split(rows)])
        return scores[order.argsort()].reshape(lead)

    def _score(self, z: Tensor, x: Tensor) -> Tensor:
        x = x[:, : longest(x)]
        before = torch.cat([torch.full_like(x[:, :1], BOS), x[:, :-1]], 1)
        logits = self.decoder(before, z).flatten(0, 1)
        costs = cross_entropy(logits, x.flatten() - EOS, ignore_index=PAD - EOS, reduction="none")
        return -costs.reshape(x.shape).sum(1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self._written(sample_shape, lambda logits: dist.Categorical(logits=logits).sample())

    @property
    def mean(self) -> Tensor:
        """The most probable token at each step given those before, in place of a mean, which sentences lack."""
        return self._written((), lambda logits: logits.argmax(-1))

    @torch.no_grad()
    def _written(self, sample_shape: Any, choose: Callable[[Tensor], Tensor]) -> Tensor:
        z = self.z.expand(*sample_shape, *self.z.shape)
        rows = z.reshape(z.shape[:-1].numel(), z.shape[-1])
        return unroll(self.decoder, rows, self.event_shape[0], choose).reshape(*z.shape[:-1], -1)


def unroll(decoder: Any, z: Tensor, length: int, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Write N sentences token by token, int64 `(N, T)`, until all have ended.

    Args:
        decoder: a module with the methods of `models.LSTMDecoder`.
        z: codes `(N, D)`.
        length: T, the most tokens of a sentence.
        choose: a map from logits `(N, V - 2)` of EOS, UNK and the words to the index chosen in each row, `(N,)`.
    """
    token, state = torch.full(z.shape[:1], BOS, device=z.device), decoder.start(z)
    written: list[Tensor] = []
    while len(written) < length and not (written and (token <= EOS).all()):
        logits, state = decoder.step(token, state)
        ended = (token == EOS) | (token == PAD)
        token = (choose(logits) + EOS).masked_fill(ended, PAD)
        written.append(token)
    return pad(torch.stack(written, 1), (0, length - len(written)), value=PAD)

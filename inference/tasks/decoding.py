"""Sentences from codes: greedily, at random, or by beam search; all codes are decoded together."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import pad

from pyrovae.checks import check_count, check_fraction, check_positive, check_tensor
from pyrovae.data.tokens import BOS, EOS, PAD, UNK
from pyrovae.errors import PairError
from pyrovae.inference.pair.running import evaluating, seeded
from pyrovae.models.distributions.sentences import unroll
from pyrovae.models.text import Autoregressive

__all__ = ["decode_beam", "decode_greedy", "decode_sampled"]


def decode_greedy(model: Any, z: Tensor, *, unknown: bool = False) -> Tensor:
    """x_t = argmax p(x_t | x_<t, z): the most probable word at each step, `(*, D) -> (*, T)`.

    Args:
        model: a `TextVAE`, or any program whose `likelihood` is `Autoregressive`.
        z: codes, such as `encode(model, guide, data)["z"]` or draws of the prior.
        unknown: whether UNK may be written.

    Raises:
        DataError, ShapeError: the codes are no finite numbers `(*, D)`.
        PairError: a model without such a likelihood.
    """
    return _write(model, z, unknown, lambda logits: logits.argmax(-1))


def decode_sampled(
    model: Any, z: Tensor, *, temperature: float = 1.0, top_p: float = 1.0, unknown: bool = False, seed: int = 0
) -> Tensor:
    """x_t ~ p(x_t | x_<t, z)^(1 / temperature), restricted to the most probable words: `(*, D) -> (*, T)`.

    Args:
        model, z, unknown: as in `decode_greedy`.
        temperature: below 1 it makes probable words more probable.
        top_p: keep the fewest words whose probabilities sum to top_p; 1 keeps all.
        seed: the seed of the draws; the global random state is left alone.

    Raises:
        DataError, ShapeError: the codes are no finite numbers `(*, D)`.
        PairError: a model without such a likelihood.
        SettingError: a temperature that is not positive; top_p outside (0, 1].

    References: Holtzman et al. (2020), arXiv:1904.09751, for top_p.
    """
    temperature = check_positive("temperature", temperature, write=1.0)
    top_p = check_positive("top_p", check_fraction("top_p", top_p, write=1.0), write=1.0)
    with seeded(seed, _codes(z).device):
        return _write(model, z, unknown, lambda logits: _draw(logits / temperature, top_p))


def _draw(logits: Tensor, top_p: float) -> Tensor:
    """A word for each row of logits `(N, W)`, among the fewest words whose probabilities sum to `top_p`."""
    probs, order = logits.softmax(-1).sort(-1, descending=True)
    probs = probs.masked_fill(probs.cumsum(-1) - probs >= top_p, 0.0)
    return order.gather(-1, dist.Categorical(probs).sample().unsqueeze(-1)).squeeze(-1)


def decode_beam(model: Any, z: Tensor, *, num_beams: int = 5, unknown: bool = False) -> Tensor:
    """An approximation of argmax p(x | z), by beam search: `(*, D) -> (*, T)`.

    Args:
        model, z, unknown: as in `decode_greedy`.
        num_beams: the number of most probable beginnings that are kept at each step; 1 is greedy.

    Raises:
        DataError, ShapeError: the codes are no finite numbers `(*, D)`.
        PairError: a model without such a likelihood.
        SettingError: num_beams below 1.
    """
    num_beams = check_count("num_beams", num_beams, write=5)
    likelihood, z = _likelihood(model), _codes(z)
    with evaluating(model):
        x = _search(likelihood, z.reshape(-1, z.shape[-1]), num_beams, unknown)
    return x.reshape(*z.shape[:-1], -1)


def _search(likelihood: Autoregressive, z: Tensor, num_beams: int, unknown: bool) -> Tensor:
    """The best sentence of each code, `(N, D) -> (N, T)`; the beams of a code are consecutive rows, N x num_beams."""
    decoder, first = likelihood.decoder, torch.arange(len(z), device=z.device).unsqueeze(1) * num_beams
    state = decoder.start(z.repeat_interleave(num_beams, 0))
    token = torch.full((len(z) * num_beams,), BOS, device=z.device)
    written = token.new_empty(len(token), 0)
    score = torch.full((len(z), num_beams), -torch.inf, device=z.device)
    score[:, 0] = 0.0  # all beams are equal at the start
    while written.shape[1] < likelihood.length and not ((token == EOS) | (token == PAD)).all():
        logits, state = decoder.step(token, state)
        ended = (token == EOS) | (token == PAD)
        scores = _allowed(logits, unknown).log_softmax(-1)
        only = torch.full_like(scores[0], -torch.inf).index_fill(0, torch.zeros_like(token[:1]), 0.0)
        scores = torch.where(ended.unsqueeze(1), only, scores)  # an ended sentence has one continuation
        total = score.unsqueeze(-1) + scores.unflatten(0, (len(z), num_beams))
        score, best = total.flatten(1).topk(num_beams)
        rows = (first + best // logits.shape[-1]).flatten()
        token = (best.flatten() % logits.shape[-1] + EOS).masked_fill(ended[rows], PAD)
        state = tuple(part[rows] for part in state)
        written = torch.cat([written[rows], token.unsqueeze(1)], 1)
    return pad(written[::num_beams], (0, likelihood.length - written.shape[1]), value=PAD)


def _write(model: Any, z: Tensor, unknown: bool, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """A sentence for each code, word by word as `choose` picks from the logits."""
    likelihood, z = _likelihood(model), _codes(z)
    with evaluating(model):
        codes = z.reshape(-1, z.shape[-1])
        x = unroll(likelihood.decoder, codes, likelihood.length, lambda logits: choose(_allowed(logits, unknown)))
    return x.reshape(*z.shape[:-1], -1)


def _allowed(logits: Tensor, unknown: bool) -> Tensor:
    """The logits, with that of UNK at minus infinity unless it may be written."""
    return logits if unknown else logits.index_fill(-1, torch.tensor([UNK - EOS], device=logits.device), -torch.inf)


def _codes(z: Tensor) -> Tensor:
    return check_tensor("z", z, "(*, D)", least_dims=1, finite=True)


def _likelihood(model: Any) -> Autoregressive:
    likelihood = getattr(model, "likelihood", None)
    if not isinstance(likelihood, Autoregressive):
        raise PairError(
            f"sentences require a model whose likelihood is Autoregressive, {type(model).__name__} has "
            f"{type(likelihood).__name__}. Write TextVAE(prior, Autoregressive(decoder, length))."
        )
    return likelihood

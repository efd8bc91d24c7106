"""Sentences: p(x, z) = p(z) prod_t p(x_t | x_<t, z), by an LSTM or a causal transformer."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from pyrovae.errors import ShapeError, SupportError
from pyrovae.models.program import Program, plate_size
from pyrovae.tokens import BOS, EOS, PAD, UNK, lengths

__all__ = ["Autoregressive", "LSTMDecoder", "LanguageModel", "Sentences", "TextVAE", "TransformerDecoder", "unroll"]

State = tuple[Tensor, ...]  # each with the sentence as leading dimension

AT_ONCE = 2**24
"""Numbers that a decoder emits at a time: of more sentences, some are scored after the others."""


class TextVAE(Program):
    """p(x, z) = p(z) prod_t p(x_t | x_<t, z), x a sentence of at most T tokens, as `pyrovae.tokens` has them.

    Args:
        prior: `prior() -> p(z)`.
        likelihood: `Autoregressive(decoder, T)`.

    Call it with a batch `x` of shape `(B, T)`, of any T, to score, or with `size` to generate.

    References: Bowman et al. (2016), arXiv:1511.06349.
    """

    def __init__(self, prior: nn.Module, likelihood: "Autoregressive") -> None:
        super().__init__()
        self.prior, self.likelihood = prior, likelihood

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", plate_size(x, size), dim=-1):
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            return pyro.sample("x", self.likelihood(z, x), obs=x)  # x_t ~ p(x_t | x_<t, z)


class LanguageModel(Program):
    """p(x) = prod_t p(x_t | x_<t): no latent, so the evidence is exact, and the guide has no site.

    Args:
        likelihood: `Autoregressive(decoder, T)` with a decoder of `latent=0`.
    """

    def __init__(self, likelihood: "Autoregressive") -> None:
        super().__init__()
        self.likelihood = likelihood

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        count = plate_size(x, size)
        nothing = self.likelihood.decoder.head.weight.new_empty(count, 0)
        with pyro.plate("data", count, dim=-1):
            return pyro.sample("x", self.likelihood(nothing, x), obs=x)  # x_t ~ p(x_t | x_<t)


class Autoregressive(nn.Module):
    """The likelihood p(x | z) = prod_t p(x_t | x_<t, z).

    Args:
        decoder: `LSTMDecoder`, `TransformerDecoder`, or another module of their three methods.
        length: T of what is generated; what is scored may have any.

    Raises:
        SupportError: in `check`, x that is no sentence.
    """

    def __init__(self, decoder: "LSTMDecoder | TransformerDecoder", length: int) -> None:
        super().__init__()
        self.decoder, self.length = decoder, length

    def forward(self, z: Tensor, x: Tensor | None = None) -> "Sentences":
        """p(x | z), event shape `(T,)`, of the width of `x` where there is one."""
        return Sentences(self.decoder, z, self.length if x is None else x.shape[-1])

    def check(self, x: Tensor) -> None:
        """Raise SupportError where `x` is not words, then EOS, then PAD; at the full width, EOS may be cut off."""
        words = self.decoder.words
        if x.is_floating_point() or x.min() < 0 or x.max() >= words or (x == BOS).any():
            raise SupportError(
                f"a sentence has int64 tokens {EOS}, ..., {words - 1} and {PAD} for padding, got {x.dtype} from "
                f"{x.min().item()} to {x.max().item()} at site 'x'. Write Vocabulary.encode(sentences)."
            )
        lengths(x)
        ended = (x == EOS) | (x == PAD)
        broken = ((x[..., 1:] == PAD) != ended[..., :-1]).any(-1)
        if broken.any():
            raise SupportError(
                f"a sentence is words, then one EOS = {EOS}, then PAD = {PAD}, and nothing after; at site 'x' "
                f"{int(broken.sum())} are not, the first is {x[broken][0].tolist()[:20]}. Write "
                "Vocabulary.encode(sentences)."
            )

    def extra_repr(self) -> str:
        return f"length={self.length}"


class Sentences(TorchDistribution):
    """p(x | z) = prod_t p(x_t | x_<t, z) over sentences of the width T: batch shape `(*,)`, event shape `(T,)`.

    Padding has probability one after EOS, so it adds nothing; a sentence of T tokens may lack EOS. The sum over all
    sentences of the width T is one.
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
        """`(*,)`, in nats; sentences of about the same length are scored together, the padding cut off."""
        lead = torch.broadcast_shapes(self.batch_shape, value.shape[:-1])
        z, x = (part.expand(*lead, -1).reshape(lead.numel(), part.shape[-1]) for part in (self.z, value))
        rows = max(1, AT_ONCE // (x.shape[-1] * self.decoder.numbers))
        order = lengths(x).argsort(descending=True, stable=True)
        scores = torch.cat([self._score(z[part], x[part]) for part in order.split(rows)])
        return scores[order.argsort()].reshape(lead)

    def _score(self, z: Tensor, x: Tensor) -> Tensor:
        x = x[:, : int(lengths(x).max())]
        before = torch.cat([torch.full_like(x[:, :1], BOS), x[:, :-1]], 1)
        logits = self.decoder(before, z).flatten(0, 1)
        costs = cross_entropy(logits, x.flatten() - EOS, ignore_index=PAD - EOS, reduction="none")
        return -costs.reshape(x.shape).sum(1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return self._written(sample_shape, lambda logits: dist.Categorical(logits=logits).sample())

    @property
    def mean(self) -> Tensor:
        """What stands for a mean, which sentences have none of: the most probable word at each step."""
        return self._written((), lambda logits: logits.argmax(-1))

    @torch.no_grad()
    def _written(self, sample_shape: Any, choose: Callable[[Tensor], Tensor]) -> Tensor:
        z = self.z.expand(*sample_shape, *self.z.shape)
        rows = z.reshape(z.shape[:-1].numel(), z.shape[-1])
        return unroll(self.decoder, rows, self.event_shape[0], choose).reshape(*z.shape[:-1], -1)


def unroll(decoder: Any, z: Tensor, length: int, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """Write sentences word by word, `(N, T)`: `choose` takes logits `(N, V - 2)` of EOS, UNK, the words, to `(N,)`."""
    token, state = torch.full(z.shape[:1], BOS, device=z.device), decoder.start(z)
    written: list[Tensor] = []
    while len(written) < length and not (written and (token <= EOS).all()):
        logits, state = decoder.step(token, state)
        ended = (token == EOS) | (token == PAD)
        token = (choose(logits) + EOS).masked_fill(ended, PAD)
        written.append(token)
    return pad(torch.stack(written, 1), (0, length - len(written)), value=PAD)


class WordDropout(nn.Module):
    """In training, words are replaced by UNK with probability `p`, so that the rest must come from z."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.training or not self.p:
            return tokens
        dropped = (torch.rand(tokens.shape, device=tokens.device) < self.p) & (tokens != BOS)
        return tokens.masked_fill(dropped, UNK)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LSTMDecoder(nn.Module):
    """p(x_t | x_<t, z) by an LSTM that reads the word before and z at every step.

    PAD and BOS are never predicted: the logits are those of EOS, UNK and the words.

    Args:
        vocabulary: V, the number of tokens.
        latent: D; with 0 it is a language model.
        embedding, hidden: widths.
        dropout: of the embeddings and of the states.
        word_dropout: of the words before.
    """

    def __init__(
        self,
        vocabulary: int,
        latent: int,
        embedding: int = 64,
        hidden: int = 128,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.words, self.numbers = vocabulary, vocabulary + 8 * hidden
        self.drop_words = WordDropout(word_dropout)
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embedding + latent, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary - EOS)

    def forward(self, tokens: Tensor, z: Tensor) -> Tensor:
        """Logits of the token after each of `tokens`: `(N, T)` and `(N, D)` to `(N, T, V - 2)`."""
        return self._run(self.drop_words(tokens), z, None)[0]

    def start(self, z: Tensor) -> State:
        """The state before the first token: z, and the LSTM's, `(N, H)` each."""
        zero = z.new_zeros(len(z), self.lstm.hidden_size)
        return z, zero, zero

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits of the token after `token`, `(N,)` to `(N, V - 2)`, and the next state."""
        z, *past = state
        logits, now = self._run(token.unsqueeze(1), z, (past[0].unsqueeze(0), past[1].unsqueeze(0)))
        return logits.squeeze(1), (z, now[0].squeeze(0), now[1].squeeze(0))

    def _run(self, tokens: Tensor, z: Tensor, past: Any) -> tuple[Tensor, Any]:
        words = self.dropout(self.embedding(tokens))
        codes = z.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        states, now = self.lstm(torch.cat([words, codes], -1), past)
        return self.head(self.dropout(states)), now


class TransformerDecoder(nn.Module):
    """p(x_t | x_<t, z) by a causal transformer, z added at every position.

    Args:
        vocabulary, latent, word_dropout: as of `LSTMDecoder`.
        length: of the longest sentence, EOS among it.
        width, heads, layers: of the transformer; its hidden layers are four times as wide.
        dropout: of the transformer.

    Raises:
        ShapeError: a longer sentence.

    References: Vaswani et al. (2017), arXiv:1706.03762.
    """

    def __init__(
        self,
        vocabulary: int,
        latent: int,
        length: int,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.words, self.numbers = vocabulary, vocabulary + 12 * width * layers
        self.drop_words = WordDropout(word_dropout)
        self.embedding, self.position = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.code = nn.Linear(latent, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary - EOS)

    def forward(self, tokens: Tensor, z: Tensor) -> Tensor:
        """Logits of the token after each of `tokens`: `(N, T)` and `(N, D)` to `(N, T, V - 2)`."""
        count = tokens.shape[1]
        if count > self.position.num_embeddings:
            raise ShapeError(
                f"a sentence of {count} tokens, and the transformer was built for {self.position.num_embeddings}. "
                f"Write TransformerDecoder(..., length={count})."
            )
        places = torch.arange(count, device=tokens.device)
        words = self.embedding(self.drop_words(tokens)) + self.position(places) + self.code(z).unsqueeze(1)
        mask = nn.Transformer.generate_square_subsequent_mask(count, device=words.device, dtype=words.dtype)
        return self.head(self.blocks(words, mask, is_causal=True))

    def start(self, z: Tensor) -> State:
        """The state before the first token: z, and no token."""
        return z, torch.empty(len(z), 0, dtype=torch.int64, device=z.device)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits of the token after `token`, `(N,)` to `(N, V - 2)`, and the next state."""
        z, past = state
        tokens = torch.cat([past, token.unsqueeze(1)], 1)
        return self(tokens, z)[:, -1], (z, tokens)

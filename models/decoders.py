"""Decoders."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.data.tokens import BOS, EOS, UNK
from pyrovae.errors import ShapeError
from pyrovae.models.distributions.sentences import State

__all__ = ["LSTMDecoder", "TransformerDecoder", "WordDropout"]


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

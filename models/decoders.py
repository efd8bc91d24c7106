"""Decoders of sentences: networks that emit the logits of the next token given the tokens before and a code."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count, check_fraction
from pyrovae.data.tokens import BOS, EOS, UNK
from pyrovae.errors import ShapeError
from pyrovae.models.distributions.sentences import State
from pyrovae.recorded import Recorded

__all__ = ["LSTMDecoder", "TransformerDecoder", "WordDropout"]


class WordDropout(Recorded, nn.Module):
    """In training, replaces each token but BOS by UNK with probability p, which makes the decoder rely on z.

    Args:
        p: the probability.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, tokens: Tensor) -> Tensor:
        """The tokens, in training with some of them replaced by UNK."""
        if not self.training or not self.p:
            return tokens
        dropped = (torch.rand(tokens.shape, device=tokens.device) < self.p) & (tokens != BOS)
        return tokens.masked_fill(dropped, UNK)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LSTMDecoder(Recorded, nn.Module):
    """p(x_t | x_<t, z) by an LSTM whose input at every step is the token before and z.

    PAD and BOS are never predicted: the logits are those of EOS, UNK and the words. `numbers`, about how many numbers
    one token takes, tells `Sentences` how many sentences fit into one call.

    Args:
        vocabulary: the number of tokens, V.
        latent: the dimension of z, D; 0 for a language model.
        embedding: width of the embeddings of tokens.
        hidden: width of the LSTM's states.
        dropout: the probability with which an entry of an embedding or a state is set to 0 in training.
        word_dropout: the probability with which an input token is replaced by UNK in training.
        teacher_forcing: the probability with which an input in training is the true token before; otherwise it is the
            decoder's own most probable one. Below 1 the decoder runs token by token, and the loss of training bounds no
            log p(x) of the decoder that is evaluated: in evaluation mode all inputs are true tokens.

    Raises:
        SettingError: `teacher_forcing` outside [0, 1].

    References: Bengio et al. (2015), Scheduled sampling, arXiv:1506.03099, for `teacher_forcing`; Huszár (2015),
    arXiv:1511.05101, for what its optimum lacks.
    """

    def __init__(
        self,
        vocabulary: int,
        latent: int,
        embedding: int = 64,
        hidden: int = 128,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        teacher_forcing: float = 1.0,
    ) -> None:
        super().__init__()
        self.teacher_forcing = check_fraction("teacher_forcing", teacher_forcing, write=1.0)
        self.words, self.numbers = vocabulary, vocabulary + 8 * hidden
        self.drop_words = WordDropout(word_dropout)
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embedding + latent, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary - EOS)

    def forward(self, tokens: Tensor, z: Tensor) -> Tensor:
        """The logits of the token after each of `tokens`: from `(N, T)` and z `(N, D)` to `(N, T, V - 2)`."""
        words = self.drop_words(tokens)
        return self._mixed(words, z) if self.training and self.teacher_forcing < 1 else self._run(words, z, None)[0]

    def _mixed(self, tokens: Tensor, z: Tensor) -> Tensor:
        """The logits where some of the inputs are the decoder's own predictions, and the others are true tokens."""
        true = torch.rand(tokens.shape, device=tokens.device) < self.teacher_forcing
        token, state, found = tokens[:, 0], self.start(z), []
        for place in range(1, tokens.shape[1] + 1):
            logits, state = self.step(token, state)
            found.append(logits)
            if place < tokens.shape[1]:
                token = torch.where(true[:, place], tokens[:, place], logits.argmax(-1) + EOS)
        return torch.stack(found, 1)

    def start(self, z: Tensor) -> State:
        """The state before the first token: z `(N, D)`, and the LSTM's two states `(N, H)`."""
        zero = z.new_zeros(len(z), self.lstm.hidden_size)
        return z, zero, zero

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits of the next token, `(N, V - 2)`, and the next state, from `token` `(N,)` and `state`."""
        z, *past = state
        logits, now = self._run(token.unsqueeze(1), z, (past[0].unsqueeze(0), past[1].unsqueeze(0)))
        return logits.squeeze(1), (z, now[0].squeeze(0), now[1].squeeze(0))

    def _run(self, tokens: Tensor, z: Tensor, past: Any) -> tuple[Tensor, Any]:
        words = self.dropout(self.embedding(tokens))
        codes = z.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        states, now = self.lstm(torch.cat([words, codes], -1), past)
        return self.head(self.dropout(states)), now

    def extra_repr(self) -> str:
        return f"teacher_forcing={self.teacher_forcing}" if self.teacher_forcing < 1 else ""


class TransformerDecoder(Recorded, nn.Module):
    """p(x_t | x_<t, z) by a causal transformer, with a linear map of z added at every position.

    Args:
        vocabulary: the number of tokens, V.
        latent: the dimension of z, D.
        length: the number of tokens of the longest sentence, EOS included.
        width: width of the transformer; its feed-forward layers are four times as wide.
        heads: the number of attention heads.
        layers: the number of layers.
        dropout: the dropout probability of the transformer.
        word_dropout: the probability with which an input token is replaced by UNK in training.

    Raises:
        SettingError: `layers` is no count.
        ShapeError: in a call, a sentence is longer than `length`.

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
        layers = check_count("layers", layers, most=1000)
        self.words, self.numbers = vocabulary, vocabulary + 12 * width * layers
        self.drop_words = WordDropout(word_dropout)
        self.embedding, self.position = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.code = nn.Linear(latent, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary - EOS)

    def forward(self, tokens: Tensor, z: Tensor) -> Tensor:
        """The logits of the token after each of `tokens`: from `(N, T)` and z `(N, D)` to `(N, T, V - 2)`."""
        count = tokens.shape[1]
        if count > self.position.num_embeddings:
            raise ShapeError(
                f"TransformerDecoder requires sentences of at most {self.position.num_embeddings} tokens, got "
                f"{count} tokens. Write TransformerDecoder(..., length={count})."
            )
        places = torch.arange(count, device=tokens.device)
        words = self.embedding(self.drop_words(tokens)) + self.position(places) + self.code(z).unsqueeze(1)
        mask = nn.Transformer.generate_square_subsequent_mask(count, device=words.device, dtype=words.dtype)
        return self.head(self.blocks(words, mask, is_causal=True))

    def start(self, z: Tensor) -> State:
        """The state before the first token: z `(N, D)`, and no tokens, int64 `(N, 0)`."""
        return z, torch.empty(len(z), 0, dtype=torch.int64, device=z.device)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits of the next token, `(N, V - 2)`, and the next state, from `token` `(N,)` and `state`."""
        z, past = state
        tokens = torch.cat([past, token.unsqueeze(1)], 1)
        return self(tokens, z)[:, -1], (z, tokens)

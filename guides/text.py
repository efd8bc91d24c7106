"""The encoder of sentences, for guides such as `NormalGuide(SentenceEncoder(len(vocabulary), 2 * D))`."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from pyrovae.data.tokens import lengths, longest
from pyrovae.networks.recurrent import reverse
from pyrovae.numeric import has_values
from pyrovae.recorded import Recorded

__all__ = ["SentenceEncoder"]


class SentenceEncoder(Recorded, nn.Module):
    """A bidirectional LSTM over packed sentences, and a linear layer on its last states: `(*, T) -> (*, outputs)`.

    The last state of the forward direction is at the last token, that of the backward direction at the first one. So
    the output for a sentence depends neither on its padding nor on the other sentences. T may be any number.

    Args:
        vocabulary: the number of tokens, V.
        outputs: the number of parameters of the posterior, such as `2 * D` for `NormalGuide`.
        embedding: width of the embeddings of tokens.
        hidden: width of the states of each direction.
        dropout: the probability with which an entry of an embedding is set to 0 in training.

    Raises:
        SupportError: in a call, a sentence consists of padding alone.
    """

    def __init__(
        self, vocabulary: int, outputs: int, embedding: int = 64, hidden: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        words = self.dropout(self.embedding(flat[:, : longest(flat)]))
        counts = lengths(flat)
        last = self._packed(words, counts) if has_values(x) else self._padded(words, counts)
        return self.head(last).reshape(*x.shape[:-1], -1)

    def _packed(self, words: Tensor, counts: Tensor) -> Tensor:
        """The last states of both directions: `(N, T, E) -> (N, 2 H)`."""
        packed = pack_padded_sequence(words, counts.cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return torch.cat([*last], -1)

    def _padded(self, words: Tensor, counts: Tensor) -> Tensor:
        """The same in fixed shapes, so that it can be compiled: each direction runs over the padding too."""
        within = torch.arange(words.shape[1], device=words.device) < counts.unsqueeze(-1)
        last = (counts - 1).view(-1, 1, 1).expand(-1, 1, self.lstm.hidden_size)
        zero = words.new_zeros(1, len(words), self.lstm.hidden_size)
        weights: list[list[Tensor]] = [list(one) for one in self.lstm.all_weights]
        found = [
            torch.lstm(part, (zero, zero), weights[i], True, 1, 0.0, self.training, False, True)[0].gather(1, last)
            for i, part in enumerate((words, reverse(words, within)))
        ]
        return torch.cat(found, -1).squeeze(1)

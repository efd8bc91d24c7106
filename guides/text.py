"""What a guide reads sentences with: `NormalGuide(SentenceEncoder(len(vocabulary), 2 * latent))`."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from pyrovae.data.tokens import lengths

__all__ = ["SentenceEncoder"]


class SentenceEncoder(nn.Module):
    """A bidirectional LSTM over packed sentences, and a linear layer on its last states: `(*, T) -> (*, outputs)`.

    The last states are those at the last word read, forwards at the end of the sentence and backwards at its begin, so
    the output does not depend on the padding, or on the sentences beside it. Any T will do.

    Args:
        vocabulary: V, the number of tokens.
        outputs: how many numbers the family of posteriors wants, `2 * latent` for `NormalGuide`.
        embedding, hidden: widths, the second that of each direction.
        dropout: of the embeddings.

    Raises:
        SupportError: a sentence of padding alone.
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
        counts = lengths(flat)
        words = self.dropout(self.embedding(flat[:, : int(counts.max())]))
        packed = pack_padded_sequence(words, counts.cpu(), batch_first=True, enforce_sorted=False)
        _, (last, _) = self.lstm(packed)
        return self.head(torch.cat([*last], -1)).reshape(*x.shape[:-1], -1)

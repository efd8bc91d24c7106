"""Sentences as tensors: int64 `(*, T)`, the words, then EOS, then PAD up to the width T. The mask is in the tensor."""

from torch import Tensor

from pyrovae.errors import SupportError

__all__ = ["BOS", "EOS", "PAD", "SPECIAL", "UNK", "lengths"]

PAD, BOS, EOS, UNK = range(4)
"""Padding, begin and end of a sentence, and a word that the vocabulary lacks; the words are numbered from 4."""

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


def lengths(x: Tensor) -> Tensor:
    """The number of tokens of each sentence, EOS among them: `(*, T) -> (*,)`.

    Raises:
        SupportError: a sentence of padding alone.
    """
    counts = (x != PAD).sum(-1)
    if (counts == 0).any():
        raise SupportError(
            f"a sentence ends with EOS = {EOS}, an empty one is EOS alone; got {int((counts == 0).sum())} of padding "
            "alone. Write Vocabulary.encode([sentence, ...])."
        )
    return counts

"""Sentences as tensors: int64 `(*, T)`, the numbers of the tokens, then EOS, then PAD up to the width T.

The padding marks where a sentence ends, so no mask goes beside the tensor.
"""

from torch import Tensor

from pyrovae.checks import check_tensor
from pyrovae.errors import SupportError
from pyrovae.numeric import has_values

__all__ = ["BOS", "EOS", "PAD", "SPECIAL", "UNK", "lengths", "longest"]

PAD, BOS, EOS, UNK = range(4)
"""Padding, begin of a sentence, end of a sentence, and a token that the vocabulary lacks. Other tokens count from 4."""

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
"""How the four are written, in the order of their numbers."""


def lengths(x: Tensor) -> Tensor:
    """The number of tokens of each sentence, EOS included: `(*, T) -> (*,)`.

    Args:
        x: sentences, int64 `(*, T)`.

    Raises:
        SupportError: a sentence consists of padding alone.
    """
    x = check_tensor("x", x, "(*, T), int64", least_dims=1)
    counts = (x != PAD).sum(-1)
    if has_values(counts) and (counts == 0).any():
        raise SupportError(
            f"A sentence requires EOS = {EOS} at its end (an empty sentence is EOS alone), got "
            f"{int((counts == 0).sum())} of padding alone. Write Vocabulary.encode([sentence, ...])."
        )
    return counts


def longest(x: Tensor) -> int:
    """The number of tokens of the longest sentence; in a step that is being captured, the width that it is given.

    Args:
        x: sentences, int64 `(*, T)`.
    """
    return int(lengths(x).max()) if has_values(x) else x.shape[-1]

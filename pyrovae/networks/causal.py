"""A causal transformer over codes: the logits of each code, given the codes before it."""

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count, check_fraction
from pyrovae.errors import SettingError, ShapeError
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["CausalTransformer"]


class CausalTransformer(Recorded, nn.Module):
    """Logits of c_i given c_1, ..., c_(i-1), for all i in one call: int64 `(*, n) -> (*, n, K)`, with n up to `length`.

    The input at place i is the code before it, a learned start at the first place, plus a learned vector of the place.

    Args:
        size: the number of codes, K.
        length: the largest number of places.
        width: width of the transformer, a multiple of `heads`; its feed-forward layers are four times as wide.
        heads: the number of attention heads.
        layers: the number of layers.
        dropout: the dropout probability of the transformer.

    Raises:
        SettingError: a number without a meaning, or a width that is no multiple of `heads`.
        ShapeError: in a call, there are more places than `length`.

    References: Vaswani et al. (2017), arXiv:1706.03762.
    """

    def __init__(
        self, size: int, length: int, width: int = 128, heads: int = 4, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.size, self.length = check_count("size", size, most=LARGEST), check_count("length", length, most=LARGEST)
        width, heads = check_count("width", width, most=LARGEST), check_count("heads", heads)
        layers, dropout = check_count("layers", layers, most=1000), check_fraction("dropout", dropout, write=0.1)
        if width % heads:
            raise SettingError(
                f"CausalTransformer requires a width that is a multiple of heads={heads}, got width={width}. Write "
                f"width={heads * -(-width // heads)}."
            )
        self.embedding = nn.Embedding(self.size + 1, width)  # the last one is the start
        self.place = nn.Embedding(self.length, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, self.size)

    def forward(self, codes: Tensor) -> Tensor:
        *lead, count = codes.shape
        if count > self.length:
            raise ShapeError(
                f"CausalTransformer requires at most {self.length} codes, got {count}. Write "
                f"CausalTransformer({self.size}, {count})."
            )
        rows = codes.reshape(-1, count)
        before = torch.cat([rows.new_full((len(rows), 1), self.size), rows[:, :-1]], 1)
        states = self.embedding(before) + self.place.weight[:count]
        mask = nn.Transformer.generate_square_subsequent_mask(count, device=states.device, dtype=states.dtype)
        return self.head(self.blocks(states, mask, is_causal=True)).reshape(*lead, count, self.size)

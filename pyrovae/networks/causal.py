"""A causal transformer over codes: the logits of each code, given the codes before it."""

import torch
from torch import Tensor, nn

from pyrovae.checks import check_count, check_fraction
from pyrovae.errors import SettingError, ShapeError
from pyrovae.networks.codebooks import Codebook, Levels
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["CausalTransformer"]


class CausalTransformer(Recorded, nn.Module):
    """Logits of c_i given c_1, ..., c_(i-1), for all i in one call: int64 `(*, n) -> (*, n, K)`, with n up to `length`.

    The input at place i is that of the code before it: a linear map of its vector, which differs from place to place,
    and an embedding of the code. The logit of code k is the product of the state with features of its vector, and a
    bias of code and place. So what is learned of one code serves the codes whose vectors are near.

    Args:
        codebook: the vectors of the K codes; they get no gradient. The prior owns it, this network does not.
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
        self,
        codebook: Codebook | Levels,
        length: int,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.length, width = check_count("length", length, most=LARGEST), check_count("width", width, most=LARGEST)
        heads, layers = check_count("heads", heads), check_count("layers", layers, most=1000)
        dropout = check_fraction("dropout", dropout, write=0.1)
        if width % heads:
            raise SettingError(
                f"CausalTransformer requires a width that is a multiple of heads={heads}, got width={width}. Write "
                f"width={heads * -(-width // heads)}."
            )
        self._codebook = (codebook,)  # the tuple keeps what the prior owns from being registered a second time
        size, dim = codebook.size, codebook.dim
        self.embedding = nn.Parameter(0.1 * torch.randn(size + 1, width))  # the last one is the start
        self.place = nn.Parameter(torch.randn(self.length, width))
        self.read = nn.Parameter(torch.randn(self.length, dim, width) / dim**0.5)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.features = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width))
        self.write = nn.Parameter(torch.randn(self.length, width, width) / width)
        self.bias = nn.Parameter(torch.zeros(self.length, size))

    def forward(self, codes: Tensor) -> Tensor:
        *lead, count = codes.shape
        if count > self.length:
            raise ShapeError(
                f"CausalTransformer requires at most {self.length} codes, got {count}. Write "
                f"CausalTransformer(codebook, {count})."
            )
        vectors = self._vectors()
        states = self._inputs(codes.reshape(-1, count), vectors)
        mask = nn.Transformer.generate_square_subsequent_mask(count, device=states.device, dtype=states.dtype)
        states = self.blocks(states, mask, is_causal=True)
        states = torch.einsum("bnv,nvw->bnw", states, self.write[:count])
        logits = states @ self.features(vectors).T + self.bias[:count]
        return logits.reshape(*lead, count, -1)

    def _inputs(self, rows: Tensor, vectors: Tensor) -> Tensor:
        """What the transformer sees at each place: the code before it, `(B, n) -> (B, n, W)`."""
        before, count = rows[:, :-1], rows.shape[1]
        read = torch.einsum("bnd,ndw->bnw", vectors[before], self.read[1:count]) + self.embedding[before]
        start = self.embedding[-1].expand(len(rows), 1, -1)
        return torch.cat([start, read], 1) + self.place[:count]

    def _vectors(self) -> Tensor:
        """The vectors of the codes, centred and of scale 1, `(K, D)`."""
        vectors = self._codebook[0].vectors.detach()
        return (vectors - vectors.mean(0)) / vectors.std().clamp_min(1e-6)

    def extra_repr(self) -> str:
        return f"{self._codebook[0]!r}, length={self.length}"

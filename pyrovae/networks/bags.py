"""Networks of bags of words: a dense encoder of counts, and batch normalisation to unit variance."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from pyrovae.checks import check_count, check_counts, check_equally_many, check_fraction, check_positive
from pyrovae.networks.shape import LARGEST, leading
from pyrovae.recorded import Recorded

__all__ = ["BagEncoder", "UnitBatchNorm"]


class UnitBatchNorm(Recorded, nn.Module):
    """h'_w = spread_w (h_w - mean_w) / sd_w + b_w: batch normalisation without a learned gain.

    No unit can fall silent: over a batch each keeps its spread.

    In training, mean and standard deviation are those of the batch, over all leading dimensions; in evaluation mode
    they are moving averages of those seen in training. So in training the density of a data point depends on the whole
    batch, and its ELBO bounds nothing. All tools score in evaluation mode, where the network is a fixed map and
    log p(x) is well defined. A single row has no deviation, and is normalised by the averages.

    Args:
        width: the number of units.
        spread: the standard deviation of each unit over a batch, one number for all, or one for each.
        momentum: the weight of a batch in the moving averages.

    Raises:
        SettingError: `width` is no count, or `momentum` no number from 0 to 1.

    References: Ioffe & Szegedy (2015), arXiv:1502.03167; Srivastava & Sutton (2017), arXiv:1703.01488, section 3.
    """

    running_mean: Tensor
    running_var: Tensor

    spread: Tensor

    def __init__(self, width: int, spread: float | Sequence[float] = 1.0, momentum: float = 0.1) -> None:
        super().__init__()
        self.width = check_count("width", width, most=LARGEST)
        self.momentum = check_fraction("momentum", momentum)
        several = list(spread) if isinstance(spread, Sequence) else [spread] * width
        check_equally_many("spread", several, width, "units")
        values = [check_positive("spread", one, write=1.0) for one in several]
        self.register_buffer("spread", torch.tensor(values), persistent=False)
        self.shift = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, h: Tensor) -> Tensor:
        lead = leading(h, (self.width,), "UnitBatchNorm")
        rows = h.reshape(-1, self.width)
        training = self.training and len(rows) > 1
        normal = batch_norm(rows, self.running_mean, self.running_var, self.spread, None, training, self.momentum)
        return normal.reshape(*lead, self.width) + self.shift

    def averaged(self, h: Tensor) -> Tensor:
        """The map of evaluation mode, in either mode: `h` `(*, D)` normalised by the averages of training."""
        rows = h.reshape(-1, self.width)
        normal = batch_norm(rows, self.running_mean, self.running_var, self.spread, None, False)
        return normal.reshape(h.shape) + self.shift

    def extra_repr(self) -> str:
        return f"{self.width}, momentum={self.momentum:g}"


class BagEncoder(Recorded, nn.Module):
    """A dense network of counts, `(*, V) -> (*, P)`: softplus layers of log(1 + x), dropout, a linear layer.

    Each output is normalised over the batch (`UnitBatchNorm`): then the codes differ between documents in every
    dimension from the first step on, and no topic is lost.

    Args:
        words: the number of different words, V.
        out: the number of outputs, P, such as 2 K for a `NormalGuide` of K topics.
        hidden: widths of the hidden layers.
        dropout: the dropout probability of the last hidden layer.
        normalise: whether each output is normalised.
        spread: the standard deviation over a batch of each normalised output: one number for all, or one for each.

    Raises:
        SettingError: a width that is no count, or `dropout` outside [0, 1].
        ShapeError: in a call, the last dimension of the input is not V.

    References: Srivastava & Sutton (2017), arXiv:1703.01488.
    """

    def __init__(
        self,
        words: int,
        out: int,
        hidden: Sequence[int] = (100, 100),
        dropout: float = 0.2,
        normalise: bool = True,
        spread: float | Sequence[float] = 1.0,
    ) -> None:
        super().__init__()
        self.words, out = check_count("words", words, most=LARGEST), check_count("out", out, most=LARGEST)
        widths = [self.words, *check_counts("hidden", hidden, fewest=0)]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.Linear(wide, narrow), nn.Softplus()]
        layers += [nn.Dropout(check_fraction("dropout", dropout)), nn.Linear(widths[-1], out)]
        self.layers = nn.Sequential(*layers, *([UnitBatchNorm(out, spread)] if normalise else []))

    def forward(self, x: Tensor) -> Tensor:
        leading(x, (self.words,), "BagEncoder")
        return self.layers(x.log1p())

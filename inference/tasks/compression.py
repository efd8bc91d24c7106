"""A pair as a lossy code: the rate that the latents cost against the distortion of what is decoded from them."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.tasks.representation import around
from pyrovae.numeric import wide

__all__ = ["QuantisedPCA", "RateDistortion", "rate_distortion"]


class RateDistortion(NamedTuple):
    """One point of a rate-distortion curve, means over the data.

    Attributes:
        rate: bits per dimension of the datum, `x.numel()` of them.
        mse: squared error per dimension.
    """

    rate: float
    mse: float

    def psnr(self, peak: float = 1.0) -> float:
        """10 log10(peak^2 / mse), in dB, for data from 0 to `peak`."""
        return 10 * math.log10(peak**2 / self.mse) if self.mse > 0 else math.inf


def rate_distortion(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, num_samples: int = 10, transform: Any = None, seed: int = 0
) -> RateDistortion:
    """The rate KL(q(z | x) || p(z)) / (dims log 2), and the squared error of E[x | z], z ~ q(z | x).

    The rate is what an ideal coder needs, and none is run: relative entropy coding sends a draw of q(z | x) in
    KL + O(log KL) bits to one who knows p(z). Bits-back coding pays the same for z, but gets there only where x itself
    follows without loss, in -E log p(x | z) more: discrete x in -ELBO. Pairs trained with different
    `ELBO(kl_weight=...)` make a curve.

    Args:
        data: named tensors of N data, scored at the site `x`.
        num_samples: draws per datum.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).

    Raises:
        PairError: no data, or no samples; p(x | z) has no mean.

    References: Alemi et al. (2018), arXiv:1711.00464, for the curve; Flamich et al. (2020), arXiv:2010.01185, for
    relative entropy coding; Townsend et al. (2019), arXiv:1901.04866, for bits-back coding.
    """
    options: dict[str, Any] = {"transform": transform, "seed": seed}
    measured = evaluate(model, guide, data, num_samples=num_samples, **options)
    drawn = around(model, guide, data, num_samples, **options)
    total = sum(wide(decoded - batch["x"]).square().mean(0).sum().item() for batch, decoded in drawn)
    size = batch_size(data) * measured.dims
    return RateDistortion(measured.rate.value / (measured.dims * math.log(2)), total / size)


class QuantisedPCA:
    """Transform coding, to be compared with: all principal components, each rounded to multiples of a step.

    Args:
        train: what components and frequencies are of, `(N, *event)`.

    Raises:
        ShapeError: no data.

    References: Goyal (2001), Theoretical foundations of transform coding.
    """

    def __init__(self, train: Tensor) -> None:
        if not len(train):
            raise ShapeError(f"QuantisedPCA wants data (N, *event), got {tuple(train.shape)}.")
        flat = wide(train.flatten(1))
        self.loc = flat.mean(0)
        self.axes = torch.linalg.eigh((flat - self.loc).T @ (flat - self.loc)).eigenvectors
        self.train = self._components(flat)

    def code(self, x: Tensor, step: float) -> tuple[RateDistortion, Tensor]:
        """The rate and distortion of data `(M, *event)` in multiples of a step, and what is decoded from these.

        The rate is that of an ideal entropy coder of each component's integers, by their frequencies in the training
        data, a half added to each count. Components that vary less than a step cost next to nothing, as in reverse
        water-filling.

        Raises:
            ShapeError: data of another shape, or none.
            PairError: a step that is not above 0.
        """
        if not len(x) or x[0].numel() != len(self.loc):
            raise ShapeError(f"this QuantisedPCA codes data of {len(self.loc)} numbers, got {tuple(x.shape)}.")
        if step <= 0:
            raise PairError(f"a step of quantisation is above 0, got {step}.")
        known, sent = (self.train / step).round(), (self._components(wide(x.flatten(1))) / step).round()
        low, high = torch.minimum(known.amin(0), sent.amin(0)), torch.maximum(known.amax(0), sent.amax(0))
        counts = known.new_zeros(int((high - low).max()) + 1, known.shape[1])
        counts.scatter_add_(0, (known - low).long(), torch.ones_like(known))
        probability = (counts + 0.5) / (len(known) + 0.5 * (high - low + 1))
        bits = -probability.gather(0, (sent - low).long()).log2().mean().item()
        decoded = (self.loc + step * sent @ self.axes.T).reshape(x.shape).to(x)
        return RateDistortion(bits, wide(decoded - x).square().mean().item()), decoded

    def _components(self, flat: Tensor) -> Tensor:
        return (flat - self.loc) @ self.axes

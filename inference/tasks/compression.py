"""A pair as a lossy code: the rate of the latents against the distortion of the data decoded from them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.checks import check_positive, check_tensor
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import DataError, ShapeError
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import Transform
from pyrovae.inference.tasks.augmentation import around
from pyrovae.numeric import wide

__all__ = ["QuantisedPCA", "RateDistortion", "rate_distortion"]


@dataclass(frozen=True, repr=False)
class RateDistortion(Shown):
    """One point of a rate-distortion curve: means over the data.

    Attributes:
        rate: bits per dimension; a data point has `x[0].numel()` dimensions.
        mse: the squared error per dimension.
    """

    rate: float
    mse: float

    def psnr(self, peak: float = 1.0) -> float:
        """10 log10(peak^2 / mse), in dB.

        Args:
            peak: the range of the data, which go from 0 to `peak`.
        """
        return 10 * math.log10(peak**2 / self.mse) if self.mse > 0 else math.inf

    def cells(self) -> Cells:
        return Cells(
            [("rate", f"{self.rate:.4f} bits per dimension"), ("mse", f"{self.mse:.4g} per dimension")], words=(0, 1)
        )


def rate_distortion(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 10,
    transform: Transform | None = None,
    seed: int = 0,
    progress: bool = False,
) -> RateDistortion:
    """The rate KL(q(z | x) || p(z)) / (dims log 2), and the squared error of E[x | z], z ~ q(z | x).

    The rate is that of an ideal coder; no coder is run. Relative entropy coding sends a draw of q(z | x) in
    KL + O(log KL) bits to a receiver that knows p(z). Bits-back coding reaches the same rate for z only where x is sent
    too, without loss: it then takes -ELBO in all, and x must be discrete. Pairs trained with different
    `ELBO(kl_weight=...)` make a curve.

    Args:
        model, guide: the pair.
        data: named tensors of N data points; the distortion is measured at the site `x`.
        num_samples: the number of draws per data point.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of the draws; the global random state is left alone.
        progress: show a bar.

    Raises:
        DataError: data without a tensor `x`.
        PairError: no data; p(x | z) has no mean.
        SettingError: num_samples below 1.

    References: Alemi et al. (2018), arXiv:1711.00464, for the curve; Flamich et al. (2020), arXiv:2010.01185, for
    relative entropy coding; Townsend et al. (2019), arXiv:1901.04866, for bits-back coding.
    """
    data = entered("rate_distortion", data, transform, model, guide)
    if "x" not in data:
        raise DataError(
            f"rate_distortion requires a tensor named 'x', got {', '.join(map(repr, data))}. Write {{\"x\": x}}."
        )
    measured = evaluate(model, guide, data, num_samples=num_samples, transform=transform, seed=seed, progress=progress)
    total = 0.0
    with progress_bar(progress, batch_size(data), "data point") as bar:
        for batch, decoded in around(model, guide, data, num_samples, transform=transform, seed=seed):
            total += wide(decoded - batch["x"]).square().mean(0).sum().item()
            bar.update(batch_size(batch))
    size = batch_size(data) * measured.dims
    return RateDistortion(measured.rate.value / (measured.dims * math.log(2)), total / size)


class QuantisedPCA:
    """Transform coding as a baseline: all principal components, each rounded to multiples of a step.

    Args:
        train: data `(N, *event)`, from which the components and the frequencies of their integers are computed.

    Raises:
        DataError: NaN or infinities among the data.
        ShapeError: no data.

    References: Goyal (2001), Theoretical foundations of transform coding.
    """

    def __init__(self, train: Tensor) -> None:
        train = check_tensor("train", train, "(N, *event)", least_dims=2, rows=1, finite=True)
        flat = wide(train.flatten(1))
        self.loc = flat.mean(0)
        self.axes = torch.linalg.eigh((flat - self.loc).T @ (flat - self.loc)).eigenvectors
        self.train = self._components(flat)

    def code(self, x: Tensor, step: float) -> tuple[RateDistortion, Tensor]:
        """Code data at one step: the rate and the distortion, and the decoded data, of the shape of `x`.

        The rate is that of an ideal entropy coder of each component's integers. Their probabilities are the frequencies
        in the training data, with 1/2 added to each count. A component that varies less than a step costs almost
        nothing, as in reverse water-filling.

        Args:
            x: data `(M, *event)`.
            step: the distance between neighbouring values of a coded component, in the unit of the data.

        Raises:
            ShapeError: no data, or data of another shape.
            SettingError: step is no number above 0.
        """
        x = check_tensor("x", x, "(M, *event)", least_dims=2, finite=True)
        if not len(x) or x[0].numel() != len(self.loc):
            raise ShapeError(
                f"QuantisedPCA requires data (M, *event) of {len(self.loc)} numbers each, M > 0, got {tuple(x.shape)}."
            )
        step = check_positive("step", step, write=0.1)
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

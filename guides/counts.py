"""Guides of counts that are the parts of a total: q(z | x, s) of log(1 + x), and of the total where it is a latent."""

import pyro
import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.guides.semi_supervised import label_given
from pyrovae.models.program import Program
from pyrovae.numeric import bounded_scale

__all__ = ["CountGuide", "SemiSupervisedCountGuide"]


class CountGuide(Program):
    """q(z | x, s) q(l | x, s), of log(1 + x): the guide of a `CountVAE`.

    q(l | x, s) = LogNormal(l; log(sum_i x_i) + loc(x, s), scale(x, s)), where the model has a prior of the total and
    the data have no `total`; otherwise the total is no latent.

    Args:
        guide: the guide of z, such as `NormalGuide(NormedMLP([genes], 2 * D))`; where the data have batches, an encoder
            of two inputs, such as `NormedMLP([genes, batches], 2 * D)`.
        total: a network of the same inputs to loc and raw scale, `(*, 2)`; None where the total is no latent.

    Call it with counts `x` of shape `(B, G)`, `batch`, int64 `(B,)`, and `total` as the model.

    References: Lopez et al. (2018), Deep generative modeling for single-cell transcriptomics, Nature Methods 15.
    """

    def __init__(self, guide: AmortizedGuide, total: nn.Module | None = None) -> None:
        super().__init__()
        self.guide, self.total_encoder = guide, total

    def forward(self, x: Tensor, batch: Tensor | None = None, total: Tensor | None = None) -> Tensor:
        inputs = (x.log1p(),) if batch is None else (x.log1p(), batch)
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.guide.given(*inputs))  # z ~ q(z | x, s)
            if self.total_encoder is not None and total is None:
                pyro.sample("total", total_given(x, self.total_encoder(*inputs)))  # l ~ q(l | x, s)
            return z


class SemiSupervisedCountGuide(Program):
    """q(z | x, s) q(y | z) q(u | z, y) q(l | x, s): the guide of a `SemiSupervisedCountVAE`.

    Where the label is known, q(y | z) is a point mass at it, as in `SemiSupervisedGuide`: the ELBO is the bound of
    log p(x, y) for a data point with a known label, of log p(x) for one without.

    Args:
        classifier: a network `(*, D) -> (*, K)` of the code z, the logits of q(y | z).
        guide: the guide of z, as for `CountGuide`.
        style: a guide of u whose encoder takes z and y, such as `NormalGuide(NormedMLP([D, K], 2 * D))`.
        total: a network for the total, as for `CountGuide`.

    Call it with `y`, int64 `(B,)`, -1 where the label is unknown; without `y`, all labels are inferred.

    References: Xu et al. (2021), Probabilistic harmonization and annotation of single-cell transcriptomics data with
    deep generative models, Molecular Systems Biology 17.
    """

    def __init__(
        self, classifier: nn.Module, guide: AmortizedGuide, style: AmortizedGuide, total: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.classifier, self.guide, self.style, self.total_encoder = classifier, guide, style, total

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        batch: Tensor | None = None,
        total: Tensor | None = None,
    ) -> Tensor:
        inputs = (x.log1p(),) if batch is None else (x.log1p(), batch)
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.guide.given(*inputs))  # z ~ q(z | x, s)
            y = pyro.sample("y", label_given(self.classifier(z), y))  # y ~ q(y | z)
            pyro.sample("u", self.style.given(z, y))  # u ~ q(u | z, y)
            if self.total_encoder is not None and total is None:
                pyro.sample("total", total_given(x, self.total_encoder(*inputs)))  # l ~ q(l | x, s)
            return z


def total_given(x: Tensor, params: Tensor) -> TorchDistribution:
    """LogNormal(l; log(sum_i x_i) + loc, scale), whose scale is bounded away from 0 and infinity.

    Args:
        x: counts `(B, G)`.
        params: loc and raw scale, `(*, 2)`.
    """
    loc, raw_scale = params.unbind(-1)
    return dist.LogNormal(x.sum(-1).log() + loc, bounded_scale(raw_scale))

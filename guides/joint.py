"""A guide of a discrete and a continuous latent: q(c, z | x) = q(c | x) q(z | x, c)."""

import pyro
import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.models.program import Program

__all__ = ["JointGuide"]


class JointGuide(Program):
    """q(c | x) q(z | x, c), with a one-hot latent c of K.

    The objective chooses the gradient of c: `inference.Enumerated` sums over c, `inference.Relaxed` relaxes its draws,
    `inference.ScoreFunction` weighs them.

    Args:
        classifier: a network `(*, *event) -> (*, K)`, the logits of q(c | x).
        guide: a guide of z whose encoder takes x and c, such as `NormalGuide(JointMLP([x_shape, K], 2 * D))`.

    References: Kingma et al. (2014), arXiv:1406.5298; Dilokthanakul et al. (2016), arXiv:1611.02648.
    """

    def __init__(self, classifier: nn.Module, guide: AmortizedGuide) -> None:
        super().__init__()
        self.classifier, self.guide = classifier, guide

    def component(self, x: Tensor) -> TorchDistribution:
        """q(c | x) over one-hot vectors, batch shape `(*,)`, event shape `(K,)`."""
        return dist.OneHotCategorical(logits=self.classifier(x))

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", self.component(x))  # c ~ q(c | x)
            return pyro.sample("z", self.guide.given(x, c))  # z ~ q(z | x, c)

"""A guide of a discrete and a continuous latent: q(c, z | x) = q(c | x) q(z | x, c)."""

import pyro
import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_choice
from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.models.program import Program

__all__ = ["JointGuide"]


class JointGuide(Program):
    """q(c | x) q(z | x, c), or q(c | x) q(z | x), with a one-hot latent c of K.

    The objective chooses the gradient of c: `inference.Enumerated` sums over c, `inference.Relaxed` relaxes its draws,
    `inference.ScoreFunction` weighs them.

    Args:
        classifier: a network `(*, *event) -> (*, K)`, the logits of q(c | x).
        guide: a guide of z whose encoder takes x and c, such as `NormalGuide(JointMLP([x_shape, K], 2 * D))`.
        factorised: whether z is independent of c given x, so that the encoder takes x alone. Where p(x | z) does not
            depend on c either, summing over c then costs no more than one draw.

    Raises:
        SettingError: `factorised` is no flag.

    References: Kingma et al. (2014), arXiv:1406.5298; Dilokthanakul et al. (2016), arXiv:1611.02648.
    """

    def __init__(self, classifier: nn.Module, guide: AmortizedGuide, *, factorised: bool = False) -> None:
        super().__init__()
        self.classifier, self.guide = classifier, guide
        self.factorised = check_choice("factorised", factorised, (False, True))

    def component(self, x: Tensor) -> TorchDistribution:
        """q(c | x) over one-hot vectors, batch shape `(*,)`, event shape `(K,)`."""
        return dist.OneHotCategorical(logits=self.classifier(x))

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c", self.component(x))  # c ~ q(c | x)
            given = (x,) if self.factorised else (x, c)
            return pyro.sample("z", self.guide.given(*given))  # z ~ q(z | x, c)

    def extra_repr(self) -> str:
        return f"factorised={self.factorised}"

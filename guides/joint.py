"""Guides of a discrete and a continuous latent together: q(c | x) q(z | x, c), or q(c | x) q(z | x)."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.checks import check_choice
from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.models.program import Program
from pyrovae.recorded import Recorded

__all__ = ["JointGuide", "Responsibilities"]


class JointGuide(Program):
    """q(c | x) q(z | x, c), or if factorised q(c | x) q(z | x), with a one-hot latent c of K.

    The objective chooses the gradient of c: `inference.Enumerated` sums over c, `inference.Relaxed` relaxes its draws,
    `inference.ScoreFunction` weighs them.

    Args:
        classifier: a network `(*, *event) -> (*, K)`, the logits of q(c | x); if factorised, a network
            `(*, D) -> (*, K)` that takes the mean of q(z | x), such as an `MLP` or `Responsibilities`.
        guide: a guide of z whose encoder takes x and c, such as `NormalGuide(JointMLP([x_shape, K], 2 * D))`; if
            factorised, x alone.
        factorised: whether z is independent of c given x. Where p(x | z) does not depend on c either, the sum over c
            then costs no more than one draw.

    Raises:
        SettingError: `factorised` is no flag.

    References: Kingma et al. (2014), arXiv:1406.5298; Dilokthanakul et al. (2016), arXiv:1611.02648; Jiang et al.
    (2017), arXiv:1611.05148 (VaDE), for the factorised form.
    """

    def __init__(self, classifier: nn.Module, guide: AmortizedGuide, *, factorised: bool = False) -> None:
        super().__init__()
        self.classifier, self.guide = classifier, guide
        self.factorised = check_choice("factorised", factorised, (False, True))

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            if self.factorised:
                q = self.guide.given(x)
                pyro.sample("c", dist.OneHotCategorical(logits=self.classifier(q.mean)))  # c ~ q(c | x)
                return pyro.sample("z", q)  # z ~ q(z | x)
            c = pyro.sample("c", dist.OneHotCategorical(logits=self.classifier(x)))  # c ~ q(c | x)
            return pyro.sample("z", self.guide.given(x, c))  # z ~ q(z | x, c)

    def extra_repr(self) -> str:
        return f"factorised={self.factorised}"


class Responsibilities(Recorded, nn.Module):
    """log p(c) + log p(z | c) for each of K components, `(*, D) -> (*, K)`: the logits of p(c | z) under a mixture.

    As the classifier of a factorised `JointGuide`, q(c | x) is p(c | z) at the mean of q(z | x). It has no parameters
    of its own: the model owns those of the mixture. Copy a pair in one call, `copy.deepcopy((model, guide))`, so that
    the copies belong together.

    Args:
        components: `components() -> p(c)` over one-hot vectors, the model's.
        prior: `prior(c) -> p(z | c)`, the model's.

    References: Jiang et al. (2017), arXiv:1611.05148, equation 16.
    """

    def __init__(self, components: nn.Module, prior: nn.Module) -> None:
        super().__init__()
        self.mixture = (components, prior)  # the tuple keeps the model's modules from becoming submodules

    def forward(self, z: Tensor) -> Tensor:
        components, prior = self.mixture
        p_c = components()
        corners = torch.eye(p_c.event_shape[0], dtype=z.dtype, device=z.device)
        return p_c.log_prob(corners) + prior(corners).log_prob(z.unsqueeze(-2))

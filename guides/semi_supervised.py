"""The guide of a semi-supervised model: q(y | x) q(z | x, y), for data with some labels known."""

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.models.program import Program
from pyrovae.networks.joint import one_hot

__all__ = ["SemiSupervisedGuide", "label_given"]

# The logit of the labels that a known label excludes. Their probability is exactly 0 in float32 and float64, and so is
# probability times logit, which would be NaN for a logit of minus infinity.
EXCLUDED = -1e3


class SemiSupervisedGuide(Program):
    """q(y | x) q(z | x, y); where the label is known, q(y | x) is a point mass at it.

    So the ELBO is the bound of M2: of log p(x, y) for a data point with a known label, of log p(x) for one without.
    `inference.Supervised` sums over y exactly, and trains the classifier with the known labels.

    Args:
        classifier: a network `(*, *event) -> (*, K)`, the logits of q(y | x).
        guide: a guide of z whose encoder takes x and y, such as `NormalGuide(JointMLP([x_shape, K], 2 * D))`.

    Call it with `y`, int64 `(B,)`, -1 where the label is unknown; without `y`, all labels are inferred.

    References: Kingma et al. (2014), arXiv:1406.5298.
    """

    def __init__(self, classifier: nn.Module, guide: AmortizedGuide) -> None:
        super().__init__()
        self.classifier, self.guide = classifier, guide

    def label(self, x: Tensor, y: Tensor | None = None) -> TorchDistribution:
        """q(y | x) with batch shape `(*,)`, or the point mass at `y` where y >= 0."""
        return label_given(self.classifier(x), y)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", self.label(x, y))  # y ~ q(y | x)
            return pyro.sample("z", self.guide.given(x, y))  # z ~ q(z | x, y)


def label_given(logits: Tensor, y: Tensor | None = None) -> TorchDistribution:
    """Categorical(y; softmax(logits)) with batch shape `(*,)`, or the point mass at `y` where y >= 0.

    Args:
        logits: `(*, K)`, those of a classifier.
        y: int64 labels `(*,)`, -1 where unknown; None where all are.
    """
    if y is None:
        return dist.Categorical(logits=logits)
    point = EXCLUDED * (1 - one_hot(y, logits.shape[-1], logits.dtype))
    return dist.Categorical(logits=torch.where((y >= 0).unsqueeze(-1), point, logits))

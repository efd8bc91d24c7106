"""The prior of a discrete latent: a one-hot vector of K."""

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_choice, check_count
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["OneHot"]


class OneHot(Recorded, nn.Module):
    """p(c) = prod_k w_k^(c_k) over the one-hot vectors c of K entries.

    Args:
        components: K, at least 1.
        learned: whether the weights w are learned; otherwise each is 1 / K.

    Raises:
        SettingError: fewer than one component, or `learned` is no flag.
    """

    logits: Tensor

    def __init__(self, components: int, *, learned: bool = False) -> None:
        super().__init__()
        zeros = torch.zeros(check_count("components", components, most=LARGEST))
        if check_choice("learned", learned, (False, True)):
            self.logits = nn.Parameter(zeros)
        else:
            self.register_buffer("logits", zeros, persistent=False)

    def forward(self) -> TorchDistribution:
        return dist.OneHotCategorical(logits=self.logits)

    def extra_repr(self) -> str:
        return f"{len(self.logits)}, learned={isinstance(self.logits, nn.Parameter)}"

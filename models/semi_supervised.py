"""The semi-supervised variational autoencoder, M2: p(x, y, z) = p(y) p(z) p(x | y, z)."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size

__all__ = ["SemiSupervisedVAE"]


class SemiSupervisedVAE(Program):
    """p(x, y, z) = p(y) p(z) p(x | decoder(z, y)), where the label y is a latent with a uniform prior.

    The guide knows which labels are given (`guides.SemiSupervisedGuide`), so the model takes no y: one program and one
    loss serve a batch of labelled and unlabelled data points. `decode(model, {"y": y})` generates with a label.

    Args:
        prior: `prior() -> p(z)`.
        likelihood: `likelihood(params) -> p(x | params)`.
        decoder: a network of two inputs, z `(*, D)` and y int64 `(*,)`, to `(*, *likelihood.params_shape)`, such as a
            `JointMLP`, which makes labels one-hot.
        classes: the number of labels, K.

    Call it with a batch `x` of shape `(B, *event)` to score, or with `size` to generate.

    References: Kingma et al. (2014), arXiv:1406.5298.
    """

    logits: Tensor

    def __init__(self, prior: nn.Module, likelihood: Likelihood, decoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.prior, self.likelihood, self.decoder = prior, likelihood, decoder
        self.register_buffer("logits", torch.zeros(classes), persistent=False)

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", plate_size(x, size), dim=-1):
            y = pyro.sample("y", dist.Categorical(logits=self.logits))  # y ~ p(y)
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            return pyro.sample("x", self.likelihood(self.decoder(z, y)), obs=x)  # x ~ p(x | y, z)

    def extra_repr(self) -> str:
        return f"classes={len(self.logits)}"

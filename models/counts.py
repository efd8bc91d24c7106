"""Counts that are the parts of a total: p(x, z | l, s) = p(z) p(x | z, l, s), as of the genes of a cell."""

from abc import abstractmethod

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.models.likelihoods import OverdispersedCounts
from pyrovae.models.program import Program, plate_size

__all__ = ["CountProgram", "CountVAE", "SemiSupervisedCountVAE"]


class CountProgram(Program):
    """The interface of a model of counts x `(B, G)` given a code z, a total l and a batch s.

    p(x, z, l | s) = p(z) p(l | s) p(x | l softmax(decoder(z, s)), s). Without a prior of the total, l is a tensor of
    the data that the model is conditioned on, and p(l | s) falls away.

    Args:
        likelihood: a likelihood of counts with `shares=True`.
        decoder: a network `(*, D) -> (*, *likelihood.params_shape)`, or one of two inputs, z and the batch, such as a
            `NormedMLP`, which makes batches one-hot.
        total: the prior of the total, `total() -> p(l)`, or `total(batch) -> p(l | s)` where the data have batches;
            None where the data have the totals.

    Raises:
        PairError: the likelihood has no shares; in a call, there is neither a total nor a prior of it.
    """

    def __init__(self, likelihood: OverdispersedCounts, decoder: nn.Module, total: nn.Module | None) -> None:
        super().__init__()
        name = type(self).__name__
        if not getattr(likelihood, "shares", False):
            raise PairError(
                f"{name} requires a likelihood with shares, got {likelihood}. Write "
                "likelihoods.NegativeBinomial(genes, shares=True)."
            )
        self.likelihood, self.decoder, self.total_prior = likelihood, decoder, total

    @abstractmethod
    def code(self) -> Tensor:
        """Draw z, with all that it depends on."""

    def forward(
        self,
        x: Tensor | None = None,
        batch: Tensor | None = None,
        total: Tensor | None = None,
        *,
        size: int | None = None,
    ) -> Tensor:
        """Score `x`, or generate; `batch` is int64 `(B,)`, `total` `(B,)` with values above 0, `size` is B."""
        given = next((tensor for tensor in (x, total, batch) if tensor is not None), None)
        with pyro.plate("data", plate_size(given, size), dim=-1):
            z = self.code()  # z ~ p(z)
            covariates = () if batch is None else (batch,)
            if self.total_prior is not None:
                total = pyro.sample("total", self.total_prior(*covariates), obs=total)  # l ~ p(l | s)
            # x ~ p(x | l softmax(decoder(z, s)), s)
            return pyro.sample("x", self.likelihood(self.decoder(z, *covariates), total, batch), obs=x)


class CountVAE(CountProgram):
    """p(x, z, l | s) = p(z) p(l | s) p(x | l softmax(decoder(z, s)), s): counts x that are the parts of a total l.

    The counts of the genes of a cell are such parts, s is the batch in which the cell was measured, and the code z is
    independent of it. The total is

    - given, `{"x": x, "total": x.sum(-1)}`, where the model has no prior of it. The evidence is then log p(x | l, s),
      and compares models of the same totals. l is itself the sum of x here, and the density does not know that: it is
      no probability of x alone, and not to be compared with that of a model that draws l;
    - a latent, where the model has a prior and the data have no `total`: a proper p(x | s);
    - observed and scored, where the model has a prior and the data have a `total`.

    Args:
        prior: `prior() -> p(z)`.
        likelihood: a likelihood of counts with `shares=True`: `NegativeBinomial` or `ZeroInflatedNegativeBinomial`.
        decoder: a network of z `(*, D)`, or of z and the batch, to `(*, *likelihood.params_shape)`.
        total: the prior of the total, such as `priors.LogNormalTotal(batches)`; None where the data have the totals.

    Call it with counts `x` of shape `(B, G)`, `total` `(B,)` and `batch`, int64 `(B,)`, to score; without `x` to
    generate.

    Raises:
        PairError: as for `CountProgram`.

    References: Lopez et al. (2018), Deep generative modeling for single-cell transcriptomics, Nature Methods 15.
    """

    def __init__(
        self,
        prior: nn.Module,
        likelihood: OverdispersedCounts,
        decoder: nn.Module,
        total: nn.Module | None = None,
    ) -> None:
        super().__init__(likelihood, decoder, total)
        self.prior = prior

    def code(self) -> Tensor:
        return pyro.sample("z", self.prior())


class SemiSupervisedCountVAE(CountProgram):
    """p(y) p(u) p(z | u, y) p(l | s) p(x | l softmax(decoder(z, s)), s): counts, and labels y of which few are known.

    The code z of a cell depends on its type y and on a second code u, which has what the type leaves open. The guide
    knows which labels are given (`guides.SemiSupervisedCountGuide`), so the model takes no y, as in
    `SemiSupervisedVAE`; the counts depend on z alone, so summing y out decodes once, not once for each type.

    Args:
        prior: `prior() -> p(u)`.
        conditional: `conditional(u, y) -> p(z | u, y)`, such as
            `ConditionalNormal(NormedMLP([D, K], 2 * D))`.
        likelihood: a likelihood of counts with `shares=True`.
        decoder: a network of z `(*, D)`, or of z and the batch, to `(*, *likelihood.params_shape)`.
        classes: the number of labels, K; p(y) is uniform.
        total: the prior of the total; None where the data have the totals.

    Call it as `CountVAE`.

    Raises:
        PairError: as for `CountProgram`.

    References: Xu et al. (2021), Probabilistic harmonization and annotation of single-cell transcriptomics data with
    deep generative models, Molecular Systems Biology 17.
    """

    logits: Tensor

    def __init__(
        self,
        prior: nn.Module,
        conditional: nn.Module,
        likelihood: OverdispersedCounts,
        decoder: nn.Module,
        classes: int,
        total: nn.Module | None = None,
    ) -> None:
        super().__init__(likelihood, decoder, total)
        self.prior, self.conditional = prior, conditional
        self.register_buffer("logits", torch.zeros(classes), persistent=False)

    def code(self) -> Tensor:
        y = pyro.sample("y", dist.Categorical(logits=self.logits))  # y ~ p(y)
        u = pyro.sample("u", self.prior())  # u ~ p(u)
        return pyro.sample("z", self.conditional(u, y))  # z ~ p(z | u, y)

    def extra_repr(self) -> str:
        return f"classes={len(self.logits)}"

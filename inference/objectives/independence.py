"""Objectives that make the dimensions of a code independent: FactorVAE, by a classifier, and DIP-VAE, by moments."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from pyrovae.checks import check_choice
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.objectives.objective import Objective
from pyrovae.inference.objectives.particles import Particles
from pyrovae.inference.objectives.requirements import one_factorised_latent
from pyrovae.inference.objectives.schedules import Schedule, at, check_weight
from pyrovae.inference.pair.divergence import factors
from pyrovae.inference.pair.scoring import Layout
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["DIPVAE", "FactorVAE"]


class FactorVAE(Objective):
    """The ELBO minus gamma * KL(q(z) || prod_d q(z_d)), the total correlation; q(z) is the mean of q(z | x).

    A classifier estimates it. It learns to tell the codes of a batch, draws from q(z), from codes whose dimensions are
    shuffled over the batch, draws from prod_d q(z_d). At its optimum its logit is log q(z) - sum_d log q(z_d), whose
    mean over the codes is the total correlation. Its parameters are part of this objective: the optimizer of the
    training trains them beside those of the pair, and a checkpoint holds them. The guide need not be a product over
    dimensions.

    BetaTCVAE(beta=b) weighs the total correlation by b, of which 1 is part of the ELBO: it compares with gamma = b - 1.

    Args:
        classifier: a network `(B, D) -> (B, 1)` or `(B,)`, such as `MLP(D, 1, [256, 256])`.
        gamma: weight of the total correlation, a number or a schedule.

    Raises:
        SettingError: a weight that is negative or not finite.
        PairError: no classifier with parameters; at the first run, more than one latent, or one whose events are no
            vectors.
        ShapeError: the classifier gives another number of logits than one for each code.

    References: Kim & Mnih (2018), arXiv:1802.05983.
    """

    def __init__(self, classifier: nn.Module, gamma: float | Schedule = 6.0) -> None:
        check_weight("gamma", gamma)
        couples = "which shuffles the codes of the whole batch"
        super().__init__(independent=True, requirements=[_has_one_vector], couples=couples)
        if not isinstance(classifier, nn.Module) or not any(p.requires_grad for p in classifier.parameters()):
            raise PairError(
                f"FactorVAE requires a classifier with parameters, got {type(classifier).__name__}. Write "
                "FactorVAE(MLP(D, 1, [256, 256]))."
            )
        self.classifier, self.gamma = classifier, gamma

    def bound(self, particles: Particles) -> Tensor:
        ((_, site),) = sites(particles.pair.guide).items()
        elbo = particles.terms.log_weight.squeeze(0)
        bound = elbo - at(self.gamma, self.step) * self.log_ratio(site["value"])
        entropy = self.cross_entropy(site["value"].detach())
        return bound - (entropy - entropy.detach())  # the gradient of the classifier alone

    def log_ratio(self, codes: Tensor) -> Tensor:
        """The logit, about log q(z) - sum_d log q(z_d), `(B,)`, in nats; its gradient reaches the codes alone.

        Args:
            codes: `(B, D)`.
        """
        fixed = {name: p.detach() for name, p in self.classifier.named_parameters()}
        return _one_logit(functional_call(self.classifier, fixed, (codes,)), len(codes))

    def cross_entropy(self, codes: Tensor) -> Tensor:
        """What the classifier minimises: its mean cross entropy on codes and shuffled codes, a scalar, in nats.

        Args:
            codes: `(B, D)`; one permutation for each dimension is drawn.
        """
        shuffled = codes.gather(0, torch.rand_like(codes).argsort(0))
        logits = _one_logit(self.classifier(torch.cat([codes, shuffled])), 2 * len(codes))
        kept, moved = logits.split(len(codes))
        return (softplus(-kept).mean() + softplus(moved).mean()) / 2

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}"


def _one_logit(logits: Tensor, size: int) -> Tensor:
    if logits.numel() != size or len(logits) != size:
        raise ShapeError(
            f"FactorVAE requires a classifier of one logit for each code, (B, 1) or (B,), got {tuple(logits.shape)} "
            f"for {size} codes. Write MLP(D, 1, [256, 256])."
        )
    return logits.reshape(size)


class DIPVAE(Objective):
    """The ELBO minus off_diagonal * sum_(i != j) C_ij^2 and diagonal * sum_i (C_ii - 1)^2.

    C is a covariance over the batch: of kind "I" that of the means of q(z | x), of kind "II" that of the codes, which
    is the former plus the mean covariance of q(z | x).

    Args:
        off_diagonal: weight of the covariances, a number or a schedule.
        diagonal: weight of the variances, a number or a schedule; the paper's is 10 (I) or 1 (II) times the other.
        kind: `"I"` or `"II"`.

    Raises:
        SettingError: a weight that is negative or not finite, or another kind.
        PairError: at the first run, a pair with more than one latent, or a guide that is not a product over dimensions.

    References: Kumar et al. (2018), arXiv:1711.00848.
    """

    def __init__(
        self,
        off_diagonal: float | Schedule = 10.0,
        diagonal: float | Schedule = 10.0,
        *,
        kind: Literal["I", "II"] = "II",
    ) -> None:
        check_weight("off_diagonal", off_diagonal)
        check_weight("diagonal", diagonal)
        check_choice("kind", kind, ("I", "II"))
        couples = "which takes the covariance of the codes of the whole batch"
        super().__init__(independent=True, requirements=[partial(one_factorised_latent, "DIPVAE")], couples=couples)
        self.off_diagonal, self.diagonal, self.kind = off_diagonal, diagonal, kind

    def bound(self, particles: Particles) -> Tensor:
        covariance = self.covariance(particles)
        variances = covariance.diagonal()
        apart = covariance.square().sum() - variances.square().sum()
        penalty = at(self.off_diagonal, self.step) * apart
        penalty = penalty + at(self.diagonal, self.step) * (variances - 1).square().sum()
        return particles.terms.log_weight.squeeze(0) - penalty

    def covariance(self, particles: Particles) -> Tensor:
        """C, `(D, D)`.

        Args:
            particles: one draw for each data point.
        """
        ((_, site),) = sites(particles.pair.guide).items()
        dimensions = factors(site, "guide", "DIPVAE", "Write FactorVAE(classifier).")
        means = dimensions.mean.flatten(1)
        centred = means - means.mean(0)
        covariance = centred.mT @ centred / len(means)
        return covariance if self.kind == "I" else covariance + dimensions.variance.flatten(1).mean(0).diag()

    def extra_repr(self) -> str:
        return f"{self.off_diagonal}, {self.diagonal}, kind={self.kind!r}"


def _has_one_vector(pair: PairTrace, layout: Layout) -> None:
    guide = sites(pair.guide)
    if len(guide) != 1 or layout.depth != 1 or any(site["fn"].event_dim != 1 for site in guide.values()):
        names = ", ".join(f"{name!r} {tuple(site['fn'].event_shape)}" for name, site in guide.items())
        raise PairError(
            f"FactorVAE requires one latent vector, directly in the plate 'data', got {names or 'none'} in the guide. "
            "Write ELBO(kl_weight=...)."
        )

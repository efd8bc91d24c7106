"""The guide of a model of several modalities: an expert for each, combined as a product, a mixture, or both."""

from collections.abc import Mapping
from typing import Literal

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.nn import functional

from pyrovae.checks import check_choice
from pyrovae.data.modalities import every_subset
from pyrovae.errors import PairError
from pyrovae.models.distributions.normal import diagonal_normal, precision_weighted
from pyrovae.models.distributions.uniform_mixture import UniformMixture
from pyrovae.models.modalities import Modality, modality_names, observed_modalities, signature_of
from pyrovae.models.program import Program

__all__ = ["ExpertsGuide"]

Combination = Literal["product", "mixture", "mixture-of-products"]
"""How experts are combined."""


class ExpertsGuide(Program):
    """q(z | x_S) of the modalities S that a data point has, from one expert for each: e_m(z | x_m), a diagonal normal.

    - `"product"`: Normal(z; 0, I) prod_{m in S} e_m(z | x_m), normalised.
    - `"mixture"`: 1/|S| sum_{m in S} e_m(z | x_m).
    - `"mixture-of-products"`: the mean over all non-empty subsets A of S of prod_{m in A} e_m(z | x_m), normalised.

    A data point with nothing observed has its exact posterior, Normal(z; 0, I), under each of them.

    A draw of a mixture is one of a component, its density that of the whole mixture, and several draws of a data point
    take the components in turn (`models.distributions.UniformMixture`).

    Args:
        encoders: a network `(*, *event) -> (*, 2 D)` for each modality, by name, which emits loc and raw scale of the
            expert. The scale is bounded away from 0 and infinity.
        combine: how the experts are combined.

    Call it with the tensors of a batch by name, `guide(x=x, y=y, has_y=has_y)`, as `models.MultimodalVAE`.

    Raises:
        SettingError: no modality, a name that is taken, or another combination.
        PairError: in a call, no modality, or a tensor that is none.
        ShapeError: in a call, a flag that is not `(B,)`.

    References: Wu & Goodman (2018), arXiv:1802.05335, for the product (MVAE); Shi et al. (2019), arXiv:1911.03393, for
    the mixture (MMVAE); Sutter et al. (2021), arXiv:2105.02470, for the mixture of products (MoPoE).
    """

    def __init__(self, encoders: Mapping[str, nn.Module], combine: Combination = "product") -> None:
        super().__init__()
        self.modalities = modality_names("ExpertsGuide", encoders)
        self.combine = check_choice("combine", combine, ("product", "mixture", "mixture-of-products"))
        self.encoders = nn.ModuleDict(encoders)
        self.__signature__ = signature_of(self.modalities)

    def given(self, **given: Tensor | None) -> TorchDistribution:
        """q(z | x_S), batch shape `(B,)`, event shape `(D,)`; the tensors `given` are those of a call."""
        observed = observed_modalities("ExpertsGuide", self.modalities, given)
        if not observed:
            names = ", ".join(self.modalities)
            raise PairError(f"ExpertsGuide requires one of {names}, got none. Write guide({self.modalities[0]}=...).")
        experts = {name: diagonal_normal(self.encoders[name](part.filled())) for name, part in observed.items()}
        if self.combine == "product":
            return _product(experts, observed)
        size = 1 if self.combine == "mixture" else len(experts)
        return _mixture(experts, observed, size)

    def forward(self, **given: Tensor | None) -> Tensor:
        """Draw z ~ q(z | x_S); the arguments are the modalities that are `given`, and their flags."""
        posterior = self.given(**given)
        with pyro.plate("data", posterior.batch_shape[-1], dim=-1):
            return pyro.sample("z", posterior)  # z ~ q(z | x_S)

    def extra_repr(self) -> str:
        return f"combine={self.combine!r}"


def _product(experts: Mapping[str, TorchDistribution], observed: Mapping[str, Modality]) -> TorchDistribution:
    """The product of the prior and of the experts; one that is missing has an infinite scale, so it says nothing."""
    parts = [_where_present(expert.base_dist, observed[name].present) for name, expert in experts.items()]
    prior = dist.Normal(torch.zeros_like(parts[0].loc), torch.ones_like(parts[0].scale))
    return precision_weighted(*(part.to_event(1) for part in (prior, *parts)))


def _where_present(expert: dist.Normal, present: Tensor | None) -> dist.Normal:
    if present is None:
        return expert
    return dist.Normal(expert.loc, torch.where(present.unsqueeze(-1), expert.scale, torch.inf))


def _mixture(
    experts: Mapping[str, TorchDistribution], observed: Mapping[str, Modality], size: int
) -> TorchDistribution:
    """The mixture of the products over all subsets of at most `size` experts; the prior where there are none."""
    subsets = [subset for subset in every_subset(list(experts)) if len(subset) <= size]
    products = [precision_weighted(*(experts[name] for name in subset)).base_dist for subset in subsets]
    present = {name: _everywhere(part) for name, part in observed.items()}
    available = torch.stack([torch.stack([present[name] for name in subset]).all(0) for subset in subsets], -1)
    loc, scale = (torch.stack([getattr(part, of) for part in products], -2) for of in ("loc", "scale"))
    if all(part.present is not None for part in observed.values()):  # else each data point has an expert
        loc, scale = (
            functional.pad(part, (0, 0, 0, 1), value=of_prior) for part, of_prior in ((loc, 0.0), (scale, 1.0))
        )
        available = torch.cat([available, ~available.any(-1, keepdim=True)], -1)
    return UniformMixture(loc, scale, available)


def _everywhere(part: Modality) -> Tensor:
    """Where a modality was observed, bool `(B,)`."""
    if part.present is not None:
        return part.present
    return torch.ones(len(part.value), dtype=torch.bool, device=part.value.device)

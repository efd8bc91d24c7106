"""A variational autoencoder of several modalities: p(z) prod_m p(x_m | z), any of which may be missing."""

from collections.abc import Mapping

import pyro
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.models.entries import feasible
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.modalities import Modality, modality_names, observed_modalities, signature_of
from pyrovae.models.program import Program, plate_size

__all__ = ["MultimodalVAE"]


class MultimodalVAE(Program):
    """p(x_1, ..., x_M, z) = p(z) prod_m p(x_m | decoder_m(z)), where each x_m is a modality, such as image or label.

    The modalities are conditionally independent given z. So those that are missing integrate to one and are left out:

        log p(x_S, z) = log p(z) + sum_{m in S} log p(x_m | z)

    where S are the modalities that a data point has. Every bound is then one of log p(x_S).

    Args:
        prior: `prior() -> p(z)`, event shape `(D,)`.
        likelihoods: the likelihood of each modality, by the name of its tensor and site.
        decoders: a network `(*, D) -> (*, *likelihood.params_shape)` of each modality, by the same names.

    Call it with the tensors of a batch by name, `model(x=x, y=y)`. Each modality has a flag, `has_y` for `y`, bool
    `(B,)`, true where it was observed; the values elsewhere, such as NaN, have no effect. Without a flag, a modality
    was always observed; without its tensor, never. With `size`, each modality that is not given is generated.

    Raises:
        SettingError: no modality, a name that is taken, or a likelihood without a decoder.
        PairError: in a call, a tensor that is no modality.
        ShapeError: in a call, a flag that is not `(B,)`.

    References: Suzuki et al. (2016), arXiv:1611.01891; Wu & Goodman (2018), arXiv:1802.05335.
    """

    def __init__(
        self, prior: nn.Module, likelihoods: Mapping[str, Likelihood], decoders: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.modalities = modality_names("MultimodalVAE", likelihoods, decoders)
        self.prior = prior
        self.likelihoods, self.decoders = nn.ModuleDict(likelihoods), nn.ModuleDict(decoders)
        self.__signature__ = signature_of(self.modalities, "size")

    @property
    def likelihood(self) -> nn.Module:
        """The likelihood of `x`, or of the first modality where there is no `x`."""
        return self.likelihoods["x" if "x" in self.likelihoods else self.modalities[0]]

    def forward(self, *, size: int | None = None, **given: Tensor | None) -> Tensor:
        """Score the modalities that are `given`, or generate `size` data points; returns the first modality."""
        observed = observed_modalities("MultimodalVAE", self.modalities, given)
        if not observed and size is None:
            names = ", ".join(self.modalities)
            raise PairError(f"MultimodalVAE requires one of {names}, or a size, got none. Write model(size=16).")
        first = next(iter(observed.values())).value if observed else None
        with pyro.plate("data", plate_size(first, size), dim=-1):
            z = pyro.sample("z", self.prior())  # z ~ p(z)
            named = [name for name in self.modalities if name in observed or size is not None]
            values = [self._sample(name, z, observed.get(name)) for name in named]
        return values[0]

    def _sample(self, name: str, z: Tensor, observed: Modality | None) -> Tensor:
        """x_m ~ p(x_m | z), scored where it was observed."""
        fn = self.likelihoods[name](self.decoders[name](z))
        if observed is None or observed.present is None:
            return pyro.sample(name, fn, obs=observed and observed.value)
        # A value without a density has a gradient of NaN, also where it is multiplied by 0.
        return pyro.sample(name, fn.mask(observed.present), obs=observed.filled(feasible(fn, observed.value)))

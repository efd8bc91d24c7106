"""The latents of a data point as one vector u of K unconstrained numbers, which Hamiltonian dynamics require.

The value at a site is z = T(u), with T the bijection of torch onto the support of the site.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pyro.distributions.util import sum_rightmost
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import biject_to

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.tracing import innermost, sites

__all__ = ["LatentVector", "bijection"]


class LatentVector:
    """Conversion between u, `(C, B, K)` for C draws, and the values at the latent sites.

    Args:
        latents: the latent sites in a run without samples, by name.
        depth: how many dimensions the plates of the pair take.

    Attributes:
        names: the names of the sites, in their order in u.
        dim: K.

    Raises:
        PairError: a site is discrete, or its distribution has no support.
    """

    def __init__(self, latents: Mapping[str, Site], depth: int) -> None:
        self._blocks = list(_blocks(latents, depth))
        self.names, self.dim = list(latents), self._blocks[-1].stop

    def pack(self, trace: Trace, num_chains: int) -> Tensor:
        """The u of the values in a run, `(C, B, K)`.

        Args:
            trace: the run.
            num_chains: C, the draws of each data point.
        """
        drawn = sites(trace)
        return torch.cat([block.pack(drawn[block.name], num_chains) for block in self._blocks], -1)

    def at(self, u: Tensor) -> "_SiteValues":
        """The values at the sites.

        Args:
            u: the latents, `(C, B, K)`.
        """
        return _SiteValues(self._blocks, u)


class _Block(NamedTuple):
    """The numbers of u that belong to one site: `u[..., start:stop]`, for a data point of shape `(*plates, *event)`."""

    name: str
    plates: tuple[int, ...]  # the sizes left of the plate "data", down to the deepest plate of the pair
    event: tuple[int, ...]
    start: int
    stop: int
    dims: int  # the number of dimensions of the site's own batch shape

    def pack(self, site: Site, num_chains: int) -> Tensor:
        """The numbers `(C, B, stop - start)` of a site, whose value is `(C, *plates, B, *event)`."""
        u = bijection(site).inv(site["value"])
        data = u.dim() - len(self.event) - 1
        rows = u.shape[data]
        u = u.reshape(num_chains, *self.plates, rows, *self.event).movedim(1 + len(self.plates), 1)
        return u.reshape(num_chains, rows, self.stop - self.start)

    def unpack(self, u: Tensor) -> Tensor:
        """The numbers of this site, `(C, *plates, B, *event)`, from all of u."""
        part = u[..., self.start : self.stop].reshape(*u.shape[:2], *self.plates, *self.event)
        return part.movedim(1, 1 + len(self.plates))


class _SiteValues:
    """The values z = T(u) at the sites.

    Attributes:
        log_det: the sum of log |dz/du| over the sites whose value was computed, `(C, B)`.
    """

    def __init__(self, blocks: Sequence[_Block], u: Tensor) -> None:
        self.blocks, self.u = {block.name: block for block in blocks}, u
        self.log_det = torch.zeros_like(u[..., 0])

    def value_of(self, site: Site) -> Tensor | None:
        """The value at a site; None where no number of u belongs to it."""
        block = self.blocks.get(site["name"])
        if block is None:
            return None
        transform, u = bijection(site), block.unpack(self.u)
        value = transform(u)
        log_det = sum_rightmost(transform.log_abs_det_jacobian(u, value), -2 - len(block.plates))
        self.log_det = self.log_det + log_det.reshape(len(u), -1, log_det.shape[-1]).sum(1)
        if len(u) > 1:
            return value
        # A single draw has no plate of samples: its value has the shape that the program alone gives it.
        return value.reshape(value.shape[value.dim() - block.dims - len(site["fn"].event_shape) :])


def _blocks(latents: Mapping[str, Site], depth: int) -> Iterator[_Block]:
    stop = 0
    for name, site in latents.items():
        shape = tuple(bijection(site).inv(site["value"]).shape)
        dims = len(site["fn"].batch_shape)
        plates, event = (1,) * (depth - dims) + shape[: dims - 1], shape[dims:]
        start, stop = stop, stop + math.prod(plates + event)
        yield _Block(name, plates, event, start, stop, dims)


def bijection(site: Site) -> Any:
    """The bijection from unconstrained numbers, which Hamiltonian dynamics require, onto the support of a site.

    Args:
        site: a latent site.

    Raises:
        PairError: the latent is discrete, its distribution states no support, or real numbers do not map one to one
            onto it, as onto a sphere.
    """
    name, kind = site["name"], type(innermost(site["fn"])).__name__
    try:
        support = site["fn"].support
    except NotImplementedError as error:
        raise PairError(
            f"HMC requires the support of each latent, and {kind} at site '{name}' states none. Give the distribution "
            "one, such as support = constraints.real_vector."
        ) from error
    if support.is_discrete:
        raise PairError(
            f"HMC requires continuous latents, got the discrete site '{name}', which the guide draws. Sum it out: "
            f"leave it out of the guide, and write pyro.sample('{name}', ..., "
            'infer={"enumerate": "parallel"}) in the model.'
        )
    try:
        return biject_to(support)
    except NotImplementedError as error:
        raise PairError(
            "HMC requires a support onto which real numbers map one to one (torch.distributions.biject_to), got "
            f"{kind} with the support {support} at site '{name}'. Write evaluate(...), whose importance sampling needs "
            f"no such map; if every vector is a value of {kind}, give it support = constraints.real_vector."
        ) from error

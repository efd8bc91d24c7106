"""Where the codes of a latent may lie, so that pictures decode only codes that the model has."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pyro.distributions import constraints as pyro_constraints
from torch import Tensor
from torch.distributions import constraints

from pyrovae.data import Batch
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.running import Transform, device_of, evaluating, placed, seeded
from pyrovae.inference.pair.tracing import trace_pair

__all__ = ["Support"]


@dataclass(frozen=True)
class Support:
    """The support of p(z).

    Attributes:
        kind: `real`: every entry is any real number. `simplex`: entries of at least 0 with the sum 1. `sphere`: vectors
            of length 1. `box`: anything else; the codes of data tell how far each entry goes.
    """

    kind: Literal["real", "box", "simplex", "sphere"]

    @classmethod
    def of(
        cls, model: ProgramLike, guide: ProgramLike, data: Batch, latent: str, transform: Transform | None = None
    ) -> "Support":
        """The support of the prior of a latent site.

        Args:
            model, guide, data: the pair and its data.
            latent: the latent site.
            transform: applied to a batch; `pyrovae.data.Scale()` if None.
        """
        data, device = entered("support", data, transform, model, guide), device_of(model, guide)
        with evaluating(model, guide), seeded(0, device):
            first = placed(data, transform, device, slice(2))
            _, prior = trace_pair(model, guide, first, data_size=batch_size(data)).latent()[latent]
        return cls(_kind(prior["fn"]))

    @property
    def real(self) -> bool:
        """Whether every entry is any real number."""
        return self.kind == "real"

    def positions(self, z: Tensor, t: Tensor) -> Tensor:
        """The values that entries of codes take in a traversal, `(D, T)`.

        They are mean + t sd of the codes, or, where that may leave the support, the quantiles of the codes at Phi(t),
        which is the same for a normal distribution.

        Args:
            z: codes, `(N, D)`.
            t: the T positions, in standard deviations.
        """
        if self.real:
            return z.mean(0)[:, None] + z.std(0)[:, None] * t
        ranks = (0.5 * (1 + torch.erf(t / math.sqrt(2))) * (len(z) - 1)).round().long()
        return z.sort(0).values[ranks].T

    def completed(self, codes: Tensor, moved: Tensor) -> Tensor:
        """Codes in which some entries were moved: on a simplex or sphere, the other entries of their vectors follow.

        Args:
            codes: `(*, D)`.
            moved: whether an entry was moved, `(*, D)`, bool.
        """
        if self.kind not in ("simplex", "sphere"):
            return codes
        power = 1 if self.kind == "simplex" else 2
        rest = codes.masked_fill(moved, 0.0)
        rest = torch.where((rest == 0).all(-1, keepdim=True), (~moved).to(codes), rest)
        room = 1 - (codes.masked_fill(~moved, 0.0) ** power).sum(-1, keepdim=True)
        size = (rest**power).sum(-1, keepdim=True).clamp_min(torch.finfo(codes.dtype).tiny)
        return torch.where(moved, codes, rest * (room.clamp_min(0) / size) ** (1 / power))

    def nearest(self, codes: Tensor, seen: Tensor) -> Tensor:
        """Codes of the support near any others; those of a real latent stay.

        Args:
            codes: `(M, D)`.
            seen: codes of the support, `(N, D)`; entries of a box stay within theirs.
        """
        if self.real:
            return codes
        inside = codes.clamp(seen.amin(0), seen.amax(0))
        return inside if self.kind == "box" else self.completed(inside, torch.zeros_like(inside, dtype=torch.bool))


def _kind(fn: Any) -> Literal["real", "box", "simplex", "sphere"]:
    try:
        support = fn.support
    except NotImplementedError:  # a distribution of the user's own may state no support
        return "real"
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is constraints.simplex:
        return "simplex"
    if support is pyro_constraints.sphere:
        return "sphere"
    return "real" if support is constraints.real else "box"

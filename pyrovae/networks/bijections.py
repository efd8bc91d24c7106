"""Bijections of vectors whose Jacobian determinant is cheap: the steps of a normalizing flow.

A step maps u to z, both of shape `(*, D)`: `step(u)` returns z and log |det dz/du|, `step.inverse(z)` returns u and the
same logarithm. A step keeps no tensor of a call, so it can be copied at any time; Pyro's transforms cache tensors of
a graph, which cannot be copied.
"""

from typing import cast

import torch
from torch import Tensor, nn

from pyrovae.errors import ShapeError
from pyrovae.networks.dense import MLP
from pyrovae.recorded import Recorded

__all__ = ["Coupling", "InverseAutoregressive"]


class Coupling(Recorded, nn.Module):
    """The affine coupling of RealNVP, applied to one half and then to the other: `(*, D) -> (*, D)`.

    Let a be the even entries of u, and b the odd ones. Then b' = t(a) + e^s(a) b, a' = t'(b') + e^s'(b') a, and
    z = [a', b'], with |s| < 2. The concatenation reorders the entries, so the next step splits them differently.

    Args:
        dim: D, at least 2.
        hidden: widths of the two networks, one for t and s, one for t' and s'.

    Raises:
        ShapeError: D is below 2.

    References: Dinh et al. (2017), arXiv:1605.08803.
    """

    def __init__(self, dim: int, hidden: tuple[int, ...] = (128,)) -> None:
        super().__init__()
        self.sizes = even, odd = (_two_or_more(dim, "Coupling") + 1) // 2, dim // 2
        self.even, self.odd = MLP(odd, 2 * even, hidden), MLP(even, 2 * odd, hidden)
        for network in (self.even, self.odd):
            _shrink(network.layers[-1])

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        a, b = u[..., ::2], u[..., 1::2]
        shift, log_scale = _affine(self.odd(a))
        b, log_det = b * log_scale.exp() + shift, log_scale.sum(-1)
        shift, log_scale = _affine(self.even(b))
        return torch.cat([a * log_scale.exp() + shift, b], -1), log_det + log_scale.sum(-1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        a, b = z.split(self.sizes, -1)
        shift, log_scale = _affine(self.even(b))
        a, log_det = (a - shift) * (-log_scale).exp(), log_scale.sum(-1)
        shift, log_scale = _affine(self.odd(a))
        b = (b - shift) * (-log_scale).exp()
        count = b.shape[-1]
        u = torch.cat([torch.stack([a[..., :count], b], -1).flatten(-2), a[..., count:]], -1)
        return u, log_det + log_scale.sum(-1)


class InverseAutoregressive(Recorded, nn.Module):
    """A step of an inverse autoregressive flow, given a context h: `(*, D), (*, C) -> (*, D)`.

    z_d = g_d u_d + (1 - g_d) m_d, where the gate g_d in (0, 1) and m_d depend on u_1 ... u_(d-1) and h. The entries of
    z are then reversed, so the next step starts at the other end. The step takes one pass through its network, the
    inverse takes D.

    Args:
        dim: D, at least 2.
        context: C, the width of h.
        hidden: widths of the masked network, each at least D.

    Raises:
        ShapeError: D is below 2, or a layer is narrower than D.

    References: Kingma et al. (2016), arXiv:1606.04934; Germain et al. (2015), arXiv:1502.03509, for the network.
    """

    def __init__(self, dim: int, context: int, hidden: tuple[int, ...] = (128,)) -> None:
        from pyro.nn import ConditionalAutoRegressiveNN  # here, because pyrovae.data imports networks without Pyro

        super().__init__()
        self.dim = _two_or_more(dim, "InverseAutoregressive")
        if min(hidden) < dim:
            raise ShapeError(
                f"InverseAutoregressive requires layers at least as wide as z, {dim}, got hidden={hidden}. "
                f"Write hidden=({dim},), or wider."
            )
        order = cast(torch.LongTensor, torch.arange(dim))
        self.network = ConditionalAutoRegressiveNN(dim, context, list(hidden), permutation=order)
        _shrink(self.network.layers[-1])

    def _gate(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """m and log g. At the start g is near 0.88, so z is near u."""
        loc, raw = self.network(u, h)
        return loc, nn.functional.logsigmoid(raw + 2)

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """z of u, `(*, D)`, given the context h, and log |det dz/du|, `(*,)`."""
        loc, log_gate = self._gate(u, h)
        z = u * log_gate.exp() - loc * log_gate.expm1()
        return z.flip(-1), log_gate.sum(-1)

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = z.flip(-1)
        u = torch.zeros_like(z)
        for _ in range(self.dim):  # each pass solves for one more entry
            loc, log_gate = self._gate(u, h)
            u = (z + loc * log_gate.expm1()) * (-log_gate).exp()
        return u, self._gate(u, h)[1].sum(-1)


def _two_or_more(dim: int, owner: str) -> int:
    if dim < 2:
        raise ShapeError(f"{owner} requires dim >= 2, because an entry depends on another one, got dim={dim}.")
    return dim


def _affine(params: Tensor) -> tuple[Tensor, Tensor]:
    shift, raw = params.chunk(2, -1)
    return shift, 2 * torch.tanh(raw / 2)


@torch.no_grad()
def _shrink(layer: nn.Module) -> None:
    """Make a layer small: the flow starts near the identity. At the identity, inner layers would have no gradient."""
    for parameter in layer.parameters():
        parameter.mul_(0.1)

"""Bijections of vectors with a cheap Jacobian: the steps of a normalizing flow. They know shapes only.

A step maps u to z of shape `(*, D)`: `step(u) -> (z, log |det dz/du|)`, `step.inverse(z) -> (u, the same log)`. It
keeps nothing of a call (Pyro's transforms keep tensors in their attributes, which then cannot be copied).
"""

from typing import cast

import torch
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from pyrovae.errors import ShapeError
from pyrovae.networks.dense import MLP

__all__ = ["Coupling", "InverseAutoregressive"]


class Coupling(nn.Module):
    """The affine coupling of RealNVP, of both halves in turn: `(*, D) -> (*, D)`.

    With a the even entries of u and b the odd ones, b' = t(a) + e^s(a) b, a' = t(b') + e^s(b') a, z = [a', b'],
    |s| < 2. So a step after another one halves the entries differently.

    Args:
        dim: D, at least 2.
        hidden: widths of the two networks that give t and s.

    Raises:
        ShapeError: D below 2.

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


class InverseAutoregressive(nn.Module):
    """The step of an inverse autoregressive flow, given a context h: `(*, D), (*, C) -> (*, D)`.

    z_d = g_d u_d + (1 - g_d) m_d, where the gate g_d in (0, 1) and m_d are of u_1 ... u_(d-1) and h; then z in reverse
    order, so that the next step starts at the other end. One pass forwards; D passes for the inverse.

    Args:
        dim: D, at least 2.
        context: C, the width of h.
        hidden: widths of the masked network, each at least D.

    Raises:
        ShapeError: D below 2, or a layer narrower than D.

    References: Kingma et al. (2016), arXiv:1606.04934; Germain et al. (2015), arXiv:1502.03509, for the network.
    """

    def __init__(self, dim: int, context: int, hidden: tuple[int, ...] = (128,)) -> None:
        super().__init__()
        self.dim = _two_or_more(dim, "InverseAutoregressive")
        if min(hidden) < dim:
            raise ShapeError(f"InverseAutoregressive wants layers at least as wide as z, {dim}, got hidden={hidden}.")
        order = cast(torch.LongTensor, torch.arange(dim))
        self.network = ConditionalAutoRegressiveNN(dim, context, list(hidden), permutation=order)
        _shrink(self.network.layers[-1])

    def _gate(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """m and log g; g starts near 0.88, where z is near u."""
        loc, raw = self.network(u, h)
        return loc, nn.functional.logsigmoid(raw + 2)

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_gate = self._gate(u, h)
        z = u * log_gate.exp() - loc * log_gate.expm1()
        return z.flip(-1), log_gate.sum(-1)

    def inverse(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = z.flip(-1)
        u = torch.zeros_like(z)
        for _ in range(self.dim):  # each pass settles one more coordinate
            loc, log_gate = self._gate(u, h)
            u = (z + loc * log_gate.expm1()) * (-log_gate).exp()
        return u, self._gate(u, h)[1].sum(-1)


def _two_or_more(dim: int, owner: str) -> int:
    if dim < 2:
        raise ShapeError(f"{owner} wants a vector of at least 2 entries, got dim={dim}: one cannot depend on another.")
    return dim


def _affine(params: Tensor) -> tuple[Tensor, Tensor]:
    shift, raw = params.chunk(2, -1)
    return shift, 2 * torch.tanh(raw / 2)


@torch.no_grad()
def _shrink(layer: nn.Module) -> None:
    """A flow starts near the identity, but not at it, where inner layers have no gradient."""
    for parameter in layer.parameters():
        parameter.mul_(0.1)

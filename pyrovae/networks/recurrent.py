"""Networks over sequences `(*, T, X)` that end at different steps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pyrovae.errors import ShapeError

__all__ = ["BackwardRNN", "going_on", "reverse"]


def going_on(x: Tensor | None, within: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Whether each step is within its sequence, `(B, T)`, bool: what is given, else all true, as long as x or `shape`.

    Raises:
        ShapeError: x differs in its first two dimensions, or `within` is no bool.
    """
    if within is None:
        return torch.ones(shape if x is None else x.shape[:2], dtype=torch.bool, device=None if x is None else x.device)
    if within.dtype != torch.bool or within.dim() != 2 or (x is not None and x.shape[:2] != within.shape):
        got = "" if x is None else f", x {tuple(x.shape)}"
        raise ShapeError(
            f"sequences are x (B, T, *event) and within (B, T), bool, got within {tuple(within.shape)} of "
            f"{within.dtype}{got}. Write within = torch.arange(T) < length[:, None]."
        )
    return within


def reverse(x: Tensor, within: Tensor) -> Tensor:
    """Each sequence `(*, T, X)` backwards, from its last step to its first; padding stays behind."""
    steps = torch.arange(within.shape[-1], device=within.device)
    order = torch.where(within, within.sum(-1, keepdim=True) - 1 - steps, steps)
    return x.gather(-2, order.unsqueeze(-1).expand_as(x))


class BackwardRNN(nn.Module):
    """h_t = rnn(x_t, h_(t+1)), from the last step of each sequence: h_t knows x_t ... x_T. `(*, T, X) -> (*, T, H)`.

    Args:
        in_dim: X.
        hidden: H.
        kind: `nn.GRU` or `nn.RNN`.
    """

    def __init__(self, in_dim: int, hidden: int, kind: Callable[..., nn.RNNBase] = nn.GRU) -> None:
        super().__init__()
        self.rnn = kind(in_dim, hidden, batch_first=True)

    def forward(self, x: Tensor, within: Tensor) -> Tensor:
        lead = within.shape[:-1]
        backwards = reverse(x, within).flatten(0, -3)
        h, _ = self.rnn(backwards)
        return reverse(h.unflatten(0, lead), within)

"""Networks of sequences `(*, T, X)` that end at different steps.

`within`, bool `(*, T)`, is true up to the end of each sequence and false on the padding after it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pyrovae.errors import ShapeError
from pyrovae.recorded import Recorded

__all__ = ["BackwardRNN", "going_on", "reverse"]


def going_on(x: Tensor | None, within: Tensor | None, shape: Sequence[int]) -> Tensor:
    """Whether each step is within its sequence, bool `(B, T)`: `within` itself, or all true where it is None.

    Args:
        x: sequences `(B, T, *event)`, or None.
        within: bool `(B, T)`, or None.
        shape: `(B, T)` of the result where both are None.

    Raises:
        ShapeError: `within` is not bool, or its shape is not that of the first two dimensions of `x`.
    """
    if within is None:
        return torch.ones(shape if x is None else x.shape[:2], dtype=torch.bool, device=None if x is None else x.device)
    if within.dtype != torch.bool or within.dim() != 2 or (x is not None and x.shape[:2] != within.shape):
        got = "" if x is None else f", x {tuple(x.shape)}"
        raise ShapeError(
            f"A batch of sequences requires x (B, T, *event) and within (B, T), bool, got within {tuple(within.shape)} "
            f"of {within.dtype}{got}. Write within = torch.arange(T) < length[:, None]."
        )
    return within


def reverse(x: Tensor, within: Tensor) -> Tensor:
    """Each sequence in reverse order, from its last step to its first; the padding stays at the end.

    Args:
        x: sequences `(*, T, X)`.
        within: bool `(*, T)`.
    """
    steps = torch.arange(within.shape[-1], device=within.device)
    order = torch.where(within, within.sum(-1, keepdim=True) - 1 - steps, steps)
    return x.gather(-2, order.unsqueeze(-1).expand_as(x))


class BackwardRNN(Recorded, nn.Module):
    """h_t = rnn(x_t, h_(t+1)), from the last step of each sequence to its first: `(*, T, X) -> (*, T, H)`.

    So h_t depends on x_t, ..., x_T alone, where T is the end of the sequence. Call it with x `(*, T, X)` and `within`,
    bool `(*, T)`.

    Args:
        in_dim: X, the width of a step.
        hidden: H, the width of a state.
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

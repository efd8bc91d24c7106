"""The prior of a total, such as the number of molecules in a cell: log-normal, of its own in each batch."""

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.errors import DataError, SupportError
from pyrovae.networks.joint import one_hot
from pyrovae.recorded import Recorded

__all__ = ["LogNormalTotal"]


class LogNormalTotal(Recorded, nn.Module):
    """p(l | s) = LogNormal(l; loc_s, scale_s) for the total l > 0, shape `()`, of a data point in batch s.

    loc and scale are buffers: they are 0 and 1 until `start` sets them to those of the data, and are not trained.

    Args:
        batches: the number of batches, K. With 1, the prior takes no batch.

    Raises:
        SettingError: `batches` is no count.

    References: Lopez et al. (2018), Deep generative modeling for single-cell transcriptomics.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, batches: int = 1) -> None:
        super().__init__()
        self.batches = check_count("batches", batches)
        self.register_buffer("loc", torch.zeros(batches))
        self.register_buffer("scale", torch.ones(batches))

    def forward(self, batch: Tensor | None = None) -> TorchDistribution:
        """p(l | s).

        Args:
            batch: int64 `(*,)`, the batch s of each data point; None where there is one batch.
        """
        if batch is None:
            return dist.LogNormal(self.loc[0], self.scale[0])
        row = one_hot(batch, self.batches, self.loc.dtype)
        return dist.LogNormal(row @ self.loc, row @ self.scale)

    def start(self, total: Tensor, batch: Tensor | None = None) -> None:
        """Set loc and scale to mean and standard deviation of log total in each batch; the scale is at least 0.01.

        Args:
            total: `(N,)`, such as `x.sum(-1)`.
            batch: int64 `(N,)`; None where there is one batch.

        Raises:
            SupportError: a total is not positive.
            DataError: a batch has no data point.
        """
        if not (total > 0).all():
            raise SupportError(f"LogNormalTotal requires totals above 0, got {total.min().item():g}. Drop those rows.")
        batch = torch.zeros(len(total), dtype=torch.int64) if batch is None else batch.cpu()
        for number in range(self.batches):
            logs = total.cpu()[batch == number].to(self.loc.dtype).log()
            if not len(logs):
                raise DataError(
                    f"LogNormalTotal requires data points of each of its {self.batches} batches, got none of batch "
                    f"{number}. Number the batches from 0, and write LogNormalTotal({int(batch.max()) + 1})."
                )
            self.loc[number], self.scale[number] = logs.mean(), logs.std(correction=0).clamp_min(0.01)

    def extra_repr(self) -> str:
        return f"batches={self.batches}"

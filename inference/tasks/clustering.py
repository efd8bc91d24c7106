"""Clusters that a discrete latent finds, against known labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, plus_minus
from pyrovae.errors import DataError
from pyrovae.imports import imported
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.running import Transform
from pyrovae.inference.tasks.semi_supervised import classify

__all__ = ["ClusterAccuracy", "cluster_accuracy"]


@dataclass(frozen=True, repr=False)
class ClusterAccuracy(Shown):
    """The share of data points in the cluster of their label, under the best matching of clusters and labels.

    Attributes:
        value: the share.
        error: its binomial standard error.
        labels: the label of each cluster, int64 `(K,)`; -1 for a cluster without one, where K exceeds the labels.
        counts: data points by cluster and label, int64 `(K, L)`.
    """

    value: float
    error: float
    labels: Tensor
    counts: Tensor

    @property
    def used(self) -> int:
        """The number of clusters that hold a data point."""
        return int((self.counts.sum(1) > 0).sum())

    def cells(self) -> Cells:
        rows = [("accuracy", plus_minus(self.value, self.error)), ("clusters in use", f"{self.used}")]
        return Cells(rows)


def cluster_accuracy(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    latent: str = "c",
    label: str = "y",
    transform: Transform | None = None,
    seed: int = 0,
    progress: bool = False,
) -> ClusterAccuracy:
    """Put each data point into its most probable cluster, and match clusters and labels one to one.

    The matching is that with the most data points, by the Hungarian algorithm, on these data. The labels serve for
    nothing else, so on held-out data this is the usual accuracy of unsupervised clustering.

    Args:
        model, guide: the pair; the guide alone is called.
        data: named tensors of N data points, with labels int64 `(N,)`, 0 or above, under the name `label`.
        latent: the site of the cluster, a Categorical or a OneHotCategorical.
        label: the name of the labels.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of all draws; the global random state is left alone.
        progress: show a bar.

    Raises:
        PairError: no data; the guide has no such site.
        DataError: no labels of that name, or others than whole numbers of 0 or above.
        MissingExtraError: SciPy is not installed.

    References: Kuhn (1955), The Hungarian method for the assignment problem; Xie et al. (2016), arXiv:1511.06335, for
    the accuracy.
    """
    data = entered("cluster_accuracy", data, transform, model, guide)
    y = data.get(label)
    if y is None or y.is_floating_point() or y.dim() != 1 or bool((y < 0).any()):
        got = f"none of {', '.join(map(repr, data))}" if y is None else f"{y.dtype} of shape {tuple(y.shape)}"
        raise DataError(
            f"cluster_accuracy requires labels {label!r}, whole numbers of 0 or above of shape (N,), got {got}. Write "
            f"{{..., {label!r}: y}}."
        )
    probs = classify(model, guide, data, transform=transform, label=latent, seed=seed, progress=progress)
    clusters, size = probs.argmax(-1).cpu(), int(y.max()) + 1
    counts = torch.bincount(clusters * size + y.cpu(), minlength=probs.shape[-1] * size).reshape(-1, size)
    return _matched(counts)


def _matched(counts: Tensor) -> ClusterAccuracy:
    optimize = imported("scipy.optimize", "cluster_accuracy requires", "pyrovae[data]")
    rows, columns = optimize.linear_sum_assignment(counts.numpy(), maximize=True)
    labels = torch.full((len(counts),), -1)
    labels[torch.as_tensor(rows)] = torch.as_tensor(columns)
    value = counts[rows, columns].sum().item() / counts.sum().item()
    return ClusterAccuracy(value, math.sqrt(value * (1 - value) / counts.sum().item()), labels, counts)

"""Data sets in which few labels are known."""

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_fraction, check_seed
from pyrovae.data.dataset import Batch
from pyrovae.data.named import named_tensors
from pyrovae.errors import DataError

__all__ = ["hide_labels"]


def hide_labels(batch: Batch, keep: int, *, share: float = 0.1, seed: int = 0) -> Batch:
    """All data points with `y` = -1, followed by the ones whose label is kept, repeated until they make up a share.

    The repetition gives the labelled data points their weight: with 100 labels among 60,000 data points, a minibatch
    of 200 has about 20 labelled ones.

    Args:
        batch: `x` and labels `y` in {0 .. K - 1}.
        keep: how many labels are kept, equally many of each class: a multiple of K.
        share: the share of labelled rows in the result; each labelled data point occurs at least once.
        seed: the seed of the choice.

    Raises:
        DataError: there are no labels, or one is unknown already; `keep` is no multiple of the number of classes, or a
            class has too few data points.
        SettingError: `keep`, `share` or the seed has no meaning.
    """
    keep, seed = check_count("keep", keep), check_seed("seed", seed)
    share = check_fraction("share", share, one=False, write=0.1)
    batch = named_tensors("hide_labels", batch)
    y = _labels(batch)
    if sizes := {name: tuple(tensor.shape) for name, tensor in batch.items() if tensor.shape[:1] != y.shape[:1]}:
        raise DataError(f"hide_labels requires tensors of {len(y)} rows, one for each label, got {sizes}.")
    classes = int(y.max()) + 1
    each, rest = divmod(keep, classes)
    if rest:
        raise DataError(
            f"hide_labels keeps equally many labels of each of the {classes} classes, got keep={keep}. Write "
            f"keep={10 * classes}."
        )
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    chosen = [order[y[order] == label][:each] for label in range(classes)]
    least = min(map(len, chosen))
    if least < each:
        raise DataError(
            f"keep={keep} requires {each} data points of each class, got a class of {least}. Keep at most "
            f"{least * classes}."
        )
    known = torch.cat(chosen)
    times = max(1, round(share / (1 - share) * len(y) / keep))
    rows = torch.cat([torch.arange(len(y)), known.repeat(times)])
    told = torch.cat([torch.full_like(y, -1), y[known].repeat(times)])
    return {**{name: tensor[rows] for name, tensor in batch.items()}, "y": told}


def _labels(batch: Batch) -> Tensor:
    y = batch.get("y")
    if y is None or y.dim() != 1 or y.is_floating_point() or not len(y) or y.min() < 0:
        got = "no y" if y is None else f"y of {y.dtype} {tuple(y.shape)}" + (f" from {y.min()}" if y.numel() else "")
        raise DataError(
            f"hide_labels requires a label y of each data point, integers from 0 on, shape (N,), got {got}. Write "
            '{"x": x, "y": y}.'
        )
    return y

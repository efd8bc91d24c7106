"""Labels of which few are known."""

import torch

from pyrovae.data.dataset import Batch
from pyrovae.errors import DataError

__all__ = ["hide_labels"]


def hide_labels(batch: Batch, keep: int, *, share: float = 0.1, seed: int = 0) -> Batch:
    """All data with `y` = -1, after them those whose labels are kept, repeated to make up a share of the whole.

    The repetition is the weight of the labelled data: a minibatch of 200 then has some 20 of them, were there but 100
    among 60,000.

    Args:
        batch: `x` and labels `y` in {0 .. K - 1}.
        keep: how many labels are kept, as many of each class: a multiple of K.
        share: of labelled rows in the result; each is there at least once.
        seed: of the choice.

    Raises:
        DataError: `keep` is no multiple of the number of classes, or a class has too few data.
    """
    y = batch["y"]
    classes = int(y.max()) + 1
    each, rest = divmod(keep, classes)
    if rest or each < 1:
        raise DataError(f"hide_labels keeps as many labels of each of the {classes} classes, got keep={keep}.")
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    chosen = [order[y[order] == label][:each] for label in range(classes)]
    if min(map(len, chosen)) < each:
        raise DataError(f"keep={keep} wants {each} data of each class, and one has {min(map(len, chosen))}.")
    known = torch.cat(chosen)
    times = max(1, round(share / (1 - share) * len(y) / keep))
    rows = torch.cat([torch.arange(len(y)), known.repeat(times)])
    told = torch.cat([torch.full_like(y, -1), y[known].repeat(times)])
    return {**{name: tensor[rows] for name, tensor in batch.items()}, "y": told}

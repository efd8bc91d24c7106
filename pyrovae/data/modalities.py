"""Modalities: several tensors of a data point, any of which may be missing, and the flags that tell which are there.

The flag of the modality `y` is the tensor `has_y`, bool `(N,)`, true where y was observed. Without it, y is always
there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import torch
from torch import Tensor

from pyrovae.checks import check_fraction, check_names, check_seed
from pyrovae.data.batch import Batch
from pyrovae.data.named import named_tensors
from pyrovae.data.transforms import Scale, Transform
from pyrovae.errors import DataError

__all__ = ["Subsets", "every_subset", "flag_of", "hide_modalities"]


def flag_of(name: str) -> str:
    """The name of the tensor that tells where a modality was observed: `has_y` for `y`.

    Args:
        name: the modality.
    """
    return f"has_{name}"


def every_subset(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The non-empty subsets of some names, the small ones first, each in the order of the names.

    Args:
        names: the names of M modalities; there are 2^M - 1 subsets.
    """
    return list(chain.from_iterable(combinations(names, size) for size in range(1, len(names) + 1)))


def hide_modalities(
    batch: Batch, rate: float = 0.5, *, names: Sequence[str] = ("x", "y"), seed: int = 0
) -> dict[str, Tensor]:
    """The batch with flags `has_x`, `has_y`, ..., where modalities are missing completely at random.

    Each modality of a data point is hidden with the same probability, independently. Where all would be hidden, one of
    them, at random, is kept. Hidden values become 0.

    Args:
        batch: named tensors of N data points.
        rate: the probability that a modality of a data point is hidden.
        names: the modalities that may be missing, at least two.
        seed: the seed of the choice.

    Raises:
        DataError: the batch has no such tensor, or fewer than two names are given.
        SettingError: a rate that is not in [0, 1), or a seed that is no whole number from 0 to 2^32 - 1.
    """
    rate, seed = check_fraction("rate", rate, one=False, write=0.5), check_seed("seed", seed)
    batch, names = named_tensors("hide_modalities", batch), check_names("names", names)
    _require_modalities("hide_modalities", batch, names)
    generator = torch.Generator().manual_seed(seed)
    size = len(batch[names[0]])
    shown = torch.rand(size, len(names), generator=generator) >= rate
    kept = torch.randint(len(names), (size, 1), generator=generator) == torch.arange(len(names))
    shown |= kept & ~shown.any(1, keepdim=True)
    flags = dict(zip(names, shown.unbind(1), strict=True))
    hidden = {name: _zeroed(batch[name], flags[name].to(batch[name].device)) for name in names}
    return {**batch, **hidden, **{flag_of(name): flags[name].clone() for name in names}}


def _zeroed(value: Tensor, shown: Tensor) -> Tensor:
    return torch.where(shown.reshape(-1, *[1] * (value.dim() - 1)), value, torch.zeros((), dtype=value.dtype))


def _require_modalities(what: str, batch: Batch, names: Sequence[str]) -> None:
    lacking = [name for name in names if name not in batch]
    if lacking or len(names) < 2:
        raise DataError(
            f"{what} requires at least two modalities that are tensors of the batch, got {', '.join(names)} for a "
            f'batch of {", ".join(batch)}. Write names=("x", "y") for {{"x": x, "y": y}}.'
        )


@dataclass(frozen=True)
class Subsets:
    """Sub-sampled training: at each step each data point shows one subset of its modalities, drawn at random.

    The step then maximises, in expectation, the mean over the subsets S of the bound of log p(x_S), which is MVAE's
    objective divided by the number of its terms. A modality that a data point lacks stays missing; a data point that
    has nothing of the drawn subset shows all that it has.

    Args:
        names: the names of the M modalities.
        transform: what turns stored data into what the model scores, such as `Binarize()`; `Scale()` by default.
        subsets: the subsets to draw from, each with the same probability; by default all that are not empty.

    Raises:
        DataError: fewer than two names, or a subset that is empty or has another name.

    References: Wu & Goodman (2018), arXiv:1802.05335, section 2.2.
    """

    names: Sequence[str]
    transform: Transform = Scale()  # noqa: RUF009
    subsets: Sequence[Sequence[str]] | None = None

    def __post_init__(self) -> None:
        names = check_names("names", self.names)
        wrong = [subset for subset in self.chosen if not subset or not set(subset) <= set(names)]
        if len(names) < 2 or wrong:
            raise DataError(
                f"Subsets requires at least two names, and subsets of them that are not empty, got "
                f'names={tuple(names)} and {wrong or "no further name"}. Write Subsets(("x", "y"), Binarize()).'
            )

    @property
    def chosen(self) -> list[tuple[str, ...]]:
        """The subsets that are drawn from."""
        return every_subset(self.names) if self.subsets is None else [tuple(subset) for subset in self.subsets]

    def prepare(self, batch: Batch) -> Batch:
        """What the inner transform makes of a whole split, `batch`.

        Raises:
            DataError: a modality is not in the batch.
        """
        batch = self.transform.prepare(batch)
        _require_modalities("Subsets", batch, self.names)
        return batch

    def __call__(self, batch: Batch) -> Batch:
        """The transformed `batch`, with the flag of each modality."""
        batch = self.transform(batch)
        like = batch[self.names[0]]
        number = torch.randint(len(self.chosen), (len(like),), device=like.device)
        has = {name: batch.get(flag_of(name), torch.ones_like(number)).bool() for name in self.names}
        shown = {name: has[name] & self._drawn(name, number) for name in self.names}
        empty = ~torch.stack(list(shown.values())).any(0)
        return {**batch, **{flag_of(name): shown[name] | (empty & has[name]) for name in self.names}}

    def _drawn(self, name: str, number: Tensor) -> Tensor:
        """Where the drawn subset, by its number, has a modality."""
        return torch.stack([number == i for i, subset in enumerate(self.chosen) if name in subset] or [number < 0]).any(
            0
        )

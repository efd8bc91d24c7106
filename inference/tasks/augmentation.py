"""New data around each data point, drawn through its code."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_name, check_number, check_seed
from pyrovae.data import Batch
from pyrovae.inference.latent.codes import decode, encode
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.on_data import given
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import ROWS, Transform, device_of, evaluating, placed, seeded, unchanged
from pyrovae.inference.pair.tracing import PairTrace, trace_pair

__all__ = ["around", "augment"]


def augment(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    num_copies: int = 5,
    *,
    stretch: float = 1.0,
    mean: bool = True,
    site: str = "x",
    transform: Transform | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Tensor]:
    """New data around each data point, with its label: `(num_copies * N, *event)`, all N data points, then all again.

    With z ~ q(z | x) and m the code of x, the new data are E[x | z_s], or draws of p(x | z_s), at
    z_s = m + stretch (z - m).

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        num_copies: the number of new data points per data point; the data point itself is not among them.
        stretch: 1 draws from the guide, 0 reconstructs, and a larger number goes further from m than the guide does.
        mean: whether to return the mean of p(x | z_s), or a draw.
        site: the observed site whose data are new; all other tensors are repeated.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of all draws; the global random state is left alone.
        progress: show a bar.

    Raises:
        DataError: the data are no named tensors, or of another type than the pair's parameters.
        PairError: no data; the model has no such site, or no mean there.
        SettingError: num_copies below 1, or a stretch that is not finite.

    References: Norouzi et al. (2020), Exemplar VAE, arXiv:2004.04795, for augmentation by a VAE.
    """
    site, num_copies = check_name("site", site), check_count("num_copies", num_copies, write=5)
    data = entered("augment", data, transform, model, guide)
    size = batch_size(data)
    parts: dict[str, list[Tensor]] = {}
    new = around(model, guide, data, num_copies, stretch=stretch, mean=mean, site=site, transform=transform, seed=seed)
    with progress_bar(progress, size, "data point") as bar:
        for batch, drawn in new:
            for name, tensor in batch.items():
                repeated = drawn if name == site else tensor.expand(num_copies, *tensor.shape)
                parts.setdefault(name, []).append(repeated)
            bar.update(batch_size(batch))
    return {name: torch.cat(part, 1).flatten(0, 1) for name, part in parts.items()}


def around(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    num_copies: int,
    *,
    stretch: float = 1.0,
    mean: bool = True,
    site: str = "x",
    transform: Transform | None = None,
    seed: int = 0,
) -> Iterator[tuple[Batch, Tensor]]:
    """The data batch by batch, transformed, each with what is drawn around it, `(num_copies, B, *event)`.

    Args:
        model, guide, data, num_copies, stretch, mean, site, transform, seed: as in `augment`.
    """
    stretch, seed = check_number("stretch", stretch, write=1.0), check_seed("seed", seed)
    device, rows = device_of(model, guide), max(1, ROWS // num_copies)
    traces = _first_run(model, guide, data, transform, seed)
    for part, start in enumerate(range(0, batch_size(data), rows), seed):
        with seeded(part, device):
            batch = placed(data, transform, device, slice(start, start + rows))
        many = {name: tensor.repeat(num_copies, *[1] * (tensor.dim() - 1)) for name, tensor in batch.items()}
        codes = encode(model, guide, many, transform=unchanged, mean=False, seed=part)
        centre = encode(model, guide, many, transform=unchanged) if stretch != 1 else {}
        moved = {name: m + stretch * (codes[name] - m) for name, m in centre.items() if m.is_floating_point()}
        drawn = decode(model, codes | moved, given=given(traces, many), site=site, mean=mean, seed=part)
        yield batch, drawn.unflatten(0, (num_copies, -1))


def _first_run(
    model: ProgramLike, guide: ProgramLike, data: Batch, transform: Transform | None, seed: int
) -> PairTrace:
    """A run on the first two data points, which shows the model's sites."""
    device = device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        return trace_pair(model, guide, placed(data, transform, device, slice(2)), data_size=batch_size(data))

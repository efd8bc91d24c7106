"""Anomaly scores of entries: which pixels or columns of a data point are surprising."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.checks import check_count, check_name
from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, Site
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform
from pyrovae.inference.pair.tracing import sites
from pyrovae.models.distributions.columns import Columns

__all__ = ["entry_scores"]


def entry_scores(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 100,
    transform: Transform | None = None,
    site: str = "x",
    memory: int = MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """-E_q log p(x_i | z) of each entry i, `(N, *plates, *event)`, in nats: which pixels or columns are surprising.

    The scores of a data point add up to its distortion at that site. Compare the score of an entry with the scores of
    the same entry in clean data: an entry that z does not determine has a high score there too.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        num_samples: the number of draws per data point.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        site: the observed site.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the draws; the global random state is left alone.
        progress: show a bar.

    Raises:
        DataError: the data are no named tensors, or of another type than the pair's parameters.
        SettingError: num_samples below 1.
        PairError: no data, no such site, a latent that the guide leaves out, or a distribution whose log-probability
            is no sum over entries.
    """
    site, num_samples = check_name("site", site), check_count("num_samples", num_samples, write=100)
    with (
        on_data("entry_scores", model, guide, data, transform, memory=memory, seed=seed) as pair,
        progress_bar(progress, pair.size, "data point") as bar,
    ):
        found = _observed(pair, site)
        results = []
        for where, draws in pair.chunks(num_samples):
            size, total = where.stop - where.start, torch.zeros(())
            for scored in draws:
                node, shape = sites(scored.pair.model)[site], (len(scored.terms.log_likelihood), size)
                by_entry = by_dimension(-_by_entries(node["fn"], node["value"], site), node, shape, pair.layout.depth)
                total = total + by_entry.double().sum(0)
            results.append(total.cpu() / num_samples)
            bar.update(size)
        value, depth = found["value"], found["value"].dim() - found["fn"].event_dim
        return torch.cat(results).unflatten(-1, (*value.shape[: depth - 1], *value.shape[depth:], 1)).squeeze(-1)


def _observed(pair: PairOnData, site: str) -> Site:
    """The site in the first run, checked."""
    found = pair.traces.observed()
    if site not in found:
        raise PairError(f"the model observes no site '{site}', it observes {', '.join(map(repr, found))}. Pass one.")
    if undrawn := pair.traces.undrawn():
        raise PairError(
            f"entry_scores requires a guide that draws all latents, and '{undrawn[0]}' is summed out. Add "
            f"pyro.sample('{undrawn[0]}', ...) to the guide."
        )
    return found[site]


def _by_entries(fn: Any, value: Tensor, site: str) -> Tensor:
    """log p(x_i) of each entry, `(*batch, *event)`.

    Raises:
        PairError: the entries are not independent under `fn`.
    """
    if not fn.event_shape:
        return fn.log_prob(value)
    if isinstance(fn, Columns):
        return torch.cat([_by_entries(part, x, site) for part, x in fn.split(value)], -1)
    if isinstance(fn, dist.MaskedDistribution):
        mask = torch.as_tensor(fn._mask)
        return _by_entries(fn.base_dist, value, site) * mask.reshape(*mask.shape, *[1] * len(fn.event_shape))
    if hasattr(fn, "reinterpreted_batch_ndims"):
        return _by_entries(fn.base_dist, value, site)
    raise PairError(
        f"entry_scores requires a likelihood with independent entries, got {type(fn).__name__} at site '{site}', "
        f"which scores {tuple(fn.event_shape)} numbers jointly. Write a distribution that ends with .to_event(n)."
    )

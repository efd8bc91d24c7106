"""Anomaly scores of any pair: how surprising a datum is, which of its entries made it so, and where to draw the line.

Every score is higher for the more anomalous. All but the squared errors are in nats per datum.
"""

import io
import math
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import DataError, PairError, ShapeError
from pyrovae.inference.diagnostics import gaps
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.latent.codes import reconstruct
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.on_data import by_dimension, on_data
from pyrovae.inference.pair.running import MEMORY, ROWS, batches, device_of, seeded
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT
from pyrovae.inference.pair.tracing import sites
from pyrovae.models.distributions.columns import Columns

__all__ = ["SCORES", "anomaly_scores", "complexity", "entry_scores", "threshold"]


def anomaly_scores(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    kind: str = "elbo",
    num_samples: int = 100,
    transform: Any = None,
    seed: int = 0,
    **options: Any,
) -> Tensor:
    """The score of each datum, `(N,)` in float64, higher for the more anomalous.

    `"elbo"`: -ELBO(x) = -E_q log p(x | z) + KL(q || p).
    `"evidence"`: -log p(x), importance-sampled.
    `"reconstruction"`: -E_q log p(x | z), the reconstruction probability.
    `"error"`: |x - E[x | z]|^2 at the mean code z, in squares of the data's unit.
    `"error+rate"`: the same plus KL(q || p), as tutorials do; -ELBO of a normal likelihood of scale 1 / sqrt(2), but
        for a constant.
    `"regret"`: max_q' ELBO(q') - ELBO(q), q' free for this datum: by how much the encoder fails on it.
    `"complexity"`: -log p(x) - `complexity(x)`, since simple data are probable whatever a model was trained on.

    Args:
        kind: one of these.
        num_samples: draws per datum.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default); a random one is drawn once.
        seed: of all draws; the global random state is left alone.
        options: further ones of `evaluate`, or for the regret of `gaps` (`num_steps`, `lr`, `num_particles`).

    Raises:
        PairError: no such kind, no data, or a latent of all data where p(x) of one datum is asked for.
        ShapeError, DataError: data whose complexity is not known.

    References: An & Cho (2015), Variational autoencoder based anomaly detection using reconstruction probability; Xiao
    et al. (2020), Likelihood regret, arXiv:2003.02977; Serrà et al. (2020), Input complexity, arXiv:1909.11480.
    """
    if kind not in SCORES:
        raise PairError(f"anomaly_scores knows no kind {kind!r}. Choose from {', '.join(map(repr, SCORES))}.")
    if batch_size(data) == 0:
        raise PairError("anomaly_scores wants data, got an empty batch. Pass a split that is not empty, data.test say.")
    device = device_of(model, guide)
    with seeded(seed, device):
        parts = list(batches(data, ROWS, transform or Scale(), device))
    seen = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return SCORES[kind](model, guide, seen, num_samples=num_samples, seed=seed, **options)


def _evaluated(name: str, model: ProgramLike, guide: ProgramLike, data: Batch, **options: Any) -> Tensor:
    """A part of the ELBO, or the evidence, of each datum."""
    value = evaluate(model, guide, data, **options).per_datum[name]
    if value.isnan().all():
        raise PairError(NOT_INDEPENDENT)
    return value


def _negative(name: str, *pair: Any, **options: Any) -> Tensor:
    return -_evaluated(name, *pair, **options)


def _error(model: ProgramLike, guide: ProgramLike, data: Batch, **_: Any) -> Tensor:
    """|x - E[x | z]|^2 at the mean code."""
    errors = []
    for start in range(0, batch_size(data), ROWS):
        batch = {name: tensor[start : start + ROWS] for name, tensor in data.items()}
        residual = batch["x"] - reconstruct(model, guide, batch)
        errors.append(residual.double().flatten(1).square().sum(1))
    return torch.cat(errors).cpu()


def _error_and_rate(*pair: Any, **options: Any) -> Tensor:
    return _error(*pair) + _evaluated("rate", *pair, **options)


def _regret(*pair: Any, **options: Any) -> Tensor:
    return gaps(*pair, **options).per_datum["amortisation"]


def _beyond_complexity(model: ProgramLike, guide: ProgramLike, data: Batch, **options: Any) -> Tensor:
    return -_evaluated("log_evidence", model, guide, data, **options) - complexity(data["x"])


SCORES: dict[str, Callable[..., Tensor]] = {
    "elbo": partial(_negative, "elbo"),
    "evidence": partial(_negative, "log_evidence"),
    "reconstruction": partial(_evaluated, "distortion"),
    "error": _error,
    "error+rate": _error_and_rate,
    "regret": _regret,
    "complexity": _beyond_complexity,
}
"""The kinds of score."""


def complexity(x: Tensor) -> Tensor:
    """How long a datum is when compressed, in nats, `(N,)` in float64: an upper bound of its complexity.

    Images `(N, C, H, W)` of C = 1 or 3 and values in [0, 1] are written as 8-bit PNG, a header of the same length for
    all included; whole numbers in 0 ... 255 of any other shape by zlib.

    Raises:
        DataError: x is neither.

    References: Serrà et al. (2020), arXiv:1909.11480.
    """
    x = x.detach().cpu()
    low, high = x.min().item(), x.max().item()
    if x.dim() == 4 and x.shape[1] in (1, 3) and x.is_floating_point() and low >= 0 and high <= 1:
        lengths = [len(_png(image)) for image in (x * 255).round().byte()]
    elif low >= 0 and high <= 255 and (x == x.round()).all():
        lengths = [len(zlib.compress(datum.numpy().tobytes(), 9)) for datum in x.byte()]
    else:
        raise DataError(
            f"complexity wants images (N, C, H, W), C = 1 or 3, with values in [0, 1], or whole numbers in 0 ... 255, "
            f"got {tuple(x.shape)} with values from {low:.3g} to {high:.3g}. Score such data by "
            "kind='evidence'."
        )
    return torch.tensor(lengths, dtype=torch.float64) * 8 * math.log(2)


def _png(image: Tensor) -> bytes:
    """Bytes `(C, H, W)` as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy()).save(file, "png", optimize=True)
    return file.getvalue()


def entry_scores(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 100,
    transform: Any = None,
    site: str = "x",
    memory: int = MEMORY,
    seed: int = 0,
) -> Tensor:
    """-E_q log p(x_i | z) of each entry i, `(N, *plates, *event)`, in nats: the pixels or columns that surprise.

    Their sum is the datum's distortion at that site. Compare an entry with the same one of clean data: one that no z
    tells has a high score in all of them.

    Raises:
        PairError: no data, no such site, a latent that the guide leaves out, or a distribution whose log-probability
            is no sum over entries.
    """
    with on_data("entry_scores", model, guide, data, transform, memory=memory, seed=seed) as subject:
        found = subject.traces.observed()
        if site not in found:
            raise PairError(
                f"the model observes no site '{site}', but {', '.join(map(repr, found))}. Pass one of them."
            )
        if undrawn := subject.traces.undrawn():
            raise PairError(f"entry_scores wants all latents drawn, and '{undrawn[0]}' is summed out.")
        results = []
        for where, draws in subject.chunks(num_samples):
            shape, total = (0, where.stop - where.start), torch.zeros(())
            for scored in draws:
                node = sites(scored.pair.model)[site]
                shape = (len(scored.terms.log_likelihood), shape[1])
                by_entry = by_dimension(-by_entries(node["fn"], node["value"], site), node, shape, subject.layout.depth)
                total = total + by_entry.double().sum(0)
            results.append(total.cpu() / num_samples)
        value, depth = found[site]["value"], found[site]["value"].dim() - found[site]["fn"].event_dim
        return torch.cat(results).unflatten(-1, (*value.shape[: depth - 1], *value.shape[depth:], 1)).squeeze(-1)


def by_entries(fn: Any, value: Tensor, site: str = "x") -> Tensor:
    """log p(x_i) of each entry, `(*batch, *event)`.

    Raises:
        PairError: the entries are not independent under `fn`.
    """
    if not fn.event_shape:
        return fn.log_prob(value)
    if isinstance(fn, Columns):
        return torch.cat([by_entries(part, x, site) for part, x in fn.split(value)], -1)
    if isinstance(fn, dist.MaskedDistribution):
        mask = torch.as_tensor(fn._mask)
        return by_entries(fn.base_dist, value, site) * mask.reshape(*mask.shape, *[1] * len(fn.event_shape))
    if hasattr(fn, "reinterpreted_batch_ndims"):
        return by_entries(fn.base_dist, value, site)
    raise PairError(
        f"site '{site}' has the distribution {type(fn).__name__}, scoring {tuple(fn.event_shape)} numbers together. "
        "Entries have scores where the likelihood is independent by entry, as those that end with .to_event(n)."
    )


def threshold(scores: Tensor, *, quantile: float | None = None, false_alarms: float | None = None) -> float:
    """Where to draw the line: what scores higher is called anomalous.

    Args:
        scores: of clean data that the pair was not trained on, `(N,)`; of its training data they are too low.
        quantile: that quantile of the scores, in [0, 1].
        false_alarms: instead, so that a new clean datum lies above it with at most this probability, in (0, 1): the
            ceil((N + 1) (1 - false_alarms))-th smallest score. It holds on average over such sets of N, for any pair.

    Raises:
        DataError: neither or both are asked for, or one outside its range; scores that are NaN, or too few for so
            small a rate, which takes N >= 1 / false_alarms - 1.

    References: Vovk et al. (2005), Algorithmic learning in a random world (conformal prediction).
    """
    if (quantile is None) == (false_alarms is None):
        raise DataError("threshold wants one of the two: quantile=0.95, or false_alarms=0.05.")
    if scores.dim() != 1 or len(scores) == 0:
        raise ShapeError(f"threshold wants the scores of N > 0 data, (N,), got {tuple(scores.shape)}.")
    if scores.isnan().any():
        raise DataError(f"threshold wants numbers, got {int(scores.isnan().sum())} NaN of {len(scores)} scores.")
    if quantile is not None:
        if not 0 <= quantile <= 1:
            raise DataError(f"threshold wants a quantile in [0, 1], got {quantile!r}.")
        return scores.double().quantile(quantile).item()
    if not 0 < false_alarms < 1:  # type: ignore[operator]
        raise DataError(f"threshold wants a rate of false alarms in (0, 1), got {false_alarms!r}.")
    rank = math.ceil(round((len(scores) + 1) * (1 - false_alarms), 9))  # type: ignore[operator]
    if rank > len(scores):
        raise DataError(
            f"no threshold has at most {false_alarms:g} false alarms by {len(scores)} scores: take at least "
            f"{math.ceil(1 / false_alarms) - 1} clean data, or a higher rate."  # type: ignore[operator]
        )
    return scores.double().sort().values[rank - 1].item()

"""Intervals of latents that hold what they say: a conformal correction, fitted on simulations that the model makes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_fraction
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, shortened
from pyrovae.errors import PairError, SettingError, ShapeError
from pyrovae.inference.diagnostics.scored import drawn_sites
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, unchanged
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.simulation import simulate
from pyrovae.inference.pair.tracing import sites

__all__ = ["Recalibration", "recalibrate"]

MOST_ROWS = 1000  # data points per call


@dataclass(frozen=True, repr=False)
class Recalibration(Shown):
    """How far simulated latents are from the guide's median, in units of its scale on that side.

    The interval of level a is [median - t s_below, median + t s_above], where s_below and s_above are the root mean
    squares of the draws' distances to their median on each side. The temperature t is the ceil((N + 1) a)-th smallest
    score of N simulations, so the interval of the latent behind a new simulated data point has coverage of at least a,
    and of at most a + 1/(N + 1), whatever the guide: averaged over data points, for each dimension alone.

    Attributes:
        scores: the distances, `(N, D)` by latent site.
        own: the same of a draw of the guide in place of the latent: what a calibrated guide would have.
        num_samples: S, the number of draws that median and scale are computed from.
        absent: why a latent site has no intervals, by name.

    References: Vovk et al. (2005), Algorithmic learning in a random world; Romano et al. (2019), arXiv:1905.03222, for
    intervals whose width depends on x.
    """

    scores: dict[str, Tensor]
    own: dict[str, Tensor]
    num_samples: int
    absent: dict[str, str] = field(default_factory=dict)

    def temperature(self, level: float = 0.9) -> dict[str, Tensor]:
        """The number of scales to each side of the median, t, `(D,)` by latent site.

        Args:
            level: the coverage, below 1.

        Raises:
            SettingError: there are too few simulations for the level.
        """
        return {name: _conformal(scores, level) for name, scores in self.scores.items()}

    def stretch(self, level: float = 0.9) -> dict[str, Tensor]:
        """By what the guide's own intervals are multiplied, `(D,)` by latent site: above 1 where it is too narrow.

        Args:
            level: the coverage, below 1.
        """
        return {name: t / _conformal(self.own[name], level) for name, t in self.temperature(level).items()}

    def intervals(self, latents: Mapping[str, Tensor], level: float = 0.9) -> dict[str, tuple[Tensor, Tensor]]:
        """The lower and upper ends of intervals of the latents of data points, `(N, *)` each by latent site.

        Args:
            latents: draws by latent site, `(S, N, *)`, such as `posterior(model, guide, data, S).latents`. The
                guarantee requires the S draws that the correction was fitted with.
            level: the coverage, below 1.

        Raises:
            ShapeError: another number of draws, or of dimensions.
            SettingError: there are too few simulations for the level.
        """
        found = {}
        for name, t in self.temperature(level).items():
            draws = latents[name]
            if len(draws) != self.num_samples or draws[0, 0].numel() != len(t):
                raise ShapeError(
                    f"intervals requires {self.num_samples} draws of {len(t)} numbers at '{name}', got shape "
                    f"{tuple(draws.shape)}. Write posterior(model, guide, data, {self.num_samples}).latents."
                )
            middle, below, above = _spread(draws.flatten(2) if draws.dim() > 2 else draws[..., None])
            ends = middle - t * below, middle + t * above
            found[name] = ends[0].reshape(draws.shape[1:]), ends[1].reshape(draws.shape[1:])
        return found

    def cells(self) -> Cells:
        stretch, temperature = self.stretch(), self.temperature()
        rows = []
        for name, factors in stretch.items():
            own = _conformal(self.own[name], 0.9)
            held = (self.scores[name] <= own).double().mean(0)
            for d, factor in enumerate(factors.tolist()):
                t = f"{temperature[name][d].item():.2f}"
                rows.append((f"{name}[{d}]", f"{100 * held[d].item():.0f} %", f"{factor:.2f}", t))
        shown, more = shortened(rows)
        notes = [f"{name}: {reason}" for name, reason in self.absent.items()]
        count = len(next(iter(self.scores.values())))
        notes += [f"90 % intervals, {count:,} simulations, {self.num_samples} draws"]
        return Cells(shown, ("dimension", "the guide's hold", "stretch", "temperature"), after=[*more, *notes])


def recalibrate(
    model: ProgramLike,
    guide: ProgramLike,
    num_simulations: int = 500,
    *,
    num_samples: int = 100,
    given: Batch | None = None,
    memory: int = MEMORY,
    seed: int = 1,
    progress: bool = False,
) -> Recalibration:
    """Fit a correction of the guide's intervals on simulations, so that they have the coverage that they state.

    `Recalibration` has the formula and the guarantee. It holds for data that the model simulates; for other data as far
    as they are like these, which `diagnose` tests (data conflict).

    Args:
        model, guide: the pair; the model takes an argument `size`.
        num_simulations: N, the number of simulated data points; level a requires at least a / (1 - a) of them.
        num_samples: S, draws per data point.
        given: what the model conditions on, such as `y`, at least N rows.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the simulations and the draws. Its default is another one than that of `calibration`, so that
            the one can judge the other.
        progress: show a bar over the simulated data points.

    Raises:
        SettingError: fewer than 9 simulations or 4 draws.
        PairError: a latent outside the plate "data"; no latent that is a number; a guide that is a point; a model that
            does not generate.
        ShapeError: too few rows are given.
    """
    check_count("num_simulations", num_simulations, 9, write=500)
    check_count("num_samples", num_samples, 4, write=100)
    data, simulated = simulate("recalibrate", model, guide, num_simulations, given or {}, seed)
    with on_data("recalibrate", model, guide, data, unchanged, memory=memory, seed=seed + 1) as pair:
        pair.require_independent()
        found = {name: site for name, site in sites(simulated).items() if name in pair.traces.latent()}
        depth, shape = pair.layout.depth, (1, num_simulations)
        truth = {name: by_dimension(site["value"], site, shape, depth)[0] for name, site in found.items()}
        labels = [name for name, value in truth.items() if _is_label(found[name], value)]
        truth = {name: value for name, value in truth.items() if name not in labels}
        scores, own = _scores(pair, truth, num_samples, progress)
    absent = dict.fromkeys(labels, "labels have no intervals")
    return Recalibration(scores, own, num_samples, absent)


def _is_label(site: Site, value: Tensor) -> bool:
    """Whether a latent is discrete; one-hot vectors and codes are, though they are floats."""
    try:
        return not value.is_floating_point() or bool(site["fn"].support.is_discrete)
    except NotImplementedError:
        return False


def _scores(
    pair: PairOnData, truth: dict[str, Tensor], num_samples: int, progress: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The scores of the true latents, and those of one more draw of the guide, `(N, D)` by latent site."""
    if not truth:
        raise PairError("recalibrate requires a latent that is a number, got labels alone. Use calibration.")
    scores: dict[str, list[Tensor]] = {name: [] for name in truth}
    own: dict[str, list[Tensor]] = {name: [] for name in truth}
    rows = max(1, pair.memory // (64 * num_samples * max(value.shape[1] for value in truth.values())))
    with progress_bar(progress, pair.size, "data point") as bar:
        for where, batch in pair.batches(min(rows, MOST_ROWS)):
            draws, more = _draws(pair, batch, num_samples), _draws(pair, batch, 1)
            for name, true in truth.items():
                parts = _spread(draws[name])
                scores[name].append(_score(true[where], *parts).cpu())
                own[name].append(_score(more[name][0], *parts).cpu())
            bar.update(batch_size(batch))
    found = {name: torch.cat(parts) for name, parts in scores.items()}
    for name, values in found.items():
        if not values.isfinite().all():
            raise PairError(
                f"recalibrate requires draws that differ, got a guide that is a point at '{name}', which has no "
                "intervals. Write a distribution with a scale there, such as NormalGuide's."
            )
    return found, {name: torch.cat(parts) for name, parts in own.items()}


def _draws(pair: PairOnData, batch: Batch, count: int) -> dict[str, Tensor]:
    """Draws of the guide at each latent, `(S, B, D)`."""
    depth = pair.layout.depth
    run = run_pair(lambda: None, lambda: call(pair.guide, batch, data_size=pair.size), count, depth)
    shape = count, batch_size(batch)
    return {
        name: by_dimension(site["value"], site, shape, depth) for name, site in drawn_sites(pair, run.guide).items()
    }


def _spread(draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The median of draws `(S, N, D)`, and the root mean squares of the distances to it below and above it."""
    draws = draws.double()
    middle = draws.median(0).values
    off = draws - middle
    below, above = (
        ((side.clamp_min(0).square().sum(0)) / (side > 0).sum(0).clamp_min(1)).sqrt() for side in (-off, off)
    )
    return middle, below, above


def _score(value: Tensor, middle: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """How far a value is from the median, in units of the scale on its side."""
    off = value.double() - middle
    return torch.where(off == 0, 0.0, off.abs() / torch.where(off < 0, below, above))


def _conformal(scores: Tensor, level: float) -> Tensor:
    """The ceil((N + 1) level)-th smallest score of each column."""
    level = check_fraction("level", level, ends=False, write=0.9)
    count = len(scores)
    place = math.ceil((count + 1) * level - 1e-9)
    if place > count:
        least = math.ceil(level / (1 - level) - 1e-9)
        raise SettingError(
            f"A coverage of {level} requires {least} simulations, got {count}. Write recalibrate(..., {least})."
        )
    return scores.sort(0).values[max(place, 1) - 1]

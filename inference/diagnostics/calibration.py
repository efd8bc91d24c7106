"""Simulation-based calibration of a guide: the rank of a simulated latent among the guide's draws."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, shortened
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, unchanged
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.simulation import simulate
from pyrovae.inference.pair.tracing import sites

__all__ = ["Calibration", "calibration", "p_text"]

MOST_BINS = 20
PER_BIN = 5  # expected ranks in a bin; with fewer the chi-square approximation fails
SIGMAS = 3.0
MOST_ROWS = 1000  # data points per call


@dataclass(frozen=True, repr=False)
class Calibration(Shown):
    """Ranks of simulated latents among draws of the guide: uniform on {0 ... L} if the guide is the posterior.

    Attributes:
        ranks: the number of the L draws of q(z | x_n) that are below z_n, `(N, D)` by latent site, int64.
        p_values: p-values of the chi-square test of uniformity in each dimension, `(D,)` by latent site.
        num_samples: L.
    """

    ranks: dict[str, Tensor]
    p_values: dict[str, Tensor]
    num_samples: int

    @property
    def p_value(self) -> float:
        """The p-value of the hypothesis that all ranks are uniform: the smallest times their number (Bonferroni)."""
        every = torch.cat(list(self.p_values.values()))
        return min(1.0, every.min().item() * len(every))

    def shape(self, latent: str) -> tuple[Tensor, Tensor]:
        """How many standard errors the variance and the mean of the ranks are off in each dimension, `(D,)` each.

        A variance that is too high (ranks at both ends) means that the guide is too narrow, one that is too low that it
        is too wide. A mean that is too high means that the guide's draws are too low.

        Args:
            latent: the name of a latent site.
        """
        levels, count = self.num_samples + 1, len(self.ranks[latent])
        u = (self.ranks[latent].double() + 0.5) / levels
        variance = (1 - levels**-2) / 12
        spread = (u.var(0, correction=0) - variance) / math.sqrt(1 / 180 / count)
        return spread, (u.mean(0) - 0.5) / math.sqrt(variance / count)

    def words(self, threshold: float = 0.01) -> str:
        """The verdict on the ranks; a dimension is shifted if its mean is further off than its variance.

        Args:
            threshold: the p-value below which ranks are not uniform; Bonferroni divides it by their number.
        """
        every = torch.cat(list(self.p_values.values()))
        bad = every < threshold / len(every)
        if not bad.any():
            return "the ranks of simulated latents are uniform: the guide is calibrated on the model's own data"
        spread, off = (torch.cat(parts)[bad] for parts in zip(*map(self.shape, self.ranks), strict=True))
        found = {
            "too narrow": (spread > SIGMAS) & (spread > off.abs()),
            "too wide": (spread < -SIGMAS) & (-spread > off.abs()),
            "shifted": (off.abs() > SIGMAS) & (off.abs() >= spread.abs()),
        }
        said = [f"{words} in {int(n.sum())} of {len(every)} dimensions" for words, n in found.items() if n.any()]
        return "the guide is " + (
            ", ".join(said) or f"of the wrong shape in {int(bad.sum())} of {len(every)} dimensions"
        )

    def misses(self, threshold: float = 0.01) -> bool:
        """Whether the guide fails to draw where the latents are: it is too narrow, shifted, or of the wrong shape.

        A guide that is too wide fails the test of uniform ranks too, but draws everywhere.

        Args:
            threshold: as in `words`.
        """
        every = torch.cat(list(self.p_values.values()))
        spread = torch.cat([self.shape(name)[0] for name in self.ranks])
        off = torch.cat([self.shape(name)[1] for name in self.ranks])
        wide = (spread < -SIGMAS) & (-spread > off.abs())
        return bool(((every < threshold / len(every)) & ~wide).any())

    def cells(self) -> Cells:
        rows = []
        for name, p_values in self.p_values.items():
            spread, off = self.shape(name)
            for d, p in enumerate(p_values.tolist()):
                rows.append((f"{name}[{d}]", p_text(p), f"{spread[d].item():.1f}", f"{off[d].item():.1f}"))
        count = len(next(iter(self.ranks.values())))
        shown, more = shortened(rows)
        notes = [
            f"variance and mean of the ranks in standard errors from uniform ones; {count:,} simulations",
            f"p-value {p_text(self.p_value)}: {self.words()}",
        ]
        return Cells(shown, ("dimension", "p-value", "variance", "mean"), after=[*more, *notes])


def p_text(p: float) -> str:
    """A p-value as every table and page prints it; below 1e-16 its size means nothing.

    Args:
        p: the p-value.
    """
    return "< 1e-16" if p < 1e-16 else f"{p:.3g}"


def calibration(
    model: ProgramLike,
    guide: ProgramLike,
    num_simulations: int = 500,
    *,
    num_samples: int = 99,
    given: Batch | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Calibration:
    """Simulate z_n and x_n from the model, draw z from q(z | x_n), and rank z_n among the draws in each dimension.

    This judges the guide on the model's own data, where it may do worse or better than on yours. Equal values, such as
    equal labels, are ranked at random.

    Args:
        model, guide: the pair; the model takes an argument `size`.
        num_simulations: N, the number of simulated data points.
        num_samples: L, draws per data point. Choose L + 1 with many divisors: the bins of the test are then equal.
        given: what the model conditions on, such as `y`, at least N rows.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the simulations and the draws; the global random state is left alone.
        progress: show a bar over the simulated data points.

    Raises:
        SettingError: fewer than 25 simulations or 4 draws.
        PairError: a latent outside the plate "data"; a model that does not
            generate.
        ShapeError: too few rows are given.

    References: Talts et al. (2018), Validating Bayesian inference algorithms with simulation-based calibration,
    arXiv:1804.06788; Yao et al. (2018), arXiv:1802.02538, for guides.
    """
    check_count("num_simulations", num_simulations, 5 * PER_BIN, write=500)
    check_count("num_samples", num_samples, 4, write=99)
    data, simulated = simulate("calibration", model, guide, num_simulations, given or {}, seed)
    with on_data("calibration", model, guide, data, unchanged, memory=memory, seed=seed + 1) as pair:
        pair.require_independent()
        drawn = {name: site for name, site in sites(simulated).items() if name in pair.traces.latent()}
        shape, depth = (1, num_simulations), pair.layout.depth
        truth = {name: by_dimension(site["value"], site, shape, depth)[0] for name, site in drawn.items()}
        ranks = _all_ranks(pair, truth, num_samples, progress)
    return Calibration(ranks, {name: _p_values(r, num_samples) for name, r in ranks.items()}, num_samples)


def _all_ranks(pair: PairOnData, truth: dict[str, Tensor], count: int, progress: bool) -> dict[str, Tensor]:
    """The ranks of the true latents `(N, D)` among `count` draws of the guide for each data point, `(N, D)`."""
    parts: dict[str, list[Tensor]] = {}
    rows = max(1, pair.memory // (64 * count * max(t.shape[1] for t in truth.values())))
    with progress_bar(progress, pair.size, "data point") as bar:
        for where, batch in pair.batches(min(rows, MOST_ROWS)):
            for name, draws in _draws(pair, batch, count).items():
                parts.setdefault(name, []).append(_ranks(draws, truth[name][where]))
            bar.update(batch_size(batch))
    return {name: torch.cat(part).cpu() for name, part in parts.items()}


def _draws(pair: PairOnData, batch: Batch, count: int) -> dict[str, Tensor]:
    """Draws of the guide at each latent, `(L, B, D)`."""
    depth, shape = pair.layout.depth, (count, batch_size(batch))
    drawn = run_pair(lambda: None, partial(call, pair.guide, batch), count, depth)
    latent = {name: site for name, site in sites(drawn.guide).items() if name in pair.traces.latent()}
    return {name: by_dimension(site["value"], site, shape, depth) for name, site in latent.items()}


def _ranks(draws: Tensor, truth: Tensor) -> Tensor:
    """The number of draws `(L, B, D)` below the truth `(B, D)`, plus a random number of those equal to it."""
    equal = (draws == truth).sum(0)
    return (draws < truth).sum(0) + (torch.rand(equal.shape, device=equal.device) * (equal + 1)).long()


def _p_values(ranks: Tensor, num_samples: int) -> Tensor:
    """p-values of the chi-square test that each column is uniform on {0 ... L}, `(D,)`."""
    levels, most = num_samples + 1, min(MOST_BINS, len(ranks) // PER_BIN)
    bins = max(b for b in range(1, most + 1) if levels % b == 0)
    if bins < 2:  # the number of ranks is prime, so the bins differ in width
        bins = min(most, levels)
    edges = torch.arange(levels) * bins // levels
    expected = len(ranks) * edges.bincount(minlength=bins).double() / levels
    counts = torch.stack([(edges[ranks] == b).sum(0) for b in range(bins)]).double()
    statistic = ((counts - expected[:, None]).square() / expected[:, None]).sum(0)
    return torch.special.gammaincc(torch.full_like(statistic, (bins - 1) / 2), statistic / 2)

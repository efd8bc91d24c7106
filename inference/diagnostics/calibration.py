"""Simulation-based calibration of a guide: where a simulated latent ranks among the guide's draws."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.running import MEMORY, unchanged
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.simulation import simulate
from pyrovae.inference.pair.tracing import sites

__all__ = ["Calibration", "calibration"]

MOST_BINS = 20
PER_BIN = 5  # expected ranks in a bin, for the chi-square to hold
SIGMAS = 3.0


@dataclass(frozen=True)
class Calibration:
    """Ranks of simulated latents among draws of the guide: uniform on {0 ... L} where the guide is the posterior.

    Attributes:
        ranks: for each latent site `(N, D)`, int64: how many of the L draws of q(z | x_n) are below z_n.
        p_values: of the chi-square test of uniformity of each dimension, `(D,)`.
        num_samples: L.
    """

    ranks: dict[str, Tensor]
    p_values: dict[str, Tensor]
    num_samples: int

    @property
    def p_value(self) -> float:
        """Of the hypothesis that all ranks are uniform: the smallest p-value times their number (Bonferroni)."""
        every = torch.cat(list(self.p_values.values()))
        return min(1.0, every.min().item() * len(every))

    def shape(self, site: str) -> tuple[Tensor, Tensor]:
        """How many standard errors variance and mean of the ranks of each dimension are off, `(D,)` each.

        A variance too high (ranks at both ends) says that the guide is too narrow, one too low that it is too wide; a
        mean too high that its draws lie too low.
        """
        levels, count = self.num_samples + 1, len(self.ranks[site])
        u = (self.ranks[site].double() + 0.5) / levels
        variance = (1 - levels**-2) / 12
        spread = (u.var(0, correction=0) - variance) / math.sqrt(1 / 180 / count)
        return spread, (u.mean(0) - 0.5) / math.sqrt(variance / count)

    def words(self, threshold: float = 0.01) -> str:
        """What the ranks say; a dimension whose mean is further off than its variance is shifted."""
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
        return "the guide is " + (", ".join(said) or f"of another shape in {int(bad.sum())} of {len(every)} dimensions")


def calibration(
    model: ProgramLike,
    guide: ProgramLike,
    size: int = 500,
    *,
    num_samples: int = 99,
    given: Batch | None = None,
    memory: int = MEMORY,
    seed: int = 0,
) -> Calibration:
    """Simulate z_n and x_n from the model, draw z from q(z | x_n), and rank z_n among the draws in each dimension.

    This judges the guide on the model's own data, where it may do worse, or better, than on yours. Equal values, as
    labels have, are ranked at random.

    Args:
        size: N simulations.
        num_samples: L draws; L + 1 with many divisors suits the bins of the test.
        given: what the model conditions on, such as `y`, at least N rows.

    Raises:
        PairError: fewer than 25 simulations, fewer than 4 draws, a latent of all data, a model that does not generate.
        ShapeError: too few rows are given.

    References: Talts et al. (2018), Validating Bayesian inference algorithms with simulation-based calibration,
    arXiv:1804.06788; Yao et al. (2018), arXiv:1802.02538, for guides.
    """
    if size < 5 * PER_BIN or num_samples < 4:
        raise PairError(f"calibration wants size >= {5 * PER_BIN} and num_samples >= 4, got {size} and {num_samples}.")
    data, simulated = simulate("calibration", model, guide, size, given or {}, seed)
    with on_data("calibration", model, guide, data, unchanged, memory=memory, seed=seed + 1) as subject:
        subject.require_independent()
        parts: dict[str, list[Tensor]] = {}
        drawn = {name: site for name, site in sites(simulated).items() if name in subject.traces.latent()}
        truth = {n: by_dimension(s["value"], s, (1, size), subject.layout.depth)[0] for n, s in drawn.items()}
        rows = max(1, memory // (64 * num_samples * max(t.shape[1] for t in truth.values())))
        for where, batch in subject.batches(min(rows, 1000)):
            for name, draws in _draws(subject, batch, num_samples).items():
                parts.setdefault(name, []).append(_ranks(draws, truth[name][where]))
    ranks = {name: torch.cat(part).cpu() for name, part in parts.items()}
    return Calibration(ranks, {name: _p_values(r, num_samples) for name, r in ranks.items()}, num_samples)


def _draws(subject: PairOnData, batch: Batch, count: int) -> dict[str, Tensor]:
    """Draws of the guide at each latent, `(L, B, D)`."""
    depth, shape = subject.layout.depth, (count, batch_size(batch))
    pair = run_pair(lambda: None, partial(call, subject.guide, batch), count, depth)
    latent = {name: site for name, site in sites(pair.guide).items() if name in subject.traces.latent()}
    return {name: by_dimension(site["value"], site, shape, depth) for name, site in latent.items()}


def _ranks(draws: Tensor, truth: Tensor) -> Tensor:
    """How many draws `(L, B, D)` are below the truth `(B, D)`; of those equal to it, a random number."""
    equal = (draws == truth).sum(0)
    return (draws < truth).sum(0) + (torch.rand(equal.shape, device=equal.device) * (equal + 1)).long()


def _p_values(ranks: Tensor, num_samples: int) -> Tensor:
    """Of the chi-square test of each column's uniformity on {0 ... L}, `(D,)`."""
    levels, most = num_samples + 1, min(MOST_BINS, len(ranks) // PER_BIN)
    bins = max(b for b in range(1, most + 1) if levels % b == 0)
    if bins < 2:  # a prime number of ranks: bins of unequal width
        bins = min(most, levels)
    edges = torch.arange(levels) * bins // levels
    expected = len(ranks) * edges.bincount(minlength=bins).double() / levels
    counts = torch.stack([(edges[ranks] == b).sum(0) for b in range(bins)]).double()
    statistic = ((counts - expected[:, None]).square() / expected[:, None]).sum(0)
    return torch.special.gammaincc(torch.full_like(statistic, (bins - 1) / 2), statistic / 2)

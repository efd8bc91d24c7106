"""Prior-data conflict: whether data look like those that the model simulates, by what the guide says about both."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyrovae.display import Cells, Shown
from pyrovae.inference.diagnostics.scored import columns_like
from pyrovae.inference.diagnostics.simulations import Profile, Profiles, apart
from pyrovae.inference.pair.contract import call
from pyrovae.inference.pair.on_data import PairOnData
from pyrovae.inference.pair.scoring import run_pair

__all__ = ["PriorDataConflict", "conflict_on", "energy_p_value"]

MOST = 1000  # data points of each kind: the test takes the distance of each pair
PERMUTATIONS, FIRST = 999, 49
MOST_ROWS = 250  # data points per call


@dataclass(frozen=True, repr=False)
class PriorDataConflict(Shown):
    """Whether N data points look like data that the model simulates: by their codes, and by their log p(x).

    Calibration, and every other test on simulated data, speaks for the data only as far as they do.

    Attributes:
        p_values: of the test that both have the same `codes`, and the same `evidence`.
        shift: by how many standard deviations of simulated codes the mean of the data's codes is off, `(D,)` by latent
            site.
        below: the share of pairs of a data point and a simulated one in which the data point has the lower log p(x).
        outside: the share of data points whose log p(x) is below that of 99 % of simulated ones.
        size: N, the number of data points that were compared.

    References: Székely & Rizzo (2004), Testing for equal distributions in high dimension, for the energy distance;
    Schmitt et al. (2024), arXiv:2112.08866, for the distance of summaries as a sign of misspecification.
    """

    p_values: dict[str, float]
    shift: dict[str, Tensor]
    below: float
    outside: float
    size: int

    @property
    def p_value(self) -> float:
        """The p-value of the hypothesis that the data come from the model: the smallest times their number."""
        return min(1.0, min(self.p_values.values()) * len(self.p_values))

    def words(self, threshold: float = 0.01) -> str:
        """What differs between the data and simulated data.

        Args:
            threshold: the p-value below which they differ; Bonferroni divides it by the number of tests.
        """
        bad = [name for name, p in self.p_values.items() if p * len(self.p_values) < threshold]
        if not bad:
            return "codes and log p(x) of the data are like those of data that the model simulates"
        said = [self._furthest()] if "codes" in bad else []
        if "evidence" in bad:
            said.append(f"log p(x) is below that of a simulated data point {100 * self.below:.0f} % of the time")
        return f"the data are not like those that the model simulates: {', and '.join(said)}"

    def _furthest(self) -> str:
        """The dimension whose codes are furthest off."""
        name = max(self.shift, key=lambda one: self.shift[one].abs().max().item())
        off, d = self.shift[name].abs().max(0)
        return f"the codes of the data are up to {off.item():.1f} standard deviations off ({name}[{int(d)}])"

    def cells(self) -> Cells:
        rows = [(name, f"{p:.3g}") for name, p in self.p_values.items()]
        notes = [
            f"{self.size:,} data points; {100 * self.outside:.0f} % have a log p(x) in the lowest 1 % of simulated"
        ]
        return Cells(rows, ("by", "p-value"), after=[*notes, self.words()])


def conflict_on(pair: PairOnData, simulated: Profile, num_samples: int) -> PriorDataConflict:
    """Compare the data of an open pair with simulated data.

    Args:
        pair: the pair on its data.
        simulated: the profile of simulated data points, as `calibration` gives it.
        num_samples: the number of draws that it was computed from.

    Raises:
        PairError: simulated data have other latents, such as a total that is simulated as given.
    """
    size = min(pair.size, len(simulated.evidence), MOST)
    rows = torch.arange(size) if pair.given(pair.first) else torch.arange(size) * pair.size // size
    with apart(pair, pair.seed + 3):
        found = _profile(pair, rows, num_samples)
        ours = columns_like(simulated.codes, found.codes, "Prior-data conflict")
        theirs, evidence = torch.cat(list(simulated.codes.values()), -1)[:MOST], simulated.evidence[:MOST]
        both = torch.cat([found.evidence, evidence]).argsort().argsort().double()
        p_values = {
            "codes": energy_p_value(ours, theirs),
            "evidence": energy_p_value(both[:size, None], both[size:, None]),
        }
    shift = (ours.mean(0) - theirs.mean(0)) / theirs.std(0).clamp_min(1e-12)
    widths = [codes.shape[1] for codes in simulated.codes.values()]
    below = found.evidence[:, None] < evidence
    return PriorDataConflict(
        p_values=p_values,
        shift=dict(zip(simulated.codes, shift.split(widths), strict=True)),
        below=below.double().mean().item(),
        outside=(below.double().mean(1) > 0.99).double().mean().item(),
        size=size,
    )


def _profile(pair: PairOnData, rows: Tensor, num_samples: int) -> Profile:
    """What the guide says about some rows of the data."""
    profiles, depth = Profiles(pair), pair.layout.depth
    for some in rows.split(MOST_ROWS):
        batch = pair.place(some)
        guide = partial(call, pair.guide, batch, data_size=pair.size)
        run = run_pair(lambda: None, guide, num_samples, depth)
        profiles.add(batch, run.guide, num_samples)
    return profiles.result()


def energy_p_value(ours: Tensor, theirs: Tensor) -> float:
    """The p-value of the permutation test that two samples have the same distribution, by their energy distance.

    The distance is 2 E|X - Y| - E|X - X'| - E|Y - Y'| in columns of unit variance. The test is exact at any size. Where
    the first 49 permutations already show a p-value above 0.06, it stops at them.

    Args:
        ours: `(N, D)`.
        theirs: `(M, D)`.
    """
    both = torch.cat([ours, theirs]).double()
    spread = both.std(0, correction=0)
    both = (both[:, spread > 1e-12] / spread[spread > 1e-12]).contiguous()
    apart_by, size = torch.cdist(both, both), len(ours)
    measured = _energy(apart_by, torch.arange(len(both))[None, :size])[0]
    least = measured - 1e-9 * measured.abs()
    above = count = 0
    for more in (FIRST, PERMUTATIONS - FIRST):
        chosen = torch.rand(more, len(both)).argsort(1)[:, :size]
        above, count = above + int((_energy(apart_by, chosen) >= least).sum()), count + more
        if above > FIRST // 20:
            break
    return (1 + above) / (1 + count)


def _energy(apart_by: Tensor, chosen: Tensor) -> Tensor:
    """The energy distance between some points and all others, `(K,)`.

    Args:
        apart_by: the distances of all pairs.
        chosen: the numbers of the points, `(K, N)`.
    """
    (count, n), total = chosen.shape, len(apart_by)
    labels = torch.zeros(count, total, dtype=torch.float64).scatter_(1, chosen, 1.0)
    inner, across = ((labels @ apart_by) * labels).sum(1), labels @ apart_by.sum(1)
    outer, m = apart_by.sum() - 2 * across + inner, total - n
    return 2 * (across - inner) / (n * m) - inner / n**2 - outer / m**2

"""Ranks of joint quantities of simulated x and z: they see correlations, modes and regions that marginals hide."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pyrovae.display import Cells, Shown
from pyrovae.inference.diagnostics.ranks import central_share, nearest_share, smooth_p_value

__all__ = ["DISTANCE", "LOG_P", "LOG_Q", "Function", "JointRanks"]

LOG_P = "log p(x, z)"
"""The rank of the joint density."""

LOG_Q = "log q(z | x)"
"""The rank of the guide's density, which is the coverage of its regions of highest density."""

DISTANCE = "distance to a reference"
"""The rank of the distance to a random point near E[z | x], which is TARP coverage."""

Function = Callable[[dict[str, Tensor], Mapping[str, Tensor]], Tensor]
"""A function of draws by latent site, `(S, B, D)` each, and of the batch; its result is `(S, B)`."""

REGIONS = {LOG_P: "regions of highest density p", LOG_Q: "regions of highest density q", DISTANCE: "balls"}


@dataclass(frozen=True, repr=False)
class JointRanks(Shown):
    """Ranks of numbers f(x, z) of simulated latents among those of draws of the guide: uniform if it is the posterior.

    Ranks of each dimension alone are uniform for a guide with wrong correlations, and for one that ignores x.

    Attributes:
        ranks: by name, `(N,)`, int64: the number of draws whose f is below that of the simulated latents.
        num_samples: L by name, the number of those draws. The model scores fewer draws than the guide.
        absent: why a quantity has no ranks, by name.

    References: Modrák et al. (2023), arXiv:2211.02383, for ranks of joint quantities; Hermans et al. (2022),
    arXiv:2110.06581, for regions of highest density; Lemos et al. (2023), arXiv:2302.03026, for TARP.
    """

    ranks: dict[str, Tensor]
    num_samples: dict[str, int]
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def p_values(self) -> dict[str, float]:
        """The p-value of Neyman's smooth test of uniformity, by name."""
        return {name: smooth_p_value(ranks, self.num_samples[name]) for name, ranks in self.ranks.items()}

    @property
    def p_value(self) -> float:
        """The p-value of the hypothesis that all ranks are uniform: the smallest times their number (Bonferroni)."""
        return min(1.0, min(self.p_values.values()) * len(self.ranks))

    def coverage(self, name: str, level: float = 0.9) -> float:
        """The share of simulated latents in the guide's regions of some level; a calibrated guide has `level`.

        The regions are those of highest density p or q, or the balls about the references. A function of the user has
        central intervals.

        Args:
            name: a name in `ranks`.
            level: the share of the guide's draws in the region, from 0 to 1.
        """
        ranks, count = self.ranks[name], self.num_samples[name]
        if name in (LOG_P, LOG_Q):
            return nearest_share(count - ranks, count, level).item()
        return (nearest_share if name == DISTANCE else central_share)(ranks, count, level).item()

    def curve(self, name: str) -> tuple[Tensor, Tensor]:
        """Levels from 0 to 1, and the coverage of the regions at each, `(L + 2,)` each.

        Args:
            name: a name in `ranks`.
        """
        levels = torch.linspace(0, 1, self.num_samples[name] + 2, dtype=torch.float64)
        return levels, torch.tensor([self.coverage(name, level) for level in levels.tolist()], dtype=torch.float64)

    def words(self, threshold: float = 0.01) -> str:
        """The verdict on the ranks, and its consequence at the 90 % level.

        Args:
            threshold: the p-value below which ranks are not uniform; Bonferroni divides it by their number.
        """
        p_values = self.p_values
        worst = min(p_values, key=lambda name: p_values[name])
        if p_values[worst] * len(p_values) >= threshold:
            return f"the ranks of {', '.join(p_values)} are uniform: the guide is calibrated jointly"
        region, share = REGIONS.get(worst, "intervals"), 100 * self.coverage(worst)
        return f"{worst} does not rank evenly{self._because(worst)}: 90 % {region} hold {share:.0f} %"

    def _because(self, name: str) -> str:
        """What ranks of a density that lean to one side mean."""
        above = self.ranks[name].double().mean() > self.num_samples[name] / 2
        if name == LOG_P:
            return ", draws are less probable than the truth" if above else ", draws miss where the truth is"
        if name == LOG_Q:
            return ", the guide is too wide" if above else ", the guide is too narrow"
        return ""

    def cells(self) -> Cells:
        rows = []
        for name, p in self.p_values.items():
            rows.append((name, f"{p:.3g}", f"{100 * self.coverage(name):.0f} %", str(self.num_samples[name])))
        notes = [f"{name}: {reason}" for name, reason in self.absent.items()]
        return Cells(rows, ("quantity", "p-value", "in 90 % regions", "draws"), after=[*notes, self.words()])

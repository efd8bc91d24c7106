"""Posterior predictive checks: statistics of the data beside those of data that the pair draws anew."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.data.source import take
from pyrovae.display import Cells, Shown, plus_minus
from pyrovae.errors import SettingError
from pyrovae.inference.diagnostics.scored import check_scores
from pyrovae.inference.draws.posterior import posterior_predictive
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, numbers

__all__ = ["PredictiveCheck", "Statistic", "predictive_check"]

Statistic = Callable[[dict[str, Tensor]], Tensor]
"""A function of values at observed sites, `(S, B, *event)` by name; its result is `(S, B)`."""


@dataclass(frozen=True, repr=False)
class PredictiveCheck(Shown):
    """Means of statistics T over N data points x, and over S replicates of all of them, x_s ~ p(x | z), z ~ q(z | x).

    Attributes:
        observed: 1/N sum_n T(x_n), by name.
        replicated: the same of each replicate of the data, `(S,)` by name.
        per_datum: the share of its replicates whose T is at least that of a data point, `(N,)` by name.

    References: Gelman, Meng & Stern (1996), Posterior predictive assessment of model fitness via realized
    discrepancies.
    """

    observed: dict[str, float]
    replicated: dict[str, Tensor]
    per_datum: dict[str, Tensor]

    @property
    def p_values(self) -> dict[str, float]:
        """The two-sided p-value of each mean, by name, from a normal distribution of those of the replicates.

        The data are used twice, for z and for T, so it is conservative: for a right pair small p-values are rarer than
        they state.
        """
        found = {}
        for name, replicated in self.replicated.items():
            off = abs(self.observed[name] - replicated.mean().item())
            spread = replicated.std().item()
            found[name] = math.erfc(off / spread / 2**0.5) if spread else float(off == 0)
        return found

    @property
    def p_value(self) -> float:
        """The smallest p-value times their number (Bonferroni)."""
        return min(1.0, min(self.p_values.values()) * len(self.observed))

    def words(self, threshold: float = 0.01) -> str:
        """What the model does not draw as the data have it.

        Args:
            threshold: the p-value below which a statistic differs; Bonferroni divides it by their number.
        """
        p_values = self.p_values
        worst = min(p_values, key=lambda name: p_values[name])
        if self.p_value >= threshold:
            return f"{', '.join(p_values)}: as in data that the pair draws anew"
        mean, spread = self.replicated[worst].mean().item(), self.replicated[worst].std().item()
        return f"{worst} is {self.observed[worst]:.3g} in the data, and {plus_minus(mean, spread)} in data drawn anew"

    def cells(self) -> Cells:
        rows = []
        for name, p in self.p_values.items():
            mean, spread = self.replicated[name].mean().item(), self.replicated[name].std().item()
            rows.append((name, f"{self.observed[name]:.4g}", plus_minus(mean, spread), f"{p:.3g}"))
        size = len(next(iter(self.per_datum.values())))
        note = f"{size:,} data points, {len(next(iter(self.replicated.values()))):,} replicates"
        return Cells(rows, ("statistic", "data", "drawn anew", "p-value"), after=[note, self.words()])


def predictive_check(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    statistics: Mapping[str, Statistic],
    num_samples: int = 200,
    *,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> PredictiveCheck:
    """Compare statistics of the data with those of data drawn anew, x_s ~ p(x | z_s) with z_s ~ q(z | x).

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        statistics: functions of the values at observed sites, by name, such as
            `{"mean": lambda sites: sites["x"].flatten(2).mean(-1)}`. They get `(S, B, *event)` and return `(S, B)`.
        num_samples: S, the number of replicates.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of replicates may take.
        seed: the seed of the draws; the global random state is left alone.
        progress: show a bar over the data points.

    Raises:
        SettingError: no statistics, or fewer than 20 replicates.
        ShapeError: a statistic returns another shape.
        PairError: as in `posterior_predictive`.
    """
    check_count("num_samples", num_samples, 20, write=200)
    if not statistics:
        raise SettingError(
            "predictive_check requires at least one statistic, got none. Write "
            'statistics={"mean": lambda sites: sites["x"].flatten(2).mean(-1)}.'
        )
    size, shares = batch_size(data), dict[str, list[Tensor]]()
    totals = {name: torch.zeros(1 + num_samples, dtype=torch.float64) for name in statistics}
    with progress_bar(progress, size, "data point") as bar:
        for start, part in _portions(data, num_samples, memory):
            options: dict[str, Any] = {"transform": transform, "memory": memory, "seed": seed + start}
            draws = posterior_predictive(model, guide, part, num_samples, log_weights=False, **options)
            observed = {name: value[None] for name, value in draws.observed.items()}
            for name, statistic in statistics.items():
                ours, theirs = (_checked(name, statistic, sites) for sites in (observed, draws.predictive))
                totals[name] += torch.cat([ours.sum(1), theirs.sum(1)])
                shares.setdefault(name, []).append((theirs >= ours).double().mean(0))
            bar.update(batch_size(part))
    return PredictiveCheck(
        observed={name: total[0].item() / size for name, total in totals.items()},
        replicated={name: total[1:] / size for name, total in totals.items()},
        per_datum={name: torch.cat(parts) for name, parts in shares.items()},
    )


def _portions(data: Batch, num_samples: int, memory: int) -> Iterator[tuple[int, Batch]]:
    """The data in parts whose replicates fit into the memory, each with its first row."""
    rows = max(1, memory // (16 * num_samples * max(numbers(data), 1)))
    for start in range(0, batch_size(data), rows):
        yield start, take(data, slice(start, start + rows))


def _checked(name: str, statistic: Statistic, sites: Mapping[str, Tensor]) -> Tensor:
    """The statistic of each draw and data point, `(S, B)`."""
    instead = 'Reduce all other dimensions: lambda sites: sites["x"].flatten(2).mean(-1).'
    return check_scores(f"statistics[{name!r}]", statistic(dict(sites)), sites, instead).double().cpu()

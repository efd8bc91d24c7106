"""The local classifier two-sample test: at which data points a guide is not the posterior."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError
from pyrovae.inference.diagnostics.references import flattened
from pyrovae.inference.diagnostics.scored import columns_like, drawn_sites
from pyrovae.inference.diagnostics.simulations import Simulations, apart, moments
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, unchanged
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.simulation import simulate

__all__ = ["LocalTest", "local_on", "local_test"]

MOST_ROWS = 250  # data points per call
COLUMNS = 20  # of x; wider data are reduced to their main directions
LEVEL = 0.05  # the expected share of data points named by chance among those named
NULLS, SAMPLES = 999, 20

Asked = Callable[[Tensor], Tensor]
"""The probabilities of some classifiers that rows `(R, C)` are simulated latents, `(K, R)`."""


@dataclass(frozen=True, repr=False)
class LocalTest(Shown):
    """How well a classifier tells (x, z) of the model from (x, z') of the guide, at each of N data points.

    Attributes:
        per_datum: `statistic`, the mean of (d - 1/2)^2 over draws of the guide, where d is the classifier's probability
            that a draw is a simulated latent, and `p_value`, each `(N,)`. The p-value of one data point is for that one
            alone: of many, some are small by chance. `off` allows for that.
        p_value: that of the hypothesis that the guide is the posterior at the data, from the mean of the statistic.
        num_nulls: how many classifiers of data without a difference the p-values come from.
        rows: the numbers of the N data points in the data.

    References: Linhart et al. (2023), arXiv:2306.03580.
    """

    per_datum: dict[str, Tensor]
    p_value: float
    num_nulls: int
    rows: Tensor

    def off(self, level: float = LEVEL) -> Tensor:
        """The numbers of the data points at which the guide is not the posterior, int64 `(M,)`.

        Args:
            level: the share of them that may be named by chance, in expectation.

        References: Benjamini & Hochberg (1995), Controlling the false discovery rate.
        """
        p_values, order = self.per_datum["p_value"].sort()
        passed = p_values <= level * torch.arange(1, len(p_values) + 1) / len(p_values)
        count = int(passed.nonzero().max()) + 1 if passed.any() else 0
        return self.rows[order[:count]].sort().values

    def words(self) -> str:
        """How many data points the guide is off at, and the first of them."""
        off, size = self.off(), len(self.rows)
        if not len(off):
            return f"a classifier finds none of {size:,} data points at which the guide is off"
        if len(off) == size:
            return f"the guide is off at all {size:,} data points"
        names = ", ".join(map(str, off[:3].tolist())) + (", ..." if len(off) > 3 else "")
        return f"the guide is off at {len(off):,} of {size:,} data points (rows {names})"

    def cells(self) -> Cells:
        rows = [("over all data points", f"{self.p_value:.3g}"), ("smallest", f"{self._smallest():.3g}")]
        note = f"{len(self.rows):,} data points, {self.num_nulls} classifiers without a difference"
        return Cells(rows, ("p-value", ""), after=[note, self.words()])

    def _smallest(self) -> float:
        return self.per_datum["p_value"].min().item()


def local_test(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    num_simulations: int = 1000,
    *,
    num_samples: int = SAMPLES,
    num_nulls: int = NULLS,
    classifier: Callable[[], Any] | None = None,
    given: Batch | None = None,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 2,
    progress: bool = False,
) -> LocalTest:
    """Train a classifier to tell simulated (x, z) from (x, z'), z' ~ q(z | x), and ask it about draws at the data.

    Where the guide is the posterior, the classifier can only say 1/2. Its statistic is compared with those of
    classifiers for which z and z' of each simulation are exchanged at random, which is exact where the guide is right.

    Args:
        model, guide: the pair; the model takes an argument `size`.
        data: named tensors of N data points, at which the guide is judged.
        num_simulations: the number of simulated data points to train on; the time grows as its square to its cube.
        num_samples: draws of the guide at each data point.
        num_nulls: the number of classifiers without a difference; the smallest p-value is 1 / (num_nulls + 1).
        classifier: a function that gives a new classifier of scikit-learn with `predict_proba`, which is trained
            `num_nulls` + 1 times; by default a kernel ridge regression that is quadratic in z, with weights that
            vary with x, which is solved once.
        given: what the model conditions on in simulations, such as `y`, of at least `num_simulations` rows.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of simulations, draws and exchanges; the global random state is left alone.
        progress: show a bar over the data points.

    Raises:
        SettingError: fewer than 20 simulations, 1 draw, or 19 classifiers.
        PairError: a latent outside the plate "data"; a model that does not generate; data of another width than
            simulated ones.
        ShapeError: too few rows are given.

    References: Linhart et al. (2023), arXiv:2306.03580; Lopez-Paz & Oquab (2017), arXiv:1610.06545.
    """
    check_count("num_simulations", num_simulations, 20, write=1000)
    check_count("num_samples", num_samples, 4, write=SAMPLES)
    check_count("num_nulls", num_nulls, 19, write=NULLS)
    simulated, trace = simulate("local_test", model, guide, num_simulations, given or {}, seed)
    with on_data("local_test", model, guide, simulated, unchanged, memory=memory, seed=seed + 1) as pair:
        pair.require_independent()
        found = _simulations(pair, trace, num_samples)
    with on_data("local_test", model, guide, data, transform, memory=memory, seed=seed + 2) as pair:
        return local_on(pair, found, torch.arange(pair.size), num_samples, num_nulls, classifier, progress)


def _simulations(pair: PairOnData, simulated: Trace, num_samples: int) -> Simulations:
    """An open pair's simulated data points, with draws of the guide."""
    shape, depth = (1, pair.size), pair.layout.depth
    latents = {n: by_dimension(s["value"], s, shape, depth)[0].cpu() for n, s in drawn_sites(pair, simulated).items()}
    parts = [_drawn(pair, batch, 1 + num_samples) for _, batch in pair.batches(MOST_ROWS)]
    first = {name: torch.cat([part[name][0] for part in parts]).cpu() for name in latents}
    others = {name: [moments(part[name][1:].cpu()) for part in parts] for name in latents}
    loc, scale = ({name: torch.cat([one[k] for one in others[name]]) for name in latents} for k in (0, 1))
    return Simulations(dict(pair.data), latents, first, loc, scale)


def local_on(
    pair: PairOnData,
    simulations: Simulations,
    rows: Tensor,
    num_samples: int = SAMPLES,
    num_nulls: int = NULLS,
    classifier: Callable[[], Any] | None = None,
    progress: bool = False,
) -> LocalTest:
    """The local test of an open pair at some of its data points.

    Args:
        pair: the pair on its data.
        simulations: simulated data points, as `calibration` gives them.
        rows: the numbers of the data points.
        num_samples, num_nulls, classifier, progress: as in `local_test`.

    Raises:
        PairError: data or latents of another width than simulated ones.
    """
    columns, size = _Columns.of(simulations), len(flattened(simulations.data))
    each = max(1, min(MOST_ROWS, pair.memory // (64 * num_samples * max(columns.width, num_nulls))))
    statistics = []
    with apart(pair, pair.seed + 4), progress_bar(progress, len(rows), "data point") as bar:
        swapped = torch.rand(1 + num_nulls, size) < 0.5
        swapped[0] = False
        trained = partial(_trained, classifier) if classifier else partial(_quadratic, width=columns.width)
        asked = trained(columns.simulated(simulations), torch.cat([~swapped, swapped], 1))
        for some in rows.split(each):
            batch = pair.place(some)
            draws = columns_like(simulations.latents, _drawn(pair, batch, 2 * num_samples), "A local test")
            seen = columns.rows(batch, draws[:num_samples], *moments(draws[num_samples:]))
            scores = (asked(seen) - 0.5).square()
            statistics.append(scores.unflatten(1, (num_samples, -1)).mean(1))
            bar.update(len(some))
    return _judged(torch.cat(statistics, 1), rows)


class _Columns(NamedTuple):
    """What a classifier sees: x in the main directions of simulated data, z in units of the guide's other draws.

    Attributes:
        names: the tensors of x.
        middle, directions: the mean of x, `(P,)`, and its main directions, `(P, C)`.
        width: the number of latent dimensions.
    """

    names: tuple[str, ...]
    middle: Tensor
    directions: Tensor
    width: int

    @classmethod
    def of(cls, simulations: Simulations) -> "_Columns":
        width = sum(part.shape[1] for part in simulations.latents.values())
        return cls(tuple(simulations.data), *_directions(flattened(simulations.data)), width)

    def rows(self, batch: Batch, z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Rows of some z `(S, B, D)` of data points, `(S * B, C + D)`."""
        x = flattened({name: batch[name] for name in self.names})
        if x.shape[1] != len(self.middle):
            raise PairError(
                f"A local test requires data of {len(self.middle)} numbers, as simulated ones have, got {x.shape[1]}. "
                "Pass data points of the length that the model simulates."
            )
        seen = ((x - self.middle) @ self.directions).expand(len(z), -1, -1)
        return torch.cat([seen, (z - loc) / scale], -1).flatten(0, 1)

    def simulated(self, simulations: Simulations) -> Tensor:
        """Rows of simulated latents, then of draws of the guide, `(2 N, C + D)`."""
        z, other, loc, scale = (torch.cat(list(part.values()), -1).double() for part in simulations[1:])
        return self.rows(simulations.data, torch.stack([z, other]), loc, scale)


def _judged(statistics: Tensor, rows: Tensor) -> LocalTest:
    """The p-values of statistics `(1 + num_nulls, N)`, the first of which is that of the guide."""
    means = statistics.mean(1)
    found = {"statistic": statistics[0], "p_value": (statistics >= statistics[0]).double().mean(0)}
    return LocalTest(found, (means >= means[0]).double().mean().item(), len(statistics) - 1, rows)


def _drawn(pair: PairOnData, batch: Batch, count: int) -> dict[str, Tensor]:
    """Draws of the guide at each latent, `(count, B, D)`."""
    guide, depth = partial(call, pair.guide, batch, data_size=pair.size), pair.layout.depth
    run, shape = run_pair(lambda: None, guide, count, depth), (count, batch_size(batch))
    return {name: by_dimension(s["value"], s, shape, depth) for name, s in drawn_sites(pair, run.guide).items()}


def _directions(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of simulated data and their main directions; all columns as they are where there are few."""
    if x.shape[1] <= COLUMNS:
        return torch.zeros(x.shape[1]).double(), torch.eye(x.shape[1]).double()
    middle = x.mean(0)
    return middle, torch.linalg.svd(x - middle, full_matrices=False).Vh[:COLUMNS].T


def _quadratic(rows: Tensor, labels: Tensor, width: int) -> Asked:
    """Kernel ridge regressions of labels `(K, R)` on rows `(R, C + D)`: quadratic in z, with weights that vary with x.

    The rows are the same for all labels, so one system is solved for all of them. The penalty is the number of rows,
    which keeps many columns from fitting noise.
    """
    middle, spread = rows.mean(0), rows.std(0, correction=0)
    spread = torch.where(spread > 1e-12, spread, torch.inf)
    known = (rows - middle) / spread
    matrix = _kernel(known, known, width) + len(rows) * torch.eye(len(rows)).double()
    weight = torch.linalg.solve(matrix, labels.T.double() - 0.5)
    return lambda asked: (0.5 + _kernel((asked - middle) / spread, known, width) @ weight).clamp(0, 1).T


def _kernel(ours: Tensor, theirs: Tensor, width: int) -> Tensor:
    """(1 + x'x' / C + exp(-|x - x'|^2 / 2C)) f(z)'f(z'); f has a constant, the D columns, and all products of two."""
    columns = ours.shape[1] - width
    (x, z), (x_, z_) = (rows.split([columns, width], 1) for rows in (ours, theirs))
    inner = z @ z_.T
    near = torch.exp(-torch.cdist(x, x_).square() / (2 * columns))
    return (1 + x @ x_.T / columns + near) * (1 + inner + (inner.square() + z.square() @ z_.square().T) / 2)


def _trained(made: Callable[[], Any], rows: Tensor, labels: Tensor) -> Asked:
    """Classifiers of scikit-learn, one for each row of labels."""
    found = [made().fit(rows.numpy(), one.long().numpy()) for one in labels]
    return lambda asked: torch.stack([torch.as_tensor(one.predict_proba(asked.numpy())[:, 1]) for one in found])

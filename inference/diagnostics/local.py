"""The local classifier two-sample test: at which data points a guide is not the posterior."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.imports import imported
from pyrovae.inference.diagnostics.references import flattened
from pyrovae.inference.diagnostics.scored import drawn_sites
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, unchanged
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.simulation import simulate
from pyrovae.inference.pair.tracing import sites

__all__ = ["LocalTest", "local_test"]

MOST_ROWS = 250  # data points per call
MOST_ASKED = 5000  # rows that a classifier is asked about at a time
COLUMNS = 20  # of x; wider data are reduced to their main directions


@dataclass(frozen=True, repr=False)
class LocalTest(Shown):
    """How well a classifier tells (x, z) of the model from (x, z') of the guide, at each of N data points.

    Attributes:
        per_datum: `statistic`, the mean of (d - 1/2)^2 over draws of the guide, where d is the classifier's probability
            that a draw is a simulated latent, and `p_value`, each `(N,)`. The p-value of one data point is for that one
            alone: of many, some are small by chance.
        p_value: that of the hypothesis that the guide is the posterior at the data, from the mean of the statistic.
        num_nulls: how many classifiers of data without a difference the p-values come from.

    References: Linhart et al. (2023), arXiv:2306.03580.
    """

    per_datum: dict[str, Tensor]
    p_value: float
    num_nulls: int

    def cells(self) -> Cells:
        p_values = self.per_datum["p_value"]
        share = 100 * (p_values < 0.05).double().mean().item()
        rows = [("over all data points", f"{self.p_value:.3g}"), ("data points with p < 0.05", f"{share:.0f} %")]
        return Cells(rows, after=[f"{len(p_values):,} data points, {self.num_nulls} classifiers without a difference"])


def local_test(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    num_simulations: int = 1000,
    *,
    num_samples: int = 50,
    num_nulls: int = 100,
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
        num_simulations: the number of simulated data points to train on.
        num_samples: draws of the guide at each data point.
        num_nulls: the number of classifiers without a difference; the smallest p-value is 1 / (num_nulls + 1).
        classifier: a function that gives a new classifier of scikit-learn with `predict_proba`; by default a logistic
            regression on all products of two columns.
        given: what the model conditions on in simulations, such as `y`, of at least `num_simulations` rows.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of simulations, draws and exchanges; the global random state is left alone.
        progress: show a bar over the classifiers.

    Raises:
        SettingError: fewer than 20 simulations, 1 draw, or 19 classifiers.
        PairError: a latent outside the plate "data"; a model that does not generate.
        ShapeError: too few rows are given.
        MissingExtraError: scikit-learn is not installed.

    References: Linhart et al. (2023), arXiv:2306.03580; Lopez-Paz & Oquab (2017), arXiv:1610.06545.
    """
    check_count("num_simulations", num_simulations, 20, write=1000)
    check_count("num_samples", num_samples, 1, write=50)
    check_count("num_nulls", num_nulls, 19, write=100)
    made = classifier or _quadratic()
    simulated, trace = simulate("local_test", model, guide, num_simulations, given or {}, seed)
    with on_data("local_test", model, guide, simulated, unchanged, memory=memory, seed=seed + 1) as pair:
        pair.require_independent()
        latent = {name: sites(trace)[name] for name in pair.traces.latent()}
        shape, depth = (1, num_simulations), pair.layout.depth
        z = torch.cat([by_dimension(site["value"], site, shape, depth)[0] for site in latent.values()], -1)
        x, (other,) = _drawn(pair, 1, simulated)
    with on_data("local_test", model, guide, data, transform, memory=memory, seed=seed + 2) as pair:
        at, draws = _drawn(pair, num_samples, simulated)
        x, at = _narrowed(x, at)
        asked = torch.cat([at.expand(num_samples, *at.shape), draws], -1).flatten(0, 1)
        both = torch.stack([z.double().cpu(), other])
        scores = _scores(made, x, both, asked, num_nulls, progress)
    statistics = scores.reshape(1 + num_nulls, num_samples, -1).mean(1)
    means = statistics.mean(1)
    found = {"statistic": statistics[0], "p_value": (statistics >= statistics[0]).double().mean(0)}
    return LocalTest(found, (means >= means[0]).double().mean().item(), num_nulls)


def _quadratic() -> Callable[[], Any]:
    """Gives logistic regressions on the columns of (x, z) and their products."""
    install = "local_test requires", "pyrovae[data]"
    pipeline, preprocessing, linear = (
        imported(f"sklearn.{name}", *install) for name in ("pipeline", "preprocessing", "linear_model")
    )

    def make() -> Any:
        return pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            preprocessing.PolynomialFeatures(2, include_bias=False),
            linear.LogisticRegression(C=0.1, max_iter=500),
        )

    return make


def _drawn(pair: PairOnData, count: int, names: Iterable[str]) -> tuple[Tensor, Tensor]:
    """The tensors of some names in the data of a pair, `(N, P)`, and draws of the guide, `(count, N, D)`."""
    x, z = [], []
    for _, batch in pair.batches(MOST_ROWS):
        guide = partial(call, pair.guide, batch, data_size=pair.size)
        run = run_pair(lambda: None, guide, count, pair.layout.depth)
        shape, found = (count, batch_size(batch)), drawn_sites(pair, run.guide).values()
        x.append(flattened({name: batch[name] for name in names}))
        z.append(torch.cat([by_dimension(s["value"], s, shape, pair.layout.depth).double().cpu() for s in found], -1))
    return torch.cat(x), torch.cat(z, 1)


def _scores(made: Callable[[], Any], x: Tensor, both: Tensor, asked: Tensor, num_nulls: int, progress: bool) -> Tensor:
    """(d - 1/2)^2 of each row that is asked about, `(1 + num_nulls, R)`: the classifier, then the others."""
    scores = []
    with progress_bar(progress, 1 + num_nulls, "classifier") as bar:
        for k in range(1 + num_nulls):
            swap = (torch.rand(len(x)) < 0.5) & (k > 0)
            trained = _trained(made(), x, torch.where(swap[:, None], both.flip(0), both))
            scores.append((_probabilities(trained, asked) - 0.5).square())
            bar.update(1)
    return torch.stack(scores)


def _narrowed(x: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Simulated data and the data, in the main directions of the simulated ones where there are many columns."""
    if x.shape[1] <= COLUMNS:
        return x, at
    middle = x.mean(0)
    directions = torch.linalg.svd(x - middle, full_matrices=False).Vh[:COLUMNS].T
    return (x - middle) @ directions, (at - middle) @ directions


def _probabilities(trained: Any, asked: Tensor) -> Tensor:
    """The probability of the first class, of each row."""
    return torch.cat([torch.as_tensor(trained.predict_proba(rows.numpy())[:, 1]) for rows in asked.split(MOST_ASKED)])


def _trained(classifier: Any, x: Tensor, both: Tensor) -> Any:
    """A classifier, trained to tell (x, z) of `both[0]` from those of `both[1]`, `(2, N, D)`."""
    rows = torch.cat([torch.cat([x, z], -1) for z in both])
    return classifier.fit(rows.numpy(), torch.tensor([1, 0]).repeat_interleave(len(x)).numpy())

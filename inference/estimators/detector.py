"""A detector of anomalies with the interface of scikit-learn."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.checks import check_number
from pyrovae.data import Batch, Table
from pyrovae.data.columns import is_frame
from pyrovae.errors import DataError
from pyrovae.inference.estimators.numeric import NumericEstimator
from pyrovae.inference.estimators.scaling import FEW, ColumnScaling
from pyrovae.inference.estimators.scikit_learn import OutlierMixin
from pyrovae.inference.estimators.trimming import kept_rows
from pyrovae.inference.pair.contract import Site, modules
from pyrovae.inference.pair.running import MEMORY, device_of
from pyrovae.inference.pair.tracing import innermost
from pyrovae.inference.tasks.anomaly import SCORES, anomaly_scores, threshold
from pyrovae.inference.tasks.entries import entry_scores
from pyrovae.models import Likelihood
from pyrovae.numeric import wide

__all__ = ["SameNoise", "VAEDetector"]

_OF_NUMBERS = ("error", "error+rate", "complexity")
"""Kinds of score that have no meaning for missing cells and categories."""


@dataclass(kw_only=True, eq=False, repr=False)
class VAEDetector(OutlierMixin, NumericEstimator):
    """Finds the rows of a table that are unlike the rows it was trained on. `predict` gives -1 for an anomaly, else 1.

        detector = VAEDetector().fit(normal).calibrate(other_normal, false_alarms=0.05)
        detector.predict(table), detector.explain(table)

    Each row gets the same noise, so its score does not depend on the other rows of the table. Two cases are excepted:
    a guide whose distributions have no inverse cdf per entry, and the regret.

    A category of a later table that was not among the training rows is an anomaly: it has the probability of a value
    that comes once in as many rows.

    The defaults did best on ten tables of ADBench, of a few that were tried: a likelihood by column, two dimensions and
    no epoch. So the pair is the linear model of factor analysis, in closed form; with `epochs=100` its networks start
    there and are trained. docs/results.md has the other tables. The training rows may hold anomalies.

    Args:
        latent_dim, hidden, epochs, batch_size, learning_rate, validation_fraction, patience, compile, device,
            random_state, verbose: as in `VAEEstimator`.
        likelihood: as in `NumericEstimator`, or "columns": in a table of numbers, a column of at most 20 different
            values is categorical, and a value that was not in the training rows is a category of its own; the other
            columns are normal with a scale for each. For the kinds "error", "error+rate" and "complexity", all are.
        standardize, pair, loss, kinds: as in `NumericEstimator`.
        trim: the share of the training rows, in [0, 0.9], that is not learned from where the likelihood is "columns":
            those that a linear model finds most surprising, so that anomalies among the training rows spoil less. On
            clean rows of ten tables 0.1 was no worse than 0 without training.
        kind: the kind of score, as in `anomaly_scores`.
        num_samples: the number of draws per row.
        contamination: the share of the training rows that `predict` calls anomalous, in [0, 0.5].

    Attributes:
        offset_: `decision_function` is `score_samples - offset_`.
        scaling_: how the columns of a table of numbers are scaled, where the likelihood is "columns"; else None.
        typical_: the mean over the training rows of the score of each column, `(D,)`, in nats.
        model_, guide_, history_, mean_, scale_, table_, mixed_, n_features_in_, feature_names_in_: as in
            `NumericEstimator`.

    Raises:
        ValueError, SupportError: as in `NumericEstimator`.
        DataError: in `fit`, an unknown kind.
        SettingError: in `fit`, a parameter outside its range.
    """

    latent_dim: int = 2
    epochs: int = 0
    batch_size: int = 256
    patience: int = 3
    likelihood: str | Callable[[int], Likelihood] = "columns"
    trim: float = 0.1
    kind: str = "elbo"
    num_samples: int = 10
    contamination: float = 0.05

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the anomaly score of each row, `(N,)`, in nats: higher for the more normal.

        Args:
            X: a table, `(N, D)`.
        """
        return self._score(self._batch(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples(X) - offset_`, `(N,)`: below 0 for an anomaly.

        Args:
            X: a table, `(N, D)`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for a normal row, -1 for an anomaly, `(N,)`.

        Args:
            X: a table, `(N, D)`.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def calibrate(self, X: Any, *, false_alarms: float | None = None, quantile: float | None = None) -> Self:
        """Set `offset_` by the scores of clean rows that were not trained on, and return the detector.

        Args:
            X: a table of clean rows, `(N, D)`.
            false_alarms, quantile: one of the two, as in `threshold`.

        Raises:
            DataError: as in `threshold`.
        """
        scores = torch.from_numpy(-self.score_samples(X))
        self.offset_ = -threshold(scores, false_alarms=false_alarms, quantile=quantile)
        return self

    def explain(self, X: Any) -> Any:
        """By how many nats each entry is more surprising than in the training rows, `(N, D)`; 0 where it is missing.

        Of a data frame, it is a data frame with the same index and the names of the columns.

        Args:
            X: a table, `(N, D)`.
        """
        rows = self._batch(X)
        excess = np.where(_observed(rows), self._entries(rows) - self.typical_, 0.0)
        if not is_frame(X):
            return excess
        import pandas

        return pandas.DataFrame(excess, index=X.index, columns=self.table_.names)

    def _check_parameters(self, *, mixed: bool) -> None:
        self._check_settings("num_samples")
        check_number("trim", self.trim, 0, 0.9, write=0.1)
        check_number("contamination", self.contamination, 0, 0.5, write=0.05)
        if self.kind not in SCORES:
            raise DataError(f"VAEDetector knows no kind {self.kind!r}. Choose from {', '.join(map(repr, SCORES))}.")

        if mixed and self.kind in _OF_NUMBERS:
            raise DataError(
                f"VAEDetector requires numbers without gaps for kind={self.kind!r}, got a table with gaps or columns "
                "of several kinds. Write kind='elbo', or 'reconstruction'."
            )

    def _columns(self, table: Table) -> Table:
        return table.opened()  # a category that was never seen is an anomaly, and no error

    def _scaling(self, table: np.ndarray) -> ColumnScaling | None:
        if self.likelihood != "columns" or self.standardize is False:
            return None
        return ColumnScaling.of(table, 0 if self.kind in _OF_NUMBERS else FEW)

    def _learned_from(self, x: Tensor) -> Tensor:
        if self.scaling_ is None:
            return torch.ones(len(x), dtype=torch.bool)
        return kept_rows(x, self.scaling_.num_reals, self.latent_dim, self.trim)

    def _after_training(self, batch: Batch) -> None:
        rows = {name: tensor.to(device_of(self.model_)) for name, tensor in batch.items()}
        if rows["x"].device.type != "mps":  # a float32 matrix product of a row depends slightly on the other rows
            for module in modules(self.model_, self.guide_):
                module.double()
        self.offset_ = np.percentile(self._score(rows), 100 * self.contamination)
        seen = _observed(rows)
        self.typical_ = self._entries(rows).sum(0) / np.maximum(seen.sum(0), 1)

    def _score(self, rows: Batch) -> np.ndarray:
        if self.kind in _OF_NUMBERS and self.scaling_ is not None and self.scaling_.has_categories:
            raise DataError(
                f"VAEDetector requires to be fitted with kind={self.kind!r} where columns have few values, which other "
                f"kinds take as categories. Write VAEDetector(kind={self.kind!r}).fit(table)."
            )
        with SameNoise() if self.kind != "regret" else nullcontext():
            scores = anomaly_scores(
                self.model_,
                self.guide_,
                _wide(rows),
                kind=self.kind,
                num_samples=self.num_samples,
                memory=self._memory(rows),
            )
        return -scores.numpy()

    def _entries(self, rows: Batch) -> np.ndarray:
        with SameNoise():
            entries = entry_scores(
                self.model_, self.guide_, _wide(rows), num_samples=self.num_samples, memory=self._memory(rows)
            ).numpy()
        return entries if self.scaling_ is None else self.scaling_.restored(entries)

    def _memory(self, rows: Batch) -> int:
        """Enough for all draws of a row at once: the same noise would come back in each further portion of them."""
        return max(MEMORY, 64 * (rows["x"][0].numel() + 128) * self.num_samples)


def _wide(rows: Batch) -> Batch:
    return {**rows, "x": wide(rows["x"])}


def _observed(rows: Batch) -> np.ndarray:
    """Which cells were observed, bool `(N, D)`."""
    mask = rows["mask"].bool() if "mask" in rows else torch.ones_like(rows["x"], dtype=torch.bool)
    return mask.cpu().numpy()


class SameNoise(Messenger):
    """Gives each data point the same noise u: a draw is cdf^-1(u), with u of shape `(S, 1, *event)`.

    A distribution without an inverse cdf per entry draws as usual.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noise: dict[tuple[str, torch.Size], Tensor] = {}

    def _pyro_sample(self, msg: Site) -> None:
        fn = msg["fn"]
        if msg["is_observed"] or msg["done"] or site_is_subsample(msg) or not fn.batch_shape:
            return
        shape = list(fn.shape())
        shape[len(fn.batch_shape) - 1] = 1
        u = self.noise.setdefault((msg["name"], torch.Size(shape)), torch.rand(shape).clamp(1e-6, 1 - 1e-6))
        base = innermost(fn)
        try:
            value = base.icdf(u.to(base.mean))
        except (NotImplementedError, AttributeError):
            return
        msg["value"], msg["done"] = value.expand(fn.shape()), True

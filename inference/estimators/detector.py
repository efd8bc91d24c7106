"""A detector of anomalies behind scikit-learn's interface. Needs scikit-learn."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.errors import DataError
from pyrovae.inference.estimators.estimator import VAEEstimator
from pyrovae.inference.pair.contract import ProgramLike, Site, modules
from pyrovae.inference.pair.running import MEMORY, device_of
from pyrovae.inference.pair.tracing import innermost
from pyrovae.inference.tasks.anomaly import SCORES, anomaly_scores, entry_scores, threshold
from pyrovae.models import Likelihood
from pyrovae.numeric import wide

# isort: split
# After the estimator, which says what to install.
from sklearn.base import OutlierMixin

__all__ = ["VAEDetector"]


@dataclass(kw_only=True, eq=False, repr=False)
class VAEDetector(OutlierMixin, VAEEstimator):
    """Rows of a table that are unlike those it was trained on: `predict` says 1 for a normal row, -1 for an anomaly.

        detector = VAEDetector().fit(normal).calibrate(other_normal, false_alarms=0.05)
        detector.predict(table), detector.explain(table)

    Each row gets the same noise, so its score does not depend on the rows beside it (draws of a guide whose
    distributions have no inverse cdf by entry apart, and the regret).

    A normal likelihood with a predicted scale is the default: how far a row may lie from what is expected of it depends
    on the row.

    Args:
        kind: of score, as `anomaly_scores` has them.
        num_samples: draws per row.
        contamination: the share of the training rows that `predict` calls anomalous, in [0, 0.5].
        others: those of `VAEEstimator`.

    Attributes:
        offset_: `decision_function` is `score_samples - offset_`, and below 0 for an anomaly.
        typical_: what `explain` compares with, the training rows' mean by column, `(D,)`, nats.
        others: those of `VAEEstimator`.

    Raises:
        ValueError, DataError, SupportError: those of `VAEEstimator`; no such score, no such contamination.
    """

    likelihood: str | Callable[[int], Likelihood] = "normal-predicted"
    kind: str = "elbo"
    num_samples: int = 32
    contamination: float = 0.05

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the anomaly score of each row, `(N,)`, nats: higher for the more normal."""
        return self._score(self._rows(X))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples(X) - offset_`, `(N,)`: below 0 for an anomaly."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for a normal row, -1 for an anomaly, `(N,)`."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def calibrate(self, X: Any, *, false_alarms: float | None = None, quantile: float | None = None) -> "VAEDetector":
        """Set `offset_` by clean rows that were not trained on, as `threshold` does, and return the detector."""
        scores = torch.from_numpy(-self.score_samples(X))
        self.offset_ = -threshold(scores, false_alarms=false_alarms, quantile=quantile)
        return self

    def explain(self, X: Any) -> np.ndarray:
        """By how many nats each entry is less expected than in the training rows, `(N, D)`: which columns did it."""
        return self._entries(self._rows(X)) - self.typical_

    def _likelihood(self, width: int) -> Likelihood:
        if self.kind not in SCORES:
            raise DataError(f"VAEDetector has no kind {self.kind!r}. Choose from {', '.join(map(repr, SCORES))}.")
        if not 0 <= self.contamination <= 0.5:
            raise DataError(f"VAEDetector wants a contamination in [0, 0.5], got {self.contamination!r}.")
        return super()._likelihood(width)

    def _fitted(self, x: Tensor) -> None:
        rows = x.to(device_of(self.model_))
        if rows.device.type != "mps":  # a matrix product of float32 numbers depends on the rows beside, a little
            for module in modules(self.model_, self.guide_):
                module.double()
        self.offset_ = np.percentile(self._score(rows), 100 * self.contamination)
        self.typical_ = self._entries(rows).mean(0)

    def _score(self, rows: Tensor) -> np.ndarray:
        with SameNoise() if self.kind != "regret" else nullcontext():
            return -anomaly_scores(*self._subject(rows), kind=self.kind, **self._draws(rows)).numpy()

    def _entries(self, rows: Tensor) -> np.ndarray:
        with SameNoise():
            return entry_scores(*self._subject(rows), **self._draws(rows)).numpy()

    def _draws(self, rows: Tensor) -> dict[str, Any]:
        """All draws of a row at once, since each portion of them would have the same noise."""
        return {"num_samples": self.num_samples, "memory": max(MEMORY, 64 * (rows[0].numel() + 128) * self.num_samples)}

    def _subject(self, rows: Tensor) -> tuple[ProgramLike, ProgramLike, dict[str, Tensor]]:
        return self.model_, self.guide_, {"x": wide(rows)}


class SameNoise(Messenger):
    """Gives each datum the same noise at the sites that are drawn: value = cdf^-1(u), u of shape `(S, 1, *event)`.

    A distribution without an inverse cdf by entry is left to draw.
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

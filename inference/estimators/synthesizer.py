"""Synthetic tables with the interface of scikit-learn: learn from a data frame, draw a new one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyro
import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch, Table
from pyrovae.data.columns import is_frame, missing_cells
from pyrovae.errors import DataError
from pyrovae.inference.draws.posterior import posterior
from pyrovae.inference.estimators.columns import table_pair
from pyrovae.inference.estimators.detector import SameNoise
from pyrovae.inference.estimators.estimator import VAEEstimator
from pyrovae.inference.estimators.frames import GAP, as_frame, decimals_of, typed_column, with_gap_columns
from pyrovae.inference.estimators.nearness import Nearness, nearness
from pyrovae.inference.estimators.scikit_learn import check_is_fitted
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.latent.codes import generate
from pyrovae.inference.objectives import IWAE
from pyrovae.inference.pair.running import MEMORY, device_of
from pyrovae.models import priors

__all__ = ["VAESynthesizer"]

_FEW = 20
"""A column of whole numbers with at most so many values is taken as ordered categories."""


@dataclass(kw_only=True, eq=False, repr=False)
class VAESynthesizer(VAEEstimator):
    """Learns the rows of a table, and draws new ones: the same columns, types, categories, ranges and gaps.

        synthesizer = VAESynthesizer().fit(frame)
        synthesizer.sample(1000)
        synthesizer.sample(1000, given={"species": "Adelie"})

    p(x, mask, z) = p(z) prod_c p_c(x_c | z) p(mask_c | z), where the kind of a column (`data.Table`) decides its
    likelihood, p(z) is a mixture of normals, and x_c is scored where it is observed. q(z | x_observed, mask) =
    Normal(encoder(x, mask)). Both are trained by `IWAE`. For each column with gaps, the table has one more, which says
    whether its cell is missing.

    Whole numbers are ordered categories if they have at most 20 values, and else reals that are rounded; `kinds`
    overrides this. Draws are clipped to the range of the training data, and rounded to their decimals.

    Nothing here makes a table private: `nearness` measures how near draws lie to training rows, and that is all.

    Args:
        latent_dim, batch_size, validation_fraction, patience, compile, device, random_state, verbose: as in
            `VAEEstimator`.
        hidden: the widths of the encoder's hidden layers; the decoder is a linear map plus one layer of the first
            width.
        kinds: the kinds of some columns by name, as in `VAEImputer`.
        components: the number of normals in p(z).
        num_particles: K of `IWAE`.
        epochs: the number of passes over the data.
        learning_rate: the learning rate of Adam.
        num_samples: the number of draws of the guide per row for log p(x).

    Attributes:
        table_: the columns, their kinds and values; print it.
        model_, guide_: the trained pair.
        history_: its `History`.
        gaps_: the columns that may have gaps.
        n_features_in_, feature_names_in_: D, and the names of the columns where they have names.

    Raises:
        DataError: in `fit`, a column that is all missing; in a call, other columns, an unknown category, or infinities.
        SettingError: in `fit`, a parameter outside its range.

    References: Xu et al. (2019), arXiv:1907.00503, for TVAE; Nazábal et al. (2020), arXiv:1807.03653.
    """

    latent_dim: int = 10
    hidden: Sequence[int] = (128, 128)
    kinds: Mapping[Any, str] | None = None
    components: int = 10
    num_particles: int = 10
    epochs: int = 300
    learning_rate: float = 2e-3
    num_samples: int = 500

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of a table, and return the estimator.

        Args:
            X: a data frame or an array `(N, D)`, with gaps.
            y: not used.
        """
        self._check_settings("num_particles", "num_samples", "components")
        rows = self._taken(X, reset=True)
        frame = as_frame(rows)
        self.of_frame_ = is_frame(rows)
        self.gaps_ = [name for name in frame.columns if missing_cells(frame[name]).any()]
        self.dtypes_ = [str(dtype) for dtype in frame.dtypes]
        self.decimals_ = [decimals_of(frame[name]) for name in frame.columns]
        whole = with_gap_columns(frame, self.gaps_)
        self.table_ = self._learn_table(whole, _kinds(frame, self.kinds or {}))
        batch = self.table_.encode(whole)
        self.low_, self.high_ = _ranges(self.table_, whole)
        self._train(self._pair, batch, IWAE(self.num_particles))
        if device_of(self.model_).type != "mps":  # a float32 matrix product of a row depends slightly on the other rows
            self.model_.double(), self.guide_.double()
        return self

    def _pair(self, batch: Batch) -> tuple[Any, Any]:
        """The pair of the rows, with a mixture as p(z)."""
        prior = priors.MixtureOfNormals(self.latent_dim, self.components)
        return table_pair(self.table_, batch, self.latent_dim, self.hidden, self.seed_, scale="predicted", prior=prior)

    def sample(
        self, size: int = 1, *, given: Mapping[Any, Any] | None = None, proposals: int = 10_000, seed: int = 0
    ) -> Any:
        """New rows, x ~ p(x), or x ~ p(x | given): a data frame, or an array if that is what was learned from.

        Conditional rows are chosen from draws z of p(z) by their weights p(given | z), and no row is rejected. The
        frame's `attrs["effective_sample_size"]` says how many draws of p(z | given) the weights are worth; take more
        proposals where it is below 100 or so.

        Args:
            size: the number of rows.
            given: the values of some columns by name; NaN or None for a cell that is missing.
            proposals: the number of draws of p(z) to choose from.
            seed: the seed of the draws.

        Raises:
            DataError: `given` names an unknown column or category, or a gap where the training data had none.
        """
        check_is_fitted(self)
        size = check_count("size", size, write=100)
        if not given:
            return self._rows(generate(self.model_, size, mean=False, seed=seed))
        known, prior = self._known(given), self.model_.model.prior

        def proposal(x: Tensor, mask: Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", prior())

        options: dict[str, Any] = {"corrected": True, "proposals": proposals, "predictive": True, "seed": seed}
        draws = posterior(self.model_, proposal, known, size, **options)
        drawn = draws.predictive["x"][:, 0]
        result = self._rows(torch.where(known["mask"], known["x"], drawn.to(known["x"])))
        for name, value in given.items():  # exactly what was given: neither clipped nor rounded
            if _is_gap(value) or self._kind(name) == "date":
                continue
            if self.of_frame_:
                result[name] = _repeated(value, result[name])
            else:
                result[:, name] = value
        if self.of_frame_:
            result.attrs["effective_sample_size"] = float(torch.as_tensor(draws.effective_sample_size)[0])
        return result

    def score_samples(self, X: Any) -> np.ndarray:
        """log p(x, mask) of each row, `(N,)`, in nats, in the units of the columns.

        It is importance-sampled with `num_samples` draws, so it is too low, by what `evaluate(...)` of
        `pyrovae.inference` has as `per_datum["log_evidence_bias"]`. Each row gets the same noise, so its score does not
        depend on the other rows. A gap in a column that had none in training is left out of the score.

        Args:
            X: a table, `(N, D)`.
        """
        batch, draws = self._batch(X), self.num_samples
        memory = max(MEMORY, 64 * (batch["x"].shape[1] + 128) * draws)  # all draws of a row at once, see `SameNoise`
        with SameNoise():
            found = evaluate(self.model_, self.guide_, batch, num_samples=draws, memory=memory, seed=self.seed_)
        scales = torch.tensor([math.log(column.scale or 1.0) for column in self.table_.columns])
        return (found.per_datum["log_evidence"] - (batch["mask"] * scales).sum(-1)).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`: to choose among models by rows that were not trained on.

        Args:
            X: a table, `(N, D)`.
            y: not used.
        """
        return float(self.score_samples(X).mean())

    def nearness(self, X: Any, held_out: Any, *, size: int | None = None, seed: int = 0) -> Nearness:
        """How near new rows lie to the training rows, beside how near held-out rows do.

        Args:
            X: the training rows.
            held_out: rows of the same source that were not trained on.
            size: the number of new rows; that of the held-out rows if None.
            seed: the seed of the draws.
        """
        train, other = self._batch(X), self._batch(held_out)
        new = self._batch(self.sample(size or len(other["x"]), seed=seed))
        return nearness(self.table_, train, other, new)

    def _batch(self, X: Any) -> Batch:
        """A table as the pair takes it, checked against the table of `fit`."""
        check_is_fitted(self)
        frame = as_frame(self._taken(X, reset=False))
        batch = self.table_.encode(with_gap_columns(frame, self.gaps_))
        return {"x": batch["x"].to(self._dtype), "mask": batch["mask"]}

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.model_.parameters()).dtype

    def _known(self, given: Mapping[Any, Any]) -> Batch:
        """One row, in which the given cells are observed."""
        numbers = torch.full((1, len(self.table_.columns)), torch.nan, dtype=self._dtype)
        places = {column.name: place for place, column in enumerate(self.table_.columns)}
        own = self.table_.names[: len(self.dtypes_)]
        for name, value in given.items():
            if name not in own:
                raise DataError(f"sample requires given columns of the table, got {name!r}. Choose from {own}.")
            missing = _is_gap(value)
            if missing and name not in self.gaps_:
                raise DataError(f"sample requires a value for column {name!r}, which had no gaps, got {value!r}.")
            if not missing:
                column = self.table_.columns[places[name]]
                numbers[0, places[name]] = float(column.encode(_series(value, column.kind))[0])
            if name in self.gaps_:
                numbers[0, places[GAP.format(name)]] = float(missing)
        mask = ~numbers.isnan()
        return {"x": numbers.nan_to_num(), "mask": mask}

    def _kind(self, name: Any) -> str:
        return next(column.kind for column in self.table_.columns if column.name == name)

    def _rows(self, x: Tensor) -> Any:
        """Rows as they were learned from: a data frame or an array."""
        import pandas

        low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (self.low_, self.high_))
        x = x.cpu().double().clamp(low, high)
        values, columns = self.table_.values(x), self.table_.columns[: len(self.dtypes_)]
        result = {}
        for column, dtype, decimals in zip(columns, self.dtypes_, self.decimals_, strict=True):
            gap = values.get(GAP.format(column.name)) if column.name in self.gaps_ else None
            missing = np.zeros(len(x), dtype=bool) if gap is None else gap.astype(bool)
            result[column.name] = typed_column(values[column.name], missing, column, dtype, decimals)
        frame = pandas.DataFrame(result)
        return frame if self.of_frame_ else frame.to_numpy()


def _kinds(frame: Any, kinds: Mapping[Any, str]) -> dict[Any, str]:
    """The kinds of the columns: those of few whole numbers are ordinals, and reals take the place of other counts."""
    found = dict(kinds)
    for column in Table.of(frame, kinds).columns:
        if column.kind == "count" and column.name not in kinds:
            found[column.name] = "ordinal" if frame[column.name].nunique() <= _FEW else "real"
    return found


def _ranges(table: Table, frame: Any) -> tuple[list[float], list[float]]:
    """The least and the largest number of each column."""
    numbers = [column.encode(frame[column.name]) for column in table.columns]
    return [float(np.nanmin(cells)) for cells in numbers], [float(np.nanmax(cells)) for cells in numbers]


def _series(value: Any, kind: str) -> Any:
    """One cell as a column of its kind."""
    import pandas

    return pandas.to_datetime(pandas.Series([value])) if kind == "date" else np.array([value], dtype=object)


def _repeated(value: Any, like: Any) -> Any:
    """A column of one value, of the type of another column."""
    import pandas

    return pandas.Series([value] * len(like), index=like.index, dtype=like.dtype)


def _is_gap(value: Any) -> bool:
    return bool(missing_cells(np.array([value], dtype=object))[0])

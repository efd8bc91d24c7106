"""A VAE of the rows of a table, of numbers or of columns of several kinds: what detector and transformer share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae.data import Batch, Table
from pyrovae.data.columns import columns_of, is_frame, missing_cells, plain_cells
from pyrovae.data.kinds import Column
from pyrovae.data.standardize import column_scales
from pyrovae.errors import DataError
from pyrovae.guides import NormalGuide
from pyrovae.inference.estimators.columns import table_pair
from pyrovae.inference.estimators.estimator import VAEEstimator
from pyrovae.inference.estimators.linear_start import NoDecoder, start_linear
from pyrovae.inference.estimators.scaling import ColumnScaling
from pyrovae.inference.estimators.scikit_learn import check_is_fitted, validate_data
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import device_of
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.dense import SkipMLP

__all__ = ["LIKELIHOODS", "NumericEstimator"]

LIKELIHOODS: dict[str, Callable[[int], Likelihood]] = {
    "columns": partial(likelihoods.Normal, scale="each"),
    "normal": partial(likelihoods.Normal, scale="each"),
    "normal-predicted": partial(likelihoods.Normal, scale="predicted"),
    "laplace": likelihoods.Laplace,
    "bernoulli": likelihoods.Bernoulli,
    "bernoulli-grey": partial(likelihoods.Bernoulli, relaxed=True),
    "continuous-bernoulli": likelihoods.ContinuousBernoulli,
}
"""The likelihoods that have a name: from D, the number of columns, to the likelihood of a row.

"columns" is that of real columns; `VAEDetector` takes others as categories (`ColumnScaling`).
"""


@dataclass(kw_only=True, eq=False, repr=False)
class NumericEstimator(VAEEstimator, ABC):
    """A pair trained on the rows of a table `(N, D)`, an array or a data frame.

    For a table of numbers the pair is p(x, z) = Normal(z; 0, 1) p(x | decoder(z)), q(z | x) = Normal(encoder(x)),
    unless `pair` makes another. For a table with gaps, text, dates or categories it is that of `VAEImputer`, and rows
    are scored by their observed cells.

    Args:
        latent_dim, hidden, epochs, batch_size, learning_rate, validation_fraction, patience, compile, device,
            random_state, verbose: as in `VAEEstimator`; the decoder has the widths of the encoder's hidden layers in
            reverse order.
        likelihood: a name in `LIKELIHOODS`, or a function `D -> Likelihood`.
        standardize: whether to scale each column to mean 0 and standard deviation 1, and a constant column to 0; None
            does so where the likelihood has a location and a scale on all reals, and with a `pair`.
        pair: a function `x -> (model, guide)` of the training data `(N, D)`; `latent_dim`, `hidden` and `likelihood`
            do not matter then.
        loss: an `Objective`; the ELBO if None.
        kinds: the kinds of some columns by name, as in `VAEImputer`. None takes a table without gaps, text, dates and
            categories as numbers; `{}` reads off the kinds of all columns, and gaps may come in later calls.

    Attributes:
        model_, guide_: the trained pair.
        history_: its `History`, in nats per data point, of the standardised columns.
        mean_, scale_: the mean and the scale of the columns `(D,)`; 0 and 1 where they are not standardised.
        table_: the columns, their kinds and values; print it. In a table of numbers, all are `real`.
        mixed_: whether the columns are of several kinds or may have gaps; if not, the table is taken as numbers.
        n_features_in_, feature_names_in_: D, and the names of the columns where they have names.

    Raises:
        ValueError: in a call, a table with infinities, or with other columns than in `fit`.
        DataError: in `fit`, an unknown likelihood, or one for a table that is not of numbers alone; in a call, gaps or
            text in a table whose training data had none.
        SettingError: in `fit`, a parameter outside its range.
        SupportError: in `fit`, values without a density under the likelihood.
    """

    likelihood: str | Callable[[int], Likelihood] = "normal"
    standardize: bool | None = None
    pair: Callable[[Tensor], tuple[ProgramLike, ProgramLike]] | None = None
    loss: Any = None
    kinds: Mapping[Any, str] | None = None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of a table, and return the estimator.

        Args:
            X: a table, `(N, D)`.
            y: not used.
        """
        rows = self._taken(X, reset=True)
        mixed = self.pair is None and (self.kinds is not None or _is_mixed(rows))
        self._check_parameters(mixed=mixed)
        self.mixed_ = mixed
        self.scaling_: ColumnScaling | None = None
        batch = self._fit_table(rows) if mixed else self._fit_numbers(X)
        self._after_training(batch)
        return self

    def _fit_table(self, rows: Any) -> Batch:
        """Train on columns of several kinds, or with gaps, and return the training data."""
        if self.likelihood != type(self).likelihood:
            raise DataError(
                f"{type(self).__name__} requires a table of numbers without gaps for likelihood={self.likelihood!r}, "
                "got one of other columns. Leave out likelihood: the kinds of the columns decide."
            )
        if len(rows) < 2:
            raise DataError(f"{type(self).__name__} requires a minimum of 2 rows, got a table of 1 sample.")
        self.table_ = table = self._columns(self._learn_table(rows, self.kinds))
        self.mean_ = np.array([column.loc for column in table.columns])
        self.scale_ = np.array([column.scale or 1.0 for column in table.columns])
        batch = table.encode(rows)
        self._train(lambda part: table_pair(table, part, self.latent_dim, self.hidden, self.seed_), batch, self.loss)
        return batch

    def _fit_numbers(self, X: Any) -> Batch:
        """Train on numbers, and return the training data."""
        table = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        names = list(X.columns) if is_frame(X) else range(table.shape[1])
        self.table_ = Table(tuple(Column.of(name, cells, "real") for name, cells in zip(names, table.T, strict=True)))
        self._learn_scale(table)
        batch = {"x": self._tensor(table)}
        self._train(self._pair, {"x": batch["x"][self._learned_from(batch["x"])]}, self.loss)
        return batch

    @abstractmethod
    def _check_parameters(self, *, mixed: bool) -> None:
        """Refuse parameters outside their range, and those that a table with gaps or columns of several kinds has not.

        Args:
            mixed: whether the training data are such a table.

        Raises:
            SettingError: one is.
        """

    @abstractmethod
    def _columns(self, table: Table) -> Table:
        """The columns of several kinds, or with gaps, as the estimator takes them.

        Args:
            table: the columns of the training rows.
        """

    @abstractmethod
    def _scaling(self, table: np.ndarray) -> ColumnScaling | None:
        """How each column of a table of numbers is scaled, where it has a likelihood of its own; None where it has not.

        Args:
            table: the training rows, `(N, D)`.
        """

    @abstractmethod
    def _learned_from(self, x: Tensor) -> Tensor:
        """Which rows of a table of numbers to learn from, bool `(N,)`.

        Args:
            x: the training rows as the pair takes them, `(N, D)`.
        """

    @abstractmethod
    def _after_training(self, batch: Batch) -> None:
        """What a kind of estimator learns from the training data once the pair is trained."""

    def _likelihood(self, width: int) -> Likelihood:
        """p(x | z) of a row of numbers."""
        if self.scaling_ is not None:
            return self.scaling_.likelihood(trained=self.epochs > 0)
        if callable(self.likelihood):
            return self.likelihood(width)
        if self.likelihood not in LIKELIHOODS:
            raise DataError(
                f"{type(self).__name__} knows no likelihood {self.likelihood!r}. Choose from {', '.join(LIKELIHOODS)}, "
                "or pass a function of the number of columns: likelihood=pyrovae.models.likelihoods.Poisson."
            )
        return LIKELIHOODS[self.likelihood](width)

    def _learn_scale(self, table: np.ndarray) -> None:
        """The mean and the scale of each column, and its scaling where each has a likelihood of its own."""
        self.scaling_ = self._scaling(table) if self.pair is None else None
        likelihood = None if self.pair else self._likelihood(table.shape[1])
        families = (likelihoods.Normal, likelihoods.Laplace, likelihoods.Heterogeneous)
        reals = likelihood is None or isinstance(likelihood, families)
        standardize = reals if self.standardize is None else self.standardize
        self.mean_, self.scale_ = np.zeros(table.shape[1]), np.ones(table.shape[1])
        if standardize:
            self.mean_, self.scale_ = column_scales(table)

    def _pair(self, batch: Batch) -> tuple[ProgramLike, ProgramLike]:
        """The pair of a table of numbers, started at factor analysis where the likelihood has locations."""
        x = batch["x"]
        if self.pair is not None:
            return self.pair(x)
        likelihood = self._likelihood(x.shape[1])
        likelihood.check(x)
        emitted = likelihood.params_shape
        widths = list(self.hidden)
        decoder = SkipMLP(self.latent_dim, emitted, widths[::-1], nn.Tanh) if emitted[0] else NoDecoder()
        encoder = SkipMLP(x.shape[1], 2 * self.latent_dim, widths, nn.Tanh)
        start_linear(decoder, encoder, likelihood, x, trained=self.epochs > 0)
        return VAE(priors.StandardNormal(self.latent_dim), likelihood, decoder), NormalGuide(encoder)

    def _batch(self, X: Any) -> dict[str, Tensor]:
        """A table as the pair takes it, named tensors of `(N, D)`, checked against the table of `fit`."""
        check_is_fitted(self)
        if self.mixed_:
            batch = self.table_.encode(self._taken(X, reset=False))
        else:
            self._require_numbers(X)
            batch = {"x": self._tensor(validate_data(self, X, dtype=np.float64, reset=False))}
        return {name: tensor.to(device_of(self.model_)) for name, tensor in batch.items()}

    def _require_numbers(self, X: Any) -> None:
        """Refuse gaps and text where the training data had none."""
        rows = self._taken(X, reset=False)
        if _is_mixed(rows):
            raise DataError(
                f"{type(self).__name__} was fitted to numbers without gaps, got {_first_mixed(rows)}. Fill the gaps, "
                "VAEImputer().fit_transform(frame), or fit it with kinds={}, which models gaps."
            )

    def _tensor(self, table: np.ndarray) -> Tensor:
        scaled = self.scaling_(table) if self.scaling_ is not None else (table - self.mean_) / self.scale_
        return torch.tensor(scaled, dtype=torch.get_default_dtype())

    def _table(self, x: Tensor) -> Any:
        """Rows of the pair, `(N, D)`, in the units of the table: an array, or a data frame as in `fit`."""
        if self.mixed_:
            values = self.table_.values(x)
        else:
            numbers = x.detach().cpu().double().numpy() * self.scale_ + self.mean_
            values = dict(zip(self.table_.names, numbers.T, strict=True))
        if not hasattr(self, "feature_names_in_"):
            return np.stack(list(values.values()), 1)
        import pandas

        return pandas.DataFrame(values)


def _is_mixed(rows: Any) -> bool:
    """Whether a table has gaps, text, dates or categories."""
    return _first_mixed(rows) is not None


def _first_mixed(rows: Any) -> str | None:
    """What the first column that has more than numbers has; None if there is none."""
    for name, series in columns_of(rows).items():
        gaps = int(missing_cells(series).sum())
        if gaps:
            return f"{gaps} missing cells in column {name!r}"
        cells = plain_cells(series)
        if cells.dtype.kind not in "biufc" and not all(isinstance(cell, Real) for cell in cells):
            return f"{cells[0]!r} in column {name!r}"
    return None

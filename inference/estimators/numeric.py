"""A VAE of tables of numbers: what the detector and the transformer share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.standardize import column_scales
from pyrovae.errors import DataError
from pyrovae.guides import NormalGuide
from pyrovae.inference.estimators.estimator import VAEEstimator
from pyrovae.inference.estimators.scikit_learn import check_is_fitted, validate_data
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import device_of
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.dense import MLP

__all__ = ["LIKELIHOODS", "NumericEstimator"]

LIKELIHOODS: dict[str, Callable[[int], Likelihood]] = {
    "normal": likelihoods.Normal,
    "normal-predicted": partial(likelihoods.Normal, scale="predicted"),
    "laplace": likelihoods.Laplace,
    "bernoulli": likelihoods.Bernoulli,
    "bernoulli-grey": partial(likelihoods.Bernoulli, relaxed=True),
    "continuous-bernoulli": likelihoods.ContinuousBernoulli,
}
"""The likelihoods that have a name: from D, the number of columns, to the likelihood of a row."""


@dataclass(kw_only=True, eq=False, repr=False)
class NumericEstimator(VAEEstimator, ABC):
    """A pair trained on the rows of a table of numbers `(N, D)`, an array or a data frame.

    The pair is p(x, z) = Normal(z; 0, 1) p(x | decoder(z)), q(z | x) = Normal(encoder(x)), unless `pair` makes another.

    Args:
        latent_dim, hidden, epochs, batch_size, learning_rate, compile, device, random_state, verbose: as in
            `VAEEstimator`; the decoder has the widths of the encoder's hidden layers in reverse order.
        likelihood: a name in `LIKELIHOODS`, or a function `D -> Likelihood`.
        standardize: whether to scale each column to mean 0 and standard deviation 1, and a constant column to 0; None
            does so where the likelihood has a location and a scale on all reals, and with a `pair`.
        pair: a function `x -> (model, guide)` of the training data `(N, D)`; `latent_dim`, `hidden` and `likelihood`
            do not matter then.
        loss: an `Objective`; the ELBO if None.

    Attributes:
        model_, guide_: the trained pair.
        history_: its `History`, in nats per data point, of the standardised columns.
        mean_, scale_: the mean and the scale of the columns `(D,)`; 0 and 1 where they are not standardised.
        n_features_in_, feature_names_in_: D, and the names of the columns where they have names.

    Raises:
        ValueError: in a call, a table with NaN, infinities or text, or with other columns than in `fit`.
        DataError: in `fit`, an unknown likelihood.
        SettingError: in `fit`, a parameter outside its range.
        SupportError: in `fit`, values without a density under the likelihood.
    """

    likelihood: str | Callable[[int], Likelihood] = "normal"
    standardize: bool | None = None
    pair: Callable[[Tensor], tuple[ProgramLike, ProgramLike]] | None = None
    loss: Any = None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of a table, and return the estimator.

        Args:
            X: a table of numbers, `(N, D)`.
            y: not used.
        """
        table = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self._check_parameters()
        likelihood = self._likelihood(table.shape[1])
        self._learn_scale(table, likelihood)
        x = self._tensor(table)
        self._train(lambda: self.pair(x) if self.pair else self._pair(likelihood, x), {"x": x}, self.loss)
        self._after_training(x)
        return self

    @abstractmethod
    def _check_parameters(self) -> None:
        """Refuse parameters outside their range.

        Raises:
            SettingError: one is.
        """

    @abstractmethod
    def _after_training(self, x: Tensor) -> None:
        """What a kind of estimator learns from the training data once the pair is trained."""

    def _likelihood(self, width: int) -> Likelihood:
        if callable(self.likelihood):
            return self.likelihood(width)
        if self.likelihood not in LIKELIHOODS:
            raise DataError(
                f"{type(self).__name__} knows no likelihood {self.likelihood!r}. Choose from {', '.join(LIKELIHOODS)}, "
                "or pass a function of the number of columns: likelihood=pyrovae.models.likelihoods.Poisson."
            )
        return LIKELIHOODS[self.likelihood](width)

    def _learn_scale(self, table: np.ndarray, likelihood: Likelihood) -> None:
        """The mean and the scale of each column."""
        reals = self.pair is not None or isinstance(likelihood, (likelihoods.Normal, likelihoods.Laplace))
        standardize = reals if self.standardize is None else self.standardize
        self.mean_, self.scale_ = np.zeros(table.shape[1]), np.ones(table.shape[1])
        if standardize:
            self.mean_, self.scale_ = column_scales(table)

    def _pair(self, likelihood: Likelihood, x: Tensor) -> tuple[ProgramLike, ProgramLike]:
        likelihood.check(x)
        decoder = MLP(self.latent_dim, likelihood.params_shape, list(self.hidden)[::-1])
        decoder.start_at(likelihood.start(x))
        encoder = MLP(x.shape[1], 2 * self.latent_dim, list(self.hidden))
        return VAE(priors.StandardNormal(self.latent_dim), likelihood, decoder), NormalGuide(encoder)

    def _rows(self, X: Any) -> Tensor:
        """A table as the pair takes it, `(N, D)`, checked against the table of `fit`."""
        check_is_fitted(self)
        return self._tensor(validate_data(self, X, dtype=np.float64, reset=False)).to(device_of(self.model_))

    def _tensor(self, table: np.ndarray) -> Tensor:
        return torch.tensor((table - self.mean_) / self.scale_, dtype=torch.get_default_dtype())

    def _table(self, x: Tensor) -> np.ndarray:
        """Rows of the pair, `(N, D)`, in the units of the table."""
        return x.detach().cpu().double().numpy() * self.scale_ + self.mean_

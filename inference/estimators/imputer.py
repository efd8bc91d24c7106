"""Imputation of a table with the interface of scikit-learn: data frames of mixed columns in and out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from pyrovae.data import Batch, hot_deck
from pyrovae.data.table import Table
from pyrovae.guides import NormalGuide, ZeroFilled
from pyrovae.inference.estimators.columns import Features, table_likelihood
from pyrovae.inference.estimators.estimator import VAEEstimator
from pyrovae.inference.estimators.scikit_learn import TransformerMixin, check_is_fitted
from pyrovae.inference.objectives import IWAE
from pyrovae.inference.tasks.imputation import imputations, impute
from pyrovae.inference.tasks.intervals import interval
from pyrovae.models import VAE, Masked, priors
from pyrovae.networks.dense import MLP, SkipMLP

__all__ = ["VAEImputer"]


@dataclass(kw_only=True, eq=False, repr=False)
class VAEImputer(TransformerMixin, VAEEstimator):
    """Fills the gaps of a table by a VAE that is trained on the observed cells alone (MIWAE).

        VAEImputer().fit_transform(frame)  # a data frame: the same columns, index and types, without gaps

    p(x, z) = Normal(z; 0, 1) prod_c p_c(x_c | decoder(z)), where the kind of a column (`data.Table`) decides its
    likelihood, and q(z | x_observed) = Normal(encoder(x, mask)). Both are trained by `IWAE`.

    Args:
        latent_dim, batch_size, compile, device, random_state, verbose: as in `VAEEstimator`.
        hidden: the widths of the encoder's hidden layers; the decoder is a linear map plus one layer of the first
            width.
        kinds: the kinds of some columns by name: real, positive, count, ordinal or category; the types of the columns
            decide the others.
        num_particles: K of `IWAE`.
        epochs: the number of passes over the data.
        learning_rate: the learning rate of Adam.
        num_samples: the number of draws of the guide per row and imputation.

    Attributes:
        table_: the columns, their kinds and values.
        model_, guide_: the trained pair.
        history_: its `History`.
        n_features_in_, feature_names_in_: D, and the names of the columns where they have names.

    Raises:
        DataError: in `fit`, a column that is all missing; in a call, other columns, an unknown category, or infinities.
        SettingError: in `fit`, a parameter outside its range.

    References: Mattei & Frellsen (2019), arXiv:1812.02633; Nazábal et al. (2020), arXiv:1807.03653.
    """

    latent_dim: int = 10
    hidden: Sequence[int] = (128, 128)
    kinds: Mapping[Any, str] | None = None
    num_particles: int = 20
    epochs: int = 200
    learning_rate: float = 2e-3
    num_samples: int = 1000

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of a table, and return the estimator.

        Args:
            X: a data frame or an array `(N, D)`, with gaps.
            y: not used.
        """
        self._check_settings("num_particles", "num_samples")
        self.table_ = Table.of(X, self.kinds)
        self.n_features_in_ = len(self.table_.columns)
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.array(self.table_.names, dtype=object)
        batch = self.table_.encode(X)
        self._train(lambda: self._pair(batch), batch, IWAE(self.num_particles))
        return self

    def transform(self, X: Any) -> Any:
        """The table with its gaps filled: means of numbers, rounded for whole ones, and most probable categories.

        Args:
            X: a data frame or an array `(N, D)`, with gaps.
        """
        check_is_fitted(self)
        batch = self.table_.encode(X)
        found = impute(self.model_, self.guide_, batch, num_samples=self.num_samples, seed=self.seed_)
        return self.table_.fill(X, found.x)

    def sample(self, X: Any, num_imputations: int = 5) -> list[Any]:
        """Multiple imputation: completed tables, each with other draws of what is missing.

        Args:
            X: a data frame or an array `(N, D)`, with gaps.
            num_imputations: the number of tables.
        """
        return [self.table_.fill(X, x) for x in self._draws(X, num_imputations)]

    def interval(self, X: Any, level: float = 0.9, num_imputations: int = 199) -> tuple[Any, Any]:
        """The ends of a central interval of each missing number, as two tables; for categories they mean nothing.

        Args:
            X: a data frame or an array `(N, D)`, with gaps.
            level: the probability of the interval, in (0, 1).
            num_imputations: the number of draws that the interval is computed from.
        """
        low, high = interval(self._draws(X, num_imputations), level)
        return self.table_.fill(X, low), self.table_.fill(X, high)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the columns.

        Args:
            input_features: not used.
        """
        check_is_fitted(self)
        return np.array(self.table_.names, dtype=object)

    def _pair(self, batch: Batch) -> tuple[Masked, ZeroFilled]:
        x, mask = batch["x"], batch["mask"]
        likelihood = table_likelihood(self.table_)
        decoder = SkipMLP(self.latent_dim, likelihood.params_shape, self.hidden[:1], nn.Tanh)
        decoder.start_at(likelihood.start(hot_deck(x, mask, seed=self.seed_)))
        features = Features(self.table_, x, mask)
        encoder = nn.Sequential(features, MLP(features.size, 2 * self.latent_dim, self.hidden, nn.Tanh))
        model = VAE(priors.StandardNormal(self.latent_dim), likelihood, decoder)
        return Masked(model), ZeroFilled(NormalGuide(encoder), mask=True)

    def _draws(self, X: Any, num_imputations: int) -> Tensor:
        check_is_fitted(self)
        batch, size = self.table_.encode(X), self.num_samples
        return imputations(self.model_, self.guide_, batch, num_imputations, num_samples=size, seed=self.seed_)

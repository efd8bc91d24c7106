"""Imputation of a table behind scikit-learn's interface: data frames of mixed columns in and out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae.data import hot_deck
from pyrovae.data.table import Column, Table
from pyrovae.errors import DataError, MissingExtraError
from pyrovae.guides import NormalGuide, ZeroFilled
from pyrovae.inference.objectives import IWAE
from pyrovae.inference.pair.running import seeded
from pyrovae.inference.tasks.imputation import imputations, impute, interval
from pyrovae.inference.training.device import choose_device
from pyrovae.inference.training.fit import fit
from pyrovae.models import VAE, Likelihood, Masked, likelihoods, priors
from pyrovae.networks.dense import MLP, SkipMLP
from pyrovae.networks.joint import one_hot

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:
    raise MissingExtraError(
        "estimators want scikit-learn 1.6 or newer, which is not installed: pip install 'pyrovae[data]'"
    ) from error

__all__ = ["Features", "VAEImputer", "table_likelihood"]

LIKELIHOODS: dict[str, Callable[[int], Likelihood]] = {
    "real": lambda _: likelihoods.Normal(1),
    "positive": lambda _: likelihoods.LogNormal(1),
    "count": lambda _: likelihoods.NegativeBinomial(1),
    "ordinal": lambda values: likelihoods.Ordinal(1, max(values, 2)),
    "category": lambda values: likelihoods.Categorical(1, max(values, 2)),
}


def table_likelihood(table: Table) -> likelihoods.Heterogeneous:
    """p(x | z) of a table's rows: a likelihood for each column, by its kind."""
    return likelihoods.Heterogeneous(
        {str(column.name): LIKELIHOODS[column.kind](len(column.values)) for column in table.columns}
    )


class Features(nn.Module):
    """What an encoder sees of a table's rows: `(*, 2 D)`, x and its mask, to `(*, size)`.

    Reals as they are, the logarithm of positive numbers and of counts plus one, both standardised by the training
    data, ordinals in [0, 1], categories one-hot; 0 where it is missing, and the mask.

    Args:
        table: the kinds of the columns.
        x, mask: training data `(N, D)`.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, table: Table, x: Tensor, mask: Tensor) -> None:
        super().__init__()
        self.columns = table.columns
        self.size = 2 * len(self.columns) + sum(max(0, len(c.values) - 1) for c in self.columns if _is_category(c))
        self.register_buffer("loc", torch.zeros(x.shape[1]))
        self.register_buffer("scale", torch.ones(x.shape[1]))
        for place, column in enumerate(self.columns):
            if column.kind in ("positive", "count"):
                seen = self._logarithm(column, x[mask[:, place], place])
                self.loc[place], self.scale[place] = seen.mean(), seen.std(correction=0).clamp_min(1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x, mask = x.chunk(2, -1)
        return torch.cat([self._feature(place, x, mask) for place in range(len(self.columns))] + [mask], -1)

    def _feature(self, place: int, x: Tensor, mask: Tensor) -> Tensor:
        column, value, observed = self.columns[place], x[..., place], mask[..., place].unsqueeze(-1)
        if _is_category(column):
            return one_hot(value, max(len(column.values), 1), x.dtype) * observed
        if column.kind in ("positive", "count"):
            value = (self._logarithm(column, value) - self.loc[place]) / self.scale[place]
        elif column.kind == "ordinal":
            value = value / max(len(column.values) - 1, 1)
        return value.unsqueeze(-1) * observed

    @staticmethod
    def _logarithm(column: Column, value: Tensor) -> Tensor:
        return value.log1p() if column.kind == "count" else value.clamp_min(1e-30).log()


def _is_category(column: Column) -> bool:
    return column.kind == "category"


@dataclass(kw_only=True, eq=False, repr=False)
class VAEImputer(TransformerMixin, BaseEstimator):
    """Fills the gaps of a table by a VAE trained on its observed cells alone (MIWAE).

        VAEImputer().fit_transform(frame)  # a data frame: the same columns, index and types, without gaps

    p(x, z) = Normal(z; 0, 1) prod_c p_c(x_c | decoder(z)), with the likelihood of each column by its kind
    (`data.Table`); q(z | x_observed) = Normal(encoder(x, mask)); both trained by `IWAE`.

    Args:
        latent_dim: dimensions of z.
        hidden: widths of the encoder's hidden layers; the decoder is a linear map plus one layer of the first width.
        kinds: of some columns, by name: real, positive, count, ordinal or category.
        particles: of the objective, K.
        epochs, batch_size, learning_rate: of Adam.
        num_samples: draws of the guide per row that an imputation is made of.
        compile: compiled steps; by default where they pay, as in `fit`.
        device: "auto", "cpu", "cuda" or "mps".
        random_state: of weights and noise.
        verbose: show a bar.

    Attributes:
        table_: the columns, their kinds and values.
        model_, guide_: the trained pair.
        history_: its `History`.
        n_features_in_, feature_names_in_: D, and the columns' names where there are some.

    Raises:
        DataError: a column that is all missing, in `fit`; other columns, an unknown category, infinities; a parameter
            that is none.

    References: Mattei & Frellsen (2019), arXiv:1812.02633; Nazábal et al. (2020), arXiv:1807.03653.
    """

    latent_dim: int = 10
    hidden: Sequence[int] = (128, 128)
    kinds: Mapping[Any, str] | None = None
    particles: int = 20
    epochs: int = 200
    batch_size: int = 64
    learning_rate: float = 2e-3
    num_samples: int = 1000
    compile: bool | None = None
    device: str = "auto"
    random_state: Any = None
    verbose: bool = False

    def fit(self, X: Any, y: Any = None) -> "VAEImputer":
        """Train on the rows of `X`, a data frame or an array `(N, D)`; `y` is not used."""
        for name in ("latent_dim", "particles", "epochs", "batch_size", "num_samples"):
            if getattr(self, name) < 1:
                raise DataError(f"VAEImputer wants {name} >= 1, got {getattr(self, name)!r}.")
        self.table_ = Table.of(X, self.kinds)
        self.n_features_in_ = len(self.table_.columns)
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.array(self.table_.names, dtype=object)
        batch = self.table_.encode(X)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded(self.seed_, torch.device("cpu")):
            self.model_, self.guide_ = self._pair(batch["x"], batch["mask"])
        self.history_ = fit(
            self.model_,
            self.guide_,
            batch,
            epochs=self.epochs,
            batch_size=self.batch_size,
            optim=(torch.optim.Adam, {"lr": self.learning_rate}),
            loss=IWAE(self.particles),
            seed=self.seed_,
            device=choose_device(self.device),
            progress=self.verbose,
            compile=self.compile,
        )
        return self

    def _pair(self, x: Tensor, mask: Tensor) -> tuple[Masked, ZeroFilled]:
        likelihood = table_likelihood(self.table_)
        decoder = SkipMLP(self.latent_dim, likelihood.params_shape, self.hidden[:1], nn.Tanh)
        decoder.start_at(likelihood.start(hot_deck(x, mask, seed=self.seed_)))
        features = Features(self.table_, x, mask)
        encoder = nn.Sequential(features, MLP(features.size, 2 * self.latent_dim, self.hidden, nn.Tanh))
        model = VAE(priors.StandardNormal(self.latent_dim), likelihood, decoder)
        return Masked(model), ZeroFilled(NormalGuide(encoder), mask=True)

    def transform(self, X: Any) -> Any:
        """`X` with its gaps filled: means of numbers, whole ones rounded, and the most probable categories."""
        check_is_fitted(self)
        options: dict[str, Any] = {"num_samples": self.num_samples, "seed": self.seed_}
        return self.table_.fill(X, impute(self.model_, self.guide_, self.table_.encode(X), **options).x)

    def sample(self, X: Any, count: int = 5) -> list[Any]:
        """`count` completed tables, each with other draws of what is missing: multiple imputation."""
        return [self.table_.fill(X, x) for x in self._draws(X, count)]

    def interval(self, X: Any, level: float = 0.9, count: int = 199) -> tuple[Any, Any]:
        """Two tables, the ends of the central interval of `count` draws; of categories they have no meaning."""
        low, high = interval(self._draws(X, count), level)
        return self.table_.fill(X, low), self.table_.fill(X, high)

    def _draws(self, X: Any, count: int) -> Tensor:
        check_is_fitted(self)
        options: dict[str, Any] = {"num_samples": self.num_samples, "seed": self.seed_}
        return imputations(self.model_, self.guide_, self.table_.encode(X), count, **options)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The columns' names."""
        check_is_fitted(self)
        return np.array(self.table_.names, dtype=object)

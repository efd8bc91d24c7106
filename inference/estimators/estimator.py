"""A VAE behind scikit-learn's interface: what the estimators of this package share. Needs scikit-learn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.errors import DataError, MissingExtraError
from pyrovae.guides import NormalGuide
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import device_of, seeded
from pyrovae.inference.training.device import choose_device
from pyrovae.inference.training.fit import fit
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.dense import MLP

try:
    from sklearn.base import BaseEstimator
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise MissingExtraError(
        "estimators want scikit-learn 1.6 or newer, which is not installed: pip install 'pyrovae[data]'"
    ) from error

__all__ = ["LIKELIHOODS", "VAEEstimator"]

LIKELIHOODS: dict[str, Callable[[int], Likelihood]] = {
    "normal": likelihoods.Normal,
    "normal-predicted": partial(likelihoods.Normal, scale="predicted"),
    "laplace": likelihoods.Laplace,
    "bernoulli": likelihoods.Bernoulli,
    "bernoulli-grey": partial(likelihoods.Bernoulli, relaxed=True),
    "continuous-bernoulli": likelihoods.ContinuousBernoulli,
}


@dataclass(kw_only=True, eq=False, repr=False)
class VAEEstimator(BaseEstimator):
    """A pair trained on the rows of a table `(N, D)`, an array or a data frame of numbers.

    The interface of scikit-learn: parameters are kept as they are given, `fit` checks them and sets what ends in an
    underscore. A kind of estimator is a dataclass as well, whose fields are further parameters. Without a `pair` of
    one's own it is p(x, z) = Normal(z; 0, 1) p(x | decoder(z)), q(z | x) = Normal(encoder(x)).

    Args:
        latent_dim: dimensions of z.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        likelihood: a name in `LIKELIHOODS`, or what makes one: `D -> Likelihood`.
        standardize: each column to mean 0 and standard deviation 1, a constant one to 0; by default where the
            likelihood has a location and a scale on all reals.
        pair: what makes a pair of one's own, `x -> (model, guide)`, of the training data `(N, D)`; the four arguments
            above it are not used then, but for `standardize`, which is yes by default.
        epochs, batch_size, learning_rate: of Adam.
        loss: an `Objective`; the ELBO by default.
        compile: compiled steps; by default where they pay, as in `fit`.
        device: "auto", "cpu", "cuda" or "mps".
        random_state: of weights and noise, as everywhere in scikit-learn.
        verbose: show a bar.

    Attributes:
        model_, guide_: the trained pair.
        history_: its `History`, nats per datum, of standardised columns.
        mean_, scale_: of the columns `(D,)`; 0 and 1 where they are not standardised.
        n_features_in_, feature_names_in_: D, and the columns' names where there are some.

    Raises:
        ValueError: in a call, a table with NaN, infinities or text, of another number of columns or other names.
        DataError: in `fit`, a parameter that is none.
        SupportError: in `fit`, values without a density under the likelihood.
    """

    latent_dim: int = 8
    hidden: Sequence[int] = (64,)
    likelihood: str | Callable[[int], Likelihood] = "normal"
    standardize: bool | None = None
    pair: Callable[[Tensor], tuple[ProgramLike, ProgramLike]] | None = None
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    loss: Any = None
    compile: bool | None = None
    device: str = "auto"
    random_state: Any = None
    verbose: bool = False

    def fit(self, X: Any, y: Any = None) -> "VAEEstimator":
        """Train on the rows of `X`; `y` is not used."""
        table = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        likelihood = self._likelihood(table.shape[1])
        self._units(table, likelihood)
        x = self._tensor(table)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded(self.seed_, torch.device("cpu")):
            self.model_, self.guide_ = self.pair(x) if self.pair else self._pair(likelihood, x)
        self.history_ = fit(
            self.model_,
            self.guide_,
            {"x": x},
            epochs=self.epochs,
            batch_size=self.batch_size,
            optim=(torch.optim.Adam, {"lr": self.learning_rate}),
            loss=self.loss,
            seed=self.seed_,
            device=choose_device(self.device),
            progress=self.verbose,
            compile=self.compile,
        )
        self._fitted(x)
        return self

    def _fitted(self, x: Tensor) -> None:
        """What a kind of estimator learns of the training data when the pair is trained."""

    def _likelihood(self, width: int) -> Likelihood:
        for name in ("latent_dim", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise DataError(f"{type(self).__name__} wants {name} >= 1, got {getattr(self, name)!r}.")
        if callable(self.likelihood):
            return self.likelihood(width)
        if self.likelihood not in LIKELIHOODS:
            raise DataError(
                f"{type(self).__name__} knows no likelihood {self.likelihood!r}. Choose from {', '.join(LIKELIHOODS)}, "
                "or pass what makes one: likelihood=pyrovae.models.likelihoods.Poisson."
            )
        return LIKELIHOODS[self.likelihood](width)

    def _units(self, table: np.ndarray, likelihood: Likelihood) -> None:
        """Each column's place and unit."""
        reals = self.pair is not None or isinstance(likelihood, (likelihoods.Normal, likelihoods.Laplace))
        standardize = reals if self.standardize is None else self.standardize
        self.mean_, self.scale_ = np.zeros(table.shape[1]), np.ones(table.shape[1])
        if standardize:
            self.mean_, spread = table.mean(0), table.std(0)
            rounding = 1e-9 * np.abs(table).max(0)  # a constant column of large numbers has a spread of about this
            self.scale_ = np.where(spread > rounding, spread, 1.0)

    def _pair(self, likelihood: Likelihood, x: Tensor) -> tuple[ProgramLike, ProgramLike]:
        likelihood.check(x)
        decoder = MLP(self.latent_dim, likelihood.params_shape, list(self.hidden)[::-1])
        decoder.start_at(likelihood.start(x))
        encoder = MLP(x.shape[1], 2 * self.latent_dim, list(self.hidden))
        return VAE(priors.StandardNormal(self.latent_dim), likelihood, decoder), NormalGuide(encoder)

    def _rows(self, X: Any) -> Tensor:
        """A table as the pair takes it, `(N, D)`, checked against the one of `fit`."""
        check_is_fitted(self)
        return self._tensor(validate_data(self, X, dtype=np.float64, reset=False)).to(device_of(self.model_))

    def _tensor(self, table: np.ndarray) -> Tensor:
        return torch.tensor((table - self.mean_) / self.scale_, dtype=torch.get_default_dtype())

    def _table(self, x: Tensor) -> np.ndarray:
        """What the pair gives, `(N, D)`, in the units of the table."""
        return x.detach().cpu().double().numpy() * self.scale_ + self.mean_

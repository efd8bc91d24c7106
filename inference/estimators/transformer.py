"""A VAE as a transformer of scikit-learn: codes of the rows of a table, and rows from codes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.data import Batch, Table
from pyrovae.inference.estimators.columns import typical_rows
from pyrovae.inference.estimators.numeric import NumericEstimator
from pyrovae.inference.estimators.scikit_learn import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    check_array,
    check_is_fitted,
    check_random_state,
)
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.latent.codes import decode, encode, generate
from pyrovae.inference.pair.running import device_of, seeded
from pyrovae.inference.tasks.representation import features

__all__ = ["VAETransformer"]


@dataclass(kw_only=True, eq=False, repr=False)
class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NumericEstimator):
    """Turns rows into codes, the means of q(z | x), `(N, D)` to `(N, K)`, for pipelines and grid search.

        make_pipeline(VAETransformer(latent_dim=10), LogisticRegression()).fit(X, y)

    Args:
        latent_dim, hidden, epochs, batch_size, learning_rate, validation_fraction, patience, compile, device,
            random_state, verbose: as in `VAEEstimator`.
        likelihood, standardize, loss, kinds: as in `NumericEstimator`.
        pair: as in `NumericEstimator`; its codes are its latent sites concatenated, as in `inference.features`.

    Attributes:
        sites_: the latent sites that make the code, and the shape of each.
        model_, guide_, history_, mean_, scale_, table_, mixed_, n_features_in_, feature_names_in_: as in
            `NumericEstimator`.

    Raises:
        ValueError, DataError, SettingError, SupportError: as in `NumericEstimator`.

    References: Kingma & Welling (2014), arXiv:1312.6114; M1 of Kingma et al. (2014), arXiv:1406.5298.
    """

    def transform(self, X: Any) -> np.ndarray:
        """The code of each row, `(N, K)`.

        Args:
            X: a table, `(N, D)`.
        """
        return _array(features(self.model_, self.guide_, self._batch(X)))

    def inverse_transform(self, X: Any) -> Any:
        """The mean of p(x | z) at each code, `(N, K)` to `(N, D)`, in the units of the table.

        It is a data frame if `fit` got one. A category has its most probable value.

        Args:
            X: codes, `(N, K)`.

        Raises:
            ValueError: codes of another number of dimensions.
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=np.float64)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"X has {codes.shape[1]} dimensions, but the codes have {self._n_features_out}.")
        latents = self._latents(codes)
        if not self.mixed_:
            return self._table(decode(self.model_, latents))
        with torch.no_grad():
            return self._table(typical_rows(self.model_, latents["z"]))

    def sample(self, n_samples: int = 1, *, mean: bool = False, random_state: Any = None) -> Any:
        """New rows, `(n_samples, D)`: z ~ p(z), then x ~ p(x | z), or its mean and the most probable categories.

        They are a data frame if `fit` got one.

        Args:
            n_samples: the number of rows.
            mean: whether to return the mean of p(x | z), or a draw.
            random_state: the seed, an int, a `numpy.random.RandomState`, or None.
        """
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        if mean and self.mixed_:
            with seeded(seed, torch.device("cpu")):
                z = self.model_.model.prior().expand([n_samples]).sample()
            return self.inverse_transform(_array(z))
        return self._table(generate(self.model_, n_samples, mean=mean, seed=seed))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of log p(x), in nats per row, a density in the units of the table; importance-sampled, 100 draws.

        Higher is better, so a grid search without labels can choose by it. A score is a plain number: it is too low by
        the bias that `pyrovae.inference.log_evidence(model_, guide_, ...)` names with its interval.

        Args:
            X: a table, `(N, D)`.
            y: not used.
        """
        batch = self._batch(X)
        measured = evaluate(self.model_, self.guide_, batch, num_samples=100, seed=self.seed_)
        units = np.log(self.scale_)
        if "mask" in batch:
            units = units * batch["mask"].double().mean(0).cpu().numpy()  # a missing cell has no density
        return measured.log_evidence.value - float(units.sum())

    def _check_parameters(self, *, mixed: bool) -> None:
        self._check_settings()

    def _columns(self, table: Table) -> Table:
        return table

    def _scaling(self, table: np.ndarray) -> None:
        """None: all columns have the same likelihood, whose density the score and the rows of a code require."""

    def _learned_from(self, x: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.bool)

    def _after_training(self, batch: Batch) -> None:
        device = device_of(self.model_)
        codes = encode(self.model_, self.guide_, {name: tensor[:2].to(device) for name, tensor in batch.items()})
        self.sites_ = {name: tuple(z.shape[1:]) for name, z in codes.items() if z.is_floating_point()}
        self._n_features_out = sum(map(math.prod, self.sites_.values()))

    def _latents(self, codes: np.ndarray) -> dict[str, Tensor]:
        z = torch.tensor(codes, dtype=torch.get_default_dtype(), device=device_of(self.model_))
        parts = z.split([math.prod(shape) for shape in self.sites_.values()], -1)
        return {name: part.reshape(-1, *self.sites_[name]) for name, part in zip(self.sites_, parts, strict=True)}


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().double().numpy()

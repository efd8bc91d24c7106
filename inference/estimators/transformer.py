"""A VAE as a transformer of scikit-learn: codes of the rows of a table, and rows from codes."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from pyrovae.inference.pair.running import device_of
from pyrovae.inference.tasks.representation import features

__all__ = ["VAETransformer"]


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NumericEstimator):
    """Turns rows into codes, the means of q(z | x), `(N, D)` to `(N, K)`, for pipelines and grid search.

        make_pipeline(VAETransformer(latent_dim=10), LogisticRegression()).fit(X, y)

    Args:
        latent_dim, hidden, epochs, batch_size, learning_rate, compile, device, random_state, verbose: as in
            `VAEEstimator`.
        likelihood, standardize, loss: as in `NumericEstimator`.
        pair: as in `NumericEstimator`; its codes are its latent sites concatenated, as in `inference.features`.

    Attributes:
        sites_: the latent sites that make the code, and the shape of each.
        model_, guide_, history_, mean_, scale_, n_features_in_, feature_names_in_: as in `NumericEstimator`.

    Raises:
        ValueError, DataError, SettingError, SupportError: as in `NumericEstimator`.

    References: Kingma & Welling (2014), arXiv:1312.6114; M1 of Kingma et al. (2014), arXiv:1406.5298.
    """

    def transform(self, X: Any) -> np.ndarray:
        """The code of each row, `(N, K)`.

        Args:
            X: a table of numbers, `(N, D)`.
        """
        return _array(features(self.model_, self.guide_, {"x": self._rows(X)}))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The mean of p(x | z) at each code, `(N, K)` to `(N, D)`, in the units of the table.

        Args:
            X: codes, `(N, K)`.

        Raises:
            ValueError: codes of another number of dimensions.
        """
        check_is_fitted(self)
        codes = check_array(X, dtype=np.float64)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"X has {codes.shape[1]} dimensions, but the codes have {self._n_features_out}.")
        return self._table(decode(self.model_, self._latents(codes)))

    def sample(self, n_samples: int = 1, *, mean: bool = False, random_state: Any = None) -> np.ndarray:
        """New rows, `(n_samples, D)`: z ~ p(z), then x ~ p(x | z), or its mean.

        Args:
            n_samples: the number of rows.
            mean: whether to return the mean of p(x | z), or a draw.
            random_state: the seed, an int, a `numpy.random.RandomState`, or None.
        """
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return self._table(generate(self.model_, n_samples, mean=mean, seed=seed))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of log p(x), in nats per row, a density in the units of the table; importance-sampled, 100 draws.

        Higher is better, so a grid search without labels can choose by it.

        Args:
            X: a table of numbers, `(N, D)`.
            y: not used.
        """
        measured = evaluate(self.model_, self.guide_, {"x": self._rows(X)}, num_samples=100, seed=self.seed_)
        return measured.log_evidence.value - float(np.log(self.scale_).sum())

    def _check_parameters(self) -> None:
        self._check_settings()

    def _after_training(self, x: Tensor) -> None:
        codes = encode(self.model_, self.guide_, {"x": x[:2].to(device_of(self.model_))})
        self.sites_ = {name: tuple(z.shape[1:]) for name, z in codes.items() if z.is_floating_point()}
        self._n_features_out = sum(map(math.prod, self.sites_.values()))

    def _latents(self, codes: np.ndarray) -> dict[str, Tensor]:
        z = torch.tensor(codes, dtype=torch.get_default_dtype(), device=device_of(self.model_))
        parts = z.split([math.prod(shape) for shape in self.sites_.values()], -1)
        return {name: part.reshape(-1, *self.sites_[name]) for name, part in zip(self.sites_, parts, strict=True)}


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().double().numpy()

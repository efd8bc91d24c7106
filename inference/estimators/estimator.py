"""What all estimators share: their common parameters, and the training of a pair on the rows of a table."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_counts, check_number, check_positive
from pyrovae.data import Batch, Table
from pyrovae.data.columns import is_frame
from pyrovae.errors import DataError
from pyrovae.inference.estimators.folder import load_estimator, save_estimator
from pyrovae.inference.estimators.scikit_learn import BaseEstimator, check_random_state, validate_data
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.pair.contract import modules
from pyrovae.inference.pair.running import seeded, unchanged
from pyrovae.inference.training.device import choose_device
from pyrovae.inference.training.fit import fit
from pyrovae.inference.training.history import History

__all__ = ["VAEEstimator"]

_DRAWS = 10
"""So many draws judge a pair at least."""

_FEWEST = 10
"""So many rows are held out at least; a table of fewer than three times as many holds none out."""


@dataclass(kw_only=True, eq=False, repr=False)
class VAEEstimator(BaseEstimator, ABC):
    """A pair trained on the rows of a table.

    The interface is that of scikit-learn: the parameters are kept as they are given, and `fit` checks them and sets the
    attributes that end in an underscore. A kind of estimator is a dataclass too, and its fields are further parameters.

    Args:
        latent_dim: the dimensions of z.
        hidden: the widths of the encoder's hidden layers.
        epochs: the largest number of passes over the data; 0 keeps the pair as it starts, at factor analysis.
        batch_size: the number of rows per step.
        learning_rate: the learning rate of Adam.
        validation_fraction: the share of the rows, in [0, 0.5], that choose the number of epochs. A first pair is
            trained on the other rows until the ELBO of these rises no more, and a second one on all rows for as many
            epochs; for none where the gain is within its standard error over the rows. At least 10 rows are held out.
            0, or a table of fewer than 30 rows, trains for all `epochs`.
        patience: how many epochs without a higher ELBO of the held-out rows end the first training.
        compile: whether to compile the steps; None compiles beside the first 512 steps, as in `inference.fit`.
        device: "auto", "cpu", "cuda" or "mps".
        random_state: the seed of weights and noise, an int, a `numpy.random.RandomState`, or None.
        verbose: show a bar, and the kinds of the columns of a table.

    Attributes:
        model_, guide_: the trained pair.
        history_: its `History`.
        seed_: the seed that was drawn from `random_state`.

    Raises:
        SettingError: in `fit`, a parameter outside its range.
    """

    latent_dim: int = 8
    hidden: Sequence[int] = (64,)
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    validation_fraction: float = 0.1
    patience: int = 10
    compile: bool | None = None
    device: str = "auto"
    random_state: Any = None
    verbose: bool = False

    @abstractmethod
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on the rows of a table, and return the estimator.

        Args:
            X: the table.
            y: not used.
        """

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the fitted estimator into a folder that holds no code, unlike a joblib file; `load` reads it.

        Args:
            folder: a new or empty folder.
            overwrite: whether to replace an estimator that is there.

        Returns:
            The folder.

        Raises:
            FolderError: a parameter, or a part of the pair, that a folder cannot hold, such as a function.
            OutputError: the folder holds something, or cannot be written.
        """
        return save_estimator(self, folder, overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """The fitted estimator that `save` wrote. Nothing in the folder is executed, so it may come from anyone.

        Args:
            folder: the folder, or the name of one on the Hugging Face hub, `"user/name"`.

        Raises:
            FolderError: the folder is broken, or holds no such estimator.
        """
        return load_estimator(cls, folder)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _taken(self, X: Any, *, reset: bool) -> Any:
        """A data frame as it is, or an array `(N, D)` of any cells, checked by scikit-learn's rules.

        Args:
            X: what the caller got.
            reset: whether it is the table of `fit`, which sets the names and the number of the columns.
        """
        if not is_frame(X):
            fewest = 2 if reset else 1  # factor analysis requires two
            return validate_data(self, X, dtype=None, ensure_all_finite=False, ensure_min_samples=fewest, reset=reset)
        if len(X) == 0 or len(X.columns) == 0:
            raise DataError(f"{type(self).__name__} requires rows and columns, got a data frame of shape {X.shape}.")
        if reset:
            validate_data(self, X, skip_check_array=True)
        return X

    def _learn_table(self, rows: Any, kinds: Mapping[Any, str] | None) -> Table:
        """The kinds of the columns; shown where the estimator is verbose."""
        table = Table.of(rows, kinds)
        if self.verbose:
            print(table)
        return table

    def _check_settings(self, *counts: str) -> None:
        """Refuse common parameters without a meaning, and further ones that are counts. A default of None has one.

        Raises:
            SettingError: one has no meaning.
        """
        for name in ("latent_dim", "batch_size", "patience", *counts):
            if getattr(self, name) is not None or getattr(type(self), name) is not None:
                check_count(name, getattr(self, name))
        check_count("epochs", self.epochs, 0)
        check_number("validation_fraction", self.validation_fraction, 0, 0.5, write=0.1)
        check_counts("hidden", self.hidden, fewest=0)
        check_positive("learning_rate", self.learning_rate, write=1e-3)

    def _train(
        self,
        build: Callable[[Batch], tuple[Any, Any]],
        data: Batch,
        loss: Any,
        judge: Callable[[Any, Any, Batch], Tensor] | None = None,
    ) -> None:
        """Draw the seed, choose the number of epochs by held-out rows, and train a pair of all rows for so many.

        Args:
            build: from training data to a fresh pair.
            data: the training data.
            loss: the objective.
            judge: from a pair and held-out rows to a number for each row, higher for the better pair, which decides
                whether the training is kept at all; the bound on log p(x) if None.
        """
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        epochs = self._chosen_epochs(build, data, loss, judge or partial(self._judged, loss=loss))
        self.model_, self.guide_ = self._built(build, data)
        self.history_ = self._fit(self.model_, self.guide_, data, loss, epochs) if epochs else History()

    def _chosen_epochs(
        self,
        build: Callable[[Batch], tuple[Any, Any]],
        data: Batch,
        loss: Any,
        judge: Callable[[Any, Any, Batch], Tensor],
    ) -> int:
        """The epoch with the highest ELBO of held-out rows; 0 where its gain over the start is within its error."""
        train, valid = _split(data, self.validation_fraction, self.seed_)
        if not self.epochs or not len(valid["x"]):
            return self.epochs
        model, guide = self._built(build, train)
        device = choose_device(self.device)
        for part in modules(model, guide):
            part.to(device)
        before = judge(model, guide, valid)
        history = self._fit(model, guide, train, loss, self.epochs, valid=valid, patience=self.patience)
        gain = judge(model, guide, valid) - before
        return history.best_epoch or 0 if gain.mean() > gain.std() / len(gain) ** 0.5 else 0

    def _judged(self, model: Any, guide: Any, valid: Batch, loss: Any) -> Tensor:
        """The bound on log p(x) of each held-out row, by which epochs are chosen."""
        particles = getattr(loss, "num_particles", 1)
        found = evaluate(model, guide, valid, num_samples=max(particles, _DRAWS), transform=unchanged, seed=self.seed_)
        return found.per_datum["elbo" if particles == 1 else "log_evidence"]

    def _built(self, build: Callable[[Batch], tuple[Any, Any]], data: Batch) -> tuple[Any, Any]:
        with seeded(self.seed_, torch.device("cpu")):
            return build(data)

    def _fit(self, model: Any, guide: Any, data: Batch, loss: Any, epochs: int, **held: Any) -> History:
        return fit(
            model,
            guide,
            data,
            epochs=epochs,
            batch_size=self.batch_size,
            optim=(torch.optim.Adam, {"lr": self.learning_rate}),
            loss=loss,
            seed=self.seed_,
            device=choose_device(self.device),
            progress=self.verbose,
            compile=self.compile,
            **held,
        )


def _split(data: Batch, fraction: float, seed: int) -> tuple[Batch, Batch]:
    """The rows to train on, and those that are held out: none of a table that is small."""
    size = len(data["x"])
    held = max(_FEWEST, round(size * fraction)) if fraction and size >= 3 * _FEWEST else 0
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    if not held:
        return data, {name: tensor[:0] for name, tensor in data.items()}
    rest, few = order[held:].sort().values, order[:held].sort().values
    return tuple({name: tensor[rows] for name, tensor in data.items()} for rows in (rest, few))  # type: ignore[return-value]

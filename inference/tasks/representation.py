"""Codes as features of a data point, and what simple classifiers find in them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_positive, check_tensor
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, plus_minus
from pyrovae.errors import DataError, MissingExtraError, PairError, ShapeError
from pyrovae.inference.latent.codes import encode
from pyrovae.inference.latent.neighbours import neighbours
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.running import Transform

__all__ = ["Accuracy", "ProbeAccuracy", "features", "probe"]


def features(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    latent: str | None = None,
    transform: Transform | None = None,
) -> Tensor:
    """The means of q(z | x) as one row per data point, `(N, D)`: all latent sites concatenated, in the guide's order.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        latent: one latent site; None for all that hold numbers. Labels are left out.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.

    Raises:
        PairError: no data; no such site, or none that holds numbers; a distribution without a mean.
    """
    data = entered("features", data, transform, model, guide)
    codes = encode(model, guide, data, transform=transform)
    codes = {name: z for name, z in codes.items() if z.is_floating_point()}
    if not codes or latent not in (None, *codes):
        raise PairError(
            f"features are made of the latent sites {', '.join(map(repr, codes)) or '(none)'}, got latent={latent!r}. "
            "Pass one of them, or None for all; labels are no features."
        )
    return torch.cat([z.reshape(len(z), -1) for name, z in codes.items() if latent in (None, name)], -1)


@dataclass(frozen=True, repr=False)
class Accuracy(Shown):
    """The share of test data that a classifier labels correctly.

    Attributes:
        value: the share.
        error: its binomial standard error.
    """

    value: float
    error: float

    def cells(self) -> Cells:
        return Cells([(f"{plus_minus(100 * self.value, 100 * self.error)} %",)])


@dataclass(frozen=True, repr=False)
class ProbeAccuracy(Shown):
    """What `probe` measured.

    Attributes:
        linear: the accuracy of multinomial logistic regression on the standardised features.
        nearest: the accuracy of the vote of the k nearest training data, on the features as they are.
    """

    linear: Accuracy
    nearest: Accuracy

    def cells(self) -> Cells:
        return Cells([("linear", str(self.linear)), ("nearest", str(self.nearest))])


def probe(
    train: Tensor, y: Tensor, test: Tensor, y_test: Tensor, *, k: int = 1, strength: float = 1.0
) -> ProbeAccuracy:
    """How well two simple classifiers predict labels from features: `features` of a pair, PCA, or pixels.

    Args:
        train, test: features, `(N, D)` and `(M, D)`.
        y, y_test: integer labels, `(N,)` and `(M,)`. Data points with an unknown label, below 0, are left out.
        k: the number of neighbours that vote, by Euclidean distance; the lowest label wins a tie.
        strength: C of scikit-learn's `LogisticRegression`, the inverse of the strength of its L2 penalty.

    Raises:
        SettingError: k or strength that is not positive.
        ShapeError: shapes that do not match, or fewer than k training data.
        MissingExtraError: scikit-learn is not installed.

    References: Alain & Bengio (2017), arXiv:1610.01644.
    """
    k, strength = check_count("k", k, write=1), check_positive("strength", strength, write=1.0)
    train, test = check_tensor("train", train, "(N, D)", dims=2), check_tensor("test", test, "(M, D)", dims=2)
    y, y_test = check_tensor("y", y, "(N,)", dims=1), check_tensor("y_test", y_test, "(M,)", dims=1)
    if train.dim() != 2 or train.shape[1:] != test.shape[1:] or (len(y), len(y_test)) != (len(train), len(test)):
        raise ShapeError(
            f"probe requires features (N, D) with labels (N,), and (M, D) with (M,), got {tuple(train.shape)} with "
            f"{tuple(y.shape)}, and {tuple(test.shape)} with {tuple(y_test.shape)}. Write x.flatten(1) for pixels."
        )
    if y.is_floating_point() or y_test.is_floating_point():
        raise DataError(f"probe requires labels that are integers, got {y.dtype} and {y_test.dtype}. Write y.long().")
    if not ((y >= 0).any() and (y_test >= 0).any()):
        raise DataError("probe requires a known label, 0 or above, in both sets, got -1 everywhere. Pass labels.")
    train, test, y, y_test = (tensor.detach().cpu() for tensor in (train, test, y, y_test))
    train, y, test, y_test = train[y >= 0], y[y >= 0], test[y_test >= 0], y_test[y_test >= 0]
    votes = y[neighbours(train, test, k).rows].mode(-1).values
    return ProbeAccuracy(_share(_linear(train, y, test, strength) == y_test), _share(votes == y_test))


def _linear(train: Tensor, y: Tensor, test: Tensor, strength: float) -> Tensor:
    """The labels that a linear classifier gives the test data."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtraError(
            "probe requires scikit-learn, which is not installed. Write pip install 'pyrovae[data]'."
        ) from error
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    return torch.as_tensor(classifier.fit(train.double().numpy(), y.numpy()).predict(test.double().numpy()))


def _share(right: Tensor) -> Accuracy:
    share = right.double().mean().item()
    return Accuracy(share, math.sqrt(share * (1 - share) / len(right)))

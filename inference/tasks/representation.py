"""Codes as features: what a simple classifier finds in them, and new data around those that there are."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import MissingExtraError, PairError, ShapeError
from pyrovae.inference.latent.codes import decode, encode
from pyrovae.inference.latent.neighbours import neighbours
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.running import ROWS, device_of, seeded

__all__ = ["Accuracy", "Probe", "around", "augment", "features", "probe"]


def features(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, site: str | None = None, transform: Any = None
) -> Tensor:
    """The means of q(z | x) of each datum as one row, `(N, D)`: the latent sites side by side, in the guide's order.

    Args:
        site: one latent site alone; by default all that are numbers. Labels are left out.
        transform: what training applied to a batch.

    Raises:
        PairError: no such site, or none that has numbers; a distribution without a mean.
    """
    codes = {name: z for name, z in encode(model, guide, data, transform=transform).items() if z.is_floating_point()}
    if not codes or site not in (None, *codes):
        raise PairError(
            f"features are made of the latent sites {', '.join(map(repr, codes)) or '(none)'}, got site={site!r}. Pass "
            "one of them, or None for all; labels are no features."
        )
    return torch.cat([z.reshape(len(z), -1) for name, z in codes.items() if site in (None, name)], -1)


class Accuracy(NamedTuple):
    """A share of test data, and its binomial standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} ± {100 * self.error:.2f} %"


class Probe(NamedTuple):
    """What `probe` measured.

    Attributes:
        linear: the accuracy of multinomial logistic regression on the standardised features.
        nearest: that of the vote of the k nearest training data, as the features are.
    """

    linear: Accuracy
    nearest: Accuracy


def probe(train: Tensor, y: Tensor, test: Tensor, y_test: Tensor, *, k: int = 1, strength: float = 1.0) -> Probe:
    """How well two simple classifiers tell the labels by features alone: `features` of any pair, PCA, pixels.

    Args:
        train, test: features, `(N, D)` and `(M, D)`.
        y, y_test: integer labels, `(N,)` and `(M,)`; data with a label below 0, unknown, are left out.
        k: neighbours that vote, by Euclidean distance; the lowest label wins a tie.
        strength: C of scikit-learn's `LogisticRegression`, the inverse of its L2 penalty.

    Raises:
        ShapeError: shapes that do not belong together, or fewer than k training data.
        MissingExtraError: scikit-learn is not installed.

    References: Alain & Bengio (2017), arXiv:1610.01644.
    """
    if train.dim() != 2 or train.shape[1:] != test.shape[1:] or (len(y), len(y_test)) != (len(train), len(test)):
        raise ShapeError(
            f"probe wants features (N, D) with labels (N,), and (M, D) with (M,), got {tuple(train.shape)} with "
            f"{tuple(y.shape)}, and {tuple(test.shape)} with {tuple(y_test.shape)}. Write x.flatten(1) for pixels."
        )
    train, test, y, y_test = (tensor.detach().cpu() for tensor in (train, test, y, y_test))
    train, y, test, y_test = train[y >= 0], y[y >= 0], test[y_test >= 0], y_test[y_test >= 0]
    votes = y[neighbours(train, test, k).rows].mode(-1).values
    return Probe(_share(_linear(train, y, test, strength) == y_test), _share(votes == y_test))


def _linear(train: Tensor, y: Tensor, test: Tensor, strength: float) -> Tensor:
    """The labels that a linear classifier gives the test data."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtraError(
            "a linear probe is made by scikit-learn, which is not installed: pip install 'pyrovae[data]'"
        ) from error
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    return torch.as_tensor(classifier.fit(train.double().numpy(), y.numpy()).predict(test.double().numpy()))


def _share(right: Tensor) -> Accuracy:
    share = right.double().mean().item()
    return Accuracy(share, math.sqrt(share * (1 - share) / len(right)))


def augment(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    copies: int = 5,
    *,
    stretch: float = 1.0,
    mean: bool = True,
    site: str = "x",
    transform: Any = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """New data around each datum, that keep its label: x_s = E[x | z_s], where z_s = m + stretch (z - m), z ~ q(z | x)
    and m is the code of the datum. All N data once, then all again: `(copies * N, *event)`.

    Args:
        copies: of each datum; the datum itself is not among them.
        stretch: 1 draws from the guide, 0 reconstructs, more goes further from the datum than the guide does.
        mean: the mean of p(x | z_s), or a draw of it.
        site: the observed site that is drawn; all other tensors are repeated.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).

    Raises:
        PairError: no data, or no copies; the model has no such site, or no mean there.

    References: Norouzi et al. (2020), arXiv:2004.04795, Exemplar VAE, for augmentation by a VAE.
    """
    if batch_size(data) == 0 or copies < 1:
        raise PairError(f"augment wants data and copies >= 1, got {batch_size(data)} data and copies={copies}.")
    parts: dict[str, list[Tensor]] = {}
    options: dict[str, Any] = {"stretch": stretch, "mean": mean, "site": site, "transform": transform, "seed": seed}
    for batch, drawn in around(model, guide, data, copies, **options):
        for name, tensor in batch.items():
            parts.setdefault(name, []).append(drawn if name == site else tensor.expand(copies, *tensor.shape))
    return {name: torch.cat(part, 1).flatten(0, 1) for name, part in parts.items()}


def around(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    copies: int,
    *,
    stretch: float = 1.0,
    mean: bool = True,
    site: str = "x",
    transform: Any = None,
    seed: int = 0,
) -> Iterator[tuple[Batch, Tensor]]:
    """The data batch by batch, as the pair sees them, and what is drawn around them, `(copies, B, *event)`."""
    device, rows, transform = device_of(model, guide), max(1, ROWS // copies), transform or Scale()
    for part, start in enumerate(range(0, batch_size(data), rows), seed):
        with seeded(part, device):
            batch = transform({name: tensor[start : start + rows].to(device) for name, tensor in data.items()})
        many = {name: tensor.repeat(copies, *[1] * (tensor.dim() - 1)) for name, tensor in batch.items()}
        codes = encode(model, guide, many, mean=False, seed=part)
        centre = encode(model, guide, many) if stretch != 1 else {}
        moved = {name: m + stretch * (codes[name] - m) for name, m in centre.items() if m.is_floating_point()}
        given = {name: tensor for name, tensor in many.items() if name != site}
        drawn = decode(model, codes | moved, given=given, site=site, mean=mean, seed=part)
        yield batch, drawn.unflatten(0, (copies, -1))

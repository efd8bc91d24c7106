"""What a pair requires of the values of its data: finite, in the support of their site, and labels that exist."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint, boolean, independent, integer_interval

from pyrovae.data import Batch, flag_of
from pyrovae.errors import NonFiniteError, SupportError
from pyrovae.inference.pair.contract import ProgramLike, Site, takes
from pyrovae.inference.pair.labels import check_labels
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites

__all__ = ["DataRules", "check_finite_values", "check_observed", "check_support"]


def check_observed(model: ProgramLike, pair: PairTrace) -> None:
    """Observed values are finite and in the support of their likelihood.

    Args:
        model: the program, whose `likelihood` may have a check of its own.
        pair: a run of both programs.

    Raises:
        NonFiniteError, SupportError: they are not; the message names the site.
    """
    for name, site in pair.observed().items():
        check_finite_values(name, site["value"])
        _check_likelihood(model, name, site["value"])
        check_support(name, site["fn"], site["value"])


def check_finite_values(name: str, value: Tensor, rows: slice | Tensor | None = None) -> None:
    """Values at a site are finite.

    Args:
        name: the site.
        value: its value.
        rows: which rows of the data it has, for the error; None where its leading dimension is not that of the data.

    Raises:
        NonFiniteError: a value is NaN or infinite.
    """
    if not value.is_floating_point() or value.isfinite().all():
        return
    broken, where = ~value.isfinite(), ""
    if rows is not None:
        bad = broken.reshape(len(value), -1).any(1).nonzero()[:, 0]
        where = f", at rows {_numbers(rows, bad)[:5].tolist()} of the data"
    raise NonFiniteError(
        f"The model requires finite data at site '{name}', got {int(broken.sum())} NaN or infinite values of "
        f"{value.numel()}{where}. Drop those rows, or impute them."
    )


def _numbers(rows: slice | Tensor, places: Tensor) -> Tensor:
    """The row numbers of some places of a batch."""
    return rows.to(places.device)[places] if isinstance(rows, Tensor) else places + (rows.start or 0)


def check_support(name: str, fn: Any, value: Tensor, advice: str | None = None) -> None:
    """Values at a site are in the support of its distribution.

    Args:
        name: the site.
        fn: its distribution.
        value: its value.
        advice: the last sentence of the error; by default that for data.

    Raises:
        SupportError: a value is outside.
    """
    base = innermost(fn)
    try:
        support = base.support
    except NotImplementedError:  # a distribution of the user's own may state no support
        return
    _require_inside(name, _family(base), support, value, advice)


def _require_inside(name: str, family: str, support: Any, value: Tensor, advice: str | None = None) -> None:
    try:
        inside = support.check(value)
    except NotImplementedError:
        return
    if not inside.all():
        worst = value[~inside.expand(value.shape)] if inside.shape == value.shape else value
        raise SupportError(
            f"{family} at site '{name}' requires {_described(support)}, got values from "
            f"{worst.min().item():.3g} to {worst.max().item():.3g}. {advice or _advice(support, worst)}"
        )


def _advice(support: Any, worst: Tensor) -> str:
    """What to write where data lie outside of a support."""
    grey = support is boolean and worst.min() >= 0 and worst.max() <= 1
    written = 'Write transform=data.Binarize("dynamic")' if grey else "Transform the data"
    return f"{written}, or choose another likelihood."


def _family(fn: Any) -> str:
    return type(fn).__name__.removeprefix("_")


def _described(support: Any) -> str:
    while isinstance(support, independent):
        support = support.base_constraint
    low, high = (_bound(support, name) for name in ("lower_bound", "upper_bound"))
    if isinstance(support, integer_interval):
        return f"values in {{{low}, ..., {high}}}"
    bounds = [f"{name}={bound}" for name, bound in (("lower_bound", low), ("upper_bound", high)) if bound is not None]
    text = f"{type(support).__name__.lstrip('_')}({', '.join(bounds)})" if bounds else str(support).removesuffix("()")
    text = "{0, 1}" if support is boolean else text
    return text if text.startswith("a ") else f"values in {text}"


def _bound(support: Any, name: str) -> str | None:
    """A bound of a support: a number, or the range of those of its entries."""
    if not hasattr(support, name):
        return None
    bound = torch.as_tensor(getattr(support, name))
    least, most = f"{bound.min().item():.6g}", f"{bound.max().item():.6g}"
    return least if least == most else f"{least} to {most}"


def _check_likelihood(model: ProgramLike, name: str, value: Tensor) -> None:
    likelihood: Any = getattr(model, "likelihood", None)
    if name == "x" and hasattr(likelihood, "check"):
        likelihood.check(value)


@dataclass(frozen=True)
class DataRules:
    """What each batch of the data must keep, read off one run of the pair.

    Attributes:
        model: the program.
        observed: the observed sites whose value is the tensor of that name in the batch.
        labels: the latent sites whose label a tensor of that name in the batch may give, and their supports.
        classes: the number of values of each label that networks take as an input.
        masked: whether the model takes a mask of the entries of x that were observed.
    """

    model: ProgramLike
    observed: dict[str, Site]
    labels: dict[str, Constraint]
    classes: dict[str, int]
    masked: bool

    @classmethod
    def of(cls, model: ProgramLike, traces: PairTrace, batch: Batch, classes: dict[str, int]) -> "DataRules":
        """The rules of a pair.

        Args:
            model: the program.
            traces: a run of both programs.
            batch: the named tensors of that run.
            classes: what `LabelInputs` found in that run.
        """
        drawn, masked = sites(traces.model), takes(model, "mask") and "mask" in batch
        observed = {
            name: site
            for name, site in traces.observed().items()
            if name in batch
            and (
                (masked and name == "x")
                or _flag(model, name, batch) is not None
                or _same_values(site["value"], batch[name])
            )
        }
        supports = {name: _support(site) for name, site in drawn.items() if name in batch and not site["is_observed"]}
        labels = {name: support for name, support in supports.items() if support is not None and support.is_discrete}
        return cls(model, observed, labels, {n: k for n, k in classes.items() if n not in drawn}, masked)

    def check(self, batch: Batch, rows: slice | Tensor = slice(None)) -> None:
        """Raise if a batch breaks a rule.

        Args:
            batch: named tensors, transformed.
            rows: which rows of the data it has, for the error.

        Raises:
            NonFiniteError, SupportError: a value is not finite, or outside the support of its site.
        """
        for name, site in self.observed.items():
            self._check_values(name, site, self._scored(name, site, batch), rows)
        self.check_labels(batch)

    @property
    def label_names(self) -> list[str]:
        """The names of the tensors that are labels."""
        return [*self.classes, *(name for name in self.labels if name not in self.classes)]

    def check_labels(self, data: Batch) -> None:
        """Raise if a label is none that the pair knows.

        Args:
            data: named tensors; labels that are not among them are passed over.

        Raises:
            SupportError: a label is outside.
        """
        check_labels(data, {name: count for name, count in self.classes.items() if name in data})
        for name, support in self.labels.items():
            if name in data:
                _check_given(name, data[name], support)

    def _scored(self, name: str, site: Site, batch: Batch) -> Tensor:
        """The values that the site scores: what a mask or a flag hides counts as that of the run, which is inside."""
        shown = _flag(self.model, name, batch)
        if self.masked and name == "x" and "mask" in batch:
            shown = batch["mask"].bool().expand(batch[name].shape)
        return (
            batch[name] if shown is None else torch.where(shown, batch[name], site["value"][:1].to(batch[name].dtype))
        )

    def _check_values(self, name: str, site: Site, value: Tensor, rows: slice | Tensor) -> None:
        check_finite_values(name, value, rows)
        _check_likelihood(self.model, name, value)
        support = _support(site)
        if support is not None:
            _require_inside(name, _family(innermost(site["fn"])), support, value)

    def entries(self, batch: Batch) -> int:
        """How many numbers of x the model scores in a batch: those that the mask shows, or all.

        Args:
            batch: named tensors, transformed.
        """
        if self.masked and "mask" in batch:
            return int(batch["mask"].bool().expand(batch["x"].shape).sum())
        return batch["x"].numel()


def _flag(model: ProgramLike, name: str, batch: Batch) -> Tensor | None:
    """Where a batch tells that a modality was observed, `(B, 1, ...)`; None if it does not tell."""
    flag = flag_of(name)
    if flag not in batch or not takes(model, flag):
        return None
    return batch[flag].bool().reshape(-1, *[1] * (batch[name].dim() - 1))


def _same_values(value: Tensor, given: Tensor) -> bool:
    """Whether a site observes a tensor as it is, perhaps transposed."""
    if value.numel() != given.numel():
        return False
    ordered = (t.double().flatten().sort().values for t in (value, given))
    return torch.equal(*(t.nan_to_num(0.0) for t in ordered))


def _support(site: Site) -> Any | None:
    """The support of a site's entries, where it is the same for all rows and draws; else None."""
    try:
        support = innermost(site["fn"]).support
    except NotImplementedError:
        return None
    while isinstance(support, independent):
        support = support.base_constraint
    constant = all(value.dim() == 0 for value in vars(support).values() if isinstance(value, Tensor))
    return support if constant and support.event_dim == 0 else None


def _check_given(name: str, label: Tensor, support: Any) -> None:
    """Labels of a latent site are in its support, or -1 where they are unknown."""
    inside = (label == -1) | support.check(label.nan_to_num(-0.5) if label.is_floating_point() else label)
    if not inside.all():
        raise SupportError(
            f"Labels of site '{name}' require {_described(support)}, or -1 where they are unknown, got "
            f"{label[~inside][0].item():g} ({int((~inside).sum())} of {label.numel()} values). Number the labels from "
            "0, and write -1 for a missing one."
        )

"""One estimate: a mean over the data with its Monte Carlo error, and what k-hat says of a log-evidence."""

import math
from typing import NamedTuple

from torch import Tensor

from pyrovae.checks import check_positive
from pyrovae.inference.pair.tails import UNTRUSTED

__all__ = ["Estimate", "EvidenceEstimate", "summary"]


class Estimate(NamedTuple):
    """An estimate of a mean over the data, and its Monte Carlo standard error, in nats per data point.

    Attributes:
        value: the estimate; NaN, printed as "-", where there is none.
        error: its standard error; NaN, printed as "-", where it cannot be known, as from a single draw.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{_shown(self.value)} ± {_shown(self.error)}" + (f" ({self.trust})" if self.trust else "")

    def __repr__(self) -> str:
        return str(self)

    @property
    def trust(self) -> str:
        """What k-hat says of a log-evidence by importance sampling, in words; empty of any other estimate."""
        share = getattr(self, "unreliable", math.nan)
        return "" if math.isnan(share) else f"k-hat > {UNTRUSTED}: {100 * share:.0f} %"

    def shifted(self, gain: float) -> "Estimate":
        """The estimate of a mean that is greater by a number; what k-hat says of it stays.

        Args:
            gain: the number.
        """
        moved = self._replace(value=self.value + gain)
        if isinstance(moved, EvidenceEstimate):
            moved.unreliable = getattr(self, "unreliable", math.nan)
        return moved

    def bits_per_dim(self, dims: float) -> "Estimate":
        """-log p(x) in bits per number, where this estimate is a log-evidence.

        Args:
            dims: how many numbers one data point has; where entries are missing, how many were observed on average.

        Raises:
            SettingError: `dims` is not above 0.
        """
        check_positive("dims", dims, write="x[0].numel()")
        return Estimate(-self.value / (dims * math.log(2)), self.error / (dims * math.log(2)))


class EvidenceEstimate(Estimate):
    """An estimate of log p(x) by importance sampling; printed with the share of the data points that k-hat distrusts.

    Attributes:
        unreliable: the share of the data points with k-hat above 0.7; NaN where k-hat is unknown.
    """

    unreliable: float = math.nan

    @classmethod
    def of(cls, per_datum: dict[str, Tensor]) -> "EvidenceEstimate":
        """The mean of `log_evidence` over the data, with the share of the data points that k-hat distrusts.

        Args:
            per_datum: `log_evidence`, `log_evidence_error` and, where it is known, `khat`, `(N,)` each.
        """
        estimate = cls(*summary(per_datum, "log_evidence"))
        if "khat" in per_datum:
            estimate.unreliable = (per_datum["khat"] > UNTRUSTED).double().mean().item()
        return estimate


def summary(per_datum: dict[str, Tensor], name: str) -> Estimate:
    """The mean over the data, and its standard error, where the errors of the data points are independent.

    Args:
        per_datum: estimates and their errors, `(N,)` each.
        name: which estimate; its errors are at `name_error`.
    """
    values, errors = per_datum[name], per_datum[f"{name}_error"]
    return Estimate(values.mean().item(), (errors.square().sum().sqrt() / len(errors)).item())


def _shown(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.2f}"

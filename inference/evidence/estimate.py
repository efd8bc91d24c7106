"""One estimate: a mean over the data with its Monte Carlo error, and the bias and interval of a log-evidence."""

import math
from typing import NamedTuple

from torch import Tensor

from pyrovae.checks import check_positive
from pyrovae.display import plus_minus, rounded
from pyrovae.inference.evidence.bias import mean_bias
from pyrovae.inference.pair.tails import RARE, UNTRUSTED, highest_khat, tail_length

__all__ = ["Estimate", "EvidenceEstimate", "summary"]

NORMAL = 1.96
"""Half the width of a 95 % interval, in standard errors."""

ONE_SIDED = 1.645
"""Standard errors of the mean k-hat below its limit: where there are fewer, it may be above."""


class Estimate(NamedTuple):
    """An estimate of a mean over the data, and its Monte Carlo standard error, in nats per data point.

    Attributes:
        value: the estimate; NaN, printed as "-", where there is none.
        error: its standard error; NaN, printed as "-", where it cannot be known, as from a single draw.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return plus_minus(*self) + (f" ({self.trust})" if self.trust else "")

    def __repr__(self) -> str:
        return str(self)

    @property
    def trust(self) -> str:
        """What k-hat says of a log-evidence by importance sampling, in words; empty of any other estimate."""
        share = getattr(self, "unreliable", math.nan)
        return "" if math.isnan(share) else f"k-hat > {UNTRUSTED}: {100 * share:.0f} %"

    @property
    def remarks(self) -> str:
        """Bias, interval and k-hat of a log-evidence, or of a number that rests on one; empty of any other estimate."""
        notes = [f"{name} {number}" for name, number, _ in getattr(self, "notes", [])]
        return "; ".join(filter(None, (*notes, self.trust)))

    def scaled(self, factor: float, gain: float = 0.0) -> "Estimate":
        """factor x estimate + gain. The bias of a log-evidence is scaled too, and what k-hat says of it stays.

        Args:
            factor: a number of either sign.
            gain: a number.
        """
        found = self._replace(value=factor * self.value + gain, error=abs(factor) * self.error)
        if isinstance(self, EvidenceEstimate):
            vars(found).update(vars(self) | {"bias": self.bias.scaled(factor)})
        return found

    def shifted(self, gain: float) -> "Estimate":
        """The estimate of a mean that is greater by a number: `scaled(1, gain)`.

        Args:
            gain: the number.
        """
        return self.scaled(1.0, gain)

    def bits_per_dim(self, dims: float) -> "Estimate":
        """-log p(x) in bits per number, where this estimate is a log-evidence.

        Args:
            dims: how many numbers one data point has; where entries are missing, how many were observed on average.

        Raises:
            SettingError: `dims` is not above 0.
        """
        check_positive("dims", dims, write="x[0].numel()")
        return self.scaled(-1 / (dims * math.log(2)))


class EvidenceEstimate(Estimate):
    """An estimate of log p(x) by importance sampling, with its bias; printed with the share that k-hat distrusts.

    Error, bias and interval are those of the mean over the given data: they measure the randomness of the draws, not
    that of the data. With fewer than 21 draws, bias and interval are unknown: NaN.

    Attributes:
        unreliable: the share of the data points with k-hat above 0.7; NaN where k-hat is unknown.
        bias: how far the mean of log 1/S sum w is from log p(x), a negative number, with its own error: see
            `pyrovae.inference.evidence.bias`. A number that rests on a log-evidence has the bias that follows from it:
            that of -log p(x) is positive.
        flagged: whether k-hat forbids an interval: it is above min(1 - 1 / log10 S, 0.7) for more than 5 % of the data
            points, or its mean over the data may be, by its standard error. The bias is then a guess. Without the flag
            the interval is right where the guide reaches all of p(z | x): no draw shows a mode that it never visits.
    """

    unreliable: float = math.nan
    bias: Estimate = Estimate(math.nan, math.nan)
    flagged: bool = False

    @classmethod
    def of(cls, per_datum: dict[str, Tensor], num_samples: int) -> "EvidenceEstimate":
        """The mean of `log_evidence` over the data, its bias, and what k-hat says of it.

        Args:
            per_datum: `log_evidence`, `log_evidence_error` and, where they are known, `khat`, `log_evidence_bias` and
                `log_evidence_bias_error`, `(N,)` each.
            num_samples: S, the draws of each data point.
        """
        estimate = cls(*summary(per_datum, "log_evidence"))
        if "khat" in per_datum:
            estimate.unreliable = (per_datum["khat"] > UNTRUSTED).double().mean().item()
            estimate.flagged = _heavy(per_datum["khat"], num_samples)
        if "log_evidence_bias" in per_datum:
            estimate.bias = Estimate(*mean_bias(per_datum["log_evidence_bias"], per_datum["log_evidence_bias_error"]))
        return estimate

    def minus(self, other: "EvidenceEstimate") -> "EvidenceEstimate":
        """The difference of two log-evidences with draws of their own, and that of their biases; flagged if one is.

        Args:
            other: the log-evidence that is subtracted.
        """
        found = EvidenceEstimate(self.value - other.value, math.hypot(self.error, other.error))
        found.bias = Estimate(self.bias.value - other.bias.value, math.hypot(self.bias.error, other.bias.error))
        found.unreliable = max(self.unreliable, other.unreliable)
        found.flagged = self.flagged or other.flagged
        return found

    @property
    def corrected(self) -> Estimate:
        """The estimate less its bias; its error holds that of both."""
        return Estimate(self.value - self.bias.value, math.hypot(self.error, self.bias.error))

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of the mean of log p(x) over the given data: `corrected` and 1.96 errors; NaN if flagged."""
        value, error = self.corrected
        half = math.nan if self.flagged else NORMAL * error
        return value - half, value + half

    @property
    def notes(self) -> list[tuple[str, str, str]]:
        """Bias and interval, each as a name, a number and words about it; none where they are unknown."""
        if math.isnan(self.bias.value):
            return []
        words = f"a guess; corrected {self.corrected}" if self.flagged else f"corrected {self.corrected}"
        low, high = (rounded(end, self.corrected.error) for end in self.interval)
        if self.flagged:
            interval = "none", "k-hat forbids it"
        else:
            interval = f"{low} to {high}", "of the mean over these data, if the guide reaches all of p(z | x)"
        return [("bias", str(self.bias), words), ("95 % interval", *interval)]


def summary(per_datum: dict[str, Tensor], name: str) -> Estimate:
    """The mean over the data, and its standard error, where the errors of the data points are independent.

    Args:
        per_datum: estimates and their errors, `(N,)` each.
        name: which estimate; its errors are at `name_error`.
    """
    values, errors = per_datum[name], per_datum[f"{name}_error"]
    return Estimate(values.mean().item(), (errors.square().sum().sqrt() / len(errors)).item())


def _heavy(khat: Tensor, num_samples: int) -> bool:
    """Whether k-hat is above its limit for more than 5 % of the data points, or its mean may be above it.

    One k-hat has the error (1 + k) / sqrt(weights that it is fitted to), so it says little where data points are few.
    """
    limit, mean = highest_khat(num_samples), khat.clamp(0, 2).mean().item()
    error = (1 + mean) / math.sqrt(tail_length(num_samples) * len(khat))
    return (khat > limit).double().mean().item() > RARE or mean + ONE_SIDED * error > limit

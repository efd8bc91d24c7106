"""Log-probabilities that are not finite: the site, the rows, and the cause."""

import math
from typing import Any

from torch import Tensor
from torch.distributions import constraints

from pyrovae.errors import NonFiniteError
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, unscaled_log_prob

__all__ = ["check_finite"]


def check_finite(pair: PairTrace, numbers: Tensor | None = None) -> None:
    """Raise if the log-probability of a site is not finite.

    Args:
        pair: the traces of one run.
        numbers: the row numbers of the batch in the data, `(B,)`, for the error; None for those in the batch.

    Raises:
        NonFiniteError: the message names the first such site, its program, the rows, and a parameter of the
            distribution that is outside its range.
    """
    for program, trace in zip(("guide", "model"), pair, strict=True):
        for name, site in sites(trace).items():
            log_prob = unscaled_log_prob(site)
            bad = (~log_prob.isfinite()).nonzero()
            if len(bad):
                value = log_prob[tuple(bad[0])].item()
                raise NonFiniteError(
                    f"A pair requires finite log-probabilities, but that of site '{name}' of the {program} is {value}"
                    f"{_at_rows(log_prob, bad, numbers)}. {_cause(innermost(site['fn']), site)}"
                )


def _at_rows(log_prob: Tensor, bad: Tensor, numbers: Tensor | None) -> str:
    """Where log-probabilities are not finite; nothing for a site that all data points share."""
    if not log_prob.dim():
        return ""
    rows, whose = bad[:, -1].unique(), "the batch"
    share = f"{len(rows)} of {log_prob.shape[-1]}"
    if numbers is not None and len(numbers) == log_prob.shape[-1]:
        rows, whose = numbers.to(rows.device)[rows], "the data"
    return f" at rows {rows[:5].tolist()} of {whose} ({share})"


def _cause(fn: Any, site: Site) -> str:
    """What to look for: a parameter that the distribution does not take, before all else."""
    for name, constraint in getattr(fn, "arg_constraints", {}).items():
        worst = _outside(constraint, vars(fn).get(name))
        if worst is None:
            continue
        positive = getattr(constraint, "lower_bound", None) == 0 and not hasattr(constraint, "upper_bound")
        needed = "positive values" if positive else f"values in {constraint}"
        line = f"{name}=torch.nn.functional.softplus(raw)" if positive else f"{name}=torch.sigmoid(raw)"
        write = f" Write {line}." if positive or constraint is constraints.unit_interval else ""
        kind = type(fn).__name__.removeprefix("_")
        return f"{kind} requires {needed} of its parameter {name}, got {worst:.3g} at site '{site['name']}'.{write}"
    return (
        "Look for NaN in the data or the weights, a scale near 0, or a learning rate that is too high; clip_norm=10 "
        "often helps."
    )


def _outside(constraint: Any, value: Any) -> float | None:
    """The lowest entry of a parameter outside its range; None where all are inside, or are not finite."""
    if not isinstance(value, Tensor) or constraints.is_dependent(constraint) or value.isnan().any():
        return None
    inside = constraint.check(value)
    if inside.all():
        return None
    lowest = (value[~inside] if inside.shape == value.shape else value).min().item()
    return None if math.isinf(lowest) or lowest == 0 else lowest  # 0 has underflowed

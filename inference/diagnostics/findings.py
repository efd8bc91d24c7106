"""Verdicts on what simulations show, each with its consequence and what to do next.

The tests of a diagnosis are calibration, joint ranks, prior-data conflict and predictive checks. Each has a level
of 1 %, divided by the number of its p-values (Bonferroni), so together they raise an alarm for at most 4 % of right
pairs.
"""

from pyrovae.inference.diagnostics.conflict import PriorDataConflict
from pyrovae.inference.diagnostics.joint import JointRanks
from pyrovae.inference.diagnostics.local import LocalTest
from pyrovae.inference.diagnostics.predictive import PredictiveCheck
from pyrovae.inference.diagnostics.verdicts import ENOUGH, UNLIKELY, Verdict

__all__ = ["of_conflict", "of_joint", "of_local", "of_predictive"]

FEW = 50  # data points, below which a comparison that finds nothing says little


def of_joint(joint: JointRanks) -> Verdict:
    """The verdict on the ranks of joint quantities.

    Args:
        joint: the ranks, as `calibration` gives them.
    """
    p, words = joint.p_value, joint.words(UNLIKELY)
    good: bool | None = p >= UNLIKELY
    count = len(next(iter(joint.ranks.values())))
    if not good:
        words += "; take a richer guide, train longer, or recalibrate(...)"
    elif count < ENOUGH:
        good, words = None, f"{words}, as far as {count} simulations can tell (num_simulations=500)"
    return Verdict("joint ranks (p-value)", p, None, words, good)


def of_local(local: LocalTest) -> Verdict:
    """The verdict on the data points at which the guide is not the posterior.

    Args:
        local: the local test of a guide that fails on simulated data.
    """
    p, words, off, size = local.p_value, local.words(), len(local.off()), len(local.rows)
    good = False if off or p < UNLIKELY else None
    if off > size / 2:
        words += ", so do not quote its intervals; take a richer guide, or recalibrate(...)"
    elif off:
        words += ", so do not quote its intervals there; train on more data points like these, or use a larger encoder"
    elif good is False:
        words += " alone, but over all of them it is off, so do not quote its intervals; take a richer guide"
    else:
        words += ": it fails on other data points that the model simulates, or by too little to see"
    return Verdict("local test (p-value)", p, None, words, good)


def of_conflict(conflict: PriorDataConflict) -> Verdict:
    """The verdict on the comparison of the data with simulated data.

    Args:
        conflict: the comparison.
    """
    p, words = conflict.p_value, conflict.words(UNLIKELY)
    good: bool | None = p >= UNLIKELY
    if not good:
        words += ", so calibration does not speak for these data; mend the model, predictive_check says where"
    elif conflict.size < FEW:
        good, words = None, f"{words}, as far as {conflict.size} data points can tell"
    return Verdict("data conflict (p-value)", p, None, words, good)


def of_predictive(check: PredictiveCheck) -> Verdict:
    """The verdict on statistics of the data.

    Args:
        check: the result of `predictive_check`.
    """
    p, words = check.p_value, check.words(UNLIKELY)
    good = p >= UNLIKELY
    if not good:
        words += "; the model does not draw such data, take another likelihood, decoder or prior"
    return Verdict("predictive check (p-value)", p, None, words, good)

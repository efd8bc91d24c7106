"""What a section is, and the words and numbers that several sections share."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyrovae.inference.pair.tails import RARE, UNTRUSTED
from pyrovae.report.reported import ReportedPair

__all__ = ["Section", "dimension", "doubts", "fixed", "rounded", "subscripted"]

Section = dict[str, Any]
"""Plain values: the `kind`, by which the page draws it, the `title`, and what the kind requires."""

SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def fixed(pair: ReportedPair, latent: str, owner: str) -> str:
    """A sentence for each thing that stays with a data point, or follows, while a latent moves.

    Args:
        pair: the pair.
        latent: the site that moves.
        owner: the words for the data point.
    """
    order = list(pair.codes)
    before, after = order[: order.index(latent)], order[order.index(latent) + 1 :]
    words = f" The condition is that of {owner}." if pair.given else ""
    words += f" {_listed(before)} {'stay' if len(before) > 1 else 'stays'} at the code of {owner}." if before else ""
    follow = "follow at the mean of their prior" if len(after) > 1 else "follows at the mean of its prior"
    return words + (f" {_listed(after)} {follow}." if after else "")


def _listed(sites: Sequence[str]) -> str:
    """`z₃ and z₂`."""
    names = [subscripted(name) for name in sites]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def doubts(unreliable: float) -> str:
    """What k-hat says of a log-evidence by importance sampling, in words; empty where k-hat is unknown.

    Args:
        unreliable: the share of the data points with k-hat above 0.7.
    """
    if math.isnan(unreliable):
        return ""
    words = f"k-hat above {UNTRUSTED} for {100 * unreliable:.0f} % of the data points"
    return words + (", where it is too low" if unreliable > RARE else "")


def subscripted(site: str) -> str:
    """The name of a `site` with its number as a subscript: `z2` as z₂."""
    return site.rstrip("0123456789") + site[len(site.rstrip("0123456789")) :].translate(SUBSCRIPT)


def dimension(site: str, index: int) -> str:
    """The name of a dimension: `z₂[0]`.

    Args:
        site: the latent site.
        index: the dimension, from 0.
    """
    return f"{subscripted(site)}[{index}]"


def rounded(values: Tensor) -> Any:
    """The `values` as nested lists, to four digits."""
    values = values.detach().double().cpu()
    return (
        [rounded(row) for row in values] if values.dim() > 1 else [float(f"{value:.4g}") for value in values.tolist()]
    )

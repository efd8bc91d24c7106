"""Diagnostics in words: each line is a number, its error, what it means, and whether that is good."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.display import plus_minus
from pyrovae.inference.diagnostics.aggregate import AggregatePosterior
from pyrovae.inference.diagnostics.calibration import Calibration, p_text
from pyrovae.inference.diagnostics.codes import CodeUse
from pyrovae.inference.diagnostics.gaps import InferenceGaps
from pyrovae.inference.diagnostics.latents import LatentSummary
from pyrovae.inference.evidence.estimates import Estimate
from pyrovae.inference.pair.tails import RARE, UNTRUSTED
from pyrovae.models.not_at_random import MISSING

__all__ = [
    "ENOUGH",
    "UNLIKELY",
    "Verdict",
    "of_aggregate",
    "of_beyond",
    "of_calibration",
    "of_codes",
    "of_gaps",
    "of_latent",
    "of_weights",
]

P_VALUE = "(p-value)"  # how the names of tests end
WORTH = 0.1  # the least good ratio of effective sample size to draws
SMALL = 0.1  # nats; also the share of the rate below which a divergence is small
CORRELATED = 0.5
FEW_CODES = 0.1  # the share of a codebook below which its perplexity is a collapse
CONFIDENT = 1.645  # standard errors to the one-sided 95 % bound

UNLIKELY = 0.01
"""The p-value below which a test of a diagnosis is an alarm."""

ENOUGH = 100
"""Simulations, below which a calibration that finds nothing says little."""


class Verdict(NamedTuple):
    """One line of a diagnosis.

    Attributes:
        name: what was measured.
        value: the number.
        error: its standard error; None where it is exact or has no error.
        verdict: what the number means, in words.
        good: whether that is good; None where it cannot be told, because data are few or the number does not show it.
    """

    name: str
    value: float
    error: float | None
    verdict: str
    good: bool | None

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Its row of a table: a mark, the name, the number, and the words."""
        number = f"{self.value:.3g}" if self.error is None else plus_minus(self.value, self.error)
        number = p_text(self.value) if self.name.endswith(P_VALUE) else number
        return {True: "", False: "!", None: "?"}[self.good], self.name, number, self.verdict

    def __str__(self) -> str:
        mark, name, number, verdict = self.cells
        return f"{mark:<2}{name:<24}{number:>16}   {verdict}"


def of_weights(
    khat: Tensor,
    effective_sample_size: Tensor,
    num_samples: int,
    calibration: Calibration | None = None,
    beyond: Estimate | None = None,
) -> list[Verdict]:
    """Verdicts on k-hat and effective sample size.

    k-hat speaks of what the guide visits. Whether that is everything, calibration and annealed importance sampling
    from the prior can show: without either, the weights cannot be trusted yet.

    Args:
        khat: k-hat of each data point, `(N,)`.
        effective_sample_size: the effective sample size of each data point, `(N,)`.
        num_samples: draws per data point.
        calibration: what `calibration` returned; None if it is not known.
        beyond: log p(x) by chains from the prior, less that by importance sampling; None if it is not known.
    """
    count = len(khat)
    share = (khat > UNTRUSTED).double().mean().item()
    good: bool | None = share <= RARE
    words = f"k-hat above {UNTRUSTED} for {_percent(share)} of the data points: do not trust importance sampling there"
    if good and _upper(share, count) > RARE:
        good, words = None, f"k-hat at most {UNTRUSTED}, mostly, but {count} data points are too few to tell"
    elif good:
        where = "all data points" if not share else f"all but {_percent(share)} of the data points"
        good, seen = _everywhere(calibration, beyond)
        words = f"k-hat at most {UNTRUSTED} for {where}, where the guide draws: {seen}"
    worth = effective_sample_size.median().item() / num_samples
    draws = (
        f"for the median data point {num_samples:,} draws of the guide are worth {worth * num_samples:,.0f} exact ones"
    )
    spread = (effective_sample_size.std(correction=0) / count**0.5).item()
    return [
        Verdict("k-hat above 0.7", share, math.sqrt(share * (1 - share) / count), words, good),
        Verdict("effective sample size", effective_sample_size.mean().item(), spread, draws, worth >= WORTH),
    ]


def _everywhere(calibration: Calibration | None, beyond: Estimate | None) -> tuple[bool | None, str]:
    """Whether the guide draws everywhere where the posterior is."""
    if beyond is not None and beyond.value > SMALL + 2 * beyond.error:
        return False, "chains from the prior find more evidence elsewhere, so do not trust importance sampling"
    missing = None if calibration is None else calibration.misses(UNLIKELY)
    if missing:
        return None, "but calibration says that it does not draw everywhere, see compare_evidence"
    few = calibration is not None and len(next(iter(calibration.ranks.values()))) < ENOUGH
    if beyond is None and (missing is None or few):
        return None, "it cannot see a mode that the guide misses, ask for num_simulations=500 or annealing=Annealing()"
    return True, "and nothing is missing elsewhere, so importance sampling can be trusted"


def of_beyond(beyond: Estimate) -> Verdict:
    """The verdict on what annealed importance sampling from the prior finds beyond importance sampling.

    Args:
        beyond: log p(x) by chains from the prior, less that by importance sampling. Both are lower bounds.
    """
    more, less = beyond.value > SMALL + 2 * beyond.error, beyond.value < -SMALL - 2 * beyond.error
    words = "nats of log p(x) that chains from the prior find and draws of the guide do not"
    if less:
        words += ": the chains fall short themselves, take more temperatures"
    elif not more:
        words += ": none"
    return Verdict("AIS from the prior", *beyond, words, None if less else not more)


def _upper(share: float, count: int) -> float:
    """The upper end of the one-sided 95 % interval of a share: Wilson (1927)."""
    square = CONFIDENT**2
    spread = CONFIDENT * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return (share + square / (2 * count) + spread) / (1 + square / count)


def of_latent(name: str, latent: LatentSummary) -> list[Verdict]:
    """Verdicts on one latent site: rate, active dimensions, correlation.

    Args:
        name: the name of the site.
        latent: its summary.
    """
    found = []
    total = None
    if name == MISSING and latent.rate is not None and not latent.rate.any():
        words = "nats: the guide draws it from the model's own p, so it says nothing about the guide"
        return [Verdict(f"rate of {name}", 0.0, None, words, True)]
    if latent.rate is not None and latent.rate_error is not None:
        total = latent.rate.sum(-1).mean().item()
        error = (latent.rate_error.square().sum() / len(latent.rate) ** 2).sqrt().item()
        found.append(Verdict(f"rate of {name}", total, error, _where(latent), total >= SMALL))
        found += [_clash(name, total, latent.by_draws)] if latent.by_draws else []
    if latent.active is not None:
        found.append(_activity(name, latent.active, total))
    if latent.correlation is not None and latent.active is not None and latent.active.sum() > 1:
        found.append(_correlation(name, latent.correlation, latent.active))
    return found


def _clash(name: str, closed: float, by_draws: Estimate) -> Verdict:
    """The verdict on a rate by draws that cannot be that of the closed form."""
    words = f"nats, and {closed:.2f} in closed form, many standard errors apart: draws are rounded or clamped, and the "
    words += "ELBO is wrong with them. Write model.double(), guide.double(), and data of float64"
    return Verdict(f"rate of {name} by draws", *by_draws, words, False)


def _where(latent: LatentSummary) -> str:
    """How many dimensions hold most of the rate."""
    rates = torch.as_tensor(latent.rate).mean(0).clamp_min(0).sort(descending=True).values
    share = rates.cumsum(0) / rates.sum().clamp_min(1e-300)
    most = int((share < 0.9).sum()) + 1
    return f"nats, 90 % of them in {min(most, len(rates))} of {len(rates)} dimensions ({latent.how})"


def _activity(name: str, active: Tensor, rate: float | None) -> Verdict:
    count, dims = int(active.sum()), len(active)
    words = f"{count} of {dims} latent dimensions are active"
    if count == 0 or (rate is not None and rate < SMALL):
        words = f"posterior collapse: {words}, {name} carries almost no information about x"
    elif count < dims:
        words += "; the others carry almost no information about x"
    return Verdict(f"active in {name}", count, None, words, count > 0 and not (rate is not None and rate < SMALL))


def _correlation(name: str, correlation: Tensor, active: Tensor) -> Verdict:
    among = active.nonzero()[:, 0]
    strength = correlation[among][:, among].abs().fill_diagonal_(0)
    largest = strength.max().item()
    first, second = (int(among[i]) for i in divmod(int(strength.argmax()), len(among)))
    words = f"the strongest correlation over all data points: {name}[{first}] and {name}[{second}]"
    return Verdict(f"correlation in {name}", largest, None, words, largest <= CORRELATED)


def of_codes(name: str, use: CodeUse) -> list[Verdict]:
    """Verdicts on the codes of one latent site: how many are in use, at how many places, and how long they are.

    Args:
        name: the name of the site.
        use: its codes over the data.
    """
    enough, count = use.perplexity >= FEW_CODES * use.size, int(use.varying.sum())
    words = f"the perplexity of the codes; {use.used} of {use.size} are in use"
    if not enough:
        words = f"codebook collapse: {words}"
    places = f"{count} of {use.places} places have codes that vary over the data"
    if not count:
        places = f"posterior collapse: {places}, {name} carries almost no information about x"
    short = use.length <= use.uniform_length + SMALL
    length = f"nats under the prior, {use.uniform_length:.2f} under a uniform one"
    if not short:
        length += ": the prior was fitted to other codes, fit it to these"
    return [
        Verdict(f"codes of {name}", use.perplexity, None, words, enough),
        Verdict(f"places of {name}", count, None, places, count > 0),
        Verdict(f"code length of {name}", use.length, None, length, short),
    ]


def of_aggregate(aggregate: AggregatePosterior) -> list[Verdict]:
    """Verdicts on mutual information and marginal KL.

    Args:
        aggregate: what `aggregate_posterior` returned.
    """
    shared, marginal, most = aggregate.mutual_information, aggregate.marginal_kl, math.log(aggregate.size)
    points = f"{aggregate.size:,} data points"
    full = shared.value > most - 1
    if full:
        words = f"nats between x and z, the most that {points} can show (log N = {most:.1f})"
    elif shared.value < SMALL + 2 * shared.error:
        words = "nats between x and z: almost none"
    else:
        words = f"nats between x and z; {points} can show at most log N = {most:.1f}"
    told = None if full else shared.value >= SMALL + 2 * shared.error
    found = [Verdict("mutual information", *shared, words, told)]
    if marginal is not None:
        near = marginal.value - 2 * marginal.error <= max(SMALL, SMALL * (shared.value + marginal.value))
        if near:
            words = "nats from aggregate posterior to prior: draws of the prior lie where codes do"
        elif full:
            words = f"nats from aggregate posterior to prior, or fewer: {points} are too few to tell"
        else:
            words = "nats from aggregate posterior to prior: the prior draws codes that no data point has"
        found.append(Verdict("marginal KL", *marginal, words, True if near else None if full else False))
    return found


def of_calibration(calibration: Calibration) -> Verdict:
    """The verdict on the ranks of simulated latents.

    Args:
        calibration: what `calibration` returned.
    """
    p, words = calibration.p_value, calibration.words(UNLIKELY)
    good: bool | None = p >= UNLIKELY
    count = len(next(iter(calibration.ranks.values())))
    if not good:
        words += f": {calibration.consequence()}; train longer, take a richer guide, or recalibrate(...)"
    elif count < ENOUGH:
        good, words = None, f"{words}, as far as {count} simulations can tell (num_simulations=500)"
    return Verdict(f"calibration {P_VALUE}", p, None, words, good)


def of_gaps(gaps: InferenceGaps) -> list[Verdict]:
    """Verdicts on the inference gap and its parts.

    Args:
        gaps: what `gaps` returned.
    """
    limit = max(SMALL, SMALL * gaps.rate.value)

    def verdict(name: str, gap: Estimate, costs: str, remedy: str) -> Verdict:
        good = gap.value - 2 * gap.error <= limit
        return Verdict(name, *gap, f"nats {costs}" + ("" if good else f": {remedy}"), good)

    unfinished = gaps.rise > SMALL * max(gaps.amortisation.value, SMALL)
    approximation = "lost to the family of the guide"
    if unfinished:
        approximation += f" (or fewer: refining still gained {gaps.rise:.2f} at its end, take more steps)"
    amortisation, larger = "lost to one network for all data points", "use a larger encoder, or train it longer"
    return [
        verdict("inference gap", gaps.inference, "by which the ELBO lies below log p(x)", "see its two parts"),
        verdict("approximation gap", gaps.approximation, approximation, "use a richer family"),
        verdict("amortisation gap", gaps.amortisation, amortisation, larger),
    ]


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"

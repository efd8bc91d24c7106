"""Diagnostics in words: each a number, its error, what it says, and whether that is good."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.inference.diagnostics.aggregate import Aggregate
from pyrovae.inference.diagnostics.calibration import Calibration
from pyrovae.inference.diagnostics.gaps import Gaps
from pyrovae.inference.diagnostics.latents import Latent
from pyrovae.inference.evidence.estimates import Estimate

__all__ = ["Verdict", "of_aggregate", "of_calibration", "of_gaps", "of_latent", "of_weights"]

UNTRUSTED = 0.7  # k-hat above which weights have no use: Vehtari et al. (2024)
RARE = 0.05  # share of data that may be so
WORTH = 0.1  # share of draws that should count
SMALL = 0.1  # nats; also the share of the rate below which a divergence is small
CORRELATED = 0.5
UNLIKELY = 0.01  # p-value


class Verdict(NamedTuple):
    """One line of the trust table. `error` is a standard error, None where the number is exact or has none."""

    name: str
    value: float
    error: float | None
    verdict: str
    good: bool

    def __str__(self) -> str:
        number = f"{self.value:.3g}" if self.error is None else f"{self.value:.2f} ± {self.error:.2f}"
        return f"{'  ' if self.good else '! '}{self.name:<24}{number:>16}   {self.verdict}"


def of_weights(khat: Tensor, effective: Tensor, num_samples: int) -> list[Verdict]:
    """Of k-hat and effective sample size, `(N,)` each."""
    count = len(khat)
    share = (khat > UNTRUSTED).double().mean().item()
    if share:
        words = f"k-hat above 0.7 on {_percent(share)} of the data: do not trust importance-sampled numbers there"
    else:
        words = "k-hat at most 0.7 on all data: importance-sampled numbers can be trusted"
    worth = effective.median().item() / num_samples
    draws = f"for the median datum {num_samples:,} draws of the guide are worth {worth * num_samples:,.0f} exact ones"
    spread = (effective.std(correction=0) / count**0.5).item()
    return [
        Verdict("k-hat above 0.7", share, math.sqrt(share * (1 - share) / count), words, share <= RARE),
        Verdict("effective sample size", effective.mean().item(), spread, draws, worth >= WORTH),
    ]


def of_latent(name: str, latent: Latent) -> list[Verdict]:
    """Of one latent site: rate, active dimensions, correlation."""
    found = []
    total = None
    if latent.rate is not None and latent.rate_error is not None:
        total = latent.rate.sum(-1).mean().item()
        error = (latent.rate_error.square().sum() / len(latent.rate) ** 2).sqrt().item()
        found.append(Verdict(f"rate of {name}", total, error, _where(latent), total >= SMALL))
    if latent.active is not None:
        found.append(_activity(name, latent.active, total))
    if latent.correlation is not None and latent.active is not None and latent.active.sum() > 1:
        found.append(_correlation(name, latent.correlation, latent.active))
    return found


def _where(latent: Latent) -> str:
    """In how many dimensions most of the rate is."""
    rates = torch.as_tensor(latent.rate).mean(0).clamp_min(0).sort(descending=True).values
    share = rates.cumsum(0) / rates.sum().clamp_min(1e-300)
    most = int((share < 0.9).sum()) + 1
    return f"nats, nine tenths in {min(most, len(rates))} of {len(rates)} dimensions ({latent.how})"


def _activity(name: str, active: Tensor, rate: float | None) -> Verdict:
    count, dims = int(active.sum()), len(active)
    words = f"{count} of {dims} latent dimensions are active"
    if count == 0 or (rate is not None and rate < SMALL):
        words = f"posterior collapse: {words}, {name} says next to nothing of x"
    elif count < dims:
        words += "; the others say next to nothing of x"
    return Verdict(f"active in {name}", count, None, words, count > 0 and not (rate is not None and rate < SMALL))


def _correlation(name: str, correlation: Tensor, active: Tensor) -> Verdict:
    among = active.nonzero()[:, 0]
    strength = correlation[among][:, among].abs().fill_diagonal_(0)
    largest = strength.max().item()
    first, second = (int(among[i]) for i in divmod(int(strength.argmax()), len(among)))
    words = f"the strongest, of {name}[{first}] and {name}[{second}], over all data"
    return Verdict(f"correlation in {name}", largest, None, words, largest <= CORRELATED)


def of_aggregate(aggregate: Aggregate) -> list[Verdict]:
    """Of mutual information and marginal KL."""
    shared, marginal, most = aggregate.mutual_information, aggregate.marginal_kl, math.log(aggregate.size)
    full = shared.value > most - 1
    if full:
        words = f"nats between x and z, all that {aggregate.size:,} data can show (log N = {most:.1f})"
    elif shared.value < SMALL + 2 * shared.error:
        words = "nats between x and z: next to nothing"
    else:
        words = f"nats between x and z, of at most log N = {most:.1f} that {aggregate.size:,} data can show"
    good = full or shared.value >= SMALL + 2 * shared.error
    found = [Verdict("mutual information", *shared, words, good)]
    if marginal is not None:
        near = marginal.value - 2 * marginal.error <= max(SMALL, SMALL * (shared.value + marginal.value))
        if near:
            words = "nats from aggregate posterior to prior: draws of the prior lie where codes do"
        elif full:
            words = f"nats from aggregate posterior to prior, or less: {aggregate.size:,} data are too few to tell"
        else:
            words = "nats from aggregate posterior to prior: the prior draws codes that no datum has"
        found.append(Verdict("marginal KL", *marginal, words, near or full))
    return found


def of_calibration(calibration: Calibration) -> Verdict:
    """Of the ranks of simulated latents."""
    p = calibration.p_value
    return Verdict("calibration (p-value)", p, None, calibration.words(UNLIKELY), p >= UNLIKELY)


def of_gaps(gaps: Gaps) -> list[Verdict]:
    """Of the inference gap and its parts."""
    limit = max(SMALL, SMALL * gaps.rate.value)

    def verdict(name: str, gap: Estimate, costs: str, mend: str) -> Verdict:
        good = gap.value - 2 * gap.error <= limit
        return Verdict(name, *gap, f"nats that {costs}" + ("" if good else f": {mend}"), good)

    unfinished = gaps.rise > SMALL * max(gaps.amortisation.value, SMALL)
    approximation = "the family of the guide costs"
    if unfinished:
        approximation += f" (or less: refining still gained {gaps.rise:.2f} at its end, take more steps)"
    return [
        verdict("inference gap", gaps.inference, "the ELBO lies below log p(x)", "see its two parts"),
        verdict("approximation gap", gaps.approximation, approximation, "take a richer one"),
        verdict(
            "amortisation gap",
            gaps.amortisation,
            "one network for all data costs",
            "take a larger encoder, or train it longer",
        ),
    ]


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else f"{100 * share:.0f} %"

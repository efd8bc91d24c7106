"""How far to trust the guide, and the evidence."""

from typing import Any

import torch

from pyrovae.inference import Evaluation
from pyrovae.inference.diagnostics import Calibration, Diagnosis, LocalTest
from pyrovae.inference.diagnostics.joint import LOG_Q
from pyrovae.inference.evidence.comparison import EvidenceComparison
from pyrovae.report.sections.section import Section, dimension, doubts, rounded, subscripted

__all__ = ["evidence", "trust"]

BARS = 40
"""Dimensions in a chart of rates at most."""

RANKS = 20
"""Bars in a chart of ranks at most."""


def trust(found: Diagnosis) -> Section:
    """The verdicts of `diagnose` in words, and what they are made of as bars.

    Args:
        found: the result of `diagnose`.
    """
    checks = [
        {"name": one.name, "number": one.cells[2], "verdict": one.verdict, "good": one.good} for one in found.verdicts
    ]
    bad, unknown = (sum(check["good"] is good for check in checks) for good in (False, None))
    text = f"Measured on {found.size:,} data points with {found.num_samples:,} draws each, and on data points that the "
    text += "model simulates. "
    text += _counted(len(checks), bad, unknown)
    return {
        "kind": "checks",
        "title": "Trust",
        "text": text,
        "checks": checks,
        "absent": [{"name": name, "reason": reason} for name, reason in found.absent.items()],
        "bars": [
            *_khat_bars(found),
            *_rate_bars(found),
            *_rank_bars(found.calibration),
            *_joint_bars(found.calibration),
            *_coverage_bars(found.calibration),
            *_local_bars(found.local),
        ],
    }


def _counted(count: int, bad: int, unknown: int) -> str:
    """How many checks are bad, and how many cannot be told, in a sentence."""
    if not bad and not unknown:
        return f"All {count} checks are good."
    words = [f"{bad} of {count} checks {'asks' if bad == 1 else 'ask'} for care"] if bad else []
    words += [f"{unknown} of {count} cannot be told from these data points and draws"] if unknown else []
    return f"{', '.join(words)}."


def _khat_bars(found: Diagnosis) -> list[dict[str, Any]]:
    """How many data points have which k-hat."""
    if "khat" not in found.per_datum:
        return []
    khat = found.per_datum["khat"].double().clamp(0, 1.999)
    counts = torch.histc(khat, 20, 0, 2)
    words = "Data points by k-hat. Above 0.7 the weights of a data point are of no use; the last bar is 1.9 and more."
    names = [f"{i / 10:.1f}" for i in range(20)]
    return [{"title": "k-hat", "values": counts.tolist(), "names": names, "words": words}]


def _rate_bars(found: Diagnosis) -> list[dict[str, Any]]:
    """The rate of each dimension of each latent site."""
    bars = []
    for site, latent in found.latents.items():
        if latent.rate is not None and latent.rate.shape[1] > 1:
            rate, order = latent.rate.mean(0).clamp_min(0).sort(descending=True)
            names = [dimension(site, d) for d in order[:BARS].tolist()]
            words = f"Nats that each dimension of {subscripted(site)} says about a data point, the highest first."
            title = f"Rates of the dimensions of {subscripted(site)}"
            bars.append({"title": title, "values": rounded(rate[:BARS]), "names": names, "words": words})
    return bars


def _rank_bars(calibration: Calibration | None) -> list[dict[str, Any]]:
    """The ranks of simulated latents among draws of the guide, all dimensions of a site together."""
    if calibration is None:
        return []
    bars = []
    levels = calibration.num_samples + 1
    width = -(-levels // min(levels, RANKS))
    for site, ranks in calibration.ranks.items():
        if site in calibration.points:
            continue
        counts = torch.bincount(ranks.flatten() // width, minlength=levels // width)
        words = f"Ranks of simulated {subscripted(site)} among draws of the guide. For a calibrated guide all bars are "
        words += "as high as the dashed line. High ends mean that it is too narrow, a hill that it is too wide."
        title, names = f"Calibration of {subscripted(site)}", [str(i * width) for i in range(len(counts))]
        level = ranks.numel() * width / levels
        bars.append({"title": title, "values": counts.tolist(), "names": names, "words": words, "level": level})
    return bars


def _joint_bars(calibration: Calibration | None) -> list[dict[str, Any]]:
    """The ranks of joint quantities of simulated x and z."""
    if calibration is None or calibration.joint is None:
        return []
    joint, bars = calibration.joint, []
    for name, ranks in joint.ranks.items():
        levels = joint.num_samples[name] + 1
        width = -(-levels // min(levels, RANKS))
        counts = torch.bincount(ranks // width, minlength=-(-levels // width))
        words = f"Ranks of {name} of simulated data and latents among draws of the guide. 90 % regions hold "
        words += f"{100 * joint.coverage(name):.0f} %. For a calibrated guide all bars are as high as the dashed line."
        names = [str(i * width) for i in range(len(counts))]
        level = len(ranks) * width / levels
        bars.append(
            {"title": f"Ranks of {name}", "values": counts.tolist(), "names": names, "words": words, "level": level}
        )
    return bars


def _coverage_bars(calibration: Calibration | None) -> list[dict[str, Any]]:
    """What regions of highest density hold at each level."""
    if calibration is None or calibration.joint is None or LOG_Q not in calibration.joint.ranks:
        return []
    levels = [k / 10 for k in range(1, 10)]
    held = [100 * calibration.joint.coverage(LOG_Q, level) for level in levels]
    words = "The percentage of simulated latents that the guide's regions of highest density hold, by the percentage "
    words += "that they should. Each line is what a calibrated guide has: bars below it mean that it is too narrow."
    names, marks = [f"{100 * level:.0f}" for level in levels], [100 * level for level in levels]
    return [{"title": "Coverage of regions", "values": held, "names": names, "words": words, "marks": marks}]


def _local_bars(local: LocalTest | None) -> list[dict[str, Any]]:
    """How many data points have which p-value of the local test."""
    if local is None:
        return []
    counts = torch.histc(local.per_datum["p_value"], 20, 0, 1)
    words = "Data points by the p-value that the guide is the posterior there. Where it is, all bars are about as high "
    words += "as the dashed line; a high first bar are the data points where it is off."
    names = [f"{k / 20:.2f}" for k in range(20)]
    chart = {"title": "Local test", "values": counts.tolist(), "names": names, "words": words}
    return [{**chart, "level": len(local.rows) / 20}]


def evidence(measured: Evaluation, comparison: EvidenceComparison | None) -> Section:
    """The ELBO and the estimates of log p(x), with their standard errors.

    Args:
        measured: the result of `evaluate`.
        comparison: the result of `compare_evidence`, shown in place of the two estimates of `measured`.
    """
    gap = measured.log_evidence.value - measured.elbo.value
    text = "Estimates of log p(x) in nats per data point; higher is better. Bars are two standard errors, which come "
    text += "from the draws alone. Importance sampling estimates from below, and it is "
    text += f"{gap:.2f} nats above the ELBO: the guide loses at least as much."
    text += f" Its weights have {words}." if (words := doubts(measured.unreliable)) else ""
    groups = _compared(comparison) if comparison else {"": _measured(measured)}
    shown = [{"title": title, "rows": rows} for title, rows in groups.items() if rows]
    return {"kind": "estimates", "title": "Evidence", "text": text, "groups": shown}


def _measured(measured: Evaluation) -> list[dict[str, Any]]:
    named = {"ELBO": measured.elbo, f"importance sampling, {measured.num_samples:,} draws": measured.log_evidence}
    return [{"name": n, "value": one.value, "error": one.error, "note": one.remarks} for n, one in named.items()]


def _compared(comparison: EvidenceComparison) -> dict[str, list[dict[str, Any]]]:
    """The rows of a comparison, by the data that they are about."""
    titles = {"given": "On the data", "simulated": "On data that the model simulates, where both bounds are known"}
    groups: dict[str, list[dict[str, Any]]] = {title: [] for title in titles.values()}
    for row in comparison.rows:
        value, error = row.estimate or (None, None)
        one = {"name": row.estimator, "value": value, "error": error, "seconds": row.seconds, "note": row.note}
        groups[titles[row.data]].append({**one, "effective_sample_size": row.effective_sample_size})
    return groups

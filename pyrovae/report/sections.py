"""The sections of a report: each a function from a subject to plain values that the page draws.

A section that has no meaning for a pair is None.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference import Evaluation
from pyrovae.inference.diagnostics import Trust
from pyrovae.inference.draws.posterior import posterior
from pyrovae.inference.evidence.comparison import Comparison
from pyrovae.inference.latent.projection import principal_plane
from pyrovae.inference.latent.traversal import traverse
from pyrovae.inference.pair.running import unchanged
from pyrovae.report.subject import Subject

__all__ = [
    "Section",
    "curves",
    "draws",
    "evidence",
    "latent_map",
    "overview",
    "reconstructions",
    "samples",
    "traversals",
]

Section = dict[str, Any]

PAIRS, SAMPLES, PRIOR = 20, 60, 300
MAPS = 3  # latent sites that are mapped and traversed, at most
GRID = 24  # decoded points a side of a map
DIMS, STEPS, BASES = 12, 11, 4  # of traversals
EXTENT = 2.5  # standard deviations of the aggregate posterior, both ways
DATA, DRAWS = 6, 6  # of the posterior
BARS, RANKS = 40, 20  # of a chart, at most
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def overview(s: Subject, measured: Evaluation, facts: dict[str, Any]) -> Section:
    """The headline numbers, and what is known of the run; of a point mass there is the distortion alone."""
    tiles = [
        ("ELBO", measured.elbo, "what training climbs: −(rate + distortion)"),
        ("rate", measured.rate, "KL(q(z|x) ‖ p(z)), what a code says of its datum"),
        ("distortion", measured.distortion, "−E log p(x|z), what the code leaves unsaid"),
        ("log-evidence", measured.log_evidence, f"log p(x), importance sampling, {measured.num_samples} draws a datum"),
    ]
    shown = [tile for tile in tiles if s.density or tile[0] == "distortion"]
    return {"kind": "overview", "title": "The run", "tiles": shown, "facts": facts}


def curves(rows: Sequence[Mapping[str, float]]) -> Section | None:
    """Training curves of a history: the loss, and of the validation data ELBO, rate and distortion."""
    if not rows:
        return None
    loss = {"training loss": [row["loss"] for row in rows]}
    if any(abs(row.get("train_elbo", -row["loss"]) + row["loss"]) > 1e-4 * abs(row["loss"]) for row in rows):
        loss["training, −ELBO"] = [-row["train_elbo"] for row in rows]
    panels = [("loss", loss)]
    if "elbo" in rows[0]:
        loss["validation, −ELBO"] = [-row["elbo"] for row in rows]
        panels += [(name, {f"validation {name}": [row[name] for row in rows]}) for name in ("rate", "distortion")]
    shown = [{"title": title, "series": [{"name": n, "values": v} for n, v in s.items()]} for title, s in panels]
    text = "Nats per datum at each epoch. Point at a curve, or focus it and press the arrow keys, to read its values."
    epochs = [int(row["epoch"]) for row in rows]
    return {"kind": "curves", "title": "Training", "text": text, "epochs": epochs, "panels": shown}


def reconstructions(s: Subject) -> Section:
    """Data over the mean of p(x | z) at their codes."""
    rows = list(range(min(PAIRS, len(s.x))))
    album = s.camera.album(torch.cat([s.x[rows], s.decoded(rows)]), budget=200_000)
    items = [{"label": s.name(i), "at": [i, len(rows) + i]} for i in rows]
    text = "Above, or first, the datum; below it the mean of p(x | z) at its code."
    return {
        "kind": "gallery",
        "title": "Data and reconstructions",
        "text": text,
        "album": album,
        "names": ["datum", "reconstruction"],
        "items": items,
    }


def samples(s: Subject) -> Section:
    """The mean of p(x | z) at draws z ~ p(z)."""
    rows = [i % len(s.x) for i in range(SAMPLES if s.camera.images else SAMPLES // 5)]
    album = s.camera.album(s.generated(rows, s.site), budget=200_000)
    items = [{"label": given_words(s, row) or f"sample {i + 1}", "at": [i]} for i, row in enumerate(rows)]
    text = "The mean of p(x | z), z drawn from the prior" + (", under the conditions of the data." if s.given else ".")
    return {
        "kind": "gallery",
        "title": "Samples of the prior",
        "text": text,
        "album": album,
        "names": [],
        "items": items,
        "captions": bool(s.given),
    }


def latent_map(s: Subject, site: str) -> Section | None:
    """A plane through the codes of a site, decoded on a grid, with the data on it."""
    z = s.codes[site].float()
    if z.shape[1] < 2 or len(z) < 2:
        return None
    plane = principal_plane(z)
    points, prior = plane.project(z), plane.project(prior_draws(s, site))
    far = [points.abs().max().item()] + ([prior.abs().quantile(0.99).item()] if len(prior) else [])
    half = 1.05 * max(*far, 1e-6)
    line = torch.linspace(-half, half, GRID, device=z.device)
    grid = torch.stack(torch.meshgrid(line, -line, indexing="xy"), -1).reshape(-1, 2)  # rows from the top
    axes = [dimension(site, d) for d in range(2)] if z.shape[1] == 2 else plane.axes
    images = s.decoded([0] * len(grid), **{site: plane.lift(grid).to(s.codes[site])})
    names = [name for _, name in sorted(set(zip(s.batch["y"].tolist(), s.labels, strict=True)))] if s.labels else []
    text = f"Each point is the mean of q({site} | x) of a datum; the faint ones are draws of the prior. "
    text += "Point at the map, or move the sliders under it: beside it is what that place decodes to"
    text += "." if z.shape[1] == 2 else ", the other directions at the data's mean."
    return {
        "kind": "map",
        "title": f"Latent map of {subscripted(site)}",
        "text": text + fixed(s, site, s.name(0)),
        "axes": axes,
        "short": [name.split(" (")[0].replace("principal ", "") for name in axes],
        "half": half,
        "side": GRID,
        "grid": s.camera.album(images, budget=550_000),
        "data": s.camera.album(s.x, budget=350_000),
        "points": rounded(points),
        "prior": rounded(prior),
        "labels": names,
        "label": [names.index(label) for label in s.labels],
    }


def prior_draws(s: Subject, site: str) -> Tensor:
    """Draws of a latent site from the model, `(P, D)`; none of an improper prior."""
    try:
        return s.generated([i % len(s.x) for i in range(PRIOR)], site, mean=False).float()
    except PairError:
        return s.codes[site].new_zeros(0, s.codes[site].shape[1])


def traversals(s: Subject, site: str) -> Section | None:
    """Data decoded along single dimensions of a site, those of the highest rate first, from the codes of some data."""
    bases = s.chosen(BASES)
    # Sites below the one that moves are left out, so that they follow it.
    held = list(s.codes)[: list(s.codes).index(site) + 1]
    runs = [
        traverse(
            s.model,
            s.guide,
            s.batch,
            site=site,
            dims=DIMS,
            steps=STEPS,
            extent=EXTENT,
            code={name: s.codes[name][row] for name in held},
            given={name: tensor[row] for name, tensor in s.given.items()},
            seed=s.seed,
        )
        for row in bases
    ]
    one, z, name = runs[0], s.codes[site], subscripted(site)
    text = f"One dimension of {name} moves, the others stay at the code of the datum chosen. Dimensions are sorted by "
    text += "their rate, the nats that they tell of a datum: one of rate 0 is not used."
    return {
        "kind": "traversals",
        "title": f"Traversals of {name}",
        "text": text + fixed(s, site, "the datum"),
        "dims": [
            {"name": dimension(site, d), "rate": rate} for d, rate in zip(one.dims, one.rates.tolist(), strict=True)
        ],
        "left_out": z.shape[1] - len(one.dims),
        "values": rounded(one.values),
        "start": rounded(z[bases][:, one.dims]),
        "bases": [s.name(row) for row in bases],
        "album": s.camera.album(torch.cat([run.x.flatten(0, 1) for run in runs]), budget=600_000),
        "data": s.camera.album(s.x[bases], budget=30_000),
    }


def draws(s: Subject) -> Section:
    """Some data, and p(x | z) at draws z ~ q(z | x), and at draws that are corrected by their weights."""
    rows = s.chosen(DATA)
    batch = {name: tensor[rows] for name, tensor in s.batch.items()}
    shown = [("datum", s.x[rows]), ("mean of q", s.decoded(rows))]
    for kind in ("draw", "corrected"):
        options: dict[str, Any] = {"corrected": kind == "corrected", "log_weights": False, "seed": s.seed}
        z = posterior(s.model, s.guide, batch, DRAWS, transform=unchanged, **options).latents
        for i in range(DRAWS):
            code = {name: z[name][i].to(s.x.device) for name in s.codes}
            shown.append((f"{kind} {i + 1}", s.decoded(rows, **code)))
    text = "The mean of p(x | z) at draws z ~ q(z | x): how far codes of one datum differ in what they say of it. "
    text += (
        f"Corrected draws are chosen among {10 * DRAWS} of the guide by their weights, so they are nearer to p(z | x)."
    )
    count = len(rows)
    return {
        "kind": "gallery",
        "title": "Posterior draws",
        "text": text,
        "album": s.camera.album(torch.cat([x for _, x in shown]), budget=300_000),
        "names": [name for name, _ in shown],
        "groups": [
            ("datum", 0, 1),
            ("mean of q", 1, 1),
            ("draws of q", 2, DRAWS),
            ("corrected draws", 2 + DRAWS, DRAWS),
        ],
        "items": [
            {"label": s.name(row), "at": list(range(i, count * len(shown), count))} for i, row in enumerate(rows)
        ],
    }


def trust(found: Trust) -> Section:
    """The verdicts of `diagnose`, in words, and what they are made of as bars."""
    checks = [
        {"name": name, "value": value, "error": error, "verdict": words, "good": good}
        for name, value, error, words, good in found.verdicts
    ]
    bad = sum(not check["good"] for check in checks)
    text = (
        f"Measured on {found.size:,} data with {found.num_samples:,} draws each, and on data that the model simulates. "
    )
    text += f"{bad} of {len(checks)} checks ask for care." if bad else f"All {len(checks)} checks are good."
    return {
        "kind": "checks",
        "title": "Trust",
        "text": text,
        "checks": checks,
        "absent": [{"name": name, "reason": reason} for name, reason in found.absent.items()],
        "bars": [*khat_bars(found), *rate_bars(found), *rank_bars(found)],
    }


def khat_bars(found: Trust) -> list[dict[str, Any]]:
    """How many data have which k-hat."""
    if "khat" not in found.per_datum:
        return []
    khat = found.per_datum["khat"].double().clamp(0, 1.999)
    counts = torch.histc(khat, 20, 0, 2)
    words = "Number of data by k-hat. Above 0.7 the weights of a datum have no use; the last bar is 1.9 and more."
    names = [f"{i / 10:.1f}" for i in range(20)]
    return [{"title": "k-hat", "values": counts.tolist(), "names": names, "words": words}]


def rate_bars(found: Trust) -> list[dict[str, Any]]:
    """The rate of each dimension of each site."""
    bars = []
    for site, latent in found.latents.items():
        if latent.rate is not None and latent.rate.shape[1] > 1:
            rate, order = latent.rate.mean(0).clamp_min(0).sort(descending=True)
            names = [dimension(site, d) for d in order[:BARS].tolist()]
            words = f"Nats that each dimension of {subscripted(site)} tells of a datum, the most telling first."
            title = f"Rates of the dimensions of {subscripted(site)}"
            bars.append({"title": title, "values": rounded(rate[:BARS]), "names": names, "words": words})
    return bars


def rank_bars(found: Trust) -> list[dict[str, Any]]:
    """The ranks of simulated latents among draws of the guide, all dimensions of a site together."""
    bars = []
    for site, ranks in found.calibration.ranks.items() if found.calibration else ():
        levels = found.calibration.num_samples + 1 if found.calibration else 1
        width = -(-levels // min(levels, RANKS))
        counts = torch.bincount(ranks.flatten() // width, minlength=levels // width)
        words = (
            f"Ranks of simulated {subscripted(site)} among draws of the guide. A calibrated guide makes all bars as "
        )
        words += "high as the dashed line; high ends say that it is too narrow, a hill that it is too wide."
        title, names = f"Calibration of {subscripted(site)}", [str(i * width) for i in range(len(counts))]
        level = ranks.numel() * width / levels
        bars.append({"title": title, "values": counts.tolist(), "names": names, "words": words, "level": level})
    return bars


def evidence(measured: Evaluation, comparison: Comparison | None) -> Section:
    """The bound and the estimates of log p(x), with their standard errors."""
    text = (
        "Estimates of log p(x) in nats per datum, higher is better. Bars are two standard errors, of the draws alone. "
    )
    gap = measured.log_evidence.value - measured.elbo.value
    text += f"Importance sampling is an estimate from below; it lies {gap:.2f} nats above the ELBO, so the guide gives "
    text += "away at least as much."
    groups: dict[str, list[dict[str, Any]]] = {"": []}
    if comparison:
        groups = {"On the data": [], "On data that the model simulates, where both sides are known": []}
        for row in comparison.rows:
            value, error = row.estimate or (None, None)
            one = {"name": row.estimator, "value": value, "error": error, "ess": row.ess, "seconds": row.seconds}
            groups[list(groups)[row.data != "given"]].append({**one, "note": row.note})
    else:
        named = {"ELBO": measured.elbo, f"importance sampling, {measured.num_samples:,} draws": measured.log_evidence}
        groups[""] = [{"name": name, "value": one.value, "error": one.error} for name, one in named.items()]
    shown = [{"title": title, "rows": rows} for title, rows in groups.items() if rows]
    return {"kind": "estimates", "title": "Evidence", "text": text, "groups": shown}


def given_words(s: Subject, row: int) -> str:
    """The condition of a datum in words, where it is a label."""
    return f"y = {s.labels[row]}" if "y" in s.given and s.labels else ""


def fixed(s: Subject, site: str, datum: str) -> str:
    """What stays as a datum has it while a site moves, in words."""
    order = list(s.codes)
    before, after = order[: order.index(site)], order[order.index(site) + 1 :]
    words = f" The condition is that of {datum}." if s.given else ""
    words += f" {listed(before)} {'stay' if len(before) > 1 else 'stays'} as {datum} has it." if before else ""
    follow = "follow by the mean of their prior" if len(after) > 1 else "follows by the mean of its prior"
    return words + (f" {listed(after)} {follow}." if after else "")


def listed(sites: Sequence[str]) -> str:
    """`z₃ and z₂`."""
    names = [subscripted(name) for name in sites]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def subscripted(site: str) -> str:
    """`z2` as z₂."""
    return site.rstrip("0123456789") + site[len(site.rstrip("0123456789")) :].translate(SUBSCRIPT)


def dimension(site: str, index: int) -> str:
    """One dimension of a site, as Python counts."""
    return f"{subscripted(site)}[{index}]"


def rounded(values: Tensor) -> Any:
    """Nested lists, to four digits."""
    values = values.detach().double().cpu()
    return (
        [rounded(row) for row in values] if values.dim() > 1 else [float(f"{value:.4g}") for value in values.tolist()]
    )

"""Anomaly scores of any pair: how surprising a data point is, and above which score it is called anomalous.

A higher score means a more anomalous data point. All scores but the squared error are in nats per data point.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_fraction, check_tensor
from pyrovae.data import Batch
from pyrovae.errors import DataError, PairError
from pyrovae.inference.diagnostics import gaps
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.latent.codes import reconstruct
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.on_data import on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, ROWS, Transform, batches, device_of, unchanged
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT
from pyrovae.inference.tasks.complexity import complexity

__all__ = ["SCORES", "anomaly_scores", "threshold"]


def anomaly_scores(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    kind: str = "elbo",
    num_samples: int = 100,
    transform: Transform | None = None,
    seed: int = 0,
    memory: int = MEMORY,
    compile: bool | None = None,
    num_steps: int | None = None,
    lr: float | None = None,
    num_particles: int | None = None,
    progress: bool = False,
) -> Tensor:
    """The score of each data point, `(N,)` in float64, higher for the more anomalous.

    - `"elbo"`: -ELBO(x) = -E_q log p(x | z) + KL(q || p).
    - `"evidence"`: -log p(x), by importance sampling.
    - `"reconstruction"`: -E_q log p(x | z), the reconstruction probability.
    - `"error"`: |x - E[x | z]|^2 at the mean code z, in squares of the data's unit.
    - `"error+rate"`: |x - E[x | z]|^2 + KL(q || p), the loss of many tutorials; up to a constant it is -ELBO with a
      normal likelihood of scale 1 / sqrt(2).
    - `"regret"`: max_q' ELBO(q') - ELBO(q), where q' is fitted to this data point alone: the loss that is due to the
      encoder.
    - `"complexity"`: -log p(x) - `complexity(x)`, because simple data are probable under any model of images.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        kind: one of the kinds above.
        num_samples: the number of draws per data point.
        transform: the transform that training applied to a batch, `pyrovae.data.Scale()` if None. A random one is
            drawn once.
        seed: the seed of all draws; the global random state is left alone.
        memory: about how many bytes a chunk of draws may take.
        compile: replay a compiled graph; None leaves the choice to `evaluate`, and is False for the regret.
            `"error"` has no such option.
        num_steps, lr, num_particles: the options of `gaps`, for the regret alone; None takes its defaults.
        progress: show a bar.

    Raises:
        PairError: an unknown kind, an option that the kind does not use, no data, or a latent outside the plate "data"
            where the kind needs p(x) of one data point.
        DataError: data whose complexity is not known, or that are no named tensors.
        NonFiniteError, SupportError: a value of the data is not finite, or outside the support of its site.
        SettingError: a number of draws below 1.

    References: An & Cho (2015), Variational autoencoder based anomaly detection using reconstruction probability; Xiao
    et al. (2020), Likelihood regret, arXiv:2003.02977; Serrà et al. (2020), Input complexity, arXiv:1909.11480.
    """
    steps = {"num_steps": num_steps, "lr": lr, "num_particles": num_particles}
    _check(kind, {**steps, "compile": compile})
    num_samples = check_count("num_samples", num_samples, write=100)
    with on_data("anomaly_scores", model, guide, data, transform, seed=seed, single=True) as pair:
        parts = [batch for _, batch in pair.batches(ROWS)]
    seen = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    steps = {name: value for name, value in steps.items() if value is not None}
    return SCORES[kind](_Measured(model, guide, seen, num_samples, seed, memory, compile, steps, progress))


def _check(kind: str, options: dict[str, Any]) -> None:
    """Refuse an unknown kind, and an option that is given and not used by the kind."""
    if kind not in SCORES:
        raise PairError(f"anomaly_scores knows no kind {kind!r}. Choose from {', '.join(map(repr, SCORES))}.")
    for name, value in options.items():
        users = [used for used in SCORES if used != "error"] if name == "compile" else ["regret"]
        if value is not None and kind not in users:
            raise PairError(
                f"anomaly_scores of kind {kind!r} has no option {name}, got {name}={value!r}. Leave it out; the kinds "
                f"that use it are {', '.join(map(repr, users))}."
            )


@dataclass(frozen=True)
class _Measured:
    """What scores are made of, measured on data that are transformed already; each number is per data point, `(N,)`."""

    model: ProgramLike
    guide: ProgramLike
    data: Batch
    num_samples: int
    seed: int
    memory: int
    compile: bool | None
    steps: dict[str, Any]
    progress: bool

    def part(self, name: str) -> Tensor:
        """A part of the ELBO, or the evidence."""
        measured = evaluate(
            self.model,
            self.guide,
            self.data,
            num_samples=self.num_samples,
            transform=unchanged,
            memory=self.memory,
            seed=self.seed,
            compile=self.compile,
            progress=self.progress,
        )
        value = measured.per_datum[name]
        if value.isnan().all():
            raise PairError(NOT_INDEPENDENT)
        return value

    def error(self) -> Tensor:
        """|x - E[x | z]|^2 at the mean code."""
        errors = []
        with progress_bar(self.progress, batch_size(self.data), "data point") as bar:
            for batch in batches(self.data, ROWS, unchanged, device_of(self.model, self.guide)):
                residual = batch["x"] - reconstruct(self.model, self.guide, batch, transform=unchanged, seed=self.seed)
                errors.append(residual.double().flatten(1).square().sum(1))
                bar.update(len(residual))
        return torch.cat(errors).cpu()

    def regret(self) -> Tensor:
        """What the ELBO gains when the guide is fitted to the data point alone."""
        measured = gaps(
            self.model,
            self.guide,
            self.data,
            num_samples=self.num_samples,
            transform=unchanged,
            memory=self.memory,
            seed=self.seed,
            compile=bool(self.compile),
            **self.steps,
            progress=self.progress,
        )
        return measured.per_datum["amortisation"]


SCORES: dict[str, Callable[[_Measured], Tensor]] = {
    "elbo": lambda measured: -measured.part("elbo"),
    "evidence": lambda measured: -measured.part("log_evidence"),
    "reconstruction": lambda measured: measured.part("distortion"),
    "error": lambda measured: measured.error(),
    "error+rate": lambda measured: measured.error() + measured.part("rate"),
    "regret": lambda measured: measured.regret(),
    "complexity": lambda measured: -measured.part("log_evidence") - complexity(measured.data["x"]),
}
"""The kinds of score."""


def threshold(scores: Tensor, *, quantile: float | None = None, false_alarms: float | None = None) -> float:
    """The threshold of an alarm: a data point with a higher score is called anomalous.

    Give one of `quantile` and `false_alarms`.

    Args:
        scores: the scores of clean data, `(N,)`, that the pair was not trained on; those of its training data are too
            low.
        quantile: the threshold is this quantile of the scores, in [0, 1].
        false_alarms: the threshold is exceeded by a new clean data point with at most this probability, in (0, 1). It
            is the ceil((N + 1) (1 - false_alarms))-th smallest score. The probability holds for any pair, on average
            over sets of N clean data points.

    Raises:
        DataError: both or none of the two; NaN or infinities among the scores; too few scores for such a low rate,
            which requires N >= 1 / false_alarms - 1.
        SettingError: a quantile or a rate outside its range.
        ShapeError: scores of another shape, or none.

    References: Vovk et al. (2005), Algorithmic learning in a random world (conformal prediction).
    """
    scores = check_tensor("scores", scores, "(N,)", dims=1, rows=1)
    broken = int((~scores.isfinite()).sum())
    if broken:
        raise DataError(
            f"threshold requires finite scores, got {broken} NaN or infinite ones of {len(scores)}. Drop those rows, "
            "scores[scores.isfinite()], or find out why the pair gives them."
        )
    if quantile is not None and false_alarms is None:
        return scores.double().quantile(check_fraction("quantile", quantile, write=0.95)).item()
    if false_alarms is not None and quantile is None:
        return _conformal(scores, false_alarms)
    raise DataError(
        f"threshold requires one of quantile and false_alarms, got quantile={quantile!r} and "
        f"false_alarms={false_alarms!r}. Write quantile=0.95, or false_alarms=0.05."
    )


def _conformal(scores: Tensor, false_alarms: float) -> float:
    """The score that a new one exceeds with at most that probability."""
    false_alarms = check_fraction("false_alarms", false_alarms, ends=False, write=0.05)
    rank = math.ceil(round((len(scores) + 1) * (1 - false_alarms), 9))
    if rank > len(scores):
        least = math.ceil(min(1 / false_alarms, 1e18)) - 1
        raise DataError(
            f"threshold requires at least {least:,} scores for at most {false_alarms:g} false alarms, got "
            f"{len(scores)}. Pass more clean data points, or write a higher rate."
        )
    return scores.double().sort().values[rank - 1].item()

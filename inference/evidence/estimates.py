"""ELBO, rate, distortion and log p(x) of each data point, estimated from draws of the guide.

With z ~ q(z | x), the log-weight of a draw is log w = log p(x | z) + log p(z) - log q(z | x), without any scale of the
programs. The mean of log w is the ELBO, and log E[w] is the log-evidence log p(x).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import NonFiniteError, PairError
from pyrovae.inference.compile.choice import maybe_compiled
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.evidence.bias import bias_of
from pyrovae.inference.evidence.edges import at_the_edge, edge_note
from pyrovae.inference.evidence.estimate import Estimate, EvidenceEstimate, summary
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, chunk_sizes, numbers, portions
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, Terms
from pyrovae.inference.pair.tails import FEWEST, RARE, UNTRUSTED, Tail
from pyrovae.inference.pair.tracing import sites
from pyrovae.inference.pair.weights import WeightSums, standard_error
from pyrovae.inference.processes.faults import together
from pyrovae.inference.processes.launch import current
from pyrovae.inference.processes.processes import ALONE
from pyrovae.inference.processes.share import Share
from pyrovae.numeric import wide

__all__ = ["Estimate", "Evaluation", "EvidenceEstimate", "Sums", "evaluate", "log_evidence", "summary"]


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """The estimates of `evaluate`, in nats per data point; print it for a table.

    `elbo = -(rate + distortion) <= log_evidence`. The errors are Monte Carlo standard errors: they measure the
    randomness of the draws, not that of the data, nor that of a random transform. One draw shows no error: it is NaN.

    The error of the log-evidence is that of the delta method, which cannot exceed one nat for a data point. From 21
    draws on, `log_evidence` also has its downward bias, a corrected value and a 95 % interval. Where weights have a
    heavy tail there is no interval: `log_evidence.flagged` is then True, and the table says so. Of a mode that the
    guide never visits no number here knows; draws from elsewhere do: `Annealing(start="prior")`.

    Attributes:
        elbo: E_q log w.
        rate: KL(q(z | x) || p(z)), estimated by the mean of log q - log p.
        distortion: -E_q log p(x | z).
        log_evidence: log 1/S sum_s w_s, which is below log p(x) on average, with its bias.
        effective_sample_size: (sum w)^2 / sum w^2 of the S weights, the mean over the data.
        num_samples: S, the draws of each data point.
        dims: how many numbers `x` has in one data point; with a mask, how many were observed, the mean over the data;
            0 where the batch has no `x`.
        per_datum: `elbo`, `rate`, `distortion`, `log_evidence`, `rate_z` for each latent site z, and `*_error` for each
            of these; from 21 draws on, `khat`, the tail index of the weights, and `log_evidence_bias` with its error.
            All of shape `(N,)`.
        rates: the rate of each latent site; in a hierarchy, that of each level given the levels above it.
        edges: the share of the draws that are at the edge of a bounded support, as near as float32 or float64 goes, by
            latent; only where estimates are wrong for it, and the table says so.
    """

    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    log_evidence: EvidenceEstimate
    effective_sample_size: float
    num_samples: int
    dims: float
    per_datum: dict[str, Tensor]
    rates: dict[str, Estimate] = field(default_factory=dict)
    edges: dict[str, float] = field(default_factory=dict)

    @property
    def bits_per_dim(self) -> float:
        """-log_evidence in bits per number: for pixels in {0..255} scored as x / 255, add 8 for a density.

        Raises:
            PairError: the batch has no tensor `x`.
        """
        if not self.dims:
            raise PairError(
                "bits_per_dim requires data named 'x', got none, or none that was observed. Write "
                "evaluation.log_evidence.bits_per_dim(dims), where dims is how many numbers a data point has."
            )
        return self.log_evidence.bits_per_dim(self.dims).value

    @property
    def unreliable(self) -> float:
        """The share of the data points with k-hat above 0.7, whose log-evidence and its error cannot be trusted.

        It is NaN below 21 draws, and where data points share a latent.
        """
        khat = self.per_datum.get("khat")
        return math.nan if khat is None else (khat > UNTRUSTED).double().mean().item()

    def cells(self) -> Cells:
        rows: dict[str, Any] = {name: getattr(self, name) for name in ("elbo", "rate", "distortion", "log_evidence")}
        rows |= {f"  {name}": f"{number}, {words}" for name, number, words in getattr(self.log_evidence, "notes", [])}
        if len(self.rates) > 1:
            rows |= {f"rate {name}": rate for name, rate in self.rates.items()}
        rows["num_samples"] = f"{self.num_samples}, nats per data point"
        notes = []
        if self.unreliable > RARE:
            notes.append(
                f"! k-hat above {UNTRUSTED} for {100 * self.unreliable:.0f} % of the data points: log_evidence is "
                "too low there, by more than its error"
            )
        notes += edge_note(self.edges)
        return Cells([(name, str(value)) for name, value in rows.items()], after=notes, words=(0, 1))


class Sums(NamedTuple):
    """Sums over the draws of each data point, in float64.

    Attributes:
        moments: by name, the sum of a quantity and that of its square, `(2, B)`.
        weights: the sums of the importance weights.
        totals: the same sums as in `moments` of the total over the data points, `(2,)`; empty where not asked for.
        tail: the largest weights; None where not asked for.
    """

    moments: dict[str, Tensor]
    weights: WeightSums
    totals: dict[str, Tensor]
    tail: Tail | None

    @classmethod
    def of(cls, terms: Terms, *, shared: bool = False, tail_of: int = 0) -> "Sums":
        """The sums over one chunk of draws.

        Args:
            terms: the parts of the log-weights, `(S, B)` each.
            shared: whether the data points share a latent, so that the errors of their draws are not independent.
            tail_of: of how many draws in all the tail is kept; 0 to keep none.
        """
        log_weight = wide(terms.log_weight)
        parts = {"elbo": log_weight, "rate": terms.log_guide - terms.log_prior, "distortion": -terms.log_likelihood}
        parts |= {f"rate_{name}": level.rate for name, level in terms.levels.items()}
        moments = {n: torch.stack([wide(part).sum(0), wide(part).square().sum(0)]) for n, part in parts.items()}
        over_data = {name: wide(part).sum(1) for name, part in parts.items()} if shared else {}
        totals = {name: torch.stack([total.sum(), total.square().sum()]) for name, total in over_data.items()}
        tail = Tail.of(log_weight, tail_of) if tail_of else None
        return cls(moments, WeightSums.of(log_weight), totals, tail)

    def merge(self, other: "Sums") -> "Sums":
        """The sums over the draws of both.

        Args:
            other: the sums over other draws of the same data points.
        """
        moments = {name: total + other.moments[name] for name, total in self.moments.items()}
        totals = {name: total + other.totals[name] for name, total in self.totals.items()}
        tail = self.tail.merge(other.tail) if self.tail and other.tail else None
        return Sums(moments, self.weights.merge(other.weights), totals, tail)

    def per_datum(self) -> dict[str, Tensor]:
        """The means over the draws, the log-evidence, and the standard error of each, `(B,)`."""
        result = {}
        for name, (mean, error) in self._means(self.moments).items():
            result[name], result[f"{name}_error"] = mean, error
        error = self.weights.log_mean_error
        result["log_evidence"] = self.weights.log_mean
        result["log_evidence_error"] = error if self._drawn else torch.zeros_like(error)
        return result

    def by_tail(self) -> dict[str, Tensor]:
        """What the largest weights say: k-hat, the bias of the log-evidence and its error, `(B,)`; {} without them."""
        if self.tail is None:
            return {}
        khat = self.tail.khat
        return {"khat": khat} | bias_of(self.weights, self.tail, khat)

    def total_errors(self) -> dict[str, Tensor]:
        """The standard error of each total over the data points."""
        return {name: error for name, (_, error) in self._means(self.totals).items()}

    @property
    def _drawn(self) -> bool:
        """Whether the guide draws anything: otherwise one run is exact."""
        return any(name.startswith("rate_") for name in self.moments)

    def _means(self, sums: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        count, result = self.weights.num_samples, {}
        for name, total in sums.items():
            mean, square = total / count
            error = standard_error(square - mean.square(), count)
            result[name] = mean, error if self._drawn else torch.zeros_like(error)
        return result


def evaluate(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 100,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> Evaluation:
    """Estimate ELBO, rate, distortion and log-evidence of a pair on `data`; log p(x) by importance sampling.

    With a latent outside the plate "data" the data points are not independent, so `log_evidence` is NaN; the errors of
    the other estimates know that the data points share its draws. The random numbers of a transform, such as
    `Binarize()`, belong to seed and row: they are the same for every `memory` and every pair.

    Args:
        model, guide, data: the pair, and named tensors of N data points, all of which are used.
        num_samples: S, the draws of each data point.
        transform: what training applied to a batch; `pyrovae.data.Scale()` by default.
        memory: about how many bytes a chunk of draws may take. Other chunks give other draws of the same distribution.
        seed: the seed of all random numbers; the global random state is left alone.
        compile: whether to replay a compiled graph; by default where the work is so large that compiling pays.
        progress: whether to show a progress bar.

    Raises:
        PairError: there is no data point; or draws that are scored together have other log-probabilities than alone.
        NonFiniteError, SupportError: a value of the data is not finite, or outside the support of its site.
        SettingError: `num_samples`, `seed` or `memory` is no count.

    References: Burda et al. (2016), arXiv:1509.00519, for the bound; its error is that of the delta method.
    """
    check_count("num_samples", num_samples, write=100)
    single = num_samples == 1
    opened = on_data("evaluate", model, guide, data, transform, memory=memory, seed=seed, single=single)
    with together(current()), opened as pair:
        measured, edges = _measure(pair, num_samples, compile, progress), at_the_edge(pair)
    per_datum = measured.per_datum
    effective = per_datum.pop("effective_sample_size")
    if pair.layout.has_global:
        for tensor in (per_datum["log_evidence"], per_datum["log_evidence_error"], effective):
            tensor.fill_(math.nan)
    return Evaluation(
        elbo=measured.summary("elbo"),
        rate=measured.summary("rate"),
        distortion=measured.summary("distortion"),
        log_evidence=EvidenceEstimate.of(per_datum, num_samples),
        effective_sample_size=effective.mean().item(),
        num_samples=num_samples,
        dims=measured.dims(pair),
        per_datum=per_datum,
        rates={name: measured.summary(f"rate_{name}") for name in sites(pair.traces.guide)},
        edges=edges,
    )


class _Measured(NamedTuple):
    """The results of all chunks.

    Attributes:
        per_datum: every estimate for each data point, its error, and its effective sample size, `(N,)`.
        variances: where data points share a latent, the variance of each total over the data, by name.
        entries: how many numbers of x were scored.
    """

    per_datum: dict[str, Tensor]
    variances: dict[str, float]
    entries: int

    def summary(self, name: str) -> Estimate:
        """The mean over the data, and its error; where data points share a latent, the error of their total."""
        estimate = summary(self.per_datum, name)
        if name not in self.variances:
            return estimate
        return estimate._replace(error=math.sqrt(self.variances[name]) / len(self.per_datum[name]))

    def dims(self, pair: PairOnData) -> float:
        """How many numbers of x one data point has, or how many were observed on average."""
        if "x" not in pair.first:
            return 0
        return self.entries / pair.size if pair.rules.masked else pair.first["x"][0].numel()


def _measure(pair: PairOnData, num_samples: int, compile: bool | None, progress: bool) -> _Measured:
    """Every estimate for each data point, chunk by chunk."""
    rows, draws = chunk_sizes(pair.first, num_samples, pair.memory)
    counts, score = portions(num_samples, draws), _scorer(pair, num_samples, compile)
    per_datum: dict[str, Tensor] = {}
    variances: dict[str, float] = {}
    entries = 0
    processes = ALONE if pair.layout.has_global else current()
    with progress_bar(progress, math.ceil(pair.size / rows) * len(counts), "chunk") as bar:
        if isinstance(score, Compiled):
            bar.set_postfix_str("compiling")

        def scored(batch: Batch, count: int, share: Share) -> Sums:
            sums = score(batch, count, share)
            bar.set_postfix_str("", refresh=False)
            bar.update()
            return sums

        def estimated(batch: Batch, share: Share) -> dict[str, Tensor]:
            sums = reduce(Sums.merge, (scored(batch, count, share) for count in counts))
            for name, error in sums.total_errors().items():  # each chunk of data points has draws of its own
                variances[name] = variances.get(name, 0.0) + error.item() ** 2
            parts = sums.per_datum() | {"effective_sample_size": sums.weights.effective_sample_size}
            return parts | sums.by_tail()

        for where, batch in pair.batches(rows):
            for name, part in processes.over_rows(estimated, batch, 0).items():
                # Written in place: small results that stay break up the freed memory of each chunk, which then grows.
                per_datum.setdefault(name, torch.empty(pair.size, dtype=part.dtype))[where] = part
            entries += pair.rules.entries(batch) if pair.rules.masked else 0
    return _Measured(per_datum, variances, entries)


def _scorer(pair: PairOnData, num_samples: int, compile: bool | None) -> Callable[[Batch, int, Share], Sums]:
    """From a batch, a number of draws and a share to their sums; compiled where asked for, or where it pays."""

    shared = pair.layout.has_global
    tail_of = 0 if shared or num_samples < FEWEST or not sites(pair.traces.guide) else num_samples

    def score(batch: Batch, count: int, share: Share) -> Sums:
        with current().noise(share):
            return Sums.of(pair.score(batch, count).terms, shared=shared, tail_of=tail_of)

    work = pair.size * num_samples * numbers(pair.first)
    return maybe_compiled(score, pair.model, pair.guide, work=work, compile=compile)


def log_evidence(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 5000,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> EvidenceEstimate:
    """Estimate log p(x) by importance sampling, in nats per data point: `evaluate(...).log_evidence`.

    Args:
        model, guide, data: as in `evaluate`.
        num_samples: S, the draws of each data point.
        transform, memory, seed, compile, progress: as in `evaluate`.

    Raises:
        PairError: as in `evaluate`; a latent is outside the plate "data", so no data point has a log p(x) of its own.
        NonFiniteError: as in `evaluate`; a log-probability is NaN.
    """
    evaluation = evaluate(
        model,
        guide,
        data,
        num_samples=num_samples,
        transform=transform,
        memory=memory,
        seed=seed,
        compile=compile,
        progress=progress,
    )
    rows = evaluation.per_datum["elbo"].isnan().nonzero()[:, 0].tolist()
    if rows:
        raise NonFiniteError(
            f"log_evidence requires finite log-probabilities, got NaN for {len(rows)} data points, rows {rows[:5]}. "
            "check_pair(model, guide, batch) of such rows names the site."
        )
    if math.isnan(evaluation.log_evidence.value):
        raise PairError(NOT_INDEPENDENT)
    return evaluation.log_evidence

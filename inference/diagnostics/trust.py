"""How far a guide can be trusted: all diagnostics that are cheap to compute, in one call and in words."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TypeVar

import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError, SettingError
from pyrovae.inference.diagnostics import findings, verdicts
from pyrovae.inference.diagnostics.aggregate import AggregatePosterior, aggregate_posterior_on
from pyrovae.inference.diagnostics.calibration import Calibration, calibration
from pyrovae.inference.diagnostics.codes import CodeUse, code_use_on
from pyrovae.inference.diagnostics.conflict import PriorDataConflict, conflict_on
from pyrovae.inference.diagnostics.gaps import InferenceGaps, gaps_on
from pyrovae.inference.diagnostics.importance import effective_sample_size, psis_khat
from pyrovae.inference.diagnostics.joint import Function
from pyrovae.inference.diagnostics.latents import LatentSummary, Tally, tallies
from pyrovae.inference.diagnostics.local import LocalTest, local_on
from pyrovae.inference.diagnostics.predictive import PredictiveCheck, Statistic, predictive_check
from pyrovae.inference.diagnostics.verdicts import Verdict
from pyrovae.inference.evidence.annealing import AnnealedEvidence, Annealing, anneal
from pyrovae.inference.evidence.estimates import Estimate, Sums, summary
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.on_data import PairOnData, ScoredDraws, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform
from pyrovae.inference.pair.tails import FEWEST

__all__ = ["Diagnosis", "diagnose"]

T = TypeVar("T")

MOST_LOCAL = 200  # data points of the local test


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """What `diagnose` measured. Print it for the table of verdicts.

    Attributes:
        size: N, the number of data points.
        num_samples: draws per data point.
        verdicts: one line each: name, value, error, verdict, good.
        absent: why a part has no meaning for this pair or was not computed, by name.
        per_datum: `khat`, `effective_sample_size`, and the quantities of `evaluate` (`elbo`, `rate`, `distortion`,
            `log_evidence`, `*_error`), `(N,)` each.
        latents: rates, moments, activity and correlation of each latent site.
        aggregate, calibration, gaps: the parts, None where absent.
        annealed: log p(x) by chains from the prior, None where absent.
        codes: the codes of each latent that has some, by name.
        local: the test of at which data points the guide is off, None where the calibration finds nothing.
        conflict: the comparison of the data with data that the model simulates, None where absent.
        predictive: the statistics of the data beside those of data drawn anew, None where none was asked for.
    """

    size: int
    num_samples: int
    verdicts: list[Verdict]
    absent: dict[str, str]
    per_datum: dict[str, Tensor]
    latents: dict[str, LatentSummary]
    aggregate: AggregatePosterior | None
    calibration: Calibration | None
    gaps: InferenceGaps | None
    annealed: AnnealedEvidence | None = None
    codes: dict[str, CodeUse] = field(default_factory=dict)
    local: LocalTest | None = None
    conflict: PriorDataConflict | None = None
    predictive: PredictiveCheck | None = None

    @property
    def good(self) -> bool:
        """Whether every verdict is good; one that cannot be told is not."""
        return all(verdict.good for verdict in self.verdicts)

    def __getitem__(self, name: str) -> Verdict:
        """The verdict of that name."""
        return next(verdict for verdict in self.verdicts if verdict.name == name)

    def cells(self) -> Cells:
        head = f"{self.size:,} data points, {self.num_samples:,} draws each; ! needs attention, ? cannot be told"
        rows = [verdict.cells for verdict in self.verdicts]
        rows += [("", name, "-", reason) for name, reason in self.absent.items()]
        return Cells(rows, before=[head], words=(0, 1, 3))


def diagnose(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 1000,
    num_simulations: int = 500,
    num_refined: int = 0,
    annealing: Annealing | None = None,
    functions: Mapping[str, Function] | None = None,
    statistics: Mapping[str, Statistic] | None = None,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> Diagnosis:
    """Check importance weights, latent dimensions, aggregate posterior, calibration and, on request, gaps of a pair.

    A part that has no meaning for the pair is left out, and the result gives the reason. A verdict says good, not good,
    or that it cannot be told. Importance weights know only where the guide draws, so they are trusted only where the
    calibration, or chains from the prior, find nothing elsewhere.

    Args:
        model, guide: the pair.
        data: named tensors of N data points; a thousand are enough for most purposes.
        num_samples: draws per data point.
        num_simulations: data points that the model simulates for the calibration; 0 leaves it out.
        num_refined: data points for which the guide is refined, to split the inference gap; this takes longer. 0 leaves
            it out.
        annealing: the path of chains from the prior, which estimate log p(x) without the guide; None leaves them out.
        functions: functions of latents and batch that the calibration ranks too, as in `calibration`.
        statistics: statistics of the data that are compared with those of data drawn anew, as in `predictive_check`.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the draws; the global random state is left alone.
        progress: show a bar for each part.

    Raises:
        PairError: no data.
        SettingError: fewer than 21 draws, or a negative count.
        NonFiniteError: a log-weight is not finite.

    References: `psis_khat`, `LatentSummary`, `aggregate_posterior`, `calibration` and `gaps` name theirs.
    """
    check_count("num_samples", num_samples, FEWEST, write=1000)
    check_count("num_simulations", num_simulations, 0, write=500)
    check_count("num_refined", num_refined, 0, write=100)
    if not (annealing is None or isinstance(annealing, Annealing)):
        raise SettingError(f"annealing requires an Annealing, got {type(annealing).__name__}. Write Annealing().")
    absent: dict[str, str] = {}
    with on_data("diagnose", model, guide, data, transform, memory=memory, seed=seed) as pair:
        per_datum, latents = _draws(pair, num_samples, absent, progress)
        given = pair.given(pair.place(torch.arange(num_simulations) % pair.size)) if num_simulations else {}
        calibrated = partial(_calibration, pair, num_simulations, given, functions, seed, progress)
        codes = _codes(pair)
        aggregate = _unless_refused(absent, "aggregate posterior", partial(_aggregate, pair, progress))
        ranks = _unless_refused(absent, "calibration", calibrated)
        local = _unless_refused(absent, "local test", partial(_local, pair, ranks, progress))
        conflict = _unless_refused(absent, "data conflict", partial(_conflict, pair, ranks))
        parts = _unless_refused(absent, "gaps", partial(_gaps, pair, num_refined, num_samples, progress))
        chains = _unless_refused(absent, "AIS from the prior", partial(_chains, pair, annealing, progress))
    for name, latent in latents.items():
        absent |= {f"{what} of {name}": reason for what, reason in latent.absent.items()}
    absent |= aggregate.absent if aggregate else {}
    absent |= {"calibration": ranks.words()} if ranks and not ranks.p_values else {}
    again = partial(predictive_check, model, guide, data, transform=transform, memory=memory, seed=seed)
    check = again(statistics, progress=progress) if statistics else None
    found = _verdicts(per_datum, latents, codes, aggregate, ranks, parts, chains, num_samples)
    found += _findings(ranks, local, conflict, check)
    known = (per_datum, latents, aggregate, ranks, parts, chains, codes, local, conflict, check)
    return Diagnosis(pair.size, num_samples, found, absent, *known)


def _unless_refused(absent: dict[str, str], name: str, part: Callable[[], T]) -> T | None:
    """The part; None if it was refused, and `absent` gets the reason."""
    try:
        return part()
    except PairError as error:
        absent[name] = str(error)
        return None


def _codes(pair: PairOnData) -> dict[str, CodeUse]:
    pair.rewind()
    return code_use_on(pair)


def _aggregate(pair: PairOnData, progress: bool) -> AggregatePosterior:
    pair.rewind()
    return aggregate_posterior_on(pair, progress=progress)


def _calibration(
    pair: PairOnData,
    num_simulations: int,
    given: Batch,
    functions: Mapping[str, Function] | None,
    seed: int,
    progress: bool,
) -> Calibration:
    if not num_simulations:
        raise PairError("not requested (num_simulations=500)")
    return calibration(
        pair.model,
        pair.guide,
        num_simulations,
        given=given,
        functions=functions,
        memory=pair.memory,
        seed=seed,
        progress=progress,
    )


def _conflict(pair: PairOnData, ranks: Calibration | None) -> PriorDataConflict | None:
    if ranks is None or ranks.profile is None:
        return None
    pair.rewind()
    return conflict_on(pair, ranks.profile, ranks.num_samples)


def _local(pair: PairOnData, ranks: Calibration | None, progress: bool) -> LocalTest | None:
    """The local test at evenly spaced data points, where the ranks say that the guide is not the posterior."""
    if ranks is None or ranks.simulations is None or not ranks.joint:
        return None
    if findings.of_joint(ranks.joint).good is not False and verdicts.of_calibration(ranks).good is not False:
        raise PairError("not needed, the ranks find nothing (local_test)")
    size = min(pair.size, MOST_LOCAL)
    return local_on(pair, ranks.simulations, torch.arange(size) * pair.size // size, progress=progress)


def _findings(
    ranks: Calibration | None,
    local: LocalTest | None,
    conflict: PriorDataConflict | None,
    check: PredictiveCheck | None,
) -> list[Verdict]:
    """The verdicts on what simulations show, and on statistics of the data, where they are present."""
    found = [findings.of_joint(ranks.joint)] if ranks and ranks.joint else []
    found += [findings.of_local(local)] if local else []
    found += [findings.of_conflict(conflict)] if conflict else []
    return found + ([findings.of_predictive(check)] if check else [])


def _gaps(pair: PairOnData, num_refined: int, num_samples: int, progress: bool) -> InferenceGaps:
    if not num_refined:
        raise PairError("not requested (num_refined=100)")
    pair.rewind()
    return gaps_on(pair.narrowed(num_refined), num_samples=num_samples, progress=progress)


def _chains(pair: PairOnData, annealing: Annealing | None, progress: bool) -> AnnealedEvidence:
    if annealing is None:
        raise PairError("not requested (annealing=Annealing())")
    pair.rewind()
    return anneal(pair, replace(annealing, start="prior"), progress=progress)[0]


def _draws(
    pair: PairOnData, num_samples: int, absent: dict[str, str], progress: bool
) -> tuple[dict[str, Tensor], dict[str, LatentSummary]]:
    """The quantities per data point and the latent summaries, computed in one pass over the draws."""
    kept, others = tallies(pair)
    absent |= {f"latent {name}": reason for name, reason in others.items()}
    _unless_refused(absent, "weights", pair.require_weights)
    per_datum: dict[str, Tensor] = {}
    with progress_bar(progress, pair.size, "data point") as bar:
        for rows, chunks in pair.chunks(num_samples):
            sums, log_weight = _sums(rows, chunks, kept)
            if "weights" not in absent:
                parts = sums.per_datum()
                parts |= {"khat": psis_khat(log_weight), "effective_sample_size": effective_sample_size(log_weight)}
                for name, part in parts.items():
                    per_datum.setdefault(name, torch.empty(pair.size, dtype=part.dtype))[rows] = part.cpu()
            bar.update(rows.stop - rows.start)
    return per_datum, {name: tally.result() for name, tally in kept.items()}


def _sums(rows: slice, chunks: Iterator[ScoredDraws], kept: dict[str, Tally]) -> tuple[Sums, Tensor]:
    """The sums over all draws for some rows, and their log-weights `(S, B)`; the tallies see each chunk once."""
    sums, log_weights = [], []
    for chunk in chunks:
        sums.append(Sums.of(chunk.terms))
        log_weights.append(chunk.terms.log_weight)
        for tally in kept.values():
            tally.add(rows, chunk)
    return reduce(Sums.merge, sums), torch.cat(log_weights)


def _verdicts(
    per_datum: dict[str, Tensor],
    latents: dict[str, LatentSummary],
    codes: dict[str, CodeUse],
    aggregate: AggregatePosterior | None,
    ranks: Calibration | None,
    parts: InferenceGaps | None,
    chains: AnnealedEvidence | None,
    num_samples: int,
) -> list[Verdict]:
    """The verdicts on all parts that are present."""
    found = []
    beyond = _beyond(chains, per_datum) if chains and per_datum else None
    if per_datum:
        weights = per_datum["khat"], per_datum["effective_sample_size"], num_samples
        found += verdicts.of_weights(*weights, ranks, beyond)
    found += [verdicts.of_beyond(beyond)] if beyond else []
    for name, latent in latents.items():
        found += verdicts.of_latent(name, latent)
    for name, use in codes.items():
        found += verdicts.of_codes(name, use)
    found += verdicts.of_aggregate(aggregate) if aggregate else []
    found += [verdicts.of_calibration(ranks)] if ranks and ranks.p_values else []
    return found + (verdicts.of_gaps(parts) if parts else [])


def _beyond(chains: AnnealedEvidence, per_datum: dict[str, Tensor]) -> Estimate:
    """log p(x) by chains from the prior, less that by importance sampling."""
    theirs, ours = chains.log_evidence, summary(per_datum, "log_evidence")
    return Estimate(theirs.value - ours.value, (theirs.error**2 + ours.error**2) ** 0.5)

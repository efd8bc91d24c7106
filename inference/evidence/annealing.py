"""Annealed importance sampling: log p(x) by chains that go from q(z | x), or from p(z), to p(x, z).

The chains pass temperatures 0 = t_0 < ... < t_T = 1, with an HMC transition at each one between (`evidence.hmc`). Let
pi_t be the density of the path at temperature t, and u_k the position of a chain at t_k. Then

    log w = sum over k = 1 ... T of log pi_(t_k)(u_(k-1)) - log pi_(t_(k-1))(u_(k-1)),    E[w] = p(x),

so the log of the mean of w is below log p(x) on average. Chains that go backwards, from an exact draw of p(z | x), have
E[1/w] = 1/p(x), and bound log p(x) from above. With T = 1 there is no transition: that is importance sampling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from pyrovae.checks import check_choice, check_count, check_fraction
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import SettingError
from pyrovae.inference.compile.choice import should_compile
from pyrovae.inference.evidence.estimates import Estimate, summary
from pyrovae.inference.evidence.hmc import Path, Start, transition
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, chunk_sizes, numbers
from pyrovae.inference.pair.weights import WeightSums
from pyrovae.numeric import wide

__all__ = ["AnnealedEvidence", "Annealing", "anneal", "annealed", "check_annealing"]

SCALE_DRAWS = 32
"""Draws of pi_0, whose spread sets the relative scales of the latents."""

GAIN = 0.5
"""The change of log step per unit of the acceptance rate, when step sizes are adapted."""

THINNING = 4
"""The preliminary pass visits every fourth temperature."""

PRELIMINARY = 40
"""The fewest transitions of the preliminary pass along the path."""


@dataclass(frozen=True)
class Annealing:
    """How chains go from one density to the other.

    Args:
        num_chains: C, the chains of each data point.
        num_temperatures: T, of which T - 1 have an HMC transition.
        num_leapfrog: the leapfrog steps of a transition.
        start: `"guide"`, to start at q(z | x), or `"prior"`, to start at p(z).
        schedule: `"sigmoid"`, with temperatures dense at both ends, t = (s(8 k / T - 4) - s(-4)) / (s(4) - s(-4)) for
            the logistic function s; or `"linear"`, t = k / T.
        acceptance: the acceptance rate to which step sizes are adapted.

    Raises:
        SettingError: a number is out of range, or a start or schedule has another name.

    References: Neal (2001), arXiv:physics/9803008; Wu et al. (2017), arXiv:1611.04273, for the sigmoid and 0.65.
    """

    num_chains: int = 16
    num_temperatures: int = 100
    num_leapfrog: int = 10
    start: Start = "guide"
    schedule: Literal["sigmoid", "linear"] = "sigmoid"
    acceptance: float = 0.65

    def __post_init__(self) -> None:
        check_count("num_chains", self.num_chains, write=16)
        check_count("num_temperatures", self.num_temperatures, write=100)
        check_count("num_leapfrog", self.num_leapfrog, write=10)
        check_choice("start", self.start, ("guide", "prior"))
        check_choice("schedule", self.schedule, ("sigmoid", "linear"))
        check_fraction("acceptance", self.acceptance, ends=False, write=0.65)

    @property
    def temperatures(self) -> list[float]:
        """t_0 = 0, ..., t_T = 1."""
        line = torch.linspace(0, 1, self.num_temperatures + 1, dtype=torch.float64)
        if self.schedule == "linear":
            return line.tolist()
        ends = torch.sigmoid(torch.tensor([-4.0, 4.0], dtype=torch.float64))
        return ((torch.sigmoid(8 * line - 4) - ends[0]) / (ends[1] - ends[0])).tolist()


@dataclass(frozen=True, repr=False)
class AnnealedEvidence(Shown):
    """The estimate of `annealed`, in nats per data point; print it for a table.

    Attributes:
        log_evidence: the mean over the data of log 1/C sum_c w_c, and its standard error. It is below log p(x) on
            average. For chains that go backwards, E[w] = 1/p(x), and it is the mean of -log 1/C sum_c w_c, above log
            p(x) on average.
        effective_sample_size: that of the C chains, the mean over the data.
        acceptance: the rate of accepted transitions, the mean over the data; NaN with one temperature.
        annealing: the chains, temperatures and start.
        log_weights: log w_c of each chain and data point, `(C, N)`, in float64.
        per_datum: `log_evidence`, `log_evidence_error`, `effective_sample_size`, `acceptance`, of shape `(N,)`.
    """

    log_evidence: Estimate
    effective_sample_size: float
    acceptance: float
    annealing: Annealing
    log_weights: Tensor
    per_datum: dict[str, Tensor]

    def cells(self) -> Cells:
        how = self.annealing
        rows = {
            "log_evidence": f"{self.log_evidence}, nats per data point",
            "effective_sample_size": f"{self.effective_sample_size:.1f} of {how.num_chains} chains",
            "acceptance": f"{self.acceptance:.2f}",
            "path": f"from the {how.start}, {how.num_temperatures} temperatures of {how.num_leapfrog} leapfrog steps",
        }
        return Cells(list(rows.items()), words=(0, 1))


def annealed(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    annealing: Annealing = Annealing(),
    *,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> AnnealedEvidence:
    """Estimate log p(x) by annealed importance sampling with HMC, for all data points and chains at once.

    A preliminary pass with chains of its own adapts the step sizes, one for each data point and temperature. The
    measured pass keeps them fixed, so each transition leaves its density unchanged, and E[w] = p(x) holds exactly.
    (Step sizes that are adapted along the measured chains make transitions depend on the past, and the estimate is then
    no bound.) The preliminary pass costs a fourth of the measured one, or 50 transitions where there are few
    temperatures.

    Args:
        model, guide, data: the pair, and named tensors of N data points, all of which are used.
        annealing: the chains, temperatures and start.
        transform: what training applied to a batch; `pyrovae.data.Scale()` by default.
        memory: about how many bytes a chunk of data points may take.
        seed: the seed of all random numbers; the global random state is left alone.
        compile: whether to replay one compiled graph per leapfrog step; by default where that pays.
        progress: whether to show a progress bar.

    Raises:
        PairError: there is no data point; a latent is drawn and discrete, is outside the plate "data", or is a point
            mass.

    References: Neal (2001), arXiv:physics/9803008; Wu et al. (2017), arXiv:1611.04273.
    """
    with on_data("annealed", model, guide, data, transform, memory=memory, seed=seed) as pair:
        (measured,) = anneal(pair, annealing, compile=compile, progress=progress)
    return measured


def check_annealing(annealing: Annealing) -> None:
    """Require settings of AIS.

    Args:
        annealing: what was given for them.

    Raises:
        SettingError: it is something else.
    """
    if not isinstance(annealing, Annealing):
        raise SettingError(f"annealing requires an Annealing, got {annealing!r}. Write Annealing(num_chains=16).")


def anneal(
    pair: PairOnData,
    annealing: Annealing,
    *,
    simulated: Trace | None = None,
    num_warmup: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> list[AnnealedEvidence]:
    """Go forwards from pi_0 and, where a draw of p(z | x) is known or made, also backwards from it.

    Args:
        pair: the pair on its data.
        annealing: the chains, temperatures and start.
        simulated: the trace of the model that drew the data, whose latents are exact draws of p(z | x).
        num_warmup: the transitions that one forward chain of each data point, chosen by its weight, makes at p(x, z) to
            become such a draw, nearly; 0 for none.
        compile: whether to replay one compiled graph per leapfrog step; by default where that pays.
        progress: whether to show a progress bar.

    Raises:
        SettingError: `annealing` is something else.

    Returns:
        The estimate from below and, with `simulated` or `num_warmup`, the one from above.
    """
    check_annealing(annealing)
    steps = annealing.num_chains * (annealing.num_temperatures - 1) * annealing.num_leapfrog
    compiled = should_compile(pair.size * steps * numbers(pair.first), compile)
    path = Path(pair, annealing.start, compile=compiled)
    ends = None if simulated is None else path.find(pair.data, simulated)
    rows, _ = chunk_sizes(pair.first, annealing.num_chains, pair.memory)
    forward, backward = [], []
    total = math.ceil(pair.size / rows) * _stops(annealing, both=ends is not None or num_warmup > 0)
    with progress_bar(progress, total, "temperature") as bar:
        if compiled:
            bar.set_postfix_str("compiling")
        for where, batch in pair.batches(rows):
            chains = _Chains(path, batch, annealing, bar)
            tuned = chains.tune()
            u = path.draw(batch, annealing.num_chains)
            forward.append(chains.walk(u, annealing.temperatures, tuned))
            if ends is not None or num_warmup:
                last = chains.settled(forward[-1], tuned, num_warmup) if ends is None else ends[:, where]
                u = last.expand_as(u)
                backward.append(chains.walk(u, annealing.temperatures[::-1], tuned[::-1]))
    return [_measured(forward, annealing), *([_measured(backward, annealing, -1)] if backward else [])]


def _visited(annealing: Annealing) -> list[float]:
    """The temperatures of the preliminary pass."""
    return annealing.temperatures[1:-1:THINNING]


def _stops(annealing: Annealing, both: bool) -> int:
    """How often the chains of a chunk reach a temperature, in the preliminary pass and in one walk, or in both."""
    return len(_visited(annealing)) + annealing.num_temperatures * (2 if both else 1)


class _Walk(NamedTuple):
    """The result of a walk: the log-weights `(C, B)`, the mean acceptance rate `(B,)`, and the last u `(C, B, K)`."""

    log_weights: Tensor
    acceptance: Tensor
    u: Tensor


class _Chains(NamedTuple):
    """The chains of one chunk of data points."""

    path: Path
    batch: Batch
    annealing: Annealing
    bar: Any

    def arrived(self) -> None:
        """Count a temperature."""
        self.bar.set_postfix_str("", refresh=False)
        self.bar.update()

    def tune(self) -> list[Tensor]:
        """The step sizes `(B, K)` at each temperature between 0 and 1, by stochastic approximation of log step.

        log step rises where the acceptance rate of a data point's chains is above the desired one, and falls where it
        is below: first at temperature 0, then along the path. The numbers of u have steps in proportion to their
        spread under pi_0.
        """
        path, annealing, visited = self.path, self.annealing, _visited(self.annealing)
        if not visited:
            return []
        scale = path.draw(self.batch, SCALE_DRAWS).std(0)
        point = path.point(path.draw(self.batch, annealing.num_chains), self.batch)
        log_step = scale.new_full((len(scale), 1), -0.25 * math.log(path.vector.dim))
        tuned = []
        for temperature in [0.0, *visited]:
            for _ in range(math.ceil(PRELIMINARY / len(visited)) if temperature else PRELIMINARY // 4):
                step = log_step.exp() * scale
                point, rate = transition(path, point, self.batch, temperature, step, annealing.num_leapfrog)
                log_step = log_step + GAIN * (rate.mean(0).unsqueeze(-1) - annealing.acceptance)
            if temperature:
                tuned.append(log_step.exp() * scale)
                self.arrived()
        return [tuned[index // THINNING] for index in range(annealing.num_temperatures - 1)]

    def walk(self, u: Tensor, temperatures: list[float], tuned: Sequence[Tensor]) -> _Walk:
        """Go from u at the first temperature to the last, with a transition at each one between."""
        point = self.path.point(u, self.batch)
        log_weights, rates = torch.zeros_like(wide(point.log_ratio)), []
        for index, (old, new) in enumerate(pairwise(temperatures)):
            log_weights = log_weights + (new - old) * wide(point.log_ratio)
            if index < len(tuned):
                point, rate = transition(self.path, point, self.batch, new, tuned[index], self.annealing.num_leapfrog)
                rates.append(rate.mean(0))
            self.arrived()
        acceptance = torch.stack(rates).mean(0) if rates else torch.full_like(log_weights[0], math.nan)
        return _Walk(log_weights.cpu(), acceptance.cpu(), point.u)

    def settled(self, walk: _Walk, tuned: Sequence[Tensor], num_warmup: int) -> Tensor:
        """One end of a walk for each data point, chosen by its weight and moved at temperature 1, `(1, B, K)`."""
        chosen = walk.log_weights.softmax(0).T.multinomial(1).to(walk.u.device)  # (B, 1)
        u = walk.u.gather(0, chosen.T.unsqueeze(-1).expand(1, -1, walk.u.shape[-1]))
        point = self.path.point(u, self.batch)
        for _ in range(num_warmup):
            point, _ = transition(self.path, point, self.batch, 1.0, tuned[-1], self.annealing.num_leapfrog)
        return point.u


def _measured(walks: list[_Walk], annealing: Annealing, sign: int = 1) -> AnnealedEvidence:
    """sign log 1/C sum_c w_c; backwards, where the weights are those of 1/p(x), the sign is -1."""
    log_weights = torch.cat([walk.log_weights for walk in walks], 1)
    weights = WeightSums.of(log_weights)
    per_datum = {
        "log_evidence": sign * weights.log_mean,
        "log_evidence_error": weights.log_mean_error,
        "effective_sample_size": weights.effective_sample_size,
        "acceptance": torch.cat([walk.acceptance for walk in walks]),
    }
    return AnnealedEvidence(
        log_evidence=summary(per_datum, "log_evidence"),
        effective_sample_size=per_datum["effective_sample_size"].mean().item(),
        acceptance=per_datum["acceptance"].mean().item(),
        annealing=annealing,
        log_weights=log_weights,
        per_datum=per_datum,
    )

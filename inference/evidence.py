"""What a pair says of a datum: log-weights of draws from the guide, and the estimates made of them.

With z ~ q(z | x), the log-weight is log w = log p(x | z) + log p(z) - log q(z | x), unscaled, per draw and datum.
Its mean is the ELBO, and log E[w] is the evidence log p(x).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from pyrovae.data import Scale
from pyrovae.errors import PairError, ShapeError
from pyrovae.inference.compile import Compiled
from pyrovae.inference.pair import (
    Batch,
    PairTrace,
    Program,
    Site,
    batch_size,
    call,
    local_params,
    modules,
    sites,
    trace_pair,
    unscaled_log_prob,
)
from pyrovae.networks import wide

COMPILE_FROM = 2**31
"""Numbers to score (data x draws x numbers in a datum) from which an evaluation is compiled by default."""

__all__ = ["Estimate", "Evaluation", "Level", "Terms", "evaluate", "log_evidence", "log_terms"]


NOT_INDEPENDENT = (
    "a latent of the pair is outside the plate 'data', so the data are not independent and log p(x) of one "
    "datum does not exist. Condition on it (pyro.condition), or move it into the plate."
)


class Level(NamedTuple):
    """What one latent site adds to a log-weight, each of shape `(S, B)`, in nats."""

    log_prior: Tensor
    log_guide: Tensor

    @property
    def rate(self) -> Tensor:
        return self.log_guide - self.log_prior


class Terms(NamedTuple):
    """The parts of a log-weight, each of shape `(S, B)`, in nats; `levels` by latent site of the guide."""

    log_likelihood: Tensor
    levels: dict[str, Level]

    @property
    def log_prior(self) -> Tensor:
        return sum((level.log_prior for level in self.levels.values()), torch.zeros_like(self.log_likelihood))

    @property
    def log_guide(self) -> Tensor:
        return sum((level.log_guide for level in self.levels.values()), torch.zeros_like(self.log_likelihood))

    @property
    def log_weight(self) -> Tensor:
        return self.log_likelihood + self.log_prior - self.log_guide


class Layout(NamedTuple):
    """How many dimensions the plates of a pair take, and whether a latent lies outside the plate "data"."""

    depth: int
    has_global: bool


def layout(pair: PairTrace) -> Layout:
    """The layout of a pair, read off one run of it.

    Raises:
        PairError: a latent of the model that no guide draws and that cannot be summed out.
    """
    for name in pair.undrawn():
        _check_enumerable(name, sites(pair.model)[name])
    return Layout(depth_of(*pair), any(is_global(site) for _, site in pair.latent().values()))


def depth_of(*traces: Trace) -> int:
    """How many dimensions the plates of these runs take."""
    frames = [f for trace in traces for site in sites(trace).values() for f in site["cond_indep_stack"]]
    return max((-frame.dim for frame in frames if frame.dim is not None), default=1)


def samples_plate(num_samples: int, depth: int) -> AbstractContextManager[Any]:
    """The plate of the draws, left of the pair's own; one draw needs none, and so no more of the networks."""
    return pyro.plate("samples", num_samples, dim=-depth - 1) if num_samples > 1 else nullcontext()


def _check_enumerable(name: str, site: Site) -> None:
    """A latent that the guide leaves out is summed out exactly: it must be finite, marked, and one for a datum."""
    if site["infer"].get("enumerate") != "parallel":
        raise PairError(
            f"the guide draws no '{name}', so there is no weight. Add pyro.sample('{name}', ...) to the guide; or, if "
            'it takes finitely many values, sum it out with infer={"enumerate": "parallel"} in the model.'
        )
    if not site["fn"].has_enumerate_support:
        raise PairError(
            f"site '{name}' is marked for enumeration, but {type(site['fn']).__name__} has no finite support. Draw it "
            "in the guide."
        )
    frames = [frame.name for frame in site["cond_indep_stack"]]
    if frames != ["data"] or site["infer"].get("_markov_scope") is not None:
        raise PairError(
            f"site '{name}' is to be summed out, and is in the plates {frames}, or in pyro.markov: only a latent of "
            "one datum, directly in the plate 'data', can be. Draw it in the guide, or train with TraceEnum_ELBO()."
        )


def run_pair(
    model: Callable[[], Any],
    guide: Callable[[], Any],
    num_samples: int = 1,
    depth: int = 1,
    *,
    in_guide: AbstractContextManager[Any] | None = None,
    in_model: AbstractContextManager[Any] | None = None,
) -> PairTrace:
    """Draw `num_samples` times from the guide, vectorised, and score the draws.

    Latents that the guide leaves out are enumerated, in dimensions left of the samples. The two handlers see each
    site before it is written down, and may change its value.
    """
    with samples_plate(num_samples, depth):
        with in_guide or nullcontext(), poutine.trace() as inner:
            guide()
        replayed = poutine.replay(trace=inner.trace)
        with (
            in_model or nullcontext(),
            poutine.enum(first_available_dim=-depth - 2),
            poutine.trace() as outer,
            replayed,
        ):
            model()
    return PairTrace(inner.trace, outer.trace)


def log_terms(model: Program, guide: Program, batch: Batch, num_samples: int, depth: int = 1, **extra: Any) -> Terms:
    """Draw `num_samples` times from the guide, vectorised, and score: terms of shape `(S, B)`."""
    run = partial(call, batch=batch, **extra)
    pair = run_pair(partial(run, model), partial(run, guide), num_samples, depth)
    return terms_of(pair, (num_samples, batch_size(batch)), depth, extra.get("data_size"))


def terms_of(
    pair: PairTrace,
    shape: tuple[int, int],
    depth: int,
    data_size: int | None,
    of_model: dict[str, Tensor] | None = None,
) -> Terms:
    """Sum the log-probabilities per draw and datum; a latent of all data is shared out over `data_size`.

    `of_model` are the `scores` of the model's trace, where they are known already.
    """
    scored = summed_out(of_model or scores(pair.model, shape, depth, data_size), pair.undrawn())
    of_guide = scores(pair.guide, shape, depth, data_size)
    likelihood = [scored[name] for name in pair.observed()]
    zero = torch.zeros((), device=likelihood[0].device).expand(shape) if likelihood else torch.zeros(shape)
    levels = {name: Level(scored.get(name, zero), log_guide) for name, log_guide in of_guide.items()}
    return Terms(sum(likelihood, zero), levels)


def scores(trace: Trace, shape: tuple[int, int], depth: int, data_size: int | None) -> dict[str, Tensor]:
    """log p(site | sites before it) of each site, per draw and datum, `(*enumerated, S, B)`.

    Raises:
        ShapeError: a site has dimensions of its own left of those of the draws.
    """
    found = sites(trace)
    enumerated = {site["infer"].get("_enumerate_dim") for site in found.values()}
    result = {}
    for name, site in found.items():
        log_prob = unscaled_log_prob(site)
        extra = range(-log_prob.dim(), -depth - 1)
        if any(log_prob.shape[dim] != 1 and dim not in enumerated for dim in extra):
            raise ShapeError(
                f"site '{name}' has log-probabilities of shape {tuple(log_prob.shape)} in a run of {shape[0]} draws: "
                f"the draws are a plate at dim={-depth - 1}, and there is something left of it. A latent drawn outside "
                f"an inner plate has shape {(shape[0], *[1] * (depth - 1), shape[1])} there, and broadcasts by itself: "
                "leave out unsqueeze, and count dimensions from the right."
            )
        result[name] = spread(log_prob, site, shape, depth, data_size)
    return result


def spread(log_prob: Tensor, site: Site, shape: tuple[int, int], depth: int, data_size: int | None) -> Tensor:
    """A site's log-probability per draw and datum, `(*enumerated, S, B)`, inner plates summed."""
    log_prob = log_prob.reshape((1,) * (depth + 1 - log_prob.dim()) + log_prob.shape)
    if depth > 1:
        log_prob = log_prob.sum(tuple(range(-depth, -1)))
    if is_global(site):
        log_prob = log_prob.sum(-1, keepdim=True) / (data_size or shape[1])
    return log_prob.expand(log_prob.shape[:-2] + shape)


def summed_out(log_probs: dict[str, Tensor], enumerated: list[str]) -> dict[str, Tensor]:
    """Of the model's sites in their order, log p(site | sites before it), the enumerated ones summed out.

    By the chain rule: log p(s_1 ... s_i) = logsumexp over the enumerated latents c of log p(c, s_1 ... s_i), and the
    differences of these are the terms. A site that depends on no c is its own term.
    """
    if not enumerated:
        return log_probs
    joint, marginal, terms = torch.zeros(()), torch.zeros(()), {}
    for name, log_prob in log_probs.items():
        if log_prob.dim() == 2:
            terms[name] = log_prob
            continue
        joint = joint + log_prob
        if name not in enumerated:  # of those alone the sum is one
            before, marginal = marginal, joint.logsumexp(tuple(range(joint.dim() - 2)))
            terms[name] = marginal - before
    return terms


def is_global(site: Site) -> bool:
    """Whether a site is one for all data, outside the plate "data"."""
    return all(frame.name != "data" for frame in site["cond_indep_stack"])


class Estimate(NamedTuple):
    """A mean over the data and its Monte Carlo standard error, in nats per datum."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"

    def bits_per_dim(self, dims: int) -> "Estimate":
        """Of a log-evidence, -log p(x) in bits per number, of data of `dims` numbers."""
        return Estimate(-self.value / (dims * math.log(2)), self.error / (dims * math.log(2)))


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured, in nats per datum.

    `elbo = -(rate + distortion) <= log_evidence`. The errors are Monte Carlo standard errors, of the draws alone.

    Attributes:
        elbo: E_q log w.
        rate: KL(q(z | x) || p(z)), by E_q [log q - log p].
        distortion: -E_q log p(x | z).
        log_evidence: log 1/S sum_s w_s, an estimate from below of log p(x).
        num_samples: S, draws per datum.
        dims: numbers in one datum.
        per_datum: `elbo`, `rate`, `distortion`, `log_evidence`, `rate_z` of each latent site z, and `*_error` of each,
            all of shape `(N,)`.
        rates: the rate of each latent site; of a hierarchy, of each level given those above it.
    """

    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    log_evidence: Estimate
    num_samples: int
    dims: int
    per_datum: dict[str, Tensor]
    rates: dict[str, Estimate] = field(default_factory=dict)

    @property
    def bits_per_dim(self) -> float:
        """-log_evidence in bits per number: for pixels in {0..255} scored as x / 255, add 8 for a density."""
        return self.log_evidence.bits_per_dim(self.dims).value

    def __str__(self) -> str:
        rows = {name: getattr(self, name) for name in ("elbo", "rate", "distortion", "log_evidence")}
        if len(self.rates) > 1:
            rows |= {f"rate {name}": rate for name, rate in self.rates.items()}
        text = "\n".join(f"{name:<13}{value}" for name, value in rows.items())
        return text + f"\n{'num_samples':<13}{self.num_samples}, nats per datum"


class Sums(NamedTuple):
    """Sums of a chunk of draws per datum, in float64: by name, of a quantity and its square, shape `(2, B)`, and in
    logarithms of w and its square, shape `(2, B)`."""

    moments: dict[str, Tensor]
    evidence: Tensor

    @classmethod
    def of(cls, terms: Terms) -> "Sums":
        log_weight = wide(terms.log_weight)
        parts = {"elbo": log_weight, "rate": terms.log_guide - terms.log_prior, "distortion": -terms.log_likelihood}
        parts |= {f"rate_{name}": level.rate for name, level in terms.levels.items()}
        moments = {n: torch.stack([wide(part).sum(0), wide(part).square().sum(0)]) for n, part in parts.items()}
        return cls(moments, torch.stack([log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)]))

    def merge(self, other: "Sums") -> "Sums":
        """The sums of both chunks."""
        moments = {name: total + other.moments[name] for name, total in self.moments.items()}
        return Sums(moments, torch.logaddexp(self.evidence, other.evidence))

    def per_datum(self, count: int) -> dict[str, Tensor]:
        """Means over `count` draws and their standard errors; of the evidence by the delta method."""
        result = {}
        for name, total in self.moments.items():
            mean, square = total / count
            result[name], result[f"{name}_error"] = mean, _error(square - mean.square(), count)
        log_mean, log_square = self.evidence - math.log(count)
        result["log_evidence"] = log_mean
        result["log_evidence_error"] = _error((log_square - 2 * log_mean).exp() - 1, count)
        return result


def _error(variance: Tensor, count: int) -> Tensor:
    return (variance.clamp_min(0) / max(count - 1, 1)).sqrt()


def evaluate(
    model: Program,
    guide: Program,
    data: Batch,
    *,
    num_samples: int = 100,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
    compile: bool | None = None,
) -> Evaluation:
    """ELBO, rate, distortion and importance-sampled log-evidence of a pair on `data`.

    Args:
        data: named tensors of N data, all of them used.
        num_samples: draws per datum, S.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).
        memory: about how many bytes a chunk of draws may take; it changes time, not the result's meaning.
        seed: of the draws; the global random state is left alone.
        compile: replay a compiled graph; by default where there is so much to draw that compiling pays.

    Raises:
        PairError: no data, or no samples.

    With a latent outside the plate "data" the data are not independent given x: `log_evidence` is NaN then.

    References: Burda et al. (2016), arXiv:1509.00519, for the bound; the error is the delta method's.
    """
    size = batch_size(data)
    if size == 0:
        raise PairError("evaluate wants data, got an empty batch. Pass a split that is not empty, data.train say.")
    if num_samples < 1:
        raise PairError(f"evaluate wants num_samples >= 1, got {num_samples}. 100 is a start.")
    transform = transform or Scale()
    device = device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        first = transform({name: tensor[:2].to(device) for name, tensor in data.items()})
        pair = trace_pair(model, guide, first, data_size=size)
        (depth, has_global), levels = layout(pair), list(sites(pair.guide))
        rows, draws = chunk_sizes(first, num_samples, memory)

        def score(batch: Batch, count: int) -> Sums:
            return Sums.of(log_terms(model, guide, batch, count, depth, data_size=size))

        pays = size * num_samples * numbers(first) > COMPILE_FROM
        scored = Compiled(score, model, guide) if (pays if compile is None else compile) else score
        per_datum: dict[str, Tensor] = {}
        for start, batch in zip(range(0, size, rows), batches(data, rows, transform, device), strict=True):
            sums = reduce(Sums.merge, (scored(batch, count) for count in portions(num_samples, draws)))
            for name, part in sums.per_datum(num_samples).items():
                # Written in place: small results that stay break up the freed memory of each chunk, which then grows.
                whole = per_datum.setdefault(name, torch.empty(size, dtype=part.dtype))
                whole[start : start + rows] = part
    if has_global:
        per_datum["log_evidence"].fill_(math.nan)
    dims = sum(t[0].numel() for n, t in first.items() if n == "x")
    return Evaluation(
        elbo=summary(per_datum, "elbo"),
        rate=summary(per_datum, "rate"),
        distortion=summary(per_datum, "distortion"),
        log_evidence=summary(per_datum, "log_evidence"),
        num_samples=num_samples,
        dims=dims,
        per_datum=per_datum,
        rates={name: summary(per_datum, f"rate_{name}") for name in levels},
    )


def log_evidence(model: Program, guide: Program, data: Batch, *, num_samples: int = 5000, **options: Any) -> Estimate:
    """The importance-sampled estimate of log p(x), nats per datum: `evaluate(...).log_evidence`.

    Raises:
        PairError: a latent outside the plate "data": log p(x) of one datum does not exist then.
    """
    evidence = evaluate(model, guide, data, num_samples=num_samples, **options).log_evidence
    if math.isnan(evidence.value):
        raise PairError(NOT_INDEPENDENT)
    return evidence


def summary(per_datum: dict[str, Tensor], name: str) -> Estimate:
    """The mean over the data of a part, whose errors `name_error` are independent."""
    values, errors = per_datum[name], per_datum[f"{name}_error"]
    return Estimate(values.mean().item(), (errors.square().sum().sqrt() / len(errors)).item())


def batches(data: Batch, rows: int, transform: Callable[[Any], Any], device: torch.device) -> Iterator[Any]:
    """The data in order, `rows` of them at a time, on the device and transformed."""
    for start in range(0, batch_size(data), rows):
        yield transform({name: tensor[start : start + rows].to(device) for name, tensor in data.items()})


def unchanged(batch: Any) -> Any:
    """The transform of data that are as the pair sees them."""
    return batch


def numbers(batch: Batch) -> int:
    """How many numbers one datum has."""
    return sum(tensor[0].numel() for tensor in batch.values())


def chunk_sizes(batch: Batch, num_samples: int, memory: int) -> tuple[int, int]:
    """Rows and draws of one chunk: some sixteen floats per number of a datum live at once."""
    pairs = max(1, memory // (64 * max(numbers(batch), 128)))
    draws = min(num_samples, pairs)
    return max(1, pairs // draws), draws


def portions(num_samples: int, draws: int) -> list[int]:
    """The draws in portions of at most so many."""
    return [min(draws, num_samples - done) for done in range(0, num_samples, draws)]


def device_of(*programs: Program) -> torch.device:
    for module in modules(*programs):
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
    return torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Fixed random numbers inside, the global state untouched outside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluating(*programs: Program) -> Iterator[None]:
    """Evaluation mode, no gradients, local parameters, and the modes as before afterwards."""
    owned: list[nn.Module] = [m for owner in modules(*programs) for m in owner.modules()]
    training = [module.training for module in owned]
    for module in owned:
        module.training = False
    try:
        with torch.no_grad(), local_params(*programs), pyro.validation_enabled(False):
            yield
    finally:
        for module, mode in zip(owned, training, strict=True):
            module.training = mode


@contextmanager
def frozen(*programs: Program) -> Iterator[None]:
    """No gradient for the weights inside."""
    weights = [p for module in modules(*programs) for p in module.parameters() if p.requires_grad]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)

"""A guide compared with Markov chain Monte Carlo: NUTS on one data point, in the latent space."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.ops import stats
from torch import Tensor

from pyrovae.checks import check_count, check_fraction, check_positive
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, plus_minus, shortened
from pyrovae.errors import PairError
from pyrovae.inference.evidence.vector import bijection
from pyrovae.inference.pair.contract import ProgramLike, Site, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import Transform, frozen
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.tracing import sites

__all__ = ["NUTSComparison", "nuts"]

MIXED = 1.05  # R-hat up to which chains agree
COMPARED = (
    *("mean", "scale", "guide_mean", "guide_scale"),
    *("mean_z", "shift", "ratio", "effective_sample_size", "r_hat"),
)

_SHOWN = {"shift": ".2f", "ratio": ".2f", "mean_z": ".1f", "effective_sample_size": ".0f", "r_hat": ".3f"}
"""The columns of a comparison, and how many digits each has."""


@dataclass(frozen=True, repr=False)
class NUTSComparison(Shown):
    """The guide and NUTS on one data point, compared in each dimension, `(D,)` each, by latent site.

    Attributes:
        draws: the draws of NUTS, `(chains, S, D)`.
        mean, scale: mean and standard deviation of the draws of NUTS.
        guide_mean, guide_scale: mean and standard deviation of q(z | x), computed from draws.
        mean_z: (guide_mean - mean) over the standard error of both; NUTS's error uses its effective sample size.
        shift: (guide_mean - mean) / scale.
        ratio: guide_scale / scale; below 1 the guide is too narrow.
        effective_sample_size: the effective sample size of NUTS.
        r_hat: split R-hat. Chains start in turn at a draw of the guide and at one of the prior, so a value above 1.05
            may mean a mode that the guide misses. Where a chain never moves, it is NaN, and so are the scale of NUTS
            and what is computed from it; they are printed as "-".
        absent: why a latent is not compared, by name.
    """

    draws: dict[str, Tensor]
    mean: dict[str, Tensor]
    scale: dict[str, Tensor]
    guide_mean: dict[str, Tensor]
    guide_scale: dict[str, Tensor]
    mean_z: dict[str, Tensor]
    shift: dict[str, Tensor]
    ratio: dict[str, Tensor]
    effective_sample_size: dict[str, Tensor]
    r_hat: dict[str, Tensor]
    absent: dict[str, str]

    @property
    def mixed(self) -> bool:
        """Whether the chains agree, R-hat <= 1.05 everywhere; otherwise NUTS is no reference."""
        return all(bool((r_hat <= MIXED).all()) for r_hat in self.r_hat.values())

    def cells(self) -> Cells:
        rows = []
        for name in self.draws:
            for d in range(len(self.mean[name])):
                both = [plus_minus(m[name][d].item(), s[name][d].item()) for m, s in self._moments()]
                numbers = [_shown(getattr(self, column)[name][d], form) for column, form in _SHOWN.items()]
                rows.append((f"{name}[{d}]", *both, *numbers))
        shown, more = shortened(rows)
        notes = [f"{name}: {reason}" for name, reason in self.absent.items()]
        head = ("dimension", "NUTS", "guide", "shift", "ratio", "z-score", "ESS", "R-hat")
        return Cells(shown, head, after=[*more, *notes])

    def _moments(self) -> tuple[tuple[dict[str, Tensor], dict[str, Tensor]], ...]:
        return (self.mean, self.scale), (self.guide_mean, self.guide_scale)


def _shown(value: Tensor, form: str) -> str:
    return "-" if value.isnan() else format(value.item(), form)


def nuts(
    model: ProgramLike,
    guide: ProgramLike,
    datum: Batch,
    *,
    num_samples: int = 500,
    num_warmup: int = 300,
    num_chains: int = 2,
    transform: Transform | None = None,
    seed: int = 0,
    target_accept_prob: float = 0.8,
    max_tree_depth: int = 10,
    step_size: float = 1,
    adapt_step_size: bool = True,
    adapt_mass_matrix: bool = True,
    full_mass: bool = False,
    jit_compile: bool = False,
    progress: bool = False,
) -> NUTSComparison:
    """Sample p(z | x) of one data point by Pyro's NUTS, and compare the guide's mean and scale in each dimension.

    Pyro sums out discrete latents. A latent outside the plate "data" is refused.

    Args:
        model, guide: the pair.
        datum: a batch of one data point, `{"x": x[:1]}`.
        num_samples: draws of each chain after the warmup; the guide gets as many draws as all chains together.
        num_warmup: steps of each chain that adapt step size and mass matrix, and are discarded.
        num_chains: the number of chains, which run one after the other.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of the draws; the global random state is left alone.
        target_accept_prob: the acceptance probability that step size adaptation aims at.
        max_tree_depth: the largest depth of the binary tree of a step, which takes up to 2^depth gradients.
        step_size: the initial step size.
        adapt_step_size: whether the warmup adapts the step size.
        adapt_mass_matrix: whether the warmup adapts the mass matrix.
        full_mass: whether the mass matrix is dense; diagonal by default.
        jit_compile: whether Pyro compiles the potential energy with torch's JIT.
        progress: show a bar over the steps of all chains.

    Raises:
        SettingError: fewer than four draws or one chain, or another number out of range.
        PairError: more than one data point; a latent outside the plate "data"; no continuous latent; a support onto
            which torch has no bijection, such as a sphere.

    References: Hoffman & Gelman (2014), The no-U-turn sampler, arXiv:1111.4246; Vehtari et al. (2021),
    arXiv:1903.08008, for R-hat.
    """
    check_count("num_samples", num_samples, 4, write=500)
    check_count("num_warmup", num_warmup, 0, write=300)
    check_count("num_chains", num_chains, write=2)
    check_fraction("target_accept_prob", target_accept_prob, ends=False, write=0.8)
    check_count("max_tree_depth", max_tree_depth, write=10)
    check_positive("step_size", step_size, write=1)
    kernel = partial(
        NUTS,
        target_accept_prob=target_accept_prob,
        max_tree_depth=max_tree_depth,
        step_size=step_size,
        adapt_step_size=adapt_step_size,
        adapt_mass_matrix=adapt_mass_matrix,
        full_mass=full_mass,
        jit_compile=jit_compile,
    )
    with on_data("nuts", model, guide, datum, transform, seed=seed) as pair, frozen(model, guide):
        if pair.size != 1:
            raise PairError(f'nuts requires one data point, got {pair.size}. Write nuts(model, guide, {{"x": x[:1]}}).')
        pair.require_independent()
        for inner, _ in pair.traces.latent().values():
            if not inner["fn"].support.is_discrete:
                bijection(inner)
        return _measure(pair, kernel, num_samples, num_warmup, num_chains, progress)


def _measure(
    pair: PairOnData, kernel: Callable[..., NUTS], num_samples: int, num_warmup: int, num_chains: int, progress: bool
) -> NUTSComparison:
    latent = {n: s for n, s in _model_latents(pair).items() if not s["fn"].support.is_discrete}
    if not latent:
        raise PairError(
            "nuts requires a continuous latent, and all latents of the model are discrete. log p(x) is a sum over "
            "them: leave them out of the guide, and evaluate(...) computes it."
        )
    with torch.enable_grad(), progress_bar(progress, num_chains * (num_warmup + num_samples), "step") as bar:
        chain = partial(_chain, pair, latent, kernel, num_samples, num_warmup, bar)
        runs = [chain(from_guide=number % 2 == 0) for number in range(num_chains)]
    draws = {n: torch.stack([_flat(run[n], latent[n], pair) for run in runs]) for n in latent}
    ours = _of_guide(pair, num_chains * num_samples)
    compared = {n: _compare(draws[n].double().cpu(), z.double().cpu()) for n, z in ours.items() if n in draws}
    absent = {name: "summed out" for name in _model_latents(pair) if name not in latent}
    absent |= {name: "the guide does not draw it" for name in draws if name not in ours}
    parts = {field: {name: part[field] for name, part in compared.items()} for field in COMPARED}
    return NUTSComparison(draws={n: draws[n].cpu() for n in compared}, **parts, absent=absent)


def _model_latents(pair: PairOnData) -> dict[str, Site]:
    return {name: site for name, site in sites(pair.traces.model).items() if not site["is_observed"]}


def _chain(
    pair: PairOnData,
    latent: dict[str, Site],
    kernel: Callable[..., NUTS],
    num_samples: int,
    num_warmup: int,
    bar: Any,
    *,
    from_guide: bool,
) -> dict[str, Tensor]:
    """The draws of one chain, `(S, *batch, *event)` by site, which starts at a draw of the guide or of the prior."""

    def program() -> Any:
        return call(pair.model, pair.first, data_size=1)

    start = pyro.infer.autoguide.init_to_value(values=_start(pair, latent, from_guide=from_guide))
    sampler = MCMC(
        kernel(program, max_plate_nesting=pair.layout.depth, init_strategy=start),
        num_samples=num_samples,
        warmup_steps=num_warmup,
        hook_fn=lambda *_: bar.update(1),
        disable_progbar=True,
    )
    sampler.run()
    return sampler.get_samples()


def _start(pair: PairOnData, latent: dict[str, Site], *, from_guide: bool) -> dict[str, Tensor]:
    with torch.no_grad(), poutine.trace() as tracer:
        call(pair.guide if from_guide else pair.model, pair.first, data_size=1)
    return {name: site["value"].detach() for name, site in sites(tracer.trace).items() if name in latent}


def _flat(draws: Tensor, site: Site, pair: PairOnData) -> Tensor:
    """`(S, *batch, *event)` as `(S, D)`."""
    batch = draws.dim() - 1 - site["fn"].event_dim
    draws = draws.reshape(len(draws), *[1] * (pair.layout.depth - batch), *draws.shape[1:])
    return by_dimension(draws, site, (len(draws), 1), pair.layout.depth)[:, 0]


def _of_guide(pair: PairOnData, count: int) -> dict[str, Tensor]:
    """Draws of the guide, `(S, D)` by continuous site."""
    depth = pair.layout.depth
    trace = run_pair(lambda: None, lambda: call(pair.guide, pair.first, data_size=1), count, depth).guide
    drawn = {name: site for name, site in sites(trace).items() if site["value"].is_floating_point()}
    return {name: by_dimension(site["value"], site, (count, 1), depth)[:, 0] for name, site in drawn.items()}


def _compare(draws: Tensor, ours: Tensor) -> dict[str, Tensor]:
    """NUTS's draws `(chains, S, D)` compared with the guide's `(S, D)`."""
    every = draws.flatten(0, 1)
    effective = stats.effective_sample_size(draws, 0, 1).clamp(1, len(every))  # the estimate may be negative
    mean, scale, guide_mean, guide_scale = every.mean(0), every.std(0), ours.mean(0), ours.std(0)
    still = (draws == draws[:, :1]).all(1).any(0)  # a chain that never moves says nothing of the spread
    scale, effective = (torch.where(still, torch.nan, number) for number in (scale, effective))
    error = (scale.square() / effective + guide_scale.square() / len(ours)).sqrt()
    return {
        "mean": mean,
        "scale": scale,
        "guide_mean": guide_mean,
        "guide_scale": guide_scale,
        "mean_z": (guide_mean - mean) / error,
        "shift": (guide_mean - mean) / scale,
        "ratio": guide_scale / scale,
        "effective_sample_size": effective,
        "r_hat": torch.where(still, torch.nan, stats.split_gelman_rubin(draws, 0, 1)),
    }

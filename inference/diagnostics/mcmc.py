"""A guide beside Markov chain Monte Carlo: NUTS on single data, in the latent space."""

from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.on_data import PairOnData, by_dimension, on_data
from pyrovae.inference.pair.running import frozen
from pyrovae.inference.pair.scoring import run_pair
from pyrovae.inference.pair.tracing import sites

__all__ = ["Beside", "nuts"]

MIXED = 1.05  # R-hat up to which chains agree


@dataclass(frozen=True)
class Beside:
    """The guide beside NUTS on one datum, dimension by dimension, `(D,)` each, by latent site.

    Attributes:
        draws: of NUTS, `(chains, S, D)`.
        mean, scale: of NUTS.
        guide_mean, guide_scale: of q(z | x), by draws.
        mean_z: (guide_mean - mean) over the standard error of both, that of NUTS by its effective sample size.
        shift: (guide_mean - mean) / scale.
        ratio: guide_scale / scale: below 1 the guide is too narrow.
        effective: NUTS's effective sample size.
        r_hat: split R-hat. Chains start in turn at a draw of the guide and at one of the prior, so above 1.05 there may
            be a mode that the guide does not know.
        absent: latents that NUTS sums out or that are not compared, and why.
    """

    draws: dict[str, Tensor]
    mean: dict[str, Tensor]
    scale: dict[str, Tensor]
    guide_mean: dict[str, Tensor]
    guide_scale: dict[str, Tensor]
    mean_z: dict[str, Tensor]
    shift: dict[str, Tensor]
    ratio: dict[str, Tensor]
    effective: dict[str, Tensor]
    r_hat: dict[str, Tensor]
    absent: dict[str, str]

    @property
    def mixed(self) -> bool:
        """Whether the chains agree, R-hat <= 1.05 everywhere: else NUTS is no yardstick."""
        return all(bool((r_hat <= MIXED).all()) for r_hat in self.r_hat.values())

    def __str__(self) -> str:
        head = f"{'dimension':<12}{'NUTS':>16}{'guide':>16}{'shift':>8}{'ratio':>8}{'z':>8}{'ESS':>8}{'R-hat':>8}"
        lines = [head]
        for name in self.draws:
            for d in range(len(self.mean[name])):
                both = [f"{m[name][d]:.2f} ± {s[name][d]:.2f}" for m, s in self._moments()]
                numbers = f"{self.shift[name][d]:>8.2f}{self.ratio[name][d]:>8.2f}{self.mean_z[name][d]:>8.1f}"
                chain = f"{self.effective[name][d]:>8.0f}{self.r_hat[name][d]:>8.3f}"
                lines.append(f"{f'{name}[{d}]':<12}{both[0]:>16}{both[1]:>16}{numbers}{chain}")
        return "\n".join([*lines, *(f"{name}: {reason}" for name, reason in self.absent.items())])

    def _moments(self) -> tuple[tuple[dict[str, Tensor], dict[str, Tensor]], ...]:
        return (self.mean, self.scale), (self.guide_mean, self.guide_scale)


def nuts(
    model: ProgramLike,
    guide: ProgramLike,
    datum: Batch,
    *,
    num_samples: int = 500,
    warmup: int = 300,
    chains: int = 2,
    transform: Any = None,
    seed: int = 0,
    **options: Any,
) -> Beside:
    """Sample p(z | x) of one datum by Pyro's NUTS, and compare the guide's mean and scale in each dimension.

    Discrete latents are summed out, by Pyro. A latent of all data is refused.

    Args:
        datum: a batch of one, `{"x": x[:1]}`.
        num_samples: draws of each chain, after `warmup`; the guide's draws are as many as all chains'.
        chains: run one after the other.
        options: of `pyro.infer.NUTS`, such as `target_accept_prob` or `max_tree_depth`.

    Raises:
        PairError: not one datum, fewer than four draws or one chain, a latent of all data, no continuous latent.

    References: Hoffman & Gelman (2014), The no-U-turn sampler, arXiv:1111.4246; Vehtari et al. (2021),
    arXiv:1903.08008, for R-hat.
    """
    if batch_size(datum) != 1 or num_samples < 4 or chains < 1:
        raise PairError(
            f"nuts wants one datum, num_samples >= 4 and chains >= 1, got {batch_size(datum)}, {num_samples} and "
            f'{chains}. Write {{"x": x[:1]}}.'
        )
    with on_data("nuts", model, guide, datum, transform, seed=seed) as subject, frozen(model, guide):
        subject.require_independent()
        latent = {n: s for n, s in _model_latents(subject).items() if not s["fn"].support.is_discrete}
        if not latent:
            raise PairError(
                "nuts wants a continuous latent, and all of the model are discrete: log p(x) is a sum over them."
            )
        with torch.enable_grad():
            runs = [_chain(subject, latent, i, num_samples, warmup, options) for i in range(chains)]
        draws = {n: torch.stack([_flat(run[n], latent[n], subject) for run in runs]) for n in latent}
        ours = _of_guide(subject, chains * num_samples)
    compared = {n: _compare(draws[n].double().cpu(), z.double().cpu()) for n, z in ours.items() if n in draws}
    absent = {name: "summed out" for name in _model_latents(subject) if name not in latent}
    absent |= {name: "the guide does not draw it" for name in draws if name not in ours}
    fields = ("mean", "scale", "guide_mean", "guide_scale", "mean_z", "shift", "ratio", "effective", "r_hat")
    parts = {field: {name: part[field] for name, part in compared.items()} for field in fields}
    return Beside(draws={n: draws[n].cpu() for n in compared}, **parts, absent=absent)


def _model_latents(subject: PairOnData) -> dict[str, Any]:
    return {name: site for name, site in sites(subject.traces.model).items() if not site["is_observed"]}


def _chain(
    subject: PairOnData, latent: dict[str, Any], number: int, num_samples: int, warmup: int, options: dict[str, Any]
) -> dict[str, Tensor]:
    """The draws of one chain, `(S, *batch, *event)` by site. Even chains start at the guide, odd ones at the prior."""

    def program() -> Any:
        return call(subject.model, subject.first, data_size=1)

    start = _start(subject, latent, from_guide=number % 2 == 0)
    kernel = NUTS(
        program,
        max_plate_nesting=subject.layout.depth,
        init_strategy=pyro.infer.autoguide.init_to_value(values=start),
        **options,
    )
    chain = MCMC(kernel, num_samples=num_samples, warmup_steps=warmup, disable_progbar=True)
    chain.run()
    return chain.get_samples()


def _start(subject: PairOnData, latent: dict[str, Any], *, from_guide: bool) -> dict[str, Tensor]:
    with torch.no_grad(), poutine.trace() as tracer:
        if from_guide:
            call(subject.guide, subject.first, data_size=1)
        else:
            call(subject.model, subject.first, data_size=1)
    return {name: site["value"].detach() for name, site in sites(tracer.trace).items() if name in latent}


def _flat(draws: Tensor, site: Any, subject: PairOnData) -> Tensor:
    """`(S, *batch, *event)` as `(S, D)`."""
    batch = draws.dim() - 1 - site["fn"].event_dim
    draws = draws.reshape(len(draws), *[1] * (subject.layout.depth - batch), *draws.shape[1:])
    return by_dimension(draws, site, (len(draws), 1), subject.layout.depth)[:, 0]


def _of_guide(subject: PairOnData, count: int) -> dict[str, Tensor]:
    """Draws of the guide, `(S, D)` by continuous site."""
    pair = run_pair(lambda: None, lambda: call(subject.guide, subject.first, data_size=1), count, subject.layout.depth)
    drawn = {n: s for n, s in sites(pair.guide).items() if s["value"].is_floating_point()}
    return {n: by_dimension(s["value"], s, (count, 1), subject.layout.depth)[:, 0] for n, s in drawn.items()}


def _compare(draws: Tensor, ours: Tensor) -> dict[str, Tensor]:
    """NUTS's draws `(chains, S, D)` beside the guide's `(S, D)`."""
    every = draws.flatten(0, 1)
    effective = effective_sample_size(draws, 0, 1).clamp(1, len(every))  # of few draws its estimate may be negative
    mean, scale, guide_mean, guide_scale = every.mean(0), every.std(0), ours.mean(0), ours.std(0)
    error = (scale.square() / effective + guide_scale.square() / len(ours)).sqrt()
    return {
        "mean": mean,
        "scale": scale,
        "guide_mean": guide_mean,
        "guide_scale": guide_scale,
        "mean_z": (guide_mean - mean) / error,
        "shift": (guide_mean - mean) / scale,
        "ratio": guide_scale / scale,
        "effective": effective,
        "r_hat": split_gelman_rubin(draws, 0, 1),
    }

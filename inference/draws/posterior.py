"""Draws of the latents given the data, of the data given the latents, and of both from the prior.

With z_s ~ q(z | x), the log-weight is log w_s = log p(x, z_s) - log q(z_s | x), in nats. Draws chosen from
the guide's in proportion to w are, the more there are to choose from, the more nearly draws of p(z | x).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import PairError
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.draws.draws import LOG_WEIGHT, Draws, Key
from pyrovae.inference.draws.form import Form
from pyrovae.inference.draws.plan import Plan, Values
from pyrovae.inference.draws.source import Source, check_counts, collect, selected
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call
from pyrovae.inference.pair.running import COMPILE_FROM, batches, device_of, evaluating, numbers, seeded
from pyrovae.inference.pair.scoring import layout, run_pair, scores, terms_of
from pyrovae.inference.pair.tracing import PairTrace, trace_pair
from pyrovae.inference.pair.tracing import sites as sites_of
from pyrovae.numeric import wide

__all__ = ["posterior", "posterior_predictive"]


def posterior(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    num_samples: int = 100,
    *,
    sites: Sequence[str] | None = None,
    corrected: bool = False,
    proposals: int | None = None,
    predictive: bool = False,
    log_weights: bool = True,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
    out: str | Path | None = None,
    compile: bool | None = None,
) -> Draws:
    """S draws of every latent site for each of N data: z_s ~ q(z | x), or, corrected, z_s ~ p(z | x), nearly.

    A latent that the guide leaves out, marked for enumeration in the model, is drawn from its exact conditional
    p(c | z_s, x). One outside the plate "data" is drawn S times for all data together.

    Args:
        data: named tensors of N data.
        num_samples: S.
        sites: what to keep, names of latent sites, or of plates for the sites in them; everything by default.
        corrected: choose from the guide's draws, with replacement, in proportion to their weights.
        proposals: how many draws of the guide the corrected ones are chosen from, for each datum; 10 S by default.
        predictive: draw x ~ p(x | z_s) too, given whatever else the model conditions on.
        log_weights: score the draws: `log_likelihood`, `log_weights`, `effective`. It costs the decoder, of which plain
            draws have no need.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).
        memory: about how many bytes a chunk of draws may take; the result comes on top.
        seed: of the draws; the global random state is left alone.
        out: a NetCDF file for draws that are more than memory holds. They are written chunk by chunk, and the result's
            tensors are mapped from the file. ArviZ and xarray open it as it is.
        compile: replay a compiled graph; by default where there is so much to score that compiling pays.

    Raises:
        PairError: no data, no samples; no such site; a latent that nothing draws; `corrected` with a latent outside the
            plate "data", where no datum has weights of its own.
        NonFiniteError: the weights of a datum to be corrected are all zero, or NaN.
        MissingExtraError, OutputError: `out` cannot be written.

    References: Rubin (1988), Using the SIR algorithm to simulate posterior distributions; Cremer et al. (2017),
    arXiv:1704.02916, for the distribution of a guide's corrected draws.
    """
    size, transform = batch_size(data), transform or Scale()
    check_counts("posterior", size, num_samples, proposals)
    device = device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        first = transform({name: tensor[:2].to(device) for name, tensor in data.items()})
        pair = trace_pair(model, guide, first, data_size=size)
        depth, has_global = layout(pair)
        if corrected and has_global:
            raise PairError(
                "a latent of the pair is outside the plate 'data', so no datum has weights of its own by which draws "
                "could be corrected. Drop corrected=True, or condition on that latent (pyro.condition)."
            )
        known = {name: site for name, (site, _) in pair.latent().items()}
        known |= {name: sites_of(pair.model)[name] for name in pair.undrawn()}
        latents = {name: Form.of(site, depth) for name, site in known.items()}
        observed = {name: Form.of(site, depth) for name, site in pair.observed().items()}
        kept = selected(sites, latents)
        scored = corrected or log_weights or any(name in kept or predictive for name in pair.undrawn())
        source = _Posterior(model, depth, size, latents, observed, guide, scored, predictive, not has_global)
        runs_model = scored or predictive
        busy = latents | (observed if runs_model else {})
        # Without a decoder some four floats per number live at once, and not sixteen.
        space = memory // _combinations(pair) if runs_model else 4 * memory
        plan = Plan.of(num_samples, (proposals or 10 * num_samples) * corrected, first, busy, latents, space)
        wanted = [Key("posterior", name) for name in kept]
        wanted += [Key("posterior_predictive", name) for name in observed if predictive]
        wanted += [source.log_likelihood, LOG_WEIGHT] if log_weights else []
        pays = scored and size * (plan.proposals or num_samples) * numbers(first) > COMPILE_FROM
        draw = Compiled(source.draw, model, guide) if (pays if compile is None else compile) else source.draw
        return collect(source, draw, plan, wanted, data, batches(data, plan.rows, transform, device), out)


def posterior_predictive(
    model: ProgramLike, guide: ProgramLike, data: Batch, num_samples: int = 100, **options: Any
) -> Draws:
    """Draws of z_s ~ q(z | x) and of new data x_s ~ p(x | z_s): `posterior(..., predictive=True)`.

    Raises:
        PairError: the model does not generate without data.
    """
    return posterior(model, guide, data, num_samples, predictive=True, **options)


@dataclass(frozen=True)
class _Posterior(Source):
    """Latents from the guide, those that it leaves out from their conditional.

    Attributes:
        scored: whether the model is run on the draws at all.
        predictive: whether new data are drawn.
        weighted: whether a datum has weights of its own.
    """

    guide: ProgramLike
    scored: bool
    predictive: bool
    weighted: bool
    kind = "posterior"

    def draw(self, batch: Batch, rows: int, count: int, common: Values) -> Values:
        run = partial(call, batch=batch, data_size=self.size)
        model = partial(run, self.model) if self.scored else _nothing
        pair = run_pair(model, partial(run, self.guide), count, self.depth, in_guide=self.putting(common))
        drawn = {name: site["value"] for name, site in sites_of(pair.guide).items() if name in self.latents}
        values = {Key(self.kind, n): self.latents[n].pack(value, count, rows) for n, value in drawn.items()}
        if not self.scored:
            return values
        of_model = scores(pair.model, (count, rows), self.depth, self.size)
        terms = terms_of(pair, (count, rows), self.depth, self.size, of_model)
        values |= {Key(self.kind, name): value for name, value in _enumerated(pair, of_model, self.depth).items()}
        values[self.log_likelihood] = terms.log_likelihood
        return values | ({LOG_WEIGHT: terms.log_weight} if self.weighted else {})

    @property
    def log_likelihood(self) -> Key:
        """Named after the observed site, where there is one."""
        return Key("log_likelihood", next(iter(self.observed)) if len(self.observed) == 1 else "joint")

    def predict(self, batch: Batch, rows: int, count: int, values: Values) -> Values:
        """New data, given the latents and whatever else the model conditions on."""
        if not self.predictive:
            return {}
        given = {name: tensor for name, tensor in batch.items() if name not in self.observed}
        return self.generate(given, rows, count, values)


def _nothing() -> None:
    """A model that is not run."""


def _enumerated(pair: PairTrace, of_model: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Draws of the latents c that the guide leaves out, from p(c | z, x), all of them jointly: `(S, B, *event)`."""
    names = pair.undrawn()
    if not names:
        return {}
    table = sum((t for t in of_model.values() if t.dim() > 2), torch.zeros(()))  # log p(c, z, x), (*enumerated, S, B)
    picked = dist.Categorical(logits=wide(table).flatten(0, -3).movedim(0, -1)).sample()
    indices = torch.unravel_index(picked, table.shape[:-2])
    draws = {}
    for name in names:
        site = sites_of(pair.model)[name]
        support = site["value"].reshape(-1, *site["fn"].event_shape)
        draws[name] = support[indices[site["infer"]["_enumerate_dim"] + depth + 1]]  # the first is in dim -depth - 2
    return draws


def _combinations(pair: PairTrace) -> int:
    """How many values the latents that the guide leaves out take together."""
    left_out = [sites_of(pair.model)[name]["fn"] for name in pair.undrawn()]
    return math.prod(len(fn.enumerate_support(expand=False)) for fn in left_out)

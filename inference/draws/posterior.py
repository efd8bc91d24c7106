"""Draws of the latents given the data, and of new data given the latents.

With z_s ~ q(z | x), the log-weight is log w_s = log p(x, z_s) - log q(z_s | x), in nats. Draws of the guide that are
chosen in proportion to w approach draws of p(z | x) as the number of draws to choose from grows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrovae.checks import check_count, check_names
from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.compile.choice import maybe_compiled
from pyrovae.inference.draws.collecting import collect
from pyrovae.inference.draws.draws import LOG_WEIGHT, Draws, Key
from pyrovae.inference.draws.form import Form, selected
from pyrovae.inference.draws.plan import Draw, Plan, Values
from pyrovae.inference.draws.source import Source
from pyrovae.inference.pair.contract import ProgramLike, call
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.running import MEMORY, Transform, numbers
from pyrovae.inference.pair.scoring import run_pair, scores, terms_of
from pyrovae.inference.pair.tracing import PairTrace, sites
from pyrovae.inference.processes.faults import together
from pyrovae.inference.processes.launch import current
from pyrovae.inference.processes.share import Share
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
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    out: str | Path | None = None,
    compile: bool | None = None,
    progress: bool = False,
) -> Draws:
    """Draw every latent site S times for each of N data points: z_s ~ q(z | x), or approximately p(z | x) if corrected.

    A latent that the guide leaves out, and that is marked for enumeration in the model, is drawn from its exact
    conditional p(c | z_s, x). A latent outside the plate "data" is drawn S times for all data points together.

    Args:
        model, guide, data: the pair, and named tensors of N data points.
        num_samples: S.
        sites: the names of the latent sites to keep, or of plates, for the sites in them; all latent sites by default.
        corrected: whether to choose from the guide's draws, with replacement, in proportion to their weights.
        proposals: from how many draws of the guide the corrected ones are chosen, for each data point; 10 S by default.
        predictive: whether to draw x ~ p(x | z_s) too, given everything else that the model conditions on.
        log_weights: whether to score the draws, for `log_likelihood`, `log_weights` and `effective_sample_size`. This
            takes the time of the decoder, which plain draws do not run.
        transform: what training applied to a batch; `pyrovae.data.Scale()` by default.
        memory: about how many bytes a chunk of draws may take, without the result.
        seed: the seed of all random numbers; the global random state is left alone.
        out: a NetCDF file, for more draws than memory holds. They are written chunk by chunk, and the tensors of the
            result are mapped from the file. ArviZ and xarray can open it.
        compile: whether to replay a compiled graph; by default where the work is so large that compiling pays.
        progress: whether to show a progress bar.

    Raises:
        DataError: the data are no named tensors, or of another type than the pair's parameters.
        SettingError: a number of draws is below 1.
        PairError: there is no data point; there is no such site; nothing draws a latent; draws that are taken together
            have other log-probabilities than alone; `corrected` with a latent outside the plate "data", where no data
            point has weights of its own.
        NonFiniteError: the weights of a data point whose draws are to be corrected are all zero, or are not finite.
        MissingExtraError, OutputError: `out` cannot be written.

    References: Rubin (1988), Using the SIR algorithm to simulate posterior distributions; Cremer et al. (2017),
    arXiv:1704.02916, for the distribution of a guide's corrected draws.
    """
    num_samples = check_count("num_samples", num_samples, write=100)
    sites = sites if sites is None or isinstance(sites, str) else check_names("sites", sites)
    proposals = proposals if proposals is None else check_count("proposals", proposals, write=1000)
    single = num_samples == 1 and not corrected
    opened = on_data("posterior", model, guide, data, transform, memory=memory, seed=seed, single=single)
    with together(current()), opened as pair:
        if corrected:
            _require_own_weights(pair)
        latents, observed = _forms(pair)
        kept = selected(sites, latents)
        scored = corrected or log_weights or any(name in kept or predictive for name in pair.traces.undrawn())
        weighted = not pair.layout.has_global
        source = _Posterior(model, pair.layout.depth, pair.size, latents, observed, guide, scored, predictive, weighted)
        plan = _plan(pair, source, num_samples, (proposals or 10 * num_samples) if corrected else 0)
        keys = [Key("posterior", name) for name in kept]
        keys += [Key("posterior_predictive", name) for name in observed if predictive]
        keys += [source.log_likelihood, LOG_WEIGHT] if log_weights else []
        draw = _draw(pair, source, plan, compile)
        return collect(source, draw, plan, keys, pair.data, pair.batches(plan.rows), out=out, progress=progress)


def posterior_predictive(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    num_samples: int = 100,
    *,
    sites: Sequence[str] | None = None,
    corrected: bool = False,
    proposals: int | None = None,
    log_weights: bool = True,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    out: str | Path | None = None,
    compile: bool | None = None,
    progress: bool = False,
) -> Draws:
    """Draw z_s ~ q(z | x) and new data x_s ~ p(x | z_s): `posterior(..., predictive=True)`.

    Args:
        model, guide, data: the pair, and named tensors of N data points.
        num_samples: S.
        sites, corrected, proposals, log_weights: as in `posterior`.
        transform, memory, seed, out, compile, progress: as in `posterior`.

    Raises:
        PairError: as in `posterior`; the model does not generate without data.
        NonFiniteError, MissingExtraError, OutputError: as in `posterior`.
    """
    return posterior(
        model,
        guide,
        data,
        num_samples,
        sites=sites,
        corrected=corrected,
        proposals=proposals,
        predictive=True,
        log_weights=log_weights,
        transform=transform,
        memory=memory,
        seed=seed,
        out=out,
        compile=compile,
        progress=progress,
    )


@dataclass(frozen=True)
class _Posterior(Source):
    """Latents from the guide; those that it leaves out come from their conditional.

    Attributes:
        scored: whether the model is run on the draws.
        predictive: whether new data are drawn.
        weighted: whether each data point has weights of its own.
    """

    guide: ProgramLike
    scored: bool
    predictive: bool
    weighted: bool
    kind = "posterior"

    def draw(self, batch: Batch, rows: int, num_samples: int, common: Values) -> Values:
        run = partial(call, batch=batch, data_size=self.size)
        model = partial(run, self.model) if self.scored else _nothing
        pair = run_pair(model, partial(run, self.guide), num_samples, self.depth, in_guide=self.putting(common))
        drawn = {name: site["value"] for name, site in sites(pair.guide).items() if name in self.latents}
        values = {Key(self.kind, n): self.latents[n].pack(value, num_samples, rows) for n, value in drawn.items()}
        if not self.scored:
            return values
        shape = num_samples, rows
        of_model = scores(pair.model, shape, self.depth, self.size)
        terms = terms_of(pair, shape, self.depth, self.size, of_model)
        values |= {Key(self.kind, name): value for name, value in _enumerated(pair, of_model, self.depth).items()}
        values[self.log_likelihood] = terms.log_likelihood
        return values | ({LOG_WEIGHT: terms.log_weight} if self.weighted else {})

    def predict(self, batch: Batch, rows: int, num_samples: int, values: Values) -> Values:
        if not self.predictive:
            return {}
        given = {name: tensor for name, tensor in batch.items() if name not in self.observed}
        return self.generate(given, rows, num_samples, values)

    @property
    def log_likelihood(self) -> Key:
        """The key of the log-likelihood, which has the name of the observed site where there is one alone."""
        return Key("log_likelihood", next(iter(self.observed)) if len(self.observed) == 1 else "joint")


def _nothing() -> None:
    """A model that is not run."""


def _require_own_weights(pair: PairOnData) -> None:
    if pair.layout.has_global:
        raise PairError(
            "corrected draws require a weight for each data point, got a latent outside the plate 'data'. Drop "
            "corrected=True, or condition on that latent (pyro.condition)."
        )


def _forms(pair: PairOnData) -> tuple[dict[str, Form], dict[str, Form]]:
    """The forms of the latent and of the observed sites."""
    traces, depth = pair.traces, pair.layout.depth
    latents = {name: site for name, (site, _) in traces.latent().items()}
    latents |= {name: sites(traces.model)[name] for name in traces.undrawn()}
    return (
        {name: Form.of(site, depth) for name, site in latents.items()},
        {name: Form.of(site, depth) for name, site in traces.observed().items()},
    )


def _plan(pair: PairOnData, source: _Posterior, num_samples: int, proposals: int) -> Plan:
    """The chunks. A run without a decoder has about four floats per number in memory at once, instead of sixteen."""
    if not source.scored and not source.predictive:
        return Plan.of(num_samples, proposals, pair.first, source.latents, source.latents, 4 * pair.memory)
    busy = {**source.latents, **source.observed}
    return Plan.of(num_samples, proposals, pair.first, busy, source.latents, pair.memory // _combinations(pair.traces))


def _draw(pair: PairOnData, source: _Posterior, plan: Plan, compile: bool | None) -> Draw:
    """The method that draws; compiled where asked for, or where it pays. Several processes share the rows."""
    count = plan.proposals or plan.num_samples
    work = pair.size * count * numbers(pair.first) if source.scored else 0
    if current().alone or pair.layout.has_global:
        return maybe_compiled(source.draw, pair.model, pair.guide, work=work, compile=compile)

    def draw(batch: Batch, num_samples: int, share: Share) -> Values:
        with current().noise(share):
            return source.draw(batch, share.size, num_samples, {})

    drawn = maybe_compiled(draw, pair.model, pair.guide, work=work, compile=compile)

    def whole(batch: Batch, rows: int, num_samples: int, common: Values) -> Values:
        return current().over_rows(lambda mine, share: drawn(mine, num_samples, share), batch, 1)

    return whole


def _enumerated(pair: PairTrace, of_model: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Joint draws of the latents c that the guide leaves out, from p(c | z, x), `(S, B, *event)`."""
    names = pair.undrawn()
    if not names:
        return {}
    table = sum((t for t in of_model.values() if t.dim() > 2), torch.zeros(()))  # log p(c, z, x), (*enumerated, S, B)
    picked = dist.Categorical(logits=wide(table).flatten(0, -3).movedim(0, -1)).sample()
    indices = torch.unravel_index(picked, table.shape[:-2])
    draws = {}
    for name in names:
        site = sites(pair.model)[name]
        support = site["value"].reshape(-1, *site["fn"].event_shape)
        draws[name] = support[indices[site["infer"]["_enumerate_dim"] + depth + 1]]  # the first is in dim -depth - 2
    return draws


def _combinations(pair: PairTrace) -> int:
    """How many joint values the latents have that the guide leaves out."""
    left_out = [sites(pair.model)[name]["fn"] for name in pair.undrawn()]
    return math.prod(len(fn.enumerate_support(expand=False)) for fn in left_out)

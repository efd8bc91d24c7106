"""The doctor: examines a pair on one batch, and names the rule of the contract that it breaks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import NonFiniteError, PairError, PyrovaeError, ShapeError, SupportError
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call, filled, local_params, modules, takes
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, unscaled_log_prob

__all__ = ["check_finite", "check_pair"]


def check_pair(model: ProgramLike, guide: ProgramLike, batch: Batch, **extra: Any) -> None:
    """Examine a pair on one batch; return nothing when it keeps the contract.

    Found and explained, in this order: a guide that observes, sites that do not match, a missing or wrong data
    plate, shapes that do not fit, values outside a support, log-probabilities that are not finite, parameters
    that get no gradient. Random state, buffers and gradients are left as they were.

    Raises:
        PairError, ShapeError, SupportError, NonFiniteError: one, with the site, what was got, and the mend.
    """
    size = filled("check_pair", batch)
    undisturbed = _undisturbed(model, guide)
    with undisturbed, torch.enable_grad(), local_params(model, guide), pyro.validation_enabled(False):
        pair = _run(model, guide, batch, extra)
        _check_outside(pair, size, takes(model, "data_size") or takes(guide, "data_size"))
        _check_support(model, pair)
        check_finite(pair)
        _check_gradients(model, guide, pair)


@contextmanager
def _undisturbed(*programs: ProgramLike) -> Iterator[None]:
    buffers = [buffer for module in modules(*programs) for buffer in module.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)


class _Doctor(Messenger):
    """Checks each site's plates and shapes while the program runs, before a network chokes on them."""

    def __init__(self, program: str, size: int, guide_trace: Trace | None = None) -> None:
        super().__init__()
        self.program, self.size, self.guide_trace = program, size, guide_trace

    def _pyro_post_sample(self, msg: Site) -> None:
        if site_is_subsample(msg):
            return
        name, event, value = msg["name"], tuple(msg["fn"].event_shape), msg["value"]
        if self.guide_trace is None and msg["is_observed"]:
            raise PairError(
                f"the guide observes site '{name}': only the model scores data. Drop obs= from the guide's sample."
            )
        drawn = msg["is_observed"] or msg["infer"].get("enumerate") or name in sites(self.guide_trace or Trace())
        if self.guide_trace is not None and not drawn:
            raise PairError(
                f"the model's latent site '{name}' has no site in the guide, which has {_names(self.guide_trace)}. "
                f'Add pyro.sample("{name}", ...) to the guide, or observe it in the model with obs={name}.'
            )
        _check_plate(self.program, msg, self.size)
        wanted = tuple(msg["fn"].batch_shape) + event
        if tuple(value.shape) != wanted:
            if "data" not in _frames(msg):
                raise _outside(self.program, msg, self.size)
            whose = "data" if msg["is_observed"] else "guide's value"
            raise ShapeError(
                f"site '{name}' of the {self.program}: the distribution has shape {wanted} (batch "
                f"{tuple(msg['fn'].batch_shape)}, event {event}), the {whose} {tuple(value.shape)}. Make the "
                "event shapes equal: the sizes that the prior, the encoder and the decoder were built with."
            )


def _names(trace: Trace) -> str:
    return ", ".join(map(repr, sites(trace))) or "none"


def _run(model: ProgramLike, guide: ProgramLike, batch: Batch, extra: dict[str, Any]) -> PairTrace:
    size = batch_size(batch)
    with _explained("guide", batch), _Doctor("guide", size), poutine.trace() as inner:
        call(guide, batch, **extra)
    guide_trace = inner.trace
    replay = poutine.replay(trace=guide_trace)
    with _explained("model", batch), _Doctor("model", size, guide_trace), poutine.trace() as outer, replay:
        call(model, batch, **extra)
    model_trace = outer.trace
    pair = PairTrace(guide_trace, model_trace)
    unused = [
        name
        for name, site in sites(guide_trace).items()
        if name not in sites(model_trace) and not site["infer"].get("is_auxiliary")
    ]
    if unused:
        raise PairError(
            f"the guide's site {unused[0]!r} is not in the model, which has {_names(model_trace)}. Rename it, or "
            'mark it with infer={"is_auxiliary": True}.'
        )
    if not pair.observed():
        raise PairError(
            f"the model observes nothing: its sites {_names(model_trace)} are all latent. Pass the data to the "
            'likelihood\'s sample, pyro.sample("x", ..., obs=x), and name the argument x.'
        )
    return pair


@contextmanager
def _explained(program: str, batch: Batch) -> Iterator[None]:
    """Turn the shape errors of Pyro and torch into one that names program, shapes and mend."""
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in batch.items())
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if isinstance(error, PyrovaeError):
            raise
        if "Multiple sample sites" in str(error):
            raise PairError(
                f"the {program} uses a name twice: {error}. Give each site a name of its own, and open the plate "
                "'data' once, around all sites of a datum."
            ) from error
        hint = "Check the shapes that its networks were built with."
        if "inside plate" in str(error):
            hint = "The distribution has dimensions of one datum in its batch shape: end it with .to_event(n)."
            if "plate('data')" in str(error) and f", {batch_size(batch)} vs" not in str(error):
                hint = f"The plate must have the size of the batch, {_plate(batch_size(batch))}"
        raise ShapeError(f"the {program} fails on a batch of {shapes}: {error}. {hint}") from error


def _frames(site: Any) -> dict[str, Any]:
    return {frame.name: frame for frame in site["cond_indep_stack"]}


def _plate(size: int) -> str:
    return f'`with pyro.plate("data", {size}, dim=-1):`, the size being len(x).'


def _outside(program: str, site: Any, size: int) -> PairError:
    return PairError(
        f"site '{site['name']}' of the {program} is outside the plate 'data' (its plates: "
        f"{list(_frames(site)) or 'none'}). Put it under {_plate(size)} A latent of all data stays outside, and its "
        "program names data_size and subsamples the plate."
    )


def _check_outside(pair: PairTrace, size: int, global_latents: bool) -> None:
    """Outside the data plate are only latents, and only of a pair that knows the size of all data."""
    for program, trace in zip(("guide", "model"), pair, strict=True):
        for site in sites(trace).values():
            if "data" not in _frames(site) and (site["is_observed"] or not global_latents):
                raise _outside(program, site, size)
            _check_depth(program, site)


def _check_plate(program: str, site: Any, size: int) -> None:
    """The plate "data" has the batch's size and place."""
    data = _frames(site).get("data")
    if data is not None and (data.dim != -1 or data.size != size):
        raise PairError(
            f"site '{site['name']}' of the {program}: the plate 'data' has size {data.size} at dim {data.dim}, "
            f"the batch has {size} data. Write {_plate(size)}"
        )
    if data is not None:
        _check_depth(program, site)


def _check_depth(program: str, site: Any) -> None:
    """A site has no dimensions in its batch shape but its plates'."""
    batch = tuple(site["fn"].batch_shape)
    depth = max((-frame.dim for frame in _frames(site).values() if frame.dim is not None), default=0)
    if len(batch) > depth:
        raise ShapeError(
            f"site '{site['name']}' of the {program} has batch shape {batch}, its plates have {depth} dimension(s): "
            "dimensions of one datum are in the batch shape. End the distribution with "
            f".to_event({len(batch) - depth})."
        )


def _check_support(model: ProgramLike, pair: PairTrace) -> None:
    for name, site in pair.observed().items():
        value = site["value"]
        if value.is_floating_point() and not value.isfinite().all():
            raise NonFiniteError(
                f"the data at site '{name}' hold {int((~value.isfinite()).sum())} NaN or infinite values of "
                f"{value.numel()}. Drop those rows, or impute them."
            )
        likelihood: Any = getattr(model, "likelihood", None)
        if name == "x" and hasattr(likelihood, "check"):
            likelihood.check(value)
        _in_support(name, site["fn"], value, "Transform the data, or choose another likelihood.")
    for name, (inner, outer) in pair.latent().items():
        mend = f"Give the guide a distribution on that support: it has {type(innermost(inner['fn'])).__name__}."
        _in_support(name, outer["fn"], inner["value"], mend)


def _in_support(name: str, fn: Any, value: Tensor, mend: str) -> None:
    base = innermost(fn)
    try:
        inside = base.support.check(value)
    except NotImplementedError:  # a distribution of the user's own that does not say
        return
    if not inside.all():
        worst = value[~inside.expand(value.shape)] if inside.shape == value.shape else value
        raise SupportError(
            f"site '{name}': {type(base).__name__} wants {_describe(base.support)}, got values from "
            f"{worst.min().item():.3g} to {worst.max().item():.3g}. {mend}"
        )


def _describe(support: Any) -> str:
    text = str(support).removesuffix("()")
    return text if text.startswith("a ") else f"values in {text}"


def check_finite(pair: PairTrace) -> None:
    """Name the first site whose log-probability is not finite.

    Raises:
        NonFiniteError: with site, program, and the rows.
    """
    for program, trace in zip(("guide", "model"), pair, strict=True):
        for name, site in sites(trace).items():
            log_prob = unscaled_log_prob(site)
            bad = (~log_prob.isfinite()).nonzero()
            if len(bad):
                rows = sorted({int(row) for row in bad[:, -1]}) if log_prob.dim() else []
                raise NonFiniteError(
                    f"log-probability of site '{name}' of the {program} is "
                    f"{log_prob[tuple(bad[0])].item()} at rows {rows[:5]} of the batch ({len(rows)} of "
                    f"{log_prob.shape[-1] if log_prob.dim() else 1}). Look for NaN in the data or the weights, a "
                    "scale near 0, a learning rate too high; clip_norm=10 often helps."
                )


def _check_gradients(model: ProgramLike, guide: ProgramLike, pair: PairTrace) -> None:
    named = {
        f"{role}.{name}": parameter
        for role, program in (("model", model), ("guide", guide))
        for module in modules(program)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    surrogate = torch.stack([unscaled_log_prob(s).sum() for trace in pair for s in sites(trace).values()]).sum()
    if not named:
        return
    gradients: tuple[Tensor | None, ...] = (None,) * len(named)
    if surrogate.requires_grad:
        gradients = torch.autograd.grad(surrogate, list(named.values()), allow_unused=True)
    idle = [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]
    if idle:
        raise PairError(
            f"{len(idle)} parameter(s) get no gradient: {', '.join(idle[:4])}. Use them in the program, remove "
            "them, or freeze them with requires_grad_(False)."
        )

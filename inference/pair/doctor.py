"""The doctor: it runs a pair on one batch and names the rule of the contract that the pair breaks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from pyrovae.data import Batch
from pyrovae.data.named import named_tensors
from pyrovae.errors import PairError, PyrovaeError, ShapeError
from pyrovae.inference.pair.contract import (
    ProgramLike,
    Site,
    batch_size,
    call,
    explained_arguments,
    filled,
    local_params,
    modules,
    takes_data_size,
)
from pyrovae.inference.pair.entry import floats_of, require_programs
from pyrovae.inference.pair.finite import check_finite
from pyrovae.inference.pair.generation import check_generates
from pyrovae.inference.pair.labels import LabelInputs
from pyrovae.inference.pair.names import check_arguments, check_names
from pyrovae.inference.pair.on_data import given
from pyrovae.inference.pair.plates import check_outside, check_plate, check_shape, plate_line
from pyrovae.inference.pair.registered import owning_networks
from pyrovae.inference.pair.scales import check_unscaled
from pyrovae.inference.pair.scoring import layout
from pyrovae.inference.pair.together import check_together, fitting_rows
from pyrovae.inference.pair.tracing import PairTrace, innermost, sites, unscaled_log_prob
from pyrovae.inference.pair.values import DataRules, check_observed, check_support

__all__ = ["check_pair", "examine"]


def check_pair(model: ProgramLike, guide: ProgramLike, batch: Batch, **extra: Any) -> None:
    """Run a pair on one batch, and raise an error that names the rule that the pair breaks.

    The rules, in the order in which they are checked: an argument has the name of its tensor and of the site that
    observes it; the guide observes nothing; model and guide have the same latents; the sites are in the plate "data",
    which has the size of the batch; shapes fit; values are in the support; log-probabilities are finite; each parameter
    gets a gradient; no site has a scale of its own; draws that are scored together, and data points that are scored
    together, have the log-probabilities that they have alone; the model generates what it scores, `model(size=16)`. The
    random state, buffers and gradients are unchanged afterwards.

    Masks (`poutine.mask`) may be there: every tool reads them. `fit` with a loss of Pyro's trains sites with a scale.

    `fit` checks the same. `pyrovae.inference.SVI` checks nothing and trains any program that Pyro's SVI trains. A guide
    may ignore the data: it is then one distribution for all data points, and its ELBO is still a bound.

    Args:
        model, guide: the pair.
        batch: named tensors, already transformed; or a tensor, an array or a data frame of numbers, which is `x`.
        extra: further arguments of the programs, such as `data_size=60_000`, for those whose signature names them.

    Raises:
        PairError, ShapeError, SupportError, NonFiniteError: the pair breaks a rule. The message names the site, what
            was got, and what to write instead.
        DataError: the batch is no named tensors.
    """
    examine(model, guide, batch, False, **extra)


def examine(
    model: ProgramLike, guide: ProgramLike, batch: Batch, may_scale: bool = False, /, **extra: Any
) -> DataRules:
    """`check_pair`, and what the values of all further data must keep.

    Args:
        model, guide, batch, extra: as in `check_pair`.
        may_scale: whether sites may have a scale of their own, which a loss of Pyro's optimises.

    Raises:
        PairError, ShapeError, SupportError, NonFiniteError: as in `check_pair`.
    """
    require_programs("check_pair", model, guide)
    batch = named_tensors("check_pair", batch, floats_of(model, guide))
    size = filled("check_pair", batch)
    undisturbed = _undisturbed(model, guide)
    with undisturbed, torch.enable_grad(), local_params(model, guide), pyro.validation_enabled(False):
        with LabelInputs(model, guide, batch=batch) as labels, owning_networks(model, guide):
            pair = _run(model, guide, batch, extra)
        check_outside(pair, size, shared=takes_data_size(model, guide))
        check_names(model, pair, batch)
        check_observed(model, pair)
        rules = DataRules.of(model, pair, batch, labels.classes)
        rules.check(batch)
        _check_latents(pair)
        check_finite(pair)
        _check_gradients(model, guide, pair)
        if not may_scale:
            check_unscaled(pair)
        _check_together(model, guide, pair, batch, extra)
        check_generates(model, pair, batch, given(pair, batch))
    return rules


@contextmanager
def _undisturbed(*programs: ProgramLike) -> Iterator[None]:
    """Restores the random state and the buffers."""
    buffers = [buffer for module in modules(*programs) for buffer in module.buffers()]
    kept = [buffer.clone() for buffer in buffers]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)


# ------------------------------------------------------------------------------------------- the run, site by site


def _run(model: ProgramLike, guide: ProgramLike, batch: Batch, extra: dict[str, Any]) -> PairTrace:
    """Run the pair, and check each site as soon as it is drawn or observed."""
    size, data_size = batch_size(batch), extra.get("data_size")
    check_arguments(model, batch)
    with _explained("guide", guide, batch), _GuideDoctor(guide, size, data_size), poutine.trace() as inner:
        call(guide, batch, **extra)
    replay, doctor = poutine.replay(trace=inner.trace), _ModelDoctor(model, size, data_size, inner.trace)
    with _explained("model", model, batch), doctor, poutine.trace() as outer, replay:
        call(model, batch, **extra)
    pair = PairTrace(inner.trace, outer.trace)
    _check_unused(pair)
    if not pair.observed():
        raise PairError(
            f"A model requires an observed site, got latent sites only: {_names(pair.model)}. Pass the data to the "
            'likelihood\'s sample, pyro.sample("x", ..., obs=x), and name the argument x.'
        )
    return pair


class _GuideDoctor(Messenger):
    """Checks plates and shapes of a guide's sites while it runs, before a network fails on them."""

    def __init__(self, program: ProgramLike, size: int, data_size: int | None) -> None:
        super().__init__()
        self.program, self.size, self.data_size = program, size, data_size

    def _pyro_post_sample(self, msg: Site) -> None:
        if site_is_subsample(msg):
            return
        if msg["is_observed"]:
            raise PairError(
                f"A guide requires latent sites only, got the observed site '{msg['name']}'. Remove obs= from its "
                "pyro.sample: only the model scores data."
            )
        check_plate("guide", self.program, msg, self.size, self.data_size)
        check_shape("guide", msg, self.size)


class _ModelDoctor(Messenger):
    """Checks plates and shapes of a model's sites while it runs, and that the guide draws its latents."""

    def __init__(self, program: ProgramLike, size: int, data_size: int | None, guide_trace: Trace) -> None:
        super().__init__()
        self.program, self.size, self.data_size, self.guide_trace = program, size, data_size, guide_trace

    def _pyro_post_sample(self, msg: Site) -> None:
        if site_is_subsample(msg):
            return
        name = msg["name"]
        if not (msg["is_observed"] or msg["infer"].get("enumerate") or name in sites(self.guide_trace)):
            raise PairError(
                f"The model's latent site '{name}' requires a site of that name in the guide, got "
                f'{_names(self.guide_trace)}. Add pyro.sample("{name}", ...) to the guide, or observe the site in the '
                f"model with obs={name}."
            )
        check_plate("model", self.program, msg, self.size, self.data_size)
        check_shape("model", msg, self.size)


def _check_unused(pair: PairTrace) -> None:
    """Every site of the guide is in the model too, unless it is marked as auxiliary."""
    for name, site in sites(pair.guide).items():
        if name not in sites(pair.model) and not site["infer"].get("is_auxiliary"):
            raise PairError(
                f"The guide's site '{name}' requires a site of that name in the model, got {_names(pair.model)}. "
                'Rename it, or write infer={"is_auxiliary": True} in its pyro.sample.'
            )


def _names(trace: Trace) -> str:
    return ", ".join(map(repr, sites(trace))) or "none"


@contextmanager
def _explained(program: str, called: ProgramLike, batch: Batch) -> Iterator[None]:
    """Replaces the shape errors of Pyro and torch by one that names the program, the shapes, and what to write."""
    try:
        with explained_arguments(called, batch):
            yield
    except (ValueError, RuntimeError) as error:
        if isinstance(error, PyrovaeError):
            raise
        if "Multiple sample sites" in str(error):
            raise PairError(
                f"The {program} requires a different name for each site, got one name twice: {error}. Rename one of "
                "the sites, and open the plate 'data' once, around all sites of a data point."
            ) from error
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in batch.items())
        hint = _hint(str(error), batch_size(batch), called)
        raise ShapeError(f"The {program} fails on a batch of {shapes}: {error}. {hint}") from error


def _hint(error: str, size: int, program: ProgramLike) -> str:
    shape = getattr(getattr(program, "likelihood", None), "params_shape", None)
    if shape is not None and "inside plate" not in error:
        return (
            f"Check the shapes that its networks were built with: the decoder emits likelihood.params_shape, {shape}, "
            "as in MLP(latent_dim, likelihood.params_shape)."
        )
    if "inside plate" not in error:
        return "Check the shapes that its networks were built with."
    if "plate('data')" in error and f", {size} vs" not in error:
        return f"Give the plate the size of the batch: {plate_line(size)}"
    return "The distribution has dimensions of one data point in its batch shape: end it with .to_event(n)."


# ------------------------------------------------------------------------------------------------ values, gradients


def _check_latents(pair: PairTrace) -> None:
    """Latents drawn by the guide are in the support of the model's distribution."""
    for name, (inner, outer) in pair.latent().items():
        drawn_from = type(innermost(inner["fn"])).__name__
        advice = f"Draw it in the guide from a distribution on that support, not from {drawn_from}."
        check_support(name, outer["fn"], inner["value"], advice)


def _check_together(
    model: ProgramLike, guide: ProgramLike, pair: PairTrace, batch: Batch, extra: dict[str, Any]
) -> None:
    """Draws and data points have the log-probabilities together that they have alone."""
    try:
        found = layout(pair)
    except PairError:  # a latent that only Pyro's TraceEnum_ELBO sums out: several draws are never scored together
        return
    rows = fitting_rows(model, guide, size=batch_size(batch))
    check_together(model, guide, {name: tensor[:rows] for name, tensor in batch.items()}, found, **extra)


def _check_gradients(model: ProgramLike, guide: ProgramLike, pair: PairTrace) -> None:
    """Every parameter that requires a gradient gets one."""
    named = _trained("model", model) | _trained("guide", guide)
    surrogate = torch.stack([unscaled_log_prob(s).sum() for trace in pair for s in sites(trace).values()]).sum()
    if not named:
        return
    gradients: tuple[Tensor | None, ...] = (None,) * len(named)
    if surrogate.requires_grad:
        gradients = torch.autograd.grad(surrogate, list(named.values()), allow_unused=True)
    idle = [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]
    if idle:
        raise PairError(
            f"A pair requires a gradient for every parameter, got none for {len(idle)} parameter(s): "
            f"{', '.join(idle[:4])}. Use them in the program, remove them, or freeze them with requires_grad_(False)."
        )


def _trained(role: str, program: ProgramLike) -> dict[str, nn.Parameter]:
    """The parameters of a program that require a gradient, by name, such as "guide.encoder.weight"."""
    named = (pair for module in modules(program) for pair in module.named_parameters())
    return {f"{role}.{name}": parameter for name, parameter in named if parameter.requires_grad}

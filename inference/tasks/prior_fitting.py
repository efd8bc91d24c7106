"""A prior after the fact: the prior that the codes of a trained pair ask for, with its networks held fixed."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from pyrovae.data import Batch, Dataset
from pyrovae.data.source import take
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError, ShapeError, SupportError
from pyrovae.inference.evidence.estimates import Estimate, Evaluation, evaluate
from pyrovae.inference.latent.codes import encode
from pyrovae.inference.latent.support import Support
from pyrovae.inference.objectives import ELBO
from pyrovae.inference.pair.contract import ProgramLike, arguments, filled, name_of
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.on_data import on_data
from pyrovae.inference.pair.running import Transform, device_of, frozen, modes_kept
from pyrovae.inference.pair.tracing import sites
from pyrovae.inference.training.fit import fit
from pyrovae.inference.training.history import History
from pyrovae.models.program import Program

__all__ = ["FittedPrior", "fit_prior"]

CODES = 5000
"""The data points at whose codes a prior starts."""


@dataclass(frozen=True, repr=False)
class FittedPrior(Shown):
    """The result of `fit_prior`; print it for a table.

    Attributes:
        model: the model with the new prior. It shares its networks with the model that was given.
        guide: the guide that was given.
        before, after: what `evaluate` finds with the former and with the new prior, of the same draws.
        history: the history of the training.
        per_datum: `gain`, the ELBO after less that before, `(N,)`.
    """

    model: nn.Module
    guide: ProgramLike
    before: Evaluation
    after: Evaluation
    history: History
    per_datum: dict[str, Tensor]

    @property
    def gain(self) -> Estimate:
        """The mean gain of the ELBO, in nats per data point, and its standard error over draws and data points."""
        gain = self.per_datum["gain"]
        return Estimate(gain.mean().item(), (gain.std() / len(gain) ** 0.5).item())

    def cells(self) -> Cells:
        names = ("elbo", "rate", "distortion", "log_evidence")
        rows = [(name, str(getattr(self.before, name)), str(getattr(self.after, name))) for name in names]
        head, after = ("", "former prior", type(self.model.prior).__name__), f"gain of the ELBO {self.gain}"
        lines = [f"{after}, {self.after.num_samples} draws, nats per data point"]
        if self.gain.value < -2 * self.gain.error:
            lines.append("The new prior is worse than the former one: keep the model that was given.")
        return Cells(rows, head, after=lines)


def fit_prior(
    model: nn.Module,
    guide: ProgramLike,
    data: Any,
    prior: nn.Module,
    *,
    test: Batch | None = None,
    epochs: int = 30,
    batch_size: int = 128,
    valid: Batch | None = None,
    optim: Any = None,
    transform: Transform | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    patience: int | None = None,
    num_samples: int = 100,
    seed: int = 0,
    compile: bool | Literal["beside"] | None = None,
    progress: bool = False,
) -> FittedPrior:
    """Fit a prior to the codes of a trained pair, and tell how many nats it gains.

    The prior maximises E log p(z) over z ~ q(z | x) and the data, which is the part of the ELBO that depends on it. Its
    optimum is the aggregate posterior, the mean of q(z | x) over the data: the gain is at most KL(aggregate || former
    prior). All other weights are held fixed, in evaluation mode, so the posterior, the distortion and the
    reconstructions stay as they are, and only `generate` and the rate change.

    Args:
        model, guide: the pair. The model has its prior as the attribute `prior`; it stays as it is.
        data: as in `fit`.
        prior: the new prior, such as `MixtureOfNormals`, `FlowPrior`, or a `VampPrior` over `guide.given`. It is
            trained in place. One with a method `start`, from codes `(N, D)`, starts there.
        test: the data on which the gain is measured; by default the test split of a `Dataset`, or else the training
            data.
        epochs, batch_size, valid, scheduler, patience, seed, compile, progress: as in `fit`.
        optim: as in `fit`; Adam at 3e-3 by default.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        num_samples: the draws of each data point for the gain.

    Raises:
        PairError: the model has no `prior`, or the new one has no parameters.
        ShapeError: a draw of the new prior has another shape than the latent.
        SupportError: the new prior has another support, such as all numbers where the latent is on a sphere.

    References: Hoffman & Johnson (2016), ELBO surgery; Tomczak & Welling (2018), arXiv:1705.07120; Ghosh et al. (2020),
        arXiv:1903.12436, for priors fitted after the training.
    """
    renewed, device = _renewed(model, prior), device_of(model, guide)
    prior.to(device)
    train = entered("fit_prior", data.train if isinstance(data, Dataset) else data, transform, model, guide)
    scored = test if test is not None else data.test if isinstance(data, Dataset) else data
    latent = _check_prior(model, renewed, guide, train, transform)
    if hasattr(prior, "start"):
        step = -(-filled("fit_prior", train) // CODES)
        some = take(train, torch.arange(0, filled("fit_prior", train), step))
        cast(Any, prior).start(encode(model, guide, some, transform=transform, mean=False, seed=seed)[latent])
    with _held(model, guide):
        history = fit(
            _Around(renewed, prior),
            _Around(guide),
            data,
            epochs=epochs,
            batch_size=batch_size,
            valid=valid,
            optim=optim or (torch.optim.Adam, {"lr": 3e-3}),
            loss=ELBO(),
            transform=transform,
            scheduler=scheduler,
            patience=patience,
            seed=seed,
            device=device,
            compile=compile,
            progress=progress,
        )
    before, after = (
        evaluate(one, guide, scored, num_samples=num_samples, transform=transform, seed=seed)
        for one in (model, renewed)
    )
    gain = after.per_datum["elbo"] - before.per_datum["elbo"]
    return FittedPrior(renewed, guide, before, after, history, {"gain": gain})


def _renewed(model: nn.Module, prior: nn.Module) -> nn.Module:
    """The model with another prior, and the networks of the one that is given."""
    if not isinstance(getattr(model, "prior", None), nn.Module):
        raise PairError(
            f"fit_prior requires a model with an attribute prior, a module, got {name_of(model)} without. Write "
            "VAE(prior, likelihood, decoder), or z = pyro.sample('z', self.prior()) in a Program of your own."
        )
    if not any(parameter.requires_grad for parameter in prior.parameters()):
        raise PairError(
            f"fit_prior requires a prior with parameters, got {type(prior).__name__}. Write "
            "priors.MixtureOfNormals(dim, 100)."
        )
    renewed = copy.deepcopy(model, {id(child): child for child in model.children()})
    renewed.prior = prior
    return renewed


def _check_prior(model: nn.Module, renewed: nn.Module, guide: ProgramLike, data: Any, transform: Any) -> str:
    """The name of the latent that the prior draws, where the new prior has its shape and its support."""
    with on_data("fit_prior", model, guide, data, transform, single=True) as pair:
        former, new = (cast(Any, one.prior)() for one in (model, renewed))
        drawn = pair.traces.latent()
        alike = [n for n, site in sites(pair.traces.model).items() if site["fn"].event_shape == former.event_shape]
        first = next(name for name in alike if name in drawn)
    if former.event_shape != new.event_shape:
        raise ShapeError(
            f"fit_prior requires a prior of event shape {tuple(former.event_shape)}, got "
            f"{type(renewed.prior).__name__} of {tuple(new.event_shape)}. Build it with that dim."
        )
    kinds = [Support.of(one, guide, data, first, transform).kind for one in (model, renewed)]
    if kinds[0] != kinds[1]:
        raise SupportError(
            f"fit_prior requires a prior with the support of '{first}', {kinds[0]}, got {type(renewed.prior).__name__} "
            f"with {kinds[1]}. Write a prior whose distribution has that support."
        )
    return first


@contextmanager
def _held(*programs: ProgramLike) -> Iterator[None]:
    """Inside, the weights of the programs require no gradient, and their modules are in evaluation mode."""
    with modes_kept(*programs) as owned, frozen(*programs):
        for module in owned:
            module.training = False
        yield


class _Around(Program):
    """A program that owns only those modules of another that are trained; the others keep their weights and modes."""

    def __init__(self, program: ProgramLike, prior: nn.Module | None = None) -> None:
        super().__init__()
        self._program = (program,)  # the tuple keeps its modules from being registered
        self.prior = prior

    def forward(
        self, x: Tensor | None = None, *, size: int | None = None, data_size: int | None = None, **given: Any
    ) -> Any:
        (program,) = self._program
        named = arguments(program)
        offered = {"x": x, "size": size, "data_size": data_size, **given}
        return program(**{name: value for name, value in offered.items() if named is None or name in named})

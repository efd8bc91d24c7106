"""`fit`: train a (model, guide) pair by stochastic variational inference. The one training loop."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro.infer import Trace_ELBO

from pyrovae.data import Batch, Scale
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import seeded
from pyrovae.inference.training.device import choose_device
from pyrovae.inference.training.history import History
from pyrovae.inference.training.loop import Batches, Training
from pyrovae.inference.training.svi import SVI

__all__ = ["fit"]


COMPILE_FROM_STEPS = 1500

"""Steps of a training from which compiling pays: 20 s of Pyro's handlers, on two cores."""


def fit(
    model: ProgramLike,
    guide: ProgramLike,
    data: Any,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    batches: Batches | None = None,
    valid: Batch | None = None,
    optim: Any = None,
    loss: Any = None,
    transform: Callable[[Any], Any] | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    average: float = 0.0,
    seed: int = 0,
    device: str | torch.device = "auto",
    run: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    compile: bool | None = None,
    precision: str = "fp32",
) -> History:
    """Train a pair by SVI, and return its history. The pair is trained in place.

    Args:
        model, guide: any pair that keeps the contract; it is checked on the first batch.
        data: named tensors whose leading dimension is the datum, or a `pyrovae.data.Dataset`.
        epochs: passes over the data, those before a resume counted in.
        batch_size: data per step; the last batch of an epoch may be smaller.
        batches: from a generator of random numbers to the rows of each step of an epoch, `data.ByLength(...)`; by
            default `batch_size` random ones.
        valid: validation data; those of the Dataset by default.
        optim: a torch optimizer class, `(class, arguments)`, a `partial` of a class, or a `pyro.optim` wrapper of a
            torch optimizer; Adam at 1e-3 by default.
        loss: an `Objective`, or a Pyro ELBO; `Trace_ELBO()` by default.
        transform: applied to each batch on the device; `Scale()` by default, or `Binarize()`.
        scheduler: `optimizer -> torch scheduler`, stepped once per epoch.
        clip_norm: the gradients' norm is clipped to it.
        patience: stop after so many epochs without a higher validation ELBO, and put the best weights back.
        average: validate, and end with, a running mean of the weights after each epoch, which keeps this much of itself
            (0.95, some twenty epochs); the steps go on from the weights themselves. 0 for none.
        seed: of the order of the data and all random draws; the global random state is left alone.
        device: "auto" takes cuda, then mps, then cpu.
        run: a folder for `metrics.csv`, `metrics.json`, `config.json` and `checkpoint.pt`, written every epoch.
        resume: continue from the checkpoint in `run`, bit for bit; without one, start. Seed, batch size, number of
            data, optimizer with its settings, kind of scheduler and average must be the same.
        progress: show a bar.
        compile: compiled steps (`pyrovae.inference.SVI`); by default in a training of `COMPILE_FROM_STEPS` or more,
            which earns their compilation back.
        precision: "fp32", or "bf16" for matrix products in bfloat16.

    Raises:
        PairError, ShapeError, SupportError: the pair breaks the contract on the first batch.
        NonFiniteError: the loss is NaN or infinite; the site and the batch are named, the last good checkpoint stays.
        CheckpointError: `resume` from a checkpoint of another architecture, or of other settings.
        OutputError: the run folder cannot be written.
        KeyboardInterrupt: Ctrl-C, after the step has ended and the checkpoint is written.
    """
    where = choose_device(device)
    training = Training(
        model=model,
        guide=guide,
        train=_split(data, "train"),
        valid=_split(data, "valid") if valid is None else valid,
        transform=transform or Scale(),
        batch_size=batch_size,
        batches=batches,
        seed=seed,
        device=where,
        patience=patience,
        average=average,
        run=None if run is None else Path(run),
        streamed=getattr(data, "streamed", False),
    )
    with seeded(seed, where), pyro.validation_enabled(False):
        training.check()
        if compile is None:
            compile = epochs * len(training.order(0)) >= COMPILE_FROM_STEPS
        training.svi = SVI(
            model,
            guide,
            optim or torch.optim.Adam,
            loss or Trace_ELBO(),
            compile=compile,
            precision=precision,
            clip_norm=clip_norm,
        )
        # The first run of the pair finds its parameters, and the optimizer is made for them.
        training.svi.prepare_batch(training.train, training.order(0)[0][None], training.step_transform)
        if not isinstance(training.svi.optimizer, torch.optim.Optimizer):
            raise PairError(
                "fit wants a torch optimizer, which a checkpoint can hold, got "
                f"{type(training.svi.optimizer).__name__}. Write optim=partial(torch.optim.Adam, lr=1e-3), or take "
                "steps with SVI(...).step."
            )
        training.optimizer = training.svi.optimizer
        training.scheduler = scheduler(training.optimizer) if scheduler else None
        training.start(resume)
        return training.train_until(epochs, progress)


def _split(data: Any, name: str) -> Batch:
    if isinstance(data, Mapping):
        return data if name == "train" else {}
    return getattr(data, name)

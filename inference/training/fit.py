"""`fit`: train a (model, guide) pair by stochastic variational inference."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import pyro
import torch
from torch.optim import Adam

from pyrovae.checks import check_choice, check_count, check_fraction, check_positive
from pyrovae.data import Batch, Scale
from pyrovae.errors import SettingError
from pyrovae.inference.objectives.objective import Objective
from pyrovae.inference.pair.contract import ProgramLike, modules
from pyrovae.inference.pair.memory import enough_memory
from pyrovae.inference.pair.running import seeded
from pyrovae.inference.processes.faults import together
from pyrovae.inference.processes.launch import current, launched
from pyrovae.inference.processes.processes import Processes
from pyrovae.inference.training.amount import Amount
from pyrovae.inference.training.averaging import RunningMean
from pyrovae.inference.training.callbacks import Callback, Callbacks
from pyrovae.inference.training.checked import check_batches
from pyrovae.inference.training.device import choose_device
from pyrovae.inference.training.history import History
from pyrovae.inference.training.loop import Loop
from pyrovae.inference.training.optimizers import Whole
from pyrovae.inference.training.patience import Patience
from pyrovae.inference.training.processes import OverProcesses
from pyrovae.inference.training.run_folder import RunFolder
from pyrovae.inference.training.starting import start_together
from pyrovae.inference.training.stream_data import StreamData
from pyrovae.inference.training.svi import SVI
from pyrovae.inference.training.training_data import Batches, TrainingData

__all__ = ["COMPILE_FROM_STEPS", "fit"]

COMPILE_FROM_STEPS = 1500
"""A training of so many steps is compiled by default: it earns the time of compiling back."""


def fit(
    model: ProgramLike,
    guide: ProgramLike,
    data: Any,
    *,
    epochs: int | None = None,
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
    overwrite: bool = False,
    progress: bool = True,
    compile: bool | Literal["beside"] | None = None,
    precision: str = "fp32",
    devices: int = 1,
    num_nodes: int = 1,
    strategy: Literal["auto", "ddp"] = "auto",
    callbacks: Sequence[Callback] = (),
    steps: int | None = None,
    steps_per_epoch: int = 100,
    data_size: int | None = None,
) -> History:
    """Train a pair by SVI, and return its history. The pair is trained in place.

    On several processes each takes its share of every batch, and the losses, the weights and the validation are those
    of one process, to float error: docs/scale.md explains how. Process 0 alone writes the run folder and shows a bar.

    Args:
        model, guide: any pair that keeps the contract; `check_pair` checks it on the first batch.
        data: named tensors that share their leading dimension, one entry for each data point; a tensor, an array or a
            data frame of numbers, which is `x`; a `pyrovae.data.Dataset`; or data larger than memory, a
            `pyrovae.data.Source` or a `datasets.Dataset`, whose rows are read where they are needed. With `steps`, a
            stream: an iterable of batches, or a `datasets.IterableDataset` of rows.
        epochs: passes over the data, those before a resume included; 10 by default.
        batch_size: data points per step; the last batch of an epoch may be smaller. A stream of batches has its own.
        batches: from a generator of random numbers to the rows of each step of an epoch, such as `data.ByLength(...)`;
            by default random batches of `batch_size`.
        valid: validation data; those of the Dataset by default.
        optim: a torch optimizer class, `(class, arguments)`, a `partial` of a class, a `pyro.optim` wrapper of a torch
            optimizer, or an instance that has all parameters of the pair; Adam at 1e-3 by default. Parameters that
            `requires_grad_(False)` has frozen need no optimizer.
        loss: an `Objective`, or a Pyro ELBO; `Trace_ELBO()` by default.
        transform: applied to each batch on the device; `Scale()` by default, or `Binarize()`.
        scheduler: `optimizer -> torch scheduler`, stepped once per epoch.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
        patience: stop after so many epochs without a higher validation ELBO, and restore the best weights. A loss that
            weighs several draws, such as IWAE, is judged by its own bound on the log-evidence.
        average: decay of a moving average of the weights over epochs; 0.95 averages about twenty, 0 is no average. The
            average is validated, and ends the training. Steps start from the weights themselves.
        seed: of the order of the data and all random draws; the global random state is left alone.
        device: "auto" takes the first of cuda, mps and cpu that is there.
        run: a folder for `metrics.csv`, `metrics.json`, `config.json` and `checkpoint.pt`, written every epoch, and
            `pair.json`, by which `pyrovae.load_run` builds the pair again. It must hold no run, unless `resume` or
            `overwrite` says what becomes of it, and one process trains in it at a time.
        resume: continue from the checkpoint in `run`, bit for bit. Data, pair, loss, transform and all settings but
            `epochs`, `patience`, `compile` and `progress` must be the same.
        overwrite: replace the run that is in `run`.
        progress: show a bar.
        compile: `"beside"` compiles while the first 512 steps run without a graph (see `pyrovae.inference.SVI`), True
            before the first step, False never. None is "beside" for a training of `COMPILE_FROM_STEPS` steps or more,
            and False for a shorter one.
        precision: "fp32", or "bf16" for matrix products and convolutions in bfloat16.
        devices: processes on each machine, each of which takes a GPU, or computes on CPUs. More than one start the
            script again for each, by Lightning Fabric (`pip install 'pyrovae[scale]'`). A script that torchrun or
            `fabric run` has started trains on the processes that are there.
        num_nodes: machines.
        strategy: how they are started; "auto" and "ddp" are the same: each process runs the script, and holds all data
            and weights.
        callbacks: functions of an `EpochReport`, called in their order after each epoch, once its checkpoint is
            written. One may raise `StopTraining`; any other error ends the training too, and is raised. They leave the
            random numbers and modes as they were. One that is a context manager is entered around the training. On
            several processes each calls them.
        steps: in place of `epochs`, for a stream: how many batches to train on, those before a resume included. A
            stream with `state_dict` and `load_state_dict` resumes where it was, and is required where `run` is given.
        steps_per_epoch: what counts as an epoch of a stream: so often it is validated, and its checkpoint written.
        data_size: the number of all data points of a stream, which programs get that name `data_size`.

    Raises:
        PairError, ShapeError, SupportError: the pair breaks the contract on the first batch, has no parameters, or some
            that the optimizer lacks; or the data have a label that it does not know.
        NonFiniteError: data in memory have NaN or infinite values; or the loss is NaN or infinite, or a weight, after a
            gradient that was not finite: the site and the rows of the data are named, the weights are those of the
            start of the epoch, and the last good checkpoint stays.
        SettingError: a setting has no meaning; `resume` without `run`; a stream that cannot resume, with `run`.
        DataError: a stream ends early, or gives batches that are not like the first one.
        CheckpointError: `resume` where there is no run, from a broken checkpoint, or from one of other settings.
        OutOfMemoryError: a batch needs more memory than there is.
        ThreadError: another thread of this process runs a pair.
        ProcessError: another of several processes has ended or failed; it is named, and the last checkpoint stays.
        MissingExtraError: several processes without Lightning Fabric.
        OutputError: the run folder holds another run, is in use, or cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the step has ended and the checkpoint is written.
    """
    _check_settings(clip_norm, patience, average)
    amount = Amount(epochs, batch_size, batches, steps, steps_per_epoch, data_size)
    folder, seen = _folder(run, resume=resume, overwrite=overwrite), Callbacks(callbacks)
    where = launched(devices, num_nodes, strategy, choose_device(device)).device or choose_device(device)
    prepared = amount.prepared(model, guide, data, valid, transform or Scale(), seed=seed, device=where, run=folder)
    waiting, mean = Patience(patience, validated=bool(prepared.valid)), RunningMean(average)
    with _around(model, guide, prepared, folder, loss) as reduce:
        how = _compiled(compile, amount.total * len(prepared.first_epoch))
        optim = Whole(Adam if optim is None else optim)
        svi = SVI(model, guide, optim, loss, compile=how, precision=precision, clip_norm=clip_norm, reduce=reduce)
        return _trained(svi, prepared, waiting, mean, scheduler, folder, seen, amount.total, progress)


@contextmanager
def _around(
    model: ProgramLike, guide: ProgramLike, data: TrainingData | StreamData, folder: RunFolder | None, loss: Any
) -> Iterator[OverProcesses | None]:
    """Around a training: the run folder is held, the random state is that of the seed, and the pair is checked.

    It gives how several processes share the steps; None for a single one.
    """
    processes = current()
    _place(model, guide, data.device)
    enough = enough_memory(f"Write batch_size={max(1, data.batch_size // 2)} or less.")
    held, unchecked = _held(folder, processes), pyro.validation_enabled(False)
    with together(processes), enough, held, seeded(data.seed, data.device), unchecked:
        check_batches(model, guide, data, may_scale=not (loss is None or isinstance(loss, Objective)))
        yield None if processes.alone else OverProcesses(processes)


def _trained(
    svi: SVI,
    data: TrainingData | StreamData,
    patience: Patience,
    average: RunningMean,
    scheduler: Any,
    folder: RunFolder | None,
    callbacks: Callbacks,
    epochs: int,
    progress: bool,
) -> History:
    svi.prepare_batch(data.train, data.first_epoch[0][None], data.step_transform)
    folder = folder if current().main else None
    loop = Loop(svi, data, patience, average, scheduler=scheduler, run=folder, callbacks=callbacks)
    with callbacks.entered(), closing(svi):
        start_together(loop, {"epochs": epochs, "patience": patience.epochs})
        if folder is not None:
            folder.describe(svi.model, svi.guide, data.given, data.transform)
        return loop.run(epochs, progress)


def _folder(run: str | Path | None, *, resume: bool, overwrite: bool) -> RunFolder | None:
    """The run folder of a training; None where it has none."""
    check_choice("resume", resume, (False, True))
    check_choice("overwrite", overwrite, (False, True))
    if resume and run is None:
        raise SettingError('resume=True requires a run folder, got run=None. Write run="runs/mine", resume=True.')
    return None if run is None else RunFolder(Path(run), resume=resume, overwrite=overwrite)


@contextmanager
def _held(folder: RunFolder | None, processes: Processes) -> Iterator[None]:
    """Inside, the folder belongs to this training; where process 0 cannot have it, no process trains."""
    with ExitStack() as stack:
        if folder is not None:
            processes.agreed(lambda: stack.enter_context(folder.held()) if processes.main else None)
        yield


def _check_settings(clip_norm: float | None, patience: int | None, average: float) -> None:
    check_fraction("average", average)
    if clip_norm is not None:
        check_positive("clip_norm", clip_norm)
    if patience is not None:
        check_count("patience", patience)


def _compiled(compile: bool | Literal["beside"] | None, steps: int) -> bool | Literal["beside"]:
    if compile is not None:
        return compile
    return "beside" if steps >= COMPILE_FROM_STEPS else False


def _place(model: ProgramLike, guide: ProgramLike, device: torch.device) -> None:
    for module in modules(model, guide):
        module.to(device).train()

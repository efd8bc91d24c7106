"""Training by the flags: the data, the schedule of the learning rate, and what a training leaves."""

import argparse
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from pyrovae import data
from pyrovae.data import Batch, Dataset, Transform
from pyrovae.errors import DataError
from pyrovae.inference import History, Linear, fit, load_weights
from pyrovae.inference.pair.contract import ProgramLike, modules
from pyrovae.inference.training.callbacks import Callback
from pyrovae.inference.training.checkpoint import has_run, load
from pyrovae.inference.training.device import choose_device
from pyrovae.inference.training.training_state import history_of
from pyrovae.tracking import tracker

__all__ = [
    "HalfCosine",
    "Trained",
    "load_data",
    "rising_weight",
    "schedule",
    "starting",
    "train",
    "transform_for",
]


Kind = Literal["numbers", "images", "sentences", "bags", "sequences"]
"""What data points are."""

WRITE = {
    "numbers": "--data digits, or a table: --data table.csv",
    "images": "--data digits, or --data folder:PATH",
    "sentences": "--data unicode-names, or --data lines.txt",
    "bags": "--data docstrings, or --data corpus.tsv",
    "sequences": "--data chords",
}
"""Data of each kind, for the error."""


@dataclass(frozen=True)
class Trained:
    """A trained pair, its data, and the record of its training.

    Attributes:
        model, guide: the pair.
        data: the data set.
        test: its test split, as the transform prepares it.
        transform: what training applied to a batch.
        history: the history of the training.
        seconds: the time of the training, with that before a resume.
        device: where the pair is.
    """

    model: nn.Module
    guide: Any
    data: Dataset
    test: Batch
    transform: Transform
    history: History
    seconds: float
    device: torch.device

    @property
    def log_jacobian(self) -> float:
        """What a log-density of the transformed data gains in the units of the data; 0 unless they are standardised."""
        return self.transform.log_jacobian if isinstance(self.transform, data.Standardize) else 0.0


def load_data(flags: argparse.Namespace, *, kind: Kind = "numbers", labels: bool = False) -> Dataset:
    """Load the data set that the flags name, and print a line on it.

    Args:
        flags: the flags of the script.
        kind: what the script can take; images are numbers too.
        labels: whether the script requires labels, or other tensors beside `x`.

    Raises:
        DataError: the data are of another kind, or lack labels.
    """
    level = getattr(flags, "level", None)  # text has it
    sizes: dict[str, Any] = {"valid": flags.valid, "test": flags.test, "size": flags.image_size}
    dataset = data.load(flags.data, flags.root, level=level, max_bytes=flags.max_bytes, **sizes)
    print(f"data    {dataset.describe()}")
    found = _kind_of(dataset)
    if found != kind and (found, kind) != ("images", "numbers"):
        raise DataError(f"This example requires {kind}, got {found}: {flags.data}. Write {WRITE[kind]}.")
    if labels and len(dataset.train) < 2:
        raise DataError(
            f"This example requires labels, got {flags.data} without. Write --data digits, or give your data an array "
            "or a column y."
        )
    return dataset


def _kind_of(dataset: Dataset) -> Kind:
    """What the data points of a data set are."""
    if dataset.vocabulary is not None:
        return "bags" if dataset.train["x"].is_floating_point() else "sentences"
    if "within" in dataset.train:
        return "sequences"
    return "images" if dataset.train["x"].dim() == 4 else "numbers"


def transform_for(likelihood: str, split: Batch, flags: argparse.Namespace) -> Transform:
    """The transform that a likelihood requires: bits, standardised columns of a table, or numbers in [0, 1].

    Args:
        likelihood: its name; `bernoulli` requires bits, `normal` takes any numbers.
        split: training data, which standardised columns get mean and scale from.
        flags: the flags of the script.
    """
    if likelihood == "bernoulli":
        return data.Binarize(flags.binarize, seed=flags.seed)
    x = split["x"]
    table = likelihood == "normal" and x.dim() == 2 and x.dtype != torch.uint8
    return data.Standardize.of(x) if table else data.Scale()


def starting(split: Batch, transform: Transform) -> Tensor:
    """Training data at which a likelihood starts: an excerpt, standardised where the transform does so.

    Args:
        split: training data.
        transform: applied to each batch.
    """
    x = data.excerpt(split["x"])
    return transform({"x": x})["x"] if isinstance(transform, data.Standardize) else x


def train(
    model: nn.Module,
    guide: ProgramLike,
    transform: Transform,
    dataset: Dataset,
    flags: argparse.Namespace,
    *,
    loss: Any = None,
    optim: Any = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    batches: Any = None,
    callbacks: Sequence[Callback] = (),
) -> Trained:
    """Train a pair by the flags, into the run folder `flags.out`. The pair is trained in place.

    Args:
        model, guide: the pair.
        transform: applied to each batch.
        dataset: its training split is trained on; its validation split tells when to stop.
        flags: the flags of the script.
        loss, optim, scheduler, batches: as in `fit`; by default the ELBO, AdamW, the schedule of the flags, and random
            batches.
        callbacks: as in `fit`, before the tracker of the flags.
    """
    device = choose_device(flags.device)
    count = sum(p.numel() for p in {p for part in modules(model, guide) for p in part.parameters()})
    names = " and ".join(getattr(part, "__name__", type(part).__name__) for part in (model, guide))
    print(f"pair    {names}, {count:,} parameters, on {device}")
    test = transform.prepare(dataset.test)
    settings = _settings(flags)
    if settings["resume"]:
        print(f"resume  {flags.out}, which stopped {_stopped(flags.out)}")
    if flags.start:
        load_weights(model, guide, flags.start)
    history = fit(
        model,
        guide,
        dataset,
        transform=transform,
        loss=loss,
        optim=optim or (torch.optim.AdamW, {"lr": flags.lr, "weight_decay": flags.weight_decay}),
        scheduler=scheduler or schedule(flags.schedule, flags.epochs),
        batches=batches,
        device=device,
        callbacks=[*callbacks, *([tracker(flags.track, flags.out)] if flags.track else [])],
        **settings,
    )
    return Trained(model, guide, dataset, test, transform, history, history.seconds, device)


def _settings(flags: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `fit` that the flags alone determine."""
    names = ("epochs", "batch_size", "patience", "average", "clip_norm", "seed", "overwrite", "compile", "precision")
    resume = flags.resume and has_run(flags.out)  # a script of several runs may have been stopped before this one
    return {name: getattr(flags, name) for name in names} | {
        "run": flags.out,
        "resume": resume,
        "progress": not flags.quiet,
    }


def _stopped(folder: Path) -> str:
    """Where the run in a folder stopped: after an epoch, or within one."""
    with warnings.catch_warnings(action="ignore"):  # fit repeats what is wrong with the checkpoint
        state = load(folder / "checkpoint.pt")
    epochs, steps = len(history_of(state).rows), state.get("losses")
    return f"after step {len(steps)} of epoch {epochs + 1}" if steps else f"after epoch {epochs}"


def schedule(name: str, epochs: int) -> Callable[[torch.optim.Optimizer], LambdaLR] | None:
    """The scheduler that `fit` takes: None for a constant learning rate, or half a cosine that ends at 0.

    Args:
        name: one of `SCHEDULES`.
        epochs: passes over the training data.
    """
    return partial(HalfCosine, epochs=epochs) if name == "cosine" else None


class HalfCosine(LambdaLR):
    """Half a cosine from the optimizer's learning rate to 0. A run resumed with more epochs follows their cosine.

    Args:
        optimizer: the optimizer.
        epochs: the epochs that the half cosine takes.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, epochs: int) -> None:
        super().__init__(optimizer, lambda epoch: (1 + math.cos(math.pi * min(epoch / max(epochs, 1), 1))) / 2)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group, factor in zip(self.optimizer.param_groups, self.lr_lambdas, strict=True):
            group["lr"] = group["initial_lr"] * factor(self.last_epoch)


def rising_weight(dataset: Dataset, flags: argparse.Namespace, *, epochs: int, start: float = 0.0) -> float | Linear:
    """The weight of the rate: it rises from `start` to 1.

    Args:
        dataset: the data set; its training split and the batch size give the steps of an epoch.
        flags: the flags of the script.
        epochs: the epochs in which the weight rises; 0 makes it 1 from the first step.
        start: the weight at the first step.
    """
    steps = epochs * math.ceil(len(dataset.train["x"]) / flags.batch_size)
    return Linear(start, 1.0, steps) if steps else 1.0

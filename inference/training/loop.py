"""Loop."""

import copy
import dataclasses
import json
import math
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import CheckpointError, NonFiniteError, PairError
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.objectives.objective import Tracked
from pyrovae.inference.pair.contract import ProgramLike, batch_size, local_params, modules, takes
from pyrovae.inference.pair.doctor import check_finite, check_pair
from pyrovae.inference.pair.running import numbers
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.inference.training import checkpoint
from pyrovae.inference.training.averaging import averaged
from pyrovae.inference.training.history import History
from pyrovae.inference.training.svi import SVI
from pyrovae.version import __version__

__all__ = ["Batches", "Training"]

Batches = Callable[[torch.Generator], Sequence[Tensor]]
"""What draws the order of an epoch: the rows `(B,)` of each of its steps."""


PLAIN = (Trace_ELBO, TraceGraph_ELBO, TraceEnum_ELBO)  # their loss is minus the ELBO


@dataclass(frozen=True)
class WithDataSize:
    """Gives programs with latents of all data the `data_size` that their signature names."""

    transform: Callable[[Any], Any]
    size: int

    def __call__(self, batch: Any) -> Any:
        return {**self.transform(batch), "data_size": self.size}


@dataclass
class Training:
    """The state of one training, and what advances it."""

    model: ProgramLike
    guide: ProgramLike
    train: Batch
    valid: Batch
    transform: Callable[[Any], Any]
    batch_size: int
    seed: int
    device: torch.device
    patience: int | None
    average: float
    run: Path | None
    batches: Batches | None = None
    streamed: bool = False
    history: History = field(default_factory=History)
    losses: list[float] = field(default_factory=list)  # of the steps of the epoch that is under way
    tracked: list[float] = field(default_factory=lambda: [0.0, 0.0])  # sum of ELBOs in that epoch, number of data
    mean: dict[str, Any] | None = None  # of the weights, with `average`
    best: dict[str, Any] | None = None  # the weights to end with, if not the last
    interrupted: bool = False
    svi: SVI = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    scheduler: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.size = batch_size(self.train) if self.train else 0
        if self.size == 0:
            raise PairError('fit wants training data, got none. Pass {"x": x}, or a Dataset with a train split.')
        if not self.valid or batch_size(self.valid) == 0:
            self.valid = {}
        if self.patience is not None and not self.valid:
            raise PairError("patience wants validation data. Pass valid={'x': x}, or leave patience out.")
        if not 0 <= self.average < 1:
            raise PairError(f"fit wants 0 <= average < 1, got {self.average}. 0.95 is a start, 0 is without.")
        # A program that knows the size of the data has the loss of all of them.
        self.scaled = takes(self.model, "data_size") or takes(self.guide, "data_size")
        for module in modules(self.model, self.guide):
            module.to(self.device).train()
        self.step_transform = WithDataSize(self.transform, self.size) if self.scaled else self.transform
        self.train, self.valid = self._place(self.train), self._place(self.valid)

    def _place(self, split: Batch) -> Batch:
        """Tensors on the device, but for a data set that is streamed from a file."""
        prepared = self.transform.prepare(dict(split)) if split and hasattr(self.transform, "prepare") else split
        return {name: tensor if self.streamed else tensor.to(self.device) for name, tensor in prepared.items()}

    def gather(self, rows: Tensor) -> Batch:
        """Those rows of the training data, on the device."""
        return {n: t[rows.to(t.device)].to(self.device) for n, t in self.train.items()}

    def check(self) -> None:
        check_pair(self.model, self.guide, self.transform(self.gather(self.order(0)[0])), data_size=self.size)

    def order(self, epoch: int) -> list[Tensor]:
        """The rows of each step of an epoch: of seed and epoch alone, so that a resumed run repeats it."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        if self.batches is not None:
            return list(self.batches(generator))
        return list(torch.randperm(self.size, generator=generator).split(self.batch_size))

    def start(self, resume: bool) -> None:
        """Continue from the checkpoint, or write the first one."""
        if resume and self.run and self.file.exists():
            self.load_state(checkpoint.load(self.file, self.device))
        elif self.run:
            self.save()
            config = self.config() | _versions() | {"model": repr(self.model), "guide": repr(self.guide)}
            _write_text(self.run / "config.json", json.dumps(config, indent=2))

    def train_until(self, epochs: int, progress: bool) -> History:
        """Train until `epochs` are done, patience ends, or Ctrl-C."""
        with _ctrl_c(self), self.bar(epochs, progress) as bar:
            while len(self.history.rows) < epochs and self.history.stopped == "epochs":
                self.epoch(bar)
        if self.best is not None:
            self.load_weights(self.best)
        return self.history

    def bar(self, epochs: int, progress: bool) -> Any:
        from tqdm import tqdm

        per_epoch = len(self.order(0))
        done = per_epoch * len(self.history.rows) + len(self.losses)
        return tqdm(total=per_epoch * epochs, initial=done, disable=not progress, unit="step", dynamic_ncols=True)

    def epoch(self, bar: Any) -> None:
        order = self.order(len(self.history.rows))
        while len(self.losses) < len(order):
            taken = self.steps(order[len(self.losses) :])
            bar.update(taken)
            bar.set_postfix_str(self.line(), refresh=False)
            if self.interrupted:
                self.interrupt()
        self.end_epoch(order)
        bar.set_postfix_str(self.line())

    def steps(self, order: list[Tensor]) -> int:
        """The next updates, several small ones in one call; returns how many."""
        ahead = order[: max(1, min(64, 2**20 // (numbers(self.train) * self.batch_size)))]
        rows = torch.stack([*takewhile(lambda step: len(step) == len(ahead[0]), ahead)])
        losses = self.svi.run(self.train, len(rows), order=rows, transform=self.step_transform).tolist()
        for step, loss in zip(ahead, losses, strict=False):
            if not math.isfinite(loss):
                self.explain(step, loss)
            self.losses.append(loss / (self.size if self.scaled else len(step)))
        if isinstance(self.svi.loss, Tracked):
            self.tracked = [old + new for old, new in zip(self.tracked, self.svi.loss.collect(), strict=True)]
        return len(rows)

    def explain(self, rows: Tensor, loss: float) -> None:
        """Name the site that made the loss of those rows not finite; the weights are the last good ones."""
        where = f"epoch {len(self.history.rows) + 1}, step {len(self.losses) + 1}, rows {rows[:5].tolist()}...: "
        try:
            with local_params(self.model, self.guide), pyro.validation_enabled(False), torch.no_grad():
                check_finite(trace_pair(self.model, self.guide, self.transform(self.gather(rows)), data_size=self.size))
        except NonFiniteError as error:
            raise NonFiniteError(where + str(error)) from None
        raise NonFiniteError(
            f"{where}the loss was {loss}, and with fresh noise every site is finite. A gradient or a rare draw "
            "did it: lower the learning rate, or clip_norm=10."
        )

    def end_epoch(self, order: list[Tensor]) -> None:
        row: dict[str, float] = {
            "epoch": len(self.history.rows) + 1,
            "step": len(order) * (len(self.history.rows) + 1),
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "loss": float(np.average(self.losses, weights=[len(rows) for rows in order])),
        }
        row |= self.train_elbo(row["loss"])
        with self.at_mean():
            row |= self.validate()
            self.history.rows.append(row)
            self.keep_best(row)
        self.losses, self.tracked = [], [0.0, 0.0]
        if self.scheduler is not None:
            self.scheduler.step()
        if self.run:
            self.save()
            _write_text(self.run / "metrics.csv", self.history.csv())
            _write_text(self.run / "metrics.json", json.dumps(self.history.rows, indent=1))

    @contextmanager
    def at_mean(self) -> Iterator[None]:
        """The running mean in the place of the weights, with `average`."""
        if not self.average:
            yield
            return
        last = copy.deepcopy(self.weights())
        self.mean = averaged(self.mean, last, self.average, len(self.history.rows) + 1)
        self.load_weights(self.mean)
        try:
            yield
        finally:
            self.load_weights(last)

    def train_elbo(self, loss: float) -> dict[str, float]:
        """The mean ELBO of the epoch's draws."""
        if isinstance(self.svi.loss, Tracked):
            total, count = self.tracked
            return {"train_elbo": total / count}
        return {"train_elbo": -loss} if isinstance(self.svi.loss, PLAIN) else {}

    def validate(self) -> dict[str, float]:
        """ELBO, rate and distortion on the validation data, under the same noise every epoch."""
        bad = [n for m in modules(self.model, self.guide) for n, p in m.named_parameters() if not p.isfinite().all()]
        if bad:
            raise NonFiniteError(
                f"epoch {len(self.history.rows) + 1}: the weights {', '.join(bad[:3])} are no longer finite. Lower the "
                "learning rate, or clip_norm=10."
            )
        if not self.valid:
            return {}
        measured = evaluate(self.model, self.guide, self.valid, num_samples=1, transform=self.transform, seed=self.seed)
        return {name: getattr(measured, name).value for name in ("elbo", "rate", "distortion")}

    def keep_best(self, row: dict[str, float]) -> None:
        better = "elbo" in row and row["elbo"] >= max(self.history["elbo"])
        if better:
            self.history.best_epoch = int(row["epoch"])
        if self.patience is None:
            self.best = self.mean
        elif better:
            self.best = copy.deepcopy(self.weights())
        elif row["epoch"] - (self.history.best_epoch or 0) >= self.patience:
            self.history.stopped = "patience"

    def line(self) -> str:
        """What the bar says: the loss of the epoch under way, and the last validation."""
        last = self.history.rows[-1] if self.history.rows else {}
        losses = self.losses or [last["loss"]]
        shown = {"loss": float(np.mean(losses))} | {k: last[k] for k in ("elbo", "rate", "distortion") if k in last}
        return " ".join(f"{name} {value:.2f}" for name, value in shown.items())

    def interrupt(self) -> None:
        kept = ""
        if self.run:
            self.save()
            kept = f"; resume=True (--resume) continues from {self.file}"
        epoch = len(self.history.rows) + 1
        raise KeyboardInterrupt(f"stopped after step {len(self.losses)} of epoch {epoch}{kept}")

    @property
    def file(self) -> Path:
        return (self.run or Path()) / "checkpoint.pt"

    def config(self) -> dict[str, Any]:
        """What fixes the order of the data and the steps: a resumed run must have the same."""
        settings = {n: v for n, v in self.optimizer.defaults.items() if type(v) in (int, float, tuple)}
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "size": self.size,
            "optimizer": type(self.optimizer).__name__,
            **settings,
            "scheduler": None if self.scheduler is None else type(self.scheduler).__name__,
            "average": self.average,
        }

    def weights(self) -> dict[str, Any]:
        return checkpoint.weights(self.model, self.guide)

    def load_weights(self, weights: dict[str, Any]) -> None:
        checkpoint.restore(self.model, self.guide, weights)

    def save(self) -> None:
        state = {
            "config": self.config(),
            "weights": self.weights(),
            "mean": self.mean,
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "history": dataclasses.asdict(self.history),
            "losses": self.losses,
            "tracked": self.tracked,
            "objective": self.svi.loss.state_dict() if isinstance(self.svi.loss, Tracked) else None,
        }
        checkpoint.save(self.file, state)

    def load_state(self, state: dict[str, Any]) -> None:
        before, now = state["config"], self.config()
        if before != now:
            differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            had, has = ({name: config.get(name) for name in differ} for config in (before, now))
            raise CheckpointError(
                f"{str(self.file)!r} was trained with {had}, this run has {has}: it would not go on as it began. Use "
                "the same, or another run folder, started at these weights with load_weights (--start)."
            )
        self.load_weights(state["weights"])
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise CheckpointError(f"{str(self.file)!r} is of another optimizer: {error}. Use the same.") from error
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if isinstance(self.svi.loss, Tracked):
            if state["objective"] is None:
                raise CheckpointError(f"{str(self.file)!r} was trained with a loss of Pyro's. Use the same.")
            self.svi.loss.load_state_dict(state["objective"])
        self.history, self.losses, self.tracked = History(**state["history"]), state["losses"], state["tracked"]
        self.mean, self.best = state["mean"], state["best"]
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)


def _write_text(path: Path, text: str) -> None:
    checkpoint.write_atomically(path, lambda file: file.write(text.encode()))


def _versions() -> dict[str, str]:
    return {
        "pyrovae": __version__,
        "torch": torch.__version__,
        "pyro": pyro.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@contextmanager
def _ctrl_c(training: Training) -> Iterator[None]:
    """The first Ctrl-C asks for an orderly stop, the second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        training.interrupted = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)

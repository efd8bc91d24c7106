"""The loop of a training: epochs of steps, validation after each, and its state from kill to resume."""

import copy
import math
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from torch import Tensor
from torch.optim import Optimizer

from pyrovae.errors import CheckpointError, PairError
from pyrovae.inference.compile.lowering.background import half_of_the_threads
from pyrovae.inference.evidence.estimates import evaluate
from pyrovae.inference.objectives.objective import Tracked
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import numbers
from pyrovae.inference.training import checkpoint
from pyrovae.inference.training.averaging import RunningMean
from pyrovae.inference.training.faults import check_weights, explain_loss
from pyrovae.inference.training.history import History
from pyrovae.inference.training.interrupt import Interrupt, ctrl_c
from pyrovae.inference.training.patience import Patience
from pyrovae.inference.training.recorder import Recorder
from pyrovae.inference.training.svi import SVI
from pyrovae.inference.training.training_data import TrainingData

__all__ = ["Loop"]

_PLAIN = (Trace_ELBO, TraceGraph_ELBO, TraceEnum_ELBO)  # their loss is minus the ELBO

_TOGETHER = 64
"""How many steps one call takes at most."""

_NUMBERS = 2**20
"""How many numbers the batches of one call have at most, when it takes several steps."""


class Loop:
    """A training under way.

    Args:
        svi: takes the steps; it is prepared, so parameters and optimizer exist.
        data: the training and validation data, and the order of the steps.
        patience: when to stop, and with which weights to end.
        average: the running mean of the weights, which is validated in their place.
        scheduler: makes the schedule of the learning rate, stepped once per epoch; None for a constant one.
        run: the run folder; None writes nothing.

    Raises:
        PairError: the optimizer of `svi` is not a torch optimizer.
    """

    def __init__(
        self,
        svi: SVI,
        data: TrainingData,
        patience: Patience,
        average: RunningMean,
        *,
        scheduler: Callable[[Optimizer], Any] | None,
        run: Path | None,
    ) -> None:
        if not isinstance(svi.optimizer, Optimizer):
            raise PairError(
                f"fit requires a torch optimizer, which a checkpoint can hold, got {type(svi.optimizer).__name__}. "
                "Write optim=partial(torch.optim.Adam, lr=1e-3), or take steps with SVI(...).step."
            )
        self.svi, self.data, self.patience, self.average = svi, data, patience, average
        self.optimizer = svi.optimizer
        self.scheduler = scheduler(self.optimizer) if scheduler else None
        self.recorder = None if run is None else Recorder(run, self._config())
        self.rows: list[dict[str, float]] = []
        self.losses: list[float] = []  # of the steps of the epoch under way
        self.tracked = [0.0, 0.0]  # the sum of the ELBOs in that epoch, and the number of data points
        self._compiled: set[int] = set()  # batch sizes whose steps have run

    @property
    def history(self) -> History:
        """What has happened so far."""
        return History(tuple(self.rows), self.patience.best_epoch, self.patience.stopped)

    def start(self, resume: bool) -> None:
        """Continue from the checkpoint in the run folder, or write the first one.

        Args:
            resume: whether to continue, where there is a checkpoint.

        Raises:
            CheckpointError: the checkpoint is broken, or of another training.
            OutputError: the run folder cannot be written.
        """
        if self.recorder is None:
            return
        if resume and self.recorder.checkpoint.exists():
            self.load_state_dict(self.recorder.load(self.data.device))
        else:
            self.recorder.start(self.state_dict(), self.svi.model, self.svi.guide)

    def run(self, epochs: int, progress: bool) -> History:
        """Train until all epochs are done, or the patience is exhausted.

        Args:
            epochs: how many epochs, those before a resume included.
            progress: whether to show a bar.

        Raises:
            NonFiniteError: a loss or a weight is not finite.
            KeyboardInterrupt: Ctrl-C, after the step has ended and the checkpoint is written.
        """
        per_epoch = len(self.data.first_epoch)
        done = per_epoch * len(self.rows) + len(self.losses)
        with ctrl_c() as interrupt, progress_bar(progress, per_epoch * epochs, "step", done) as bar:
            while len(self.rows) < epochs and self.patience.stopped == "epochs":
                self._epoch(bar, interrupt)
        if self.patience.ending is not None:
            self._load_weights(self.patience.ending)
        return self.history

    # One epoch -------------------------------------------------------------------------------------------------

    def _epoch(self, bar: Any, interrupt: Interrupt) -> None:
        order = self.data.order(len(self.rows))
        while len(self.losses) < len(order):
            rows = self._next(order[len(self.losses) :])
            self._announce(bar, rows)
            self._take(rows)
            bar.update(len(rows))
            bar.set_postfix_str(self._line(), refresh=False)
            if interrupt.asked:
                self._interrupted()
        self._end_epoch(order)
        bar.set_postfix_str(self._line())

    def _next(self, order: list[Tensor]) -> Tensor:
        """The rows of the next steps, `(steps, B)`: one call takes several small ones of the same size."""
        ahead = order[: max(1, min(_TOGETHER, _NUMBERS // (numbers(self.data.train) * self.data.batch_size)))]
        return torch.stack([*takewhile(lambda step: len(step) == len(ahead[0]), ahead)])

    def _announce(self, bar: Any, rows: Tensor) -> None:
        """Let the bar say why it stands still: the first step of each batch size is compiled."""
        if self.svi.compile is True and rows.shape[1] not in self._compiled:
            bar.set_postfix_str("compiling the step")
        self._compiled.add(rows.shape[1])

    def _take(self, rows: Tensor) -> None:
        """Take the steps on some rows."""
        losses = self.svi.steps(self.data.train, len(rows), order=rows, transform=self.data.step_transform).tolist()
        for step, loss in zip(rows, losses, strict=True):
            if not math.isfinite(loss):
                self._explain(step, loss)
            self.losses.append(loss / (self.data.size if self.data.scaled else len(step)))
        if isinstance(self.svi.objective, Tracked):
            self.tracked = [old + new for old, new in zip(self.tracked, self.svi.objective.collect(), strict=True)]

    def _explain(self, rows: Tensor, loss: float) -> None:
        where = f"epoch {len(self.rows) + 1}, step {len(self.losses) + 1}, rows {rows[:5].tolist()}..."
        batch = self.data.batch(rows)
        explain_loss(self.svi.model, self.svi.guide, batch, data_size=self.data.size, where=where, loss=loss)

    def _end_epoch(self, order: list[Tensor]) -> None:
        epoch = len(self.rows) + 1
        loss = float(np.average(self.losses, weights=[len(rows) for rows in order]))
        row = {
            "epoch": epoch,
            "step": len(order) * epoch,
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "loss": loss,
            **self._train_elbo(loss),
        }
        with self.average.in_place(self.svi.model, self.svi.guide, epoch):
            self.rows.append(row | self._validated(epoch))
            self.patience.judge(self.rows, lambda: copy.deepcopy(self._weights()), self.average.mean)
        self.losses, self.tracked = [], [0.0, 0.0]
        if self.scheduler is not None:
            self.scheduler.step()
        if self.recorder is not None:
            self.recorder.save_epoch(self.state_dict(), self.history)

    def _train_elbo(self, loss: float) -> dict[str, float]:
        """The mean ELBO of the epoch's draws, where the loss provides it."""
        if isinstance(self.svi.objective, Tracked):
            total, count = self.tracked
            return {"train_elbo": total / count}
        return {"train_elbo": -loss} if isinstance(self.svi.objective, _PLAIN) else {}

    def _validated(self, epoch: int) -> dict[str, float]:
        """ELBO, rate and distortion on the validation data, under the same noise in every epoch."""
        model, guide, data = self.svi.model, self.svi.guide, self.data
        check_weights(model, guide, epoch)
        if not data.valid:
            return {}
        with half_of_the_threads(self.svi.compiles_beside):
            measured = evaluate(model, guide, data.valid, num_samples=1, transform=data.transform, seed=data.seed)
        return {name: getattr(measured, name).value for name in ("elbo", "rate", "distortion")}

    def _line(self) -> str:
        """What the bar says: the loss of the epoch under way, and the last validation."""
        last = self.rows[-1] if self.rows else {}
        losses = self.losses or [last["loss"]]
        shown = {"loss": float(np.mean(losses))} | {k: last[k] for k in ("elbo", "rate", "distortion") if k in last}
        return " ".join(f"{name} {value:.2f}" for name, value in shown.items())

    def _interrupted(self) -> None:
        kept = ""
        if self.recorder is not None:
            self.recorder.save(self.state_dict())
            kept = f"; resume=True (--resume) continues from {self.recorder.checkpoint}"
        raise KeyboardInterrupt(f"stopped after step {len(self.losses)} of epoch {len(self.rows) + 1}{kept}")

    # The state -------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        """What fixes the order of the data and the steps."""
        settings = {n: v for n, v in self.optimizer.defaults.items() if type(v) in (int, float, tuple)}
        return {
            "seed": self.data.seed,
            "batch_size": self.data.batch_size,
            "size": self.data.size,
            "optimizer": type(self.optimizer).__name__,
            **settings,
            "scheduler": None if self.scheduler is None else type(self.scheduler).__name__,
            "average": self.average.decay,
        }

    def _weights(self) -> dict[str, Any]:
        return checkpoint.weights(self.svi.model, self.svi.guide)

    def _load_weights(self, weights: dict[str, Any]) -> None:
        checkpoint.restore(self.svi.model, self.svi.guide, weights)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs to repeat this one, bit for bit."""
        device, loss, history = self.data.device, self.svi.objective, self.history
        return {
            "weights": self._weights(),
            "mean": self.average.mean,
            "best": self.patience.ending,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "history": {"rows": self.rows, "best_epoch": history.best_epoch, "stopped": history.stopped},
            "losses": self.losses,
            "tracked": self.tracked,
            "taken": self.svi.taken(),
            "objective": loss.state_dict() if isinstance(loss, Tracked) else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue another training.

        Args:
            state: its `state_dict`.

        Raises:
            CheckpointError: it had another architecture, optimizer or loss.
        """
        self._load_weights(state["weights"])
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise CheckpointError(
                f"A resumed run requires the optimizer that it was started with, got another: {error}. Use the same."
            ) from error
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if isinstance(self.svi.objective, Tracked):
            if state["objective"] is None:
                raise CheckpointError(
                    "A resumed run requires the loss that it was started with, a loss of Pyro's, got "
                    f"{type(self.svi.objective).__name__}. Use the same."
                )
            self.svi.objective.load_state_dict(state["objective"])
        self.svi.resume(state["taken"])
        self.rows, self.losses, self.tracked = state["history"]["rows"], state["losses"], state["tracked"]
        self.patience.best_epoch, self.patience.stopped = state["history"]["best_epoch"], state["history"]["stopped"]
        self.average.mean, self.patience.ending = state["mean"], state["best"]
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"] is not None and self.data.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.data.device)

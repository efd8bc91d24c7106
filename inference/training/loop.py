"""The loop of a training: epochs of steps, validation after each, and its state from kill to resume."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pyrovae.data import Batch
from pyrovae.data.source import narrowed
from pyrovae.errors import NonFiniteError, PairError, PyrovaeError
from pyrovae.inference.compile.lowering.background import half_of_the_threads
from pyrovae.inference.evidence.estimates import Evaluation, evaluate
from pyrovae.inference.objectives.importance import IWAE, Renyi, WakeSleep
from pyrovae.inference.objectives.objective import Tracked
from pyrovae.inference.objectives.requirements import is_scaled
from pyrovae.inference.pair.contract import batch_size
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import evaluating, numbers, seeded
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.inference.processes.launch import current
from pyrovae.inference.training import pair_weights
from pyrovae.inference.training.averaging import RunningMean
from pyrovae.inference.training.callbacks import Callbacks, EpochReport
from pyrovae.inference.training.faults import check_weights, explain_loss
from pyrovae.inference.training.history import History
from pyrovae.inference.training.interrupt import Interrupt, interruptible
from pyrovae.inference.training.optimizers import make_scheduler
from pyrovae.inference.training.patience import Patience
from pyrovae.inference.training.run_folder import RunFolder
from pyrovae.inference.training.settings import described, fingerprint
from pyrovae.inference.training.stream_data import StreamData
from pyrovae.inference.training.svi import SVI
from pyrovae.inference.training.training_data import TrainingData, step_sizes
from pyrovae.inference.training.training_state import check_state

__all__ = ["Loop"]

_WEIGHTED = (IWAE, Renyi, WakeSleep, RenyiELBO)
"""Losses that weigh several draws: validation measures the importance-weighted bound too, by as many."""

_PLAIN = (Trace_ELBO, TraceGraph_ELBO, TraceEnum_ELBO)  # their loss is minus the ELBO

_TRAIN_ROWS = 500
"""How many training data points have their rate and distortion measured after an epoch; no more than validation has."""

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
        run: the run folder, which this training holds; None writes nothing.
        callbacks: see each epoch.

    Raises:
        PairError: the optimizer of `svi` is not a torch optimizer.
    """

    def __init__(
        self,
        svi: SVI,
        data: TrainingData | StreamData,
        patience: Patience,
        average: RunningMean,
        *,
        scheduler: Callable[[Optimizer], Any] | None,
        run: RunFolder | None,
        callbacks: Callbacks,
    ) -> None:
        if not isinstance(svi.optimizer, Optimizer):
            raise PairError(
                f"fit requires a torch optimizer, which a checkpoint can hold, got {type(svi.optimizer).__name__}. "
                "Write optim=partial(torch.optim.Adam, lr=1e-3), or take steps with SVI(...).step."
            )
        self.svi, self.data, self.patience, self.average = svi, data, patience, average
        self.optimizer = svi.optimizer
        self.scheduler = make_scheduler(scheduler, self.optimizer)
        self.run_folder, self.callbacks = run, callbacks
        self._settings = self.settings() if run or callbacks else {}
        self.rows: list[dict[str, float]] = []
        self.losses: list[float] = []  # of the steps of the epoch under way
        self.step_losses = torch.zeros(0, dtype=torch.float32)  # of the steps of the epochs before
        self.tracked = [0.0, 0.0]  # the sum of the ELBOs in that epoch, and the number of data points
        self._compiled: set[int] = set()  # batch sizes whose steps have run
        self._seconds, self._began = 0.0, time.monotonic()
        self._good: dict[str, Any] = {}  # the weights at the start of the epoch

    @property
    def history(self) -> History:
        """What has happened so far."""
        patience = self.patience
        return History(tuple(self.rows), patience.best_epoch, patience.stopped, self.seconds, self.step_losses)

    @property
    def seconds(self) -> float:
        """The time of the training, with that before a resume; the time after the last checkpoint of a kill is lost."""
        return self._seconds + time.monotonic() - self._began

    def start(self) -> None:
        """Continue from the checkpoint in the run folder, or write the first one.

        Raises:
            CheckpointError: the checkpoint is broken, or of another training.
            OutputError: the run folder cannot be written.
        """
        if self.run_folder is None:
            return
        if self.run_folder.resume:
            self.load_state_dict(self.run_folder.load(self.data.device, self._settings))
            self.run_folder.mend(self.history)
        else:
            self.run_folder.start(self.state_dict(), self._settings, self.svi.model, self.svi.guide)

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
        with interruptible() as interrupt, progress_bar(progress, per_epoch * epochs, "step", done) as bar:
            while len(self.rows) < epochs and self.patience.stopped == "epochs":
                self._epoch(bar, interrupt)
        if self.patience.ending is not None:
            self._load_weights(self.patience.ending)
        return self.history

    # One epoch -------------------------------------------------------------------------------------------------

    def _epoch(self, bar: Any, interrupt: Interrupt) -> None:
        order, self._good = self.data.order(len(self.rows)), copy.deepcopy(self._weights())
        rest, most = order[len(self.losses) :], self._most * self._share(order[0][None]).numel()
        with self.data.reading(map(self._share, self._calls(rest)), most):
            for rows in self._calls(rest):
                self._announce(bar, rows)
                self._take(rows)
                bar.update(len(rows))
                bar.set_postfix_str(self._line(), refresh=False)
                if current().any(interrupt.asked):
                    self._interrupted()
        if self.data.valid:
            bar.set_postfix_str(f"{self._line()} evaluating")
        self._end_epoch(order)
        bar.set_postfix_str(self._line())
        if current().any(interrupt.asked):
            self._interrupted()

    def _calls(self, order: Sequence[Tensor]) -> Iterator[Tensor]:
        """The rows of the steps of each call, `(steps, B)`: one call takes several small ones of the same size."""
        start = 0
        while start < len(order):
            ahead = [order[step] for step in range(start, min(start + self._most, len(order)))]
            other = next((place for place, step in enumerate(ahead) if len(step) != len(ahead[0])), len(ahead))
            yield torch.stack(ahead[:other])
            start += other

    @cached_property
    def _most(self) -> int:
        """How many steps one call takes at most."""
        return max(1, min(self.data.together, _NUMBERS // (numbers(self.data.train) * self.data.batch_size)))

    @staticmethod
    def _share(order: Tensor) -> Tensor:
        """The rows of this process of some steps, `(steps, B)`."""
        return current().share(order.shape[1]).rows(order, 1)

    def _announce(self, bar: Any, rows: Tensor) -> None:
        """Let the bar say why it stands still: the first step of each batch size is compiled."""
        if self.svi.compile is True and rows.shape[1] not in self._compiled:
            bar.set_postfix_str("compiling the step")
        self._compiled.add(rows.shape[1])

    def _take(self, rows: Tensor) -> None:
        """Take the steps on some rows."""
        losses = self.svi.steps(self.data.read(), len(rows), order=rows, transform=self.data.step_transform).tolist()
        for step, loss in zip(rows, losses, strict=True):
            if not math.isfinite(loss):
                with self._undone():
                    self._explain(step, loss)
            self.losses.append(loss / (self.data.size if self.data.scaled else len(step)))
        if isinstance(self.svi.objective, Tracked):
            self.tracked = [old + new for old, new in zip(self.tracked, self.svi.objective.collect(), strict=True)]

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Inside, an error gives the pair back the weights that it had at the start of the epoch."""
        try:
            yield
        except NonFiniteError:
            self._load_weights(self._good)
            raise

    def _explain(self, rows: Tensor, loss: float) -> None:
        where, size = f"epoch {len(self.rows) + 1}, step {len(self.losses) + 1}", self.data.size
        batch, known = self.data.batch(rows), None if isinstance(self.data, StreamData) else rows
        explain_loss(self.svi.model, self.svi.guide, batch, rows=known, data_size=size, where=where, loss=loss)

    def _end_epoch(self, order: Sequence[Tensor]) -> None:
        epoch = len(self.rows) + 1
        loss = float(np.average(self.losses, weights=step_sizes(order)))
        row = {
            "epoch": epoch,
            "step": len(self.step_losses) + len(order),
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "loss": loss,
            **self._train_elbo(loss),
        }
        with self._undone(), self.average.in_place(self.svi.model, self.svi.guide, epoch):
            self.rows.append(row | self._validated(epoch))
            self.patience.judge(self.rows, lambda: copy.deepcopy(self._weights()), self.average.mean)
        self.step_losses = torch.cat([self.step_losses, torch.tensor(self.losses, dtype=torch.float32)])
        self.losses, self.tracked = [], [0.0, 0.0]
        self._step_schedule()
        if self.run_folder is not None:
            self.run_folder.save_epoch(self.state_dict(), self.history)
        if self.callbacks:
            self._show()

    def _show(self) -> None:
        """Let the callbacks see the epoch that has ended; where one asks to stop, the checkpoint says so."""
        model, guide, data, folder = self.svi.model, self.svi.guide, self.data, self.run_folder
        rows, path = data.valid or narrowed(data.train, _TRAIN_ROWS), folder.folder if folder else None
        report = EpochReport(self.history, model, guide, rows, data.transform, self._settings, path)
        if current().any(self.callbacks.see(report)):
            self.patience.stopped = "callback"
            if folder is not None:
                folder.save(self.state_dict())

    def _step_schedule(self) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(-self.rows[-1].get("elbo", -self.rows[-1]["loss"]))
        elif self.scheduler is not None:
            self.scheduler.step()

    def _train_elbo(self, loss: float) -> dict[str, float]:
        """The mean ELBO of the epoch's draws, where the loss provides it."""
        if isinstance(self.svi.objective, Tracked):
            total, count = self.tracked
            return {"train_elbo": total / count}
        return {"train_elbo": -loss} if isinstance(self.svi.objective, _PLAIN) and not self._scaled else {}

    @cached_property
    def _scaled(self) -> bool:
        """Whether the pair scales sites by itself, as poutine.scale does: its loss is then not minus the ELBO."""
        model, guide = self.svi.model, self.svi.guide
        with seeded(0, self.data.device), evaluating(model, guide):
            batch = self.data.batch(self.data.first_epoch[0][:2])
            return is_scaled(trace_pair(model, guide, batch, data_size=self.data.size))

    def _validated(self, epoch: int) -> dict[str, float]:
        """ELBO, rate and distortion on the validation data, with the same noise in every epoch, and two of training."""
        check_weights(self.svi.model, self.svi.guide, epoch)
        if not self.data.valid:
            return {}
        measured = self._evaluated(self.data.valid)
        if not math.isfinite(measured.elbo.value):
            bad = (~measured.per_datum["elbo"].isfinite()).nonzero().flatten().tolist()
            raise NonFiniteError(
                f"epoch {epoch}: the validation ELBO is {measured.elbo.value}, because of the rows {bad[:5]} of the "
                "validation data. Remove these rows, or mend their values."
            )
        names = ("elbo", "rate", "distortion", *(["log_evidence"] if measured.num_samples > 1 else []))
        return {name: getattr(measured, name).value for name in names} | self._train_parts()

    def _train_parts(self) -> dict[str, float]:
        """Rate and distortion of some training data; none where the pair cannot be evaluated on them."""
        try:
            measured = self._evaluated(narrowed(self.data.train, min(_TRAIN_ROWS, batch_size(self.data.valid))))
        except PyrovaeError:  # hidden labels, for example
            return {}
        found = {f"train_{name}": getattr(measured, name).value for name in ("rate", "distortion")}
        return found if all(map(math.isfinite, found.values())) else {}

    def _evaluated(self, batch: Batch) -> Evaluation:
        """An evaluation by as many draws as the loss weighs."""
        model, guide, data, loss = self.svi.model, self.svi.guide, self.data, self.svi.objective
        draws = loss.num_particles if isinstance(loss, _WEIGHTED) else 1
        with half_of_the_threads(self.svi.compiles_beside):
            return evaluate(model, guide, batch, num_samples=draws, transform=data.transform, seed=data.seed)

    def _line(self) -> str:
        """What the bar says: the loss of the epoch under way, and the last validation."""
        last = self.rows[-1] if self.rows else {}
        losses = self.losses or [last["loss"]]
        validated = " ".join(f"{name} {last[name]:.2f}" for name in ("elbo", "rate", "distortion") if name in last)
        return f"loss {np.mean(losses):.2f}" + (f" validation: {validated}" if validated else "")

    def _interrupted(self) -> None:
        kept = ""
        if self.run_folder is not None:
            self.run_folder.save(self.state_dict())
            kept = f"; resume=True (--resume) continues from {self.run_folder.checkpoint}"
        steps = f"step {len(self.losses)} of epoch {len(self.rows) + 1}" if self.losses else f"epoch {len(self.rows)}"
        raise KeyboardInterrupt(f"stopped after {steps}{kept}")

    # The state -------------------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """What fixes the order of the data and the steps, by name."""
        svi, data = self.svi, self.data
        schedule = {} if self.scheduler is None else self.scheduler.state_dict()
        return {
            "seed": data.seed,
            "batch_size": data.batch_size,
            **data.settings,
            "data": fingerprint(data.train),
            "validation data": fingerprint(data.valid),
            "optimizer": type(self.optimizer).__name__,
            **{n: v for n, v in self.optimizer.defaults.items() if type(v) in (int, float, tuple)},
            "clip_norm": svi.clip_norm,
            "precision": svi.precision,
            "average": self.average.decay,
            "scheduler": None if self.scheduler is None else type(self.scheduler).__name__,
            **_named("scheduler", {n: v for n, v in schedule.items() if type(v) in (int, float, str)}),
            **_named("loss", described(svi.objective)),
            **_named("transform", described(data.transform)),
            **_named("model", described(svi.model)),
            **_named("guide", described(svi.guide)),
        }

    def _weights(self) -> dict[str, Any]:
        return pair_weights.weights(self.svi.model, self.svi.guide)

    def _load_weights(self, weights: dict[str, Any]) -> None:
        pair_weights.restore(self.svi.model, self.svi.guide, weights)

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
            "step_losses": self.step_losses,
            "tracked": self.tracked,
            "taken": self.svi.taken(),
            "seconds": self.seconds,
            "objective": loss.state_dict() if isinstance(loss, Tracked) else None,
            **self.data.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue another training.

        Args:
            state: its `state_dict`.

        Raises:
            CheckpointError: it is not a state of such a training.
        """
        check_state(state, self.state_dict(), self.svi.model, self.svi.guide, self.optimizer)
        self.data.load_state_dict(state)
        self._load_weights(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if isinstance(self.svi.objective, Tracked):
            self.svi.objective.load_state_dict(state["objective"])
        self._seconds = state["seconds"]
        self.svi.resume(state["taken"])
        self.rows, self.losses, self.tracked = state["history"]["rows"], state["losses"], state["tracked"]
        self.step_losses = state["step_losses"].cpu()
        self.patience.resume(state["history"])
        self.average.mean, self.patience.ending = state["mean"], state["best"]
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"] is not None and self.data.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.data.device)


def _named(prefix: str, parts: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{name}".rstrip("."): part for name, part in parts.items()}

"""The start of a training on several processes: the same settings, the same state, and how a batch is shared."""

from typing import Any

from pyrovae.inference.processes.launch import current
from pyrovae.inference.training.loop import Loop
from pyrovae.inference.training.minibatches import gathered
from pyrovae.inference.training.processes import OverProcesses

__all__ = ["start_together"]


def start_together(loop: Loop, asked: dict[str, Any]) -> None:
    """Start a training, or continue it; on several processes all take the state of process 0.

    Args:
        loop: the training.
        asked: the settings of this call that a checkpoint does not hold.

    Raises:
        SettingError: the processes differ in data or settings.
        PairError: the loss of a batch is no sum over the shares of the processes.
        CheckpointError, OutputError: as in `Loop.start`, on process 0.
    """
    processes, reduce = current(), loop.svi.reduce
    if not isinstance(reduce, OverProcesses):
        loop.start()
        return
    processes.require_same(loop.settings() | asked | {"steps of an epoch": len(loop.data.first_epoch)})
    _take_state(loop)
    batch = gathered(loop.data.train, loop.data.first_epoch[0], loop.data.device)
    reduce.learn(loop.svi.model, loop.svi.guide, loop.svi.objective, batch, loop.data.step_transform)
    processes.agreed(loop.start)
    _take_state(loop)


def _take_state(loop: Loop) -> None:
    """Continue from the state of process 0."""
    state = current().from_main(loop.state_dict())
    if not current().main:
        loop.load_state_dict(state)

"""What is known of the calls of one signature."""

from pyrovae.inference.compile.state.watch import Hashed

__all__ = ["Known", "State"]

State = tuple[Hashed, Hashed]
"""What the programs' modules hold, and what else their code reads."""


class Known:
    """What is known of one signature.

    Args:
        state: the state of the programs at its last call.
        needed: how many calls in a row must find the same state before it is captured.
    """

    def __init__(self, state: State, needed: int) -> None:
        self.state, self.needed = state, needed
        self.equal = 0
        self.changes = 0
        self.recorded = self.failed = self.refused = self.handed_over = False
        self.forbidden: str | None = None

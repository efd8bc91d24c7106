"""Progressions of chords that a small grammar draws, so that log p(x) is known exactly."""

import torch
from torch import Tensor

from pyrovae.data.dataset import Batch, Dataset, first
from pyrovae.data.named import named_tensors
from pyrovae.data.piano import KEYS, LOWEST
from pyrovae.errors import ShapeError

__all__ = ["chords_log_prob", "load_chords"]

POSITIONS = {
    "I": ((48, 55, 64, 72), (48, 60, 64, 67), (52, 60, 67, 72)),
    "ii": ((50, 57, 65, 74), (50, 62, 65, 69), (53, 57, 62, 69)),
    "IV": ((53, 57, 60, 69), (53, 60, 65, 69), (57, 60, 65, 72)),
    "V": ((43, 59, 62, 67), (55, 59, 62, 71), (47, 62, 67, 74)),
    "V7": ((43, 59, 65, 74), (55, 59, 65, 71), (53, 59, 62, 67)),
    "vi": ((45, 60, 64, 69), (57, 60, 64, 72), (48, 57, 64, 69)),
}
"""Each chord in three positions, as MIDI numbers from the bass up."""

FOLLOWS = {"I": "ii IV V vi", "ii": "V V7", "IV": "I V ii", "V": "I vi V7", "V7": "I vi", "vi": "ii IV"}
"""The chords that may follow each chord."""

STAYS, SOUNDS, PASSES, STRAYS = 0.4, 0.95, 0.02, 0.001
"""Probabilities: the chord stays; a key of the chord sounds; another white key of the middle does; any other key."""

LENGTHS = (8, 32)
"""The shortest and the longest progression, in steps."""


def _grammar() -> tuple[Tensor, Tensor, Tensor]:
    """For the K chords in positions: start `(K,)`, moves `(K, K)`, and the probability that a key sounds, `(K, 88)`."""
    states = [(chord, pitches) for chord, positions in POSITIONS.items() for pitches in positions]
    start = torch.tensor([float(chord == "I") for chord, _ in states]).double()
    moves = torch.tensor([[float(b in FOLLOWS[a].split()) for b, _ in states] for a, _ in states]).double()
    keys = torch.arange(LOWEST, LOWEST + KEYS)
    white = torch.isin(keys % 12, torch.tensor([0, 2, 4, 5, 7, 9, 11])) & (keys >= 43) & (keys < 80)
    sounds = torch.where(white, PASSES, STRAYS).double().repeat(len(states), 1)
    for row, (_, pitches) in zip(sounds, states, strict=True):
        row[torch.tensor(pitches) - LOWEST] = SOUNDS
    stays = torch.eye(len(states), dtype=torch.float64)
    return start / start.sum(), STAYS * stays + (1 - STAYS) * moves / moves.sum(-1, keepdim=True), sounds


def _draw_chords(size: int, generator: torch.Generator) -> Batch:
    """`size` progressions: at each step a chord stays or moves on, its keys sound, and others rarely do."""
    start, moves, sounds = _grammar()
    low, high = LENGTHS
    state = [torch.multinomial(start, size, replacement=True, generator=generator)]
    for _ in range(high - 1):
        state.append(torch.multinomial(moves[state[-1]], 1, generator=generator).squeeze(-1))
    x = torch.bernoulli(sounds[torch.stack(state, 1)], generator=generator).to(torch.uint8)
    length = torch.randint(low, high + 1, (size, 1), generator=generator)
    within = torch.arange(high) < length
    return {"x": x * within.unsqueeze(-1), "within": within}


def chords_log_prob(batch: Batch) -> Tensor:
    """The exact log p(x) of chords, `(N,)`, in nats, by the forward algorithm. On average no model of them has more.

    Args:
        batch: piano rolls `x` `(N, T, 88)` and `within` `(N, T)`, as `load("chords")` has them.

    Raises:
        DataError: the batch is no named tensors.
        ShapeError: it has other tensors.
    """
    batch, (start, moves, sounds) = named_tensors("chords_log_prob", batch), _grammar()
    x, within = batch.get("x"), batch.get("within")
    shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
    if (
        x is None
        or within is None
        or x.dim() != 3
        or x.shape[1] == 0
        or x.shape[2] != KEYS
        or within.shape != x.shape[:2]
    ):
        raise ShapeError(f"chords_log_prob requires x (N, T, {KEYS}) and within (N, T), T > 0, got {shapes}.")
    x = x.double()
    emitted = x @ sounds.log().T + (1 - x) @ (-sounds).log1p().T  # log p(x_t | state), (N, T, K)
    forward = start.log() + emitted[:, 0]
    for t in range(1, x.shape[1]):
        after = (forward.unsqueeze(-1) + moves.log()).logsumexp(-2) + emitted[:, t]
        forward = torch.where(within[:, t, None].bool(), after, forward)
    return forward.logsumexp(-1)


def load_chords(valid: int | None) -> Dataset:
    """Progressions of chords in C, of 8 to 32 steps, 1,000 / 200 / 200.

    Args:
        valid: the number of validation progressions, the first ones; all 200 by default.

    Raises:
        DataError: there are not so many.
    """
    generator = torch.Generator().manual_seed(0)
    train, test = _draw_chords(1_000, generator), _draw_chords(200, generator)
    held = first(_draw_chords(200, generator), valid)
    counts = train["within"].sum(-1)
    source = f"drawn by a grammar of chords, lengths {counts.min()} to {counts.max()}"
    return Dataset(train, held, test, "chords", source)

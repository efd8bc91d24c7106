"""Sets of sequences: the chorales of Bach, and progressions of chords that a small grammar draws."""

import json
import urllib.request
from pathlib import Path

import torch
from torch import Tensor

from pyrovae.data.dataset import Batch, Dataset
from pyrovae.errors import DataError
from pyrovae.networks.recurrent import going_on

__all__ = ["KEYS", "LOWEST", "Trim", "chords_log_prob", "load_chorales", "load_chords", "rolls"]

KEYS, LOWEST = 88, 21
"""The keys of a piano, and the MIDI number of the lowest."""

URL = "https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/master/jsb-chorales-quarter.json"


class Trim:
    """Padded sequences as the model wants them: bytes to floats, and no longer than the longest of the batch.

    The shape then depends on the data, so training runs eagerly: `fit(..., compile=False)`.
    """

    def prepare(self, batch: Batch) -> Batch:
        """The batch itself, all steps within its sequences where nothing says how long they are.

        Raises:
            ShapeError: x is not `(N, T, *event)` beside `within`.
            DataError: a sequence of length 0.
        """
        within = going_on(batch["x"], batch.get("within"), ())
        if not within[:, 0].all():
            empty = (~within[:, 0]).nonzero().flatten().tolist()
            raise DataError(f"a sequence has a first step, got {len(empty)} without, at rows {empty[:5]}: drop them")
        return {**batch, "within": within}

    def __call__(self, batch: Batch) -> Batch:
        """The batch with float x, cut at its longest sequence."""
        longest = int(batch["within"].sum(-1).max())
        x = batch["x"][:, :longest]
        return {**batch, "x": x if x.is_floating_point() else x.float(), "within": batch["within"][:, :longest]}

    def __repr__(self) -> str:
        return "Trim()"


def rolls(pieces: list[list[list[int]]]) -> Batch:
    """Pieces, lists of steps that are lists of MIDI numbers: `x` uint8 `(N, T, 88)`, `within` bool `(N, T)`.

    Raises:
        DataError: a piece without steps, or a number that no key has.
    """
    lengths = torch.tensor([len(piece) for piece in pieces])
    if not len(pieces) or not lengths.all():
        raise DataError(f"a piece is a list of steps, at least one, got pieces of lengths {lengths.tolist()}")
    x = torch.zeros(len(pieces), int(lengths.max()), KEYS, dtype=torch.uint8)
    for row, piece in enumerate(pieces):
        for t, pitches in enumerate(piece):
            for pitch in pitches:
                if not LOWEST <= pitch < LOWEST + KEYS:
                    raise DataError(f"piece {row} has the MIDI number {pitch} at step {t}, keys are 21 to 108")
                x[row, t, pitch - LOWEST] = 1
    return {"x": x, "within": torch.arange(x.shape[1]) < lengths[:, None]}


# Chorales -------------------------------------------------------------------------------------------------------


def load_chorales(root: Path, download: bool, valid: int | None) -> Dataset:
    """The chorales of Bach by the quarter note, 229 / 76 / 77, as in the published tables of nats per step.

    All are transposed to C. The split is that of Boulanger-Lewandowski et al. (2012), arXiv:1206.6392; `valid` takes
    the first of its second part.
    """
    file = root / "jsb-chorales-quarter.json"
    try:
        if not file.is_file() and download:
            with urllib.request.urlopen(URL, timeout=30) as answer:
                text = answer.read()
            root.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)
        pieces = json.loads(file.read_text())
        train, held, test = (rolls(pieces[split]) for split in ("train", "valid", "test"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"chorales could not be loaded: {type(error).__name__}: {error}\nWithout a network, use the chords that "
            f"need none: --data chords, load('chords'). Or place the file by hand: {file}, from {URL} (delete one that "
            f"is broken). The folder {root} is the argument root, else $PYROVAE_DATA, else the user's cache."
        ) from error
    source = f"{file}; by the quarter note, in C, lengths {_lengths(train)}"
    return Dataset(train, _first(held, valid), test, "chorales", source)


# Chords ---------------------------------------------------------------------------------------------------------

# Each chord in three positions, as MIDI numbers from the bass up.
POSITIONS = {
    "I": ((48, 55, 64, 72), (48, 60, 64, 67), (52, 60, 67, 72)),
    "ii": ((50, 57, 65, 74), (50, 62, 65, 69), (53, 57, 62, 69)),
    "IV": ((53, 57, 60, 69), (53, 60, 65, 69), (57, 60, 65, 72)),
    "V": ((43, 59, 62, 67), (55, 59, 62, 71), (47, 62, 67, 74)),
    "V7": ((43, 59, 65, 74), (55, 59, 65, 71), (53, 59, 62, 67)),
    "vi": ((45, 60, 64, 69), (57, 60, 64, 72), (48, 57, 64, 69)),
}
FOLLOWS = {"I": "ii IV V vi", "ii": "V V7", "IV": "I V ii", "V": "I vi V7", "V7": "I vi", "vi": "ii IV"}
STAYS, SOUNDS, PASSES, STRAYS = 0.4, 0.95, 0.02, 0.001
LENGTHS = (8, 32)


def _grammar() -> tuple[Tensor, Tensor, Tensor]:
    """Of the K chords in positions: start `(K,)`, moves `(K, K)`, and the probability that a key sounds, `(K, 88)`."""
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


def draw_chords(count: int, generator: torch.Generator) -> Batch:
    """Progressions: a chord in a position stays or moves on at each step, and its keys sound, others rarely."""
    start, moves, sounds = _grammar()
    low, high = LENGTHS
    state = [torch.multinomial(start, count, replacement=True, generator=generator)]
    for _ in range(high - 1):
        state.append(torch.multinomial(moves[state[-1]], 1, generator=generator).squeeze(-1))
    x = torch.bernoulli(sounds[torch.stack(state, 1)], generator=generator).to(torch.uint8)
    length = torch.randint(low, high + 1, (count, 1), generator=generator)
    within = torch.arange(high) < length
    return {"x": x * within.unsqueeze(-1), "within": within}


def chords_log_prob(batch: Batch) -> Tensor:
    """The exact log p(x) of chords, `(N,)`, nats, by the forward algorithm: on average, no model of them has more."""
    start, moves, sounds = _grammar()
    x = batch["x"].double()
    emitted = x @ sounds.log().T + (1 - x) @ (-sounds).log1p().T  # log p(x_t | state), (N, T, K)
    forward = start.log() + emitted[:, 0]
    for t in range(1, x.shape[1]):
        after = (forward.unsqueeze(-1) + moves.log()).logsumexp(-2) + emitted[:, t]
        forward = torch.where(batch["within"][:, t, None], after, forward)
    return forward.logsumexp(-1)


def load_chords(valid: int | None) -> Dataset:
    """Progressions of chords in C, 8 to 32 steps, 1,000 / 200 / 200."""
    draw = torch.Generator().manual_seed(0)
    train, test = draw_chords(1_000, draw), draw_chords(200, draw)
    held = _first(draw_chords(200, draw), valid)
    return Dataset(train, held, test, "chords", f"drawn by a grammar of chords, lengths {_lengths(train)}")


def _first(held: Batch, valid: int | None) -> Batch:
    return held if valid is None else {name: tensor[:valid] for name, tensor in held.items()}


def _lengths(batch: Batch) -> str:
    counts = batch["within"].sum(-1)
    return f"{int(counts.min())} to {int(counts.max())}"

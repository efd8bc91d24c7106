"""Piano rolls as sound, in WAV files."""

import os
import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from pyrovae.checks import check_positive, check_tensor
from pyrovae.data.piano import KEYS, LOWEST
from pyrovae.errors import SettingError, ShapeError
from pyrovae.output import write_atomically

__all__ = ["RATE", "waveform", "write_wav"]

RATE = 22_050
"""Samples per second."""

MOST = 2**28
"""Samples at most: more than three hours."""

HARMONICS = (1.0, 0.4, 0.2, 0.1)
"""The amplitudes of a tone at once, twice, three and four times its frequency."""

ATTACK, RELEASE, DECAY = 0.01, 0.05, 0.6
"""Seconds in which a tone rises, in which it ends, and in which it falls to 1/e."""


def waveform(roll: Tensor, *, step: float = 0.5) -> Tensor:
    """A piano roll as samples in [-1, 1], `RATE` of them a second.

    A key that sounds at several steps in a row is held, not struck again.

    Args:
        roll: `(T, 88)`, the lowest key first; a key sounds where the value is above one half.
        step: the duration of a step, in seconds.

    Raises:
        SettingError: a step that is not positive, or makes no sample, or hours of them.
        ShapeError: the roll has another shape.
    """
    roll, step = check_tensor("roll", roll, f"(T, {KEYS})"), check_positive("step", step, write=0.5)
    if roll.dim() != 2 or roll.shape[1] != KEYS or not len(roll):
        raise ShapeError(f"A piano roll is (T, {KEYS}), T > 0, got {tuple(roll.shape)}. Write x[0] for one piece.")
    if not 1 <= len(roll) * step * RATE <= MOST:
        raise SettingError(
            f"step requires a duration in seconds that makes at least one sample and at most {MOST:,}, got {step}. "
            "Write step=0.5."
        )
    on = np.pad(roll.detach().cpu().numpy() > 0.5, ((1, 1), (0, 0))).astype(np.int8)
    sound = np.zeros(round(len(roll) * step * RATE))
    for key in range(KEYS):
        change = np.diff(on[:, key])
        for start, end in zip((change == 1).nonzero()[0], (change == -1).nonzero()[0], strict=True):
            first, last = round(start * step * RATE), round(end * step * RATE)
            sound[first:last] += _tone(440.0 * 2 ** ((key + LOWEST - 69) / 12), last - first)
    return torch.from_numpy(sound / max(1e-9, np.abs(sound).max())).float()


def _tone(frequency: float, samples: int) -> np.ndarray:
    """A struck string: harmonics that fade, with soft ends."""
    time = np.arange(samples) / RATE
    audible = [(i, weight) for i, weight in enumerate(HARMONICS, 1) if i * frequency < RATE / 2]
    tone = sum(weight * np.sin(2 * np.pi * i * frequency * time) for i, weight in audible)
    ends = np.minimum(time / ATTACK, (samples / RATE - time) / RELEASE).clip(0, 1)
    return np.asarray(tone * np.exp(-time / DECAY) * ends)


def write_wav(path: str | os.PathLike[str], roll: Tensor, *, step: float = 0.5) -> None:
    """Write a piano roll as a WAV file, mono, 16 bits.

    Args:
        path: the file.
        roll: `(T, 88)`, the lowest key first; a key sounds where the value is above one half.
        step: the duration of a step, in seconds.

    Raises:
        SettingError: a step that is not positive, or makes no sample, or hours of them.
        ShapeError: the roll has another shape.
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    levels = (waveform(roll, step=step) * 32_000).to(torch.int16).numpy().astype("<i2")
    write_atomically(Path(path), lambda file: _write_frames(file, levels.tobytes()))


def _write_frames(output: BinaryIO, frames: bytes) -> None:
    with wave.open(output, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(frames)

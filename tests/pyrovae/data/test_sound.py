"""Sound: the file opens, lasts as long as the roll, and has the keys' frequencies."""

import wave

import numpy as np
import pytest
import torch

from pyrovae.data import waveform, write_wav
from pyrovae.data.sound import RATE
from pyrovae.errors import ShapeError

A4, C5 = 69 - 21, 72 - 21


def frequencies(samples, count):
    """The strongest frequencies, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    peaks = [i for i in range(1, len(spectrum) - 1) if spectrum[i - 1] < spectrum[i] > spectrum[i + 1]]
    strongest = sorted(peaks, key=lambda i: -spectrum[i])[:count]
    return sorted(i * RATE / len(samples) for i in strongest)


def test_a_wav_file_opens_and_has_the_keys(tmp_path):
    roll = torch.zeros(3, 88)
    roll[0, A4] = roll[2, A4] = roll[2, C5] = 1
    write_wav(tmp_path / "two.wav", roll, step=0.5)
    with wave.open(str(tmp_path / "two.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.getnframes() == round(1.5 * RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(float)
    first, rest, last = np.split(samples, [RATE // 2, RATE])
    assert frequencies(first, 1) == pytest.approx([440], abs=2)
    assert not rest.any()
    assert frequencies(last, 2) == pytest.approx([440, 523.25], abs=3)


def test_a_key_that_goes_on_is_held():
    held, struck = torch.zeros(4, 88), torch.zeros(4, 88)
    held[:, A4] = 1
    struck[::2, A4] = 1
    assert waveform(held).abs()[-RATE // 4 : -RATE // 5].max() < 0.5 * waveform(held).abs()[: RATE // 4].max()
    assert waveform(struck).abs()[RATE : RATE + RATE // 4].max() > 0.9


def test_silence_is_a_file(tmp_path):
    write_wav(tmp_path / "silence.wav", torch.zeros(1, 88))
    with wave.open(str(tmp_path / "silence.wav")) as file:
        assert not any(file.readframes(file.getnframes()))


def test_a_roll_of_another_shape_is_refused(says):
    for shape in ((3, 80), (0, 88), (2, 3, 88)):
        with says(ShapeError, "(T, 88)", str(shape)):
            waveform(torch.zeros(shape))

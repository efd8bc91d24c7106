"""Chords: the grammar that draws them, and the exact evidence."""

import math
from itertools import pairwise, product

import pytest
import torch

from pyrovae import data
from pyrovae.data import chords
from pyrovae.data.chords import chords_log_prob
from pyrovae.data.piano import LOWEST, rolls


def test_chords_are_the_same_every_time_and_end_at_different_steps():
    one, two = data.load("chords"), data.load("chords", valid=20)
    assert torch.equal(one.train["x"], two.train["x"])
    assert (len(one.valid["x"]), len(two.valid["x"])) == (200, 20)
    lengths = one.train["within"].sum(-1)
    assert (lengths.min(), lengths.max()) == (8, 32)
    assert not one.train["x"][~one.train["within"]].any()
    assert 3.5 < one.train["x"].sum() / lengths.sum() < 5  # voices


def test_the_exact_evidence_of_chords_sums_over_all_states(monkeypatch):
    start, moves, sounds = torch.tensor([0.7, 0.3]), torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.rand(2, 88)
    monkeypatch.setattr(chords, "_grammar", lambda: (start.double(), moves.double(), sounds.double()))
    batch = rolls([[[60], [62, 64], [65]], [[70], [71]]])
    for row, length in enumerate((3, 2)):
        x = batch["x"][row, :length].double()
        keys = torch.where(x.unsqueeze(1) > 0, sounds, 1 - sounds).double().prod(-1)  # (T, K)
        total = 0.0
        for path in product(range(2), repeat=length):
            p = start[path[0]].item()
            for a, b in pairwise(path):
                p *= moves[a, b].item()
            total += p * math.prod(keys[t, s].item() for t, s in enumerate(path))
        assert chords_log_prob(batch)[row].item() == pytest.approx(math.log(total))


def test_the_grammar_is_a_grammar():
    start, moves, sounds = chords._grammar()
    torch.testing.assert_close(moves.sum(-1), torch.ones(len(start)).double())
    assert start.sum() == pytest.approx(1)
    for row, pitches in zip(sounds, [p for chord in chords.POSITIONS.values() for p in chord], strict=True):
        assert sorted((row > 0.5).nonzero().flatten().tolist()) == sorted(pitch - LOWEST for pitch in pitches)

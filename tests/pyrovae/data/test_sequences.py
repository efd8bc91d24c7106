"""Sequences: piano rolls, the chorales' file, the grammar of chords and its exact evidence."""

import json
import math
import re
from itertools import pairwise, product

import pytest
import torch

from pyrovae import data
from pyrovae.data import sequences
from pyrovae.data.sequences import LOWEST, Trim, chords_log_prob, rolls
from pyrovae.errors import DataError, ShapeError

PIECES = [[[60, 64], [], [108]], [[21]]]


def test_rolls_put_each_pitch_at_its_key():
    batch = rolls(PIECES)
    assert batch["x"].dtype == torch.uint8
    assert batch["x"].nonzero().tolist() == [[0, 0, 39], [0, 0, 43], [0, 2, 87], [1, 0, 0]]
    assert batch["within"].tolist() == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize(
    ("pieces", "words"), [([[]], ("at least one", "lengths .0.")), ([[[60], [20]]], ("20", "step 1"))]
)
def test_rolls_refuse_what_no_piano_has(pieces, words, says):
    with says(DataError, *words):
        rolls(pieces)


def test_chorales_are_read_from_their_file(tmp_path, says):
    pieces = {"train": PIECES, "valid": PIECES[:1], "test": PIECES[1:]}
    (tmp_path / "jsb-chorales-quarter.json").write_text(json.dumps(pieces))
    found = data.load("chorales", tmp_path)
    assert [len(split["x"]) for split in found.splits.values()] == [2, 1, 1]
    assert found.test["x"].shape == (1, 1, 88)
    assert "lengths 1 to 3" in repr(found)
    assert len(data.load("chorales", tmp_path, valid=0).valid["x"]) == 0


@pytest.mark.parametrize("text", [None, "{", "{}", '{"train": [], "valid": [], "test": []}', '{"train": 3}'])
def test_a_file_of_chorales_that_is_missing_or_broken_is_a_clear_error(text, tmp_path, says):
    if text is not None:
        (tmp_path / "jsb-chorales-quarter.json").write_text(text)
    with says(DataError, "chorales could not be loaded", "--data chords", str(tmp_path)):
        data.load("chorales", tmp_path, download=False)


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
    monkeypatch.setattr(sequences, "_grammar", lambda: (start.double(), moves.double(), sounds.double()))
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
    start, moves, sounds = sequences._grammar()
    torch.testing.assert_close(moves.sum(-1), torch.ones(len(start)).double())
    assert start.sum() == pytest.approx(1)
    for row, pitches in zip(sounds, [p for chord in sequences.POSITIONS.values() for p in chord], strict=True):
        assert sorted((row > 0.5).nonzero().flatten().tolist()) == sorted(pitch - LOWEST for pitch in pitches)


def test_trim_cuts_at_the_longest():
    batch = Trim()(rolls([[[60]] * 2, [[60]] * 3]) | {"y": torch.zeros(2)})
    assert batch["x"].shape == (2, 3, 88)
    assert batch["x"].dtype == torch.float32
    cut = Trim()({name: tensor[:1] for name, tensor in batch.items()})
    assert cut["x"].shape == (1, 2, 88)
    assert cut["within"].shape == (1, 2)


def test_trim_counts_all_steps_where_nothing_says_how_long():
    assert Trim().prepare({"x": torch.zeros(2, 3, 4)})["within"].tolist() == [[True] * 3] * 2


def test_trim_refuses_what_are_no_sequences(says):
    x, within = torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    for wrong in ({"x": x, "within": within.float()}, {"x": x, "within": within[:, :2]}):
        with says(ShapeError, re.escape("(2, 3, 4)"), "Write within = torch.arange"):
            Trim().prepare(wrong)
    within[1] = False
    with says(DataError, "at rows .1.: drop them"):
        Trim().prepare({"x": x, "within": within})

"""Codebooks: nearest codes, moving averages, codes that start again, levels."""

import pytest
import torch

from pyrovae.errors import SettingError, ShapeError
from pyrovae.networks import CausalTransformer, Codebook, Levels
from pyrovae.networks.codebooks import vectors_first, vectors_last


def test_the_code_is_that_of_the_nearest_vector():
    codebook = Codebook(7, 3)
    h = torch.randn(4, 5, 3)
    assert torch.equal(codebook.codes(h), torch.cdist(h, codebook.vectors).argmin(-1))
    assert torch.equal(codebook.codes(codebook.vectors), torch.arange(7))
    assert torch.equal(codebook(torch.tensor([2, 2, 0])), codebook.vectors[[2, 2, 0]])


def test_the_codebook_is_the_ratio_of_two_moving_averages():
    """Against sums in a loop, with no code ever dead."""
    torch.manual_seed(1)
    codebook = Codebook(3, 2, decay=0.8, revive=0.0)
    codebook.vectors.copy_(torch.tensor([[0.0, 2.0], [2.0, 0.0], [-2.0, -2.0]]))
    shares, sums = torch.zeros(3), torch.zeros(3, 2)
    for _ in range(6):
        h = torch.tensor([[0.0, 2.0], [2.0, 0.0], [-2.0, -2.0]]).repeat(5, 1) + 0.1 * torch.randn(15, 2)
        codes = torch.cdist(h, codebook.vectors).argmin(-1)
        codebook.follow(h)
        for k in range(3):
            shares[k] = 0.8 * shares[k] + 0.2 * (codes == k).float().mean()
            sums[k] = 0.8 * sums[k] + 0.2 * h[codes == k].sum(0) / 15
        torch.testing.assert_close(codebook.vectors, sums / shares[:, None])
    assert (codebook.vectors - h[:3]).abs().max() < 0.2


def test_without_a_decay_of_zero_the_codebook_would_not_be_the_means_of_the_last_batch():
    codebook = Codebook(2, 1, decay=0.0, revive=0.0)
    codebook.vectors.copy_(torch.tensor([[-1.0], [1.0]]))
    codebook.follow(torch.tensor([[-3.0], [-2.0], [5.0]]))
    torch.testing.assert_close(codebook.vectors, torch.tensor([[-2.5], [5.0]]))


def test_a_code_without_inputs_keeps_its_vector_where_none_is_revived():
    codebook = Codebook(2, 1, decay=0.5, revive=0.0)
    codebook.vectors.copy_(torch.tensor([[0.0], [100.0]]))
    codebook.follow(torch.randn(6, 1))
    assert codebook.vectors[1].item() == 100.0


def test_the_codebook_starts_among_its_first_inputs():
    codebook, h = Codebook(8, 3), 50 + torch.randn(20, 3)
    codebook.follow(h)
    distances = torch.cdist(codebook.vectors, h).min(-1).values
    assert (distances < 1e-4).sum() >= 7  # a code that was near all inputs is their mean
    assert codebook.vectors.unique(dim=0).shape == (8, 3)


def test_a_dead_code_starts_again_and_a_living_one_does_not():
    codebook = Codebook(4, 1, decay=0.9, revive=0.5)
    h = torch.tensor([[0.0], [1.0], [2.0], [3.0]]).repeat(10, 1)
    codebook.vectors.copy_(torch.tensor([[0.0], [1.0], [2.0], [900.0]]))
    codebook.shares.fill_(0.25)
    codebook.sums.copy_(codebook.vectors * 0.25)
    for step in range(40):
        codebook.follow(h)
        assert step > 3 or codebook.vectors[3] == 900.0
    assert codebook.vectors.sort(0).values.flatten().round().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_fewer_inputs_than_codes():
    codebook = Codebook(9, 2)
    codebook.follow(torch.randn(4, 2))
    assert codebook.vectors.isfinite().all()


def test_a_codebook_without_a_decay_is_a_parameter_that_stays():
    codebook = Codebook(3, 2, decay=None)
    before = codebook.vectors.detach().clone()
    codebook.follow(torch.randn(10, 2))
    assert torch.equal(codebook.vectors, before)
    assert [name for name, _ in codebook.named_parameters()] == ["vectors"]
    assert not list(Codebook(3, 2).parameters())


@pytest.mark.parametrize("levels", [[2], [5], [8, 6, 5], [3, 4]])
def test_levels_are_a_grid_in_which_each_point_is_its_own_code(levels):
    codebook = Levels(levels)
    assert codebook.size == len(codebook.vectors) == len(codebook.vectors.unique(dim=0))
    assert torch.equal(codebook.codes(codebook.vectors), torch.arange(codebook.size))
    assert codebook.vectors.min() == -1
    assert codebook.vectors.max() == 1
    h = codebook.bounded(3 * torch.randn(100, len(levels)))
    assert torch.equal(codebook.codes(h), torch.cdist(h, codebook.vectors).argmin(-1))
    assert codebook.codes(torch.full((len(levels),), 9.0)) == codebook.size - 1


def test_channels_go_last_and_come_back():
    z = torch.randn(6, 3, 4, 5)
    assert vectors_last(z, 2).shape == (6, 4, 5, 3)
    assert torch.equal(vectors_first(vectors_last(z, 2), 2), z)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Codebook(1, 3), "size"),
        (lambda: Codebook(4, 0), "dim"),
        (lambda: Codebook(4, 3, decay=1.0), "decay"),
        (lambda: Codebook(4, 3, revive=1.5), "revive"),
        (lambda: Levels([1, 5]), "levels"),
        (lambda: Levels([]), "levels"),
        (lambda: Levels([5000] * 3), "product"),
        (lambda: CausalTransformer(Levels([4]), 3, 6, 4), "Write width=8"),
        (lambda: CausalTransformer(Levels([4]), 0), "length"),
        (lambda: CausalTransformer(Levels([4]), 3, dropout=2.0), "dropout"),
    ],
)
def test_a_setting_without_a_meaning_is_refused(build, words, says):
    with says(SettingError, words):
        build()


def test_too_many_codes_are_refused(says):
    with says(ShapeError, "at most 3 codes, got 4", "CausalTransformer(codebook, 4)"):
        CausalTransformer(Levels([5]), 3, 8)(torch.zeros(2, 4, dtype=torch.int64))

"""Sprites: every combination of factors is there once, and each factor does what its name says."""

import pytest
import torch

from pyrovae.data import load
from pyrovae.data.sprites import FACTORS, draw
from pyrovae.errors import DataError


@pytest.fixture(scope="module")
def sprites():
    """All of them; pixels in {0, 1}, `(3, 5, 6, 11, 11, 32, 32)`."""
    drawn = draw()
    assert drawn["x"].unique().tolist() == [0, 255]
    return (drawn["x"].squeeze(1) > 0).float().unflatten(0, tuple(FACTORS.values()))


def centre(sprites, dim):
    """The centre of mass of each, along the rows (-2) or the columns (-1) of its pixels."""
    places = torch.arange(32.0)
    mass = sprites.sum(-1 if dim == -2 else -2)
    return (mass * places).sum(-1) / mass.sum(-1)


def test_each_combination_is_there_once():
    drawn = draw()
    assert list(drawn) == ["x", *FACTORS]
    table = torch.stack([drawn[name] for name in FACTORS], -1)
    assert len(table) == len(table.unique(dim=0)) == 3 * 5 * 6 * 11 * 11
    for name, size in FACTORS.items():
        assert drawn[name].unique().tolist() == list(range(size)), name


def test_no_two_images_are_equal(sprites):
    """So each factor can be told from the image, the orientation of a square too."""
    images = sprites.flatten(0, 4).flatten(1)
    assert len(images.unique(dim=0)) == len(images)
    one_place = sprites[:, :, :, 0, 0].flatten(0, 2).flatten(1)
    distances = torch.cdist(one_place, one_place, p=1) + 1e9 * torch.eye(len(one_place))
    assert distances.min() >= 10  # pixels


def test_column_and_row_move_the_sprite_by_a_pixel(sprites):
    for dim, place, shift in ((4, -2, 1), (3, -1, 1)):
        moved = sprites.narrow(dim, 1, 10) - sprites.narrow(dim, 0, 10).roll(shift, place)
        assert moved.abs().max() == 0  # and no part of it is ever cut off
    for dim, place in ((3, -1), (4, -2)):
        assert (centre(sprites, place).diff(dim=dim) - 1).abs().max() < 1e-3


def test_scale_changes_the_area_alone(sprites):
    area = sprites.sum((-1, -2))
    assert (area.diff(dim=1) > 0).all()
    largest_over_smallest = area[:, -1] / area[:, 0]
    assert (largest_over_smallest / (10.4 / 6.4) ** 2 - 1).abs().max() < 0.1


def test_the_area_does_not_tell_the_shape(sprites):
    area = sprites.sum((-1, -2)).mean((1, 2, 3, 4))
    assert area.max() / area.min() < 1.03


def test_orientation_turns(sprites):
    """The main axis of an ellipse, by its second moments, in degrees."""
    ellipse = sprites[1, :, :, 5, 5]
    down, right = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(32.0) - 15.5, indexing="ij")
    across, up, both = ((ellipse * part).sum((-1, -2)) for part in (right * right, down * down, right * -down))
    turned = torch.rad2deg(torch.atan2(2 * both, across - up) / 2)
    torch.testing.assert_close(turned, torch.tensor([-35.0, -21, -7, 7, 21, 35]).expand(5, 6), rtol=0, atol=4)


def test_the_heart_stands_on_its_tip(sprites):
    left, right = sprites[2, :, 2:4, 5, 5].unbind(1)  # turned by -7 and 7 degrees
    assert torch.equal(left, right.flip(-1))
    assert (centre(right, -2) < 15.2).all()  # most of it is above the middle


def test_the_splits():
    sprites, again, whole = load("sprites"), load("sprites"), load("sprites", valid=0)
    assert [len(batch["x"]) for batch in sprites.splits.values()] == [7_890, 1_000, 2_000]
    assert len(whole.train["x"]) == 8_890
    for split, batch in sprites.splits.items():
        assert batch["x"].shape[1:] == (1, 32, 32)
        assert all(torch.equal(tensor, again.splits[split][name]) for name, tensor in batch.items())
        for name, size in FACTORS.items():
            share = batch[name].bincount(minlength=size) * size / len(batch[name])
            assert (share - 1).abs().max() < 0.4, (split, name)
    together = torch.cat([torch.stack([b[n] for n in FACTORS], -1) for b in sprites.splits.values()])
    assert len(together.unique(dim=0)) == 10_890


def test_the_splits_are_its_own(says):
    with says(DataError, "sprites", "test split of its own"):
        load("sprites", test=5)

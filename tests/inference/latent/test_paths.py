"""Paths between codes, against closed forms."""

import math

import pytest
import torch

from pyrovae.errors import PairError, ShapeError
from pyrovae.inference import great_circle, lerp, path, slerp


def test_lerp():
    start, end, weight = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0]), torch.tensor([0.0, 0.25, 1.0])
    assert lerp(start, end, weight).tolist() == [[1, 2], [1.5, 3], [3, 6]]
    assert lerp(torch.zeros(2, 3), torch.ones(2, 3), weight).shape == (3, 2, 3)


def test_slerp_of_a_right_angle():
    weight = torch.linspace(0, 1, 4).double()
    arc = slerp(torch.tensor([2.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double(), weight)
    angle = weight * math.pi / 2
    torch.testing.assert_close(arc, 2 * torch.stack([angle.cos(), angle.sin()], -1))


def test_slerp_keeps_the_norm_and_the_angular_speed():
    start, end = torch.nn.functional.normalize(torch.randn(2, 30).double(), dim=-1) * 5
    arc = slerp(start, end, torch.linspace(0, 1, 11).double())
    torch.testing.assert_close(arc.norm(dim=-1), torch.full((11,), 5.0).double())
    steps = torch.nn.functional.cosine_similarity(arc[1:], arc[:-1], dim=-1)
    torch.testing.assert_close(steps, steps[:1].expand(10))


@pytest.mark.parametrize("kind", [lerp, slerp])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_paths_have_their_ends(kind, dtype):
    start, end = torch.randn(2, 8, dtype=dtype) * torch.tensor([[1.0], [4.0]])
    points = kind(start.to(dtype), end.to(dtype), torch.tensor([0.0, 1.0], dtype=dtype))
    torch.testing.assert_close(points, torch.stack([start, end]).to(dtype))


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, 0.0])
def test_where_there_is_no_arc_slerp_is_finite_with_the_same_ends(factor):
    start, weight = torch.randn(6), torch.linspace(0, 1, 5)
    arc = slerp(start, factor * start, weight)
    assert arc.isfinite().all()
    torch.testing.assert_close(arc[[0, -1]], torch.stack([start, factor * start]), rtol=1e-4, atol=1e-5)
    if factor:
        torch.testing.assert_close(arc, lerp(start, factor * start, weight))


# ----------------------------------------------------------------------------------------- great circles


def test_a_great_circle_of_a_right_angle():
    weight = torch.linspace(0, 1, 13).double()
    circle = great_circle(torch.tensor([2.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double(), weight)
    turn = 2 * math.pi * weight
    torch.testing.assert_close(circle, 2 * torch.stack([turn.cos(), turn.sin()], -1))


def test_a_great_circle_is_closed_and_stays_on_the_sphere_of_both_codes():
    start, end = torch.nn.functional.normalize(torch.randn(2, 30).double(), dim=-1) * 5
    circle = great_circle(start, end, torch.linspace(0, 1, 61).double())
    torch.testing.assert_close(circle[[0, -1]], torch.stack([start, start]))
    torch.testing.assert_close(circle.norm(dim=-1), torch.full((61,), 5.0).double())
    steps = torch.nn.functional.cosine_similarity(circle[1:], circle[:-1], dim=-1)
    torch.testing.assert_close(steps, torch.full((60,), math.cos(2 * math.pi / 60)).double())
    assert torch.linalg.matrix_rank(circle) == 2


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_great_circle_passes_both_codes_whatever_their_lengths(factor):
    start, end = torch.randn(2, 8).double()
    end = factor * end
    angle = torch.nn.functional.cosine_similarity(start, end, dim=-1).acos()
    circle = great_circle(start, end, torch.stack([angle * 0, angle / (2 * math.pi), angle * 0 + 1]))
    torch.testing.assert_close(circle, torch.stack([start, end, start]))


@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0])
def test_parallel_codes_have_no_one_great_circle(factor, says):
    start = torch.randn(6)
    with says(ShapeError, "parallel", "kind=lerp"):
        great_circle(start, factor * start, torch.linspace(0, 1, 3))


# ----------------------------------------------------------------------------------------- codes by site


def test_a_path_goes_along_the_vectors_of_each_site():
    start, end = ({"z1": torch.randn(2, 3, 3), "z2": torch.randn(4).double()} for _ in range(2))
    codes = path(start, end, 5)
    assert {name: code.shape for name, code in codes.items()} == {"z1": (5, 2, 3, 3), "z2": (5, 4)}
    arc = slerp(start["z1"].flatten(), end["z1"].flatten(), torch.linspace(0, 1, 5))
    torch.testing.assert_close(codes["z1"], arc.reshape(5, 2, 3, 3))
    torch.testing.assert_close(path(start, end, 3, kind=lerp)["z2"][1], (start["z2"] + end["z2"]) / 2)


@pytest.mark.parametrize("end", [{"z": torch.zeros(3)}, {"w": torch.zeros(2)}])
def test_a_path_between_what_is_not_two_codes(end, says):
    with says(ShapeError, "two codes of equal shape at 'z'", "(2,)", "z[0]"):
        path({"z": torch.zeros(2)}, end)


def test_a_path_between_labels(says):
    with says(PairError, "'y' is a label", "Leave 'y' out"):
        path({"y": torch.tensor(1)}, {"y": torch.tensor(2)})

"""Nearest neighbours, against distances in float64."""

import pytest
import torch

from pyrovae.errors import DataError, SettingError, ShapeError
from pyrovae.inference import neighbours


def test_the_neighbours_are_the_nearest(monkeypatch):
    monkeypatch.setattr("pyrovae.inference.latent.neighbours.CELLS", 120)  # two queries at once
    z = torch.randn(60, 2, 3) + 1000  # where matrix products would lose the distances
    found = neighbours(z, z[:7], k=4)
    exact = (z[:7, None].double() - z.double()).flatten(2).norm(dim=-1).sort(-1)
    assert torch.equal(found.rows, exact.indices[:, :4])
    torch.testing.assert_close(found.distance, exact.values[:, :4].float())
    assert found.rows[:, 0].tolist() == list(range(7))


def test_neighbours_that_are_not_there(says):
    with says(ShapeError, "k = 5", "(4, 2)"):
        neighbours(torch.zeros(4, 2), torch.zeros(1, 2))
    with says(ShapeError, "(4, 2)", "(1, 3)"):
        neighbours(torch.zeros(4, 2), torch.zeros(1, 3), k=1)


@pytest.mark.parametrize("k", [0, -1, 1.5, None])
def test_a_number_of_neighbours_without_a_meaning(k, says):
    with says(SettingError, "k requires a whole number of at least 1"):
        neighbours(torch.zeros(4, 2), torch.zeros(1, 2), k=k)


def test_codes_that_are_no_finite_numbers(says):
    """NaN was the farthest neighbour, or the nearest."""
    z = torch.randn(5, 2)
    for wrong, words in (
        (z / 0, "finite"),
        (z.to(torch.complex64), "real numbers"),
        ([[1.0]], "a tensor"),
        (None, "None"),
    ):
        for codes, query in ((wrong, z), (z, wrong)):
            with says(DataError, words):
                neighbours(codes, query, k=1)
    assert neighbours(z.numpy(), z.double(), k=1).rows.flatten().tolist() == list(range(5))
    assert neighbours(z, z[:0], k=1).rows.shape == (0, 1)


def test_neighbours_print_as_a_table():
    found = neighbours(torch.arange(30.0).reshape(30, 1), torch.tensor([[3.2]]), k=2)
    assert [line.split() for line in str(found).splitlines()] == [
        ["query", "row", "distance"],
        ["0", "3", "0.2000"],
        ["0", "4", "0.8000"],
    ]
    many = repr(neighbours(torch.arange(30.0).reshape(30, 1), torch.zeros(9, 1), k=3)).splitlines()
    assert len(many) == 22
    assert many[-1] == "and 7 more"

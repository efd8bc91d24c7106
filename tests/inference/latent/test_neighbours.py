"""Codes, reconstructions, generated data and paths, where all means are exact."""

import torch

from pyrovae.errors import ShapeError
from pyrovae.inference import (
    neighbours,
)


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

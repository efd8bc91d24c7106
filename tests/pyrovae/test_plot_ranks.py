"""The picture of simulation-based calibration."""

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import ShapeError


def test_ranks_are_counted_by_dimension():
    ranks = torch.stack([torch.arange(100), torch.full((100,), 99)], 1)
    figure = plots.ranks(ranks, 99, site="z1")
    assert [axes.get_title("left") for axes in figure.axes] == ["z1[0]", "z1[1]"]
    (even,), (peak,) = ([p.get_data().values for p in axes.patches if hasattr(p, "get_data")] for axes in figure.axes)
    assert even.tolist() == [5] * 20
    assert peak.tolist() == [0] * 19 + [100]
    assert "rank among 99 draws" in figure.get_supxlabel()


def test_chosen_dimensions_and_a_panel_left_over():
    dims = [8, 0, 3, 1, 2]
    figure = plots.ranks(torch.randint(10, (50, 9)), 9, dims=dims)
    assert [axes.get_title("left") for axes in figure.axes if axes.get_visible()] == [f"z[{d}]" for d in dims]


def test_ranks_want_a_table():
    with pytest.raises(ShapeError, match=r"wants \(N, D\)"):
        plots.ranks(torch.zeros(3, dtype=torch.long), 9)

"""Pictures of detection and of calibration, and numbers as colours."""

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import ShapeError


def test_detection_draws_the_curves_of_roc_and_of_precision():
    scores = {"right": torch.tensor([3.0, 1.0, 4.0, 2.0]), "all the same": torch.zeros(4)}
    left, right = plots.detection(scores, torch.tensor([True, False, True, False]), title="four").axes
    assert left.lines[0].get_xydata().tolist() == [[0, 0], [0, 0.5], [0, 1], [0.5, 1], [1, 1]]
    assert left.lines[1].get_xydata().tolist() == [[0, 0], [1, 1]]  # equal scores are one threshold
    assert right.lines[0].get_xydata().tolist() == [[0.5, 1], [1, 1], [1, pytest.approx(2 / 3)], [1, 0.5]]
    assert [line.get_label() for line in left.lines[:2]] == ["right", "all the same"]


def test_detection_requires_both_kinds_and_a_score_of_each(says):
    with says(ShapeError, "some of them anomalous", "(3,)", "100%"):
        plots.detection({}, torch.ones(3, dtype=torch.bool))
    with says(ShapeError, "'few'", "(2,)", "(3,)"):
        plots.detection({"few": torch.zeros(2)}, torch.tensor([True, False, True]))


def test_heat_has_a_name_at_each_row_and_column():
    axes, bar = plots.heat(torch.tensor([[1.0, -3.0]]), rows=["a"], columns=["b", "c"], title="blame").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "c"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a"]
    assert axes.images[0].get_clim() == (-3, 3)
    assert bar.get_ylabel() == "nats"


def test_ranks_are_counted_by_dimension():
    ranks = torch.stack([torch.arange(100), torch.full((100,), 99)], 1)
    figure = plots.ranks(ranks, 99, latent="z1")
    assert [axes.get_title("left") for axes in figure.axes] == ["z1[0]", "z1[1]"]
    (even,), (peak,) = ([p.get_data().values for p in axes.patches if hasattr(p, "get_data")] for axes in figure.axes)
    assert even.tolist() == [5] * 20
    assert peak.tolist() == [0] * 19 + [100]
    assert "rank among 99 draws" in figure.get_supxlabel()


@pytest.mark.parametrize(("num_bins", "used"), [(20, 20), (7, 5), (1000, 100)])
def test_the_number_of_bars_divides_the_levels(num_bins, used):
    (axes,) = plots.ranks(torch.arange(100).unsqueeze(-1), 99, num_bins=num_bins).axes
    (bars,) = [p.get_data().values for p in axes.patches if hasattr(p, "get_data")]
    assert bars.tolist() == [100 / used] * used


def test_chosen_dimensions_and_a_panel_left_over():
    dims = [8, 0, 3, 1, 2]
    figure = plots.ranks(torch.randint(10, (50, 9)), 9, dims=dims)
    assert [axes.get_title("left") for axes in figure.axes if axes.get_visible()] == [f"z[{d}]" for d in dims]


def test_ranks_are_a_table():
    with pytest.raises(ShapeError, match=r"requires \(N, D\)"):
        plots.ranks(torch.zeros(3, dtype=torch.long), 9)

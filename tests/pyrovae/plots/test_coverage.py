"""Pictures of coverage and of ranks, with bands."""

import math

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import SettingError, ShapeError

MARGIN = math.sqrt(math.log(200) / (2 * 400))


def band(axes):
    """The corners of the grey band."""
    return axes.collections[0].get_paths()[0].vertices


def test_coverage_is_drawn_over_its_band():
    levels = torch.linspace(0, 1, 11)
    figure = plots.coverage({"z[0]": (levels, levels**2), "log q": (levels, levels)}, 400, title="two")
    (axes,) = figure.axes
    assert axes.lines[1].get_ydata() == pytest.approx((levels**2).tolist())
    assert [line.get_label() for line in axes.lines[1:]] == ["z[0]", "log q"]
    corners = {round(y, 4) for y in band(axes)[:, 1].tolist()}
    assert corners == {round(end + side * MARGIN, 4) for end in (0, 1) for side in (-1, 1)}
    assert axes.get_title("left") == "two"


def test_ranks_are_drawn_less_the_diagonal():
    even = (torch.arange(400) + 0.5) / 400
    figure = plots.pit({"even": even, "z": torch.stack([even / 2, 1 - even / 2], 1)})
    (axes,) = figure.axes
    flat, low, high = (torch.as_tensor(line.get_ydata()) for line in axes.lines[1:])
    assert [line.get_label() for line in axes.lines[1:]] == ["even", "z[0]", "z[1]"]
    assert flat.abs().max() < 1e-6  # and no step at a rank
    assert low.max() == pytest.approx(0.5, abs=0.01)  # all ranks are in the lower half
    assert high.min() == pytest.approx(-0.5, abs=0.01)
    assert band(axes)[:, 1].max() == pytest.approx(MARGIN)
    assert axes.get_ylim()[1] > 0.5


def test_the_band_holds_curves_of_even_ranks():
    """In at least 90 % of repeats where it is asked to; two standard errors are 4 %."""
    margin = band(plots.pit({"u": torch.rand(300)}, band=0.9).axes[0])[:, 1].max()
    curves = [plots.pit({"u": torch.rand(300)}).axes[0].lines[1].get_ydata() for _ in range(40)]
    assert sum(abs(curve).max() <= margin for curve in curves) >= 31


@pytest.mark.parametrize("wrong", [{}, {"z": torch.zeros(2, 3, 4)}, {"z": torch.zeros(0)}])
def test_ranks_have_a_shape(wrong, says):
    with says(ShapeError, "pit requires"):
        plots.pit(wrong)


def test_ranks_of_different_numbers_of_simulations_have_no_band(says):
    with says(ShapeError, "[3, 4]"):
        plots.pit({"a": torch.rand(3), "b": torch.rand(4)})


def test_coverage_requires_curves(says):
    with says(ShapeError, "at least one curve"):
        plots.coverage({}, 100)
    with says(ShapeError, "(3,) and (4,)", "'z'"):
        plots.coverage({"z": (torch.rand(3), torch.rand(4))}, 100)
    with says(SettingError, "band"):
        plots.coverage({"z": (torch.rand(3), torch.rand(3))}, 100, band=1.0)

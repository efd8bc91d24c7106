"""Pictures of piano rolls."""

import pytest
import torch

from pyrovae import plots
from pyrovae.errors import ShapeError


def test_piano_rolls_have_time_to_the_right_and_keys_upwards():
    short, long = torch.zeros(2, 88), torch.zeros(5, 88)
    short[1, 39] = long[0, 51] = 1  # C4 and C5
    long[4, 45] = 0.5
    above, below = plots.piano_rolls({"short": short, "long": long}).axes
    pixels = torch.as_tensor(above.images[0].get_array())
    assert pixels.shape == (13, 2)  # from C4 to C5
    assert pixels.nonzero().tolist() == [[0, 1]]
    assert above.images[0].origin == "lower"
    assert [label.get_text() for label in above.get_yticklabels()] == ["C4", "C5"]
    assert (above.get_title(loc="left"), below.get_title(loc="left")) == ("short", "long")
    assert above.get_xlim() == below.get_xlim() == (0, 5)


def test_a_silent_roll_has_a_picture(tmp_path):
    plots.save(plots.piano_rolls({"silence": torch.zeros(1, 88)}), tmp_path / "a.png")


@pytest.mark.parametrize("rolls", [{}, {"a": torch.zeros(0, 88)}, {"a": torch.zeros(88)}])
def test_piano_rolls_of_another_shape_are_refused(rolls, says):
    with says(ShapeError, "(T, K)"):
        plots.piano_rolls(rolls)
    with says(ShapeError, "(2, 80)"):
        plots.piano_rolls({"a": torch.zeros(2, 88), "b": torch.zeros(2, 80)})
    with says(ShapeError, "titles", "Tensor", 'piano_rolls({"data": x[0]})'):
        plots.piano_rolls(torch.zeros(2, 88))
